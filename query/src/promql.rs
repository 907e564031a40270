//! PromQL: instant and range queries, evaluated directly, one series at a time.
//!
//! Owns: the meaning of an expression, its limits, the texts of its errors. Does not own: where samples
//! come from ([`SeriesSource`]), the HTTP surface (`http`), grammar (the `promql-parser` crate).
//!
//! ```text
//! text ─► parse (bounds, grammar, what is supported) ─► Evaluator ─► Value ─► MetricsData
//!                                                          │ select(matchers, from, to)
//!                                                          ▼
//!                                                     SeriesSource
//! ```
//!
//! Invariants: windows are open on the left, as in Prometheus 3; a stale marker ends a series at once, a
//! silent series ends after the lookback of five minutes; what is not supported is refused before the
//! first sample is read; no text, however nested, overflows the stack; samples and series are counted
//! against [`Options`] while they are read, and their memory is reserved in [`SeriesSource::held`].

mod aggregate;
mod binary;
mod error;
mod eval;
mod functions;
mod labels;
mod matcher;
mod parse;
mod rows;
mod selector;
mod source;
mod store;
mod sum;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use model::{TimeRange, UnixNano};
use promql_parser::parser::{Expr, value::ValueType};
use query_api::{MetricsData, Sample, Series};

pub use error::PromqlError;
pub use functions::SUPPORTED as SUPPORTED_FUNCTIONS;
pub use matcher::{MatchOp, Matcher};
pub(crate) use selector::matchers;
pub(crate) use source::labels_bytes;
pub use source::{Labels, MemorySource, RawSeries, STALE_BITS, SeriesSource};
pub use store::SnapshotSource;

use eval::Evaluator;
use parse::strip_parens;
use rows::{Budget, Row, Steps, Value};

/// Name of the label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// Points of one series that a range query may ask for.
pub const POINTS_MAX: i64 = 11_000;

/// How a query is evaluated and what it may cost.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long after its last sample a series still has a value.
    pub lookback: Duration,
    /// Step of a subquery that names none.
    pub subquery_step: Duration,
    /// Samples that may be read and made, together.
    pub samples_max: u64,
    /// Series that one selector may find.
    pub series_max: usize,
    /// Set from outside to end the query early.
    pub cancelled: Option<Arc<AtomicBool>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lookback: Duration::from_secs(300),
            subquery_step: Duration::from_secs(60),
            samples_max: 50_000_000,
            series_max: 100_000,
            cancelled: None,
        }
    }
}

/// Whether `expr` can be evaluated: grammar, types, and that all of it is supported.
///
/// # Errors
/// Those of [`instant`] that do not depend on samples.
pub fn check(expr: &str) -> Result<(), PromqlError> {
    parse::parse(expr).map(drop)
}

/// The value of `expr` at `time`: a vector sorted by labels (or by value after `sort`, `topk` and
/// `bottomk`), a scalar, a string, or a matrix for `metric[5m]`.
///
/// # Errors
/// [`PromqlError`] names what is wrong with the expression, or what the samples do not allow.
pub fn instant(
    source: &dyn SeriesSource,
    expr: &str,
    time: UnixNano,
    options: &Options,
) -> Result<MetricsData, PromqlError> {
    let expr = parse::parse(expr)?;
    let budget = Budget::new(options, source.held());
    let steps = Steps::instant(time.millis());
    let evaluator = Evaluator::new(source, options, &budget, steps);
    let seconds = millis_to_seconds(steps.start);
    if expr.value_type() == ValueType::Matrix {
        return evaluator.raw_matrix(&expr).map(MetricsData::Matrix);
    }
    Ok(match evaluator.eval(&expr)? {
        Value::Scalar(values) => MetricsData::Scalar(Sample::new(seconds, values[0])),
        Value::Text(text) => MetricsData::String(Sample(seconds, text)),
        Value::Vector(mut rows) => {
            budget.answer(rows.iter().map(|row| (&*row.labels, 1)))?;
            if !keeps_order(&expr) {
                rows.sort_by(|a, b| a.labels.cmp(&b.labels));
            }
            let series = rows.into_iter().filter_map(|row| {
                let value = row.values[0].map(|value| Sample::new(seconds, value))?;
                Some(Series { metric: (*row.labels).clone(), value: Some(value), values: Vec::new() })
            });
            MetricsData::Vector(series.collect())
        }
    })
}

/// The values of `expr` at `range.from`, `range.from + step`, … up to `range.to`: always a matrix,
/// sorted by labels; a scalar is one series without labels.
///
/// # Errors
/// As [`instant`]; also for a step that is not positive, more than [`POINTS_MAX`] points, and
/// expressions that are strings or range vectors.
pub fn range(
    source: &dyn SeriesSource,
    expr: &str,
    range: TimeRange,
    step: Duration,
    options: &Options,
) -> Result<MetricsData, PromqlError> {
    let steps = Steps::range(range, step)?;
    let expr = parse::parse(expr)?;
    match expr.value_type() {
        ValueType::Matrix => return Err(wrong_range_type("range vector")),
        ValueType::String => return Err(wrong_range_type("string")),
        ValueType::Scalar | ValueType::Vector => {}
    }
    let budget = Budget::new(options, source.held());
    let mut rows = match Evaluator::new(source, options, &budget, steps).eval(&expr)? {
        Value::Scalar(values) => vec![Row::new(Labels::new(), values.into_iter().map(Some).collect())],
        Value::Vector(rows) => rows,
        Value::Text(_) => return Err(wrong_range_type("string")),
    };
    let values = |row: &Row| row.values.iter().flatten().count();
    budget.answer(rows.iter().map(|row| (&*row.labels, values(row))))?;
    rows.sort_by(|a, b| a.labels.cmp(&b.labels));
    let series = rows.into_iter().filter(Row::has_values).map(|row| {
        let samples = steps.times().zip(&row.values);
        let values =
            samples.filter_map(|(time, value)| Some(Sample::new(millis_to_seconds(time), (*value)?)));
        Series { metric: (*row.labels).clone(), value: None, values: values.collect() }
    });
    Ok(MetricsData::Matrix(series.collect()))
}

fn wrong_range_type(found: &str) -> PromqlError {
    PromqlError::BadData(format!(
        "invalid expression type \"{found}\" for range query, must be Scalar or instant Vector"
    ))
}

/// Whether the order of the result says something, because the outermost function made it.
fn keeps_order(expr: &Expr) -> bool {
    match strip_parens(expr) {
        Expr::Call(call) => call.func.name.starts_with("sort"),
        Expr::Aggregate(aggregate) => aggregate::is_selection(aggregate.op.id()),
        _ => false,
    }
}

fn millis_to_seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}
