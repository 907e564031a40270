//! `/metrics`: the server's own numbers in Prometheus' text format.

use std::fmt::Write as _;

use collector::Collector;
use model::Signal;
use query::rules;
use storage::Store;

/// All numbers as they are now.
pub(super) fn text(store: &Store, collector: &Collector, alerts: &rules::Handle) -> String {
    let mut out = String::new();
    let stats = store.stats();
    for (name, kind, help, value) in [
        ("silmari_head_rows", "gauge", "Rows that are not yet in segments.", stats.head_rows),
        ("silmari_head_bytes", "gauge", "Memory of the rows that are not yet in segments.", stats.head_bytes),
        ("silmari_segments", "gauge", "Live segments.", stats.segments),
        ("silmari_segment_bytes", "gauge", "Bytes of live segments.", stats.segment_bytes),
        (
            "silmari_segments_unreadable",
            "gauge",
            "Segments that cannot be opened.",
            stats.segments_unreadable,
        ),
        ("silmari_wal_sequence", "gauge", "Last durable WAL record.", stats.wal_sequence),
        (
            "silmari_wal_records_lost_total",
            "counter",
            "WAL records replay could not read.",
            stats.wal_records_lost,
        ),
        ("silmari_wal_replaying", "gauge", "1 while the WAL is replayed.", u64::from(stats.is_replaying)),
        (
            "silmari_wal_records_replayed",
            "gauge",
            "WAL records replayed since the start.",
            stats.wal_records_replayed,
        ),
        ("silmari_disk_free_bytes", "gauge", "Bytes free on the store's disk.", stats.disk_free_bytes),
        (
            "silmari_disk_low",
            "gauge",
            "1 while senders are refused because too little of the disk is free.",
            u64::from(stats.is_disk_low),
        ),
        (
            "silmari_wal_refusing",
            "gauge",
            "1 while senders are refused because the WAL cannot be written.",
            u64::from(stats.is_wal_refusing),
        ),
        ("silmari_seals_total", "counter", "Times the head was sealed.", stats.seals),
        ("silmari_seal_failures_total", "counter", "Times sealing failed.", stats.seal_failures),
        ("silmari_merges_total", "counter", "Merges of segments.", stats.merges),
        (
            "silmari_segments_expired_total",
            "counter",
            "Segments retention removed or reduced to errors.",
            stats.segments_expired,
        ),
    ] {
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}").unwrap_or_default();
    }
    out.push_str(
        "# HELP silmari_rows_appended_total Rows made visible.\n# TYPE silmari_rows_appended_total counter\n",
    );
    for signal in Signal::ALL {
        let rows = stats.rows_appended[signal.index()];
        writeln!(out, "silmari_rows_appended_total{{signal=\"{signal}\"}} {rows}").unwrap_or_default();
    }
    for (name, help) in [
        ("silmari_notifications_delivered_total", "Notices receivers acknowledged."),
        ("silmari_notifications_dropped_total", "Notices dropped: queue full, or refused."),
    ] {
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter").unwrap_or_default();
        for receiver in alerts.receivers() {
            let value = if name.contains("delivered") { receiver.delivered } else { receiver.dropped };
            writeln!(out, "{name}{{receiver=\"{}\"}} {value}", receiver.name).unwrap_or_default();
        }
    }
    collector.metrics().write_prometheus(&mut out);
    collector.agents().write_prometheus(&mut out);
    out
}
