//! `/prometheus/api/v1/query_exemplars`: the measurements behind the series that an expression reads.
//!
//! ```text
//! expression ─► its selectors ─► points in range ─► series ─► their exemplars in range, by time, each once
//! ```
//!
//! Invariants: at most [`EXEMPLARS_MAX`] exemplars are answered, and a warning says when there are more; an exemplar
//! that several exports repeat is answered once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use axum::extract::State;
use model::{Signal, TimeRange, UnixNano};
use promql_parser::parser::{self, Expr, VectorSelector};
use query_api::Sample;
use serde::Serialize;
use storage::rows::{Exemplar, PointRows};
use storage::{ScanOrder, ScanStats, Snapshot};

use super::App;
use super::prometheus::{Answer, Form, Success, memory_warning};
use crate::limits::Cancel;
use crate::promql::{self, Labels, METRIC_NAME, Matcher, PromqlError, labels_bytes};

/// Exemplars of one answer.
const EXEMPLARS_MAX: usize = 10_000;
/// Bytes of an exemplar beside its labels.
const EXEMPLAR_BYTES: usize = 160;
/// A point is exported up to so long after its exemplars were taken.
const EXPORT_DELAY_NANO: i64 = 600 * 1_000_000_000;
/// How far back exemplars are looked for when `start` is not given.
const RANGE_DEFAULT: Duration = Duration::from_secs(3600);

/// A series and its exemplars, as Prometheus has them.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct SeriesExemplars {
    series_labels: Labels,
    exemplars: BTreeSet<Measured>,
}

/// One exemplar; sorted by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Measured {
    time: UnixNano,
    labels: Labels,
    value: String,
}

impl Measured {
    fn of(exemplar: &Exemplar<'_>) -> Self {
        let pairs = exemplar.attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let mut labels: Labels = pairs.collect();
        let ids = [
            ("trace_id", exemplar.trace_id.map(|id| id.to_string())),
            ("span_id", exemplar.span_id.map(|id| id.to_string())),
        ];
        labels.extend(ids.into_iter().filter_map(|(key, id)| Some((key.to_owned(), id?))));
        Self { time: exemplar.time, labels, value: Sample::new(0.0, exemplar.value).1 }
    }
}

impl Serialize for Measured {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut fields = serializer.serialize_struct("Exemplar", 3)?;
        fields.serialize_field("labels", &self.labels)?;
        fields.serialize_field("value", &self.value)?;
        fields.serialize_field("timestamp", &((self.time.0 / 1_000_000) as f64 / 1e3))?;
        fields.end()
    }
}

pub(super) async fn query_exemplars(State(app): State<App>, form: Form) -> Answer {
    let params = form?;
    let range = params.range_of(["start", "end"], RANGE_DEFAULT, app.engine.clock.now())?;
    let selectors = selectors(params.required("query")?)?;
    app.prometheus(move |engine, cancel| {
        let snapshot = engine.snapshot(cancel);
        let (found, is_cut) = find(&snapshot, &selectors, range, cancel)?;
        let warnings = match is_cut {
            true => vec![format!("cut at {EXEMPLARS_MAX} exemplars: narrow the time range")],
            false => memory_warning(&snapshot),
        };
        Ok(Success { warnings, ..Success::new(found) })
    })
    .await
}

/// The conditions of every selector in an expression.
fn selectors(text: &str) -> Result<Vec<Vec<Matcher>>, PromqlError> {
    promql::check(text)?;
    let expr = parser::parse(text).map_err(PromqlError::BadData)?;
    let mut found: Vec<&VectorSelector> = Vec::new();
    let mut open = vec![&expr];
    while let Some(expr) = open.pop() {
        match expr {
            Expr::Aggregate(of) => open.extend(of.param.iter().chain([&of.expr]).map(AsRef::as_ref)),
            Expr::Unary(of) => open.push(&of.expr),
            Expr::Binary(of) => open.extend([of.lhs.as_ref(), of.rhs.as_ref()]),
            Expr::Paren(of) => open.push(&of.expr),
            Expr::Subquery(of) => open.push(&of.expr),
            Expr::Call(of) => open.extend(of.args.args.iter().map(AsRef::as_ref)),
            Expr::VectorSelector(selector) => found.push(selector),
            Expr::MatrixSelector(of) => found.push(&of.vs),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }
    found.into_iter().map(promql::matchers).collect()
}

fn find(
    snapshot: &Snapshot,
    selectors: &[Vec<Matcher>],
    range: TimeRange,
    cancel: &Cancel,
) -> Result<(Vec<SeriesExemplars>, bool), storage::Error> {
    let exported = TimeRange { from: range.from, to: range.to.plus(EXPORT_DELAY_NANO) };
    let mut series: BTreeMap<Labels, BTreeSet<Measured>> = BTreeMap::new();
    let (mut count, mut is_cut) = (0, false);
    let mut stats = ScanStats::default();
    snapshot.scan(Signal::Metrics, &exported, &[], ScanOrder::Newest, &mut stats, &mut |batch| {
        let rows = PointRows::new(batch);
        for row in (0..rows.len()).filter(|row| rows.has_exemplars(*row)) {
            let labels = labels_of(&rows, row);
            if !selectors.iter().any(|selector| passes(selector, &labels)) {
                continue;
            }
            let known = series.entry(labels).or_default();
            for exemplar in rows.exemplars(row).filter(|exemplar| range.contains(exemplar.time)) {
                if count == EXEMPLARS_MAX {
                    is_cut = true;
                    return ControlFlow::Break(());
                }
                let measured = Measured::of(&exemplar);
                if snapshot.held().grow(2 * labels_bytes(&measured.labels) + EXEMPLAR_BYTES).is_err() {
                    return ControlFlow::Break(());
                }
                count += usize::from(known.insert(measured));
            }
        }
        cancel.flow()
    })?;
    let found = series.into_iter().filter(|(_, exemplars)| !exemplars.is_empty());
    let found = found.map(|(series_labels, exemplars)| SeriesExemplars { series_labels, exemplars });
    Ok((found.collect(), is_cut))
}

fn labels_of(rows: &PointRows<'_>, row: usize) -> Labels {
    let pairs = rows.labels(row).filter(|(_, value)| !value.is_empty());
    let mut labels: Labels = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    labels.insert(METRIC_NAME.to_owned(), rows.name(row).to_owned());
    labels
}

fn passes(selector: &[Matcher], labels: &Labels) -> bool {
    let value = |matcher: &Matcher| labels.get(&matcher.name).map_or("", String::as_str);
    selector.iter().all(|matcher| matcher.is_match(value(matcher)))
}

#[cfg(test)]
mod tests;
