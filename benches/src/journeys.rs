//! How long it takes to follow an order through the store.
//!
//! ```text
//! most orders               ─► several segments ──────────┐
//! some, every 2nd message   ─► segments, the others ─► head ─┴─► snapshot ─► journey::find       in this process
//! some                      ─► head ────────────────────────┘                └─► query API ─► Client    over HTTP
//! ```
//!
//! An order is 60 spans and 150 log records in four traces. The head has as many records as it has at most in a server,
//! the segments are as sealing left them.
//!
//! Invariants: a journey counts only when it has every trace, span and log record that was made for its order; while
//! journeys are measured, nothing is sealed or merged.

mod alone;
mod large;
pub mod stored;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use model::{Clock, Signal, TimeRange};
use query::Engine;
use query_api::{Client, Journey};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use storage::{Compression, Frame, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::heap::Used;
use crate::latency::{Latencies, millis};
use crate::options::Options;
use crate::request::Message;
use crate::server::BenchStore;
use crate::workload::{Order, Shape, Start, Workload};
use bench_table::{Table, whole};

/// As far back as the query API looks.
const RANGE: Duration = Duration::from_secs(24 * 3600);
/// How long before now the first trace began.
const HISTORY: Duration = Duration::from_secs(3600);
/// Log records for two spans.
const LOGS_FOR_TWO: usize = 5;
/// One in so many journeys of a case is looked for before it is measured.
const WARM_UP: usize = 10;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    /// Spans and log records in the head.
    pub head_rows: [u64; 2],
    /// Spans and log records in segments.
    pub segment_rows: [u64; 2],
    segments: u64,
    filling: Duration,
    /// What was measured, case by case.
    pub cases: Vec<Case>,
    /// Memory of the whole large journey; 0 when nothing counts it.
    pub large_memory: Used,
    /// Bytes of the identity index for each span and log record in segments.
    pub id_index_bytes: f64,
}

/// Journeys that were looked for in one way.
#[derive(Clone, Debug)]
pub struct Case {
    name: &'static str,
    /// How long each took.
    pub latencies: Latencies,
    /// Spans and log records of all of them.
    pub rows: usize,
}

/// Fills a new store below `dir` and looks for orders in it.
///
/// # Errors
/// When anything fails, or a journey lacks something.
pub async fn run(options: &Options, dir: &Path, clock: Arc<dyn Clock>) -> anyhow::Result<Report> {
    let bench = BenchStore::open(dir, &clock, |settings| {
        // This benchmark decides what is sealed, and nothing is merged while it measures.
        settings.seal_rows = usize::MAX;
        settings.seal_interval = RANGE;
        settings.head_bytes_max = usize::MAX;
        settings.has_maintenance = false;
    })
    .await?;
    let start = clock.monotonic();
    let Filled { sealed, mixed, head } = fill(&bench.store, options, &clock).await?;
    let filling = clock.monotonic().saturating_sub(start);
    let snapshot = bench.store.snapshot();
    let [spans, logs] = [Signal::Traces, Signal::Logs].map(|signal| snapshot.row_counts(signal));
    drop(snapshot);
    let seals = bench.store.stats().seals;
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut cases = Vec::new();
    for (name, orders) in
        [("from the head", &head), ("from segments", &sealed), ("from head and segments mixed", &mixed)]
    {
        let asked = pick(&mut rng, orders, options.journeys)?;
        let (store, clock) = (Arc::clone(&bench.store), Arc::clone(&clock));
        let work = move || in_process(name, &store, &asked, WARM_UP, &*clock);
        cases.push(tokio::task::spawn_blocking(work).await??);
    }
    let asked = pick(&mut rng, &[head.clone(), sealed.clone()].concat(), options.journeys)?;
    cases.push(over_http(&bench.store, &asked, &clock).await?);
    let segments = bench.store.stats().segments;
    ensure!(bench.store.stats().seals == seals, "the head was sealed beside the journeys");
    let id_index_bytes = alone::id_index_bytes(bench.dir.path(), spans.1 + logs.1)?;
    let mut large_memory = Used::default();
    let sizes = large::Sizes { spans: options.large_spans, traces: options.hub_traces };
    if sizes.spans > 0 {
        large::fill(&bench.store, sizes, options.records, &*clock).await?;
        let (store, clock) = (Arc::clone(&bench.store), Arc::clone(&clock));
        let measure = move || -> anyhow::Result<_> {
            let cases = large::measure(&store, sizes, &*clock)?;
            Ok((cases, alone::critical_path(sizes.spans, &*clock), large::memory(&store, sizes, &*clock)?))
        };
        let (large, path, memory) = tokio::task::spawn_blocking(measure).await??;
        cases.extend(large);
        cases.push(path);
        large_memory = memory;
    }
    bench.store.close().await.context("close the store")?;
    let BenchStore { store, dir: data_dir } = bench;
    drop(store);
    cases.push(alone::after_start(data_dir.path(), &[head, sealed].concat(), &clock).await?);
    data_dir.close().context("remove the data folder")?;
    let (head_rows, segment_rows) = ([spans.0, logs.0], [spans.1, logs.1]);
    Ok(Report { head_rows, segment_rows, segments, filling, cases, large_memory, id_index_bytes })
}

