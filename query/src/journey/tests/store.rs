//! The same purchase through a real store: OTLP bytes in, journey out, from the head, from segments
//! and after reopening.

use std::sync::Arc;

use bytes::Bytes;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use model::{ManualClock, Signal};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span, status};
use prost::Message as _;
use query_api::JourneyStatus;
use storage::{Compression, Frame, Settings, Store};

use super::super::find;
use super::*;

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// Order numbers travel as attributes; the store finds the ids itself.
fn orders(ids: &[Text]) -> impl Iterator<Item = (&str, &str)> {
    ids.iter().filter_map(|id| id.split_once('=')).filter(|(kind, _)| *kind == "order_id")
}

fn span_bytes(record: &SpanRecord) -> Bytes {
    let own = record.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let code = if record.is_error { status::StatusCode::Error } else { status::StatusCode::Unset };
    let link = |(trace, span): &(TraceId, SpanId)| span::Link {
        trace_id: trace.0.to_vec(),
        span_id: span.0.to_vec(),
        ..span::Link::default()
    };
    let kind = model::otlp::traces::KINDS.iter().position(|kind| record.kind == *kind).expect("a kind");
    let one = Span {
        trace_id: record.trace_id.0.to_vec(),
        span_id: record.span_id.0.to_vec(),
        parent_span_id: record.parent_span_id.map(|id| id.0.to_vec()).unwrap_or_default(),
        name: record.name.to_string(),
        kind: kind as i32,
        start_time_unix_nano: record.start.0 as u64,
        end_time_unix_nano: record.end().0 as u64,
        attributes: own.map(|(key, value)| attribute(key, value)).collect(),
        links: record.links.iter().map(link).collect(),
        status: Some(Status { message: record.status_message.to_string(), code: code.into() }),
        ..Span::default()
    };
    let resource =
        Resource { attributes: vec![attribute("service.name", &record.service)], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![one], ..ScopeSpans::default() }];
    let group = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec().into()
}

fn log_bytes(record: &LogRecord) -> Bytes {
    let mut writer = LogsWriter::new([("service.name", record.service.as_str())]);
    let parts = LogRecordParts {
        time: record.time,
        severity_number: record.severity_number,
        severity_text: &record.severity_text,
        body: &record.body,
        trace_id: record.trace_id,
        span_id: record.span_id,
        ..LogRecordParts::default()
    };
    writer.push(&parts, orders(&record.ids));
    writer.finish().into()
}

pub(in crate::journey) async fn open(dir: &std::path::Path) -> Arc<Store> {
    let clock = ManualClock::at(NOW);
    Store::open(Settings::new(dir), Arc::new(IdRules::default()), clock).await.expect("opens")
}

async fn append(store: &Store, signal: Signal, payload: Bytes) {
    let batch = store.decode(signal, &payload, NOW).expect("decodable");
    assert_eq!(batch.rejected, 0, "{:?}", batch.rejection);
    let frame = Frame { signal, compression: Compression::Identity, received_at: NOW, payload };
    store.append(frame, batch).await.expect("durable");
}

pub(in crate::journey) async fn fill(store: &Store, world: &World) {
    for span in &world.spans {
        append(store, Signal::Traces, span_bytes(span)).await;
    }
    for log in &world.logs {
        append(store, Signal::Logs, log_bytes(log)).await;
    }
}

pub(in crate::journey) async fn stored(store: &Arc<Store>, id: &str) -> Journey {
    let (snapshot, id) = (store.snapshot(), id.to_owned());
    let read = move || find(&snapshot, &IdRules::default(), &request(&id), &Limits::default());
    let journey = tokio::task::spawn_blocking(read).await.expect("no panic").expect("found");
    check_invariants(&journey);
    journey
}

