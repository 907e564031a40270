//! The collector's own counters.
//!
//! Invariants, per source and signal: `requests = requests_stored + Σ requests_refused{reason}` once
//! nothing is in flight, and `records_received = records_stored + records_rejected + records_returned + records_known`:
//! nothing is dropped without being counted. *Returned* records were decoded and then refused as a
//! whole request; their sender was told. *Known* records were stored by an earlier request of their agent or partition.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::Signal;
use model::families::{Families, Family, Kind};
use storage::Mismatch;

use crate::status::{Reason, Refusal};

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP, protobuf or JSON.
    OtlpHttp,
    /// `POST /log`.
    Log,
    /// OTLP from a Kafka topic.
    Kafka,
    /// Headers and offsets of business topics.
    KafkaTap,
    /// The server's own metrics.
    Own,
}

impl Source {
    /// All sources.
    pub const ALL: [Self; 6] =
        [Self::OtlpGrpc, Self::OtlpHttp, Self::Log, Self::Kafka, Self::KafkaTap, Self::Own];

    /// The label in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "otlp_grpc",
            Self::OtlpHttp => "otlp_http",
            Self::Log => "log",
            Self::Kafka => "kafka",
            Self::KafkaTap => "kafka_tap",
            Self::Own => "own",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The counters of one source and signal.
#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    requests_stored: AtomicU64,
    requests_refused: [AtomicU64; Reason::ALL.len()],
    bytes_received: AtomicU64,
    records_received: AtomicU64,
    records_stored: AtomicU64,
    records_rejected: AtomicU64,
    records_returned: AtomicU64,
    records_known: AtomicU64,
    values_redacted: AtomicU64,
    positions_refused: [AtomicU64; Mismatch::ALL.len()],
}

/// The counters of one source and signal at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests (Kafka: messages) that began.
    pub requests: u64,
    /// Requests that were answered with success, partial success included.
    pub requests_stored: u64,
    /// Payload bytes of complete requests, as sent.
    pub bytes_received: u64,
    /// Records that could be told apart: spans, log records, data points.
    pub records_received: u64,
    /// Records that are durable.
    pub records_stored: u64,
    /// Records refused beside good ones.
    pub records_rejected: u64,
    /// Records of requests that were refused as a whole after decoding.
    pub records_returned: u64,
    /// Records that were stored already, by an earlier request for the same positions.
    pub records_known: u64,
    /// Texts in which something was hidden.
    pub values_redacted: u64,
}

/// The collector's own counters; cheap to read at any time.
#[derive(Debug, Default)]
pub struct Metrics {
    counters: [[Counters; 3]; Source::ALL.len()],
}

impl Metrics {
    fn of(&self, source: Source, signal: Signal) -> &Counters {
        &self.counters[source as usize][signal.index()]
    }

    /// Counts a request that begins. It is counted as aborted unless it is ended.
    pub(crate) fn begin(self: &Arc<Self>, source: Source, signal: Signal) -> Began {
        add(&self.of(source, signal).requests, 1);
        Began { metrics: Arc::clone(self), source, signal, has_ended: false }
    }

