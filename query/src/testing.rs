//! A real store in a temporary folder, filled through OTLP, for the tests of this crate.

use std::sync::Arc;

use bytes::Bytes;
use model::{IdRules, ManualClock, Signal, TimeRange, UnixNano};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message as _;
use storage::{Compression, Frame, Settings, Store};

/// The time the test's clock shows at the start.
pub(crate) const NOW: UnixNano = UnixNano(1_800_000_000_000_000_000);
pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const MS: i64 = 1_000_000;

/// The last quarter of an hour.
pub(crate) fn last_15m() -> TimeRange {
    TimeRange::last(std::time::Duration::from_secs(900), NOW)
}

/// `NOW` moved by `nanos`.
fn at(nanos: i64) -> u64 {
    (NOW.0 + nanos).unsigned_abs()
}

/// A span; times are relative to [`NOW`].
#[derive(Clone, Debug, Default)]
pub(crate) struct TestSpan<'a> {
    pub(crate) service: &'a str,
    pub(crate) name: &'a str,
    pub(crate) kind: span::SpanKind,
    pub(crate) trace: u64,
    pub(crate) span: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) start: i64,
    pub(crate) duration: i64,
    pub(crate) is_error: bool,
    pub(crate) attributes: &'a [(&'a str, &'a str)],
    pub(crate) links: Vec<(u64, u64)>,
}

/// A log record; its time is relative to [`NOW`].
#[derive(Clone, Debug, Default)]
pub(crate) struct TestLog<'a> {
    pub(crate) service: &'a str,
    pub(crate) event: &'a str,
    pub(crate) severity: i32,
    pub(crate) level: &'a str,
    pub(crate) body: &'a str,
    pub(crate) trace: Option<u64>,
    pub(crate) time: i64,
    pub(crate) attributes: &'a [(&'a str, &'a str)],
}

pub(crate) fn trace_bytes(trace: u64) -> Vec<u8> {
    [[7; 8], trace.to_be_bytes()].concat()
}

pub(crate) fn span_bytes(span: u64) -> Vec<u8> {
    (span + 1).to_be_bytes().to_vec()
}

