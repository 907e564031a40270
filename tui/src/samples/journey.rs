//! Answers for journeys.

use std::collections::BTreeMap;

use model::{IdTerm, SpanId, TraceId, UnixNano};
use query_api::{
    Attributes, Certainty, Cut, Evidence, EvidenceKind, Journey, JourneyCounts, JourneyFailure, JourneyMark,
    JourneyRow, JourneyStatus, JourneyTrace, MarkKind, PathSegment, Progress, ProgressState, RowKind,
    RowMark, Text, TimeClass, TimeSpent,
};

use super::{MS, range, stats};

pub(super) fn trace_id(number: u8) -> TraceId {
    TraceId([number; 16])
}

pub(super) fn span_id(number: u8) -> SpanId {
    SpanId([number; 8])
}

fn evidence(kind: EvidenceKind, text: &str) -> Evidence {
    Evidence::new(kind, Certainty::Certain, text)
}

fn attributes(pairs: &[(&str, &str)]) -> Attributes {
    pairs.iter().copied().collect()
}

fn journey_start() -> UnixNano {
    "2026-11-20T10:36:11.204Z".parse().expect("a time")
}

struct Draft {
    rows: Vec<JourneyRow>,
    trace: u8,
}

impl Draft {
    #[expect(clippy::too_many_arguments, reason = "a row of a table, read as one")]
    fn row(
        &mut self,
        kind: RowKind,
        depth: u16,
        service: &str,
        name: &str,
        label: &str,
        start: i64,
        length: i64,
        span: (u8, u8),
    ) -> &mut JourneyRow {
        self.rows.push(JourneyRow {
            kind,
            depth,
            trace_id: (self.trace > 0).then(|| trace_id(self.trace)),
            span_id: (span.0 > 0).then(|| span_id(span.0)),
            parent_span_id: (span.1 > 0).then(|| span_id(span.1)),
            service: service.into(),
            name: name.into(),
            label: label.into(),
            start_time: journey_start().plus(start * MS),
            duration_nano: length * MS,
            is_error: false,
            is_open: false,
            critical_nano: 0,
            marks: Vec::new(),
            message: Text::default(),
            evidence: evidence(EvidenceKind::SameTrace, "same trace"),
            more_evidence: Vec::new(),
            batch: None,
            links: Vec::new(),
            attributes: Attributes::new(),
            resource: Attributes::new(),
        });
        self.rows.last_mut().expect("just pushed")
    }
}

