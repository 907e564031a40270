//! Finding rows by id, step after step: what a search that follows ids reads, and nothing twice.
//!
//! ```text
//! count_groups(terms) ─► identity index ─► how many, and which parts have none
//! find(terms) ─────────► identity index ─► groups ─► few rows: whole            once a group, parts side by side
//!                                                └─► many: heads (trace, time, ids, links)
//! read(places) ─────────────────────────────────────► whole rows, as far as they were not read yet
//! ```
//!
//! What a look-up costs is decompressing pages, so few rows are read with all columns at once: reading their heads
//! first would decompress the pages of these columns twice.
//!
//! Owns: which groups of which part were looked at already. Does not own: what is followed (the caller), the
//! index (`index`), how a part is read (`segment`, `head`).
//!
//! Invariants: a place names the same row for as long as its finder lives; the parts of a signal are visited
//! newest first; what a limit leaves out is counted in the stats; rows are kept as far as there is memory for them, and
//! the snapshot's reservation says when there was not.

mod heads;
mod parallel;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;
use model::{Signal, TimeRange};

use super::{LOOKUP_ROWS_MAX, Part, ScanOrder, ScanStats, Snapshot, missing};
use crate::error::Error;
use crate::head::GroupRows;
use crate::index::Sought;
use crate::memory::bytes_of;
use crate::rows::{RowHeads, Wanted};
use crate::segment::reader::Segment;
use heads::{Found, PartHeads, Unread};
use parallel::{each_of, side_by_side};

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
    /// The terms that were looked up in the segments already, for the next look-up of spans and of log records.
    prepared: [Option<Vec<String>>; 2],
    /// The terms whose groups were counted, and the number under which the parts know each.
    counted: HashMap<String, usize>,
    /// Numbers given so far.
    numbers: usize,
    groups_max: usize,
    /// Bytes of the rows that the last [`Finder::read`] gave.
    given_bytes: usize,
    /// What the search cost so far.
    pub stats: ScanStats,
}

impl std::fmt::Debug for Finder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finder").field("range", &self.range).finish_non_exhaustive()
    }
}

