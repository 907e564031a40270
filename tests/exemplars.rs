//! Exemplars the whole way: OTLP in, a row on the journey and Prometheus' answer out, from memory and from disk.

use std::path::Path;
use std::time::Duration;

use fixtures::server::TestServer;
use model::{SpanId, SystemClock, TraceId, UnixNano};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Histogram, HistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics,
    exemplar, metric,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use query_api::{Journey, RowKind};
use serde_json::Value;

use crate::support::{eventually, server, silmari, stderr, stdout};

const TRACE: TraceId = TraceId([0x4b; 16]);
const SPAN: SpanId = SpanId([0xa1; 8]);

fn nanos(time: UnixNano) -> u64 {
    u64::try_from(time.0).expect("after 1970")
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn checkout() -> Option<Resource> {
    Some(Resource { attributes: vec![attribute("service.name", "checkout")], ..Resource::default() })
}

/// One span of an order, `now - 3 s` to `now - 2 s`.
fn spans(now: UnixNano) -> Vec<u8> {
    let span = Span {
        trace_id: TRACE.0.to_vec(),
        span_id: SPAN.0.to_vec(),
        name: "POST /checkout".to_owned(),
        start_time_unix_nano: nanos(now.plus(-3_000_000_000)),
        end_time_unix_nano: nanos(now.plus(-2_000_000_000)),
        attributes: vec![attribute("order_id", "ORD-4711")],
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let of_checkout = ResourceSpans { resource: checkout(), scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![of_checkout] }.encode_to_vec()
}

/// A histogram with one measurement that was taken within the span.
fn histogram(now: UnixNano) -> Vec<u8> {
    let measured = Exemplar {
        time_unix_nano: nanos(now.plus(-2_500_000_000)),
        trace_id: TRACE.0.to_vec(),
        span_id: SPAN.0.to_vec(),
        value: Some(exemplar::Value::AsDouble(0.3)),
        filtered_attributes: vec![attribute("payment.method", "card")],
    };
    let point = HistogramDataPoint {
        start_time_unix_nano: nanos(now.plus(-10_000_000_000)),
        time_unix_nano: nanos(now),
        count: 1,
        sum: Some(0.3),
        bucket_counts: vec![0, 1, 0],
        explicit_bounds: vec![0.1, 0.5],
        exemplars: vec![measured],
        ..HistogramDataPoint::default()
    };
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let data = metric::Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality });
    let (name, unit) = ("http.server.request.duration".to_owned(), "s".to_owned());
    let metrics = vec![Metric { name, unit, data: Some(data), ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let of_checkout = ResourceMetrics { resource: checkout(), scope_metrics, ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![of_checkout] }.encode_to_vec()
}

/// A sum with one measurement of the span, as JSON.
fn sum(now: UnixNano) -> String {
    let (taken, time) = (nanos(now.plus(-2_200_000_000)), nanos(now));
    format!(
        r#"{{"resourceMetrics":[{{
            "resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"checkout"}}}}]}},
            "scopeMetrics":[{{"metrics":[{{"name":"orders.items","sum":{{
                "aggregationTemporality":2,"isMonotonic":true,
                "dataPoints":[{{"timeUnixNano":"{time}","asInt":"7","exemplars":[{{
                    "timeUnixNano":"{taken}","asInt":"4","traceId":"{TRACE}","spanId":"{SPAN}"}}]}}]}}}}]}}]}}]}}"#
    )
}

async fn post(server: &TestServer, path: &str, kind: &str, body: impl Into<reqwest::Body>) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let post = client.post(format!("{}{path}", server.otlp_http())).header("content-type", kind);
    let answer = post.body(body).send().await.expect("answered");
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap_or_default());
}

/// What Prometheus' endpoint says of an expression.
async fn query_exemplars(server: &TestServer, expr: &str) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut url = reqwest::Url::parse(server.api()).expect("a URL");
    url.set_path("/prometheus/api/v1/query_exemplars");
    url.query_pairs_mut().append_pair("query", expr);
    let answer = client.get(url).send().await.expect("answered");
    assert!(answer.status().is_success(), "{}", answer.status());
    let body: Value = serde_json::from_slice(&answer.bytes().await.expect("read")).expect("JSON");
    assert_eq!(body["status"], "success", "{body}");
    body["data"].clone()
}

