//! Round trips: any request as prost builds it, written as JSON, transcoded, read by prost again.

use std::path::Path;

use model::Signal;
use model::otlp::json::Transcoded;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

use super::transcode;
use crate::status::Reason;

mod arbitrary;
mod emit;

fn read(signal: Signal, text: &str) -> Transcoded {
    transcode(signal, text.as_bytes(), 1 << 20)
        .unwrap_or_else(|refusal| panic!("{}: {text}", refusal.message))
}

fn traces(text: &str) -> (ExportTraceServiceRequest, Transcoded) {
    let done = read(Signal::Traces, text);
    (ExportTraceServiceRequest::decode(&*done.request).expect("protobuf"), done)
}

fn round_trip<M: Message + Default + PartialEq + std::fmt::Debug>(signal: Signal, request: &M, text: &str) {
    let done = read(signal, text);
    assert_eq!(done.errors, Vec::<String>::new(), "{text}");
    assert_eq!(&M::decode(&*done.request).expect("protobuf"), request, "{text}");
}

proptest! {
    #[test]
    fn any_request_of_spans_survives_json(request in arbitrary::traces(), style in arbitrary::style()) {
        round_trip(Signal::Traces, &request, &emit::traces(&request, style).to_string());
    }

    #[test]
    fn any_request_of_log_records_survives_json(request in arbitrary::logs(), style in arbitrary::style()) {
        round_trip(Signal::Logs, &request, &emit::logs(&request, style).to_string());
    }

    #[test]
    fn any_request_of_metrics_survives_json(request in arbitrary::metrics(), style in arbitrary::style()) {
        round_trip(Signal::Metrics, &request, &emit::metrics(&request, style).to_string());
    }

    #[test]
    fn any_bytes_end_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for signal in Signal::ALL {
            drop(transcode(signal, &bytes, 1 << 20));
        }
    }

    #[test]
    fn a_request_with_one_byte_changed_never_gives_broken_protobuf(
        request in arbitrary::traces(),
        style in arbitrary::style(),
        at in any::<prop::sample::Index>(),
        byte in prop::sample::select(&b"0\"{}[],:x5"[..]),
    ) {
        let mut text = emit::traces(&request, style).to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(done) = transcode(Signal::Traces, &text, 1 << 20) {
            prop_assert!(ExportTraceServiceRequest::decode(&*done.request).is_ok(), "{}", String::from_utf8_lossy(&text));
        }
    }
}

#[test]
fn the_examples_of_the_protocol_are_read_whole() {
    let dir =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/otlp/opentelemetry-proto-examples");
    if !dir.exists() {
        eprintln!("skipped: shared data not present");
        return;
    }
    let file = |name: &str| std::fs::read_to_string(dir.join(name)).expect("readable");
    let (request, done) = traces(&file("trace.json"));
    assert_eq!(done.errors, Vec::<String>::new());
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!((span.name.as_str(), span.kind, span.trace_id.len()), ("I'm a server span", 2, 16));

    for name in ["logs.json", "events.json"] {
        let done = read(Signal::Logs, &file(name));
        assert_eq!(done.errors, Vec::<String>::new(), "{name}");
        let request = ExportLogsServiceRequest::decode(&*done.request).expect("protobuf");
        assert!(request.resource_logs[0].scope_logs[0].log_records[0].body.is_some(), "{name}");
    }
    let done = read(Signal::Metrics, &file("metrics.json"));
    assert_eq!(done.errors, Vec::<String>::new());
    let request = ExportMetricsServiceRequest::decode(&*done.request).expect("protobuf");
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    assert_eq!(metrics.len(), 4);
    assert!(metrics.iter().all(|metric| metric.data.is_some()));
}

fn spans_with(spans: &serde_json::Value) -> String {
    json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).to_string()
}

#[test]
fn a_bad_span_is_left_out_with_its_place_and_the_others_are_kept() {
    let good =
        json!({"name": "good", "traceId": "0AF7651916CD43DD8448EB211C80319C", "spanId": "00f067aa0ba902b7"});
    let short = json!({"name": "bad", "traceId": "0AF7651916CD43DD8448EB211C80319"});
    let (request, done) = traces(&spans_with(&json!([good, good, short, good])));
    let names: Vec<_> =
        request.resource_spans[0].scope_spans[0].spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["good", "good", "good"]);
    assert_eq!(done.rejected, 1);
    assert_eq!(done.errors, ["resourceSpans[0].scopeSpans[0].spans[2].traceId: 31 hex digits, expected 32"]);
}

#[test]
fn a_bad_resource_takes_all_its_spans_with_it_and_no_others() {
    let scopes = json!([{"spans": [{"name": "a"}, {"kind": "wrong"}]}, {"spans": [{"name": "c"}]}]);
    let text = json!({"resourceSpans": [
        {"scopeSpans": scopes, "resource": {"attributes": 5}},
        {"scopeSpans": [{"spans": [{"name": "kept"}]}]},
    ]});
    let (request, done) = traces(&text.to_string());
    assert_eq!(request.resource_spans.len(), 1);
    assert_eq!(request.resource_spans[0].scope_spans[0].spans[0].name, "kept");
    assert_eq!(done.rejected, 3, "{:?}", done.errors);
}

