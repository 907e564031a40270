//! A small case for tests: a purchase whose payment times out, with values that should not leave the house.

use model::UnixNano;
use query_api::Journey;
use serde_json::{Value, json};

use crate::{About, Case, MetricWindow};

/// Values that the default rules name, each somewhere in [`case`].
pub(crate) const SECRETS: [&str; 7] = [
    "ann.smith@example.org",
    "u-70041982",
    "203.0.113.77",
    "4111 1111 1111 1111",
    "tok_9f8e7d6c5b4a",
    "+49-30-1234567",
    "hunter2!!",
];

fn row(kind: &str, service: &str, name: &str, millis: i64, more: Value) -> Value {
    let start = UnixNano(1_795_689_371_204_000_000 + millis * 1_000_000);
    let mut row = json!({
        "kind": kind, "depth": 1, "trace_id": "0102030405060708090a0b0c0d0e0f10", "span_id": null,
        "parent_span_id": null, "service": service, "name": name, "label": "", "start_time": start,
        "duration_nano": 0, "is_error": false, "critical_nano": 0,
        "evidence": { "kind": "asked", "certainty": "certain", "text": "order_id=ORD-4711", "source": "attr:order_id" },
    });
    let fields = row.as_object_mut().expect("an object");
    for (key, value) in more.as_object().expect("an object") {
        fields.insert(key.clone(), value.clone());
    }
    row
}

fn journey() -> Journey {
    let rows = json!([
        row("trace", "gateway", "POST /checkout", 0, json!({ "depth": 0, "duration_nano": 900_000_000 })),
        row(
            "span",
            "gateway",
            "POST /checkout?mail=ann.smith%40example.org",
            0,
            json!({
                "span_id": "0000000000000001", "label": "server", "duration_nano": 900_000_000,
                "attributes": { "user.email": "ann.smith@example.org", "client.address": "203.0.113.77", "order_id": "ORD-4711",
                    "http.request.header.authorization": "tok_9f8e7d6c5b4a", "client.port": "8080" },
                "resource": { "service.name": "gateway" },
            })
        ),
        row(
            "log",
            "gateway",
            "{\"user_id\":\"U-70041982\",\"to\":\"Ann.Smith@example.org\",\"from\":\"203.0.113.77\"}",
            3,
            json!({
                "span_id": "0000000000000001", "label": "INFO", "depth": 2, "resource": { "service.name": "gateway" },
                "evidence": { "kind": "shared_id", "certainty": "likely", "text": "user_id=u-70041982", "source": "kv:user_id" },
            })
        ),
        row(
            "queue_wait",
            "orders",
            "orders/3@88121",
            10,
            json!({
                "span_id": "0000000000000001", "label": "wait", "depth": 0, "duration_nano": 100_000_000,
            })
        ),
        row(
            "span",
            "billing",
            "charge",
            110,
            json!({
                "span_id": "0000000000000002", "label": "client", "duration_nano": 500_000_000, "is_error": true,
                "message": "acquirer timeout for card 4111 1111 1111 1111",
                "links": [{ "trace_id": "0102030405060708090a0b0c0d0e0f10", "span_id": "0000000000000001" }],
                "attributes": { "customer.phone": "+49-30-1234567", "db.url": "pg://shop:hunter2!!@db/x" },
                "resource": { "service.name": "billing" },
            })
        ),
        row(
            "event",
            "billing",
            "exception",
            600,
            json!({
                "span_id": "0000000000000002", "depth": 3, "attributes": { "exception.message": "no answer for u-70041982" },
            })
        ),
    ]);
    let journey = json!({
        "id": "ORD-4711", "matched": ["order_id=ORD-4711"],
        "range": { "from": "2026-11-26T10:00:00Z", "to": "2026-11-26T11:00:00Z" },
        "start_time": rows[0]["start_time"], "duration_nano": 900_000_000, "status": "failed",
        "failure": { "service": "billing", "name": "charge", "message": "acquirer timeout for card 4111 1111 1111 1111", "row": 4 },
        "counts": { "traces": 1, "spans": 2, "logs": 1, "messages": 1, "services": 2, "errors": 1 },
        "services": ["gateway", "billing"],
        "traces": [{
            "trace_id": "0102030405060708090a0b0c0d0e0f10", "name": "POST /checkout", "service": "gateway",
            "evidence": { "kind": "asked", "certainty": "certain", "text": "order_id=ORD-4711", "source": "attr:order_id" },
            "start_time": rows[0]["start_time"], "duration_nano": 900_000_000, "spans": 2, "is_failed": true,
        }],
        "ids": ["order_id=ORD-4711", "user_id=u-70041982"],
        "rows": rows, "time_spent": [{ "class": "self", "label": "billing", "duration_nano": 900_000_000 }],
        "critical_path": [{ "start_time": rows[0]["start_time"], "duration_nano": 900_000_000, "class": "self", "label": "billing", "row": 4 }],
        "marks": [], "clock_skew_nano": 0, "cuts": [],
        "stats": { "rows_scanned": 1, "segments_read": 0, "segments_pruned": 0, "head_rows": 1, "elapsed_nano": 1 },
    });
    serde_json::from_value(journey).expect("a journey")
}

