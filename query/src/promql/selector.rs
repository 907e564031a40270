//! Selectors: which samples an expression sees at each of its steps.
//!
//! ```text
//! instant selector      newest sample in (t - lookback, t]; a stale marker hides all before it
//! range selector        samples in (t - range, t], stale markers left out
//! t = (@ time, or the step) - offset
//! ```

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::UnixNano;
use promql_parser::label::{MatchOp as ParsedOp, Matcher as ParsedMatcher};
use promql_parser::parser::{AtModifier, Expr, Offset, SubqueryExpr, VectorSelector};

use super::eval::Evaluator;
use super::parse::strip_parens;
use super::rows::{Row, Steps};
use super::source::STALE_BITS;
use super::{Labels, METRIC_NAME, MatchOp, Matcher, PromqlError, RawSeries};

/// Which instant a step of the query means to a selector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference {
    at: Option<i64>,
    offset: i64,
}

impl Reference {
    fn new(at: Option<&AtModifier>, offset: Option<&Offset>, query: (i64, i64)) -> Self {
        let at = at.map(|at| match at {
            AtModifier::Start => query.0,
            AtModifier::End => query.1,
            AtModifier::At(time) => system_millis(*time),
        });
        let offset = offset.map_or(0, |offset| match offset {
            Offset::Pos(duration) => millis(*duration),
            Offset::Neg(duration) => -millis(*duration),
        });
        Self { at, offset }
    }

    pub(crate) fn time(&self, step: i64) -> i64 {
        self.at.unwrap_or(step).saturating_sub(self.offset)
    }
}

fn system_millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => millis(after),
        Err(before) => -millis(before.duration()),
    }
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What an instant selector yields for the sample it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Yield {
    Value,
    /// The sample's time in Unix seconds, for `timestamp()`.
    Time,
}

/// A range selector or subquery, its samples read.
pub(crate) struct RangeVector {
    pub(crate) series: Vec<RawSeries>,
    pub(crate) range: i64,
    reference: Reference,
}

/// The part of a series that one step sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    /// Samples in the window; never empty.
    pub(crate) samples: &'a [(i64, f64)],
    /// Its open left end.
    pub(crate) start: i64,
    /// Its closed right end.
    pub(crate) end: i64,
    /// The step's own time.
    pub(crate) time: i64,
    /// The step's number.
    pub(crate) step: usize,
}

impl RangeVector {
    /// One series of `all` alone.
    pub(crate) fn of(all: &Self, series: &RawSeries) -> Self {
        Self { series: vec![series.clone()], range: all.range, reference: all.reference }
    }

