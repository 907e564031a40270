//! A seeded shop: traces over forty services, log records of 200 bytes with their spans ([`Shape`] says how many),
//! series of counters and gauges.
//!
//! As in real life a request carries the records of one service, so that a trace is spread over many
//! requests. Services, users and orders are drawn with skew: few have much.

use model::{Signal, UnixNano};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

pub(crate) const SERVICES: usize = 40;
const BATCH: usize = 512;
const BODY_BYTES: usize = 200;
/// Log statements of a service.
const TEMPLATES: usize = 12;
pub(crate) const TRACE_NANOS: i64 = 2_000_000;
const ROUTES: [&str; 6] = [
    "/api/cart/{id}",
    "/api/checkout",
    "/api/orders/{id}",
    "/api/payments",
    "/api/catalog/items/{sku}",
    "/api/stock/reserve",
];
/// What log lines begin with.
const PHRASES: [&str; 5] =
    ["request accepted", "cache lookup", "stock reserved for customer", "retry pending", "delivery updated"];
/// What the other words of log lines are made of.
const SYLLABLES: [&str; 32] = [
    "ac", "al", "ber", "ble", "car", "con", "der", "dis", "en", "er", "fac", "gen", "ing", "ity", "lo",
    "man", "mer", "nal", "or", "pay", "per", "pro", "ren", "sal", "ser", "sta", "ter", "ti", "tor", "un",
    "ven", "work",
];

/// Which records there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Traces of about ten spans, a log record for each; some carry the id of one of the last orders, few orders have many
    /// traces.
    Traces,
    /// Orders of 60 spans and 150 log records, in four traces that begin within about half a minute.
    Orders,
}

/// Spans of each trace of [`Shape::Orders`].
const ORDER_TRACE_SPANS: usize = 15;
/// Its traces.
const ORDER_TRACES: usize = 4;
/// Orders that the next trace may belong to.
const ORDERS_OPEN: usize = 4_096;

/// What the next trace belongs to, and how large it is.
struct Trace {
    order: usize,
    spans: usize,
    /// Log records of each of its spans, in turn.
    logs: [usize; 2],
}

/// Draws one trace after another.
struct Orders {
    shape: Shape,
    made: usize,
    /// Of [`Shape::Orders`], with the traces that each has so far.
    open: Vec<(usize, usize)>,
}

impl Orders {
    /// The next trace; of an order that was begun, once `is_end`.
    fn next(&mut self, rng: &mut StdRng, is_end: bool) -> Trace {
        match self.shape {
            Shape::Traces => {
                if rng.random_bool(0.35) {
                    self.made += 1;
                }
                let back = skewed(rng, self.made.clamp(1, 256), 2.0).min(self.made);
                Trace { order: self.made - back, spans: rng.random_range(8..=12), logs: [1, 1] }
            }
            Shape::Orders => {
                if self.open.len() < ORDERS_OPEN && !is_end {
                    self.made += 1;
                    self.open.push((self.made, 0));
                }
                let at = rng.random_range(0..self.open.len());
                let (order, traces) = &mut self.open[at];
                // 38 and 37 log records in turn.
                let logs = if traces.is_multiple_of(2) { [3, 2] } else { [2, 3] };
                let trace = Trace { order: *order, spans: ORDER_TRACE_SPANS, logs };
                *traces += 1;
                if *traces == ORDER_TRACES {
                    self.open.swap_remove(at);
                }
                trace
            }
        }
    }
}

/// One request, encoded.
pub(crate) struct Request {
    pub(crate) signal: Signal,
    pub(crate) bytes: Vec<u8>,
}

/// What was made.
pub(crate) struct Lot {
    pub(crate) requests: Vec<Request>,
    /// Correlation ids, one a trace.
    pub(crate) correlation_ids: Vec<String>,
}

