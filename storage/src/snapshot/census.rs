//! Counting what carries an id, before anything of it is read.

use std::collections::HashSet;
use std::ops::ControlFlow;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use model::{Signal, TimeRange, TraceId, UnixNano};

use super::{Part, ScanOrder, ScanStats, Snapshot, missing};
use crate::error::Error;
use crate::memory::{Reservation, bytes_of};
use crate::rows::{TermColumns, Wanted};
use crate::schema::time_column;
use crate::segment::reader::Segment;

/// How often an id kind stands in a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdKindCount {
    /// Values in spans: exact in the head and in each segment; a value that stands in several of them is
    /// counted in each.
    pub values_in_spans: u64,
    /// Values in log records, counted in the same way.
    pub values_in_logs: u64,
    /// One of the values as `kind=value`.
    pub example: Option<String>,
}

impl Snapshot {
    /// How many traces carry `term` within `range`; counting ends at `enough`. Reads the columns that say so
    /// and no others.
    ///
    /// # Errors
    /// For defects of ours only.
    pub fn count_traces(
        &self,
        signal: Signal,
        range: &TimeRange,
        term: &str,
        enough: usize,
        stats: &mut ScanStats,
    ) -> Result<usize, Error> {
        let mut traces: HashSet<TraceId> = HashSet::new();
        self.head_view(signal).each_carrier(&Wanted::new([term]), &mut |batch, columns, row| {
            if is_within(signal, &batch.rows, row, range) {
                traces.extend(columns.group(row).ok().map(TraceId));
            }
            if traces.len() < enough { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        for part in self.parts(signal, range, ScanOrder::Newest, stats) {
            if traces.len() >= enough {
                break;
            }
            let Part::Segment(segment) = part else { continue };
            let rows = WantedTraces { signal, range, term, enough, held: &self.held };
            if let Err(error) = rows.of(segment, &mut traces) {
                missing(&error, stats);
            }
        }
        Ok(traces.len())
    }

    /// How many values each of the id kinds has within the parts that overlap `range`. Reads the
    /// dictionaries' ends in segments and the ids of the head's rows; `flow` can end it.
    ///
    /// # Errors
    /// For defects of ours only.
    pub fn count_values(
        &self,
        kinds: &[&str],
        range: &TimeRange,
        stats: &mut ScanStats,
        flow: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Vec<IdKindCount>, Error> {
        let mut counts = vec![IdKindCount::default(); kinds.len()];
        for signal in [Signal::Traces, Signal::Logs] {
            for segment in self.segments(signal).filter(|segment| segment.meta().time.overlaps(range)) {
                if flow().is_break() {
                    return Ok(counts);
                }
                for (kind, count) in kinds.iter().zip(&mut counts) {
                    match segment.values(kind) {
                        Ok((values, example)) => count.add(signal, values, example),
                        Err(error) => missing(&error, stats),
                    }
                }
            }
            self.count_head_values(signal, kinds, range, &mut counts);
        }
        Ok(counts)
    }

    fn count_head_values(
        &self,
        signal: Signal,
        kinds: &[&str],
        range: &TimeRange,
        counts: &mut [IdKindCount],
    ) {
        let mut values: HashSet<&str> = HashSet::new();
        for batch in self.head(signal).filter(|batch| batch.time.overlaps(range)) {
            let Some(columns) = TermColumns::new(signal, &batch.rows) else { continue };
            (0..batch.rows.num_rows()).for_each(|row| values.extend(columns.ids(row)));
        }
        for (kind, count) in kinds.iter().zip(counts) {
            let is_of_kind = |term: &&&str| term.split_once('=').is_some_and(|(found, _)| found == *kind);
            let of_kind = values.iter().filter(is_of_kind);
            let example = of_kind.clone().max().map(|term| (*term).to_owned());
            count.add(signal, of_kind.count() as u64, example);
        }
    }
}

/// Groups of a segment that are read at first while traces are counted.
const GROUPS_FIRST: usize = 256;

impl IdKindCount {
    fn add(&mut self, signal: Signal, values: u64, example: Option<String>) {
        match signal {
            Signal::Traces => self.values_in_spans += values,
            Signal::Logs | Signal::Metrics => self.values_in_logs += values,
        }
        if example.is_some() {
            self.example = example;
        }
    }
}

fn is_within(signal: Signal, rows: &RecordBatch, row: usize, range: &TimeRange) -> bool {
    let times = rows.column_by_name(time_column(signal)).expect("the time column comes always");
    range.contains(UnixNano(times.as_primitive::<TimestampNanosecondType>().value(row)))
}

/// Traces that are counted.
struct WantedTraces<'a> {
    signal: Signal,
    range: &'a TimeRange,
    term: &'a str,
    enough: usize,
    held: &'a Reservation,
}

impl WantedTraces<'_> {
    /// Adds the traces of one segment that carry the term: a trace has one group a minute, so the last groups
    /// are read first, then ever more of them until there are enough traces.
    fn of(&self, segment: &Segment, traces: &mut HashSet<TraceId>) -> Result<(), Error> {
        let Self { signal, range, term, enough, held } = *self;
        let terms = [term.to_owned()];
        let columns = ["trace_id", time_column(signal)];
        let mut groups_max = enough.saturating_mul(2).max(GROUPS_FIRST);
        loop {
            let (batches, left_out) = segment.lookup(&terms, usize::MAX, groups_max, &columns, held)?;
            for rows in &batches {
                let ids =
                    rows.column_by_name("trace_id").expect("the column was asked for").as_fixed_size_binary();
                let within = (0..rows.num_rows()).filter(|row| is_within(signal, rows, *row, range));
                let valid = within.filter(|row| ids.is_valid(*row));
                traces.extend(valid.filter_map(|row| TraceId::from_bytes(ids.value(row))));
            }
            held.shrink(batches.iter().map(bytes_of).sum());
            if left_out == 0 || traces.len() >= enough || held.refusal().is_some() {
                return Ok(());
            }
            groups_max = groups_max.saturating_mul(8);
        }
    }
}
