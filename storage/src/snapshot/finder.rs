//! Finding rows by id, step after step: what a search that follows ids reads, and nothing twice.
//!
//! ```text
//! find(terms) ─► identity index ─► groups ─► heads: trace, time, ids, links     a few narrow columns, once a group
//! read(places) ─────────────────────────────► whole rows                        once a part, parts side by side
//! ```
//!
//! Owns: which groups of which part were looked at already. Does not own: what is followed (the caller), the
//! index (`index`), how a part is read (`segment`, `head`).
//!
//! Invariants: a place names the same row for as long as its finder lives; the parts of a signal are visited
//! newest first; what a limit leaves out is counted in the stats.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::RecordBatch;
use model::{Signal, TimeRange};

use super::{LOOKUP_ROWS_MAX, Part, ScanOrder, ScanStats, Snapshot, missing};
use crate::error::Error;
use crate::rows::RowHeads;
use crate::segment::reader::Segment;

/// Where a row is: a part of the snapshot and a row of that part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Number of the part; a segment, or the rows of one request in the head.
    pub part: u32,
    /// Number of the row in it.
    pub row: u32,
}

/// A search through one snapshot.
pub struct Finder<'a> {
    snapshot: &'a Snapshot,
    range: TimeRange,
    spans: Option<Vec<PartHeads<'a>>>,
    logs: Option<Vec<PartHeads<'a>>>,
    groups_max: usize,
    /// What the search cost so far.
    pub stats: ScanStats,
}

impl std::fmt::Debug for Finder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finder").field("range", &self.range).finish_non_exhaustive()
    }
}

/// A part, and the heads of its rows that were read.
struct PartHeads<'a> {
    part: Part<'a>,
    /// Of a segment: where the head of a group's first row is, by that row.
    known: HashMap<usize, HeadsAt>,
    batches: Vec<RecordBatch>,
    is_read: bool,
}

#[derive(Clone, Copy)]
struct HeadsAt {
    batch: usize,
    first: usize,
    rows: usize,
}

impl<'a> Finder<'a> {
    /// Looks for rows of a snapshot within a time range.
    pub fn new(snapshot: &'a Snapshot, range: TimeRange) -> Self {
        let (spans, logs, stats) = (None, None, ScanStats::default());
        Self { snapshot, range, spans, logs, groups_max: usize::MAX, stats }
    }

    /// From now on [`Finder::find`] gives no more than this many groups, the newest. Gives how many groups
    /// were left out so far, and begins to count anew.
    pub fn limit_groups(&mut self, groups_max: Option<usize>) -> u64 {
        self.groups_max = groups_max.unwrap_or(usize::MAX);
        std::mem::take(&mut self.stats.groups_left_out)
    }

