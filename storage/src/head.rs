//! The head: rows that are durable in the WAL and not yet in a segment, queried like a segment.
//!
//! Owns: the list of batches, finding ids in them. Does not own: when they are sealed (`seal`).
//!
//! Invariant: batches are in WAL order, and immutable once pushed, so that a snapshot is a list of
//! references.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use model::{Signal, TimeRange};

use crate::decode::Batch;
use crate::deletes::rows_without;
use crate::error::{Context as _, Error, ErrorKind};
use crate::rows::{TermColumns, each_term, term_hash, term_hashes, time_range};

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
    terms: Vec<u64>,
}

impl HeadBatch {
    pub(crate) fn new(batch: Batch, rows_before: u64) -> Arc<Self> {
        let signal = batch.signal();
        let Batch { rows, time, terms, .. } = batch;
        Arc::new(Self { signal, rows, rows_before, time, terms })
    }

    /// The batch without the rows that carry `term` themselves; `None` when there are no such.
    pub(crate) fn without(&self, term: &str) -> Result<Option<Arc<Self>>, Error> {
        if self.terms.binary_search(&term_hash(term)).is_err() {
            return Ok(None);
        }
        let Some(rows) = rows_without(&self.rows, term)? else { return Ok(None) };
        Ok(Some(Arc::new(Self {
            signal: self.signal,
            time: time_range(self.signal, &rows),
            terms: term_hashes(self.signal, &rows),
            rows_before: self.rows_before,
            rows,
        })))
    }

    /// Memory held by the rows, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.get_array_memory_size()
    }

    /// The rows of every group that carries one of the terms.
    pub(crate) fn lookup(&self, terms: &[String]) -> Result<Option<RecordBatch>, Error> {
        let may_have = terms.iter().any(|term| self.terms.binary_search(&term_hash(term)).is_ok());
        match TermColumns::new(self.signal, &self.rows) {
            Some(columns) if may_have => groups_with(&self.rows, &columns, terms),
            _ => Ok(None),
        }
    }
}

/// The rows whose group — their trace, or themselves when they have none — carries one of the terms.
pub(crate) fn groups_with(
    rows: &RecordBatch,
    columns: &TermColumns<'_>,
    terms: &[String],
) -> Result<Option<RecordBatch>, Error> {
    let wanted: HashSet<&str> = terms.iter().map(String::as_str).collect();
    let mut traces: HashSet<&[u8]> = HashSet::new();
    let mut hits = vec![false; rows.num_rows()];
    let mut scratch = String::new();
    for (row, hit) in hits.iter_mut().enumerate() {
        each_term(columns, row, &mut |term| *hit |= wanted.contains(term), &mut scratch);
        if *hit && columns.trace_id.is_valid(row) {
            traces.insert(columns.trace_id.value(row));
        }
    }
    for (row, hit) in hits.iter_mut().enumerate() {
        *hit |= columns.trace_id.is_valid(row) && traces.contains(columns.trace_id.value(row));
    }
    if !hits.contains(&true) {
        return Ok(None);
    }
    filter_record_batch(rows, &BooleanArray::from(hits))
        .context(ErrorKind::Internal, || "picking rows of the head".to_owned())
        .map(Some)
}