fn key_value((key, value): &(&str, &str)) -> KeyValue {
    let value = any_value::Value::StringValue((*value).to_owned());
    KeyValue { key: (*key).to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn resource(service: &str) -> Option<Resource> {
    let attributes = [("service.name", service), ("host.name", "host-1")];
    Some(Resource { attributes: attributes.iter().map(key_value).collect(), ..Resource::default() })
}

/// A store and its clock; the folder goes when it is dropped.
pub(crate) struct TestStore {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<ManualClock>,
    _dir: Option<tempfile::TempDir>,
}

impl TestStore {
    pub(crate) async fn open() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Self::open_in(dir.path()).await;
        Self { _dir: Some(dir), ..store }
    }

    /// A store in a folder that stays.
    pub(crate) async fn open_in(dir: &std::path::Path) -> Self {
        let clock = ManualClock::at(NOW);
        let shared: Arc<dyn model::Clock> = Arc::<ManualClock>::clone(&clock);
        let store = Store::open(Settings::new(dir), Arc::new(IdRules::default()), shared);
        Self { store: store.await.expect("the store opens"), clock, _dir: None }
    }

    async fn append(&self, signal: Signal, payload: Vec<u8>) {
        let payload = Bytes::from(payload);
        let batch = self.store.decode(signal, &payload, NOW).expect("decodable");
        assert_eq!(batch.rejected, 0, "{:?}", batch.rejection);
        let frame = Frame { signal, compression: Compression::Identity, received_at: NOW, payload };
        self.store.append(frame, batch).await.expect("durable");
    }

    pub(crate) async fn spans(&self, spans: &[TestSpan<'_>]) {
        let resource_spans = spans.iter().map(|span| ResourceSpans {
            resource: resource(span.service),
            scope_spans: vec![ScopeSpans { spans: vec![otlp_span(span)], ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        });
        let request = ExportTraceServiceRequest { resource_spans: resource_spans.collect() };
        self.append(Signal::Traces, request.encode_to_vec()).await;
    }

    pub(crate) async fn logs(&self, logs: &[TestLog<'_>]) {
        let resource_logs = logs.iter().map(|log| ResourceLogs {
            resource: resource(log.service),
            scope_logs: vec![ScopeLogs { log_records: vec![otlp_log(log)], ..ScopeLogs::default() }],
            ..ResourceLogs::default()
        });
        let request = ExportLogsServiceRequest { resource_logs: resource_logs.collect() };
        self.append(Signal::Logs, request.encode_to_vec()).await;
    }

    /// One point of a gauge.
    pub(crate) async fn gauge(&self, name: &str, attributes: &[(&str, &str)], time: i64, value: i64) {
        let point = NumberDataPoint {
            time_unix_nano: at(time),
            attributes: attributes.iter().map(key_value).collect(),
            value: Some(number_data_point::Value::AsInt(value)),
            ..NumberDataPoint::default()
        };
        let gauge = Gauge { data_points: vec![point] };
        let metric =
            Metric { name: name.to_owned(), data: Some(metric::Data::Gauge(gauge)), ..Metric::default() };
        self.metric("kafka", metric).await;
    }

    /// One point of a cumulative, monotonic sum.
    pub(crate) async fn counter(&self, service: &str, name: &str, time: i64, value: i64) {
        let point = NumberDataPoint {
            time_unix_nano: at(time),
            start_time_unix_nano: at(-3600 * SECOND),
            value: Some(number_data_point::Value::AsInt(value)),
            ..NumberDataPoint::default()
        };
        let sum = Sum {
            data_points: vec![point],
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        };
        let metric =
            Metric { name: name.to_owned(), data: Some(metric::Data::Sum(sum)), ..Metric::default() };
        self.metric(service, metric).await;
    }

    /// A histogram of request durations in seconds, with one measurement of 0.3 s in a span.
    pub(crate) async fn measured(&self, service: &str, trace: u64, span: u64, time: i64) {
        let exemplar = Exemplar {
            time_unix_nano: at(time),
            trace_id: trace_bytes(trace),
            span_id: span_bytes(span),
            value: Some(exemplar::Value::AsDouble(0.3)),
            ..Exemplar::default()
        };
        let point = HistogramDataPoint {
            time_unix_nano: at(time + SECOND),
            count: 1,
            sum: Some(0.3),
            bucket_counts: vec![0, 1, 0],
            explicit_bounds: vec![0.1, 0.5],
            exemplars: vec![exemplar],
            ..HistogramDataPoint::default()
        };
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        let histogram = Histogram { data_points: vec![point], aggregation_temporality };
        let (name, unit) = ("http.server.request.duration".to_owned(), "s".to_owned());
        let data = Some(metric::Data::Histogram(histogram));
        self.metric(service, Metric { name, unit, data, ..Metric::default() }).await;
    }

    async fn metric(&self, service: &str, metric: Metric) {
        let resource_metrics = ResourceMetrics {
            resource: resource(service),
            scope_metrics: vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        };
        let request = ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] };
        self.append(Signal::Metrics, request.encode_to_vec()).await;
    }
}

fn otlp_span(of: &TestSpan<'_>) -> Span {
    let link = |(trace, span): &(u64, u64)| span::Link {
        trace_id: trace_bytes(*trace),
        span_id: span_bytes(*span),
        ..span::Link::default()
    };
    Span {
        trace_id: trace_bytes(of.trace),
        span_id: span_bytes(of.span),
        parent_span_id: of.parent.map(span_bytes).unwrap_or_default(),
        name: of.name.to_owned(),
        kind: of.kind.into(),
        start_time_unix_nano: at(of.start),
        end_time_unix_nano: at(of.start + of.duration),
        attributes: of.attributes.iter().map(key_value).collect(),
        links: of.links.iter().map(link).collect(),
        status: of.is_error.then(|| Status { message: "it broke".to_owned(), code: 2 }),
        ..Span::default()
    }
}

fn otlp_log(of: &TestLog<'_>) -> LogRecord {
    LogRecord {
        time_unix_nano: at(of.time),
        severity_number: of.severity,
        severity_text: of.level.to_owned(),
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(of.body.to_owned())) }),
        attributes: of.attributes.iter().map(key_value).collect(),
        trace_id: of.trace.map(trace_bytes).unwrap_or_default(),
        event_name: of.event.to_owned(),
        ..LogRecord::default()
    }
}
