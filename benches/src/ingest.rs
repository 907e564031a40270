//! How many records a collector acknowledges durably in a second.
//!
//! ```text
//! requests, made beforehand ─► N clients, each: send, wait for the acknowledgement ─► collector ─► WAL, head
//!                              until the time is over or every request was sent once        └► seals meanwhile
//! then: every acknowledged record is in a snapshot; the head is sealed; bytes on disk are counted
//! ```
//!
//! Invariant: no request is sent twice unless it was refused, so that no id occurs more often than it was made.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use model::{Clock, Signal};
use tokio::task::JoinSet;

use crate::client::{Answer, Client, GrpcClient, HttpClient};
use crate::disk;
use crate::latency::{Latencies, millis};
use crate::options::Options;
use crate::peer::{Cost, Peer};
use crate::request::Request;
use crate::server::{self, BenchStore};
use crate::workload::{Shape, Start, Workload};
use bench_table::{Table, mib, whole};

/// Threads that make requests before anything is measured.
const SHARDS: u32 = 2;
/// How long before now the first trace began.
const HISTORY: Duration = Duration::from_secs(600);
/// Pause of a client whose request was refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

/// What was measured of one signal.
#[derive(Clone, Debug)]
pub struct Report {
    signal: Signal,
    disk: Latencies,
    acks: Latencies,
    elapsed: Duration,
    sealing: Duration,
    /// Records that were acknowledged.
    pub records: usize,
    /// Bytes of their protobuf.
    pub protobuf_bytes: usize,
    /// Bytes of their requests as sent.
    pub wire_bytes: usize,
    /// Times the collector asked to send a request again.
    pub refusals: usize,
    /// Bytes of all segments after sealing.
    pub segment_bytes: u64,
    /// Times the head was sealed while requests came in.
    pub seals: u64,
}

/// What one client did.
#[derive(Clone, Debug, Default)]
struct Sent {
    acks: Vec<Duration>,
    records: usize,
    protobuf_bytes: usize,
    wire_bytes: usize,
    refusals: usize,
}

/// What the clients share.
#[derive(Debug)]
struct Load {
    requests: Vec<Request>,
    next: AtomicUsize,
    deadline: Duration,
    clock: Arc<dyn Clock>,
}

/// What was measured of a server of others.
#[derive(Clone, Debug)]
pub struct PeerReport {
    name: String,
    signal: Signal,
    acks: Latencies,
    elapsed: Duration,
    records: usize,
    refusals: usize,
    cost: Cost,
    bytes: u64,
}

