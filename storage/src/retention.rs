//! Retention: how long rows stay, by signal, age, bytes, who sent them and whether they tell of an error.
//!
//! Invariants: nothing is removed unless a setting says so, nor by a clock that has just jumped ahead; a segment that cannot be read
//! holds up no other. A file goes when the catalog does not name it any
//! more and the last snapshot that reads it is gone.

mod clock;
mod filter;
mod plan;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use clock::BelievedClock;
use model::{Signal, TimeRange};
use plan::Action;

use crate::compaction::merge::Filter;
use crate::compaction::plan::Merge;
use crate::compaction::rewrite_of;
use crate::error::{Context as _, Error, ErrorKind};
use crate::maintenance;
use crate::plant::Plant;
use crate::segment::reader::Segment;
use crate::segment::{Kept, SegmentMeta};
use crate::store::Store;

/// How long the rows of one signal stay. `None` means: for ever, or without limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Rows whose time is longer ago are removed, up to an hour later.
    pub age: Option<Duration>,
    /// The same for spans of traces in which a span has failed, and for log records of level error and above,
    /// if it is longer than what applies to them otherwise. Does not apply to metrics.
    pub errors_age: Option<Duration>,
    /// The same for rows of some senders, longer or shorter; of several that match a row the first.
    pub rules: Vec<KeepRule>,
    /// Bytes of segments above which the oldest are removed, errors too.
    pub bytes_max: Option<u64>,
}

/// How long the rows of some senders stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepRule {
    /// Key of an attribute of the resource; of metrics, name of a label.
    pub attribute: String,
    /// The value it has to have.
    pub value: String,
    /// In the place of [`Keep::age`].
    pub age: Option<Duration>,
}

impl Keep {
    /// How long rows may live, in no order: rows leave a segment at each of these ages.
    fn lifetimes(&self, signal: Signal) -> Vec<Option<Duration>> {
        let mut lifetimes: Vec<Option<Duration>> =
            self.rules.iter().map(|rule| rule.age).chain([self.age]).collect();
        if let Some(errors_age) = self.errors_age.filter(|_| signal != Signal::Metrics) {
            let of_errors: Vec<_> = lifetimes.iter().map(|age| age.map(|age| age.max(errors_age))).collect();
            lifetimes.extend(of_errors);
        }
        lifetimes
    }
}

/// How long rows stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Spans.
    pub traces: Keep,
    /// Log records.
    pub logs: Keep,
    /// Data points.
    pub metrics: Keep,
}

impl Retention {
    /// What applies to a signal.
    pub const fn of(&self, signal: Signal) -> &Keep {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
        }
    }
}

/// Removes what the settings do not keep. Called by maintenance, one at a time.
pub(crate) async fn run(store: &Arc<Store>) -> Result<(), Error> {
    let shared = store.shared();
    let mut segments: Vec<SegmentMeta> =
        shared.state().segments.iter().map(|segment| segment.meta().clone()).collect();
    if shared.folder.planted.has(Plant::RetentionByFirstRow) {
        segments.iter_mut().for_each(|meta| meta.time.to = meta.time.from);
    }
    let now = shared.state().believed.now(shared.clock.now(), shared.clock.monotonic());
    let mut problem = Ok(());
    for action in plan::plan(&segments, &shared.settings.retention, now) {
        let done = match action {
            Action::Remove(meta) => remove(store, meta).await,
            Action::KeepPast(meta, past) => keep_past(store, meta, past).await,
        };
        problem = problem.and(maintenance::unless_damaged(done)?);
    }
    problem
}

async fn remove(store: &Arc<Store>, meta: SegmentMeta) -> Result<(), Error> {
    let shared = store.shared();
    let name = meta.path();
    let Some(rewrite) = rewrite_of(shared, &Merge { inputs: vec![meta] }) else { return Ok(()) };
    maintenance::replace(shared, &rewrite.inputs, None).await?;
    shared.state().stats.segments_expired += 1;
    tracing::info!("retention removed segment `{name}`");
    Ok(())
}

async fn keep_past(store: &Arc<Store>, meta: SegmentMeta, past: Duration) -> Result<(), Error> {
    let shared = store.shared();
    let (name, place) = (meta.path(), (meta.signal, meta.name.clone()));
    if shared.state().unaffected.get(&place) == Some(&past) {
        return Ok(());
    }
    let merge = Merge { inputs: vec![meta] };
    let Some(mut rewrite) = rewrite_of(shared, &merge) else { return Ok(()) };
    let filter = filter::living_past(store, &merge.inputs[0], past).await?;
    if !loses_rows(Arc::clone(&rewrite.inputs[0]), Arc::clone(&filter)).await? {
        // It is read again after a restart, and not rewritten.
        shared.state().unaffected.insert(place, past);
        return Ok(());
    }
    rewrite.kept = Kept::Past(past.as_secs());
    rewrite.filter = Some(filter);
    maintenance::rewrite(store, rewrite).await?;
    let mut state = shared.state();
    state.unaffected.remove(&place);
    state.stats.segments_expired += 1;
    drop(state);
    tracing::info!("retention left those rows of segment `{name}` that are to stay longer");
    Ok(())
}

/// Whether the filter leaves a row out.
async fn loses_rows(segment: Arc<Segment>, filter: Arc<Filter>) -> Result<bool, Error> {
    if segment.layout().is_plain() {
        return Ok(true);
    }
    let look = move || {
        let columns = filter::columns(segment.signal());
        let reader = segment.stored_reader(&TimeRange::ALL, columns, READ_ROWS)?;
        for rows in reader {
            let rows = rows.context(ErrorKind::Damaged, || segment.doing())?;
            if filter(&rows).true_count() < rows.num_rows() {
                return Ok(true);
            }
        }
        Ok(false)
    };
    tokio::task::spawn_blocking(look).await.context(ErrorKind::Internal, || "reading a segment".to_owned())?
}

/// Rows of a batch that is looked at.
const READ_ROWS: usize = 8_192;

#[cfg(test)]
mod tests;