    fn refuse(&self, source: Source, signal: Signal, reason: Reason) -> u64 {
        let counter = &self.of(source, signal).requests_refused[reason as usize];
        counter.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn bytes(&self, source: Source, signal: Signal, bytes: usize) {
        add(&self.of(source, signal).bytes_received, bytes);
    }

    pub(crate) fn stored(&self, source: Source, signal: Signal, stored: usize, rejected: usize) {
        let counters = self.of(source, signal);
        add(&counters.records_received, stored + rejected);
        add(&counters.records_stored, stored);
        add(&counters.records_rejected, rejected);
    }

    pub(crate) fn returned(&self, source: Source, signal: Signal, records: usize) {
        let counters = self.of(source, signal);
        add(&counters.records_received, records);
        add(&counters.records_returned, records);
    }

    pub(crate) fn known(&self, source: Source, signal: Signal, records: usize) {
        let counters = self.of(source, signal);
        add(&counters.records_received, records);
        add(&counters.records_known, records);
    }

    pub(crate) fn redacted(&self, source: Source, signal: Signal, values: u64) {
        self.of(source, signal).values_redacted.fetch_add(values, Ordering::Relaxed);
    }

    /// Requests of one source and signal whose positions did not fit.
    pub fn positions_refused(&self, source: Source, signal: Signal, mismatch: Mismatch) -> u64 {
        get(&self.of(source, signal).positions_refused[mismatch as usize])
    }

    /// The counts of one source and signal.
    pub fn counts(&self, source: Source, signal: Signal) -> Counts {
        let counters = self.of(source, signal);
        Counts {
            requests: get(&counters.requests),
            requests_stored: get(&counters.requests_stored),
            bytes_received: get(&counters.bytes_received),
            records_received: get(&counters.records_received),
            records_stored: get(&counters.records_stored),
            records_rejected: get(&counters.records_rejected),
            records_returned: get(&counters.records_returned),
            records_known: get(&counters.records_known),
            values_redacted: get(&counters.values_redacted),
        }
    }

    /// Requests of one source and signal that were refused for `reason`.
    pub fn requests_refused(&self, source: Source, signal: Signal, reason: Reason) -> u64 {
        get(&self.of(source, signal).requests_refused[reason as usize])
    }

    /// Appends all counters. Series that never counted are left out.
    pub fn write(&self, families: &mut Families) {
        type Pick = fn(&Counts) -> u64;
        let picks: [(&str, Pick); 9] = [
            ("requests", |counts| counts.requests),
            ("requests_stored", |counts| counts.requests_stored),
            ("bytes_received", |counts| counts.bytes_received),
            ("records_received", |counts| counts.records_received),
            ("records_stored", |counts| counts.records_stored),
            ("records_rejected", |counts| counts.records_rejected),
            ("records_returned", |counts| counts.records_returned),
            ("records_known", |counts| counts.records_known),
            ("values_redacted", |counts| counts.values_redacted),
        ];
        for (name, pick) in picks {
            let family = counter(families, name);
            for (source, signal) in series() {
                sample(family, [], source, signal, pick(&self.counts(source, signal)));
            }
        }
        let family = counter(families, "positions_refused");
        for (source, signal) in series() {
            for mismatch in Mismatch::ALL {
                let value = self.positions_refused(source, signal, mismatch);
                sample(family, [("mismatch", mismatch.name())], source, signal, value);
            }
        }
        let family = counter(families, "requests_refused");
        for (source, signal) in series() {
            for reason in Reason::ALL {
                let value = self.requests_refused(source, signal, reason);
                sample(family, [("reason", reason.name())], source, signal, value);
            }
        }
    }
}

/// A request that is under way. A client that goes away drops it, and it counts as aborted.
#[derive(Debug)]
pub(crate) struct Began {
    metrics: Arc<Metrics>,
    source: Source,
    signal: Signal,
    has_ended: bool,
}

impl Began {
    pub(crate) fn stored(mut self) {
        self.has_ended = true;
        add(&self.metrics.of(self.source, self.signal).requests_stored, 1);
    }

    /// Counts and logs a refusal. Returns how many there have been for its reason, this one included.
    pub(crate) fn refused(mut self, refusal: &Refusal) -> u64 {
        self.has_ended = true;
        let Self { source, signal, .. } = self;
        let count = self.metrics.refuse(source, signal, refusal.reason);
        if let Some(refusal) = &refusal.position {
            add(&self.metrics.of(source, signal).positions_refused[refusal.mismatch as usize], 1);
        }
        let is_ours = matches!(
            refusal.reason,
            Reason::Overload | Reason::Storage | Reason::Position | Reason::Internal
        );
        // The first, second, fourth, eighth …: enough to be seen, too few to fill a disk.
        if is_ours && count.is_power_of_two() {
            tracing::warn!(count, "{source} {signal}: {}", refusal.message);
        } else {
            tracing::debug!(count, "{source} {signal}: {}", refusal.message);
        }
        count
    }
}

impl Drop for Began {
    fn drop(&mut self) {
        if !self.has_ended {
            self.metrics.refuse(self.source, self.signal, Reason::Aborted);
        }
    }
}

fn series() -> impl Iterator<Item = (Source, Signal)> {
    Source::ALL.into_iter().flat_map(|source| Signal::ALL.into_iter().map(move |signal| (source, signal)))
}

fn counter<'a>(families: &'a mut Families, name: &str) -> &'a mut Family {
    families.add(Kind::Counter, format!("silmari_collector_{name}_total"), "")
}

fn sample<const N: usize>(
    family: &mut Family,
    more: [(&str, &str); N],
    source: Source,
    signal: Signal,
    value: u64,
) {
    if value > 0 {
        let labels = [("source", source.name()), ("signal", signal.name())].into_iter().chain(more);
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        family.samples.push((labels, value as f64));
    }
}

fn add(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_written_in_the_text_format_with_their_labels() {
        let metrics = Arc::new(Metrics::default());
        metrics.begin(Source::OtlpGrpc, Signal::Traces).stored();
        metrics.stored(Source::OtlpGrpc, Signal::Traces, 3, 1);
        metrics.begin(Source::Kafka, Signal::Logs).refused(&Refusal::new(Reason::Malformed, "no protobuf"));
        drop(metrics.begin(Source::Log, Signal::Logs));
        let mut families = Families::default();
        metrics.write(&mut families);
        let out = families.text();
        for line in [
            "# TYPE silmari_collector_records_stored_total counter",
            "silmari_collector_records_received_total{source=\"otlp_grpc\",signal=\"traces\"} 4",
            "silmari_collector_requests_refused_total{source=\"kafka\",signal=\"logs\",reason=\"malformed\"} 1",
            "silmari_collector_requests_refused_total{source=\"log\",signal=\"logs\",reason=\"aborted\"} 1",
        ] {
            assert!(out.lines().any(|found| found == line), "{line} is missing in\n{out}");
        }
    }
}