/// A purchase beside another one, so that finding everything is not enough.
fn two_purchases() -> World {
    let mut world = purchase();
    world.spans.push(span(9, 90, 0, "gateway", "POST /checkout", 20, 100).id("order_id=ORD-4712"));
    world.logs.push(log(0, 0, "nginx", "POST /checkout 500", 120).id("order_id=ORD-4712"));
    world
}

#[tokio::test]
async fn a_purchase_is_whole_in_the_head_in_segments_and_after_reopening() {
    let dir = tempfile::tempdir().expect("a folder");
    let expected = outline(&purchase().journey("ORD-4711"));
    let store = open(dir.path()).await;
    fill(&store, &two_purchases()).await;

    let in_head = stored(&store, "ORD-4711").await;
    assert_eq!(outline(&in_head), expected);
    assert_eq!(in_head.status, JourneyStatus::Ok);
    assert!(in_head.stats.head_rows > 0 && in_head.stats.segments_read == 0, "{:?}", in_head.stats);

    store.seal().await.expect("sealed");
    let sealed = stored(&store, "ORD-4711").await;
    assert!(sealed.stats.segments_read > 0 && sealed.stats.head_rows == 0, "{:?}", sealed.stats);
    let in_head_stats = in_head.stats.clone();
    assert_eq!(Journey { stats: in_head_stats, ..sealed.clone() }, in_head, "head and segments say the same");

    store.close().await.expect("closed");
    drop(store);
    let store = open(dir.path()).await;
    let reopened = stored(&store, "ORD-4711").await;
    assert_eq!(Journey { stats: sealed.stats.clone(), ..reopened }, sealed);
    let by_link = stored(&store, &trace(2).to_string()).await;
    assert_eq!(outline(&by_link), expected, "from the linked trace to the whole purchase");
    store.close().await.expect("closed");
}

#[tokio::test]
async fn a_purchase_that_is_half_sealed_is_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    let mut late = two_purchases();
    let early = World::of(late.spans.split_off(5), late.logs.split_off(1));
    fill(&store, &early).await;
    store.seal().await.expect("sealed");
    fill(&store, &late).await;
    let journey = stored(&store, "ORD-4711").await;
    assert_eq!(outline(&journey), outline(&purchase().journey("ORD-4711")));
    assert!(journey.stats.segments_read > 0 && journey.stats.head_rows > 0, "{:?}", journey.stats);
    store.close().await.expect("closed");
}

#[tokio::test]
async fn a_large_journey_keeps_the_attributes_it_is_made_of_and_says_that_it_left_out_others() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    let mut payload = Vec::new();
    for number in 0..5_000 {
        let span = span(1, number + 1, u64::from(number != 0), "order", "step", number as i64, 1);
        let span = span.attribute("http.route", "/orders").attribute("step.number", &number.to_string());
        payload.extend_from_slice(&span_bytes(&span));
    }
    append(&store, Signal::Traces, payload.into()).await;
    for place in ["head", "segment"] {
        let journey = stored(&store, &trace(1).to_string()).await;
        assert_eq!(journey.counts.spans, 5_000, "{place}");
        let spans = || journey.rows.iter().filter(|row| row.kind == RowKind::Span);
        assert!(spans().all(|row| row.attributes.contains_key("http.route")), "{place}");
        assert!(!spans().any(|row| row.attributes.contains_key("step.number")), "{place}");
        assert!(journey.cuts.iter().any(|cut| cut.limit == "attributes"), "{place}: {:?}", journey.cuts);
        store.seal().await.expect("sealed");
    }
    store.close().await.expect("closed");
}

/// The state of the rules: one alert of `billing`, or none.
fn rules(state: Option<query_api::AlertState>) -> query_api::AlertsAnswer {
    let alert = |state| {
        let labels = [("alertname", "Slow"), ("service_name", "billing"), ("severity", "page")];
        let labels: std::collections::BTreeMap<&str, &str> = labels.into();
        serde_json::json!({ "labels": labels, "annotations": {}, "state": state, "active_at": at(-5_000), "fired_at": at(0),
                            "value": 1.0 })
    };
    let alerts: Vec<serde_json::Value> = state.into_iter().map(alert).collect();
    let rule = serde_json::json!({ "name": "Slow", "group": "g", "file": "f", "line": 1, "lang": "promql", "expr": "x",
        "for_nano": 0, "state": "firing", "last_evaluation": null, "error": null, "history": [], "alerts": alerts });
    serde_json::from_value(serde_json::json!({ "time": at(0), "rules": [rule], "file_errors": [] }))
        .expect("an answer")
}

