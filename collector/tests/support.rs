//! A collector with a store in a temporary folder, requests to send, and clients without comfort.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use collector::{Collector, Settings};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use model::{Clock, IdRules, Signal, SystemClock, TimeRange};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::{Value, json};
use storage::rows::{LogRows, PointRows, SpanRows};
use storage::{ScanOrder, ScanStats, Store};
use tempfile::TempDir;
use tokio::time::Instant;

/// How long a condition may take to come true.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) collector: Collector,
    pub(crate) store: Arc<Store>,
    pub(crate) dir: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with_store(|_| {}, change).await
    }

    pub(crate) async fn with_store(
        change_store: impl FnOnce(&mut storage::Settings),
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut store_settings = storage::Settings::new(dir.path());
        change_store(&mut store_settings);
        let store = open(store_settings).await;
        let mut settings = Settings::on_free_ports();
        change(&mut settings);
        let collector = Collector::start(settings, Arc::clone(&store), clock()).await.expect("starts");
        Self { collector, store, dir }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.collector.otlp_http_addr())
    }

    /// Span names, log bodies or metric names in the store, sorted.
    pub(crate) async fn stored(&self, signal: Signal) -> Vec<String> {
        stored(&self.store, signal).await
    }

    /// Posts to the HTTP listener.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let client = reqwest::Client::new();
        let mut request = client.post(self.url(path)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.expect("an answer")).await
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    SystemClock::shared()
}

pub(crate) async fn open(settings: storage::Settings) -> Arc<Store> {
    Store::open(settings, Arc::new(IdRules::default()), clock()).await.expect("opens")
}

pub(crate) async fn stored(store: &Arc<Store>, signal: Signal) -> Vec<String> {
    let snapshot = store.snapshot();
    let scan = move || {
        let mut names = Vec::new();
        let mut visit = |rows: &_| {
            match signal {
                Signal::Traces => {
                    let rows = SpanRows::new(rows);
                    names.extend((0..rows.len()).map(|row| rows.name(row).to_owned()));
                }
                Signal::Logs => {
                    let rows = LogRows::new(rows);
                    names.extend((0..rows.len()).map(|row| rows.body(row).to_owned()));
                }
                Signal::Metrics => {
                    let rows = PointRows::new(rows);
                    names.extend((0..rows.len()).map(|row| rows.metric(row).to_owned()));
                }
            }
            ControlFlow::Continue(())
        };
        let mut stats = ScanStats::default();
        snapshot
            .scan(signal, &TimeRange::ALL, &[], ScanOrder::Any, &mut stats, &mut visit)
            .expect("readable");
        names.sort();
        names
    };
    tokio::task::spawn_blocking(scan).await.expect("no panic")
}

/// What came back over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let headers = response.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
        let (status, headers) = (response.status().as_u16(), headers.collect());
        Self { status, headers, body: response.bytes().await.expect("a body").to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Waits for a condition, with a deadline.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "{what} did not come true in {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn text(value: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) })
}

fn resource() -> Option<Resource> {
    let service = KeyValue { key: "service.name".to_owned(), value: text("shop"), ..KeyValue::default() };
    Some(Resource { attributes: vec![service], ..Resource::default() })
}

fn now() -> u64 {
    clock().now().0 as u64
}

pub(crate) fn span(name: &str) -> Span {
    Span {
        name: name.to_owned(),
        trace_id: vec![7; 16],
        span_id: vec![9; 8],
        start_time_unix_nano: now(),
        end_time_unix_nano: now(),
        ..Span::default()
    }
}

pub(crate) fn traces(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let group = ResourceSpans { resource: resource(), scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![group] }
}

pub(crate) fn logs(bodies: &[&str]) -> ExportLogsServiceRequest {
    let record = |body: &&str| LogRecord { body: text(body), time_unix_nano: now(), ..LogRecord::default() };
    let scope_logs =
        vec![ScopeLogs { log_records: bodies.iter().map(record).collect(), ..ScopeLogs::default() }];
    let group = ResourceLogs { resource: resource(), scope_logs, ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![group] }
}

pub(crate) fn metrics(names: &[&str]) -> ExportMetricsServiceRequest {
    let metric = |name: &&str| {
        let value = Some(number_data_point::Value::AsDouble(1.5));
        let point = NumberDataPoint { time_unix_nano: now(), value, ..NumberDataPoint::default() };
        let data = Some(metric::Data::Gauge(Gauge { data_points: vec![point] }));
        Metric { name: (*name).to_owned(), data, ..Metric::default() }
    };
    let scope_metrics =
        vec![ScopeMetrics { metrics: names.iter().map(metric).collect(), ..ScopeMetrics::default() }];
    let group = ResourceMetrics { resource: resource(), scope_metrics, ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![group] }
}

