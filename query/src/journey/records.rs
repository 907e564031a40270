//! What a journey reads: spans and log records by id terms, as owned rows.
//!
//! Owns: the seam [`Records`] between journeys and the store, and the one conversion from columns to
//! rows. Reading happens in two steps so that a hub costs little: a search looks at heads only (trace, time,
//! ids, links); what it has chosen in all its steps is read whole at the end, at once.

use std::collections::HashMap;

use model::{Signal, SpanId, TimeRange, TraceId, UnixNano};
use query_api::text::Texts;
use query_api::{Attributes, Text};
use storage::rows::{LogRows, SpanRows};
use storage::{Finder, OutOfMemory, Place, ScanStats, Snapshot};

use super::exemplars::{self, ExemplarRecord};
use crate::limits::Cancel;

/// The kind of spans that nobody sent, see `infer`; no span that was sent has it.
pub(crate) const INFERRED: &str = "inferred";

/// A span, copied out of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SpanRecord {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) parent_span_id: Option<SpanId>,
    pub(crate) service: Text,
    pub(crate) name: Text,
    pub(crate) kind: Text,
    pub(crate) start: UnixNano,
    pub(crate) duration_nano: i64,
    pub(crate) is_error: bool,
    pub(crate) status_message: Text,
    pub(crate) ids: Vec<Text>,
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

    /// Whether nobody sent it: it follows from log records.
    pub(crate) fn is_inferred(&self) -> bool {
        self.kind == INFERRED
    }
}

/// An event of a span.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventRecord {
    pub(crate) time: UnixNano,
    pub(crate) name: Text,
    pub(crate) attributes: Attributes,
}

/// A log record, copied out of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogRecord {
    pub(crate) time: UnixNano,
    pub(crate) service: Text,
    pub(crate) severity_number: i32,
    pub(crate) severity_text: Text,
    pub(crate) body: Text,
    pub(crate) event_name: Text,
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) ids: Vec<Text>,
    pub(crate) attributes: Attributes,
    pub(crate) resource: Attributes,
    /// The inferred row that it stands in, of a trace.
    pub(crate) inferred_in: Option<(TraceId, SpanId)>,
}

impl LogRecord {
    /// The span it was written in, or the inferred row it stands in.
    pub(crate) fn written_in(&self) -> Option<(TraceId, SpanId)> {
        self.inferred_in.or(self.trace_id.zip(self.span_id))
    }

    /// The trace it is drawn in.
    pub(crate) fn drawn_in(&self) -> Option<TraceId> {
        self.inferred_in.map(|(trace, _)| trace).or(self.trace_id)
    }
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

/// Where spans and log records come from.
pub(crate) trait Records {
    /// Says that spans and log records will be asked for these terms next, so that both can be looked for at once.
    fn prepare(&mut self, _terms: &[String]) {}

