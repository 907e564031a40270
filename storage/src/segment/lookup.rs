//! Finding rows of a segment by id and by text: through the indexes beside the rows, and from the rows themselves
//! where an index is damaged.
//!
//! ```text
//! groups_with(terms) ─► ids/  ──────────────► ranges of rows        damaged: count it, read the id columns
//! rows_with_text     ─► text/ ──────────────► rows                  damaged: count it, all rows may match
//! ```
//!
//! Invariant: an answer is the same with and without indexes.

use std::collections::HashSet;
use std::ops::Range;

use arrow::array::{AsArray as _, RecordBatch};
use model::Signal;
use xxhash_rust::xxh3::xxh3_64;

use super::RowRanges;
use super::reader::Segment;
use crate::error::{Context as _, Error, ErrorKind};
use crate::index::{Example, IdIndex, Sought};
use crate::memory::Reservation;
use crate::rows::{self, TermColumns, Wanted};
use crate::schema;
use crate::text::{TextHint, TextRows};

impl Segment {
    /// The rows of the last `groups_max` groups that carry one of the terms, empty when none does, and how
    /// many groups were left out. Reading ends after the batch with which there are more than `rows_max`, or before the
    /// one that does not fit into memory. All columns when `columns` is empty.
    pub(crate) fn lookup(
        &self,
        terms: &[String],
        rows_max: usize,
        groups_max: usize,
        columns: &[&str],
        held: &Reservation,
    ) -> Result<(Vec<RecordBatch>, usize), Error> {
        let (ranges, left_out) = self.groups_with(&Sought::all(terms), groups_max)?;
        let ranges: Vec<_> = ranges.into_iter().flat_map(|range| self.hidden().outside(range)).collect();
        if ranges.is_empty() {
            return Ok((Vec::new(), left_out));
        }
        let (mut found, mut rows) = (Vec::new(), 0);
        for batch in self.read_ranges(ranges, columns)? {
            let batch = batch?;
            if held.grow_by(&batch).is_err() {
                break;
            }
            rows += batch.num_rows();
            found.push(batch);
            if rows > rows_max {
                break;
            }
        }
        Ok((found, left_out))
    }

