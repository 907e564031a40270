//! What a journey reads: spans and log records by id terms, as owned rows.
//!
//! Owns: the seam [`Records`] between journeys and the store, and the one conversion from columns to
//! rows. Reading happens in two steps so that a hub costs little: first the heads of all rows found
//! are looked at (trace, time, ids), then only the rows that were chosen are copied.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use model::{Signal, SpanId, TimeRange, TraceId, UnixNano};
use storage::rows::{LogRows, SpanRows};
use storage::{ScanStats, Snapshot};

use crate::limits::Cancel;

/// Attributes by key.
pub(crate) type Attributes = BTreeMap<String, String>;

/// A span, copied out of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SpanRecord {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) parent_span_id: Option<SpanId>,
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) start: UnixNano,
    pub(crate) duration_nano: i64,
    pub(crate) is_error: bool,
    pub(crate) status_message: String,
    pub(crate) ids: Vec<String>,
    pub(crate) attributes: Attributes,
    pub(crate) resource: Attributes,
    pub(crate) events: Vec<EventRecord>,
    pub(crate) links: Vec<(TraceId, SpanId)>,
}

impl SpanRecord {
    /// When it ended; never before it began.
    pub(crate) fn end(&self) -> UnixNano {
        self.start.plus(self.duration_nano.max(0))
    }
}

/// An event of a span.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventRecord {
    pub(crate) time: UnixNano,
    pub(crate) name: String,
    pub(crate) attributes: Attributes,
}

/// A log record, copied out of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogRecord {
    pub(crate) time: UnixNano,
    pub(crate) service: String,
    pub(crate) severity_number: i32,
    pub(crate) severity_text: String,
    pub(crate) body: String,
    pub(crate) event_name: String,
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) ids: Vec<String>,
    pub(crate) attributes: Attributes,
    pub(crate) resource: Attributes,
}

/// What decides whether a row is wanted.
pub(crate) struct Head<'a> {
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) time: UnixNano,
    /// Ids as `kind=value`.
    pub(crate) ids: &'a [&'a str],
    /// Traces it links to.
    pub(crate) links: &'a [TraceId],
}

/// Rows that were found and not copied yet. A row's number is its place in the visit.
pub(crate) trait Rows {
    type Record;

    /// Shows the head of every row.
    fn visit(&self, visit: &mut dyn FnMut(u32, Head<'_>));

    /// Copies rows; `chosen` ascends.
    fn take(&self, chosen: &[u32]) -> Vec<Self::Record>;
}

/// Where spans and log records come from. A lookup gives at least every row that carries one of the
/// terms (`kind=value`, `trace_id=<hex>`, and for spans `link=<hex>`); it may give more.
pub(crate) trait Records {
    type Spans: Rows<Record = SpanRecord>;
    type Logs: Rows<Record = LogRecord>;

    fn spans(&mut self, terms: &[String]) -> Result<Self::Spans, storage::Error>;
    fn logs(&mut self, terms: &[String]) -> Result<Self::Logs, storage::Error>;

    /// On how many traces a term hangs, told without reading its rows; counting may end at `enough`. 0 where
    /// that is not known: the rows tell then.
    fn fanout(&mut self, _term: &str, _enough: usize) -> Result<usize, storage::Error> {
        Ok(0)
    }

    /// From now on a lookup may leave out all but the newest groups (traces within a minute, or single
    /// records); `None` for all again. Gives how many were left out under the limit before.
    fn limit_groups(&mut self, _groups_max: Option<usize>) -> u64 {
        0
    }

    /// Whether nobody waits for the answer any more.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Records of a snapshot within a time range.
pub(crate) struct StoreRecords<'a> {
    snapshot: &'a Snapshot,
    range: TimeRange,
    pub(crate) stats: ScanStats,
    groups_max: usize,
    cancel: Cancel,
}

impl<'a> StoreRecords<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, range: TimeRange) -> Self {
        let (stats, cancel) = (ScanStats::default(), Cancel::default());
        Self { snapshot, range, stats, groups_max: usize::MAX, cancel }
    }

    /// Ends a search when `cancel` says so.
    pub(crate) fn until(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    fn lookup(&mut self, signal: Signal, terms: &[String]) -> Result<Vec<RecordBatch>, storage::Error> {
        self.snapshot.lookup_newest(signal, &self.range, terms, self.groups_max, &mut self.stats)
    }
}

impl Records for StoreRecords<'_> {
    type Spans = StoreSpans;
    type Logs = StoreLogs;

    fn spans(&mut self, terms: &[String]) -> Result<StoreSpans, storage::Error> {
        self.lookup(Signal::Traces, terms).map(StoreSpans)
    }

    fn logs(&mut self, terms: &[String]) -> Result<StoreLogs, storage::Error> {
        self.lookup(Signal::Logs, terms).map(StoreLogs)
    }