/// Four traces of one order: the checkout, a wait, a payment that times out and is repeated, a ledger
/// entry, and a message that nobody consumed.
pub(crate) fn journey() -> Journey {
    use RowKind::{Event, Log, QueueWait, Span, Trace};
    let mut draft = Draft { rows: Vec::new(), trace: 1 };
    let asked = evidence(EvidenceKind::Asked, "order_id=ORD-4711");
    draft.row(Trace, 0, "gateway", "POST /checkout", "", 0, 310, (0, 0)).evidence = asked.clone();
    draft.row(Span, 1, "gateway", "POST /checkout", "server", 0, 310, (1, 0));
    draft.row(Span, 2, "checkout", "PlaceOrder", "server", 10, 290, (2, 1));
    draft.row(Log, 3, "checkout", "stock low sku=991", "WARN", 120, 0, (2, 0));
    draft.row(Span, 3, "checkout", "send orders", "producer", 280, 9, (3, 2));
    let open = draft.row(QueueWait, 4, "shipments", "shipments/0@17", "shipments", 289, 8_131, (0, 0));
    open.is_open = true;
    open.evidence = evidence(EvidenceKind::Message, "message shipments/0@17");
    draft.trace = 0;
    let wait = draft.row(QueueWait, 0, "orders", "orders/3@88121", "orders", 289, 4_100, (0, 0));
    wait.evidence = evidence(EvidenceKind::Message, "message orders/3@88121");
    draft.trace = 2;
    let heading = draft.row(Trace, 0, "billing", "process orders", "", 4_389, 3_610, (0, 0));
    heading.evidence = evidence(EvidenceKind::Link, "span link from orders/3@88121");
    heading.is_error = true;
    draft.row(Span, 1, "billing", "process orders", "consumer", 4_389, 3_610, (4, 0));
    let charge = draft.row(Span, 2, "billing", "charge #1", "client", 4_607, 820, (5, 4));
    charge.is_error = true;
    charge.message = "DEADLINE_EXCEEDED".into();
    charge.attributes = attributes(&[
        ("http.request.method", "POST"),
        ("server.address", "acq-2.example"),
        ("retry.attempt", "1"),
        ("order_id", "ORD-4711"),
    ]);
    charge.resource = attributes(&[("service.name", "billing"), ("k8s.pod.name", "billing-6d9f")]);
    charge.evidence = evidence(EvidenceKind::Link, "span link from orders/3@88121");
    let order = evidence(EvidenceKind::Asked, "order_id=ORD-4711");
    let correlation = Evidence {
        certainty: Certainty::Likely,
        source: "baggage:correlation.id".into(),
        ..evidence(EvidenceKind::Baggage, "correlation_id=c-19")
    };
    charge.more_evidence = vec![Evidence { source: "attr:order_id".into(), ..order }, correlation];
    draft.row(Event, 3, "billing", "exception", "", 5_427, 0, (5, 0)).is_error = true;
    let log = draft.row(Log, 3, "billing", "acquirer timeout after 800ms", "ERROR", 5_427, 0, (5, 0));
    log.is_error = true;
    draft.row(RowKind::BackOff, 2, "billing", "charge", "back-off", 5_427, 2_000, (6, 4));
    draft.row(Span, 2, "billing", "charge #2", "client", 7_427, 380, (6, 4));
    draft.row(Span, 3, "fraud", "score", "server", 7_500, 240, (7, 6));
    draft.row(RowKind::Missing, 2, "", "span not received", "", 7_700, 100, (9, 4));
    draft.trace = 3;
    let heading = draft.row(Trace, 0, "ledger", "book", "", 8_100, 280, (0, 0));
    heading.evidence = evidence(EvidenceKind::SharedId, "order_id=ORD-4711");
    draft.row(Span, 1, "ledger", "book", "server", 8_100, 280, (8, 0));
    let critical_path = critical(&mut draft.rows);
    let traces =
        [(1, "gateway", "POST /checkout", 0, 310, 3), (2, "billing", "process orders", 4_389, 3_610, 4)];
    Journey {
        id: "ORD-4711".to_owned(),
        matched: vec![IdTerm::new("order_id", "ORD-4711")],
        range: range(),
        start_time: journey_start(),
        duration_nano: 8_420 * MS,
        status: JourneyStatus::Failed,
        progress: None,
        failure: Some(JourneyFailure {
            service: "billing".to_owned(),
            name: "charge #1".to_owned(),
            message: "DEADLINE_EXCEEDED".to_owned(),
            row: 9,
        }),
        counts: JourneyCounts { traces: 3, spans: 9, logs: 2, messages: 2, services: 5, errors: 1 },
        services: ["gateway", "checkout", "billing", "fraud", "ledger"].map(str::to_owned).to_vec(),
        traces: traces
            .into_iter()
            .map(|(number, service, name, start, length, spans)| JourneyTrace {
                trace_id: trace_id(number),
                evidence: asked.clone(),
                more_evidence: Vec::new(),
                name: name.to_owned(),
                service: service.to_owned(),
                start_time: journey_start().plus(start * MS),
                duration_nano: length * MS,
                spans,
                is_failed: number == 2,
            })
            .collect(),
        ids: vec![IdTerm::new("order_id", "ORD-4711"), IdTerm::new("correlation_id", "c-19")],
        rows: draft.rows,
        time_spent: vec![
            spent(TimeClass::QueueWait, "orders", 4_100),
            spent(TimeClass::BackOff, "billing", 2_000),
            spent(TimeClass::SelfTime, "billing", 1_370),
            spent(TimeClass::Gap, "", 141),
            spent(TimeClass::SelfTime, "ledger", 280),
            spent(TimeClass::SelfTime, "checkout", 279),
            spent(TimeClass::SelfTime, "fraud", 240),
            spent(TimeClass::SelfTime, "gateway", 10),
        ],
        critical_path,
        marks: vec![
            mark(MarkKind::Alert, -60_000, "billing", "ShopErrorsHigh fires since 10:35:11"),
            mark(MarkKind::Deploy, 4_389, "billing", "version 1.4.1 → 1.4.2"),
        ],
        clock_offsets: BTreeMap::new(),
        clock_skew_nano: 3 * MS,
        cuts: vec![Cut {
            what: "events cut at 500".to_owned(),
            limit: "events_max".to_owned(),
            hint: Some("ask for one trace".to_owned()),
        }],
        stats: stats(),
    }
}

