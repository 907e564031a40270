//! `cargo bench --package storage --bench scale -- build DIR [SPANS [traces|orders|spans|logs]]`: a store of as many
//! spans as asked for, 50,000,000 unless told, and their log records, made through the log, sealing and compaction.
//! `traces` have ten spans and log records each, of which `spans` and `logs` are one half; `orders` have 60 spans and 150
//! log records in four traces, so that 28,600,000 spans make 100,000,000 records.
//!
//! `cargo bench --package storage --bench scale -- ask DIR [traces|orders]`: what look-ups in it take, warm, and cold where
//! this process may drop the page cache (root).
//!
//! The records are those of `engine/workload.rs`, one lot of 1,000,000 spans and their log records again and again, each time
//! with ids of its own (`engine/replay.rs`), over as many hours as they would take at 500 traces a second. Building
//! takes about six minutes of CPU for 10,000,000 spans and log records; 50,000,000 take 4 GB.
#![expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]

#[path = "engine/ask.rs"]
mod ask;
#[path = "engine/replay.rs"]
#[expect(dead_code, reason = "each benchmark uses some of it")]
mod replay;
#[path = "engine/workload.rs"]
#[expect(dead_code, reason = "each benchmark uses some of it")]
mod workload;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use model::{IdRules, Signal, SystemClock, UnixNano};
use replay::Replay;
use storage::{Compression, Frame, Settings, Store};
use workload::Shape;

const SPANS_DEFAULT: usize = 50_000_000;
/// Spans of the lot, and as many log records.
const LOT_SPANS: usize = 1_000_000;
/// Hours ended long ago, so that what is small in them is merged.
const START: UnixNano = UnixNano(480_000 * 3_600_000_000_000);

/// How much later each pass is: the time that the traces of the lot take.
fn later(lot: &workload::Lot) -> i64 {
    lot.correlation_ids.len() as i64 * workload::TRACE_NANOS
}

#[global_allocator]
static ALLOCATOR: allocator::Jemalloc = allocator::Jemalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        ["build", dir] => build(Path::new(dir), SPANS_DEFAULT, "traces").await,
        ["build", dir, spans] => build(Path::new(dir), spans.parse().context("SPANS")?, "traces").await,
        ["build", dir, spans, what] => build(Path::new(dir), spans.parse().context("SPANS")?, what).await,
        ["ask", dir] => ask(Path::new(dir), "traces").await,
        ["ask", dir, what] => ask(Path::new(dir), what).await,
        _ => bail!("say `build DIR [SPANS [traces|orders|spans|logs]]` or `ask DIR [traces|orders]`"),
    }
}

async fn open(dir: PathBuf, has_maintenance: bool) -> anyhow::Result<Arc<Store>> {
    let settings = Settings { has_maintenance, ..Settings::new(dir) };
    Ok(Store::open(settings, Arc::new(IdRules::default()), SystemClock::shared()).await?)
}

/// A lot of which passes are made.
fn lot_of(what: &str) -> anyhow::Result<workload::Lot> {
    let (shape, signal) = match what {
        "traces" => (Shape::Traces, None),
        "orders" => (Shape::Orders, None),
        "spans" => (Shape::Traces, Some(Signal::Traces)),
        "logs" => (Shape::Traces, Some(Signal::Logs)),
        _ => bail!("`{what}` is none of `traces`, `orders`, `spans` and `logs`"),
    };
    let mut lot = workload::records(shape, LOT_SPANS, START);
    lot.requests.retain(|request| signal.is_none_or(|signal| request.signal == signal));
    Ok(lot)
}

async fn ask(dir: &Path, what: &str) -> anyhow::Result<()> {
    let lot = lot_of(what)?;
    let store = open(dir.to_owned(), false).await?;
    ask::all(&store, &lot, &*SystemClock::shared()).await
}

async fn build(dir: &Path, spans: usize, what: &str) -> anyhow::Result<()> {
    let lot = lot_of(what)?;
    let later = later(&lot);
    let replays: Vec<Replay> = lot.requests.iter().map(Replay::new).collect();
    let store = open(dir.to_owned(), true).await?;
    let clock = SystemClock::shared();
    let begin = clock.monotonic();
    for pass in 0..spans.div_ceil(LOT_SPANS) as u32 {
        for replay in &replays {
            let payload = Bytes::from(replay.pass(pass, i64::from(pass) * later));
            let received_at = START.plus(i64::from(pass + 1) * later);
            let batch = store.decode(replay.signal, &payload, received_at)?;
            let (signal, compression) = (replay.signal, Compression::Identity);
            append(&store, Frame { signal, compression, received_at, payload }, batch).await?;
        }
        let took = clock.monotonic().saturating_sub(begin).as_secs_f64();
        let stats = store.stats();
        let rows: u64 = stats.rows_appended.iter().sum();
        println!(
            "pass {pass}: {rows} rows in {took:.0} s, {} segments, {:.2} GB",
            stats.segments,
            stats.segment_bytes as f64 / 1e9
        );
    }
    store.seal().await?;
    store.compact().await?;
    let stats = store.stats();
    let rows: u64 = stats.rows_appended.iter().sum();
    println!("{} segments, {:.1} B a row", stats.segments, stats.segment_bytes as f64 / rows.max(1) as f64);
    store.close().await?;
    Ok(())
}

/// Appends, and waits where sealing has to catch up.
async fn append(store: &Store, frame: Frame, batch: storage::Batch) -> anyhow::Result<()> {
    loop {
        match store.append(frame.clone(), batch.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == storage::ErrorKind::Retry => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
