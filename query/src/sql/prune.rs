//! What the filters of a statement say about where its rows can be: a time range, and ids.
//!
//! Invariant: only what is certain is used. A filter that is not understood excludes nothing; DataFusion
//! applies every filter again to the rows that are read.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, Operator, TryCast};
use model::ids::TRACE_ID;
use model::{Signal, TimeRange, UnixNano};
use storage::schema::time_column;

/// Where rows can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// No row outside is wanted.
    pub(super) time: TimeRange,
    /// Of each of these a row carries at least one term (`kind=value`).
    pub(super) terms: Vec<Vec<String>>,
}

impl Wanted {
    pub(super) fn of(signal: Signal, filters: &[Expr]) -> Self {
        let mut wanted = Self { time: TimeRange::ALL, terms: Vec::new() };
        for filter in filters.iter().flat_map(split_conjunction) {
            if let Some(time) = times(filter, time_column(signal)) {
                wanted.time.from = wanted.time.from.max(time.from);
                wanted.time.to = wanted.time.to.min(time.to);
            }
            if signal != Signal::Metrics {
                wanted.terms.extend(terms(filter));
            }
        }
        wanted
    }

    /// Whether no row can be wanted at all.
    pub(super) fn is_nothing(&self) -> bool {
        self.time.from > self.time.to
    }
}

/// The times that a filter leaves.
fn times(filter: &Expr, column: &str) -> Option<TimeRange> {
    let all = TimeRange::ALL;
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (op, time) = match (is_column(left, column), is_column(right, column)) {
                (true, false) => (*op, time(right)?),
                (false, true) => (op.swap()?, time(left)?),
                _ => return None,
            };
            match op {
                Operator::Eq => Some(TimeRange { from: time, to: time }),
                Operator::Gt => Some(TimeRange { from: UnixNano(time.0.saturating_add(1)), ..all }),
                Operator::GtEq => Some(TimeRange { from: time, ..all }),
                Operator::Lt => Some(TimeRange { to: UnixNano(time.0.saturating_sub(1)), ..all }),
                Operator::LtEq => Some(TimeRange { to: time, ..all }),
                _ => None,
            }
        }
        Expr::Between(Between { expr, negated: false, low, high }) if is_column(expr, column) => {
            Some(TimeRange { from: time(low).unwrap_or(all.from), to: time(high).unwrap_or(all.to) })
        }
        _ => None,
    }
}

fn time(expr: &Expr) -> Option<UnixNano> {
    match expr {
        Expr::Literal(ScalarValue::TimestampNanosecond(Some(nanos), _), _) => Some(UnixNano(*nanos)),
        _ => None,
    }
}

/// The terms of which a row must carry one to pass the filter; `None` when it says nothing about ids.
fn terms(filter: &Expr) -> Option<Vec<String>> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let mut either = terms(left)?;
            either.extend(terms(right)?);
            Some(either)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let value = match (is_trace_id(left), is_trace_id(right)) {
                (true, false) => right,
                (false, true) => left,
                _ => return None,
            };
            Some(vec![trace_term(value)?])
        }
        Expr::InList(list) if !list.negated && is_trace_id(&list.expr) => {
            list.list.iter().map(trace_term).collect()
        }
        Expr::ScalarFunction(call) => match (call.func.name(), &*call.args) {
            ("array_has", [column, term]) if is_column(column, "ids") => Some(vec![text(term)?]),
            ("array_has_any", [column, list]) if is_column(column, "ids") => texts(list),
            _ => None,
        },
        _ => None,
    }
}

fn is_column(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Column(column) if column.name == name)
}

/// The column, or the column seen as bytes of any length.
fn is_trace_id(expr: &Expr) -> bool {
    match expr {
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => is_column(expr, "trace_id"),
        _ => is_column(expr, "trace_id"),
    }
}

fn trace_term(expr: &Expr) -> Option<String> {
    let Expr::Literal(value, _) = expr else { return None };
    let bytes = match value {
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::FixedSizeBinary(_, Some(bytes)) => bytes,
        _ => return None,
    };
    let mut term = format!("{TRACE_ID}=");
    model::id::push_hex(bytes, &mut term);
    Some(term)
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
        _ => None,
    }
}

fn texts(expr: &Expr) -> Option<Vec<String>> {
    match expr {
        Expr::Literal(ScalarValue::List(list), _) => {
            let values = list.values();
            (0..values.len())
                .map(|at| {
                    ScalarValue::try_from_array(values, at).ok()?.try_as_str().flatten().map(str::to_owned)
                })
                .collect()
        }
        Expr::ScalarFunction(call) if call.func.name() == "make_array" => {
            call.args.iter().map(text).collect()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    fn at(nanos: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(nanos), Some("UTC".into())))
    }

    fn wanted(filter: Expr) -> Wanted {
        Wanted::of(Signal::Logs, &[filter])
    }

    fn range(from: i64, to: i64) -> TimeRange {
        TimeRange { from: UnixNano(from), to: UnixNano(to) }
    }

    #[test]
    fn bounds_of_the_time_column_are_intersected() {
        let filter = col("time").gt_eq(at(10)).and(at(20).gt(col("time"))).and(col("body").eq(lit("x")));
        assert_eq!(wanted(filter).time, range(10, 19));
        assert_eq!(wanted(col("time").between(at(1), at(3))).time, range(1, 3));
        assert_eq!(wanted(col("time").eq(at(5))).time, range(5, 5));
        assert!(wanted(col("time").gt(at(5)).and(col("time").lt(at(5)))).is_nothing());
    }

    #[test]
    fn what_is_not_certain_excludes_nothing() {
        for filter in [
            col("time").gt(at(5)).or(col("body").eq(lit("x"))),
            col("time").not_between(at(1), at(3)),
            col("time").not_eq(at(5)),
            col("observed_time").gt(at(5)),
            col("time").gt(col("observed_time")),
            col("trace_id").eq(col("span_id")),
            col("trace_id").eq(lit(ScalarValue::Binary(Some(vec![1])))).or(col("body").eq(lit("x"))),
            col("trace_id").in_list(vec![lit(ScalarValue::Binary(Some(vec![1])))], true),
        ] {
            assert_eq!(wanted(filter.clone()), Wanted { time: TimeRange::ALL, terms: vec![] }, "{filter}");
        }
    }

    #[test]
    fn traces_are_the_terms_of_the_identity_index() {
        let id = |byte: u8| lit(ScalarValue::FixedSizeBinary(2, Some(vec![byte; 2])));
        assert_eq!(wanted(col("trace_id").eq(id(0xAB))).terms, [["trace_id=abab"]]);
        let either = [["trace_id=0101".to_owned(), "trace_id=0202".to_owned()]];
        assert_eq!(wanted(col("trace_id").in_list(vec![id(1), id(2)], false)).terms, either);
        assert_eq!(wanted(col("trace_id").eq(id(1)).or(col("trace_id").eq(id(2)))).terms, either);
    }
}
