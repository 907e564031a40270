//! The head: rows that are durable in the WAL and not yet in a segment, queried like a segment.
//!
//! Owns: the list of batches, finding ids in them. Does not own: when they are sealed (`seal`).
//!
//! Invariant: batches are in WAL order, and immutable once pushed, so that a snapshot is a list of
//! references.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use model::{Signal, TimeRange};

use crate::decode::Batch;
use crate::deletes::rows_without;
use crate::error::{Context as _, Error, ErrorKind};
use crate::rows::{TermColumns, Wanted, term_hash, term_hashes, time_range};

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

    /// The rows of every group that carries one of the terms, `groups_max` of them at most, and how many
    /// groups were left out.
    pub(crate) fn lookup(
        &self,
        terms: &[String],
        groups_max: usize,
    ) -> Result<(Option<RecordBatch>, usize), Error> {
        let (rows, _, left_out) = self.rows_with(terms, groups_max);
        if rows.is_empty() {
            return Ok((None, left_out));
        }
        take_record_batch(&self.rows, &UInt32Array::from(rows))
            .context(ErrorKind::Internal, || "picking rows of the head".to_owned())
            .map(|found| (Some(found), left_out))
    }

    /// The rows, ascending, of every group that carries one of the terms, `groups_max` groups at most; how many
    /// groups these are, and how many were left out.
    pub(crate) fn rows_with(&self, terms: &[String], groups_max: usize) -> (Vec<u32>, usize, usize) {
        match TermColumns::new(self.signal, &self.rows) {
            Some(columns) if terms.iter().any(|term| self.may_have(term)) => {
                let (chosen, left_out) = groups_of(&self.rows, &columns, terms, groups_max);
                let rows = (0..self.rows.num_rows() as u32)
                    .filter(|row| !chosen.is_empty() && chosen.contains(&columns.group(*row as usize)));
                (rows.collect(), chosen.len(), left_out)
            }
            _ => (Vec::new(), 0, 0),
        }
    }

    fn may_have(&self, term: &str) -> bool {
        self.terms.binary_search(&term_hash(term)).is_ok()
    }

    /// Calls `each` with every row that carries the term; nothing is copied.
    pub(crate) fn each_carrier(&self, term: &str, each: &mut dyn FnMut(&TermColumns<'_>, usize)) {
        let columns = TermColumns::new(self.signal, &self.rows).filter(|_| self.may_have(term));
        let Some(columns) = columns else { return };
        let wanted = Wanted::new([term]);
        (0..self.rows.num_rows())
            .filter(|row| wanted.is_on(&columns, *row))
            .for_each(|row| each(&columns, row));
    }
}

/// The groups — a trace, or a row that has none — that carry one of the terms: the last `groups_max` of them. Also
/// how many were left out.
fn groups_of(
    rows: &RecordBatch,
    columns: &TermColumns<'_>,
    terms: &[String],
    groups_max: usize,
) -> (HashSet<Result<[u8; 16], usize>>, usize) {
    let wanted = Wanted::new(terms.iter().map(String::as_str));
    let mut chosen = HashSet::new();
    let mut left_out = HashSet::new();
    for row in (0..rows.num_rows()).rev().filter(|row| wanted.is_on(columns, *row)) {
        let group = columns.group(row);
        if chosen.len() < groups_max || chosen.contains(&group) {
            chosen.insert(group);
        } else {
            left_out.insert(group);
        }
    }
    (chosen, left_out.len())
}