/// At least `spans` spans and their log records, from `start` on.
pub(crate) fn records(shape: Shape, spans: usize, start: UnixNano) -> Lot {
    let mut rng = StdRng::seed_from_u64(7);
    let mut lot = Lot { requests: Vec::new(), correlation_ids: Vec::new() };
    let mut waiting: Vec<(Vec<Span>, Vec<LogRecord>)> = vec![<_>::default(); SERVICES];
    let mut made = 0;
    let mut orders = Orders { shape, made: 0, open: Vec::new() };
    while made < spans || !orders.open.is_empty() {
        let time = start.plus(lot.correlation_ids.len() as i64 * TRACE_NANOS);
        let next = orders.next(&mut rng, made >= spans);
        let order_id = format!("ORD-{:08}", next.order);
        let correlation_id = uuid(&mut rng);
        let trace: [u8; 16] = rng.random();
        let mut ids: Vec<[u8; 8]> = Vec::new();
        for at in 0..next.spans {
            let parent = match ids.len() {
                0 => Vec::new(),
                // One of the last three: most spans that call call more than once.
                made => ids[made - 1 - rng.random_range(0..made.min(3))].to_vec(),
            };
            let service = skewed(&mut rng, SERVICES, 1.7);
            let id: [u8; 8] = rng.random();
            let begin = time.plus(rng.random_range(0..200_000_000));
            let span = span(&mut rng, (trace, id, &parent), (service, at), begin, &order_id, &correlation_id);
            waiting[service].0.push(span);
            for _ in 0..next.logs[at % 2] {
                let log = log(&mut rng, (trace, id), (service, at), begin, &order_id, &correlation_id);
                waiting[service].1.push(log);
            }
            ids.push(id);
            made += 1;
            if waiting[service].0.len() >= BATCH {
                flush(service, &mut waiting[service], &mut lot.requests);
            }
        }
        lot.correlation_ids.push(correlation_id);
    }
    for (service, waiting) in waiting.iter_mut().enumerate() {
        flush(service, waiting, &mut lot.requests);
    }
    lot
}

/// Statuses of the answers that points are told apart by.
const STATUSES: [&str; 3] = ["200", "404", "500"];
/// Metrics of a service: one request has one point for each of their routes and statuses.
const METRICS: usize = 28;
/// Series of a service.
pub(crate) const SERIES: usize = METRICS * ROUTES.len() * STATUSES.len();

/// `scrapes` values, ten seconds apart, of about five hundred series of each of forty services.
pub(crate) fn points(scrapes: usize, start: UnixNano) -> Vec<Request> {
    let mut rng = StdRng::seed_from_u64(9);
    let mut values = vec![0.0_f64; SERVICES * SERIES];
    let mut requests = Vec::new();
    for scrape in 0..scrapes {
        for service in 0..SERVICES {
            let time = start.plus(scrape as i64 * 10_000_000_000 + rng.random_range(0..5_000_000));
            let of_service = &mut values[service * SERIES..(service + 1) * SERIES];
            let of_metric = of_service.chunks_mut(SERIES / METRICS).enumerate();
            let metrics = of_metric.map(|(metric, values)| sum(metric, values, time, &mut rng)).collect();
            let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() }];
            let group =
                ResourceMetrics { resource: resource(service), scope_metrics, ..ResourceMetrics::default() };
            let bytes = ExportMetricsServiceRequest { resource_metrics: vec![group] }.encode_to_vec();
            requests.push(Request { signal: Signal::Metrics, bytes });
        }
    }
    requests
}

/// One metric with the next values of its series: of ten metrics nine count, one is a fraction.
fn sum(metric: usize, values: &mut [f64], time: UnixNano, rng: &mut StdRng) -> Metric {
    let points = values.iter_mut().enumerate().map(|(series, value)| {
        match metric % 10 {
            0 => *value = rng.random(),
            _ => *value += f64::from(rng.random_range(0..40_u32)),
        }
        NumberDataPoint {
            time_unix_nano: time.0 as u64,
            attributes: vec![
                text("http.route", ROUTES[series / STATUSES.len()]),
                text("http.response.status_code", STATUSES[series % STATUSES.len()]),
            ],
            value: Some(number_data_point::Value::AsDouble(*value)),
            ..NumberDataPoint::default()
        }
    });
    let data = Sum { data_points: points.collect(), aggregation_temporality: 2, is_monotonic: true };
    Metric {
        name: format!("http.server.metric_{metric}"),
        data: Some(metric::Data::Sum(data)),
        ..Metric::default()
    }
}

fn flush(service: usize, waiting: &mut (Vec<Span>, Vec<LogRecord>), requests: &mut Vec<Request>) {
    let (spans, log_records) = std::mem::take(waiting);
    if spans.is_empty() {
        return;
    }
    let scope_spans = vec![ScopeSpans { scope: scope(), spans, ..ScopeSpans::default() }];
    let group = ResourceSpans { resource: resource(service), scope_spans, ..ResourceSpans::default() };
    let bytes = ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec();
    requests.push(Request { signal: Signal::Traces, bytes });
    let scope_logs = vec![ScopeLogs { scope: scope(), log_records, ..ScopeLogs::default() }];
    let group = ResourceLogs { resource: resource(service), scope_logs, ..ResourceLogs::default() };
    let bytes = ExportLogsServiceRequest { resource_logs: vec![group] }.encode_to_vec();
    requests.push(Request { signal: Signal::Logs, bytes });
}

