//! Aggregation operators: `sum by (job) (…)`, `topk(3, …)`, `quantile without (le) (0.9, …)`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use promql_parser::parser::token::{
    T_AVG, T_BOTTOMK, T_COUNT, T_COUNT_VALUES, T_GROUP, T_MAX, T_MIN, T_QUANTILE, T_STDDEV, T_STDVAR, T_SUM,
    T_TOPK, TokenId,
};
use promql_parser::parser::{AggregateExpr, Expr, LabelModifier};

use super::eval::Evaluator;
use super::rows::Row;
use super::{Labels, PromqlError, labels, sum};

const SUPPORTED: &str =
    "sum, avg, min, max, count, group, stddev, stdvar, quantile, topk, bottomk, count_values";

/// Whether the operator picks series instead of making one of them.
pub(crate) fn is_selection(op: TokenId) -> bool {
    matches!(op, T_TOPK | T_BOTTOMK)
}

pub(crate) fn check(expr: &AggregateExpr) -> Result<(), PromqlError> {
    match expr.op.id() {
        T_SUM | T_AVG | T_MIN | T_MAX | T_COUNT | T_GROUP | T_STDDEV | T_STDVAR | T_QUANTILE | T_TOPK
        | T_BOTTOMK | T_COUNT_VALUES => Ok(()),
        _ => Err(PromqlError::Unsupported(format!(
            "aggregation `{}` is not supported; supported are {SUPPORTED}",
            expr.op
        ))),
    }
}

/// Rows that are aggregated together.
struct Group<'r> {
    labels: Labels,
    rows: Vec<&'r Row>,
}

impl Group<'_> {
    fn values_at(&self, step: usize) -> impl Iterator<Item = f64> {
        self.rows.iter().filter_map(move |row| row.values[step])
    }
}

impl Evaluator<'_> {
    pub(crate) fn aggregate(&self, expr: &AggregateExpr) -> Result<Vec<Row>, PromqlError> {
        let op = expr.op.id();
        match op {
            T_COUNT_VALUES => {
                let label = param(expr)?;
                let rows = self.vector(&expr.expr)?;
                self.count_values(self.text(label)?, groups(&rows, expr.modifier.as_ref()))
            }
            T_TOPK | T_BOTTOMK => {
                let counts = self.counts(param(expr)?)?;
                let rows = self.vector(&expr.expr)?;
                Ok(self.select_best(op == T_TOPK, &counts, &groups(&rows, expr.modifier.as_ref())))
            }
            T_QUANTILE => {
                let quantiles = self.scalar(param(expr)?)?;
                let rows = self.vector(&expr.expr)?;
                Ok(self.fold(groups(&rows, expr.modifier.as_ref()), |step, values| {
                    sum::quantile(quantiles[step], values)
                }))
            }
            _ => {
                let rows = self.vector(&expr.expr)?;
                Ok(self.fold(groups(&rows, expr.modifier.as_ref()), |_, values| combine(op, values)))
            }
        }
    }

    /// One row a group; `combine` sees the group's values at a step, never none.
    fn fold(&self, groups: Vec<Group<'_>>, mut combine: impl FnMut(usize, &mut [f64]) -> f64) -> Vec<Row> {
        let mut scratch = Vec::new();
        let rows = groups.into_iter().map(|group| {
            let values = (0..self.steps.count).map(|step| {
                scratch.clear();
                scratch.extend(group.values_at(step));
                if scratch.is_empty() { None } else { Some(combine(step, &mut scratch)) }
            });
            let values = values.collect();
            Row::new(group.labels, values)
        });
        rows.collect()
    }

    /// How many series to pick at each step.
    fn counts(&self, param: &Expr) -> Result<Vec<usize>, PromqlError> {
        let to_count = |value: f64| {
            if value.is_nan() {
                return Err(PromqlError::Execution("Parameter value is NaN".to_owned()));
            }
            if value >= i64::MAX as f64 {
                return Err(PromqlError::Execution(format!("Scalar value {value} overflows int64")));
            }
            Ok(if value < 1.0 { 0 } else { value as usize })
        };
        self.scalar(param)?.into_iter().map(to_count).collect()
    }

    /// The rows that are among the best of their group at any step, with their values at those steps;
    /// ordered by group, best first at the last step that has values.
    fn select_best(&self, is_top: bool, counts: &[usize], groups: &[Group<'_>]) -> Vec<Row> {
        let mut selected = Vec::new();
        for group in groups {
            let mut kept: Vec<Vec<Option<f64>>> = vec![vec![None; self.steps.count]; group.rows.len()];
            let mut order: Vec<usize> = Vec::new();
            for (step, count) in counts.iter().enumerate() {
                let present = group.rows.iter().enumerate();
                let mut ranked: Vec<(usize, f64)> =
                    present.filter_map(|(row, r)| Some((row, r.values[step]?))).collect();
                ranked.sort_by(|a, b| rank(is_top, a.1, b.1));
                ranked.truncate(*count);
                ranked.iter().for_each(|(row, value)| kept[*row][step] = Some(*value));
                if !ranked.is_empty() {
                    order = ranked.into_iter().map(|(row, _)| row).collect();
                }
            }
            let others = (0..group.rows.len()).filter(|row| !order.contains(row)).collect::<Vec<_>>();
            for row in order.into_iter().chain(others) {
                let values = std::mem::take(&mut kept[row]);
                let row = Row { labels: Arc::clone(&group.rows[row].labels), values };
                if row.has_values() {
                    selected.push(row);
                }
            }
        }
        selected
    }

    fn count_values(&self, label: &str, groups: Vec<Group<'_>>) -> Result<Vec<Row>, PromqlError> {
        if label.is_empty() {
            return Err(PromqlError::BadData(format!("invalid label name {label:?}")));
        }
        // The label may overwrite one of the group's: groups that become equal are counted together.
        let mut counts: BTreeMap<Labels, Vec<Option<f64>>> = BTreeMap::new();
        for group in groups {
            for step in 0..self.steps.count {
                for value in group.values_at(step) {
                    let mut labels = group.labels.clone();
                    labels.insert(label.to_owned(), query_api::Sample::new(0.0, value).1);
                    if !counts.contains_key(&labels) {
                        self.budget.spend(self.steps.count)?;
                    }
                    let values = counts.entry(labels).or_insert_with(|| vec![None; self.steps.count]);
                    values[step] = Some(values[step].unwrap_or(0.0) + 1.0);
                }
            }
        }
        Ok(counts.into_iter().map(|(labels, values)| Row::new(labels, values)).collect())
    }
}

