//! `/metrics`, `/status` and `/healthz`.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};

use super::{Shared, Status};

/// The admin pages.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/status", get(async |State(shared): State<Arc<Shared>>| Json(shared.status())))
        .route("/healthz", get(async || "ok\n"))
        .with_state(shared)
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