/// Sends the same requests to `program` with its data below `dir`. Nobody looks whether it kept them.
///
/// # Errors
/// When it cannot be started, or refuses a request for good.
pub async fn run_peer(
    signal: Signal,
    program: &Path,
    options: &Options,
    dir: &Path,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<PeerReport> {
    let requests = made(signal, options, &clock).await?;
    std::fs::create_dir_all(dir).with_context(|| format!("create `{}`", dir.display()))?;
    let peer = Peer::start(program, dir, &*clock).await?;
    let client = || Client::Http(HttpClient::new(peer.endpoint(signal)));
    let clients = (0..options.clients.max(1)).map(|_| client()).collect();
    let (Sent { acks, records, refusals, .. }, elapsed) = send(requests, options, clients, &clock).await?;
    let (bytes, cost) = (peer.bytes_on_disk().await?, peer.cost()?);
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let acks = acks.into();
    Ok(PeerReport { name, signal, acks, elapsed, records, refusals, cost, bytes })
}

impl PeerReport {
    /// Everything as text.
    pub fn table(&self) -> Table {
        let (name, records) = (self.signal.table(), self.records.max(1) as f64);
        let mut table =
            Table::new(format!("ingest: {name} into {} over OTLP HTTP, as it acknowledges", self.name));
        let sent = format!("in {:.2} s, {} refusals", self.elapsed.as_secs_f64(), self.refusals);
        table.row("sent", whole(self.records as f64), sent);
        table.row(format!("{name}/s"), whole(records / self.elapsed.as_secs_f64()), "");
        table.row("acknowledgements", whole(self.acks.count() as f64), self.acks.text());
        let each = self.cost.processor.as_secs_f64() * 1e6 / records;
        table.row("processor time, each", format!("{each:.1} us"), "of the server alone, flushing included");
        table.row("resident at most", mib(self.cost.resident), "");
        table.row(
            "on disk, each",
            format!("{:.1} B", self.bytes as f64 / records),
            "after a flush, before its merges end",
        );
        table
    }
}

/// Makes the requests of `signal` and measures their way into a new store below `dir`.
///
/// # Errors
/// When anything fails, a record is rejected, or what was acknowledged is not visible.
pub async fn run(
    signal: Signal,
    options: &Options,
    dir: &Path,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Report> {
    let requests = made(signal, options, &clock).await?;
    let server = BenchStore::open(dir, &clock, |_| {}).await?;
    let (calibrated, calibrating) = (server.dir.path().to_owned(), Arc::clone(&clock));
    let disk = tokio::task::spawn_blocking(move || disk::calibrate(&calibrated, &*calibrating)).await??;
    let collector = server::collector(&server, &clock).await?;

    let mut clients = Vec::new();
    for _ in 0..options.clients.max(1) {
        clients.push(Client::Grpc(GrpcClient::connect(collector.otlp_grpc_addr()).await?));
    }
    let (sent, elapsed) = send(requests, options, clients, &clock).await?;
    let seals = server.store.stats().seals;

    ensure_visible(&server, signal, sent.records)?;
    server::stop(&collector).await?;
    let start = clock.monotonic();
    server.store.seal().await.context("seal the head")?;
    let sealing = clock.monotonic().saturating_sub(start);
    ensure_visible(&server, signal, sent.records)?;
    let segment_bytes = server.store.stats().segment_bytes;
    server.close().await?;
    let Sent { acks, records, protobuf_bytes, wire_bytes, refusals } = sent;
    let acks = acks.into();
    #[rustfmt::skip]
    let report = Report {
        signal, disk, acks, elapsed, sealing, records, protobuf_bytes, wire_bytes, refusals, segment_bytes, seals,
    };
    Ok(report)
}

async fn made(signal: Signal, options: &Options, clock: &Arc<dyn Clock>) -> anyhow::Result<Vec<Request>> {
    let (options, clock) = (options.clone(), Arc::clone(clock));
    tokio::task::spawn_blocking(move || make(signal, &options, &*clock)).await?
}

fn make(signal: Signal, options: &Options, clock: &dyn Clock) -> anyhow::Result<Vec<Request>> {
    let time = clock.now().minus(HISTORY);
    let shard = |lot: u32| -> anyhow::Result<Vec<Request>> {
        let (seed, records, signals) = (options.seed, options.records, vec![signal]);
        let mut workload = Workload::new(Start { seed, lot, time, records, signals, shape: Shape::Traces });
        let count = options.requests.div_ceil(SHARDS as usize);
        (0..count).map(|_| Request::new(&workload.next_message(), options.compression)).collect()
    };
    let mut shards = Vec::new();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let threads: Vec<_> = (1..=SHARDS).map(|lot| scope.spawn(move || shard(lot))).collect();
        for thread in threads {
            shards.push(thread.join().map_err(|_| anyhow::anyhow!("making requests panicked"))??.into_iter());
        }
        Ok(())
    })?;
    let mut requests = Vec::with_capacity(options.requests);
    while requests.len() < options.requests {
        let round: Vec<_> = shards.iter_mut().filter_map(Iterator::next).collect();
        ensure!(!round.is_empty(), "the shards hold {} of {} requests", requests.len(), options.requests);
        requests.extend(round);
    }
    requests.truncate(options.requests);
    Ok(requests)
}

