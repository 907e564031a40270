//! The records of a journey as OTLP-JSON export requests, one a line: `silmari import` and any OTLP receiver
//! take them.
//!
//! What is exported is what the store keeps: attributes as text, one severity a range, no scopes, no trace state.
//! Rows that were made from others (waits, pauses, missing spans, headings) are left out: whoever reads the records
//! makes them again.

use std::collections::{BTreeMap, HashMap};

use model::{SpanId, TraceId};
use query_api::journey::{METRIC_NAME, METRIC_SERIES, METRIC_UNIT, METRIC_VALUE};
use query_api::{Attributes, Journey, JourneyRow, RowKind};
use serde_json::{Value, json};

use crate::answers::severity;

const SERVICE_NAME: &str = "service.name";
/// Records of one line.
const LINE_RECORDS: usize = 1_000;

/// The spans and log records of a journey, one export request a line.
pub fn otlp_json(journey: &Journey) -> String {
    let mut events: HashMap<(TraceId, SpanId), Vec<Value>> = HashMap::new();
    for row in journey.rows.iter().filter(|row| row.kind == RowKind::Event) {
        if let Some(span) = row.trace_id.zip(row.span_id) {
            events.entry(span).or_default().push(event(row));
        }
    }
    let mut out = String::new();
    let of_kind = |kind: RowKind| journey.rows.iter().filter(move |row| row.kind == kind);
    let spans: Vec<&JourneyRow> = of_kind(RowKind::Span).collect();
    for chunk in spans.chunks(LINE_RECORDS) {
        let by_resource = grouped(chunk, |row| {
            let own = row.trace_id.zip(row.span_id).and_then(|span| events.remove(&span));
            span(row, own.unwrap_or_default())
        });
        line("resourceSpans", "scopeSpans", "spans", by_resource, &mut out);
    }
    let logs: Vec<&JourneyRow> = of_kind(RowKind::Log).collect();
    for chunk in logs.chunks(LINE_RECORDS) {
        line("resourceLogs", "scopeLogs", "logRecords", grouped(chunk, log), &mut out);
    }
    let exemplars: Vec<&JourneyRow> = of_kind(RowKind::Exemplar).collect();
    for chunk in exemplars.chunks(LINE_RECORDS) {
        line("resourceMetrics", "scopeMetrics", "metrics", grouped(chunk, exemplar), &mut out);
    }
    out
}

/// Attributes of a resource and its service, with the records under them.
type ByResource<'a> = Vec<((&'a Attributes, &'a str), Vec<Value>)>;

fn grouped<'a>(rows: &[&'a JourneyRow], mut record: impl FnMut(&JourneyRow) -> Value) -> ByResource<'a> {
    let mut groups: BTreeMap<(&Attributes, &str), Vec<Value>> = BTreeMap::new();
    for row in rows {
        groups.entry((&row.resource, &row.service)).or_default().push(record(row));
    }
    groups.into_iter().collect()
}

fn line(outer: &str, scopes: &str, records: &str, groups: ByResource<'_>, out: &mut String) {
    let groups: Vec<Value> = groups
        .into_iter()
        .map(|((resource, service), all)| {
            let mut attributes = attributes(resource);
            // Rows of a large journey have no attributes of their resource.
            if !resource.contains_key(SERVICE_NAME) && !service.is_empty() {
                attributes.push(json!({ "key": SERVICE_NAME, "value": { "stringValue": service } }));
            }
            json!({ "resource": { "attributes": attributes }, scopes: [{ records: all }] })
        })
        .collect();
    out.push_str(&json!({ outer: groups }).to_string());
    out.push('\n');
}

fn attributes(of: &Attributes) -> Vec<Value> {
    of.iter().map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } })).collect()
}

fn nanos(time: model::UnixNano) -> String {
    time.0.max(0).to_string()
}

fn span(row: &JourneyRow, events: Vec<Value>) -> Value {
    let kind = match row.label.as_str() {
        "internal" => 1,
        "server" => 2,
        "client" => 3,
        "producer" => 4,
        "consumer" => 5,
        _ => 0,
    };
    let mut span = json!({
        "traceId": row.trace_id.map(|id| id.to_string()).unwrap_or_default(),
        "spanId": row.span_id.map(|id| id.to_string()).unwrap_or_default(),
        "name": row.name,
        "kind": kind,
        "startTimeUnixNano": nanos(row.start_time),
        "endTimeUnixNano": nanos(row.start_time.plus(row.duration_nano)),
        "attributes": attributes(&row.attributes),
        "events": events,
    });
    if let Some(parent) = row.parent_span_id {
        span["parentSpanId"] = json!(parent.to_string());
    }
    if row.is_error || !row.message.is_empty() {
        span["status"] = json!({ "code": if row.is_error { 2 } else { 0 }, "message": row.message });
    }
    if !row.links.is_empty() {
        let link = |link: &query_api::SpanLink| json!({ "traceId": link.trace_id.to_string(), "spanId": link.span_id.to_string() });
        span["links"] = row.links.iter().map(link).collect();
    }
    span
}

