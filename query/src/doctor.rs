//! The correlation doctor: where an id is lost on its way, per service and edge, and how to mend each place.
//!
//! Owns: what counts as reachable, as a call without its callee, as a lost context; how bad a share is; the words.
//! Does not own: how ids are found in records (`model::ids`), drawing, exit codes.
//!
//! ```text
//! spans, log records ─► Census (bounded; whole traces) ─┬─► coverage  which records an id reaches
//!   newest slice of the range first                     ├─► calls     client spans and their server spans
//!                                                       ├─► messages  producers and consumers
//!                                                       ├─► clocks    intervals between services
//!                                                       └─► orphans   parents that are not there
//!                                                              └─► findings, worst first
//! ```
//!
//! Invariants: memory is bounded by [`Limits::traced`] and what is free for queries, rows by [`Limits::rows`], time by the caller's deadline; what
//! they leave out is a [`Cut`]. When memory does not do for all traces, a part of the traces is judged, each whole.
//! What is too young to be complete ([`SETTLED_NANO`]) is not judged.

mod calls;
mod census;
mod coverage;
mod findings;
mod log_columns;
mod messages;
mod skew;
#[cfg(test)]
mod tests;

use model::time::SECOND;
use model::{Signal, TimeRange, UnixNano};
use query_api::{Cut, DoctorAnswer};
use storage::{Error, ScanOrder, ScanStats, Snapshot};

use crate::columns::SpanColumns;
use crate::limits::Cancel;
use crate::reads::{Growth, MEMORY_HINT, MEMORY_LIMIT, query_stats, read_cuts};
use census::Census;
use findings::Findings;
use log_columns::LogColumns;

/// Exporters and agents hand on what they have within this time: what ended later may lack its other half.
const SETTLED_NANO: i64 = 10 * SECOND;
/// What began so soon after the beginning of the range may have a parent that began before it.
const EDGE_NANO: i64 = 60 * SECOND;
/// The range is read in slices, the newest first, each as long as all before it; the first is one part in so many.
const FIRST_SLICE: i64 = 64;
/// A share above this needs a look.
const WARN_SHARE: f64 = 0.05;
/// A share above this is bad.
const BAD_SHARE: f64 = 0.5;

/// What an examination may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows that are read. Default 5,000,000.
    pub rows: u64,
    /// Spans, and traces of log records, that are held at once. Default 250,000: about 60 MiB.
    pub traced: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 5_000_000, traced: 250_000 }
    }
}

/// What is to be examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// When.
    pub range: TimeRange,
    /// Only what concerns this service.
    pub service: Option<&'a str>,
}

/// Examines what was recorded. Blocking: call off the async threads. Ends early, with a cut, when `is_late` says so.
/// `stats.elapsed_nano` is left 0 for the caller, who holds the clock.
///
/// # Errors
/// When the store cannot be read.
pub fn examine(
    snapshot: &Snapshot,
    request: &Request<'_>,
    limits: &Limits,
    is_late: &dyn Fn() -> bool,
    cancel: &Cancel,
) -> Result<DoctorAnswer, Error> {
    let now = snapshot.taken_at().min(request.range.to);
    let mut reading = Reading {
        snapshot,
        limits,
        is_late,
        cancel,
        census: Census::new(limits.traced),
        stats: ScanStats::default(),
        rows: 0,
        stopped: None,
        held: Growth::new(snapshot),
    };
    let looked_at = reading.read(request.range)?;
    let Reading { mut census, stats, stopped, .. } = reading;
    let edge = (looked_at.nanos() / 10).min(EDGE_NANO);
    census.seal(looked_at, edge, now.plus(-SETTLED_NANO));

    let calls = calls::find(&census);
    let messages = messages::find(&census);
    let clock_offsets = skew::offsets(&census);
    let coverage = coverage::judge(&census, &calls, &messages);
    let mut findings = Findings::default();
    findings.of_calls(&census, &calls);
    findings.of_messages(&census, &messages);
    findings.of_coverage(&census, &coverage);
    findings.of_clocks(&clock_offsets);

    let mut cuts = read_cuts(&stats);
    cuts.extend(stopped.map(|stop| stop.cut(request.range, looked_at, limits)));
    cuts.extend(census.cuts());
    let mut answer = DoctorAnswer {
        range: request.range,
        looked_at,
        findings: findings.sorted(),
        services: coverage.rows(&census),
        edges: calls.edges(&census).chain(messages.edges(&census)).collect(),
        topics: census.topics(),
        clock_offsets,
        cuts,
        stats: query_stats(&stats),
    };
    answer.edges.sort_by(|a, b| b.lost.cmp(&a.lost).then_with(|| (&a.from, &a.to).cmp(&(&b.from, &b.to))));
    if let Some(service) = request.service {
        keep_service(&mut answer, service);
    }
    Ok(answer)
}

fn keep_service(answer: &mut DoctorAnswer, service: &str) {
    answer.findings.retain(|finding| finding.service == service || finding.other == service);
    answer.services.retain(|row| row.service == service);
    answer.edges.retain(|edge| edge.from == service || edge.to == service);
    answer.clock_offsets.retain(|name, _| name == service);
}

/// Why reading ended before the beginning of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Rows,
    Late,
    Memory,
    Cancelled,
}

