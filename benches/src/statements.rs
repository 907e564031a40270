//! SQL over a store that is there, however large, the page cache holding what it can: in a thread of this process, planned and
//! run as the server's workers do.
//!
//! Invariant: a statement counts only when its answer lacks nothing.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bench_table::{Table, whole};
use model::{Clock, IdRules, Signal};
use query::sql::{Runner, SqlLimits};
use query_api::SqlRequest;
use storage::{Settings, Store};

use crate::latency::{Latencies, millis};

/// How often each runs.
const TIMES: usize = 7;
const STATEMENTS: [(&str, &str); 3] = [
    (
        "group by service, with a mean",
        "select service, count(*), avg(duration_nano) from spans group by service order by service",
    ),
    (
        "errors by service",
        "select service, count(*) from spans where status = 'error' group by service order by service",
    ),
    ("count, with a filter on numbers", "select count(*) from spans where duration_nano > 50000000"),
];

/// Runs every statement on the store in `dir`.
///
/// # Errors
/// When the store cannot be read, or an answer lacks something.
pub async fn run(dir: &Path, clock: Arc<dyn Clock>) -> anyhow::Result<Table> {
    let settings = Settings { has_maintenance: false, ..Settings::new(dir) };
    let store = Store::open(settings, Arc::new(IdRules::default()), Arc::clone(&clock));
    let store = store.await.with_context(|| format!("open `{}`", dir.display()))?;
    let mut table = Table::new("SQL over a store");
    let rows = store.snapshot().row_counts(Signal::Traces).1;
    table.row("spans", whole(rows as f64), String::new());
    for (name, query) in STATEMENTS {
        let (mut durations, mut answered) = (Vec::with_capacity(TIMES), 0);
        for _ in 0..TIMES {
            let request = SqlRequest { query: query.to_owned(), limit: None };
            let begin = clock.monotonic();
            let answer = Runner::Thread.run(store.snapshot(), request, SqlLimits::default(), ());
            let answer = answer.await.with_context(|| format!("run `{query}`"))?;
            durations.push(clock.monotonic().saturating_sub(begin));
            ensure!(answer.cuts.is_empty(), "`{query}` was cut: {:?}", answer.cuts);
            answered = answer.rows.len();
        }
        let latencies: Latencies = durations.into();
        let times = format!("min {}, max {}", millis(latencies.percentile(0)), millis(latencies.max()));
        table.row(name, millis(latencies.percentile(50)), format!("{times}, {answered} rows"));
    }
    store.close().await.context("close the store")?;
    Ok(table)
}
