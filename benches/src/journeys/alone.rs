//! Parts of a journey by themselves: its critical path, the memory of a large one, the identity index on disk, and the
//! first one after a start.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use model::{Clock, IdRules};
use storage::{Settings, Store};

use super::{Case, in_process};
use crate::workload::Order;

/// How often the critical path is walked.
const TIMES: usize = 20;
/// Children of a node of the graph.
const FAN_OUT: usize = 10;
/// How often the store is opened.
const STARTS: usize = 5;

/// The critical path of a tree of so many spans, and nothing else.
pub(super) fn critical_path(spans: usize, clock: &dyn Clock) -> Case {
    let nodes: Vec<_> = (0..spans as i64)
        .map(|number| {
            let parent = (number > 0).then(|| ((number - 1) / FAN_OUT as i64) as u32);
            (number * 1_000, number * 1_000 + 1_000_000, parent)
        })
        .collect();
    let (mut durations, mut rows) = (Vec::with_capacity(TIMES), 0);
    for _ in 0..TIMES {
        let start = clock.monotonic();
        rows += query::journey::critical_path_segments(&nodes);
        durations.push(clock.monotonic().saturating_sub(start));
    }
    Case { name: "the critical path alone", latencies: durations.into(), rows }
}

/// Bytes of the identity indexes of spans and log records below a data folder, for each record in segments.
pub(super) fn id_index_bytes(data_dir: &Path, records: u64) -> anyhow::Result<f64> {
    let mut bytes = 0;
    for table in ["spans", "logs"] {
        let table = data_dir.join("segments").join(table);
        for segment in std::fs::read_dir(&table).with_context(|| format!("list `{}`", table.display()))? {
            let ids = segment?.path().join("ids");
            for file in std::fs::read_dir(&ids).with_context(|| format!("list `{}`", ids.display()))? {
                bytes += file?.metadata()?.len();
            }
        }
    }
    Ok(bytes as f64 / records.max(1) as f64)
}

/// The first journey after each of a few starts of a store that is closed.
pub(super) async fn after_start(
    data_dir: &Path,
    orders: &[Order],
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Case> {
    let (mut durations, mut rows) = (Vec::new(), 0);
    for order in orders.iter().cycle().step_by(7).take(STARTS) {
        let store = Store::open(Settings::new(data_dir), Arc::new(IdRules::default()), Arc::clone(clock));
        let store = store.await.context("open the store again")?;
        let (asked, asking, clock) = (vec![order.clone()], Arc::clone(&store), Arc::clone(clock));
        let found =
            tokio::task::spawn_blocking(move || in_process("", &asking, &asked, 0, &*clock)).await??;
        durations.push(found.latencies.max());
        rows += found.rows;
        store.close().await.context("close the store")?;
    }
    let durations: Vec<Duration> = durations;
    Ok(Case { name: "first after a start", latencies: durations.into(), rows })
}