/// Sends the requests until the time is over; also how long that took.
async fn send(
    requests: Vec<Request>,
    options: &Options,
    clients: Vec<Client>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<(Sent, Duration)> {
    let start = clock.monotonic();
    let deadline = start + Duration::from_secs(options.seconds);
    let load = Arc::new(Load { requests, next: AtomicUsize::new(0), deadline, clock: Arc::clone(clock) });
    let mut running = JoinSet::new();
    for client in clients {
        running.spawn(client_loop(client, Arc::clone(&load)));
    }
    let mut all = Sent::default();
    while let Some(sent) = running.join_next().await {
        let sent = sent.context("a client panicked")??;
        all.acks.extend(sent.acks);
        all.records += sent.records;
        all.protobuf_bytes += sent.protobuf_bytes;
        all.wire_bytes += sent.wire_bytes;
        all.refusals += sent.refusals;
    }
    Ok((all, clock.monotonic().saturating_sub(start)))
}

async fn client_loop(mut client: Client, load: Arc<Load>) -> anyhow::Result<Sent> {
    let mut sent = Sent::default();
    while let Some(request) = load.requests.get(load.next.fetch_add(1, Ordering::Relaxed)) {
        loop {
            let start = load.clock.monotonic();
            if start >= load.deadline {
                return Ok(sent);
            }
            if client.export(request).await? == Answer::Durable {
                sent.acks.push(load.clock.monotonic().saturating_sub(start));
                break;
            }
            sent.refusals += 1;
            tokio::time::sleep(REFUSED_PAUSE).await;
        }
        sent.records += request.records;
        sent.protobuf_bytes += request.protobuf_bytes;
        sent.wire_bytes += request.frame.len();
    }
    Ok(sent)
}

fn ensure_visible(server: &BenchStore, signal: Signal, sent: usize) -> anyhow::Result<()> {
    let (head, segments) = server.store.snapshot().row_counts(signal);
    ensure!(
        head + segments == sent as u64,
        "{sent} {signal} were acknowledged, {head} are in the head and {segments} in segments"
    );
    Ok(())
}

impl Report {
    /// Everything as text.
    pub fn table(&self) -> Table {
        let (name, seconds) = (self.signal.table(), self.elapsed.as_secs_f64());
        let per_second = |amount: usize| amount as f64 / seconds;
        let each = |bytes: f64| format!("{:.1} B", bytes / self.records.max(1) as f64);
        let mut table = Table::new(format!("ingest: {name} over OTLP gRPC, durably acknowledged"));
        let sealed = format!("{} seals finished meanwhile, {} refusals", self.seals, self.refusals);
        table.row("sent and found again", whole(self.records as f64), format!("in {seconds:.2} s, {sealed}"));
        table.row(format!("{name}/s"), whole(per_second(self.records)), "");
        let megabytes = |bytes: usize| format!("{:.1} MB/s", per_second(bytes) / 1e6);
        table.row("protobuf", megabytes(self.protobuf_bytes), "before compression");
        table.row("on the wire", megabytes(self.wire_bytes), "");
        table.row("acknowledgements", whole(self.acks.count() as f64), self.acks.text());
        let disk = format!("{} x 64 KiB", self.disk.count());
        table.row("append + fdatasync", disk, self.disk.text());
        let rest = format!("the rest of the head sealed in {}", millis(self.sealing));
        table.row("on disk, each", each(self.segment_bytes as f64), rest);
        table.row("on the wire, each", each(self.wire_bytes as f64), "");
        table.row("protobuf, each", each(self.protobuf_bytes as f64), "");
        table
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use model::SystemClock;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_request_is_sent_once_and_every_record_is_found_again() {
        let dir = tempfile::tempdir().expect("a folder");
        for (signal, compression) in [(Signal::Traces, "zstd"), (Signal::Logs, "gzip")] {
            let options = ["ingest", "--requests", "9", "--records", "32", "--compression", compression];
            let options = Options::parse_from(options);
            let report = run(signal, &options, dir.path(), SystemClock::shared()).await.expect("runs");
            assert_eq!((report.records, report.acks.count(), report.refusals), (9 * 32, 9, 0));
            assert!(report.segment_bytes > 0 && report.wire_bytes < report.protobuf_bytes);
            let table = report.table().to_string();
            assert!(table.contains(&format!("{}/s", signal.table())), "{table}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0, "no store is left behind");
    }
}