impl Stop {
    fn cut(self, asked: TimeRange, looked_at: TimeRange, limits: &Limits) -> Cut {
        let (limit, why) = match self {
            Self::Rows => ("rows", format!("cut at {} rows", limits.rows)),
            Self::Late => ("time", "cut because it took too long".to_owned()),
            Self::Memory => (MEMORY_LIMIT, "cut because there is not enough memory".to_owned()),
            Self::Cancelled => ("timeout", "given up before its end".to_owned()),
        };
        let what = match looked_at.from > asked.from {
            true => format!("{why}: nothing before {} was looked at", looked_at.from),
            false => format!("{why}: not all of the range was looked at"),
        };
        let hint = if self == Self::Memory { MEMORY_HINT } else { "ask for a shorter time range" };
        Cut { what, limit: limit.to_owned(), hint: Some(hint.to_owned()) }
    }
}

/// Reads slice by slice, so that what has been read is whole.
struct Reading<'a> {
    snapshot: &'a Snapshot,
    limits: &'a Limits,
    is_late: &'a dyn Fn() -> bool,
    cancel: &'a Cancel,
    census: Census,
    stats: ScanStats,
    /// Rows of the range that were read so far.
    rows: u64,
    stopped: Option<Stop>,
    held: Growth<'a>,
}

impl Reading<'_> {
    /// Gives the range that was read, the newest part of what was asked for.
    fn read(&mut self, range: TimeRange) -> Result<TimeRange, Error> {
        let mut length = (range.nanos() / FIRST_SLICE).max(1);
        let mut slice = TimeRange { from: range.to.plus(-length).max(range.from), to: range.to };
        loop {
            self.logs(&slice)?;
            self.spans(&slice)?;
            if self.stopped.is_some() {
                break;
            }
            if slice.from <= range.from {
                return Ok(range);
            }
            let to = slice.from.plus(-1);
            slice = TimeRange { from: to.plus(-length).max(range.from), to };
            length = length.saturating_mul(2);
        }
        // A slice that was cut does not count, unless it is the first: then it is all there is.
        self.census.is_torn = slice.to == range.to;
        let from = if self.census.is_torn { slice.from } else { slice.to.plus(1) };
        Ok(TimeRange { from, to: range.to })
    }

    fn logs(&mut self, range: &TimeRange) -> Result<(), Error> {
        let stop = Stopper { rows_max: self.limits.rows, is_late: self.is_late, cancel: self.cancel };
        let Self { snapshot, stats, census, stopped, rows: read, held, .. } = self;
        let visit = &mut |batch: &arrow::array::RecordBatch| {
            let rows = LogColumns::new(batch);
            (0..rows.len()).for_each(|row| census.add_log(&rows, row));
            let has_room = held.to(census.bytes()).is_continue();
            stop.flow(rows.len(), has_room, read, stopped)
        };
        snapshot.scan(Signal::Logs, range, LogColumns::NAMES, ScanOrder::Any, stats, visit)
    }

    fn spans(&mut self, range: &TimeRange) -> Result<(), Error> {
        if self.stopped.is_some() {
            return Ok(());
        }
        let stop = Stopper { rows_max: self.limits.rows, is_late: self.is_late, cancel: self.cancel };
        let Self { snapshot, stats, census, stopped, rows: read, held, .. } = self;
        let visit = &mut |batch: &arrow::array::RecordBatch| {
            let rows = SpanColumns::new(batch);
            (0..rows.len()).for_each(|row| census.add_span(&rows, row));
            let has_room = held.to(census.bytes()).is_continue();
            stop.flow(rows.len(), has_room, read, stopped)
        };
        snapshot.scan(Signal::Traces, range, SpanColumns::NAMES, ScanOrder::Any, stats, visit)
    }
}

/// Says when a scan has to end.
struct Stopper<'a> {
    rows_max: u64,
    is_late: &'a dyn Fn() -> bool,
    cancel: &'a Cancel,
}

impl Stopper<'_> {
    /// `read` counts the rows of all scans so far; `has_room` says whether there was memory for what is remembered of them.
    fn flow(
        &self,
        rows: usize,
        has_room: bool,
        read: &mut u64,
        stopped: &mut Option<Stop>,
    ) -> std::ops::ControlFlow<()> {
        *read += rows as u64;
        *stopped = match () {
            () if self.cancel.is_cancelled() => Some(Stop::Cancelled),
            () if !has_room => Some(Stop::Memory),
            () if (self.is_late)() => Some(Stop::Late),
            () if *read >= self.rows_max => Some(Stop::Rows),
            () => return std::ops::ControlFlow::Continue(()),
        };
        std::ops::ControlFlow::Break(())
    }
}

/// How bad a share is; `None` when nothing needs to be done.
fn severity(affected: u64, of: u64) -> Option<query_api::Severity> {
    let share = affected as f64 / of.max(1) as f64;
    match share {
        _ if affected == 0 => None,
        share if share > BAD_SHARE => Some(query_api::Severity::Bad),
        share if share >= WARN_SHARE => Some(query_api::Severity::Warn),
        _ => None,
    }
}

/// Whether a time lies within what can be judged.
const fn is_before(time: UnixNano, other: UnixNano) -> bool {
    time.0 < other.0
}
