//! `/metrics`, `/status` and `/healthz`.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

use super::{Shared, Status};
use crate::tap::{LOOKERS_MAX, Wanted};

/// The admin pages.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/status", get(async |State(shared): State<Arc<Shared>>| Json(shared.status())))
        .route("/tail", get(tail))
        .route("/healthz", get(async || "ok\n"))
        .with_state(shared)
}

/// What of `/tail?source=NAME&level=warn` is understood.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TailQuery {
    source: Option<String>,
    level: Option<String>,
}

/// Records as they pass, a JSON object a line, until the reader goes.
async fn tail(State(shared): State<Arc<Shared>>, Query(query): Query<TailQuery>) -> Response {
    let level = match query.level.as_deref().map(str::parse).transpose() {
        Ok(level) => level,
        Err(error) => {
            let error: String = error;
            return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response();
        }
    };
    match shared.tap.look(Wanted { source: query.source, level }) {
        Some(lines) => ([(CONTENT_TYPE, "application/x-ndjson")], Body::new(lines)).into_response(),
        None => (StatusCode::TOO_MANY_REQUESTS, format!("{LOOKERS_MAX} readers look already: end one\n"))
            .into_response(),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], exposition(&shared.status()))
}

/// The Prometheus text format of a status.
fn exposition(status: &Status) -> String {
    let mut out = String::new();
    flows(status, &mut out);
    let lag: u64 = status.files.iter().map(|file| file.lag_bytes).sum();
    for (name, kind, value) in [
        ("agent_file_lag_bytes", "gauge", lag),
        ("agent_truncations_total", "counter", status.truncations),
        ("agent_files_missing_total", "counter", status.files_missing),
        ("agent_spool_bytes", "gauge", status.spool.bytes),
        ("agent_spool_bytes_max", "gauge", status.spool.bytes_max),
        ("agent_spool_requests", "gauge", status.spool.requests),
        ("agent_spool_disk_full", "gauge", u64::from(status.spool.is_disk_full)),
        ("agent_memory_limit_bytes", "gauge", status.memory.limit_bytes),
        ("agent_memory_bound_bytes", "gauge", status.memory.bound_bytes),
        ("agent_memory_requests_bytes", "gauge", status.memory.requests_bytes),
        ("agent_memory_rss_bytes", "gauge", status.memory.resident_bytes),
        ("agent_collector_consecutive_failures", "gauge", status.collector.consecutive_failures),
        ("agent_gap_detected_total", "counter", status.collector.gaps),
        ("agent_gap_lost_bytes_total", "counter", status.collector.gap_lost_bytes),
        ("agent_fenced_total", "counter", status.collector.fenced),
    ] {
        writeln!(out, "# TYPE {name} {kind}\n{name} {value}").unwrap_or_default();
    }
    out.push_str("# TYPE agent_spool_records gauge\n");
    for lane in &status.spool.lanes {
        writeln!(out, "agent_spool_records{{lane=\"{}\"}} {}", lane.lane, lane.records).unwrap_or_default();
    }
    out
}

fn flows(status: &Status, out: &mut String) {
    for (name, kind, value) in [
        ("agent_input_records_total", "counter", 0),
        ("agent_input_bytes_total", "counter", 1),
        ("agent_output_records_total", "counter", 2),
        ("agent_output_bytes_total", "counter", 3),
        ("agent_buffered_records", "gauge", 4),
    ] {
        writeln!(out, "# TYPE {name} {kind}").unwrap_or_default();
        for flow in &status.flows {
            let numbers = [
                flow.input_records,
                flow.input_bytes,
                flow.output_records,
                flow.output_bytes,
                flow.buffered_records,
            ];
            let (component, signal) = (&flow.component, flow.signal);
            writeln!(out, "{name}{{component=\"{component}\",signal=\"{signal}\"}} {}", numbers[value])
                .unwrap_or_default();
        }
    }
    out.push_str("# TYPE agent_dropped_records_total counter\n");
    for flow in &status.flows {
        for (reason, count) in &flow.dropped {
            let (component, signal, reason) = (&flow.component, flow.signal, reason.name());
            writeln!(
                out,
                "agent_dropped_records_total{{component=\"{component}\",signal=\"{signal}\",reason=\"{reason}\"}} {count}"
            )
            .unwrap_or_default();
        }
    }
    out.push_str("# TYPE agent_dropped_bytes_total counter\n");
    for flow in &status.flows {
        for (reason, bytes) in &flow.dropped_bytes {
            let (component, signal, reason) = (&flow.component, flow.signal, reason.name());
            writeln!(
                out,
                "agent_dropped_bytes_total{{component=\"{component}\",signal=\"{signal}\",reason=\"{reason}\"}} {bytes}"
            )
            .unwrap_or_default();
        }
    }
}