    /// Shows the heads of at least every span that carries one of the terms (`kind=value`, `trace_id=<hex>`,
    /// `link=<hex>`); it may show more.
    fn spans(
        &mut self,
        terms: &[String],
        visit: &mut dyn FnMut(Place, Head<'_>),
    ) -> Result<(), storage::Error>;

    /// The same of log records.
    fn logs(
        &mut self,
        terms: &[String],
        visit: &mut dyn FnMut(Place, Head<'_>),
    ) -> Result<(), storage::Error>;

    /// Copies spans, in no promised order.
    fn read_spans(&mut self, places: &[Place]) -> Result<Vec<SpanRecord>, storage::Error>;

    /// Copies log records, in no promised order.
    fn read_logs(&mut self, places: &[Place]) -> Result<Vec<LogRecord>, storage::Error>;

    /// The measurements of metrics that name one of the traces.
    fn exemplars(&mut self, _traces: &[TraceId]) -> Result<Vec<ExemplarRecord>, storage::Error> {
        Ok(Vec::new())
    }

    /// On how many traces each of the terms hangs, told without reading its rows; counting may end at the number beside
    /// the term. 0 where that is not known: the rows tell then.
    fn fanouts(&mut self, terms: &[(&str, usize)]) -> Result<Vec<usize>, storage::Error> {
        Ok(vec![0; terms.len()])
    }

    /// From now on a lookup may leave out all but the newest groups (traces within a minute, or single
    /// records); `None` for all again. Gives how many were left out under the limit before.
    fn limit_groups(&mut self, _groups_max: Option<usize>) -> u64 {
        0
    }

    /// Says that nothing will be looked for any more: what was kept for that can go.
    fn finish(&mut self) {}

    /// What there was no memory for, if anything: rows are missing then.
    fn refusal(&self) -> Option<OutOfMemory> {
        None
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
    finder: Finder<'a>,
    cancel: Cancel,
    /// Records whose attributes were left out.
    brief: usize,
    /// Groups of points that name a trace of the journey and were not read.
    points_left_out: u64,
    /// Bytes reserved for the rows that were looked at.
    seen_bytes: usize,
}

/// Bytes that a journey takes for each record beside its texts, with the row that is made of it.
const RECORD_BYTES: usize = 1_024;
/// Bytes of a row that was looked at.
const SEEN_BYTES: usize = 160;
/// Memory is reserved for so many of them at once.
const SEEN_ROWS: usize = 256;

/// Records of one kind from which on only telling attributes are kept: a journey of 100,000 spans is looked at as a
/// whole, not attribute by attribute.
const BRIEF_FROM: usize = 5_000;

/// Whether a journey is made of this attribute: messages, refusals, failures, versions.
fn is_telling(key: &str) -> bool {
    const TELLING: [&str; 12] = [
        "http.response.status_code",
        "http.status_code",
        "http.route",
        "status",
        "rpc.grpc.status_code",
        "error.type",
        "service.version",
        "service.instance.id",
        // Where an inferred row stands.
        "host.name",
        "peer.service",
        "server.address",
        "net.peer.name",
    ];
    TELLING.contains(&key)
        || ["messaging.", "circuit", "exception."].iter().any(|prefix| key.starts_with(prefix))
}

impl<'a> StoreRecords<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, range: TimeRange) -> Self {
        let (finder, cancel) = (Finder::new(snapshot, range), Cancel::default());
        Self { snapshot, range, finder, cancel, brief: 0, points_left_out: 0, seen_bytes: 0 }
    }

    /// Ends a search when `cancel` says so.
    pub(crate) fn until(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// What was read so far.
    pub(crate) const fn stats(&self) -> &ScanStats {
        &self.finder.stats
    }

    /// How many records were read without the attributes that no journey is made of.
    pub(crate) const fn brief(&self) -> usize {
        self.brief
    }

    /// How many groups of points that may hold exemplars of the journey were not read.
    pub(crate) const fn points_left_out(&self) -> u64 {
        self.points_left_out
    }

    /// Which attributes are kept of so many records.
    fn keeper(&mut self, records: usize) -> fn(&str) -> bool {
        if records < BRIEF_FROM {
            return |_| true;
        }
        self.brief += records;
        is_telling
    }

    fn find(
        &mut self,
        signal: Signal,
        terms: &[String],
        visit: &mut dyn FnMut(Place, Head<'_>),
    ) -> Result<(), storage::Error> {
        let (held, mut rows, mut room) = (self.snapshot.held(), 0, 0);
        let found = self.finder.find(signal, terms, &mut |place, heads, row| {
            if rows == room {
                match held.grow(SEEN_ROWS * SEEN_BYTES) {
                    Ok(()) => room += SEEN_ROWS,
                    Err(_) => return,
                }
            }
            rows += 1;
            let ids: Vec<&str> = heads.ids(row).collect();
            let links: Vec<TraceId> = heads.links(row).collect();
            let (trace_id, time) = (heads.trace_id(row), heads.time(row));
            visit(place, Head { trace_id, time, ids: &ids, links: &links });
        });
        self.seen_bytes += room * SEEN_BYTES;
        found
    }

    /// As many of the places as there is memory to read.
    fn affordable<'p>(&mut self, places: &'p [Place]) -> &'p [Place] {
        let held = self.snapshot.held();
        if held.refusal().is_some() {
            // What was found is worth more than looking further.
            self.finder.forget();
        }
        let wanted = places.len().saturating_mul(RECORD_BYTES);
        if held.grow(wanted).is_ok() {
            return places;
        }
        let part = held.grow_up_to(wanted, 0).unwrap_or(0);
        &places[..part / RECORD_BYTES]
    }
}

impl Records for StoreRecords<'_> {
    fn prepare(&mut self, terms: &[String]) {
        self.finder.prepare(terms);
    }