/// The same purchase with all that a journey can show: three messages that one consumer takes at once, calls that are
/// refused, a measurement, a trace whose root was not received, baggage, and a log record without a trace.
pub(crate) fn rich_journey() -> Journey {
    use RowKind::{Exemplar, Log, Missing, QueueWait, Span, Trace};
    let mut journey = journey();
    let mut draft = Draft { rows: std::mem::take(&mut journey.rows), trace: 0 };
    for (number, start) in [(17, 7_900), (18, 7_950), (19, 8_000)] {
        let name = format!("emails/0@{number}");
        let wait = draft.row(QueueWait, 0, "emails", &name, "wait", start, 8_150 - start, (0, 0));
        wait.evidence = Evidence {
            certainty: Certainty::Likely,
            ..evidence(EvidenceKind::Message, "message id named by billing and mailer")
        };
    }
    draft.trace = 4;
    let heading = draft.row(Trace, 0, "mailer", "process emails", "", 8_150, 250, (0, 0));
    heading.evidence = evidence(EvidenceKind::Message, "message emails/0@17");
    heading.more_evidence = vec![evidence(EvidenceKind::SharedId, "order_id=ORD-4711")];
    heading.is_error = true;
    draft.row(Missing, 1, "", "root not received", "", 8_150, 250, (20, 0));
    let batch = draft.row(Span, 2, "mailer", "process emails", "consumer", 8_150, 250, (21, 20));
    batch.marks = vec![RowMark::Batch];
    batch.batch = Some(3);
    batch.evidence = Evidence {
        certainty: Certainty::Likely,
        ..evidence(EvidenceKind::Message, "message id of emails/0@17 and 2 more")
    };
    let refused = draft.row(Span, 3, "mailer", "POST /send", "client", 8_160, 2, (22, 21));
    refused.marks = vec![RowMark::CircuitOpen];
    refused.is_error = true;
    refused.message = "CallNotPermittedException: CircuitBreaker 'smtp' is OPEN".into();
    let limited = draft.row(Span, 3, "mailer", "POST /send", "client", 8_200, 5, (23, 21));
    limited.marks = vec![RowMark::RateLimited, RowMark::Retry];
    limited.is_error = true;
    let name = "messaging.process.duration = 0.25 s";
    let measured = draft.row(Exemplar, 3, "mailer", name, "exemplar", 8_380, 0, (21, 0));
    let why = "exemplar of messaging.process.duration names this span";
    measured.evidence = evidence(EvidenceKind::SameTrace, why);
    measured.attributes = attributes(&[
        ("messaging.destination.name", "emails"),
        ("metric.name", "messaging.process.duration"),
        ("metric.series", "messaging_process_duration_seconds"),
        ("metric.unit", "s"),
        ("metric.value", "0.25"),
    ]);
    draft.trace = 0;
    let line =
        draft.row(Log, 0, "smtp-relay", "queued <20261120.4711@relay> corr=c-19", "INFO", 8_390, 0, (0, 0));
    line.evidence = Evidence {
        certainty: Certainty::Likely,
        source: "kv:corr".into(),
        ..evidence(EvidenceKind::SharedId, "correlation_id=c-19")
    };
    journey.rows = draft.rows;
    journey.progress = Some(Progress {
        state: ProgressState::Stuck,
        since: journey_start().plus(289 * MS),
        lasts_nano: 12_000 * MS,
        about: "shipments/0@17".to_owned(),
    });
    journey.counts = JourneyCounts { traces: 4, spans: 12, logs: 3, messages: 5, services: 7, errors: 3 };
    journey
}

/// The path through the rows of this sample: start, end, row.
fn critical(rows: &mut [JourneyRow]) -> Vec<PathSegment> {
    let steps = [
        (0, 10, Some(1)),
        (10, 280, Some(2)),
        (280, 289, Some(4)),
        (289, 4_389, Some(6)),
        (4_389, 4_607, Some(8)),
        (4_607, 5_427, Some(9)),
        (5_427, 7_427, Some(12)),
        (7_427, 7_500, Some(13)),
        (7_500, 7_740, Some(14)),
        (7_740, 7_999, Some(8)),
        (7_999, 8_100, None),
        (8_100, 8_380, Some(17)),
        (8_380, 8_420, None),
    ];
    let segment = |(start, end, row): (i64, i64, Option<usize>)| {
        let (class, label) = match row.map(|row| &mut rows[row]) {
            None => (TimeClass::Gap, String::new()),
            Some(row) => {
                row.critical_nano += (end - start) * MS;
                let class = match row.kind {
                    RowKind::QueueWait => TimeClass::QueueWait,
                    RowKind::BackOff => TimeClass::BackOff,
                    _ => TimeClass::SelfTime,
                };
                (class, row.service.to_string())
            }
        };
        let start_time = journey_start().plus(start * MS);
        PathSegment { start_time, duration_nano: (end - start) * MS, class, label, row }
    };
    steps.into_iter().map(segment).collect()
}

fn mark(kind: MarkKind, millis: i64, service: &str, text: &str) -> JourneyMark {
    let time = journey_start().plus(millis * MS);
    JourneyMark { time, kind, service: service.to_owned(), text: text.to_owned() }
}

fn spent(class: TimeClass, label: &str, ms: i64) -> TimeSpent {
    TimeSpent { class, label: label.to_owned(), duration_nano: ms * MS }
}
