//! Answers of a small shop on a bad morning, for tests. Deterministic; nothing here is random.

use std::collections::BTreeMap;

use model::{IdTerm, SpanId, TimeRange, TraceId, UnixNano};
use query_api::boards::NamedBoard;
use query_api::{
    AgentHealth, AgentRow, AgentsAnswer, Alert, AlertState, AlertsAnswer, Certainty, Cut, Evidence,
    EvidenceKind, Facet, FacetValue, Health, InventoryAnswer, InventoryInstance, InventoryService, Journey,
    JourneyCounts, JourneyFailure, JourneyMark, JourneyRow, JourneyStatus, JourneyTrace, LogBucket,
    LogRecord, LogsAnswer, MarkKind, MetricsData, PathSegment, Progress, ProgressState, QueryStats, QueueRow,
    RowKind, RowMark, RuleStatus, Sample, Series, ServiceRow, ServicesAnswer, SqlAnswer, SqlColumn,
    TimeClass, TimeSpent,
};

use crate::core::fleet::FleetAnswer;

const MS: i64 = 1_000_000;

pub(crate) fn now() -> UnixNano {
    "2026-11-20T10:42:07Z".parse().expect("a time")
}

pub(crate) fn range() -> TimeRange {
    TimeRange::last(std::time::Duration::from_secs(900), now())
}

fn stats() -> QueryStats {
    QueryStats {
        rows_scanned: 41_208,
        segments_read: 3,
        segments_pruned: 9,
        head_rows: 512,
        elapsed_nano: 12_400_000,
    }
}

/// A wave that rises at its end by `rise`.
fn wave(base: f64, rise: f64) -> Vec<f64> {
    (0..30)
        .map(|i| base * (1.0 + 0.2 * f64::from(i % 5)) + if i > 20 { rise * f64::from(i - 20) } else { 0.0 })
        .collect()
}

fn service(name: &str, health: Health, rate: f64, errors: f64, p: [i64; 3], log_errors: u64) -> ServiceRow {
    ServiceRow {
        service: name.to_owned(),
        health,
        rate,
        error_ratio: errors,
        p50_nano: Some(p[0] * MS),
        p95_nano: Some(p[1] * MS),
        p99_nano: Some(p[2] * MS),
        rates: wave(rate, 0.0),
        error_ratios: wave(0.0, errors / 5.0),
        log_errors,
        last_seen: now(),
    }
}

