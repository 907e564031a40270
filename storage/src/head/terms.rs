//! Where the terms of rows in the head are: hash of a term → rows, for one batch or several neighbours.
//!
//! ```text
//! hashes  0x03… 0x03… 0x1f… 0x9a…     ascending
//! at          7    12     0     7     row, counted from the first
//! ```
//!
//! Owns: the sorted table. Does not own: which batches share one (`indexer`), what a hash stands for (`rows`).
//!
//! Invariants: an index is immutable; it says where a term may be, and whoever asks looks at the row; it takes
//! [`ENTRY_BYTES`] an entry.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use model::Signal;

use crate::rows::{row_term_hashes, row_terms_max};

/// What one term of one row takes.
pub(crate) const ENTRY_BYTES: usize = size_of::<u64>() + size_of::<u32>();

/// Where the terms of some rows are. Rows are numbered within their signal from the opening of the store on.
#[derive(Debug)]
pub(crate) struct TermIndex {
    rows: Range<u64>,
    /// How often it is the merger of several.
    tier: u32,
    hashes: Box<[u64]>,
    at: Box<[u32]>,
}

impl TermIndex {
    /// Of the rows of one batch, the first of which has the number `rows_before`.
    pub(crate) fn of(signal: Signal, rows: &RecordBatch, rows_before: u64) -> Self {
        let entries = row_term_hashes(signal, rows);
        Self::new(rows_before..rows_before + rows.num_rows() as u64, 0, entries)
    }

    fn new(rows: Range<u64>, tier: u32, entries: Vec<(u64, u32)>) -> Self {
        let (hashes, at): (Vec<u64>, Vec<u32>) = entries.into_iter().unzip();
        Self { rows, tier, hashes: hashes.into(), at: at.into() }
    }

    /// Of all rows of some, which follow one another. `None` when there are too many for one.
    pub(crate) fn merged(parts: &[Arc<Self>]) -> Option<Self> {
        let (first, last) = (parts.first()?, parts.last()?);
        let rows = first.rows.start..last.rows.end;
        u32::try_from(rows.end - rows.start).ok()?;
        let mut entries = Vec::with_capacity(parts.iter().map(|part| part.hashes.len()).sum());
        for part in parts {
            let offset = (part.rows.start - rows.start) as u32;
            entries.extend(part.hashes.iter().zip(&part.at).map(|(hash, at)| (*hash, at + offset)));
        }
        // Sorted runs, which a stable sort merges.
        entries.sort();
        Some(Self::new(rows, parts.iter().map(|part| part.tier).max()? + 1, entries))
    }

    /// At most so many bytes does the index of a batch take.
    pub(crate) fn bytes_max(signal: Signal, rows: &RecordBatch) -> usize {
        row_terms_max(signal, rows) * ENTRY_BYTES
    }

    /// The numbers of its rows, and of rows that are gone.
    pub(crate) const fn rows(&self) -> &Range<u64> {
        &self.rows
    }

    pub(crate) const fn tier(&self) -> u32 {
        self.tier
    }

    /// Whether a term of this hash is there.
    pub(crate) fn has(&self, hash: u64) -> bool {
        self.hashes.binary_search(&hash).is_ok()
    }

    /// The numbers, ascending, of the rows that may carry a term of this hash.
    pub(crate) fn rows_of(&self, hash: u64) -> impl Iterator<Item = u64> {
        self.rows_within(hash, self.rows.clone())
    }

    /// Those of them that lie in a range of its rows.
    pub(crate) fn rows_within(&self, hash: u64, range: Range<u64>) -> impl Iterator<Item = u64> {
        let from = self.hashes.partition_point(|other| *other < hash);
        let len = self.hashes[from..].partition_point(|other| *other == hash);
        let at = &self.at[from..from + len];
        let first = at.partition_point(|at| self.rows.start + u64::from(*at) < range.start);
        let end = range.end;
        at[first..].iter().map(|at| self.rows.start + u64::from(*at)).take_while(move |row| *row < end)
    }
}
