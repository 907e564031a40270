//! Following traces through a store that is there, however large: warm, and with the page cache dropped before each
//! where this process may (root).
//!
//! Invariant: a journey counts only when it has the span that its trace was drawn by, and nothing was unreadable.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use model::{Clock, IdRules, Signal, SpanId, TimeRange, TraceId, UnixNano};
use query::journey::{Limits, Request, find};
use query_api::JourneyCounts;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use storage::rows::SpanRows;
use storage::{ScanOrder, ScanStats, Settings, Snapshot, Store};

use super::{Case, large};
use crate::options::Options;
use bench_table::{Table, drop_page_cache, whole};

/// Journeys with the page cache dropped.
const COLD: usize = 40;
/// What a journey is wanted to have.
const TRACES_FEW: usize = 4;
/// Traces, spans and log records of an order as `scale -- build DIR SPANS orders` makes them.
const ORDER: (usize, usize, usize) = (4, 60, 150);
/// Spans are drawn from so many places of the store; reading one takes a while.
const PLACES: u32 = 64;

/// What was measured.
#[derive(Debug)]
pub struct Report {
    rows: [u64; 2],
    segments: u64,
    bytes: u64,
    cases: Vec<Case>,
}

/// Follows random traces of the store in `dir`.
///
/// # Errors
/// When the store cannot be read, or a journey lacks the span it was drawn by.
pub async fn run(options: &Options, dir: &Path, clock: Arc<dyn Clock>) -> anyhow::Result<Report> {
    let settings = Settings { has_maintenance: false, ..Settings::new(dir) };
    let store = Store::open(settings, Arc::new(IdRules::default()), Arc::clone(&clock));
    let store = store.await.with_context(|| format!("open `{}`", dir.display()))?;
    let (count, seed, asking) = (options.journeys, options.seed, Arc::clone(&store));
    let timing = Arc::clone(&clock);
    let work = move || -> anyhow::Result<Vec<Case>> {
        let snapshot = asking.snapshot();
        let drawn = draw(&snapshot, count, &mut StdRng::seed_from_u64(seed))?;
        let store = (&snapshot, &**asking.ids());
        let few = &drawn[..drawn.len().min(COLD)];
        let mut cases = vec![follow("each for the first time", store, &drawn, || Ok(()), &*timing)?];
        let small = of_counts(store, &drawn, |counts| counts.traces <= TRACES_FEW)?;
        let orders = of_counts(store, &drawn, |counts| (counts.traces, counts.spans, counts.logs) == ORDER)?;
        cases.extend([
            follow("each once more", store, &drawn, || Ok(()), &*timing)?,
            follow("those of four traces at most", store, &small, || Ok(()), &*timing)?,
            follow("one again and again", store, &vec![drawn[0]; drawn.len()], || Ok(()), &*timing)?,
        ]);
        if !orders.is_empty() {
            cases.push(follow(
                "60 spans, 150 log records, four traces",
                store,
                &orders,
                || Ok(()),
                &*timing,
            )?);
        }
        if drop_page_cache().is_ok() {
            cases.push(follow(
                "page cache dropped before each",
                store,
                few,
                || Ok(drop_page_cache()?),
                &*timing,
            )?);
        }
        Ok(cases)
    };
    let mut cases = tokio::task::spawn_blocking(work).await??;
    if options.add_large {
        let sizes = large::Sizes { spans: options.large_spans, traces: options.hub_traces };
        if !large::is_filled(&store, &*clock)? {
            large::fill(&store, sizes, options.records, &*clock).await?;
        }
        let asking = Arc::clone(&store);
        cases.extend(tokio::task::spawn_blocking(move || large::measure(&asking, sizes, &*clock)).await??);
    }
    let (snapshot, stats) = (store.snapshot(), store.stats());
    let rows = [Signal::Traces, Signal::Logs].map(|signal| snapshot.row_counts(signal).1);
    drop(snapshot);
    store.close().await.context("close the store")?;
    Ok(Report { rows, segments: stats.segments, bytes: stats.segment_bytes, cases })
}

