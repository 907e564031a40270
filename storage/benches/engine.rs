//! `cargo bench --package storage --bench engine [-- SPANS]`: what the engine itself costs, without the
//! network: CPU time of decoding, sealing and compaction, bytes a row by column and index, look-ups by id.
//!
//! CPU time is that of the whole process during a phase, so that a busy machine does not change it; look-ups are wall time.
//! What the numbers were: `docs/benchmarks.md`.
#![expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]

#[path = "engine/workload.rs"]
#[expect(dead_code, reason = "each benchmark uses some of it")]
mod workload;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bench_table::{Process, bytes_below};
use bytes::Bytes;
use model::{Clock, IdRules, Signal, SystemClock, TimeRange, UnixNano};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use storage::{Compression, Frame, ScanStats, Settings, Store};
use workload::Request;

const SPANS_DEFAULT: usize = 500_000;
const LOOKUPS: usize = 300;
/// Half past an hour, so that all rows lie in one window.
const START: UnixNano = UnixNano(500_000 * 3_600_000_000_000 + 60_000_000_000);

#[global_allocator]
static ALLOCATOR: allocator::Jemalloc = allocator::Jemalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let spans = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(SPANS_DEFAULT);
    let lot = workload::records(workload::Shape::Traces, spans, START);
    let points = workload::points(spans.div_ceil(workload::SERVICES * workload::SERIES), START);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).context("making a folder")?;
    let settings = Settings {
        has_maintenance: false,
        compaction_fan_in: 2,
        seal_rows: usize::MAX,
        head_bytes_max: 8 << 30,
        ..Settings::new(dir.path())
    };
    let clock = SystemClock::shared();
    let store = Store::open(settings, Arc::new(IdRules::default()), Arc::clone(&clock)).await?;

    println!("decode, one thread");
    for signal in Signal::ALL {
        decode(&store, signal, lot.requests.iter().chain(&points))?;
    }
    println!("\nappend and seal");
    let requests = mixed(&lot.requests, &points);
    let parts = requests.len().div_ceil(4);
    for part in requests.chunks(parts) {
        seal(&store, part).await?;
    }
    report_files(dir.path(), "level 0")?;
    println!("\ncompaction");
    let rows: u64 = store.stats().rows_appended.iter().sum();
    let before = Process::own().cpu_time()?;
    store.compact().await?;
    per_row("all signals", rows, Process::own().cpu_time()?.saturating_sub(before));
    println!("  {} segments", store.stats().segments);
    report_files(dir.path(), "level 1")?;
    lookups(&store, &lot.correlation_ids, &*clock)
}

/// Both in their order, spread over each other, so that every seal has rows of all signals.
fn mixed<'a>(records: &'a [Request], points: &'a [Request]) -> Vec<&'a Request> {
    let placed = |requests: &'a [Request]| {
        let count = requests.len().max(1) as f64;
        requests.iter().enumerate().map(move |(at, request)| (at as f64 / count, request))
    };
    let mut all: Vec<(f64, &Request)> = placed(records).chain(placed(points)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.into_iter().map(|(_, request)| request).collect()
}

fn decode<'a>(
    store: &Store,
    signal: Signal,
    requests: impl Iterator<Item = &'a Request>,
) -> anyhow::Result<()> {
    let (mut rows, mut bytes) = (0, 0);
    let before = Process::own().cpu_time()?;
    for request in requests.filter(|request| request.signal == signal) {
        rows += store.decode(signal, &request.bytes, START)?.rows() as u64;
        bytes += request.bytes.len();
    }
    let took = Process::own().cpu_time()?.saturating_sub(before);
    per_row(signal.table(), rows, took);
    println!("  {:>12} {:.0} B of OTLP a row", "", bytes as f64 / rows.max(1) as f64);
    Ok(())
}

async fn seal(store: &Store, requests: &[&Request]) -> anyhow::Result<()> {
    for request in requests {
        let batch = store.decode(request.signal, &request.bytes, START)?;
        let payload = Bytes::from(request.bytes.clone());
        let (signal, received_at) = (request.signal, START);
        let frame = Frame { signal, compression: Compression::Identity, received_at, payload };
        store.append(frame, batch).await?;
    }
    let stats = store.stats();
    let before = Process::own().cpu_time()?;
    store.seal().await?;
    let took = Process::own().cpu_time()?.saturating_sub(before);
    per_row("seal", stats.head_rows, took);
    println!("  {:>12} {} B of head a row", "", stats.head_bytes / stats.head_rows.max(1));
    Ok(())
}

fn per_row(what: &str, rows: u64, took: Duration) {
    let seconds = took.as_secs_f64().max(1e-9);
    let (rate, micros) = (rows as f64 / seconds / 1_000.0, seconds * 1e6 / rows.max(1) as f64);
    println!("  {what:>12} {rate:>8.0} k rows/s/core  {micros:.2} us CPU a row  ({rows} rows)");
}

/// Bytes a row of each column and of the indexes, over all segments of each table.
fn report_files(data_dir: &Path, title: &str) -> anyhow::Result<()> {
    for signal in Signal::ALL {
        let mut columns: BTreeMap<String, i64> = BTreeMap::new();
        let (mut rows, mut indexes) = (0, BTreeMap::<&str, u64>::new());
        for entry in std::fs::read_dir(data_dir.join("segments").join(signal.table()))? {
            let dir = entry?.path();
            let reader = SerializedFileReader::new(File::open(dir.join("data.parquet"))?)?;
            rows += reader.metadata().file_metadata().num_rows();
            for column in reader.metadata().row_groups().iter().flat_map(|group| group.columns()) {
                *columns.entry(column.column_path().string()).or_default() += column.compressed_size();
            }
            for index in ["ids", "text"] {
                *indexes.entry(index).or_default() += bytes_below(&dir.join(index))?;
            }
        }
        let each = |bytes: f64| bytes / rows.max(1) as f64;
        let data: i64 = columns.values().sum();
        let index: u64 = indexes.values().sum();
        println!("\n  {} at {title}: {:.1} B a row", signal.table(), each(data as f64 + index as f64));
        let mut columns: Vec<(String, i64)> = columns.into_iter().collect();
        columns.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        for (name, bytes) in columns.iter().take_while(|(_, bytes)| each(*bytes as f64) >= 0.05) {
            println!("    {:>7.2}  {name}", each(*bytes as f64));
        }
        for (name, bytes) in indexes.iter().filter(|(_, bytes)| **bytes > 0) {
            println!("    {:>7.2}  {name}/", each(*bytes as f64));
        }
    }
    Ok(())
}

fn lookups(store: &Store, correlation_ids: &[String], clock: &dyn Clock) -> anyhow::Result<()> {
    let step = (correlation_ids.len() / LOOKUPS).max(1);
    let mut took = Vec::new();
    let mut rows = 0;
    for id in correlation_ids.iter().step_by(step) {
        let terms = [format!("correlation_id={id}")];
        let begin = clock.monotonic();
        let snapshot = store.snapshot();
        for signal in [Signal::Traces, Signal::Logs] {
            let found = snapshot.lookup(signal, &TimeRange::ALL, &terms, &mut ScanStats::default())?;
            rows += found.iter().map(|batch| batch.num_rows()).sum::<usize>();
        }
        took.push(clock.monotonic().saturating_sub(begin));
    }
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!("\nlook-up of a correlation id, spans and log records, warm");
    println!("  p50 {:?}  p99 {:?}  {} look-ups, {rows} rows", at(0.5), at(0.99), took.len());
    Ok(())
}
