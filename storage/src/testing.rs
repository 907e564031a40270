//! A store in a temporary folder, filled through OTLP, for the tests of this crate.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use model::{IdRules, ManualClock, Signal, TimeRange, UnixNano};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, exemplar, metric,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use crate::rows::{LogRows, PointRows, SpanRows, completed};
use crate::{Compression, Frame, ScanOrder, ScanStats, Settings, Store, TextHint, TextRows, TextSearch};

/// Half past the hour.
pub(crate) const NOW: UnixNano = UnixNano(500_000 * HOUR + HOUR / 2);
pub(crate) const HOUR: i64 = 3_600 * SECOND;
pub(crate) const SECOND: i64 = 1_000_000_000;

/// Settings under which two segments of a size are merged, and nothing happens by itself.
pub(crate) fn settings(dir: &std::path::Path) -> Settings {
    Settings { compaction_fan_in: 2, has_maintenance: false, ..Settings::new(dir) }
}

pub(crate) async fn open(dir: &std::path::Path) -> Arc<Store> {
    open_with(settings(dir), ManualClock::at(NOW)).await
}

pub(crate) async fn open_with(settings: Settings, clock: Arc<ManualClock>) -> Arc<Store> {
    Store::open(settings, Arc::new(IdRules::default()), clock).await.expect("opens")
}

/// A span; its time is relative to [`NOW`].
pub(crate) fn span(trace: u8, id: u8, time: i64, is_error: bool) -> Span {
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        name: format!("span {id}"),
        start_time_unix_nano: (NOW.0 + time) as u64,
        end_time_unix_nano: (NOW.0 + time + 5) as u64,
        status: is_error.then(|| Status { code: 2, message: String::new() }),
        ..Span::default()
    }
}

/// A log record; trace 0 means none.
pub(crate) fn log(body: &str, trace: u8, order: &str, time: i64) -> LogRecord {
    let attributes = if order.is_empty() { Vec::new() } else { vec![text("order_id", order)] };
    LogRecord {
        time_unix_nano: (NOW.0 + time) as u64,
        severity_number: if body.contains("error") { 17 } else { 9 },
        body: Some(value(body)),
        trace_id: if trace == 0 { Vec::new() } else { vec![trace; 16] },
        attributes,
        ..LogRecord::default()
    }
}

pub(crate) async fn append_spans(store: &Store, spans: Vec<Span>) {
    append(store, Signal::Traces, &spans_request(spans)).await;
}

/// A request of spans.
pub(crate) fn spans_request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let group = ResourceSpans { resource: resource(), scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![group] }
}

pub(crate) async fn append_logs(store: &Store, log_records: Vec<LogRecord>) {
    append(store, Signal::Logs, &logs_request(log_records)).await;
}

/// A request of log records; one without any has no bytes.
pub(crate) fn logs_request(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    if log_records.is_empty() {
        return ExportLogsServiceRequest::default();
    }
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let group = ResourceLogs { resource: resource(), scope_logs, ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![group] }
}

/// Points of gauges: name, time, value.
pub(crate) async fn append_points(store: &Store, points: &[(&str, i64, f64)]) {
    append(store, Signal::Metrics, &points_request(points)).await;
}

/// A request of points of gauges: name, time, value.
pub(crate) fn points_request(points: &[(&str, i64, f64)]) -> ExportMetricsServiceRequest {
    let point = |(name, time, number): &(&str, i64, f64)| {
        let data_points = vec![NumberDataPoint {
            time_unix_nano: (NOW.0 + time) as u64,
            value: Some(number_data_point::Value::AsDouble(*number)),
            ..NumberDataPoint::default()
        }];
        let data = Some(metric::Data::Gauge(Gauge { data_points }));
        Metric { name: (*name).to_owned(), data, ..Metric::default() }
    };
    let metrics = points.iter().map(point).collect();
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let group = ResourceMetrics { resource: resource(), scope_metrics, ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![group] }
}

