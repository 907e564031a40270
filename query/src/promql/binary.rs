//! Binary operators: arithmetic, comparison and sets, between scalars and vectors.

use std::collections::HashMap;
use std::sync::Arc;

use promql_parser::parser::token::{
    T_ADD, T_ATAN2, T_DIV, T_EQLC, T_GTE, T_GTR, T_LAND, T_LOR, T_LSS, T_LTE, T_LUNLESS, T_MOD, T_MUL, T_NEQ,
    T_POW, T_SUB, TokenId,
};
use promql_parser::parser::{BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality};

use super::eval::Evaluator;
use super::rows::{Row, Value, merge};
use super::{Labels, METRIC_NAME, PromqlError, labels};

pub(crate) fn eval(evaluator: &Evaluator<'_>, expr: &BinaryExpr) -> Result<Value, PromqlError> {
    let op = Operator { id: expr.op.id(), returns_bool: expr.return_bool() };
    let left = evaluator.eval(&expr.lhs)?;
    let right = evaluator.eval(&expr.rhs)?;
    let default = BinModifier::default();
    let modifier = expr.modifier.as_ref().unwrap_or(&default);
    match (left, right) {
        (Value::Scalar(left), Value::Scalar(right)) => {
            let values = left.into_iter().zip(right).map(|(l, r)| match op.apply(l, r) {
                Outcome::Number(value) => value,
                Outcome::Truth(truth) => f64::from(u8::from(truth)),
            });
            Ok(Value::Scalar(values.collect()))
        }
        (Value::Vector(rows), Value::Scalar(scalar)) => {
            op.with_scalar(rows, |value, step| (value, scalar[step]))
        }
        (Value::Scalar(scalar), Value::Vector(rows)) => {
            op.with_scalar(rows, |value, step| (scalar[step], value))
        }
        (Value::Vector(left), Value::Vector(right)) => {
            evaluator.budget.spend(left.len().max(right.len()).saturating_mul(evaluator.steps.count))?;
            let matching = Matching { modifier, steps: evaluator.steps.count };
            let rows = match op.id {
                T_LAND | T_LUNLESS => matching.filter(left, &right, op.id == T_LAND),
                T_LOR => matching.union(left, right)?,
                _ => matching.combine(op, &left, &right)?,
            };
            Ok(Value::Vector(rows))
        }
        _ => Err(PromqlError::BadData(
            "binary expression must contain only scalar and instant vector types".to_owned(),
        )),
    }
}

#[derive(Clone, Copy)]
struct Operator {
    id: TokenId,
    returns_bool: bool,
}

enum Outcome {
    Number(f64),
    Truth(bool),
}

impl Operator {
    fn apply(self, left: f64, right: f64) -> Outcome {
        match self.id {
            T_ADD => Outcome::Number(left + right),
            T_SUB => Outcome::Number(left - right),
            T_MUL => Outcome::Number(left * right),
            T_DIV => Outcome::Number(left / right),
            T_MOD => Outcome::Number(left % right),
            T_POW => Outcome::Number(left.powf(right)),
            T_ATAN2 => Outcome::Number(left.atan2(right)),
            T_EQLC => Outcome::Truth(left == right),
            T_NEQ => Outcome::Truth(left != right),
            T_GTR => Outcome::Truth(left > right),
            T_LSS => Outcome::Truth(left < right),
            T_GTE => Outcome::Truth(left >= right),
            T_LTE => Outcome::Truth(left <= right),
            _ => Outcome::Number(f64::NAN),
        }
    }

    fn drops_name(self) -> bool {
        self.returns_bool || !matches!(self.id, T_EQLC | T_NEQ | T_GTR | T_LSS | T_GTE | T_LTE)
    }

    /// The result's value, or none where a comparison filters it; `kept` is what passes a comparison.
    fn value(self, left: f64, right: f64, kept: f64) -> Option<f64> {
        match self.apply(left, right) {
            Outcome::Number(value) => Some(value),
            Outcome::Truth(truth) if self.returns_bool => Some(f64::from(u8::from(truth))),
            Outcome::Truth(truth) => truth.then_some(kept),
        }
    }