fn span(
    rng: &mut StdRng,
    (trace, id, parent): ([u8; 16], [u8; 8], &[u8]),
    (service, at): (usize, usize),
    begin: UnixNano,
    order_id: &str,
    correlation_id: &str,
) -> Span {
    let is_failure = rng.random_range(0..100) == 0;
    let route = ROUTES[(service + at) % ROUTES.len()];
    let path = route.replace("{id}", order_id).replace("{sku}", "SKU-4711");
    let who = match at % 3 {
        0 => text("order.id", order_id),
        _ => text("enduser.id", &format!("user-{}", skewed(rng, 10_000, 3.0))),
    };
    let attributes = vec![
        text("http.request.method", "GET"),
        text("http.route", route),
        text("url.path", &path),
        number("http.response.status_code", if is_failure { 500 } else { 200 }),
        text("server.address", &format!("{}.shop.svc.cluster.local", name(service))),
        text("client.address", &format!("10.{}.{}.{service}", rng.random::<u8>(), rng.random::<u8>())),
        text("correlation_id", correlation_id),
        who,
    ];
    Span {
        trace_id: trace.to_vec(),
        span_id: id.to_vec(),
        parent_span_id: parent.to_vec(),
        name: format!("GET {route}"),
        kind: 2 + (at % 2) as i32,
        start_time_unix_nano: begin.0 as u64,
        end_time_unix_nano: begin.plus(rng.random_range(50_000..90_000_000)).0 as u64,
        attributes,
        status: Some(Status { code: if is_failure { 2 } else { 0 }, ..Status::default() }),
        ..Span::default()
    }
}

fn log(
    rng: &mut StdRng,
    (trace, id): ([u8; 16], [u8; 8]),
    (service, at): (usize, usize),
    begin: UnixNano,
    order_id: &str,
    correlation_id: &str,
) -> LogRecord {
    let template = skewed(rng, TEMPLATES, 2.0);
    let body = body(rng, service * TEMPLATES + template, order_id);
    let (severity_number, word) = match rng.random_range(0..100) {
        0 => (17, "ERROR"),
        1..=5 => (13, "WARN"),
        _ => (9, "INFO"),
    };
    let time = begin.plus(rng.random_range(0..1_000_000)).0 as u64;
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time + rng.random_range(1_000..2_000_000),
        severity_number,
        severity_text: word.to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
        attributes: vec![
            text("correlation_id", correlation_id),
            text("logger.name", &format!("shop.{}.Handler", name(service))),
            text("code.function.name", ROUTES[at % ROUTES.len()]),
            number("thread.id", rng.random_range(1..64)),
        ],
        trace_id: trace.to_vec(),
        span_id: id.to_vec(),
        ..LogRecord::default()
    }
}

/// A log line as programs write them: one of the service's templates, always the same words, with what changes in
/// between.
fn body(rng: &mut StdRng, template: usize, order_id: &str) -> String {
    let mut words = StdRng::seed_from_u64(template as u64);
    let mut body = String::with_capacity(BODY_BYTES + 32);
    body.push_str(PHRASES[template % PHRASES.len()]);
    match template % 3 {
        0 => body.push_str(&format!(" order_id={order_id}")),
        1 => body.push_str(&format!(" item SKU-{}", rng.random_range(1_000..9_999))),
        _ => {}
    }
    while body.len() < BODY_BYTES - 24 {
        body.push(' ');
        for _ in 0..words.random_range(2..=4) {
            body.push_str(SYLLABLES[words.random_range(0..SYLLABLES.len())]);
        }
        if words.random_bool(0.06) {
            body.push_str(&format!(" {} of {}", skewed(rng, 100, 2.0), words.random_range(100..200)));
        }
    }
    body.push_str(&format!(" took {} us", rng.random_range(10..90_000)));
    body
}

/// A number below `count`; the larger `power`, the more often a small one.
fn skewed(rng: &mut StdRng, count: usize, power: f64) -> usize {
    let share: f64 = rng.random();
    ((share.powf(power) * count as f64) as usize).min(count - 1)
}

fn uuid(rng: &mut StdRng) -> String {
    let text = format!("{:032x}", rng.random::<u128>());
    format!("{}-{}-4{}-a{}-{}", &text[..8], &text[8..12], &text[13..16], &text[17..20], &text[20..])
}

fn name(service: usize) -> String {
    format!("{}-{}", ["gateway", "checkout", "cart", "order", "billing"][service % 5], service / 5)
}

fn resource(service: usize) -> Option<Resource> {
    let attributes = vec![
        text("service.name", &name(service)),
        text("service.version", "1.4.2"),
        text("service.instance.id", &format!("{}-7c9f6d5b8-x{service:03}", name(service))),
        text("deployment.environment.name", "production"),
        text("telemetry.sdk.language", "java"),
    ];
    Some(Resource { attributes, ..Resource::default() })
}

fn scope() -> Option<InstrumentationScope> {
    let name = "io.opentelemetry.http".to_owned();
    Some(InstrumentationScope { name, ..InstrumentationScope::default() })
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn number(key: &str, value: i64) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::IntValue(value)) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}
