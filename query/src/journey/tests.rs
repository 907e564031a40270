//! Journeys over records held in memory, and over a real store.

mod assembly;
mod clocks;
mod diff;
mod exemplars;
mod inferred;
mod joined;
mod membership;
mod messages;
mod properties;
mod status;
pub(super) mod store;

use std::collections::HashSet;

use model::{IdRules, IdTerm, SpanId, TimeRange, TraceId, UnixNano};
use query_api::{Attributes, Cut, Journey, JourneyRow, RowKind, Text};
use storage::Place;

use super::records::{EventRecord, Head, LogRecord, Records, SpanRecord};
use super::{Error, Limits, Request, find_in};

const MILLI: i64 = 1_000_000;
const NOW: UnixNano = at(100_000);

fn request(id: &str) -> Request<'_> {
    Request { id, range: TimeRange::ALL, is_corrected: false }
}

/// Milliseconds into the test.
const fn at(millis: i64) -> UnixNano {
    UnixNano(1_800_000_000_000_000_000 + millis * MILLI)
}

fn trace(number: u64) -> TraceId {
    let mut id = [0xaa; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    TraceId(id)
}

fn span_id(number: u64) -> SpanId {
    SpanId(number.to_be_bytes())
}

/// `parent` 0 means a root; times in milliseconds.
pub(super) fn span(
    trace_number: u64,
    id: u64,
    parent: u64,
    service: &str,
    name: &str,
    start: i64,
    length: i64,
) -> SpanRecord {
    SpanRecord {
        trace_id: trace(trace_number),
        span_id: span_id(id),
        parent_span_id: (parent != 0).then(|| span_id(parent)),
        service: service.into(),
        name: name.into(),
        kind: "internal".into(),
        start: at(start),
        duration_nano: length * MILLI,
        is_error: false,
        status_message: Text::default(),
        ids: Vec::new(),
        attributes: Attributes::new(),
        resource: Attributes::new(),
        events: Vec::new(),
        links: Vec::new(),
    }
}

/// Puts an id where the default rules find most: in the attribute of its kind's name.
fn carry(term: &str, attributes: &mut Attributes) {
    let (kind, value) = term.split_once('=').expect("kind=value");
    if ["order_id", "correlation_id", "user_id"].contains(&kind) {
        attributes.insert(kind, value);
    }
}

impl SpanRecord {
    pub(super) fn id(mut self, term: &str) -> Self {
        carry(term, &mut self.attributes);
        self.ids.push(term.into());
        self
    }

    /// Carries an id elsewhere than in the attribute of its kind's name.
    pub(super) fn handed(mut self, term: &str) -> Self {
        self.ids.push(term.into());
        self
    }

    pub(super) fn kind(mut self, kind: &str) -> Self {
        self.kind = kind.into();
        self
    }

    pub(super) fn attribute(mut self, key: &str, value: &str) -> Self {
        self.attributes.insert(key, value);
        self
    }

    pub(super) fn error(mut self, message: &str) -> Self {
        self.is_error = true;
        self.status_message = message.into();
        self
    }

    pub(super) fn link(mut self, trace_number: u64, span: u64) -> Self {
        self.links.push((trace(trace_number), span_id(span)));
        self
    }

    pub(super) fn event(mut self, name: &str, millis: i64, attributes: &[(&str, &str)]) -> Self {
        let attributes = attributes.iter().copied().collect();
        self.events.push(EventRecord { time: at(millis), name: name.into(), attributes });
        self
    }

    pub(super) fn produces(self, topic: &str) -> Self {
        self.kind("producer").attribute("messaging.destination.name", topic)
    }

    pub(super) fn consumes(self, topic: &str) -> Self {
        self.kind("consumer").attribute("messaging.destination.name", topic)
    }

    /// The Kafka coordinates, with the id the default rules find in them.
    pub(super) fn record(self, topic: &str, partition: &str, offset: &str) -> Self {
        self.attribute("messaging.destination.partition.id", partition)
            .attribute("messaging.kafka.offset", offset)
            .id(&format!("kafka_record={topic}/{partition}@{offset}"))
    }
}

/// `trace_number` 0 means no trace, `span` 0 no span.
pub(super) fn log(trace_number: u64, span: u64, service: &str, body: &str, millis: i64) -> LogRecord {
    LogRecord {
        time: at(millis),
        service: service.into(),
        severity_number: 9,
        severity_text: "info".into(),
        body: body.into(),
        event_name: Text::default(),
        trace_id: (trace_number != 0).then(|| trace(trace_number)),
        span_id: (span != 0).then(|| span_id(span)),
        ids: Vec::new(),
        attributes: Attributes::new(),
        resource: Attributes::new(),
        inferred_in: None,
    }
}

impl LogRecord {
    pub(super) fn id(mut self, term: &str) -> Self {
        carry(term, &mut self.attributes);
        self.ids.push(term.into());
        self
    }

    pub(super) fn handed(mut self, term: &str) -> Self {
        self.ids.push(term.into());
        self
    }

    pub(super) fn level(mut self, number: i32) -> Self {
        self.severity_number = number;
        self
    }
}

/// Records in memory, found as the store finds them: by trace, or one by one without a trace.
#[derive(Default)]
pub(super) struct World {
    pub(super) spans: Vec<SpanRecord>,
    pub(super) logs: Vec<LogRecord>,
    /// Rows copied out so far.
    copied: usize,
    lookups: usize,
}

trait Row: Clone {
    fn trace(&self) -> Option<TraceId>;
    fn time(&self) -> UnixNano;
    fn ids(&self) -> &[Text];
    fn links(&self) -> Vec<TraceId>;
}

impl Row for SpanRecord {
    fn trace(&self) -> Option<TraceId> {
        Some(self.trace_id)
    }

    fn time(&self) -> UnixNano {
        self.start
    }

    fn ids(&self) -> &[Text] {
        &self.ids
    }

    fn links(&self) -> Vec<TraceId> {
        self.links.iter().map(|(trace, _)| *trace).collect()
    }
}

impl Row for LogRecord {
    fn trace(&self) -> Option<TraceId> {
        self.trace_id
    }

    fn time(&self) -> UnixNano {
        self.time
    }

    fn ids(&self) -> &[Text] {
        &self.ids
    }

    fn links(&self) -> Vec<TraceId> {
        Vec::new()
    }
}

fn find<T: Row>(rows: &[T], terms: &[String], visit: &mut dyn FnMut(Place, Head<'_>)) {
    let terms: HashSet<&str> = terms.iter().map(String::as_str).collect();
    let carries = |row: &T| {
        row.ids().iter().any(|id| terms.contains(id.as_str()))
            || row.links().iter().any(|trace| terms.contains(format!("link={trace}").as_str()))
            || row.trace().is_some_and(|trace| terms.contains(format!("trace_id={trace}").as_str()))
    };
    let hit: Vec<bool> = rows.iter().map(carries).collect();
    let traces: HashSet<TraceId> =
        rows.iter().zip(&hit).filter(|(_, hit)| **hit).filter_map(|(row, _)| row.trace()).collect();
    for (at, (row, hit)) in (0..).zip(rows.iter().zip(hit)) {
        if row.trace().map_or(hit, |trace| traces.contains(&trace)) {
            let ids: Vec<&str> = row.ids().iter().map(Text::as_str).collect();
            let head = Head { trace_id: row.trace(), time: row.time(), ids: &ids, links: &row.links() };
            visit(Place { part: 0, row: at }, head);
        }
    }
}

impl Records for World {
    fn spans(
        &mut self,
        terms: &[String],
        visit: &mut dyn FnMut(Place, Head<'_>),
    ) -> Result<(), storage::Error> {
        self.lookups += 1;
        find(&self.spans, terms, visit);
        Ok(())
    }

    fn logs(
        &mut self,
        terms: &[String],
        visit: &mut dyn FnMut(Place, Head<'_>),
    ) -> Result<(), storage::Error> {
        self.lookups += 1;
        find(&self.logs, terms, visit);
        Ok(())
    }

    fn read_spans(&mut self, places: &[Place]) -> Result<Vec<SpanRecord>, storage::Error> {
        self.copied += places.len();
        Ok(places.iter().map(|place| self.spans[place.row as usize].clone()).collect())
    }

    fn read_logs(&mut self, places: &[Place]) -> Result<Vec<LogRecord>, storage::Error> {
        self.copied += places.len();
        Ok(places.iter().map(|place| self.logs[place.row as usize].clone()).collect())
    }
}

impl World {
    pub(super) fn of(spans: Vec<SpanRecord>, logs: Vec<LogRecord>) -> Self {
        Self { spans, logs, ..Self::default() }
    }

    fn find(&mut self, id: &str, limits: &Limits) -> Result<Journey, Error> {
        find_in(self, &IdRules::default(), &request(id), NOW, limits)
    }

    fn corrected(&mut self, id: &str) -> Journey {
        let request = Request { is_corrected: true, ..request(id) };
        let found = find_in(self, &IdRules::default(), &request, NOW, &Limits::default());
        let journey = found.expect("found");
        check_invariants(&journey);
        journey
    }

    fn journey(&mut self, id: &str) -> Journey {
        let journey = self.find(id, &Limits::default()).expect("found");
        check_invariants(&journey);
        journey
    }
}

/// What holds for every journey.
pub(super) fn check_invariants(journey: &Journey) {
    let spent: i64 = journey.time_spent.iter().map(|spent| spent.duration_nano).sum();
    assert_eq!(spent, journey.duration_nano, "time spent adds up");
    let own: i64 = journey.rows.iter().map(|row| row.critical_nano).sum();
    let gaps = journey.time_spent.iter().filter(|spent| spent.class == query_api::TimeClass::Gap);
    let gap: i64 = gaps.map(|spent| spent.duration_nano).sum();
    assert_eq!(own + gap, journey.duration_nano, "rows and gaps add up");
    let mut now = journey.start_time;
    for segment in &journey.critical_path {
        assert_eq!(segment.start_time, now, "the critical path has no hole");
        assert!(segment.duration_nano > 0);
        now = now.plus(segment.duration_nano);
        if let Some(row) = segment.row.map(|row| &journey.rows[row]) {
            assert!(row.start_time <= segment.start_time && now <= row.start_time.plus(row.duration_nano));
        }
    }
    assert_eq!(now, journey.start_time.plus(journey.duration_nano), "it ends with the journey");
    for pair in journey.rows.windows(2) {
        assert!(pair[1].depth <= pair[0].depth.saturating_add(1), "no row is deeper than one below the last");
    }
    let spans: HashSet<_> = journey
        .rows
        .iter()
        .filter(|row| row.kind == RowKind::Span)
        .map(|row| (row.trace_id, row.span_id))
        .collect();
    for row in &journey.rows {
        assert!(row.critical_nano >= 0 && row.duration_nano >= 0);
        if row.kind == RowKind::Log && spans.contains(&(row.trace_id, row.span_id)) {
            // Its time can be that of a coarse clock; its span says where it belongs.
            continue;
        }
        assert!(row.start_time >= journey.start_time);
        assert!(row.start_time.plus(row.duration_nano) <= journey.start_time.plus(journey.duration_nano));
    }
    let count = |kind| journey.rows.iter().filter(|row| row.kind == kind).count();
    assert_eq!(count(RowKind::Span), journey.counts.spans);
    assert_eq!(count(RowKind::Log), journey.counts.logs);
    assert_eq!(count(RowKind::Trace), journey.counts.traces);
    assert_eq!(journey.traces.len(), journey.counts.traces);
}

/// The rows as an outline.
fn outline(journey: &Journey) -> String {
    let line = |row: &JourneyRow| {
        let indent = "  ".repeat(row.depth.into());
        let kind = match row.kind {
            RowKind::Trace => "trace",
            RowKind::Span => "span",
            RowKind::Log => "log",
            RowKind::Event => "event",
            RowKind::QueueWait if row.is_open => "open",
            RowKind::QueueWait => "queue",
            RowKind::BackOff => "pause",
            RowKind::Missing => "missing",
            RowKind::Inferred => "inferred",
            RowKind::Exemplar => "exemplar",
        };
        let error = if row.is_error { " !" } else { "" };
        format!("{indent}{kind} {} {} {}ms{error}\n", row.service, row.name, row.duration_nano / MILLI)
    };
    journey.rows.iter().map(line).collect()
}

fn row<'a>(journey: &'a Journey, name: &str) -> &'a JourneyRow {
    let named = journey.rows.iter().filter(|row| row.kind != RowKind::Trace);
    named
        .into_iter()
        .find(|row| row.name == name)
        .unwrap_or_else(|| panic!("no row {name}:\n{}", outline(journey)))
}

fn cut<'a>(journey: &'a Journey, limit: &str) -> &'a Cut {
    let found = journey.cuts.iter().find(|cut| cut.limit == limit);
    found.unwrap_or_else(|| panic!("no cut `{limit}` in {:?}", journey.cuts))
}