/// A request with these names, as protobuf.
pub(crate) fn protobuf(signal: Signal, names: &[&str]) -> Vec<u8> {
    match signal {
        Signal::Traces => traces(names.iter().map(|name| span(name)).collect()).encode_to_vec(),
        Signal::Logs => logs(names).encode_to_vec(),
        Signal::Metrics => metrics(names).encode_to_vec(),
    }
}

/// A request with these names, as JSON.
pub(crate) fn json_request(signal: Signal, names: &[&str]) -> Value {
    let time = now().to_string();
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]});
    match signal {
        Signal::Traces => {
            let span = |name: &&str| {
                json!({
                    "name": name, "traceId": "07".repeat(16), "spanId": "09".repeat(8),
                    "startTimeUnixNano": time, "endTimeUnixNano": time,
                })
            };
            let spans: Vec<_> = names.iter().map(span).collect();
            json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]})
        }
        Signal::Logs => {
            let record = |body: &&str| json!({"body": {"stringValue": body}, "timeUnixNano": time});
            let records: Vec<_> = names.iter().map(record).collect();
            json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]})
        }
        Signal::Metrics => {
            let metric = |name: &&str| json!({"name": name, "gauge": {"dataPoints": [{"asDouble": 1.5, "timeUnixNano": time}]}});
            let metrics: Vec<_> = names.iter().map(metric).collect();
            json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": metrics}]}]})
        }
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

pub(crate) fn compressed(how: &str, bytes: &[u8]) -> Vec<u8> {
    match how {
        "gzip" => gzip(bytes),
        "zstd" => zstd::bulk::compress(bytes, 3).expect("in memory"),
        _ => bytes.to_vec(),
    }
}

/// A gzip file of `mebibytes` MiB of zeros, made of members so that making it is quick.
pub(crate) fn gzip_bomb(mebibytes: usize) -> Vec<u8> {
    gzip(&vec![0; 1 << 20]).repeat(mebibytes)
}

/// Whether any file of the write-ahead log holds these bytes.
pub(crate) fn wal_holds(data_dir: &Path, wanted: &[u8]) -> bool {
    let files = std::fs::read_dir(data_dir.join("wal")).expect("the log has a folder");
    files
        .map(|file| std::fs::read(file.expect("an entry").path()).expect("readable"))
        .any(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted))
}

/// What came back from a gRPC call made by hand.
#[derive(Debug)]
pub(crate) struct GrpcAnswer {
    pub(crate) http_status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) trailers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl GrpcAnswer {
    /// From the headers or the trailers.
    pub(crate) fn field(&self, name: &str) -> &str {
        let found = self.headers.get(name).or_else(|| self.trailers.get(name));
        found.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// One frame of a gRPC body.
pub(crate) fn frame(is_compressed: bool, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::from(is_compressed)];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

pub(crate) const TRACES_METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A gRPC call made by hand.
pub(crate) async fn grpc_call(
    addr: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> GrpcAnswer {
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<bytes::Bytes>>();
    let mut request = http::Request::post(format!("http://{addr}{path}")).header("te", "trailers");
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/grpc");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).expect("a request");
    let (parts, body) = client.request(request).await.expect("an answer").into_parts();
    let collected = body.collect().await.expect("a body");
    GrpcAnswer {
        http_status: parts.status.as_u16(),
        headers: parts.headers,
        trailers: collected.trailers().cloned().unwrap_or_default(),
        body: collected.to_bytes().to_vec(),
    }
}

/// The type URLs of the details in a `google.rpc.Status`.
pub(crate) fn detail_types(status: &[u8]) -> Vec<String> {
    let details = model::wire::Repeated::new(status, 3);
    let url = |any| {
        model::wire::Repeated::new(any, 1).iter().next().map(|url| String::from_utf8_lossy(url).into_owned())
    };
    details.iter().filter_map(url).collect()
}

/// The message of a `google.rpc.Status`.
pub(crate) fn status_message(status: &[u8]) -> String {
    let found = model::wire::Repeated::new(status, 2);
    found.iter().next().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
}

pub(crate) const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
pub(crate) const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
