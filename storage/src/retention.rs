//! Retention: how long rows stay, by signal, age, bytes and whether they tell of an error.
//!
//! Invariant: nothing is removed unless a setting says so. A file goes when the catalog does not name it any
//! more and the last snapshot that reads it is gone.

mod plan;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array as _, AsArray as _, BooleanArray, RecordBatch};
use arrow::datatypes::Int32Type;
use model::{Signal, TimeRange};
use plan::Action;

use crate::compaction::merge::Filter;
use crate::compaction::plan::Merge;
use crate::compaction::rewrite_of;
use crate::error::{Context as _, Error, ErrorKind};
use crate::maintenance;
use crate::plant::Plant;
use crate::segment::{Kept, SegmentMeta};
use crate::snapshot::{ScanOrder, ScanStats};
use crate::store::Store;
use crate::window::WINDOW_NANO;

/// How long the rows of one signal stay. `None` means: for ever, or without limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Rows whose time is longer ago are removed, up to an hour later.
    pub age: Option<Duration>,
    /// The same for spans of traces in which a span has failed, and for log records of level error and above,
    /// if it is longer than `age`. Does not apply to metrics.
    pub errors_age: Option<Duration>,
    /// Bytes of segments above which the oldest are removed, errors too.
    pub bytes_max: Option<u64>,
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
    for action in plan::plan(&segments, &shared.settings.retention, shared.clock.now()) {
        let (meta, is_removed) = match action {
            Action::Remove(meta) => (meta, true),
            Action::KeepErrors(meta) => (meta, false),
        };
        let name = meta.path();
        let merge = Merge { inputs: vec![meta] };
        let Some(mut rewrite) = rewrite_of(shared, &merge) else { continue };
        if is_removed {
            maintenance::replace(shared, &rewrite.inputs, None).await?;
            tracing::info!("retention removed segment `{name}`");
        } else {
            rewrite.kept = Kept::Errors;
            rewrite.filter = Some(error_filter(store, &merge.inputs[0]).await?);
            maintenance::rewrite(store, rewrite).await?;
            tracing::info!("retention left the errors of segment `{name}`");
        }
        shared.state().stats.segments_expired += 1;
    }
    Ok(())
}

/// Which rows of a segment tell of errors.
async fn error_filter(store: &Arc<Store>, segment: &SegmentMeta) -> Result<Box<Filter>, Error> {
    if segment.signal == Signal::Logs {
        return Ok(Box::new(is_error_log));
    }
    let snapshot = store.snapshot();
    // A trace may have begun in the window before or end in the one after.
    let range =
        TimeRange { from: segment.time.from.plus(-WINDOW_NANO), to: segment.time.to.plus(WINDOW_NANO) };
    let traces = tokio::task::spawn_blocking(move || {
        let mut traces: HashSet<[u8; 16]> = HashSet::new();
        let mut stats = ScanStats::default();
        let mut visit = |rows: &RecordBatch| {
            let ids = rows.column_by_name("trace_id").expect("asked for").as_fixed_size_binary();
            let status = rows.column_by_name("status").expect("asked for").as_string::<i32>();
            for row in (0..rows.num_rows()).filter(|row| status.value(*row) == "error") {
                traces.extend(<[u8; 16]>::try_from(ids.value(row)));
            }
            ControlFlow::Continue(())
        };
        let columns = ["trace_id", "status"];
        snapshot.scan(Signal::Traces, &range, &columns, ScanOrder::Any, &mut stats, &mut visit)?;
        if stats.segments_unreadable > 0 {
            return Err(Error::damaged("retention waits: a segment that may tell of errors cannot be read"));
        }
        Ok(traces)
    });
    let traces = traces.await.context(ErrorKind::Internal, || "finding failed traces".to_owned())??;
    Ok(Box::new(move |rows: &RecordBatch| {
        let ids = rows.column_by_name("trace_id").expect("a column of the schema").as_fixed_size_binary();
        (0..ids.len()).map(|row| Some(traces.contains(ids.value(row)))).collect()
    }))
}

/// The lowest severity number of OpenTelemetry's level `ERROR`.
const ERROR_SEVERITY: i32 = 17;

fn is_error_log(rows: &RecordBatch) -> BooleanArray {
    let severity = rows.column_by_name("severity_number").expect("a column of the schema");
    let severity = severity.as_primitive::<Int32Type>();
    severity.values().iter().map(|number| Some(*number >= ERROR_SEVERITY)).collect()
}

#[cfg(test)]
mod tests;