#[test]
fn a_bad_data_point_does_not_cost_its_metric() {
    let points = json!([{"asInt": "1"}, {"asInt": "x"}, {"asDouble": "NaN"}]);
    let metrics =
        json!([{"name": "m", "sum": {"dataPoints": points}}, {"name": 7, "gauge": {"dataPoints": [{}, {}]}}]);
    let text = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}).to_string();
    let done = read(Signal::Metrics, &text);
    assert_eq!(done.rejected, 3, "{:?}", done.errors);
    assert!(
        done.errors[0].starts_with("resourceMetrics[0].scopeMetrics[0].metrics[0].sum.dataPoints[1].asInt: ")
    );
    let request = ExportMetricsServiceRequest::decode(&*done.request).expect("protobuf");
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    assert_eq!(metrics.len(), 1);
    let Some(metric::Data::Sum(sum)) = &metrics[0].data else { panic!("{metrics:?}") };
    assert_eq!(sum.data_points[0].value, Some(number_data_point::Value::AsInt(1)));
    assert!(
        matches!(sum.data_points[1].value, Some(number_data_point::Value::AsDouble(value)) if value.is_nan())
    );
}

#[test]
fn values_are_read_as_kindly_as_the_specification_asks() {
    let text = spans_with(&json!([{
        "name": "n",
        "kind": "SPAN_KIND_SERVER",
        "unknown": {"deep": [1, {"x": null}]},
        "trace_id": "snake case is an unknown name",
        "parentSpanId": "",
        "traceState": null,
        "startTimeUnixNano": 5,
        "endTimeUnixNano": "6",
        "droppedEventsCount": 7.0,
        "attributes": [
            {"key": "d", "value": {"doubleValue": "-Infinity"}},
            {"key": "b", "value": {"bytesValue": "_-8"}},
            {"key": "i", "value": {"intValue": -9_007_199_254_740_993_i64}},
            {"key": "s", "value": {"stringValue": ""}},
            {"key": "e", "value": {}},
        ],
        "status": {},
    }]));
    let (request, done) = traces(&text);
    assert_eq!(done.errors, Vec::<String>::new());
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!((span.kind, span.start_time_unix_nano, span.end_time_unix_nano), (2, 5, 6));
    assert_eq!((span.dropped_events_count, span.trace_id.len(), span.parent_span_id.len()), (7, 0, 0));
    let values: Vec<_> =
        span.attributes.iter().map(|pair| pair.value.as_ref().and_then(|v| v.value.clone())).collect();
    assert_eq!(values[0], Some(any_value::Value::DoubleValue(f64::NEG_INFINITY)));
    assert_eq!(values[1], Some(any_value::Value::BytesValue(vec![0xff, 0xef])));
    assert_eq!(values[2], Some(any_value::Value::IntValue(-9_007_199_254_740_993)));
    assert_eq!(values[3], Some(any_value::Value::StringValue(String::new())), "an empty string is a value");
    assert_eq!(values[4], None);
}

#[test]
fn an_empty_request_is_a_request() {
    for text in ["{}", "{\"resourceSpans\":[]}", "{\"resourceSpans\":null}", " {\"resourceSpans\":[{}]} "] {
        let (request, done) = traces(text);
        assert_eq!(done.rejected, 0);
        assert!(request.resource_spans.iter().all(|group| group.scope_spans.is_empty()), "{text}");
    }
}

#[test]
fn what_is_no_request_is_refused_with_its_place() {
    for (text, expected) in [
        ("", "line 1, column 1: the text ends where a value is expected"),
        ("{\"resourceSpans\":[{]}", "line 1, column 20: expected a key in double quotes"),
        ("{} x", "line 1, column 4: expected the end of the text"),
        ("[]", "the request is an array, expected an object"),
        ("{\"resourceSpans\":5}", "resourceSpans: a number, expected an array"),
    ] {
        let refusal = transcode(Signal::Traces, text.as_bytes(), 1 << 20).expect_err(text);
        assert_eq!(refusal.reason, Reason::Malformed);
        assert!(refusal.message.contains(expected), "{text}: {}", refusal.message);
    }
    let refusal = transcode(Signal::Traces, b"{\"a\":\"\xff\"}", 1 << 20).expect_err("not UTF-8");
    assert!(refusal.message.contains("byte 6"), "{}", refusal.message);
}

#[test]
fn bounds_that_grow_eightfold_stop_at_the_limit() {
    let zeros = format!("[{}0]", "0,".repeat(100_000));
    let point = format!(
        "{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{{\"histogram\":{{\"dataPoints\":[{{\"explicitBounds\":{zeros}}}]}}}}]}}]}}]}}"
    );
    let refusal = transcode(Signal::Metrics, point.as_bytes(), 400_000).expect_err("800 kB from 200 kB");
    assert_eq!(refusal.reason, Reason::TooLarge);
}