    /// The rows of `function` over each series' window at each step; the metric's name stays.
    pub(crate) fn map(&self, steps: Steps, mut function: impl FnMut(Window<'_>) -> Option<f64>) -> Vec<Row> {
        let rows = self.series.iter().map(|series| {
            let (mut from, mut to) = (0, 0);
            let values = steps.times().enumerate().map(|(step, time)| {
                let end = self.reference.time(time);
                let start = end.saturating_sub(self.range);
                while series.samples.get(to).is_some_and(|(at, _)| *at <= end) {
                    to += 1;
                }
                while from < to && series.samples[from].0 <= start {
                    from += 1;
                }
                let samples = &series.samples[from..to];
                if samples.is_empty() { None } else { function(Window { samples, start, end, time, step }) }
            });
            Row { labels: Arc::clone(&series.labels), values: values.collect() }
        });
        rows.collect()
    }
}

impl Evaluator<'_> {
    /// The rows of an instant selector.
    pub(crate) fn select_instant(
        &self,
        selector: &VectorSelector,
        yields: Yield,
    ) -> Result<Vec<Row>, PromqlError> {
        let reference = self.reference(selector);
        let lookback = millis(self.options.lookback);
        let series = self.read(selector, reference, lookback)?;
        let mut rows = Vec::with_capacity(series.len());
        for series in series {
            self.budget.spend(self.steps.count)?;
            let mut next = 0;
            let values = self.steps.times().map(|step| {
                let time = reference.time(step);
                while series.samples.get(next).is_some_and(|(at, _)| *at <= time) {
                    next += 1;
                }
                let (at, value) = *series.samples.get(next.checked_sub(1)?)?;
                if at <= time.saturating_sub(lookback) || value.to_bits() == STALE_BITS {
                    return None;
                }
                Some(if yields == Yield::Time { at as f64 / 1000.0 } else { value })
            });
            let row = Row { labels: Arc::clone(&series.labels), values: values.collect() };
            if row.has_values() {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    /// Reads the samples of an argument that is a range vector.
    pub(crate) fn range_vector(&self, expr: &Expr) -> Result<RangeVector, PromqlError> {
        match strip_parens(expr) {
            Expr::MatrixSelector(matrix) => {
                let reference = self.reference(&matrix.vs);
                let range = millis(matrix.range);
                let mut series = self.read(&matrix.vs, reference, range)?;
                for series in &mut series {
                    series.samples.retain(|(_, value)| value.to_bits() != STALE_BITS);
                }
                self.budget.spend(self.steps.count.saturating_mul(series.len()))?;
                Ok(RangeVector { series, range, reference })
            }
            Expr::Subquery(subquery) => self.subquery(subquery),
            other => Err(PromqlError::BadData(format!("expected a range vector, got `{other}`"))),
        }
    }

    fn subquery(&self, subquery: &SubqueryExpr) -> Result<RangeVector, PromqlError> {
        let reference = Reference::new(subquery.at.as_ref(), subquery.offset.as_ref(), self.query);
        let range = millis(subquery.range);
        let step = millis(subquery.step.unwrap_or(self.options.subquery_step)).max(1);
        let first = reference.time(self.steps.start).saturating_sub(range);
        let last = reference.time(self.steps.end());
        // The first multiple of the step inside the window, whose left end is open.
        let start = first.div_euclid(step).saturating_add(1).saturating_mul(step);
        if start > last {
            return Ok(RangeVector { series: Vec::new(), range, reference });
        }
        let count = usize::try_from((last - start) / step).unwrap_or(usize::MAX).saturating_add(1);
        self.budget.spend(count)?;
        let inner = self.at_steps(Steps { start, step, count });
        let rows = inner.vector(&subquery.expr)?;
        self.budget.spend(self.steps.count.saturating_mul(rows.len()))?;
        let series = rows.into_iter().map(|row| RawSeries {
            labels: row.labels,
            samples: inner.steps.times().zip(row.values).filter_map(|(t, v)| Some((t, v?))).collect(),
        });
        Ok(RangeVector { series: series.collect(), range, reference })
    }

    pub(crate) fn reference(&self, selector: &VectorSelector) -> Reference {
        Reference::new(selector.at.as_ref(), selector.offset.as_ref(), self.query)
    }

    /// Samples of a selector in `(first - span, last]` over all steps.
    fn read(
        &self,
        selector: &VectorSelector,
        reference: Reference,
        span: i64,
    ) -> Result<Vec<RawSeries>, PromqlError> {
        const MILLI: i64 = 1_000_000;
        let matchers = matchers(selector)?;
        let first = reference.time(self.steps.start).saturating_sub(span).saturating_add(1);
        let last = reference.time(self.steps.end());
        let from = UnixNano(first.saturating_mul(MILLI));
        let to = UnixNano(last.saturating_mul(MILLI).saturating_add(MILLI - 1));
        let series = self.source.select(&matchers, from, to)?;
        self.budget.series(series.len())?;
        self.budget.count(series.iter().map(|series| series.samples.len()).sum())?;
        Ok(series)
    }
}

/// The conditions of a selector.
pub(crate) fn matchers(selector: &VectorSelector) -> Result<Vec<Matcher>, PromqlError> {
    let name = selector.name.iter().map(|name| Matcher::new(METRIC_NAME, MatchOp::Equal, name));
    let others = selector.matchers.matchers.iter().map(compile);
    name.chain(others).collect()
}

fn compile(parsed: &ParsedMatcher) -> Result<Matcher, PromqlError> {
    let op = match parsed.op {
        ParsedOp::Equal => MatchOp::Equal,
        ParsedOp::NotEqual => MatchOp::NotEqual,
        ParsedOp::Re(_) => MatchOp::Regex,
        ParsedOp::NotRe(_) => MatchOp::NotRegex,
    };
    Matcher::new(&parsed.name, op, &parsed.value)
}

/// The labels that the `=` matchers of a selector fix, for `absent`: each named once, the name left out.
pub(crate) fn fixed_labels(expr: &Expr) -> Labels {
    let selector = match strip_parens(expr) {
        Expr::VectorSelector(selector) => selector,
        Expr::MatrixSelector(matrix) => &matrix.vs,
        _ => return Labels::new(),
    };
    let matchers = &selector.matchers.matchers;
    let is_fixed = |matcher: &&ParsedMatcher| {
        matcher.name != METRIC_NAME
            && matcher.op == ParsedOp::Equal
            && matchers.iter().filter(|other| other.name == matcher.name).count() == 1
    };
    let fixed = matchers.iter().filter(is_fixed).filter(|matcher| !matcher.value.is_empty());
    fixed.map(|matcher| (matcher.name.clone(), matcher.value.clone())).collect()
}
