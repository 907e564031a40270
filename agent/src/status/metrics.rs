//! The agent's own numbers as metrics: on `/metrics`, and, with `[own_metrics]`, sent like any others.

use model::families::{Families, Family, Kind};

use super::{FlowStatus, Status};

/// All numbers of a status.
pub(crate) fn families(status: &Status) -> Families {
    let mut families = Families::default();
    write_flows(status, &mut families);
    write_dropped_bytes(status, &mut families);
    write_files(status, &mut families);
    write_spool(status, &mut families);
    write_config(status, &mut families);
    families.gauge(
        "agent_collector_consecutive_failures",
        "Failed attempts since the collector last took something.",
        status.collector.consecutive_failures as f64,
    );
    for (name, help, value) in [
        (
            "agent_gap_detected_total",
            "Times the collector missed something before a request.",
            status.collector.gaps,
        ),
        (
            "agent_gap_lost_bytes_total",
            "Bytes that a gap asked for and that could not be read again.",
            status.collector.gap_lost_bytes,
        ),
        (
            "agent_fenced_total",
            "Times another agent with the same identity took over.",
            status.collector.fenced,
        ),
        (
            "agent_duplicate_suppressed_total",
            "Records that the collector had already: sent again after a lost answer, and not stored twice.",
            status.collector.duplicates,
        ),
    ] {
        families.counter(name, help, value as f64);
    }
    let help = "Requests that were sent and are not answered.";
    families.gauge("agent_inflight_batches", help, status.collector.in_flight as f64);
    let help = "0 closed; 1 half open: one request asks whether the collector is back; 2 open: all wait.";
    families.gauge("agent_breaker_state", help, f64::from(status.collector.breaker as u8));
    let memory = &status.memory;
    for (name, help, value) in [
        ("agent_memory_limit_bytes", "What the agent may use.", memory.limit_bytes),
        ("agent_memory_bound_bytes", "What all components may use at most.", memory.bound_bytes),
        ("agent_memory_requests_bytes", "What requests that are being received hold.", memory.requests_bytes),
        ("agent_memory_rss_bytes", "What of the process is in memory.", memory.resident_bytes),
    ] {
        families.gauge(name, help, value as f64);
    }
    families
}

fn write_flows(status: &Status, families: &mut Families) {
    type Pick = fn(&FlowStatus) -> u64;
    let picks: [(&str, Kind, &str, Pick); 5] = [
        ("agent_input_records_total", Kind::Counter, "Records that came in.", |flow| flow.input_records),
        ("agent_input_bytes_total", Kind::Counter, "Their bytes, as read.", |flow| flow.input_bytes),
        ("agent_output_records_total", Kind::Counter, "Records the collector acknowledged.", |flow| {
            flow.output_records
        }),
        ("agent_output_bytes_total", Kind::Counter, "Bytes of acknowledged requests.", |flow| {
            flow.output_bytes
        }),
        (
            "agent_buffered_records",
            Kind::Gauge,
            "Records that are read or spooled and not acknowledged.",
            |flow| flow.buffered_records,
        ),
    ];
    for (name, kind, help, pick) in picks {
        let family = families.add(kind, name, help);
        for flow in &status.flows {
            flow_sample(family, flow, None, pick(flow));
        }
    }
    let help = "Records that will never leave, by reason.";
    let family = families.add(Kind::Counter, "agent_dropped_records_total", help);
    for flow in &status.flows {
        for (reason, count) in &flow.dropped {
            flow_sample(family, flow, Some(reason.name()), *count);
        }
    }
}

fn write_dropped_bytes(status: &Status, families: &mut Families) {
    let help = "Bytes of whole requests that were given up, by reason.";
    let family = families.add(Kind::Counter, "agent_dropped_bytes_total", help);
    for flow in &status.flows {
        for (reason, bytes) in &flow.dropped_bytes {
            flow_sample(family, flow, Some(reason.name()), *bytes);
        }
    }
}

fn flow_sample(family: &mut Family, flow: &FlowStatus, reason: Option<&str>, value: u64) {
    let (component, signal) = (("component", flow.component.as_str()), ("signal", flow.signal.name()));
    match reason {
        None => family.sample([component, signal], value as f64),
        Some(reason) => family.sample([component, signal, ("reason", reason)], value as f64),
    };
}

fn write_files(status: &Status, families: &mut Families) {
    let lag = status.file_lag_bytes;
    let help = "Bytes written to files and not acknowledged.";
    families.gauge("agent_file_lag_bytes", help, lag as f64);
    let help = "How long the file that waits longest made no progress although there is something to send.";
    families.gauge("agent_file_lag_seconds", help, status.file_lag_seconds as f64);
    let help = "Times a file was found truncated.";
    families.counter("agent_truncations_total", help, status.truncations as f64);
    let help = "Times notices of changed files were lost; all folders are looked through then.";
    families.counter("agent_watch_overflow_total", help, status.watch_overflows as f64);
    let help = "Folders that cannot be watched and are looked through once a second.";
    families.gauge("agent_unwatched_folders", help, status.unwatched_folders as f64);
    let help = "Files with a saved position that could not be found again.";
    families.counter("agent_files_missing_total", help, status.files_missing as f64);
}

fn write_spool(status: &Status, families: &mut Families) {
    let spool = &status.spool;
    for (name, help, value) in [
        ("agent_spool_bytes", "Bytes of the spool on disk.", spool.bytes),
        ("agent_spool_bytes_max", "Most bytes it may take.", spool.bytes_max),
        ("agent_spool_requests", "Requests that wait in it.", spool.requests),
        (
            "agent_spool_disk_full",
            "Whether the disk was full when it was last written to.",
            u64::from(spool.is_disk_full),
        ),
    ] {
        families.gauge(name, help, value as f64);
    }
    let family =
        families.add(Kind::Gauge, "agent_spool_records", "Spans, records or metrics that wait in it.");
    for lane in &spool.lanes {
        family.sample([("lane", &lane.lane)], lane.records as f64);
    }
    let help = "How long the oldest request waits in it.";
    let family = families.add(Kind::Gauge, "agent_spool_oldest_seconds", help);
    for lane in &spool.lanes {
        family.sample([("lane", &lane.lane)], lane.oldest_seconds as f64);
    }
}

fn write_config(status: &Status, families: &mut Families) {
    let config = &status.config;
    families
        .add(Kind::Gauge, "agent_config_version", "1, with the fingerprint of the configuration in use.")
        .sample([("version", &config.version)], 1.0);
    let help = "Version of the configuration from the collector in use, 0 for none.";
    families.gauge("agent_config_pushed_version", help, config.central.version as f64);
    let help = "Times a newer configuration was put to use.";
    families.counter("agent_config_reloads_total", help, config.reloads as f64);
    let help = "Times a newer configuration was refused.";
    families.counter("agent_config_reload_failed_total", help, config.failures as f64);
}