#[tokio::test]
async fn alerts_that_have_ended_are_marks_of_the_journeys_they_fired_in() {
    use crate::promql::{Options, SnapshotSource, instant};
    use crate::rules::SeriesSink as _;
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store, &two_purchases()).await;
    let clock = ManualClock::at(NOW);
    let source = crate::StoreSource::new(Arc::clone(&store), clock);
    let mut series = crate::rules::AlertSeries::default();
    let firing = Some(query_api::AlertState::Firing);
    for (millis, state) in [(0, firing), (1_000, firing), (3_000, None)] {
        let request = series.due(&rules(state), at(millis), 1).expect("due");
        source.write(request).await.expect("durable");
    }
    let mut journey = stored(&store, "ORD-4711").await;
    journey.marks.clear();
    let marked = |mut journey: Journey, now| {
        let snapshot = store.snapshot();
        super::super::mark_alerts(&mut journey, &snapshot, &now);
        let texts: Vec<String> =
            journey.marks.iter().map(|mark| format!("{}: {}", mark.service, mark.text)).collect();
        texts
    };
    let (since, until) = (at(-5_000).clock_text(), at(3_000).clock_text());
    assert_eq!(marked(journey.clone(), rules(None)), [format!("billing: Slow fired, {since} to {until}")]);
    let now = marked(journey.clone(), rules(firing));
    assert_eq!(
        now,
        [format!("billing: Slow fires since {}", at(0).clock_text())],
        "one mark, as the rules know it"
    );
    journey.services.retain(|service| service != "billing");
    assert_eq!(marked(journey, rules(None)), [""; 0], "others' alerts do not concern it");

    let ask = |query: &str, time| {
        let source = SnapshotSource::new(store.snapshot(), &Options::default());
        let answer = instant(&source, query, time, &Options::default()).expect("an answer");
        format!("{answer:?}")
    };
    let held = ask("ALERTS{alertstate=\"firing\"}", at(2_000));
    assert!(
        held.contains("\"severity\": \"page\"") && held.contains("\"service_name\": \"billing\""),
        "{held}"
    );
    assert!(ask("ALERTS", at(3_000)).matches("alertname").next().is_none(), "a stale marker ends it at once");
    store.close().await.expect("closed");
}

#[tokio::test]
async fn changed_configuration_files_of_touched_services_are_marks() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store, &two_purchases()).await;
    for (service, millis, path) in [
        ("billing", -60_000, "/etc/billing.toml"),
        ("billing", -7_200_000, "/etc/long-ago.toml"),
        ("stranger", -60_000, "/etc/stranger.toml"),
    ] {
        let mut writer = LogsWriter::new([("service.name", service)]);
        let parts = LogRecordParts { time: at(millis), body: "timeout = 1", ..LogRecordParts::default() };
        let attributes = [("event.name", "config.changed"), ("file.path", path), ("config.service", service)];
        writer.push(&parts, attributes);
        append(&store, Signal::Logs, writer.finish().into()).await;
    }
    let mut journey = stored(&store, "ORD-4711").await;
    journey.marks.clear();
    super::super::mark_config_changes(&mut journey, &store.snapshot()).expect("readable");
    let marks: Vec<_> =
        journey.marks.iter().map(|mark| (mark.service.as_str(), mark.text.as_str())).collect();
    assert_eq!(marks, [("billing", "/etc/billing.toml was changed")]);
    store.close().await.expect("closed");
}
