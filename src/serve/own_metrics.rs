//! The server's own numbers: on `/metrics`, and as series in its own store, so that rules and boards can use them.
//!
//! ```text
//! store, collector, rules ─► families ─┬─► /metrics
//!                                      └─► every [own_metrics] interval: OTLP ─► admission ─► pipeline ─► store
//! ```
//!
//! They go the way of all telemetry: under overload they are refused as everything is, and the next ones say what was missed.

use std::sync::Arc;
use std::time::Duration;

use collector::Collector;
use model::families::{Families, Kind};
use model::{Clock, Signal};
use query::rules;
use storage::Store;
use tokio_util::sync::CancellationToken;

/// The service that these series are of.
const SERVICE: &str = "silmari";

/// Where the numbers come from.
#[derive(Clone)]
pub(super) struct OwnMetrics {
    pub(super) store: Arc<Store>,
    pub(super) collector: Arc<Collector>,
    pub(super) alerts: rules::Handle,
    pub(super) clock: Arc<dyn Clock>,
}

impl OwnMetrics {
    /// All numbers as they are now.
    pub(super) fn families(&self) -> Families {
        let mut families = Families::default();
        write_store(&self.store, &mut families);
        write_rules(&self.alerts, &mut families);
        self.collector.write_metrics(&mut families);
        families
    }

    /// Writes them into the store every `interval` until `stop`.
    pub(super) async fn record(self, interval: Duration, stop: CancellationToken) {
        let start = self.clock.now();
        let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut has_failed = false;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => return,
            }
            let me = self.clone();
            let making = tokio::task::spawn_blocking(move || {
                me.families().request(&[("service.name", SERVICE)], start, me.clock.now())
            });
            let result = match making.await {
                Ok(request) => self.collector.ingest_own(request).await,
                Err(error) => Err(error.to_string()),
            };
            if let (Err(error), false) = (&result, has_failed) {
                tracing::warn!(error, "the server's own metrics are not stored; trying on");
            }
            has_failed = result.is_err();
        }
    }
}

fn write_store(store: &Store, families: &mut Families) {
    let stats = store.stats();
    for (name, help, value) in [
        ("silmari_head_rows", "Rows that are not yet in segments.", stats.head_rows),
        ("silmari_head_bytes", "Memory of the rows that are not yet in segments.", stats.head_bytes),
        ("silmari_query_memory_bytes", "Memory that queries have reserved.", stats.query_bytes),
        ("silmari_segments", "Live segments.", stats.segments),
        ("silmari_segment_bytes", "Bytes of live segments.", stats.segment_bytes),
        ("silmari_segments_unreadable", "Segments that cannot be opened.", stats.segments_unreadable),
        (
            "silmari_indexes_damaged",
            "Indexes of segments that searches do without, because they are damaged.",
            stats.indexes_damaged,
        ),
        (
            "silmari_object_store_away",
            "1 while the object store that keeps the segments does not answer.",
            u64::from(stats.is_object_store_away),
        ),
        ("silmari_wal_sequence", "Last durable WAL record.", stats.wal_sequence),
        ("silmari_wal_replaying", "1 while the WAL is replayed.", u64::from(stats.is_replaying)),
        ("silmari_wal_records_replayed", "WAL records replayed since the start.", stats.wal_records_replayed),
        ("silmari_disk_free_bytes", "Bytes free on the store's disk.", stats.disk_free_bytes),
        (
            "silmari_disk_low",
            "1 while senders are refused because too little of the disk is free.",
            u64::from(stats.is_disk_low),
        ),
        (
            "silmari_wal_refusing",
            "1 while senders are refused because the WAL cannot be written.",
            u64::from(stats.is_wal_refusing),
        ),
    ] {
        families.gauge(name, help, value as f64);
    }
    for (name, help, value) in [
        ("silmari_wal_records_lost_total", "WAL records replay could not read.", stats.wal_records_lost),
        (
            "silmari_queries_out_of_memory_total",
            "Queries that were cut or refused because too little memory was free.",
            stats.queries_out_of_memory,
        ),
        ("silmari_seals_total", "Times the head was sealed.", stats.seals),
        ("silmari_seal_failures_total", "Times sealing failed.", stats.seal_failures),
        ("silmari_merges_total", "Merges of segments.", stats.merges),
        (
            "silmari_segments_expired_total",
            "Segments retention removed or reduced to errors.",
            stats.segments_expired,
        ),
    ] {
        families.counter(name, help, value as f64);
    }
    let family = families.add(Kind::Counter, "silmari_rows_appended_total", "Rows made visible.");
    for signal in Signal::ALL {
        family.sample([("signal", signal.name())], stats.rows_appended[signal.index()] as f64);
    }
}

fn write_rules(alerts: &rules::Handle, families: &mut Families) {
    let receivers = alerts.receivers();
    let help = "Notices receivers acknowledged.";
    let family = families.add(Kind::Counter, "silmari_notifications_delivered_total", help);
    for receiver in &receivers {
        family.sample([("receiver", &receiver.name)], receiver.delivered as f64);
    }
    let help = "Notices dropped: queue full, or refused.";
    let family = families.add(Kind::Counter, "silmari_notifications_dropped_total", help);
    for receiver in &receivers {
        family.sample([("receiver", &receiver.name)], receiver.dropped as f64);
    }
}
