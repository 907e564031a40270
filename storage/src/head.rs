//! The head: rows that are durable in the WAL and not yet in a segment, queried like a segment.
//!
//! ```text
//! decode ─► wal ─► HeadBatch (visible) ─► seal
//!                     └─► indexer: terms of one batch ─► of 8 neighbours ─► of 64 …    off the way of the acknowledgement
//! ```
//!
//! Owns: the rows of one request, where their terms are. Does not own: when they are sealed (`seal`).
//!
//! Invariant: batches are in WAL order, and immutable once pushed, so that a snapshot is a list of
//! references.

pub(crate) mod indexer;
mod terms;
mod view;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use model::{Signal, TimeRange};

use crate::decode::Batch;
use crate::deletes::rows_without;
use crate::error::Error;
use crate::rows::{term_hash, time_range};
pub(crate) use terms::TermIndex;
pub(crate) use view::{GroupRows, HeadView};

/// The rows of one request.
#[derive(Debug)]
pub struct HeadBatch {
    /// What the rows are.
    pub signal: Signal,
    /// The rows, with the columns of [`crate::schema`].
    pub rows: RecordBatch,
    /// Rows of this signal that became visible before these since the store was opened.
    pub rows_before: u64,
    /// Earliest and latest time of the rows.
    pub time: TimeRange,
    /// Whether rows of it were deleted.
    is_reduced: bool,
    /// Where its terms are, as long as no index of several batches says so.
    index: Mutex<Option<Arc<TermIndex>>>,
}

impl HeadBatch {
    pub(crate) fn new(batch: Batch, rows_before: u64) -> Arc<Self> {
        let signal = batch.signal();
        let Batch { rows, time, .. } = batch;
        Arc::new(Self { signal, rows, rows_before, time, is_reduced: false, index: Mutex::default() })
    }

    /// The batch without the spans or log records that carry `term` themselves; `None` when there are no such.
    pub(crate) fn without(&self, term: &str) -> Result<Option<Arc<Self>>, Error> {
        // What an exemplar names is not what a point is of.
        if self.signal == Signal::Metrics || !self.own_index().has(term_hash(term)) {
            return Ok(None);
        }
        let Some(rows) = rows_without(&self.rows, term)? else { return Ok(None) };
        Ok(Some(Arc::new(Self {
            signal: self.signal,
            time: time_range(self.signal, &rows),
            rows_before: self.rows_before,
            rows,
            is_reduced: true,
            index: Mutex::default(),
        })))
    }

    /// The numbers of its rows within their signal, from the opening of the store on.
    pub(crate) fn numbers(&self) -> Range<u64> {
        self.rows_before..self.rows_before + self.rows.num_rows() as u64
    }

    /// Where its terms are.
    pub(crate) fn own_index(&self) -> Arc<TermIndex> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let build = || Arc::new(TermIndex::of(self.signal, &self.rows, self.rows_before));
        Arc::clone(index.get_or_insert_with(build))
    }

    /// Another index says where its terms are.
    pub(crate) fn forget_own_index(&self) {
        self.index.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Memory held by the rows and, at most, by the index of their terms, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.get_array_memory_size() + TermIndex::bytes_max(self.signal, &self.rows)
    }
}