    fn with_scalar(
        self,
        rows: Vec<Row>,
        operands: impl Fn(f64, usize) -> (f64, f64),
    ) -> Result<Value, PromqlError> {
        let rows = rows.into_iter().map(|row| {
            let values = row.values.iter().enumerate().map(|(step, value)| {
                let value = (*value)?;
                let (left, right) = operands(value, step);
                self.value(left, right, value)
            });
            let values = values.collect();
            let labels =
                if self.drops_name() { Arc::new(labels::without_name(&row.labels)) } else { row.labels };
            Row { labels, values }
        });
        merge(rows.collect()).map(Value::Vector)
    }
}

/// How rows of two vectors find each other.
struct Matching<'m> {
    modifier: &'m BinModifier,
    steps: usize,
}

/// Numbers for match groups: rows with the same number match.
#[derive(Default)]
struct Groups {
    numbers: HashMap<Labels, usize>,
}

impl Groups {
    fn number(&mut self, labels: Labels) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(labels).or_insert(next)
    }
}

impl Matching<'_> {
    /// The labels that have to be equal.
    fn group_labels(&self, of: &Labels) -> Labels {
        match &self.modifier.matching {
            Some(LabelModifier::Include(names)) => labels::keep(of, &names.labels),
            Some(LabelModifier::Exclude(names)) => labels::drop_named(of, &names.labels),
            None => labels::without_name(of),
        }
    }

    fn numbers(&self, groups: &mut Groups, rows: &[Row]) -> Vec<usize> {
        rows.iter().map(|row| groups.number(self.group_labels(&row.labels))).collect()
    }

    /// `presence[group][step]`: whether a row of the group has a value.
    fn presence(&self, numbers: &[usize], rows: &[Row], groups: usize) -> Vec<Vec<bool>> {
        let mut presence = vec![vec![false; self.steps]; groups];
        for (row, number) in rows.iter().zip(numbers) {
            for (seen, value) in presence[*number].iter_mut().zip(&row.values) {
                *seen |= value.is_some();
            }
        }
        presence
    }

    /// `and` (`keep_present`) and `unless`.
    fn filter(&self, mut left: Vec<Row>, right: &[Row], keep_present: bool) -> Vec<Row> {
        let mut groups = Groups::default();
        let left_numbers = self.numbers(&mut groups, &left);
        let right_numbers = self.numbers(&mut groups, right);
        let presence = self.presence(&right_numbers, right, groups.numbers.len());
        for (row, number) in left.iter_mut().zip(left_numbers) {
            for (value, present) in row.values.iter_mut().zip(&presence[number]) {
                if *present != keep_present {
                    *value = None;
                }
            }
        }
        left.retain(Row::has_values);
        left
    }

    /// `or`
    fn union(&self, left: Vec<Row>, right: Vec<Row>) -> Result<Vec<Row>, PromqlError> {
        let mut groups = Groups::default();
        let left_numbers = self.numbers(&mut groups, &left);
        let right_numbers = self.numbers(&mut groups, &right);
        let presence = self.presence(&left_numbers, &left, groups.numbers.len());
        let mut rows = left;
        for (mut row, number) in right.into_iter().zip(right_numbers) {
            for (value, present) in row.values.iter_mut().zip(&presence[number]) {
                if *present {
                    *value = None;
                }
            }
            if row.has_values() {
                rows.push(row);
            }
        }
        merge(rows)
    }

    /// Arithmetic and comparison.
    fn combine(&self, op: Operator, left: &[Row], right: &[Row]) -> Result<Vec<Row>, PromqlError> {
        let is_swapped = matches!(self.modifier.card, VectorMatchCardinality::OneToMany(_));
        let (many, one) = if is_swapped { (right, left) } else { (left, right) };
        let mut groups = Groups::default();
        let many_numbers = self.numbers(&mut groups, many);
        let one_numbers = self.numbers(&mut groups, one);
        let mut results = Results::default();
        let mut one_at: Vec<Option<usize>> = vec![None; groups.numbers.len()];
        let mut is_matched = vec![false; groups.numbers.len()];
        for step in 0..self.steps {
            if many.iter().all(|row| row.values[step].is_none()) {
                continue;
            }
            one_at.fill(None);
            is_matched.fill(false);
            self.place_one_side(step, one, &one_numbers, &mut one_at, is_swapped)?;
            for (place, row) in many.iter().enumerate() {
                let (Some(many_value), Some(one_place)) = (row.values[step], one_at[many_numbers[place]])
                else {
                    continue;
                };
                let Some(one_value) = one[one_place].values[step] else { continue };
                let (l, r) = if is_swapped { (one_value, many_value) } else { (many_value, one_value) };
                if self.modifier.card == VectorMatchCardinality::OneToOne
                    && std::mem::replace(&mut is_matched[many_numbers[place]], true)
                {
                    return Err(PromqlError::Execution(
                        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                            .to_owned(),
                    ));
                }
                let result = results.place((place, one_place), self.steps, || {
                    self.result_labels(op, &row.labels, &one[one_place].labels)
                });
                results.put(result, step, op.value(l, r, l))?;
            }
        }
        Ok(results.rows.into_iter().filter(Row::has_values).collect())
    }

    /// Finds the one row of each match group; two are an error.
    fn place_one_side(
        &self,
        step: usize,
        one: &[Row],
        numbers: &[usize],
        one_at: &mut [Option<usize>],
        is_swapped: bool,
    ) -> Result<(), PromqlError> {
        for (place, row) in one.iter().enumerate() {
            if row.values[step].is_none() {
                continue;
            }
            let Some(other) = one_at[numbers[place]].replace(place) else { continue };
            let mut pair = [labels::text(&row.labels), labels::text(&one[other].labels)];
            pair.sort();
            return Err(PromqlError::Execution(format!(
                "found duplicate series for the match group {} on the {} hand-side of the operation: [{}, {}];\
                 many-to-many matching not allowed: matching labels must be unique on one side",
                labels::text(&self.group_labels(&row.labels)),
                if is_swapped { "left" } else { "right" },
                pair[0],
                pair[1],
            )));
        }
        Ok(())
    }

    fn result_labels(&self, op: Operator, many: &Labels, one: &Labels) -> Labels {
        let mut result = many.clone();
        if op.drops_name() {
            result.remove(METRIC_NAME);
        }
        if self.modifier.card == VectorMatchCardinality::OneToOne {
            match &self.modifier.matching {
                Some(LabelModifier::Include(names)) => result = labels::keep(&result, &names.labels),
                Some(LabelModifier::Exclude(names)) => {
                    names.labels.iter().for_each(|name| drop(result.remove(name)));
                }
                None => {}
            }
        }
        for name in self.modifier.card.labels().iter().flat_map(|names| &names.labels) {
            labels::set(&mut result, name, one.get(name).cloned().unwrap_or_default());
        }
        result
    }
}

/// Result rows, found by the pair of rows they come from.
#[derive(Default)]
struct Results {
    by_pair: HashMap<(usize, usize), usize>,
    by_labels: HashMap<Labels, usize>,
    rows: Vec<Row>,
    /// The last step, from 1, at which a row was given a value or filtered.
    claimed: Vec<usize>,
}

impl Results {
    fn place(&mut self, pair: (usize, usize), steps: usize, labels: impl FnOnce() -> Labels) -> usize {
        if let Some(place) = self.by_pair.get(&pair) {
            return *place;
        }
        let labels = labels();
        let place = *self.by_labels.entry(labels.clone()).or_insert(self.rows.len());
        if place == self.rows.len() {
            self.rows.push(Row::new(labels, vec![None; steps]));
            self.claimed.push(0);
        }
        self.by_pair.insert(pair, place);
        place
    }

    fn put(&mut self, place: usize, step: usize, value: Option<f64>) -> Result<(), PromqlError> {
        if std::mem::replace(&mut self.claimed[place], step + 1) == step + 1 {
            return Err(PromqlError::Execution(
                "multiple matches for labels: grouping labels must ensure unique matches".to_owned(),
            ));
        }
        self.rows[place].values[step] = value;
        Ok(())
    }
}
