//! What a span and a log record of the workload look like on the wire.
//!
//! A span has eight attributes of the semantic conventions for HTTP, or for Kafka when it belongs to a message; a
//! log record has a body of 200 bytes and four attributes. The correlation id stands on every record, the order
//! id on one in three, as an attribute or in the body.

use model::{Signal, UnixNano};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use rand::Rng as _;
use rand::rngs::StdRng;

use super::{Order, SERVICES, skewed};
use crate::request::Message;

/// Bytes of a log body.
pub(super) const BODY_BYTES: usize = 200;
const USERS: usize = 10_000;
/// One span in so many fails.
const FAILURES: u32 = 100;

const NAMES: [&str; 10] =
    ["gateway", "checkout", "cart", "order", "billing", "shipping", "catalog", "pricing", "notify", "stock"];
const ROUTES: [&str; 8] = [
    "/api/cart/{id}",
    "/api/checkout",
    "/api/orders/{id}",
    "/api/payments",
    "/api/catalog/items/{sku}",
    "/api/prices",
    "/api/stock/reserve",
    "/api/shipments/{id}",
];
const TOPICS: [&str; 4] = ["orders", "billed", "order-events", "notifications"];
const WORDS: [&str; 24] = [
    "accepted",
    "after",
    "amount",
    "available",
    "batch",
    "cache",
    "customer",
    "delivery",
    "for",
    "from",
    "inventory",
    "item",
    "line",
    "lookup",
    "pending",
    "price",
    "quantity",
    "reserved",
    "retry",
    "state",
    "updated",
    "warehouse",
    "with",
    "within",
];

/// One trace: its id and its spans, parents before children.
#[derive(Debug)]
pub(super) struct TraceShape {
    id: [u8; 16],
    user: usize,
    pub(super) spans: Vec<SpanShape>,
}

/// Where a span stands.
#[derive(Clone, Debug)]
pub(super) struct SpanShape {
    id: [u8; 8],
    parent: Option<[u8; 8]>,
    pub(super) service: usize,
    at: usize,
    start: UnixNano,
    end: UnixNano,
}

impl TraceShape {
    /// A trace of so many spans that begins at `time`.
    pub(super) fn draw(rng: &mut StdRng, time: UnixNano, count: usize) -> Self {
        let root = SpanShape {
            id: rng.random(),
            parent: None,
            service: rng.random_range(0..3),
            at: 0,
            start: time,
            end: time.plus(rng.random_range(5_000_000..300_000_000)),
        };
        let mut spans = vec![root];
        for at in 1..count {
            let parent = spans[skewed(rng, spans.len(), 1.5)].clone();
            let length = parent.end.since(parent.start);
            let start = parent.start.plus(rng.random_range(0..=length / 2));
            let end = start.plus(rng.random_range(0..=length / 2));
            let service = skewed(rng, SERVICES, 1.7);
            spans.push(SpanShape { id: rng.random(), parent: Some(parent.id), service, at, start, end });
        }
        Self { id: rng.random(), user: skewed(rng, USERS, 3.0), spans }
    }
}

/// A random UUID.
pub(super) fn uuid(rng: &mut StdRng) -> String {
    let id: u128 = rng.random();
    let text = format!("{id:032x}");
    format!("{}-{}-4{}-a{}-{}", &text[..8], &text[8..12], &text[13..16], &text[17..20], &text[20..])
}

pub(super) fn span(
    rng: &mut StdRng,
    order: &Order,
    trace: &TraceShape,
    shape: &SpanShape,
    offset: i64,
) -> Span {
    let (is_message, is_failure) = (shape.at % 5 == 4, rng.random_range(0..FAILURES) == 0);
    let who = match shape.at % 3 {
        0 => text("order.id", order.id.as_str()),
        _ => text("enduser.id", format!("user-{}", trace.user)),
    };
    let mut attributes = match is_message {
        true => message_attributes(rng, shape, offset),
        false => http_attributes(rng, shape, order, is_failure),
    };
    attributes.push(text("correlation_id", order.correlation_id.as_str()));
    attributes.push(who);
    let route = ROUTES[(shape.service + shape.at) % ROUTES.len()];
    Span {
        trace_id: trace.id.to_vec(),
        span_id: shape.id.to_vec(),
        parent_span_id: shape.parent.map_or(Vec::new(), |id| id.to_vec()),
        flags: 0x101,
        name: if is_message { format!("process {}", topic(shape)) } else { format!("GET {route}") },
        kind: if is_message { 5 } else { 2 + (shape.at % 2) as i32 },
        start_time_unix_nano: shape.start.0 as u64,
        end_time_unix_nano: shape.end.0 as u64,
        attributes,
        status: Some(Status { code: if is_failure { 2 } else { 0 }, ..Status::default() }),
        ..Span::default()
    }
}