    fn spans(
        &mut self,
        terms: &[String],
        visit: &mut dyn FnMut(Place, Head<'_>),
    ) -> Result<(), storage::Error> {
        self.find(Signal::Traces, terms, visit)
    }

    fn logs(
        &mut self,
        terms: &[String],
        visit: &mut dyn FnMut(Place, Head<'_>),
    ) -> Result<(), storage::Error> {
        self.find(Signal::Logs, terms, visit)
    }

    fn read_spans(&mut self, places: &[Place]) -> Result<Vec<SpanRecord>, storage::Error> {
        let (held, places) = (self.snapshot.held(), self.affordable(places));
        let keeps = self.keeper(places.len());
        // Of brief records little more is kept than what is reserved for every record.
        let is_brief = places.len() >= BRIEF_FROM;
        self.finder.read_each(Signal::Traces, places, &[], &|copier: &mut Copier, part, records| {
            if !is_brief && held.grow(part.bytes()).is_err() {
                return;
            }
            let view = SpanRows::new(&part.batch);
            records.extend(part.rows.iter().map(|row| copier.span(&view, *row as usize, keeps)));
        })
    }

    fn read_logs(&mut self, places: &[Place]) -> Result<Vec<LogRecord>, storage::Error> {
        let (held, places) = (self.snapshot.held(), self.affordable(places));
        let keeps = self.keeper(places.len());
        self.finder.read_each(Signal::Logs, places, &[], &|copier: &mut Copier, part, records| {
            if held.grow(part.bytes()).is_err() {
                return;
            }
            let view = LogRows::new(&part.batch);
            records.extend(part.rows.iter().map(|row| copier.log(&view, *row as usize, keeps)));
        })
    }

    fn exemplars(&mut self, traces: &[TraceId]) -> Result<Vec<ExemplarRecord>, storage::Error> {
        let (found, left_out) = exemplars::read(self.snapshot, self.range, traces, &mut self.finder.stats)?;
        self.points_left_out += left_out;
        Ok(found)
    }

    fn fanouts(&mut self, terms: &[(&str, usize)]) -> Result<Vec<usize>, storage::Error> {
        let Self { snapshot, range, finder, .. } = self;
        let counts = finder.count_groups(terms);
        let stats = &mut finder.stats;
        let fanout = |((term, enough), counts): (&(&str, usize), [usize; 2])| {
            let (mut most, enough) = (0, *enough);
            for (signal, groups) in [Signal::Traces, Signal::Logs].into_iter().zip(counts) {
                // The index counts groups: a trace has several, and parts reach beyond the range. That settles
                // most ids; the others are counted trace by trace.
                let traces = match groups < enough {
                    true => groups,
                    false => snapshot.count_traces(signal, range, term, enough, stats)?,
                };
                most = most.max(if traces < enough { traces } else { groups.max(traces) });
            }
            Ok(most)
        };
        terms.iter().zip(counts).map(fanout).collect()
    }

    fn limit_groups(&mut self, groups_max: Option<usize>) -> u64 {
        self.finder.limit_groups(groups_max)
    }

    fn finish(&mut self) {
        self.finder.forget();
        self.snapshot.held().shrink(std::mem::take(&mut self.seen_bytes));
    }

    fn refusal(&self) -> Option<OutOfMemory> {
        self.snapshot.held().refusal()
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

/// Copies rows; equal texts and equal resources become one.
#[derive(Default)]
struct Copier {
    texts: Texts,
    /// By key: `None` for those that are not kept.
    keys: HashMap<String, Option<Text>>,
    /// The last one: neighbours mostly have the same.
    resource: Attributes,
    /// By span name the attributes that the last one of that name had: of a large journey only telling ones are kept,
    /// and those mostly repeat.
    of_name: HashMap<Text, Attributes>,
}

/// Keys that are remembered.
const KEYS_MAX: usize = 4_096;

impl Copier {
    fn attributes<'a>(
        &mut self,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
        keeps: fn(&str) -> bool,
    ) -> Attributes {
        pairs.filter_map(|(key, value)| Some((self.key(key, keeps)?, self.texts.share(value)))).collect()
    }

    /// Attributes of a span, shared with the last of the same name when they are equal.
    fn shared_attributes<'a, P: Iterator<Item = (&'a str, &'a str)>>(
        &mut self,
        name: &Text,
        pairs: impl Fn() -> P,
        keeps: fn(&str) -> bool,
    ) -> Attributes {
        if let Some(last) = self.of_name.get(name) {
            let is_held = |(key, value): (&str, &str)| match last.text(key) {
                Some(held) => held == value,
                None => !keeps(key),
            };
            let is_there = |key: &str| pairs().any(|(here, _)| here == key);
            if pairs().all(is_held) && last.iter().all(|(key, _)| is_there(key)) {
                return last.clone();
            }
        }
        let attributes = self.attributes(pairs(), keeps);
        if self.of_name.len() < KEYS_MAX || self.of_name.contains_key(name) {
            self.of_name.insert(name.clone(), attributes.clone());
        }
        attributes
    }

    fn key(&mut self, key: &str, keeps: fn(&str) -> bool) -> Option<Text> {
        if let Some(known) = self.keys.get(key) {
            return known.clone();
        }
        let new = keeps(key).then(|| self.texts.share(key));
        if self.keys.len() < KEYS_MAX {
            self.keys.insert(key.to_owned(), new.clone());
        }
        new
    }

    fn resource<'a>(
        &mut self,
        pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        keeps: fn(&str) -> bool,
    ) -> Attributes {
        let mut last = self.resource.iter();
        let is_next = |(key, value): (&str, &str)| {
            last.next().is_some_and(|(known, held)| *known == key && *held == value)
        };
        let is_last = pairs.clone().filter(|(key, _)| keeps(key)).all(is_next) && last.next().is_none();
        if !is_last {
            self.resource = self.attributes(pairs, keeps);
        }
        self.resource.clone()
    }

    fn ids<'a>(&mut self, ids: impl Iterator<Item = &'a str>) -> Vec<Text> {
        ids.map(|id| self.texts.share(id)).collect()
    }