pub(crate) fn services() -> ServicesAnswer {
    let silent = ServiceRow {
        rate: 0.0,
        p50_nano: None,
        p95_nano: None,
        p99_nano: None,
        rates: vec![2.0, 2.0, 1.0, f64::NAN],
        last_seen: now().plus(-540_000 * MS),
        ..service("notify", Health::Silent, 0.0, 0.0, [0; 3], 0)
    };
    let queue = |destination: &str, health, in_rate, out_rate, pending, wait: Option<i64>| QueueRow {
        destination: destination.to_owned(),
        consumers: vec!["billing".to_owned()],
        health,
        in_rate,
        out_rate,
        pending,
        wait_p95_nano: wait.map(|ms| ms * MS),
    };
    ServicesAnswer {
        range: range(),
        step_nano: 30_000 * MS,
        services: vec![
            service("billing", Health::Bad, 212.0, 0.0431, [38, 412, 1_900], 310),
            service("checkout", Health::Warn, 340.0, 0.0092, [61, 380, 2_400], 12),
            silent,
            service("gateway", Health::Ok, 1_904.0, 0.0011, [12, 44, 180], 0),
            service("catalog", Health::Ok, 511.0, 0.0, [4, 11, 29], 0),
            service("order-view", Health::Ok, 198.0, 0.0, [9, 21, 60], 0),
        ],
        queues: vec![
            queue("orders", Health::Bad, 340.0, 212.0, 7_680, Some(4_100)),
            queue("order-events", Health::Ok, 12.0, 12.0, 0, Some(80)),
        ],
        cuts: Vec::new(),
        stats: stats(),
    }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn rule(name: &str, expr: &str, state: AlertState, alerts: Vec<Alert>) -> RuleStatus {
    RuleStatus {
        name: name.to_owned(),
        group: "shop".to_owned(),
        file: "rules/shop.yaml".to_owned(),
        line: 14,
        lang: "promql".to_owned(),
        expr: expr.to_owned(),
        for_nano: 60_000 * MS,
        state,
        last_evaluation: Some(now().plus(-4_000 * MS)),
        error: None,
        history: if state == AlertState::Inactive { vec![0.0; 30] } else { wave(0.01, 0.01) },
        alerts,
    }
}

fn alert(name: &str, service: &str, state: AlertState, minutes: i64, value: f64) -> Alert {
    let active_at = now().plus(-minutes * 60_000 * MS - 2_000 * MS);
    Alert {
        labels: labels(&[("alertname", name), ("severity", "page"), ("service_name", service)]),
        annotations: labels(&[
            ("summary", "4.3 % of requests fail"),
            ("runbook", "docs/operating/runbooks/billing.md"),
            ("order_id", "ORD-4711"),
        ]),
        state,
        active_at,
        fired_at: (state == AlertState::Firing).then(|| active_at.plus(60_000 * MS)),
        value,
    }
}

pub(crate) fn alerts() -> AlertsAnswer {
    use AlertState::{Firing, Inactive, Pending};
    let broken = RuleStatus {
        error: Some("unknown function `rat`: did you mean `rate`?".to_owned()),
        ..rule("GatewayLatency", "rat(x[5m]) > 1", Inactive, vec![])
    };
    AlertsAnswer {
        time: now(),
        rules: vec![
            rule(
                "ShopErrorsHigh",
                "sum by (service_name) (rate(http_server_request_duration_seconds_count{http_response_status_code=~\"5..\"}[1m])) > 0.02",
                Firing,
                vec![alert("ShopErrorsHigh", "billing", Firing, 6, 0.0431)],
            ),
            rule(
                "QueueWaitHigh",
                "queue_wait_p95 > 2",
                Pending,
                vec![alert("QueueWaitHigh", "shipping", Pending, 2, 4.1)],
            ),
            rule("DiskFull", "disk_free_ratio < 0.1", Inactive, vec![]),
            broken,
        ],
        file_errors: vec!["rules/new.yaml:3:5: unknown key `exp`: did you mean `expr`?".to_owned()],
    }
}

fn agent(name: &str, state: AgentHealth, silent_seconds: i64) -> AgentRow {
    AgentRow {
        agent_id: format!("0199a1b2-{name}"),
        instance: name.to_owned(),
        state,
        version: "0.1.0".to_owned(),
        config_version: "8f3a19c2d4e5b607".to_owned(),
        config_error: None,
        labels: labels(&[("service", "billing"), ("zone", "a")]),
        started: now().plus(-86_400_000 * MS),
        last_seen: now().plus(-silent_seconds * 1000 * MS),
        lag_bytes: 0,
        spool_bytes: 0,
        sent_records: 1_204_311,
        dropped_records: 0,
        dropped: BTreeMap::new(),
        accepts_configuration: true,
        pushed_version: 3,
        is_trial: false,
        target_version: 3,
        refused_version: 0,
        refused_error: None,
    }
}

fn instance(name: &str, host: &str, state: AgentHealth, silent_seconds: i64) -> InventoryInstance {
    InventoryInstance {
        instance: name.to_owned(),
        host: host.to_owned(),
        state,
        signals: vec![model::Signal::Traces, model::Signal::Logs],
        first_seen: now().plus(-7_200_000 * MS),
        last_seen: now().plus(-silent_seconds * 1000 * MS),
    }
}

pub(crate) fn fleet() -> FleetAnswer {
    use AgentHealth::{Flapping, Gone, Late, Up};
    let refusing = AgentRow {
        target_version: 4,
        refused_version: 4,
        refused_error: Some(
            "pushed version 4:2:1: unknown key `exlude`, did you mean `exclude`? \x1b[31m".to_owned(),
        ),
        ..agent("web-3", Up, 2)
    };
    let behind = AgentRow {
        lag_bytes: 48_311_040,
        spool_bytes: 1_048_576,
        dropped_records: 412,
        dropped: [("spool_full".to_owned(), 400), ("malformed".to_owned(), 12)].into(),
        accepts_configuration: false,
        pushed_version: 0,
        target_version: 0,
        ..agent("db-1", Late, 41)
    };
    let agents = vec![
        agent("web-1", Gone, 372),
        behind,
        AgentRow { is_trial: true, pushed_version: 4, target_version: 4, ..agent("web-2", Up, 4) },
        refusing,
        agent("web-4", Flapping, 1),
    ];
    let service =
        |name: &str, state, instances| InventoryService { service: name.to_owned(), state, instances };
    let services = vec![
        service(
            "billing",
            Up,
            vec![instance("billing-7f3a", "web-1", Gone, 372), instance("billing-91be", "web-2", Up, 3)],
        ),
        service("legacy", Late, vec![instance("", "", Late, 95)]),
        service("web", Up, vec![instance("web-2", "web-2", Up, 1), instance("web-3", "web-3", Up, 2)]),
    ];
    FleetAnswer {
        agents: AgentsAnswer { time: now(), agents },
        inventory: InventoryAnswer { time: now(), services },
    }
}

fn trace_id(number: u8) -> TraceId {
    TraceId([number; 16])
}

fn span_id(number: u8) -> SpanId {
    SpanId([number; 8])
}

fn evidence(kind: EvidenceKind, text: &str) -> Evidence {
    Evidence::new(kind, Certainty::Certain, text)
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
            service: service.to_owned(),
            name: name.to_owned(),
            label: label.to_owned(),
            start_time: journey_start().plus(start * MS),
            duration_nano: length * MS,
            is_error: false,
            is_open: false,
            critical_nano: 0,
            marks: Vec::new(),
            message: String::new(),
            evidence: evidence(EvidenceKind::SameTrace, "same trace"),
            more_evidence: Vec::new(),
            batch: None,
            links: Vec::new(),
            attributes: BTreeMap::new(),
            resource: BTreeMap::new(),
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
    "DEADLINE_EXCEEDED".clone_into(&mut charge.message);
    charge.attributes = labels(&[
        ("http.request.method", "POST"),
        ("server.address", "acq-2.example"),
        ("retry.attempt", "1"),
        ("order_id", "ORD-4711"),
    ]);
    charge.resource = labels(&[("service.name", "billing"), ("k8s.pod.name", "billing-6d9f")]);
    charge.evidence = evidence(EvidenceKind::Link, "span link from orders/3@88121");
    let order = evidence(EvidenceKind::Asked, "order_id=ORD-4711");
    let correlation = Evidence {
        certainty: Certainty::Likely,
        source: "baggage:correlation.id".to_owned(),
        ..evidence(EvidenceKind::Baggage, "correlation_id=c-19")
    };
    charge.more_evidence = vec![Evidence { source: "attr:order_id".to_owned(), ..order }, correlation];
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
/// refused, a trace whose root was not received, baggage, and a log record without a trace.
pub(crate) fn rich_journey() -> Journey {
    use RowKind::{Log, Missing, QueueWait, Span, Trace};
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
    "CallNotPermittedException: CircuitBreaker 'smtp' is OPEN".clone_into(&mut refused.message);
    let limited = draft.row(Span, 3, "mailer", "POST /send", "client", 8_200, 5, (23, 21));
    limited.marks = vec![RowMark::RateLimited, RowMark::Retry];
    limited.is_error = true;
    draft.trace = 0;
    let line =
        draft.row(Log, 0, "smtp-relay", "queued <20261120.4711@relay> corr=c-19", "INFO", 8_390, 0, (0, 0));
    line.evidence = Evidence {
        certainty: Certainty::Likely,
        source: "kv:corr".to_owned(),
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
                (class, row.service.clone())
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

pub(crate) fn record(second: i64, number: i32, service: &str, body: &str) -> LogRecord {
    LogRecord {
        time: now().plus((second - 60) * 1_000 * MS + 104 * MS),
        service: service.to_owned(),
        severity_number: number,
        severity: model::Severity::from_number(number).map(|s| s.name().to_owned()).unwrap_or_default(),
        body: body.to_owned(),
        trace_id: Some(trace_id(2)),
        span_id: Some(span_id(5)),
        ids: vec![IdTerm::new("order_id", "ORD-4711"), IdTerm::trace(trace_id(2))],
        attributes: labels(&[("host", "acq-2"), ("attempt", "1")]),
        resource: labels(&[("service.name", service)]),
    }
}

pub(crate) fn logs() -> LogsAnswer {
    let bodies = [
        (17, "billing", "acquirer timeout after 800ms"),
        (13, "billing", "retry in 2000ms"),
        (9, "checkout", "order placed"),
        (13, "checkout", "stock low sku=991 left=3"),
        (5, "gateway", "GET /catalog 200 11ms"),
    ];
    let records = (0..40).map(|i| {
        let (number, service, body) = bodies[i % bodies.len()];
        record(i as i64, number, service, body)
    });
    let value = |value: &str, count| FacetValue { value: value.to_owned(), count };
    LogsAnswer {
        range: range(),
        records: records.collect(),
        matched: 8_911,
        histogram: (0..60)
            .map(|i| LogBucket {
                time: range().from.plus(i * 15_000 * MS),
                errors: if (30..45).contains(&i) { 60 } else { 2 },
                warnings: 30,
                others: 40 + (i as u64 % 7) * 9,
            })
            .collect(),
        facets: vec![
            Facet {
                field: "level".to_owned(),
                values: vec![value("error", 4_310), value("warn", 4_601), value("info", 120)],
            },
            Facet {
                field: "service".to_owned(),
                values: vec![value("billing", 8_012), value("checkout", 899), value("gateway", 120)],
            },
        ],
        cuts: Vec::new(),
        stats: stats(),
    }
}

pub(crate) fn board() -> NamedBoard {
    let board = dashboards::board::parse("shop.toml", dashboards::board::SHOP).expect("the board we ship");
    NamedBoard { name: "shop".to_owned(), board }
}

/// A matrix with a line for each service.
pub(crate) fn matrix(services: &[(&str, f64, f64)]) -> MetricsData {
    let series = services.iter().map(|(service, base, rise)| Series {
        metric: labels(&[("service_name", service)]),
        value: None,
        values: (0..=120)
            .map(|i| {
                let wave = (f64::from(i) / 9.0).sin() * 0.12 + (f64::from(i) / 4.0).cos() * 0.05;
                let value = base * (1.0 + wave) + rise * f64::from((i - 70).max(0));
                Sample::new(range().from.seconds() + f64::from(i) * 7.5, value)
            })
            .collect(),
    });
    MetricsData::Matrix(series.collect())
}

pub(crate) fn vector() -> MetricsData {
    let rows = [
        ("billing", "POST /charge", 1.62),
        ("checkout", "POST /checkout", 0.38),
        ("gateway", "GET /", 0.044),
    ];
    let series = rows.iter().map(|(service, route, value)| Series {
        metric: labels(&[("service_name", service), ("http_route", route)]),
        value: Some(Sample::new(now().seconds(), *value)),
        values: Vec::new(),
    });
    MetricsData::Vector(series.collect())
}

pub(crate) fn sql() -> SqlAnswer {
    let column =
        |name: &str, data_type: &str| SqlColumn { name: name.to_owned(), data_type: data_type.to_owned() };
    SqlAnswer {
        columns: vec![
            column("service", "Utf8"),
            column("name", "Utf8"),
            column("failed", "Int64"),
            column("slowest", "Int64"),
        ],
        rows: vec![
            vec!["billing".into(), "charge".into(), 310.into(), 820_000_000.into()],
            vec!["checkout".into(), "PlaceOrder".into(), 12.into(), 2_400_000_000u64.into()],
        ],
        cuts: Vec::new(),
        stats: stats(),
    }
}