/// An exemplar cannot stand alone: it becomes a point of a gauge, of its own value.
fn exemplar(row: &JourneyRow) -> Value {
    let own = [METRIC_NAME, METRIC_SERIES, METRIC_UNIT, METRIC_VALUE];
    let of = |key: &str| row.attributes.text(key).unwrap_or_default().to_owned();
    let others = row.attributes.iter().filter(|(key, _)| !own.contains(&key.as_str()));
    let others: Attributes = others.collect();
    let value = of(METRIC_VALUE).parse::<f64>().unwrap_or_default();
    let mut measured = json!({ "timeUnixNano": nanos(row.start_time), "asDouble": value });
    let mut set = |key: &str, id: Option<String>| {
        if let Some(id) = id {
            measured[key] = json!(id);
        }
    };
    set("traceId", row.trace_id.map(|id| id.to_string()));
    set("spanId", row.span_id.map(|id| id.to_string()));
    json!({
        "name": of(METRIC_NAME),
        "unit": of(METRIC_UNIT),
        "gauge": { "dataPoints": [{
            "timeUnixNano": nanos(row.start_time),
            "asDouble": value,
            "attributes": attributes(&others),
            "exemplars": [measured],
        }] },
    })
}

fn event(row: &JourneyRow) -> Value {
    json!({
        "timeUnixNano": nanos(row.start_time),
        "name": row.name,
        "attributes": attributes(&row.attributes),
    })
}

fn log(row: &JourneyRow) -> Value {
    let mut log = json!({
        "timeUnixNano": nanos(row.start_time),
        "body": { "stringValue": row.name },
        "attributes": attributes(&row.attributes),
    });
    match severity(&row.label) {
        0 if row.label.is_empty() => {}
        0 => log["severityText"] = json!(row.label),
        number => {
            log["severityNumber"] = json!(number);
            log["severityText"] = json!(row.label);
        }
    }
    if let Some(trace) = row.trace_id {
        log["traceId"] = json!(trace.to_string());
    }
    if let Some(span) = row.span_id {
        log["spanId"] = json!(span.to_string());
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn every_span_log_record_event_and_link_is_in_one_of_the_lines() {
        let journey = samples::case().journey;
        let text = otlp_json(&journey);
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        let all = |outer: &str, scopes: &str, records: &str| -> Vec<Value> {
            let groups = lines.iter().filter_map(|line| line[outer].as_array()).flatten();
            let scopes = groups.filter_map(|group| group[scopes].as_array()).flatten();
            scopes.filter_map(|scope| scope[records].as_array()).flatten().cloned().collect()
        };
        let spans = all("resourceSpans", "scopeSpans", "spans");
        let logs = all("resourceLogs", "scopeLogs", "logRecords");
        let count = |kind| journey.rows.iter().filter(|row| row.kind == kind).count();
        assert_eq!((spans.len(), logs.len()), (count(RowKind::Span), count(RowKind::Log)));
        let events: usize = spans.iter().filter_map(|span| Some(span["events"].as_array()?.len())).sum();
        assert_eq!(events, count(RowKind::Event));
        let links: usize = spans.iter().filter_map(|span| Some(span["links"].as_array()?.len())).sum();
        assert_eq!(links, 1);
    }
    #[test]
    fn an_exemplar_becomes_a_point_of_a_gauge_that_carries_it() {
        let mut journey = samples::case().journey;
        let span = journey.rows.iter().find(|row| row.kind == RowKind::Span).expect("a span").clone();
        let own = [
            (METRIC_NAME, "http.server.request.duration"),
            (METRIC_UNIT, "s"),
            (METRIC_VALUE, "0.3"),
            (METRIC_SERIES, "http_server_request_duration_seconds"),
            ("http_route", "/orders"),
        ];
        let attributes = own.into_iter().collect();
        journey.rows = vec![JourneyRow { kind: RowKind::Exemplar, attributes, ..span.clone() }];
        let line: Value = serde_json::from_str(&otlp_json(&journey)).expect("one line");
        let metric = &line["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0];
        assert_eq!((&metric["name"], &metric["unit"]), (&json!("http.server.request.duration"), &json!("s")));
        let point = &metric["gauge"]["dataPoints"][0];
        assert_eq!(point["asDouble"], 0.3);
        assert_eq!(point["attributes"][0]["key"], "http_route");
        assert_eq!(point["attributes"].as_array().map(Vec::len), Some(1));
        let exemplar = &point["exemplars"][0];
        let trace = span.trace_id.map(|id| id.to_string());
        assert_eq!(exemplar["traceId"].as_str(), trace.as_deref());
        assert_eq!(exemplar["asDouble"], 0.3);
    }
}
