//! Functions: which are supported, and what each does to its arguments.

mod histogram;
mod label;
mod math;
mod over_time;
mod rate;

use promql_parser::parser::{Call, Expr};

use super::eval::{Evaluator, map_rows};
use super::parse::strip_parens;
use super::rows::{Row, Value, merge};
use super::selector::{Window, Yield, fixed_labels};
use super::{Labels, PromqlError, labels, sum};

/// Every function that is evaluated, in order of name.
pub const SUPPORTED: &[&str] = &[
    "abs",
    "absent",
    "absent_over_time",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "avg_over_time",
    "ceil",
    "changes",
    "clamp",
    "clamp_max",
    "clamp_min",
    "cos",
    "cosh",
    "count_over_time",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "deg",
    "delta",
    "deriv",
    "exp",
    "first_over_time",
    "floor",
    "histogram_quantile",
    "hour",
    "idelta",
    "increase",
    "irate",
    "label_join",
    "label_replace",
    "last_over_time",
    "ln",
    "log10",
    "log2",
    "mad_over_time",
    "max_over_time",
    "min_over_time",
    "minute",
    "month",
    "pi",
    "predict_linear",
    "present_over_time",
    "quantile_over_time",
    "rad",
    "rate",
    "resets",
    "round",
    "scalar",
    "sgn",
    "sin",
    "sinh",
    "sort",
    "sort_by_label",
    "sort_by_label_desc",
    "sort_desc",
    "sqrt",
    "stddev_over_time",
    "stdvar_over_time",
    "sum_over_time",
    "tan",
    "tanh",
    "time",
    "timestamp",
    "vector",
    "year",
];

/// Whether a call can be evaluated; else names the nearest function that can.
pub(crate) fn check(call: &Call) -> Result<(), PromqlError> {
    let name = call.func.name;
    if SUPPORTED.binary_search(&name).is_ok() {
        return Ok(());
    }
    Err(PromqlError::Unsupported(format!(
        "function `{name}` is not supported; supported are {}",
        SUPPORTED.join(", ")
    )))
}