/// The purchase of the mockup: four traces, one message, one retry.
fn purchase() -> World {
    let order = "order_id=ORD-4711";
    let spans = vec![
        span(1, 1, 0, "gateway", "POST /checkout", 0, 310).kind("server"),
        span(1, 2, 1, "checkout", "PlaceOrder", 10, 290).id(order),
        span(1, 3, 2, "checkout", "send orders", 280, 10).produces("orders").record("orders", "3", "88121"),
        span(2, 4, 0, "billing", "process orders", 4390, 3610).consumes("orders").link(1, 3),
        span(2, 5, 4, "billing", "charge #1", 4400, 820).error("acquirer timeout after 800ms"),
        span(2, 6, 4, "billing", "charge #2", 7220, 380),
        span(3, 7, 0, "ledger", "book", 8060, 280).id(order),
        span(4, 8, 0, "mailer", "send mail", 8100, 60).id(order),
    ];
    let logs = vec![
        log(1, 2, "checkout", "stock low", 50).level(13),
        log(2, 5, "billing", "acquirer timeout after 800ms", 5220).level(17),
        log(0, 0, "nginx", "POST /checkout 200", 312).id(order),
    ];
    World::of(spans, logs)
}

fn terms(texts: &[&str]) -> Vec<IdTerm> {
    texts.iter().map(|text| text.parse().expect("a term")).collect()
}