    /// Ranges of the rows of the last `groups_max` groups that carry one of the terms, hidden ones too, and how
    /// many groups were left out.
    pub(crate) fn groups_with<'t>(
        &self,
        terms: impl IntoIterator<Item = &'t Sought, IntoIter: Clone>,
        groups_max: usize,
    ) -> Result<(Vec<Range<usize>>, usize), Error> {
        let terms = terms.into_iter();
        // Of one run the newest groups are the last.
        let are_last = groups_max == 0 || groups_max == usize::MAX || self.runs().len() == 1;
        let last = if are_last { groups_max } else { usize::MAX };
        let (mut groups, mut left_out) = match self.ids().ask(|ids| ids.lookup(terms.clone(), last)) {
            Some(found) => found,
            None => (self.groups_without_index(terms)?, 0),
        };
        let more = groups.len().saturating_sub(groups_max);
        left_out += more;
        if more > 0 && are_last {
            groups.drain(..more);
        } else if more > 0 {
            groups = self.newest(&groups, groups_max);
        }
        Ok((groups, left_out))
    }

    /// So many of sorted groups, those of the run that ends last first, and of a run the last ones.
    fn newest(&self, groups: &[Range<usize>], groups_max: usize) -> Vec<Range<usize>> {
        let mut chosen = Vec::new();
        for run in self.runs_by_time().into_iter().rev() {
            let start = groups.partition_point(|group| group.start < run.start);
            let end = groups.partition_point(|group| group.start < run.end);
            let from = end - (end - start).min(groups_max - chosen.len());
            chosen.extend_from_slice(&groups[from..end]);
        }
        chosen.sort_unstable_by_key(|group| group.start);
        chosen
    }

    /// Whether looking an id up takes no longer than asking an open index.
    pub(crate) fn has_ids_at_hand(&self) -> bool {
        self.ids().is_at_hand(IdIndex::is_ready)
    }

    /// How many groups carry the term, told by the index alone, or by the rows where it is damaged.
    pub(crate) fn count_groups(&self, term: &Sought) -> Result<usize, Error> {
        match self.ids().ask(|ids| ids.count(term)) {
            Some(count) => Ok(count),
            None => Ok(self.groups_without_index(std::iter::once(term))?.len()),
        }
    }

    /// How many values of an id kind there are, and one of them as `kind=value`.
    pub(crate) fn values(&self, kind: &str) -> Result<(u64, Option<String>), Error> {
        let Some((values, example)) = self.ids().ask(|ids| ids.values(kind)) else {
            return self.values_without_index(kind);
        };
        let example = match example {
            None => None,
            Some(example) => self.term_of(&example)?,
        };
        Ok((values, example))
    }

    /// The term that the index has a key of.
    fn term_of(&self, example: &Example) -> Result<Option<String>, Error> {
        for batch in self.read_ranges(vec![example.rows.clone()], &["ids"])? {
            let batch = batch?;
            let ids = batch.column(0).as_list::<i32>().values();
            let found = ids.as_string::<i32>().iter().flatten().find(|term| example.is(term));
            if found.is_some() {
                return Ok(found.map(str::to_owned));
            }
        }
        Ok(None)
    }

    /// The spans or log records that carry `term` themselves, hidden ones too.
    pub(crate) fn rows_with(&self, term: &str) -> Result<RowRanges, Error> {
        if self.signal() == Signal::Metrics {
            return Ok(RowRanges::default());
        }
        let (groups, _) = self.groups_with(&[Sought::new(term)], usize::MAX)?;
        if groups.is_empty() {
            return Ok(RowRanges::default());
        }
        let mut positions = groups.clone().into_iter().flatten();
        let mut found = Vec::new();
        for batch in self.read_ranges(groups, &["trace_id", "ids"])? {
            let batch = batch?;
            for is_found in rows::carrying(&batch, term) {
                let at = positions.next().expect("as many positions as rows are read");
                if is_found {
                    found.push(at..at + 1);
                }
            }
        }
        Ok(RowRanges::new(found))
    }

    /// The rows that contain the text of the hint or may; `None` when all may.
    pub(super) fn rows_with_text(&self, hint: &TextHint) -> Option<TextRows> {
        if hint.is_empty() {
            return None;
        }
        self.text().ask(|text| text.rows(hint)).flatten()
    }

    /// The groups as the index has them, found by reading every row's ids.
    fn groups_without_index<'t>(
        &self,
        terms: impl Iterator<Item = &'t Sought>,
    ) -> Result<Vec<Range<usize>>, Error> {
        let wanted = Wanted::new(terms.map(|term| term.text.as_str()));
        let (mut found, mut row_number) = (Vec::new(), 0);
        let (mut trace, mut first, mut is_found) = (None, 0, false);
        let starts: HashSet<usize> = self.run_rows().into_iter().map(|rows| rows.start).collect();
        self.each_id_batch(&mut |columns, rows| {
            for row in 0..rows {
                let of_row = columns.group(row).ok();
                if of_row.is_none() || of_row != trace || starts.contains(&row_number) {
                    if is_found {
                        found.push(first..row_number);
                    }
                    (trace, first, is_found) = (of_row, row_number, false);
                }
                is_found |= wanted.is_on(columns, row);
                row_number += 1;
            }
        })?;
        if is_found {
            found.push(first..row_number);
        }
        Ok(found)
    }

    fn values_without_index(&self, kind: &str) -> Result<(u64, Option<String>), Error> {
        let mut known: HashSet<u64> = HashSet::new();
        let mut last: Option<String> = None;
        self.each_id_batch(&mut |columns, rows| {
            let terms = (0..rows).flat_map(|row| columns.ids(row));
            for term in terms.filter(|term| term.split_once('=').is_some_and(|(of, _)| of == kind)) {
                if known.insert(xxh3_64(term.as_bytes())) && last.as_deref().is_none_or(|last| last < term) {
                    last = Some(term.to_owned());
                }
            }
        })?;
        Ok((known.len() as u64, last))
    }

    /// The ids of all rows, hidden ones too, in the order of the file.
    fn each_id_batch(&self, visit: &mut dyn FnMut(&TermColumns<'_>, usize)) -> Result<(), Error> {
        let columns: &[&str] = match self.signal() {
            Signal::Traces => &["trace_id", "ids", "links"],
            Signal::Logs => &["trace_id", "ids"],
            // Without a point that has an exemplar there is no index, and nothing to find.
            Signal::Metrics if !self.ids().is_missing() => return Ok(()),
            Signal::Metrics => &[schema::EXEMPLARS],
        };
        let stored = self.builder(columns)?.build().context(ErrorKind::Damaged, || self.doing())?;
        for batch in self.restoring(stored, columns) {
            let batch = batch?;
            let terms =
                TermColumns::new(self.signal(), &batch).expect("the columns that carry terms were asked for");
            visit(&terms, batch.num_rows());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