/// Orders by where their records are.
struct Filled {
    sealed: Vec<Order>,
    /// About half of the records of each are in segments, the others in the head.
    mixed: Vec<Order>,
    head: Vec<Order>,
}

/// Fills the segments and the head.
async fn fill(store: &Arc<Store>, options: &Options, clock: &Arc<dyn Clock>) -> anyhow::Result<Filled> {
    let in_head = (options.head_records * 2 / (2 + LOGS_FOR_TWO)).min(options.spans / 2);
    let signals = vec![Signal::Traces, Signal::Logs];
    let time = clock.now().minus(HISTORY);
    let start =
        Start { seed: options.seed, lot: 1, time, records: options.records, signals, shape: Shape::Orders };
    let mut rng = StdRng::seed_from_u64(options.seed);

    let alone = options.spans.saturating_sub(in_head + in_head / 2);
    let (mut messages, sealed, time) = Workload::new(start.clone()).complete(alone);
    let (both, mixed, time) = Workload::new(Start { lot: 2, time, ..start.clone() }).complete(in_head);
    let (early, late): (Vec<_>, Vec<_>) = both.into_iter().partition(|_| rng.random());
    messages.extend(early);
    for part in messages.chunks(messages.len().div_ceil(options.segments.max(1)).max(1)) {
        append(store, part, &**clock).await?;
        store.seal().await.context("seal the head")?;
    }
    drop(messages);
    append(store, &late, &**clock).await?;
    let (messages, head, _) = Workload::new(Start { lot: 3, time, ..start }).complete(in_head / 2);
    append(store, &messages, &**clock).await?;
    Ok(Filled { sealed, mixed, head })
}

async fn append(store: &Arc<Store>, messages: &[Message], clock: &dyn Clock) -> anyhow::Result<()> {
    for message in messages {
        let (signal, received_at) = (message.signal, clock.now());
        let batch = store.decode(signal, &message.protobuf, received_at).context("decode a request")?;
        ensure!(batch.rows() == message.records, "{} of {} became rows", batch.rows(), message.records);
        let payload = zstd::bulk::compress(&message.protobuf, 1).context("compress a request")?.into();
        let frame = Frame { signal, compression: Compression::Zstd, received_at, payload };
        store.append(frame, batch).await.context("append a request")?;
    }
    Ok(())
}

fn pick(rng: &mut StdRng, orders: &[Order], count: usize) -> anyhow::Result<Vec<Order>> {
    ensure!(!orders.is_empty(), "there is no order to look for");
    Ok((0..count.max(1)).map(|_| orders[rng.random_range(0..orders.len())].clone()).collect())
}

/// One of `warm_up` journeys is looked for before any is measured; none when it is 0.
fn in_process(
    name: &'static str,
    store: &Store,
    asked: &[Order],
    warm_up: usize,
    clock: &dyn Clock,
) -> anyhow::Result<Case> {
    let limits = query::journey::Limits::default();
    let find = |order: &Order| -> anyhow::Result<usize> {
        let snapshot = store.snapshot();
        let range = TimeRange::last(RANGE, clock.now());
        let request = query::journey::Request { id: &order.id, range, is_corrected: false };
        let journey = query::journey::find(&snapshot, store.ids(), &request, &limits)
            .with_context(|| format!("look for {}", order.id))?;
        checked(order, &journey)
    };
    for order in asked.iter().step_by(warm_up.max(1)).filter(|_| warm_up > 0) {
        find(order)?;
    }
    let (mut durations, mut rows) = (Vec::with_capacity(asked.len()), 0);
    for order in asked {
        let start = clock.monotonic();
        rows += find(order)?;
        durations.push(clock.monotonic().saturating_sub(start));
    }
    Ok(Case { name, latencies: durations.into(), rows })
}

