//! Look-ups and searches in a store that is there, warm and cold.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::Context as _;
use arrow::array::{AsArray as _, RecordBatch};
use bench_table::{Process, drop_page_cache};
use memchr::memmem::Finder;
use model::{Clock, Signal, TimeRange};
use storage::{ScanStats, Snapshot, Store, TextHint, TextRows, TextSearch};

use super::replay::correlation_id;
use super::workload::Lot;

const LOOKUPS: usize = 300;
const LOOKUPS_COLD: usize = 40;
const SEARCHES: usize = 5;
const BOTH: [Signal; 2] = [Signal::Traces, Signal::Logs];

/// Everything, on standard output.
pub(crate) async fn all(store: &Store, lot: &Lot, clock: &dyn Clock) -> anyhow::Result<()> {
    let snapshot = store.snapshot();
    let rows: Vec<u64> = BOTH.map(|signal| snapshot.row_counts(signal).1).to_vec();
    let stats = store.stats();
    println!(
        "{} spans, {} log records, {} segments, {:.2} GB, {} MB resident after opening",
        rows[0],
        rows[1],
        stats.segments,
        stats.segment_bytes as f64 / 1e9,
        Process::own().memory()?.resident / 1_000_000
    );
    let of_lot = lot.requests.iter().filter(|request| request.signal == Signal::Traces);
    let of_lot: usize = of_lot.map(|request| model::otlp::count_items(&request.bytes)).sum();
    let passes = (rows[0] / of_lot.max(1) as u64).max(1) as u32;
    let ids = |count: usize| -> Vec<String> {
        let step = (lot.correlation_ids.len() / count).max(1);
        let id = |at: usize| correlation_id(&lot.correlation_ids[at * step], at as u32 % passes);
        (0..count).map(|at| format!("correlation_id={}", id(at))).collect()
    };
    lookups("correlation id, spans and logs, first", &snapshot, &ids(LOOKUPS_COLD), clock, false)?;
    lookups("correlation id, spans and logs, warm", &snapshot, &ids(LOOKUPS), clock, false)?;
    let traces = traces_of(&snapshot, &ids(LOOKUPS))?;
    lookups("trace id, spans and logs, warm", &snapshot, &traces, clock, false)?;
    let none: Vec<String> = (0..LOOKUPS).map(|at| format!("order_id=NONE-{at}")).collect();
    lookups("an id that is not there, warm", &snapshot, &none, clock, false)?;
    if drop_page_cache().is_ok() {
        lookups(
            "correlation id, page cache dropped before each",
            &snapshot,
            &ids(LOOKUPS_COLD),
            clock,
            true,
        )?;
        lookups("trace id, page cache dropped before each", &snapshot, &traces[..LOOKUPS_COLD], clock, true)?;
    }
    let of_search = ["time", "severity_number", "severity_text", "service"];
    for (what, text) in [("a rare word", "ORD-00014711"), ("a common phrase", "stock reserved")] {
        for (how, columns) in [("counted", &[][..]), ("over time and by service", &of_search)] {
            search((&format!("{what}, {how}"), text), columns, &snapshot, clock, false)?;
            if drop_page_cache().is_ok() {
                search((&format!("{what}, {how}"), text), columns, &snapshot, clock, true)?;
            }
        }
    }
    println!("{} MB resident at the end", Process::own().memory()?.resident / 1_000_000);
    Ok(())
}

fn lookups(
    what: &str,
    snapshot: &Snapshot,
    terms: &[String],
    clock: &dyn Clock,
    is_cold: bool,
) -> anyhow::Result<()> {
    let (mut took, mut rows) = (Vec::new(), 0);
    for term in terms {
        if is_cold {
            drop_page_cache()?;
        }
        let begin = clock.monotonic();
        rows += rows_with(snapshot, term)?.iter().map(RecordBatch::num_rows).sum::<usize>();
        took.push(clock.monotonic().saturating_sub(begin));
    }
    report(what, took, &format!("{} look-ups, {rows} rows", terms.len()));
    Ok(())
}

fn rows_with(snapshot: &Snapshot, term: &str) -> anyhow::Result<Vec<RecordBatch>> {
    let mut found = Vec::new();
    for signal in BOTH {
        let mut stats = ScanStats::default();
        found.extend(snapshot.lookup(signal, &TimeRange::ALL, &[term.to_owned()], &mut stats)?);
    }
    Ok(found)
}

/// The traces of spans with these ids.
fn traces_of(snapshot: &Snapshot, terms: &[String]) -> anyhow::Result<Vec<String>> {
    let mut traces = Vec::new();
    for term in terms {
        let found = rows_with(snapshot, term)?;
        let first = found.iter().find(|rows| rows.num_rows() > 0).context("an id of the data set")?;
        let trace = first.column_by_name("trace_id").context("a column")?.as_fixed_size_binary().value(0);
        let mut term = "trace_id=".to_owned();
        model::id::push_hex(trace, &mut term);
        traces.push(term);
    }
    Ok(traces)
}

fn search(
    (what, text): (&str, &str),
    columns: &[&str],
    snapshot: &Snapshot,
    clock: &dyn Clock,
    is_cold: bool,
) -> anyhow::Result<()> {
    let (finder, hint) = (Finder::new(text), TextHint::default().and(text));
    let (mut took, mut found) = (Vec::new(), 0);
    for _ in 0..SEARCHES {
        if is_cold {
            drop_page_cache()?;
        }
        found = 0;
        let begin = clock.monotonic();
        let mut visit = |found_rows: &TextRows<'_>| {
            if found_rows.is_sure {
                found += found_rows.rows.num_rows();
                return ControlFlow::Continue(());
            }
            let bodies =
                found_rows.rows.column_by_name("body").expect("read where unsure").as_string::<i32>();
            found += bodies.iter().flatten().filter(|body| finder.find(body.as_bytes()).is_some()).count();
            ControlFlow::Continue(())
        };
        let (mut stats, range) = (ScanStats::default(), &TimeRange::ALL);
        let wanted = TextSearch { signal: Signal::Logs, range, hint: &hint, columns };
        snapshot.search(&wanted, &mut stats, &mut visit)?;
        took.push(clock.monotonic().saturating_sub(begin));
    }
    let temperature = if is_cold { "cold" } else { "warm" };
    report(&format!("{what}, {temperature}"), took, &format!("{found} log records with `{text}`"));
    Ok(())
}

fn report(what: &str, mut took: Vec<Duration>, rest: &str) {
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what:<50} p50 {:>9.2} ms  p99 {:>9.2} ms  {rest}", at(0.5), at(0.99));
}