async fn the_journey_shows_both(server: &TestServer, place: &str) {
    let shown = || async {
        let output = silmari(server.api(), &["trace", "ORD-4711"]).await;
        let text = stdout(&output);
        let is_whole =
            text.contains("http.server.request.duration = 0.3 s") && text.contains("orders.items = 4");
        if is_whole { Ok(text) } else { Err(format!("{place}: {text}{}", stderr(&output))) }
    };
    let text = eventually(Duration::from_secs(20), shown).await;
    assert!(text.contains('◆'), "{place}: {text}");

    let output = silmari(server.api(), &["trace", &TRACE.to_string(), "--json"]).await;
    let journey: Journey = serde_json::from_slice(&output.stdout).expect("a journey");
    let rows: Vec<_> = journey.rows.iter().filter(|row| row.kind == RowKind::Exemplar).collect();
    assert_eq!(rows.len(), 2, "{place}: {rows:?}");
    let span = journey.rows.iter().find(|row| row.kind == RowKind::Span).expect("the span");
    for row in &rows {
        assert_eq!((row.trace_id, row.span_id), (Some(TRACE), Some(SPAN)), "{place}");
        assert_eq!(row.depth, span.depth + 1, "{place}: below its span");
        assert_eq!(row.service, "checkout", "{place}");
    }
    assert_eq!(rows[0].attributes["payment.method"], "card", "{place}");
    assert_eq!(rows[0].attributes["metric.series"], "http_server_request_duration_seconds", "{place}");
    assert_eq!(journey.duration_nano, 1_000_000_000, "{place}: measurements do not stretch the journey");
}

async fn prometheus_answers_both(server: &TestServer, place: &str) {
    let quantile = "histogram_quantile(0.9, sum by (le) (rate(\
                    http_server_request_duration_seconds_bucket{service_name=\"checkout\"}[5m])))";
    for (expr, value) in [(quantile, "0.3"), ("rate(orders_items_total[5m])", "4")] {
        let data = query_exemplars(server, expr).await;
        let series = data.as_array().expect("a list");
        assert_eq!(series.len(), 1, "{place}: {expr}: {data}");
        assert_eq!(series[0]["seriesLabels"]["service_name"], "checkout", "{place}: {expr}");
        let exemplars = series[0]["exemplars"].as_array().expect("a list");
        assert_eq!(exemplars.len(), 1, "{place}: {expr}: {data}");
        assert_eq!(exemplars[0]["value"], value, "{place}: {expr}");
        assert_eq!(exemplars[0]["labels"]["trace_id"], TRACE.to_string(), "{place}: {expr}");
        assert_eq!(exemplars[0]["labels"]["span_id"], SPAN.to_string(), "{place}: {expr}");
    }
    assert_eq!(query_exemplars(server, "nothing_here").await, serde_json::json!([]), "{place}");
}

async fn fill(folder: &Path) -> TestServer {
    let server = server(folder).await;
    let now = SystemClock::shared().now();
    post(&server, "/v1/traces", "application/x-protobuf", spans(now)).await;
    post(&server, "/v1/metrics", "application/x-protobuf", histogram(now)).await;
    post(&server, "/v1/metrics", "application/json", sum(now)).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_measurement_that_names_a_span_is_on_its_journey_and_behind_its_series_before_and_after_a_restart()
{
    let folder = tempfile::tempdir().expect("a folder");
    let filled = fill(folder.path()).await;
    the_journey_shows_both(&filled, "from memory").await;
    prometheus_answers_both(&filled, "from memory").await;
    filled.stop().await.expect("stops");

    let again = server(folder.path()).await;
    the_journey_shows_both(&again, "after a restart").await;
    prometheus_answers_both(&again, "after a restart").await;
    again.stop().await.expect("stops");
}