async fn over_http(store: &Arc<Store>, asked: &[Order], clock: &Arc<dyn Clock>) -> anyhow::Result<Case> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("bind the query API")?;
    let client = Client::new(&format!("http://{}", listener.local_addr().context("the address of the API")?));
    let stop = CancellationToken::new();
    let engine = Engine::new(Arc::clone(store), Arc::clone(clock));
    let serving = tokio::spawn(query::http::serve(engine, listener, stop.clone()));
    let find = async |order: &Order| -> anyhow::Result<usize> {
        let range = TimeRange::last(RANGE, clock.now());
        let journey =
            client.journey(&order.id, range).await.with_context(|| format!("ask for {}", order.id))?;
        checked(order, &journey)
    };
    for order in asked.iter().step_by(WARM_UP) {
        find(order).await?;
    }
    let (mut durations, mut rows) = (Vec::with_capacity(asked.len()), 0);
    for order in asked {
        let start = clock.monotonic();
        rows += find(order).await?;
        durations.push(clock.monotonic().saturating_sub(start));
    }
    drop(client);
    stop.cancel();
    serving.await.context("the query API panicked")?.context("serve the query API")?;
    Ok(Case { name: "over HTTP, from both", latencies: durations.into(), rows })
}

/// The rows of a journey that has all that its order has.
fn checked(order: &Order, journey: &Journey) -> anyhow::Result<usize> {
    let counts = &journey.counts;
    if (counts.traces, counts.spans, counts.logs) != (order.traces, order.spans, order.logs) {
        bail!("the journey of {order:?} has {counts:?}, cuts {:?}", journey.cuts);
    }
    Ok(counts.spans + counts.logs)
}

impl Case {
    fn row(&self, table: &mut Table) {
        let mean = self.rows as f64 / self.latencies.count().max(1) as f64;
        let remark = format!("{}  ({mean:.0} rows each)", self.latencies.text());
        table.row(self.name, whole(self.latencies.count() as f64), remark);
    }
}

impl Report {
    /// Everything as text.
    pub fn table(&self) -> Table {
        let mut table = Table::new("journeys: everything that belongs to one order");
        let rows =
            |[spans, logs]: [u64; 2]| format!("{} spans, {} logs", whole(spans as f64), whole(logs as f64));
        table.row("in the head", "", rows(self.head_rows));
        table.row("in segments", whole(self.segments as f64), rows(self.segment_rows));
        table.row("filled in", millis(self.filling), "");
        self.cases.iter().for_each(|case| case.row(&mut table));
        let mib = |bytes: usize| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let Used { most, held } = self.large_memory;
        table.row("memory of the large trace", mib(most), format!("{} of it the journey", mib(held)));
        table.row("identity index", format!("{:.2} B", self.id_index_bytes), "each record in segments");
        table
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use model::SystemClock;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn orders_are_found_whole_in_head_and_segments_and_over_http() {
        let dir = tempfile::tempdir().expect("a folder");
        let options = [
            "journey",
            "--spans",
            "2000",
            "--records",
            "64",
            "--journeys",
            "20",
            "--segments",
            "2",
            "--large-spans",
            "1500",
            "--hub-traces",
            "300",
        ];
        let options = Options::parse_from(options);
        let report = run(&options, dir.path(), SystemClock::shared()).await.expect("runs");
        assert_eq!(report.segments, 4, "two of each signal: {report:?}");
        let rows = report.head_rows.into_iter().chain(report.segment_rows);
        assert!(rows.into_iter().all(|rows| rows >= 800), "{report:?}");
        assert_eq!(
            report.cases.iter().map(|case| case.latencies.count()).collect::<Vec<_>>(),
            [20, 20, 20, 20, 20, 20, 20, 20, 20, 5]
        );
        assert!(report.table().to_string().contains("over HTTP"));
    }
    #[tokio::test(flavor = "multi_thread")]
    async fn a_journey_that_lacks_a_span_fails_the_benchmark() {
        let (dir, clock) = (tempfile::tempdir().expect("a folder"), SystemClock::shared());
        let bench = BenchStore::open(dir.path(), &clock, |_| {}).await.expect("opens");
        let options =
            Options::parse_from(["journey", "--spans", "200", "--segments", "1", "--large-spans", "0"]);
        let Filled { sealed, .. } = fill(&bench.store, &options, &clock).await.expect("fills");
        let mut asked = vec![sealed[0].clone()];
        in_process("whole", &bench.store, &asked, WARM_UP, &*clock).expect("has all");
        asked[0].spans += 1;
        let error =
            in_process("lacking", &bench.store, &asked, WARM_UP, &*clock).expect_err("one span is missing");
        assert!(error.to_string().contains(&asked[0].id), "{error}");
    }
}