    /// The heads of the rows, within the range, of every group that carries one of the terms, as
    /// [`Snapshot::lookup`] has it. `visit` gets each with its place.
    ///
    /// # Errors
    /// For defects of ours only.
    pub fn find(
        &mut self,
        signal: Signal,
        terms: &[String],
        visit: &mut dyn FnMut(Place, &RowHeads<'_>, usize),
    ) -> Result<(), Error> {
        let range = self.range;
        let mut found = Found { left: LOOKUP_ROWS_MAX, groups: self.groups_max, range: &range };
        let (parts, stats) = self.parts(signal);
        for (number, part) in (0..).zip(parts) {
            match part.part {
                Part::Head(batch) => {
                    stats.head_rows += batch.rows.num_rows() as u64;
                    let (rows, groups, left_out) = batch.rows_with(terms, found.groups);
                    stats.groups_left_out += left_out as u64;
                    found.groups = found.groups.saturating_sub(groups);
                    if let Some(heads) = RowHeads::new(signal, &batch.rows).filter(|_| !rows.is_empty()) {
                        let rows = rows.into_iter().map(|row| (row as usize, row));
                        found.visit(number, &heads, rows, stats, visit);
                    }
                }
                Part::Segment(segment) => {
                    if let Err(error) = part.find_in(segment, number, terms, &mut found, stats, visit) {
                        missing(&error, stats);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whole rows, or some columns of them (all when `columns` is empty). The order of the rows is not
    /// that of the places. A part that cannot be read any more is counted in the stats.
    ///
    /// # Errors
    /// For defects of ours only.
    pub fn read(&mut self, signal: Signal, places: &[Place], columns: &[&str]) -> Result<Vec<Rows>, Error> {
        let mut places = places.to_vec();
        places.sort_unstable();
        places.dedup();
        let (parts, stats) = self.parts(signal);
        let mut rows = Vec::new();
        let mut jobs: Vec<(&Segment, Vec<Range<usize>>)> = Vec::new();
        for of_part in places.chunk_by(|a, b| a.part == b.part) {
            match &parts[of_part[0].part as usize].part {
                Part::Head(batch) => rows.push(Rows {
                    batch: batch.rows.clone(),
                    rows: of_part.iter().map(|place| place.row).collect(),
                }),
                Part::Segment(segment) => jobs.push((segment, ranges(of_part))),
            }
        }
        for read in read_side_by_side(&jobs, columns) {
            match read {
                Ok(batches) => {
                    for batch in batches {
                        stats.rows_scanned += batch.num_rows() as u64;
                        rows.push(Rows { rows: (0..batch.num_rows() as u32).collect(), batch });
                    }
                }
                Err(error) => missing(&error, stats),
            }
        }
        Ok(rows)
    }

    fn parts(&mut self, signal: Signal) -> (&mut Vec<PartHeads<'a>>, &mut ScanStats) {
        let Self { snapshot, range, spans, logs, stats, .. } = self;
        let slot = if signal == Signal::Logs { logs } else { spans };
        let parts = slot.get_or_insert_with(|| {
            snapshot.count_unreadable(signal, range, stats);
            let parts = snapshot.parts(signal, range, ScanOrder::Newest, stats).into_iter();
            parts.map(PartHeads::new).collect()
        });
        (parts, stats)
    }
}

/// What one lookup may still give.
struct Found<'a> {
    left: usize,
    groups: usize,
    range: &'a TimeRange,
}

impl Found<'_> {
    fn visit(
        &mut self,
        part: u32,
        heads: &RowHeads<'_>,
        rows: impl Iterator<Item = (usize, u32)>,
        stats: &mut ScanStats,
        visit: &mut dyn FnMut(Place, &RowHeads<'_>, usize),
    ) {
        for (at, row) in rows.filter(|(at, _)| self.range.contains(heads.time(*at))) {
            if self.left == 0 {
                stats.is_cut = true;
                return;
            }
            self.left -= 1;
            visit(Place { part, row }, heads, at);
        }
    }
}

impl<'a> PartHeads<'a> {
    fn new(part: Part<'a>) -> Self {
        Self { part, known: HashMap::new(), batches: Vec::new(), is_read: false }
    }

    fn find_in(
        &mut self,
        segment: &Segment,
        number: u32,
        terms: &[String],
        found: &mut Found<'_>,
        stats: &mut ScanStats,
        visit: &mut dyn FnMut(Place, &RowHeads<'_>, usize),
    ) -> Result<(), Error> {
        if found.left == 0 {
            return Ok(());
        }
        let (groups, left_out) = segment.groups_with(terms, found.groups)?;
        stats.groups_left_out += left_out as u64;
        found.groups = found.groups.saturating_sub(groups.len());
        let groups: Vec<Range<usize>> =
            groups.into_iter().flat_map(|group| segment.hidden().outside(group)).collect();
        if !groups.is_empty() && !std::mem::replace(&mut self.is_read, true) {
            stats.segments_read += 1;
        }
        self.read_heads(segment, &groups, found.left, stats)?;
        for group in groups {
            let Some(at) = self.known.get(&group.start) else {
                stats.is_cut = true;
                continue;
            };
            let heads = RowHeads::new(segment.signal(), &self.batches[at.batch]);
            let heads = heads.expect("only signals with ids have groups");
            let rows = (0..at.rows).map(|row| (at.first + row, (group.start + row) as u32));
            found.visit(number, &heads, rows, stats, visit);
        }
        Ok(())
    }

    /// Reads the heads of the groups that are not known yet, `rows_max` rows or a few more.
    fn read_heads(
        &mut self,
        segment: &Segment,
        groups: &[Range<usize>],
        rows_max: usize,
        stats: &mut ScanStats,
    ) -> Result<(), Error> {
        let mut rows = 0;
        let unknown = groups.iter().filter(|group| !self.known.contains_key(&group.start));
        let unknown = unknown.take_while(|group| {
            let has_room = rows < rows_max;
            rows += group.len();
            has_room
        });
        let unknown: Vec<Range<usize>> = unknown.cloned().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let batches = segment.read(unknown.clone(), RowHeads::columns(segment.signal()))?;
        let heads = arrow::compute::concat_batches(&batches[0].schema(), &batches)
            .map_err(|error| Error::damaged(format!("{}: {error}", segment.doing())))?;
        stats.rows_scanned += heads.num_rows() as u64;
        let (batch, mut first) = (self.batches.len(), 0);
        for group in unknown {
            self.known.insert(group.start, HeadsAt { batch, first, rows: group.len() });
            first += group.len();
        }
        if first != heads.num_rows() {
            return Err(Error::damaged(format!(
                "{}: {} rows came where {first} were asked for",
                segment.doing(),
                heads.num_rows()
            )));
        }
        self.batches.push(heads);
        Ok(())
    }
}

/// Rows of a batch.
#[derive(Debug)]
pub struct Rows {
    /// The columns asked for, or more.
    pub batch: RecordBatch,
    /// Which rows of it.
    pub rows: Vec<u32>,
}

/// Ranges of the rows of ascending places.
fn ranges(places: &[Place]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for place in places {
        let row = place.row as usize;
        match ranges.last_mut() {
            Some(last) if last.end == row => last.end += 1,
            _ => ranges.push(row..row + 1),
        }
    }
    ranges
}

/// Reads from several segments at once, as many as there are cores: decompressing pages is what it costs.
fn read_side_by_side(
    jobs: &[(&Segment, Vec<Range<usize>>)],
    columns: &[&str],
) -> Vec<Result<Vec<RecordBatch>, Error>> {
    let read = |(segment, ranges): &(&Segment, Vec<Range<usize>>)| segment.read(ranges.clone(), columns);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    if threads < 2 {
        return jobs.iter().map(read).collect();
    }
    std::thread::scope(|scope| {
        let every = |thread: usize| jobs.iter().skip(thread).step_by(threads);
        let others: Vec<_> = (1..threads)
            .map(|thread| scope.spawn(move || every(thread).map(read).collect::<Vec<_>>()))
            .collect();
        let mut done: Vec<_> = every(0).map(read).collect();
        for other in others {
            match other.join() {
                Ok(results) => done.extend(results),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    })
}
