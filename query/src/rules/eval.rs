//! One rule's expression at one instant, and the alerts that it makes.

use std::collections::BTreeMap;

use dashboards::rule::{Lang, LogExpr, Rule, RuleGroup};
use model::{TimeRange, UnixNano};
use query_api::MetricsData;

use super::active::Holding;
use super::template::{self, Data};
use super::{Cancel, EvalSource};
use crate::promql::{self, Labels, METRIC_NAME, Options};

/// The label that names the alert.
pub(crate) const ALERT_NAME: &str = "alertname";

/// What one evaluation of a rule yields.
#[derive(Debug, Default)]
pub(crate) struct Evaluated {
    pub(crate) holding: Vec<Holding>,
    /// The largest value, 0 for none.
    pub(crate) peak: f64,
    /// Templates that could not be filled in.
    pub(crate) template_error: Option<String>,
}

/// Evaluates an alert rule.
pub(crate) fn evaluate(
    rule: &Rule,
    group: &RuleGroup,
    now: UnixNano,
    source: &dyn EvalSource,
    cancel: &Cancel,
) -> Result<Evaluated, String> {
    let at = now.minus(group.query_offset.unwrap_or_default());
    let samples = match rule.lang {
        Lang::Promql => promql_samples(&rule.expr, at, source, cancel)?,
        Lang::Logs => log_samples(&rule.expr, at, source)?,
    };
    if group.limit > 0 && samples.len() > group.limit {
        return Err(format!("exceeded limit of {} with {} alerts", group.limit, samples.len()));
    }
    let mut evaluated = Evaluated::default();
    let mut seen = BTreeMap::new();
    for (labels, value) in samples {
        let holding = alert_of(rule, group, &labels, value, &mut evaluated.template_error);
        if seen.insert(holding.labels.clone(), ()).is_some() {
            return Err(
                "vector contains metrics with the same labelset after applying alert labels".to_owned()
            );
        }
        if evaluated.holding.is_empty() || value > evaluated.peak {
            evaluated.peak = value;
        }
        evaluated.holding.push(holding);
    }
    Ok(evaluated)
}

fn promql_samples(
    expr: &str,
    at: UnixNano,
    source: &dyn EvalSource,
    cancel: &Cancel,
) -> Result<Vec<(Labels, f64)>, String> {
    let options = Options { cancelled: Some(Cancel::clone(cancel)), ..Options::default() };
    let answer = promql::instant(&*source.series(), expr, at, &options).map_err(|error| error.to_string())?;
    match answer {
        MetricsData::Vector(series) => {
            let samples = series.into_iter().filter_map(|mut series| {
                series.metric.remove(METRIC_NAME);
                Some((series.metric, series.value?.number()))
            });
            Ok(samples.collect())
        }
        MetricsData::Scalar(sample) => Ok(vec![(Labels::new(), sample.number())]),
        MetricsData::Matrix(_) | MetricsData::String(_) => {
            Err("rule result is not a vector or scalar".to_owned())
        }
    }
}

fn log_samples(expr: &str, at: UnixNano, source: &dyn EvalSource) -> Result<Vec<(Labels, f64)>, String> {
    let expr = LogExpr::parse(expr)?;
    let range = TimeRange { from: at.minus(expr.over).plus(1), to: at };
    let mut counts = source.logs().count(&expr.search, &expr.by, range)?;
    if expr.by.is_empty() && counts.is_empty() {
        counts.push((Labels::new(), 0));
    }
    let samples = counts.into_iter().map(|(labels, count)| (labels, count as f64));
    Ok(samples.filter(|(_, count)| expr.comparison.holds(*count, expr.threshold)).collect())
}

/// The alert of one label set. A template that fails is shown in its place.
fn alert_of(
    rule: &Rule,
    group: &RuleGroup,
    found: &Labels,
    value: f64,
    template_error: &mut Option<String>,
) -> Holding {
    let data = Data { labels: found, value };
    let mut fill = |name: &str, text: &str| {
        template::expand(text, &data).unwrap_or_else(|error| {
            let error = format!("error expanding template `{name}`: {error}");
            let shown = format!("<{error}>");
            template_error.get_or_insert(error);
            shown
        })
    };
    let mut labels = found.clone();
    for (name, text) in
        group.labels.iter().filter(|(name, _)| !rule.labels.contains_key(*name)).chain(&rule.labels)
    {
        labels.insert(name.clone(), fill(name, text));
    }
    labels.insert(ALERT_NAME.to_owned(), rule.name.clone());
    labels.retain(|_, value| !value.is_empty());
    let annotations = rule.annotations.iter().map(|(name, text)| (name.clone(), fill(name, text))).collect();
    Holding { labels, annotations, value }
}
