//! The evaluator: one node of the tree at a time, all steps of the node at once.

use promql_parser::parser::{Expr, UnaryExpr};
use query_api::{Sample, Series};

use super::parse::strip_parens;
use super::rows::{Budget, Row, Steps, Value, merge};
use super::selector::Yield;
use super::{Options, PromqlError, SeriesSource, binary, labels, millis_to_seconds};

/// What evaluation needs: samples, limits, and the steps of this part of the query.
pub(crate) struct Evaluator<'a> {
    pub(crate) source: &'a dyn SeriesSource,
    pub(crate) options: &'a Options,
    pub(crate) budget: &'a Budget<'a>,
    pub(crate) steps: Steps,
    /// First and last instant of the whole query: `@ start()` and `@ end()`.
    pub(crate) query: (i64, i64),
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(
        source: &'a dyn SeriesSource,
        options: &'a Options,
        budget: &'a Budget<'a>,
        steps: Steps,
    ) -> Self {
        Self { source, options, budget, steps, query: (steps.start, steps.end()) }
    }

    /// The same query at other instants, for a subquery.
    pub(crate) fn at_steps(&self, steps: Steps) -> Self {
        Self { source: self.source, options: self.options, budget: self.budget, steps, query: self.query }
    }

    /// The value of `expr` at every step.
    pub(crate) fn eval(&self, expr: &Expr) -> Result<Value, PromqlError> {
        match expr {
            Expr::Paren(paren) => self.eval(&paren.expr),
            Expr::NumberLiteral(number) => Ok(Value::Scalar(vec![number.val; self.steps.count])),
            Expr::StringLiteral(text) => Ok(Value::Text(text.val.clone())),
            Expr::VectorSelector(selector) => self.select_instant(selector, Yield::Value).map(Value::Vector),
            Expr::Unary(unary) => self.negate(unary),
            Expr::Binary(expr) => binary::eval(self, expr),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate).map(Value::Vector),
            Expr::Call(call) => self.call(call),
            Expr::MatrixSelector(_) | Expr::Subquery(_) | Expr::Extension(_) => {
                Err(PromqlError::BadData(format!("a range vector cannot stand here: `{expr}`")))
            }
        }
    }

    /// The value of an operand that has to be a vector.
    pub(crate) fn vector(&self, expr: &Expr) -> Result<Vec<Row>, PromqlError> {
        match self.eval(expr)? {
            Value::Vector(rows) => Ok(rows),
            Value::Scalar(_) | Value::Text(_) => {
                Err(PromqlError::BadData(format!("expected an instant vector, got `{expr}`")))
            }
        }
    }

    /// The value of an operand that has to be a scalar.
    pub(crate) fn scalar(&self, expr: &Expr) -> Result<Vec<f64>, PromqlError> {
        match self.eval(expr)? {
            Value::Scalar(values) => Ok(values),
            Value::Vector(_) | Value::Text(_) => {
                Err(PromqlError::BadData(format!("expected a scalar, got `{expr}`")))
            }
        }
    }

    /// The text of an operand that has to be a string literal.
    pub(crate) fn text<'e>(&self, expr: &'e Expr) -> Result<&'e str, PromqlError> {
        match strip_parens(expr) {
            Expr::StringLiteral(text) => Ok(&text.val),
            other => Err(PromqlError::BadData(format!("expected a string, got `{other}`"))),
        }
    }

    fn negate(&self, unary: &UnaryExpr) -> Result<Value, PromqlError> {
        Ok(match self.eval(&unary.expr)? {
            Value::Scalar(values) => Value::Scalar(values.into_iter().map(|value| -value).collect()),
            Value::Vector(rows) => Value::Vector(map_rows(rows, |value, _| Some(-value))?),
            Value::Text(_) => return Err(PromqlError::BadData("a string cannot be negated".to_owned())),
        })
    }

    /// The samples of a range vector as they are, for an instant query of `metric[5m]`.
    pub(crate) fn raw_matrix(&self, expr: &Expr) -> Result<Vec<Series>, PromqlError> {
        let vector = self.range_vector(expr)?;
        self.budget.answer(vector.series.iter().map(|series| (&*series.labels, series.samples.len())))?;
        let mut found: Vec<Series> = Vec::new();
        for series in &vector.series {
            let mut values = Vec::new();
            let one = super::selector::RangeVector::of(&vector, series);
            one.map(self.steps, |window| {
                values.extend(
                    window.samples.iter().map(|(time, value)| Sample::new(millis_to_seconds(*time), *value)),
                );
                None
            });
            if !values.is_empty() {
                found.push(Series { metric: (*series.labels).clone(), value: None, values });
            }
        }
        found.sort_by(|a, b| a.metric.cmp(&b.metric));
        Ok(found)
    }
}

/// Every value changed, the metric's name dropped. The second argument is the step's number.
pub(crate) fn map_rows(
    rows: Vec<Row>,
    mut function: impl FnMut(f64, usize) -> Option<f64>,
) -> Result<Vec<Row>, PromqlError> {
    let rows = rows.into_iter().map(|row| {
        let values = row.values.into_iter().enumerate();
        let values = values.map(|(step, value)| value.and_then(|value| function(value, step))).collect();
        Row::new(labels::without_name(&row.labels), values)
    });
    merge(rows.collect())
}