/// The case.
pub(crate) fn case() -> Case {
    let range = journey().range;
    let stats = json!({ "rows_scanned": 0, "segments_read": 0, "segments_pruned": 0, "head_rows": 0, "elapsed_nano": 0 });
    let time = range.to;
    let alerts = json!({ "time": time, "file_errors": [], "rules": [{
        "name": "Errors", "group": "shop", "file": "rules/shop.yaml", "line": 3, "lang": "promql", "expr": "up == 0",
        "for_nano": 0, "state": "firing", "last_evaluation": time, "error": null, "history": [1.0],
        "alerts": [{ "labels": { "service_name": "billing", "client_address": "203.0.113.77" },
            "annotations": { "summary": "write to ann.smith@example.org" }, "state": "firing", "active_at": time,
            "fired_at": time, "value": 1.0 }],
    }] });
    let graph = json!({ "id": "ORD-4711", "matched": ["order_id=ORD-4711"], "range": range, "cuts": [], "stats": stats,
        "nodes": [
            { "term": "order_id=ORD-4711", "kind": "id", "is_asked": true, "distance": 0, "services": ["gateway"],
                "spans": 1, "logs": 0, "first_time": time, "last_time": time },
            { "term": "user_id=u-70041982", "kind": "id", "is_asked": false, "distance": 1, "services": ["gateway"],
                "spans": 0, "logs": 1, "first_time": time, "last_time": time },
        ],
        "edges": [{ "from": 0, "to": 1, "kind": "same_record", "evidence": [{ "service": "gateway", "field": "kv:user_id",
            "signal": "log", "records": 1, "first_time": time, "last_time": time,
            "sample": { "time": time, "name": "user u-70041982 came" } }] }],
    });
    let series = json!({ "resultType": "matrix", "result": [{
        "metric": { "service_name": "billing", "client_address": "203.0.113.77" }, "values": [[1.0, "0.5"], [2.0, "0.7"]],
    }] });
    Case {
        about: About {
            silmari_version: "0.1.0".to_owned(),
            made_at: time,
            id: "ORD-4711".to_owned(),
            range,
            window: range,
            redaction: None,
            left_out: Vec::new(),
        },
        journey: journey(),
        corrected: None,
        graph: serde_json::from_value(graph).expect("a graph"),
        whereabouts: None,
        services: None,
        alerts: serde_json::from_value(alerts).expect("alerts"),
        board: None,
        metrics: vec![MetricWindow {
            title: "requests/s".to_owned(),
            promql: "sum(rate(x[1m]))".to_owned(),
            step_nano: 1_000_000_000,
            series: serde_json::from_value(series).expect("series"),
        }],
    }
}