    fn span(&mut self, rows: &SpanRows<'_>, row: usize, keeps: fn(&str) -> bool) -> SpanRecord {
        let mut events = Vec::new();
        for event in rows.events(row) {
            let attributes = self.attributes(event.attributes.into_iter(), keeps);
            events.push(EventRecord { time: event.time, name: self.texts.share(event.name), attributes });
        }
        let name = self.texts.share(rows.name(row));
        let attributes = self.shared_attributes(&name, || rows.attributes(row), keeps);
        SpanRecord {
            events,
            name,
            attributes,
            trace_id: rows.trace_id(row),
            span_id: rows.span_id(row),
            parent_span_id: rows.parent_span_id(row),
            service: self.texts.share(rows.service(row)),
            kind: self.texts.share(rows.kind(row)),
            start: rows.start_time(row),
            duration_nano: rows.duration_nano(row),
            is_error: rows.status(row) == "error",
            status_message: self.texts.share(rows.status_message(row)),
            ids: self.ids(rows.ids(row)),
            resource: self.resource(rows.resource_attributes(row), keeps),
            links: rows.links(row).collect(),
        }
    }

    fn log(&mut self, rows: &LogRows<'_>, row: usize, keeps: fn(&str) -> bool) -> LogRecord {
        LogRecord {
            time: rows.time(row),
            service: self.texts.share(rows.service(row)),
            severity_number: rows.severity_number(row),
            severity_text: self.texts.share(rows.severity_text(row)),
            body: self.texts.share(rows.body(row)),
            event_name: self.texts.share(rows.event_name(row)),
            trace_id: rows.trace_id(row),
            span_id: rows.span_id(row),
            ids: self.ids(rows.ids(row)),
            attributes: self.attributes(rows.attributes(row), keeps),
            resource: self.resource(rows.resource_attributes(row), keeps),
            inferred_in: None,
        }
    }
}

#[cfg(test)]
mod tests;
