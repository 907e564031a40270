//! `cargo bench --package storage --bench sustain -- spans|logs|logs-without-text|points [SECONDS] [RATE]`: records a second that the
//! store takes for as long as asked, a minute unless told, each request decoded, in the log and synced before the
//! next, with sealing and compaction beside; then how long the log takes to replay.
//!
//! Four senders share the cores with the store. They copy requests made before and change their ids and times
//! (`engine/replay.rs`); what that costs was measured before and is named. With a RATE, records a second over
//! all senders, each waits for its time.
#![expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]

#[path = "engine/replay.rs"]
#[expect(dead_code, reason = "each benchmark uses some of it")]
mod replay;
#[path = "engine/workload.rs"]
#[expect(dead_code, reason = "each benchmark uses some of it")]
mod workload;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bench_table::Process;
use bytes::Bytes;
use model::{Clock, IdRules, Signal, SystemClock, UnixNano};
use replay::Replay;
use storage::{Compression, ErrorKind, Frame, Settings, Store};

const SENDERS: usize = 4;
const LOT_SPANS: usize = 300_000;
const SCRAPES: usize = 15;
const SECONDS_DEFAULT: u64 = 60;

/// What the senders share.
struct Load {
    replays: Vec<Replay>,
    /// How much later each pass is.
    later: i64,
    next: AtomicUsize,
    records: AtomicU64,
    refused: AtomicU32,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    begin: Duration,
    end: Duration,
    rate: Option<f64>,
}

#[global_allocator]
static ALLOCATOR: allocator::Jemalloc = allocator::Jemalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut arguments = arguments.iter();
    let (signal, text_index) = match arguments.next().map(String::as_str) {
        Some("spans") => (Signal::Traces, true),
        Some("logs") => (Signal::Logs, true),
        Some("logs-without-text") => (Signal::Logs, false),
        Some("points") => (Signal::Metrics, true),
        _ => bail!("say spans, logs, logs-without-text or points"),
    };
    let seconds = arguments.next().map_or(Ok(SECONDS_DEFAULT), |text| text.parse()).context("SECONDS")?;
    let rate = arguments.next().map(|text| text.parse()).transpose().context("RATE")?;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).context("making a folder")?;
    let settings = Settings { text_index, ..Settings::new(dir.path()) };
    run(settings, signal, Duration::from_secs(seconds), rate).await?;
    replay_log(signal).await
}

/// Requests of a signal, and how much later each pass of them is.
fn requests(signal: Signal, start: UnixNano) -> (Vec<Replay>, i64) {
    if signal == Signal::Metrics {
        let points = workload::points(SCRAPES, start);
        return (points.iter().map(Replay::new).collect(), SCRAPES as i64 * 10_000_000_000);
    }
    let lot = workload::records(workload::Shape::Traces, LOT_SPANS, start);
    let requests = lot.requests.iter().filter(|request| request.signal == signal);
    (requests.map(Replay::new).collect(), lot.correlation_ids.len() as i64 * workload::TRACE_NANOS)
}

async fn run(settings: Settings, signal: Signal, time: Duration, rate: Option<f64>) -> anyhow::Result<()> {
    let clock = SystemClock::shared();
    // The times of records lie in the past, as much as they span.
    let start = clock.now().plus(-48 * 3_600_000_000_000);
    let (replays, later) = requests(signal, start);
    let before = Process::own().cpu_time()?;
    let made: usize = replays.iter().map(|replay| replay.pass(1, later).len()).sum();
    let records: usize = replays.iter().map(Replay::records).sum();
    let copying = Process::own().cpu_time()?.saturating_sub(before).as_secs_f64() * 1e6 / records as f64;
    let store = Store::open(settings, Arc::new(IdRules::default()), Arc::clone(&clock)).await?;
    println!(
        "{}: requests of {} records, {} B a record, copying costs {copying:.2} us a record; {} MB resident before",
        signal.table(),
        records / replays.len(),
        made / records,
        Process::own().memory()?.resident / 1_000_000
    );
    let begin = clock.monotonic();
    let load = Arc::new(Load {
        replays,
        later,
        next: AtomicUsize::new(0),
        records: AtomicU64::new(0),
        refused: AtomicU32::new(0),
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        begin,
        end: begin + time,
        rate,
    });
    let before = Process::own().cpu_time()?;
    let senders: Vec<_> = (0..SENDERS).map(|_| tokio::spawn(send(Arc::clone(&load)))).collect();
    let mut waits = Vec::new();
    for sender in senders {
        waits.extend(sender.await??);
    }
    let took = clock.monotonic().saturating_sub(begin).as_secs_f64();
    let cpu = Process::own().cpu_time()?.saturating_sub(before).as_secs_f64();
    let records = load.records.load(Ordering::Relaxed) as f64;
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let stats = store.stats();
    println!(
        "{:>10.0} records/s over {took:.0} s   {:.2} us CPU a record, copying left out   {:.0} % of a core",
        records / took,
        cpu * 1e6 / records - copying,
        cpu / took * 100.0
    );
    println!(
        "           acknowledged p50 {:.2} ms  p99 {:.2} ms   {} seals, {} merges, {} refusals   {} MB resident at most",
        at(0.5),
        at(0.99),
        stats.seals,
        stats.merges,
        load.refused.load(Ordering::Relaxed),
        Process::own().memory()?.peak / 1_000_000
    );
    finish(&store, &*clock).await
}

