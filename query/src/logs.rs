//! Log search: the latest records that match, how many there are, over time and by value; counts for
//! alert rules; the live tail.
//!
//! Owns: reading records of a snapshot for a search, the shape of [`LogsAnswer`]. Does not own: what a
//! search means (`search`), HTTP.
//!
//! Invariants: every record that matches is counted, also those that are not returned; memory is
//! bounded by `limit` records, [`ANSWER_BYTES_MAX`] and what is free for queries, and what that leaves out is a [`Cut`].

mod collect;
mod count;
mod histogram;
mod record;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow::array::RecordBatch;
use model::{Signal, TimeRange};
use query_api::{LogRecord, LogsAnswer};
use storage::rows::{LogRows, completed};
use storage::{Error, Finder, Place, Rows, ScanStats, Snapshot, TextSearch};

use crate::limits::Cancel;
use crate::reads::{add_memory_cut, query_stats, read_cuts};
use crate::search::Query;
use collect::Collector;
use record::{bytes, record};

pub use count::{CountError, GROUPS_MAX, GroupCount, count};
pub use tail::{KEEP_ALIVE, tail};

/// Bytes of records one answer may hold.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The latest `limit` records within `range` that match, oldest first, with the number, the histogram
/// and the facets of all that match. Blocking. `stats.elapsed_nano` is left 0 for the caller, who holds
/// the clock.
///
/// # Errors
/// When the store cannot be read.
pub fn search(
    snapshot: &Snapshot,
    query: &Query,
    range: TimeRange,
    limit: usize,
    cancel: &Cancel,
) -> Result<LogsAnswer, Error> {
    let mut collector = Collector::new(range, limit);
    let read = visit_matches(snapshot, query, range, Collector::COLUMNS, cancel, &mut |found| {
        collector.add(found);
        ControlFlow::Continue(())
    })?;
    let (stats, records) = read.records(snapshot, range, &collector.latest())?;
    let is_out_of_memory = snapshot.held().refusal().is_some();
    let mut answer = collector.finish(records, query_stats(&stats), is_out_of_memory);
    answer.cuts.extend(read_cuts(&stats));
    add_memory_cut(&mut answer.cuts, snapshot);
    Ok(answer)
}

/// Calls `visit` with the matching records of each batch in which there can be one: those that carry an id that the search
/// demands, or that may contain its text, later parts first. `columns` are read of all; what the search looks at
/// comes besides.
fn visit_matches(
    snapshot: &Snapshot,
    query: &Query,
    range: TimeRange,
    columns: &[&'static str],
    cancel: &Cancel,
    visit: &mut dyn FnMut(&Matches<'_>) -> ControlFlow<()>,
) -> Result<Read, Error> {
    let mut stats = ScanStats::default();
    if let Some(terms) = query.required_ids() {
        let batches = snapshot.lookup(Signal::Logs, &range, terms, &mut stats)?;
        for (part, batch) in (0..).zip(&batches) {
            let rows = LogRows::new(batch);
            let matching: Vec<usize> = (0..rows.len()).filter(|row| query.matches_log(&rows, *row)).collect();
            let place = &|row| Place { part, row: row as u32 };
            if visit(&Matches { rows: &rows, matching: &matching, place }).is_break() || cancel.is_cancelled()
            {
                break;
            }
        }
        return Ok(Read { stats, batches: Some(batches) });
    }
    let columns: BTreeSet<&str> = query.log_columns().into_iter().chain(columns.iter().copied()).collect();
    let columns: Vec<&str> = columns.into_iter().collect();
    let wanted =
        TextSearch { signal: Signal::Logs, range: &range, hint: query.text_hint(), columns: &columns };
    snapshot.search(&wanted, &mut stats, &mut |found| {
        let whole = completed(Signal::Logs, found.rows);
        let rows = LogRows::new(&whole);
        let matching: Vec<usize> = match found.is_sure {
            true if query.is_text_alone() => (0..rows.len()).collect(),
            true => (0..rows.len()).filter(|row| query.matches_log_with_text(&rows, *row)).collect(),
            false => (0..rows.len()).filter(|row| query.matches_log(&rows, *row)).collect(),
        };
        let flow = visit(&Matches { rows: &rows, matching: &matching, place: &|row| found.place(row) });
        if flow.is_break() { flow } else { cancel.flow() }
    })?;
    Ok(Read { stats, batches: None })
}

/// The matching records of one batch.
struct Matches<'a> {
    /// Rows of the batch; columns that nobody asked for are empty.
    rows: &'a LogRows<'a>,
    matching: &'a [usize],
    place: &'a dyn Fn(usize) -> Place,
}

/// What was read, and what of it is still there.
struct Read {
    stats: ScanStats,
    /// Whole batches, whose numbers are those of the parts in places.
    batches: Option<Vec<RecordBatch>>,
}

/// Places whose records are read at once.
const RECORDS_READ: usize = 1_000;

impl Read {
    /// The whole records at some places, the latest first, until they take [`ANSWER_BYTES_MAX`] or there is no memory.
    fn records(
        mut self,
        snapshot: &Snapshot,
        range: TimeRange,
        latest: &[Place],
    ) -> Result<(ScanStats, Vec<LogRecord>), Error> {
        let mut finder = Finder::new(snapshot, range);
        let (mut records, mut held) = (Vec::new(), 0);
        for places in latest.chunks(RECORDS_READ) {
            let rows = match &self.batches {
                Some(batches) => rows_of(batches, places),
                None => finder.read(Signal::Logs, places, &[])?,
            };
            let mut some: Vec<LogRecord> = Vec::with_capacity(places.len());
            for Rows { batch, rows } in &rows {
                let of_batch = LogRows::new(batch);
                some.extend(rows.iter().map(|row| record(&of_batch, *row as usize)));
            }
            some.sort_by_key(|record| record.time);
            some.reverse();
            for record in some {
                held += bytes(&record);
                let is_too_much = held > ANSWER_BYTES_MAX && !records.is_empty();
                // Once as a record, once as JSON.
                if is_too_much || snapshot.held().grow(2 * bytes(&record)).is_err() {
                    return Ok((self.stats, records));
                }
                records.push(record);
            }
        }
        let unreadable = &mut self.stats.segments_unreadable;
        *unreadable = finder.stats.segments_unreadable.max(*unreadable);
        Ok((self.stats, records))
    }
}

/// The rows at some places of whole batches.
fn rows_of(batches: &[RecordBatch], places: &[Place]) -> Vec<Rows> {
    let mut places = places.to_vec();
    places.sort_unstable();
    let of_batch = |places: &[Place]| Rows {
        batch: batches[places[0].part as usize].clone(),
        rows: places.iter().map(|place| place.row).collect(),
    };
    places.chunk_by(|a, b| a.part == b.part).map(of_batch).collect()
}