impl Evaluator<'_> {
    pub(crate) fn call(&self, call: &Call) -> Result<Value, PromqlError> {
        let name = call.func.name;
        match name {
            "time" => return Ok(Value::Scalar(self.step_seconds())),
            "pi" => return Ok(Value::Scalar(vec![std::f64::consts::PI; self.steps.count])),
            "scalar" => return Ok(Value::Scalar(self.to_scalar(&self.vector(argument(call, 0)?)?))),
            _ => {}
        }
        let rows = if let Some(function) = over_time::function(name) {
            self.over_range(call, 0, over_time::keeps_name(name), function)?
        } else if let Some(function) = math::function(name) {
            map_rows(self.vector(argument(call, 0)?)?, |value, _| Some(function(value)))?
        } else if let Some(part) = math::calendar(name) {
            self.calendar(call, part)?
        } else {
            self.special(call)?
        };
        Ok(Value::Vector(rows))
    }

    /// Functions that are one of a kind.
    fn special(&self, call: &Call) -> Result<Vec<Row>, PromqlError> {
        match call.func.name {
            "rate" => self.over_range(call, 0, false, |w, range| rate::extrapolated(w, range, true, true)),
            "increase" => {
                self.over_range(call, 0, false, |w, range| rate::extrapolated(w, range, true, false))
            }
            "delta" => self.over_range(call, 0, false, |w, range| rate::extrapolated(w, range, false, false)),
            "quantile_over_time" => {
                let quantiles = self.scalar(argument(call, 0)?)?;
                self.over_range(call, 1, false, |window, _| {
                    let mut values: Vec<f64> = window.samples.iter().map(|(_, value)| *value).collect();
                    Some(sum::quantile(quantiles[window.step], &mut values))
                })
            }
            "predict_linear" => {
                let seconds = self.scalar(argument(call, 1)?)?;
                self.over_range(call, 0, false, |window, _| {
                    let (slope, intercept) = rate::regression(window.samples, window.time)?;
                    Some(slope * seconds[window.step] + intercept)
                })
            }
            "absent_over_time" => {
                let argument = argument(call, 0)?;
                let rows = self.range_vector(argument)?.map(self.steps, |_| Some(1.0));
                Ok(self.absent(&rows, fixed_labels(argument)))
            }
            "absent" => {
                let argument = argument(call, 0)?;
                Ok(self.absent(&self.vector(argument)?, fixed_labels(argument)))
            }
            "vector" => {
                let values = self.scalar(argument(call, 0)?)?;
                Ok(vec![Row::new(Labels::new(), values.into_iter().map(Some).collect())])
            }
            "timestamp" => self.timestamp(argument(call, 0)?),
            "round" => self.round(call),
            "clamp" | "clamp_min" | "clamp_max" => self.clamp(call),
            "sort" | "sort_desc" => self.sort(call),
            "sort_by_label" | "sort_by_label_desc" => self.sort_by_label(call),
            "label_replace" => self.label_replace(call),
            "label_join" => self.label_join(call),
            "histogram_quantile" => self.histogram_quantile(call),
            name => Err(PromqlError::Unsupported(format!("function `{name}` is not supported"))),
        }
    }

    fn step_seconds(&self) -> Vec<f64> {
        self.steps.times().map(|time| time as f64 / 1000.0).collect()
    }

    /// A function over each window of the range vector that is argument `index`; its second argument is
    /// the range in milliseconds.
    fn over_range(
        &self,
        call: &Call,
        index: usize,
        keeps_name: bool,
        function: impl Fn(Window<'_>, i64) -> Option<f64>,
    ) -> Result<Vec<Row>, PromqlError> {
        let vector = self.range_vector(argument(call, index)?)?;
        let range = vector.range;
        let rows = vector.map(self.steps, |window| function(window, range));
        let rows = rows.into_iter().filter(Row::has_values);
        if keeps_name {
            return Ok(rows.collect());
        }
        merge(rows.map(|row| Row::new(labels::without_name(&row.labels), row.values)).collect())
    }

    /// The value of the only series that has one, NaN at steps with none or several.
    fn to_scalar(&self, rows: &[Row]) -> Vec<f64> {
        let at_step = |step: usize| {
            let mut values = rows.iter().filter_map(|row| row.values[step]);
            match (values.next(), values.next()) {
                (Some(value), None) => value,
                _ => f64::NAN,
            }
        };
        (0..self.steps.count).map(at_step).collect()
    }

    fn absent(&self, rows: &[Row], labels: Labels) -> Vec<Row> {
        let is_absent = |step: usize| rows.iter().all(|row| row.values[step].is_none());
        let values = (0..self.steps.count).map(|step| is_absent(step).then_some(1.0)).collect();
        let row = Row::new(labels, values);
        if row.has_values() { vec![row] } else { Vec::new() }
    }

    fn timestamp(&self, argument: &Expr) -> Result<Vec<Row>, PromqlError> {
        if let Expr::VectorSelector(selector) = strip_parens(argument) {
            return map_rows(self.select_instant(selector, Yield::Time)?, |time, _| Some(time));
        }
        let times = self.step_seconds();
        map_rows(self.vector(argument)?, |_, step| Some(times[step]))
    }

    fn calendar(&self, call: &Call, part: fn(f64) -> f64) -> Result<Vec<Row>, PromqlError> {
        match call.args.args.first() {
            Some(argument) => map_rows(self.vector(argument)?, |value, _| Some(part(value))),
            None => {
                let values = self.step_seconds().into_iter().map(|time| Some(part(time)));
                Ok(vec![Row::new(Labels::new(), values.collect())])
            }
        }
    }

    fn round(&self, call: &Call) -> Result<Vec<Row>, PromqlError> {
        let rows = self.vector(argument(call, 0)?)?;
        let nearest = match call.args.args.get(1) {
            Some(nearest) => self.scalar(nearest)?,
            None => vec![1.0; self.steps.count],
        };
        map_rows(rows, |value, step| {
            let inverse = 1.0 / nearest[step];
            Some((value * inverse + 0.5).floor() / inverse)
        })
    }

    fn clamp(&self, call: &Call) -> Result<Vec<Row>, PromqlError> {
        let rows = self.vector(argument(call, 0)?)?;
        let bound = |index| self.scalar(argument(call, index)?);
        let infinite = |value| Ok(vec![value; self.steps.count]);
        let (low, high) = match call.func.name {
            "clamp_min" => (bound(1)?, infinite(f64::INFINITY)?),
            "clamp_max" => (infinite(f64::NEG_INFINITY)?, bound(1)?),
            _ => (bound(1)?, bound(2)?),
        };
        map_rows(rows, |value, step| {
            let (low, high) = (low[step], high[step]);
            if high < low {
                return None;
            }
            let is_nan = value.is_nan() || low.is_nan() || high.is_nan();
            Some(if is_nan { f64::NAN } else { value.max(low).min(high) })
        })
    }

    /// Orders an instant vector by value, NaN last; a range query has no use for the order.
    fn sort(&self, call: &Call) -> Result<Vec<Row>, PromqlError> {
        let mut rows = self.vector(argument(call, 0)?)?;
        let is_descending = call.func.name == "sort_desc";
        rows.retain(Row::has_values);
        rows.sort_by(|a, b| {
            let (a, b) = (a.values[0].unwrap_or(f64::NAN), b.values[0].unwrap_or(f64::NAN));
            match (a.is_nan(), b.is_nan()) {
                (true, _) | (_, true) => a.is_nan().cmp(&b.is_nan()),
                _ if is_descending => b.total_cmp(&a),
                _ => a.total_cmp(&b),
            }
        });
        Ok(rows)
    }
}

/// Argument `index` of a call. The grammar has checked the count.
fn argument(call: &Call, index: usize) -> Result<&Expr, PromqlError> {
    call.args.args.get(index).map(Box::as_ref).ok_or_else(|| {
        PromqlError::BadData(format!(
            "expected at least {} argument(s) in call to '{}'",
            index + 1,
            call.func.name
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_functions_is_in_order_so_that_it_can_be_searched() {
        assert!(SUPPORTED.is_sorted());
    }
}