/// A span, by which its trace is known.
#[derive(Clone, Copy)]
struct Drawn {
    trace: TraceId,
    span: SpanId,
}

/// Random spans from random places.
fn draw(snapshot: &Snapshot, count: usize, rng: &mut StdRng) -> anyhow::Result<Vec<Drawn>> {
    let times = times(snapshot)?;
    ensure!(!times.is_empty(), "there are no segments of spans");
    let mut drawn: Vec<Drawn> = Vec::new();
    for place in 0..PLACES {
        let within = times[rng.random_range(0..times.len())];
        let from = UnixNano(rng.random_range(within.from.0..=within.to.0));
        let (range, mut stats) = (TimeRange { from, to: within.to }, ScanStats::default());
        let wanted = count * (place as usize + 1) / PLACES as usize - drawn.len();
        snapshot.scan(Signal::Traces, &range, &[], ScanOrder::Any, &mut stats, &mut |batch| {
            let rows = SpanRows::new(batch);
            drawn.extend((0..wanted).map(|_| {
                let at = rng.random_range(0..rows.len());
                Drawn { trace: rows.trace_id(at), span: rows.span_id(at) }
            }));
            ControlFlow::Break(())
        })?;
    }
    Ok(drawn)
}

/// From when to when each segment of spans goes.
fn times(snapshot: &Snapshot) -> anyhow::Result<Vec<TimeRange>> {
    snapshot.segment_files(Signal::Traces).map(|file| Ok(file?.time())).collect()
}

/// Those whose journeys have counts that are wanted.
fn of_counts(
    (snapshot, ids): (&Snapshot, &IdRules),
    drawn: &[Drawn],
    is_wanted: fn(&JourneyCounts) -> bool,
) -> anyhow::Result<Vec<Drawn>> {
    let limits = Limits::default();
    let mut wanted = Vec::new();
    for drawn in drawn {
        let id = drawn.trace.to_string();
        let request = Request { id: &id, range: TimeRange::ALL, is_corrected: false };
        if is_wanted(&find(snapshot, ids, &request, &limits)?.counts) {
            wanted.push(*drawn);
        }
    }
    Ok(wanted)
}

/// Follows each once; `before` comes first, and is not measured.
fn follow(
    name: &'static str,
    (snapshot, ids): (&Snapshot, &IdRules),
    drawn: &[Drawn],
    before: fn() -> anyhow::Result<()>,
    clock: &dyn Clock,
) -> anyhow::Result<Case> {
    let limits = Limits::default();
    let (mut durations, mut rows) = (Vec::with_capacity(drawn.len()), 0);
    for Drawn { trace, span } in drawn {
        before()?;
        let start = clock.monotonic();
        let id = trace.to_string();
        let request = Request { id: &id, range: TimeRange::ALL, is_corrected: false };
        let journey = find(snapshot, ids, &request, &limits).with_context(|| format!("look for {id}"))?;
        durations.push(clock.monotonic().saturating_sub(start));
        ensure!(journey.rows.iter().any(|row| row.span_id == Some(*span)), "{id} lacks its span {span}");
        rows += journey.counts.spans + journey.counts.logs;
    }
    Ok(Case { name, latencies: durations.into(), rows })
}

impl Report {
    /// Everything as text.
    pub fn table(&self) -> Table {
        let mut table = Table::new("journeys: random traces of a store, and what their ids lead to");
        let [spans, logs] = self.rows.map(|rows| whole(rows as f64));
        let bytes = format!("{:.2} GB", self.bytes as f64 / 1e9);
        table.row("segments", whole(self.segments as f64), format!("{spans} spans, {logs} logs, {bytes}"));
        self.cases.iter().for_each(|case| case.row(&mut table));
        table
    }
}