fn http_attributes(rng: &mut StdRng, shape: &SpanShape, order: &Order, is_failure: bool) -> Vec<KeyValue> {
    let route = ROUTES[(shape.service + shape.at) % ROUTES.len()];
    vec![
        text("http.request.method", "GET"),
        text("http.route", route),
        text("url.path", route.replace("{id}", &order.id).replace("{sku}", "SKU-4711")),
        number("http.response.status_code", if is_failure { 500 } else { 200 }),
        text("server.address", format!("{}.shop.svc.cluster.local", service(shape.service))),
        text("client.address", format!("10.{}.{}.{}", rng.random::<u8>(), rng.random::<u8>(), shape.service)),
    ]
}

fn message_attributes(rng: &mut StdRng, shape: &SpanShape, offset: i64) -> Vec<KeyValue> {
    vec![
        text("messaging.system", "kafka"),
        text("messaging.destination.name", topic(shape)),
        text("messaging.operation.type", "process"),
        text("messaging.destination.partition.id", (offset % 12).to_string()),
        number("messaging.kafka.offset", offset),
        text("messaging.client.id", format!("consumer-{}", rng.random_range(0..8))),
    ]
}

pub(super) fn log(rng: &mut StdRng, order: &Order, trace: &TraceShape, shape: &SpanShape) -> LogRecord {
    let (severity_number, severity_text) = match rng.random_range(0..FAILURES) {
        0 => (17, "ERROR"),
        1..=5 => (13, "WARN"),
        _ => (9, "INFO"),
    };
    let time_unix_nano = shape.start.plus(shape.end.since(shape.start) / 2).0 as u64;
    LogRecord {
        time_unix_nano,
        observed_time_unix_nano: time_unix_nano + 1_000_000,
        severity_number,
        severity_text: severity_text.to_owned(),
        body: Some(string(body(rng, order, shape))),
        attributes: vec![
            text("correlation_id", order.correlation_id.as_str()),
            text("logger.name", format!("shop.{}.Handler", service(shape.service))),
            text("code.function.name", ROUTES[shape.at % ROUTES.len()]),
            number("thread.id", rng.random_range(1..64)),
        ],
        flags: 1,
        trace_id: trace.id.to_vec(),
        span_id: shape.id.to_vec(),
        ..LogRecord::default()
    }
}

fn body(rng: &mut StdRng, order: &Order, shape: &SpanShape) -> String {
    let took = shape.end.since(shape.start) / 1_000;
    let mut body = match shape.at % 3 {
        0 => format!("step {} order_id={} took {took} us:", shape.at, order.id),
        _ => format!("step {} item SKU-{} took {took} us:", shape.at, rng.random_range(1_000..9_999)),
    };
    while body.len() < BODY_BYTES {
        body.push(' ');
        body.push_str(WORDS[rng.random_range(0..WORDS.len())]);
    }
    body.truncate(BODY_BYTES);
    body
}

pub(super) fn traces_message(service: usize, spans: Vec<Span>) -> Message {
    let records = spans.len();
    let scope_spans = ScopeSpans { scope: scope(), spans, ..ScopeSpans::default() };
    let resource_spans = ResourceSpans {
        resource: resource(service),
        scope_spans: vec![scope_spans],
        ..ResourceSpans::default()
    };
    let request = ExportTraceServiceRequest { resource_spans: vec![resource_spans] };
    Message { signal: Signal::Traces, records, protobuf: request.encode_to_vec() }
}

pub(super) fn logs_message(service: usize, log_records: Vec<LogRecord>) -> Message {
    let records = log_records.len();
    let scope_logs = ScopeLogs { scope: scope(), log_records, ..ScopeLogs::default() };
    let resource_logs =
        ResourceLogs { resource: resource(service), scope_logs: vec![scope_logs], ..ResourceLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![resource_logs] };
    Message { signal: Signal::Logs, records, protobuf: request.encode_to_vec() }
}

fn service(number: usize) -> String {
    format!("{}-{}", NAMES[number % NAMES.len()], number / NAMES.len())
}

fn topic(shape: &SpanShape) -> &'static str {
    TOPICS[shape.service % TOPICS.len()]
}

fn resource(number: usize) -> Option<Resource> {
    let attributes = vec![
        text("service.name", service(number)),
        text("service.version", "1.4.2"),
        text("service.instance.id", format!("{}-7c9f6d5b8-x{number:03}", service(number))),
        text("deployment.environment.name", "production"),
        text("telemetry.sdk.language", "java"),
    ];
    Some(Resource { attributes, ..Resource::default() })
}

fn scope() -> Option<InstrumentationScope> {
    let (name, version) = ("io.opentelemetry.http".to_owned(), "2.1.0".to_owned());
    Some(InstrumentationScope { name, version, ..InstrumentationScope::default() })
}

fn string(value: impl Into<String>) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(value.into())) }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(string(value)), ..KeyValue::default() }
}

fn number(key: &str, value: i64) -> KeyValue {
    let value = AnyValue { value: Some(Value::IntValue(value)) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}