fn param(expr: &AggregateExpr) -> Result<&Expr, PromqlError> {
    let missing = || PromqlError::BadData("an aggregation lacks its parameter".to_owned());
    expr.param.as_deref().ok_or_else(missing)
}

/// Best first, NaN last.
fn rank(is_top: bool, a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) if is_top => b.total_cmp(&a),
        (false, false) => a.total_cmp(&b),
    }
}

fn combine(op: TokenId, values: &[f64]) -> f64 {
    let all = values.iter().copied();
    match op {
        T_SUM => sum::sum(all),
        T_AVG => sum::mean(all),
        T_MIN => extreme(all, |a, b| a < b),
        T_MAX => extreme(all, |a, b| a > b),
        T_COUNT => values.len() as f64,
        T_STDVAR => sum::variance(all),
        T_STDDEV => sum::variance(all).sqrt(),
        // `group`: `check` lets nothing else through.
        _ => 1.0,
    }
}

/// The best of the values that are numbers; NaN when none is.
pub(crate) fn extreme(values: impl Iterator<Item = f64>, is_better: fn(f64, f64) -> bool) -> f64 {
    values.fold(f64::NAN, |best, value| if best.is_nan() || is_better(value, best) { value } else { best })
}

/// Groups in the order in which they appear.
fn groups<'r>(rows: &'r [Row], modifier: Option<&LabelModifier>) -> Vec<Group<'r>> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<Group<'r>> = Vec::new();
    for row in rows {
        let labels = match modifier {
            None => Labels::new(),
            Some(LabelModifier::Include(names)) => labels::keep(&row.labels, &names.labels),
            Some(LabelModifier::Exclude(names)) => labels::drop_named(&row.labels, &names.labels),
        };
        let place = *places.entry(labels.clone()).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Group { labels, rows: Vec::new() });
        }
        groups[place].rows.push(row);
    }
    groups
}