/// Ends the store when all is sealed and merged, and says what is on the disk.
async fn finish(store: &Arc<Store>, clock: &dyn Clock) -> anyhow::Result<()> {
    let begin = clock.monotonic();
    store.seal().await?;
    store.compact().await?;
    let stats = store.stats();
    let rows: u64 = stats.rows_appended.iter().sum();
    println!(
        "           sealed and merged {:.0} s later: {rows} rows, {} segments, {:.1} B a row",
        clock.monotonic().saturating_sub(begin).as_secs_f64(),
        stats.segments,
        stats.segment_bytes as f64 / rows.max(1) as f64
    );
    store.close().await?;
    Ok(())
}

/// One sender: the next request, again and again. Gives how long each acknowledgement took.
async fn send(load: Arc<Load>) -> anyhow::Result<Vec<Duration>> {
    let mut waits = Vec::new();
    while load.clock.monotonic() < load.end {
        let number = load.next.fetch_add(1, Ordering::Relaxed);
        let pass = number / load.replays.len();
        let replay = &load.replays[number % load.replays.len()];
        if let Some(rate) = load.rate {
            let due = load.begin + Duration::from_secs_f64(number as f64 * replay.records() as f64 / rate);
            tokio::time::sleep(due.saturating_sub(load.clock.monotonic())).await;
        }
        let payload = Bytes::from(replay.pass(pass as u32, pass as i64 * load.later));
        let begin = load.clock.monotonic();
        let received_at = load.clock.now();
        let batch = tokio::task::block_in_place(|| load.store.decode(replay.signal, &payload, received_at))?;
        let (signal, compression) = (replay.signal, Compression::Identity);
        let frame = Frame { signal, compression, received_at, payload };
        while let Err(error) = load.store.append(frame.clone(), batch.clone()).await {
            if error.kind() != ErrorKind::Retry {
                return Err(error.into());
            }
            load.refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        waits.push(load.clock.monotonic().saturating_sub(begin));
        load.records.fetch_add(batch.rows() as u64, Ordering::Relaxed);
    }
    Ok(waits)
}

/// How long a log takes to replay that nothing was sealed from.
async fn replay_log(signal: Signal) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).context("making a folder")?;
    let clock = SystemClock::shared();
    let settings = Settings { seal_rows: usize::MAX, head_bytes_max: 8 << 30, ..Settings::new(dir.path()) };
    let open = || Store::open(settings.clone(), Arc::new(IdRules::default()), Arc::clone(&clock));
    let store = open().await?;
    let received_at = clock.now();
    let (replays, _) = requests(signal, received_at.plus(-3_600_000_000_000));
    for replay in &replays {
        let payload = Bytes::from(replay.pass(0, 0));
        let batch = store.decode(signal, &payload, received_at)?;
        let frame = Frame { signal, compression: Compression::Identity, received_at, payload };
        store.append(frame, batch).await?;
    }
    drop(store);
    let (begin, before) = (clock.monotonic(), Process::own().cpu_time()?);
    let store = open().await?;
    let took = clock.monotonic().saturating_sub(begin).as_secs_f64();
    let rows: u64 = store.stats().rows_appended.iter().sum();
    let cpu = Process::own().cpu_time()?.saturating_sub(before).as_secs_f64();
    println!(
        "           replayed {rows} rows in {took:.2} s: {:.0} rows/s, {:.2} us CPU a row",
        rows as f64 / took,
        cpu * 1e6 / rows.max(1) as f64
    );
    Ok(())
}