/// A request of two points, the second of which has an exemplar of this trace.
pub(crate) fn points_of_trace(trace: u8, time: i64, value: f64) -> ExportMetricsServiceRequest {
    let mut request = points_request(&[("up", time, 1.0), ("load", time, 0.5)]);
    let metric = &mut request.resource_metrics[0].scope_metrics[0].metrics[1];
    if let Some(metric::Data::Gauge(gauge)) = &mut metric.data {
        gauge.data_points[0].exemplars.push(Exemplar {
            filtered_attributes: vec![text("order_id", "ORD-1")],
            time_unix_nano: (NOW.0 + time) as u64,
            span_id: vec![trace; 8],
            trace_id: vec![trace; 16],
            value: Some(exemplar::Value::AsDouble(value)),
        });
    }
    request
}

pub(crate) async fn append(store: &Store, signal: Signal, request: &impl prost::Message) {
    let frame = frame(signal, request, NOW);
    let batch = store.decode(signal, &frame.payload, NOW).expect("decodable");
    assert_eq!(batch.rejected, 0, "{:?}", batch.rejection);
    store.append(frame, batch).await.expect("durable");
}

/// A request as it arrives.
pub(crate) fn frame(signal: Signal, request: &impl prost::Message, received_at: UnixNano) -> Frame {
    let payload = Bytes::from(request.encode_to_vec());
    Frame { signal, compression: Compression::Identity, received_at, payload }
}

fn text(key: &str, content: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value(content)), ..KeyValue::default() }
}

fn value(text: &str) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) }
}

fn resource() -> Option<Resource> {
    Some(Resource { attributes: vec![text("service.name", "billing")], ..Resource::default() })
}

/// Every visible row as a line, sorted: what the store holds, whatever it is kept in.
pub(crate) fn lines(snapshot: &crate::Snapshot, signal: Signal) -> Vec<String> {
    let mut out = Vec::new();
    let mut visit = |rows: &RecordBatch| {
        out.extend(lines_of(signal, rows));
        ControlFlow::Continue(())
    };
    let mut stats = ScanStats::default();
    snapshot
        .scan(signal, &TimeRange::ALL, &[], ScanOrder::Any, &mut stats, &mut visit)
        .expect("no defect of ours");
    assert_eq!(stats.segments_unreadable, 0);
    out.sort();
    out
}

/// The rows of groups that carry `term`, as lines.
pub(crate) fn found(snapshot: &crate::Snapshot, signal: Signal, term: &str) -> Vec<String> {
    let mut stats = ScanStats::default();
    let batches =
        snapshot.lookup(signal, &TimeRange::ALL, &[term.to_owned()], &mut stats).expect("no defect of ours");
    let mut out: Vec<String> = batches.iter().flat_map(|rows| lines_of(signal, rows)).collect();
    out.sort();
    out
}

fn lines_of(signal: Signal, rows: &RecordBatch) -> Vec<String> {
    let count = 0..rows.num_rows();
    match signal {
        Signal::Traces => {
            let rows = SpanRows::new(rows);
            count.map(|row| format!("{} {}", &rows.trace_id(row).to_string()[..2], rows.name(row))).collect()
        }
        Signal::Logs => {
            let rows = LogRows::new(rows);
            count.map(|row| rows.body(row).to_owned()).collect()
        }
        Signal::Metrics => {
            let rows = PointRows::new(rows);
            let line = |row| format!("{} {} {}", rows.name(row), rows.time(row).since(NOW), rows.value(row));
            count.map(line).collect()
        }
    }
}

/// How many log records contain a text.
pub(crate) fn with_text(store: &Store, text: &str) -> usize {
    let (mut count, mut stats) = (0, ScanStats::default());
    let mut visit = |rows: &TextRows<'_>| {
        let whole = completed(Signal::Logs, rows.rows);
        let whole = LogRows::new(&whole);
        count += (0..whole.len()).filter(|row| rows.is_sure || whole.body(*row).contains(text)).count();
        ControlFlow::Continue(())
    };
    let hint = TextHint::default().and(text);
    let (signal, range) = (Signal::Logs, &TimeRange::ALL);
    let wanted = TextSearch { signal, range, hint: &hint, columns: &[] };
    store.snapshot().search(&wanted, &mut stats, &mut visit).expect("readable");
    count
}

/// Names of the folders of a table.
pub(crate) fn folders(dir: &std::path::Path, signal: Signal) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir.join("segments").join(signal.table())) else { return Vec::new() };
    let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = entries.filter_map(Result::ok).map(name).collect();
    names.sort();
    names
}