/// A segment, and what is known of it.
type SegmentPart<'f, 'a> = (&'a Segment, &'f mut PartHeads<'a>);

/// Whether nothing has to be fetched or opened to look something up in it.
fn is_quick((segment, _): &SegmentPart<'_, '_>) -> bool {
    segment.has_ids_at_hand()
}

/// The part again, and the visible groups of it that carry one of the terms.
fn looked_up<'f, 'a>(
    (segment, part): SegmentPart<'f, 'a>,
    terms: &[(Sought, Option<usize>)],
) -> (SegmentPart<'f, 'a>, Result<Vec<Range<usize>>, Error>) {
    let groups = part.look_up(segment, terms);
    ((segment, part), groups)
}

/// What becomes of a batch once something was made of it.
#[derive(Clone, Copy)]
enum Batches {
    /// It is given to the caller.
    Given,
    LetGo,
}

impl<'a> Finder<'a> {
    /// Looks for rows of a snapshot within a time range.
    pub fn new(snapshot: &'a Snapshot, range: TimeRange) -> Self {
        let (spans, logs, stats) = (None, None, ScanStats::default());
        let (prepared, counted, groups_max) = ([None, None], HashMap::new(), usize::MAX);
        let (numbers, given_bytes) = (0, 0);
        Self { snapshot, range, spans, logs, prepared, counted, numbers, groups_max, given_bytes, stats }
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
        let held = self.snapshot.held();
        let mut found = Found { left: LOOKUP_ROWS_MAX, groups: self.groups_max, range: &range, held };
        let is_prepared = self.prepared[slot(signal)].take().is_some_and(|prepared| prepared == terms);
        if found.groups < usize::MAX {
            self.parts(signal).0.iter_mut().for_each(|part| part.prepared = None);
        } else if !is_prepared {
            self.prepare_in(&[signal], terms);
        }
        let head = self.snapshot.head_view(signal);
        let carriers = head.carriers(&Wanted::new(terms.iter().map(String::as_str)));
        let (parts, stats) = self.parts(signal);
        for (number, part) in (0..).zip(parts) {
            match part.part {
                Part::Head(batch) => {
                    let Some(carriers) = carriers.get(&batch.rows_before) else { continue };
                    let GroupRows { rows, groups, left_out } = head.groups_of(batch, carriers, found.groups);
                    stats.head_rows += rows.len() as u64;
                    stats.groups_left_out += left_out as u64;
                    found.groups = found.groups.saturating_sub(groups);
                    if let Some(heads) = RowHeads::new(signal, &batch.rows) {
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
    /// that of the places. A part that cannot be read any more is counted in the stats. Memory is reserved for
    /// the rows until the next read.
    ///
    /// # Errors
    /// For defects of ours only.
    pub fn read(&mut self, signal: Signal, places: &[Place], columns: &[&str]) -> Result<Vec<Rows>, Error> {
        self.snapshot.held().shrink(std::mem::take(&mut self.given_bytes));
        let give = |(): &mut (), rows: &Rows, given: &mut Vec<Rows>| given.push(rows.clone());
        let (rows, bytes) = self.read_parts(signal, places, columns, &give, Batches::Given)?;
        self.given_bytes = bytes;
        Ok(rows)
    }

    /// What `make` makes of the same rows, in no promised order. Batches are read one after another, in as many threads as
    /// there are cores, and let go once something was made of them, so that only few are held; each thread keeps a state
    /// of its own.
    ///
    /// # Errors
    /// For defects of ours only.
    pub fn read_each<T: Send, S: Default>(
        &mut self,
        signal: Signal,
        places: &[Place],
        columns: &[&str],
        make: &(dyn Fn(&mut S, &Rows, &mut Vec<T>) + Sync),
    ) -> Result<Vec<T>, Error> {
        self.read_parts(signal, places, columns, make, Batches::LetGo).map(|(made, _)| made)
    }

    /// What is made of the rows, and the bytes that stay reserved for batches that were read.
    fn read_parts<T: Send, S: Default>(
        &mut self,
        signal: Signal,
        places: &[Place],
        columns: &[&str],
        make: &(dyn Fn(&mut S, &Rows, &mut Vec<T>) + Sync),
        batches: Batches,
    ) -> Result<(Vec<T>, usize), Error> {
        let mut places = places.to_vec();
        places.sort_unstable();
        places.dedup();
        let held = self.snapshot.held();
        let (parts, stats) = self.parts(signal);
        let (mut state, mut made) = (S::default(), Vec::with_capacity(places.len()));
        let mut jobs: Vec<(&Segment, Vec<Range<usize>>)> = Vec::new();
        for of_part in places.chunk_by(|a, b| a.part == b.part) {
            let part = &parts[of_part[0].part as usize];
            match &part.part {
                Part::Head(batch) => {
                    let rows = of_part.iter().map(|place| place.row).collect();
                    make(&mut state, &Rows { batch: batch.rows.clone(), rows }, &mut made);
                }
                Part::Segment(segment) => {
                    let unread = part.take_known(of_part, &mut |rows| make(&mut state, &rows, &mut made));
                    jobs.extend(segment.by_group(&ranges(&unread)).into_iter().map(|rows| (*segment, rows)));
                }
            }
        }
        let (all, given) = (Mutex::new(made), AtomicUsize::new(0));
        let read = |state: &mut S, (segment, ranges): (&Segment, Vec<Range<usize>>)| -> Result<u64, Error> {
            let mut scanned = 0;
            let mut made = Vec::new();
            for batch in segment.read_ranges(ranges, columns)? {
                let batch = batch?;
                let bytes = bytes_of(&batch);
                if held.grow(bytes).is_err() {
                    break;
                }
                scanned += batch.num_rows() as u64;
                let rows = (0..batch.num_rows() as u32).collect();
                make(state, &Rows { batch, rows }, &mut made);
                match batches {
                    Batches::Given => drop(given.fetch_add(bytes, Ordering::Relaxed)),
                    Batches::LetGo => held.shrink(bytes),
                }
                all.lock().unwrap_or_else(PoisonError::into_inner).append(&mut made);
            }
            Ok(scanned)
        };
        for read in side_by_side(jobs, &read) {
            match read {
                Ok(scanned) => stats.rows_scanned += scanned,
                Err(error) => missing(&error, stats),
            }
        }
        Ok((all.into_inner().unwrap_or_else(PoisonError::into_inner), given.into_inner()))
    }

    /// How many groups (see [`Snapshot::lookup`]) of spans, and how many of log records, carry each of the terms in the parts
    /// that overlap the range. Told by the index, so that a hub costs as much as a rare id; counting in the head ends at the
    /// number beside the term. What is looked for in the next step is not sought again in segments that have none of it.
    pub fn count_groups(&mut self, terms: &[(&str, usize)]) -> Vec<[usize; 2]> {
        let sought: Vec<Sought> = terms.iter().map(|(term, _)| Sought::new(term)).collect();
        let first = self.numbers;
        self.numbers += terms.len();
        self.counted
            .extend(terms.iter().map(|(term, _)| *term).zip(first..).map(|(term, at)| (term.to_owned(), at)));
        let mut counts = vec![[0; 2]; terms.len()];
        if terms.is_empty() {
            return counts;
        }
        let count = |(segment, part): SegmentPart<'_, '_>| {
            (slot(segment.signal()), part.count(segment, &sought, first))
        };
        let jobs = self.segments(&[Signal::Traces, Signal::Logs]);
        for (slot, counted) in each_of(jobs, sought.len(), is_quick, &count) {
            match counted {
                Ok(here) => here.iter().zip(&mut counts).for_each(|(here, count)| count[slot] += here),
                Err(error) => missing(&error, &mut self.stats),
            }
        }
        for signal in [Signal::Traces, Signal::Logs] {
            let head = self.snapshot.head_view(signal);
            for ((term, enough), count) in terms.iter().zip(&mut counts) {
                let count = &mut count[slot(signal)];
                *count += head.count_groups(term, &self.range, enough.saturating_sub(*count));
            }
        }
        counts
    }

    /// The segments of signals, and what is known of them.
    fn segments(&mut self, signals: &[Signal]) -> Vec<SegmentPart<'_, 'a>> {
        for signal in signals {
            self.parts(*signal);
        }
        // Log records first: they take longer.
        let wanted = [(Signal::Logs, &mut self.logs), (Signal::Traces, &mut self.spans)].into_iter();
        let parts =
            wanted.filter(|(signal, _)| signals.contains(signal)).flat_map(|(_, parts)| parts.iter_mut());
        let mut segments = Vec::new();
        for part in parts.flatten() {
            if let Part::Segment(segment) = part.part {
                segments.push((segment, part));
            }
        }
        segments
    }

    /// Forgets what was read to be looked at again, but for the stats.
    pub fn forget(&mut self) {
        let parts = [&mut self.spans, &mut self.logs].into_iter().flatten().flatten();
        self.snapshot.held().shrink(parts.map(PartHeads::forget).sum());
    }

    /// Looks the terms up in the segments of spans and of log records side by side. The next [`Finder::find`] of each with
    /// the same terms has only the head left to search.
    pub fn prepare(&mut self, terms: &[String]) {
        if self.groups_max == usize::MAX {
            let both = [Signal::Traces, Signal::Logs];
            self.prepare_in(&both, terms);
            self.prepared = both.map(|_| Some(terms.to_vec()));
        }
    }

    /// Looks the terms up in all segments of signals, and reads the heads of what is new, as many row groups at once as
    /// there are cores. Only for look-ups whose parts do not depend on one another.
    fn prepare_in(&mut self, signals: &[Signal], terms: &[String]) {
        let held = self.snapshot.held();
        let known = |term: &String| (Sought::new(term), self.counted.get(term).copied());
        let terms: Vec<(Sought, Option<usize>)> = terms.iter().map(known).collect();
        let jobs = self.segments(signals);
        let look_up = |part| looked_up(part, &terms);
        let (mut parts, mut unread, mut stats) = (Vec::new(), Vec::new(), ScanStats::default());
        for ((segment, part), groups) in each_of(jobs, terms.len(), is_quick, &look_up) {
            if let Ok(groups) = &groups {
                let of_part = part.unread(segment, groups, LOOKUP_ROWS_MAX, &mut stats);
                unread.extend(of_part.into_iter().map(|unread| (parts.len(), segment, unread)));
            }
            part.prepared = Some(groups);
            parts.push(part);
        }
        let read = |(): &mut (), (part, segment, unread): (usize, &Segment, Unread)| {
            let heads = unread.read(segment, held);
            (part, unread, heads)
        };
        for (part, unread, heads) in side_by_side(unread, &read) {
            match heads {
                Ok(heads) => stats.rows_scanned += parts[part].keep(unread, heads),
                Err(error) => parts[part].prepared = Some(Err(error)),
            }
        }
        self.stats.rows_scanned += stats.rows_scanned;
        self.stats.segments_read += stats.segments_read;
    }

    fn parts(&mut self, signal: Signal) -> (&mut Vec<PartHeads<'a>>, &mut ScanStats) {
        let Self { snapshot, range, spans, logs, stats, .. } = self;
        let slot = if slot(signal) == 1 { logs } else { spans };
        let parts = slot.get_or_insert_with(|| {
            snapshot.count_unreadable(signal, range, stats);
            let parts = snapshot.parts(signal, range, ScanOrder::Newest, stats).into_iter();
            parts.map(PartHeads::new).collect()
        });
        (parts, stats)
    }
}

impl Drop for Finder<'_> {
    fn drop(&mut self) {
        self.forget();
        self.snapshot.held().shrink(self.given_bytes);
    }
}

/// Where a finder keeps what it knows of a signal.
const fn slot(signal: Signal) -> usize {
    match signal {
        Signal::Logs => 1,
        Signal::Traces | Signal::Metrics => 0,
    }
}

/// Rows of a batch. Cheap to clone but for the numbers.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The columns asked for, or more.
    pub batch: RecordBatch,
    /// Which rows of it.
    pub rows: Vec<u32>,
}

impl Rows {
    /// Bytes of these rows, roughly.
    pub fn bytes(&self) -> usize {
        bytes_of(&self.batch) / self.batch.num_rows().max(1) * self.rows.len()
    }
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
