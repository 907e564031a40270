//! Measurements of metrics that were taken within a journey: the exemplars that name one of its traces.
//!
//! ```text
//! traces of the journey ─► identity index of points ─► points ─► their exemplars of these traces ─► rows
//! ```
//!
//! Owns: from points to measurements, each once. Does not own: where they are drawn (`layout`).
//!
//! Invariants: an exemplar joins nothing, it is only shown; one that several samples or exports repeat is one row.

use std::collections::{BTreeSet, HashSet};

use model::{Signal, SpanId, TimeRange, TraceId, UnixNano};
use query_api::Attributes;
use storage::rows::PointRows;
use storage::{ScanStats, Snapshot};

use super::survey::trace_term;

/// A point is exported up to so long after its exemplars were taken.
const EXPORT_DELAY_NANO: i64 = 600 * 1_000_000_000;
/// Points that are read of each trace.
const POINTS_PER_TRACE: usize = 500;
/// Labels that say where in a histogram the measurement fell.
const BUCKET_LABELS: [&str; 2] = ["le", "quantile"];

/// A measurement that names a span.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExemplarRecord {
    pub(crate) time: UnixNano,
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) service: String,
    /// OpenTelemetry name of the metric.
    pub(crate) metric: String,
    pub(crate) unit: String,
    /// Prometheus name of its series.
    pub(crate) series: String,
    /// What was measured.
    pub(crate) value: String,
    /// Labels of the series, and what the exemplar says besides.
    pub(crate) attributes: Attributes,
}

impl ExemplarRecord {
    /// `http.server.request.duration = 1.24 s`.
    pub(crate) fn text(&self) -> String {
        let unit = match self.unit.trim_matches(['{', '}']) {
            "" | "1" => String::new(),
            unit => format!(" {unit}"),
        };
        format!("{} = {}{unit}", self.metric, self.value)
    }
}

/// The measurements within `range` that name one of the traces, by time; and how many groups of points were not read
/// because there are too many.
pub(crate) fn read(
    snapshot: &Snapshot,
    range: TimeRange,
    traces: &[TraceId],
    stats: &mut ScanStats,
) -> Result<(Vec<ExemplarRecord>, u64), storage::Error> {
    let terms: Vec<String> = traces.iter().map(|trace| trace_term(*trace)).collect();
    let wanted: HashSet<TraceId> = traces.iter().copied().collect();
    let exported = TimeRange { from: range.from, to: range.to.plus(EXPORT_DELAY_NANO) };
    let points_max = POINTS_PER_TRACE.saturating_mul(traces.len());
    let mut own = ScanStats::default();
    let mut found = BTreeSet::new();
    for batch in snapshot.lookup_newest(Signal::Metrics, &exported, &terms, points_max, &mut own)? {
        let points = PointRows::new(&batch);
        for row in 0..points.len() {
            let of_row = points.exemplars(row);
            let named = of_row.filter_map(|exemplar| Some((exemplar.trace_id?, exemplar)));
            for (trace_id, exemplar) in named.filter(|(trace, _)| wanted.contains(trace)) {
                if !range.contains(exemplar.time) {
                    continue;
                }
                let labels = points.labels(row).filter(|(key, _)| !BUCKET_LABELS.contains(key));
                let all = labels.chain(exemplar.attributes.iter().copied());
                let name = points.name(row);
                found.insert(ExemplarRecord {
                    time: exemplar.time,
                    trace_id,
                    span_id: exemplar.span_id,
                    service: points.service(row).to_owned(),
                    metric: points.metric(row).to_owned(),
                    unit: points.unit(row).to_owned(),
                    series: name.strip_suffix("_bucket").unwrap_or(name).to_owned(),
                    value: exemplar.value.to_string(),
                    attributes: all.collect(),
                });
            }
        }
    }
    stats.rows_scanned += own.rows_scanned;
    stats.segments_unreadable += own.segments_unreadable;
    Ok((found.into_iter().collect(), own.groups_left_out))
}