    fn fanout(&mut self, term: &str, enough: usize) -> Result<usize, storage::Error> {
        let Self { snapshot, range, stats, .. } = self;
        let mut most = 0;
        for signal in [Signal::Traces, Signal::Logs] {
            // The index counts groups: a trace has several, and parts reach beyond the range. That settles
            // most ids; the others are counted trace by trace.
            let groups = snapshot.count_groups(signal, range, term, enough, stats);
            let traces = match groups < enough {
                true => groups,
                false => snapshot.count_traces(signal, range, term, enough, stats)?,
            };
            most = most.max(if traces < enough { traces } else { groups.max(traces) });
        }
        Ok(most)
    }

    fn limit_groups(&mut self, groups_max: Option<usize>) -> u64 {
        self.groups_max = groups_max.unwrap_or(usize::MAX);
        std::mem::take(&mut self.stats.groups_left_out)
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

/// Spans as the store gives them.
pub(crate) struct StoreSpans(Vec<RecordBatch>);

impl Rows for StoreSpans {
    type Record = SpanRecord;

    fn visit(&self, visit: &mut dyn FnMut(u32, Head<'_>)) {
        let mut number = 0;
        let (mut ids, mut links) = (Vec::new(), Vec::new());
        for batch in &self.0 {
            let rows = SpanRows::new(batch);
            for row in 0..rows.len() {
                ids.clear();
                ids.extend(rows.ids(row));
                links.clear();
                links.extend(rows.links(row).map(|(trace, _)| trace));
                let time = rows.start_time(row);
                visit(number, Head { trace_id: Some(rows.trace_id(row)), time, ids: &ids, links: &links });
                number += 1;
            }
        }
    }

    fn take(&self, chosen: &[u32]) -> Vec<SpanRecord> {
        take(&self.0, chosen, |batch, rows, out| {
            let view = SpanRows::new(batch);
            out.extend(rows.map(|row| span_record(&view, row)));
        })
    }
}

/// Log records as the store gives them.
pub(crate) struct StoreLogs(Vec<RecordBatch>);

impl Rows for StoreLogs {
    type Record = LogRecord;

    fn visit(&self, visit: &mut dyn FnMut(u32, Head<'_>)) {
        let mut number = 0;
        let mut ids = Vec::new();
        for batch in &self.0 {
            let rows = LogRows::new(batch);
            for row in 0..rows.len() {
                ids.clear();
                ids.extend(rows.ids(row));
                let head = Head { trace_id: rows.trace_id(row), time: rows.time(row), ids: &ids, links: &[] };
                visit(number, head);
                number += 1;
            }
        }
    }

    fn take(&self, chosen: &[u32]) -> Vec<LogRecord> {
        take(&self.0, chosen, |batch, rows, out| {
            let view = LogRows::new(batch);
            out.extend(rows.map(|row| log_record(&view, row)));
        })
    }
}

/// Walks numbered rows batch by batch; `copy` gets the rows of one batch.
fn take<T>(
    batches: &[RecordBatch],
    chosen: &[u32],
    copy: impl Fn(&RecordBatch, &mut dyn Iterator<Item = usize>, &mut Vec<T>),
) -> Vec<T> {
    let mut out = Vec::with_capacity(chosen.len());
    let mut rest = chosen;
    let mut first = 0;
    for batch in batches {
        let end = first + batch.num_rows();
        let here = rest.partition_point(|row| (*row as usize) < end);
        if here > 0 {
            copy(batch, &mut rest[..here].iter().map(|row| *row as usize - first), &mut out);
        }
        rest = &rest[here..];
        first = end;
    }
    out
}

fn owned<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Attributes {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn span_record(rows: &SpanRows<'_>, row: usize) -> SpanRecord {
    let event = |event: storage::rows::Event<'_>| EventRecord {
        time: event.time,
        name: event.name.to_owned(),
        attributes: owned(event.attributes.into_iter()),
    };
    SpanRecord {
        trace_id: rows.trace_id(row),
        span_id: rows.span_id(row),
        parent_span_id: rows.parent_span_id(row),
        service: rows.service(row).to_owned(),
        name: rows.name(row).to_owned(),
        kind: rows.kind(row).to_owned(),
        start: rows.start_time(row),
        duration_nano: rows.duration_nano(row),
        is_error: rows.status(row) == "error",
        status_message: rows.status_message(row).to_owned(),
        ids: rows.ids(row).map(str::to_owned).collect(),
        attributes: owned(rows.attributes(row)),
        resource: owned(rows.resource_attributes(row)),
        events: rows.events(row).into_iter().map(event).collect(),
        links: rows.links(row).collect(),
    }
}

fn log_record(rows: &LogRows<'_>, row: usize) -> LogRecord {
    LogRecord {
        time: rows.time(row),
        service: rows.service(row).to_owned(),
        severity_number: rows.severity_number(row),
        severity_text: rows.severity_text(row).to_owned(),
        body: rows.body(row).to_owned(),
        event_name: rows.event_name(row).to_owned(),
        trace_id: rows.trace_id(row),
        span_id: rows.span_id(row),
        ids: rows.ids(row).map(str::to_owned).collect(),
        attributes: owned(rows.attributes(row)),
        resource: owned(rows.resource_attributes(row)),
    }
}
