//! `count(distinct …)` of whole maps and lists, which DataFusion cannot do beside other aggregates.
//!
//! A distinct count that stands alone, or beside sums and extremes, becomes a `group by`, which keeps every value by itself.
//! Otherwise `count` keeps a slice of the batch for each value, and each of these counts as all of the batch: 300 KB a row
//! of attributes, so that some thousand rows ask for more memory than there is. `approx_distinct` is no way out: of maps that have
//! one value under several keys it finds a tenth.
//!
//! Decided by the names of columns, before types are known: a map under another name gets past and meets the limit of
//! memory, and another value under the name of a map is taken for one.

use std::collections::{BTreeSet, HashSet};
use std::sync::LazyLock;

use datafusion::arrow::datatypes::DataType;
use datafusion::execution::SessionStateDefaults;
use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
};
use model::Signal;
use storage::schema;

use super::{SqlError, normalized};

/// Aggregates that DataFusion lets stand beside the `group by` it makes of a distinct one.
const COMPANIONS: [&str; 3] = ["sum", "min", "max"];

/// Names of aggregate functions.
static AGGREGATES: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let mut names = HashSet::new();
    for function in SessionStateDefaults::default_aggregate_functions() {
        names.insert(function.name().to_owned());
        names.extend(function.aliases().iter().cloned());
    }
    names
});

/// The aggregates of one `SELECT`.
#[derive(Debug, Default)]
pub(super) struct Aggregates {
    /// What distinct values are asked of, as it is written.
    distinct: BTreeSet<String>,
    /// The first of these that is a whole map or list and counted, and whether it is a map.
    whole: Option<(String, bool)>,
    /// Whether there is anything for which DataFusion makes no `group by`.
    has_others: bool,
}

impl Aggregates {
    /// Takes note of an expression of the `SELECT`.
    pub(super) fn add(&mut self, expr: &Expr) {
        match expr {
            Expr::Function(function) => self.add_function(function),
            Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_) => self.has_others = true,
            _ => {}
        }
    }

    fn add_function(&mut self, function: &Function) {
        let name = function.name.to_string().to_lowercase();
        if function.over.is_some() || !AGGREGATES.contains(&name) {
            return;
        }
        self.has_others |= function.filter.is_some();
        let FunctionArguments::List(list) = &function.args else { return };
        if list.duplicate_treatment != Some(DuplicateTreatment::Distinct) {
            self.has_others |= !COMPANIONS.contains(&&*name);
            return;
        }
        for argument in &list.args {
            self.distinct.insert(argument.to_string());
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument
                && name == "count"
                && let Some(is_map) = whole(expr)
            {
                self.whole.get_or_insert((argument.to_string(), is_map));
            }
        }
    }

    /// An error when DataFusion would count distinct maps or lists by keeping batches.
    pub(super) fn refusal(self) -> Option<SqlError> {
        let (column, is_map) = self.whole.filter(|_| self.has_others || self.distinct.len() > 1)?;
        let message = format!(
            "`count(distinct {column})` compares whole {}s and cannot stand beside other aggregates: \
             it would keep all rows that were read with each of them",
            if is_map { "map" } else { "list" }
        );
        let one_key = if is_map {
            format!("count one key, `count(distinct {column}['key'])`, or ")
        } else {
            String::new()
        };
        let hint =
            format!("{one_key}ask in a subquery of its own, `(select count(distinct {column}) from …)`");
        Some(SqlError::Statement { message, hint: Some(hint) })
    }
}

/// Whether an expression is a column of maps (`true`) or of lists.
fn whole(expr: &Expr) -> Option<bool> {
    let name = match expr {
        Expr::Identifier(ident) => normalized(ident),
        Expr::CompoundIdentifier(parts) => normalized(parts.last()?),
        Expr::Nested(inner) => return whole(inner),
        _ => return None,
    };
    let mut tables = Signal::ALL.into_iter().map(schema::schema);
    let data_type = tables.find_map(|table| Some(table.field_with_name(&name).ok()?.data_type().clone()))?;
    data_type.is_nested().then_some(matches!(data_type, DataType::Map(..)))
}
