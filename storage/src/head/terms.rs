//! Where the terms of rows in the head are: hash of a term → rows, for one batch or several neighbours.
//!
//! ```text
//! starts  0           2     3   4     where the hashes of each equal part of all there can be begin
//!         ▼           ▼     ▼
//! hashes  0x03… 0x03… 0x4f… 0x9a…     ascending
//! at          7    12     0     7     row, counted from the first
//! ```
//!
//! Owns: the sorted table. Does not own: which batches share one (`indexer`), what a hash stands for (`rows`).
//!
//! Invariants: an index is immutable; it says where a term may be, and whoever asks looks at the row; it takes the bytes of
//! [`bytes_of`].

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use model::Signal;

use crate::rows::{row_term_hashes, row_terms_max};

/// Entries between two starts: as hashes are spread evenly, a look-up searches about two lines of the processor's cache
/// instead of walking through all of the table.
const ENTRIES_TOGETHER: usize = 16;

/// What an index of so many entries takes.
const fn bytes_of(entries: usize) -> usize {
    entries * (size_of::<u64>() + size_of::<u32>()) + (parts_of(entries) + 1) * size_of::<u32>()
}

/// Equal parts that the hashes of so many entries are looked for in.
const fn parts_of(entries: usize) -> usize {
    entries.div_ceil(ENTRIES_TOGETHER)
}

/// Where the terms of some rows are. Rows are numbered within their signal from the opening of the store on.
#[derive(Debug)]
pub(crate) struct TermIndex {
    rows: Range<u64>,
    /// How often it is the merger of several.
    tier: u32,
    /// One more than there are parts.
    starts: Box<[u32]>,
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
        Self { rows, tier, starts: starts(&hashes), hashes: hashes.into(), at: at.into() }
    }

    /// Of all rows of some, which follow one another. `None` when there are too many for one.
    pub(crate) fn merged(parts: &[Arc<Self>]) -> Option<Self> {
        let (first, last) = (parts.first()?, parts.last()?);
        let rows = first.rows.start..last.rows.end;
        u32::try_from(rows.end - rows.start).ok()?;
        let count = parts.iter().map(|part| part.hashes.len()).sum();
        u32::try_from(count).ok()?;
        let mut entries = Vec::with_capacity(count);
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
        bytes_of(row_terms_max(signal, rows))
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
        !self.entries_of(hash).is_empty()
    }

    /// Where its entries are.
    fn entries_of(&self, hash: u64) -> Range<usize> {
        let parts = self.starts.len() - 1;
        if parts == 0 {
            return 0..0;
        }
        let part = part_of(hash, parts);
        let [start, end] = [part, part + 1].map(|at| self.starts[at] as usize);
        let hashes = &self.hashes[start..end];
        let first = hashes.partition_point(|other| *other < hash);
        let count = hashes[first..].partition_point(|other| *other == hash);
        start + first..start + first + count
    }

    /// The numbers, ascending, of the rows that may carry a term of this hash.
    pub(crate) fn rows_of(&self, hash: u64) -> impl Iterator<Item = u64> {
        self.rows_within(hash, self.rows.clone())
    }

    /// Those of them that lie in a range of its rows.
    pub(crate) fn rows_within(&self, hash: u64, range: Range<u64>) -> impl Iterator<Item = u64> {
        let at = &self.at[self.entries_of(hash)];
        let first = at.partition_point(|at| self.rows.start + u64::from(*at) < range.start);
        let end = range.end;
        at[first..].iter().map(|at| self.rows.start + u64::from(*at)).take_while(move |row| *row < end)
    }
}

/// Which of `parts` equal parts of all hashes one is in.
const fn part_of(hash: u64, parts: usize) -> usize {
    ((hash as u128 * parts as u128) >> u64::BITS) as usize
}

/// Where each part of ascending hashes begins, and where the last ends.
fn starts(hashes: &[u64]) -> Box<[u32]> {
    let parts = parts_of(hashes.len());
    let mut starts = Vec::with_capacity(parts + 1);
    for (at, hash) in hashes.iter().enumerate() {
        let begun = part_of(*hash, parts) + 1;
        starts.resize(begun.max(starts.len()), at as u32);
    }
    starts.resize(parts + 1, hashes.len() as u32);
    starts.into()
}

#[cfg(test)]
mod tests;
