//! What a statement may be, decided on its syntax tree before DataFusion sees it; and DataFusion's errors
//! in our words.
//!
//! Runs on the statement's own thread: the tree of a hostile text is deep, and walking or dropping it
//! recurses.

mod distinct;

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SetExpr, Statement, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use model::Signal;
use storage::schema;

use super::functions::{OFFERED, REFUSED};
use super::{SqlError, SqlLimits};
use distinct::Aggregates;
use model::text::nearest;

/// The tables of a statement.
const TABLES: [&str; 3] = [Signal::Traces.table(), Signal::Logs.table(), Signal::Metrics.table()];

/// Nested parentheses and the like that are parsed; beyond it the text is refused unread.
const PARSE_DEPTH_MAX: usize = 128;

/// Uses of `WITH` tables. Each use is planned anew, so that tables which use each other twice double the plan with
/// every step: twenty uses are a thousandfold at most.
const CTE_REFERENCES_MAX: usize = 20;

/// A statement that may be planned.
pub(super) struct Checked {
    pub(super) statement: Statement,
    /// Not an `EXPLAIN`.
    pub(super) is_query: bool,
    /// The tables it reads.
    pub(super) tables: HashSet<String>,
}

/// Reads a statement and checks its shape.
pub(super) fn check(text: &str, limits: &SqlLimits) -> Result<Checked, SqlError> {
    if text.len() > limits.text_bytes_max {
        let message = format!("the statement has {} bytes, {} at most", text.len(), limits.text_bytes_max);
        return Err(SqlError::limit(message, "ask in parts"));
    }
    let dialect = GenericDialect {};
    let parser = Parser::new(&dialect).with_recursion_limit(PARSE_DEPTH_MAX).try_with_sql(text);
    let parsed = parser.and_then(|mut parser| parser.parse_statements());
    let mut statements = parsed.map_err(|error| match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            SqlError::statement(message)
        }
        ParserError::RecursionLimitExceeded => {
            SqlError::limit(format!("the statement nests deeper than {PARSE_DEPTH_MAX}"), "use WITH")
        }
    })?;
    let statement = match statements.len() {
        1 => statements.remove(0),
        0 => return Err(SqlError::statement("there is no statement")),
        count => return Err(SqlError::statement(format!("one statement at a time, these are {count}"))),
    };
    let is_query = check_kind(&statement, text)?;
    let mut shape = Shape::new(limits);
    match statement.visit(&mut shape) {
        ControlFlow::Break(refusal) => Err(refusal),
        ControlFlow::Continue(()) => Ok(Checked { statement, is_query, tables: shape.tables }),
    }
}

fn check_kind(statement: &Statement, text: &str) -> Result<bool, SqlError> {
    match statement {
        Statement::Query(_) => Ok(true),
        Statement::Explain { analyze: false, options: None, statement, .. }
            if matches!(**statement, Statement::Query(_)) =>
        {
            Ok(false)
        }
        _ => {
            let word = text.split_whitespace().next().unwrap_or_default().to_uppercase();
            let word: String = word.chars().take(32).collect();
            let message =
                format!("`{word}` is not allowed here: only SELECT, WITH, VALUES and EXPLAIN of those");
            Err(SqlError::statement(message))
        }
    }
}

/// Walks a statement and counts.
struct Shape<'l> {
    limits: &'l SqlLimits,
    ctes: HashSet<String>,
    cte_references: usize,
    tables: HashSet<String>,
    nodes: usize,
    depth: usize,
    in_items: usize,
    set_operations: usize,
    /// Of the `SELECT`s under way, the innermost last.
    aggregates: Vec<Aggregates>,
}

impl<'l> Shape<'l> {
    fn new(limits: &'l SqlLimits) -> Self {
        Self {
            limits,
            ctes: HashSet::new(),
            cte_references: 0,
            tables: HashSet::new(),
            nodes: 0,
            depth: 0,
            in_items: 0,
            set_operations: 0,
            aggregates: Vec::new(),
        }
    }

    fn deeper(&mut self) -> ControlFlow<SqlError> {
        self.depth += 1;
        at_most(self.depth, self.limits.depth_max, "levels of nesting", "use WITH, or IN for a chain of OR")
    }

    /// Set operations of one query; its left-deep chain is walked without recursion.
    fn body(&mut self, body: &SetExpr) -> ControlFlow<SqlError> {
        let mut rest = vec![body];
        while let Some(body) = rest.pop() {
            match body {
                SetExpr::SetOperation { left, right, .. } => {
                    self.set_operations += 1;
                    let limit = self.limits.set_operations_max;
                    at_most(self.set_operations, limit, "set operations", "ask in parts")?;
                    rest.extend([&**left, &**right]);
                }
                SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => {}
                SetExpr::Table(_) => return refuse("write SELECT * FROM the table".to_owned()),
                SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                    return refuse("nothing can be changed by a statement".to_owned());
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn table(&mut self, name: &ObjectName) -> ControlFlow<SqlError> {
        let [ObjectNamePart::Identifier(ident)] = &*name.0 else {
            return refuse(format!("there is no table `{name}`: the tables are {}", TABLES.join(", ")));
        };
        let wanted = normalized(ident);
        if self.ctes.contains(&wanted) {
            self.cte_references += 1;
            let hint = "write out what is used once, or ask in parts";
            at_most(self.cte_references, CTE_REFERENCES_MAX, "uses of WITH tables", hint)?;
        }
        if TABLES.contains(&&*wanted) || self.ctes.contains(&wanted) {
            self.tables.insert(wanted);
            return ControlFlow::Continue(());
        }
        let place = match ident.span.start.line {
            0 => String::new(),
            line => format!("line {line}, column {}: ", ident.span.start.column),
        };
        let known = TABLES.into_iter().chain(self.ctes.iter().map(String::as_str));
        let hint = match nearest(&wanted, known) {
            Some(table) => format!("did you mean `{table}`?"),
            None => format!("the tables are {}", TABLES.join(", ")),
        };
        let message = format!("{place}there is no table `{wanted}`");
        ControlFlow::Break(SqlError::Statement { message, hint: Some(hint) })
    }
}

impl Visitor for Shape<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        self.deeper()?;
        if let Some(with) = &query.with {
            if with.recursive {
                return refuse("WITH RECURSIVE is not offered".to_owned());
            }
            self.ctes.extend(with.cte_tables.iter().map(|cte| normalized(&cte.alias.name)));
        }
        if !query.pipe_operators.is_empty() {
            return refuse("pipe operators are not offered".to_owned());
        }
        self.body(&query.body)
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<SqlError> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<SqlError> {
        match select.into {
            Some(_) => refuse("SELECT INTO is not allowed: nothing can be changed by a statement".to_owned()),
            None => {
                self.aggregates.push(Aggregates::default());
                ControlFlow::Continue(())
            }
        }
    }

    fn post_visit_select(&mut self, _select: &Select) -> ControlFlow<SqlError> {
        match self.aggregates.pop().and_then(Aggregates::refusal) {
            Some(refusal) => ControlFlow::Break(refusal),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<SqlError> {
        self.table(relation)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<SqlError> {
        match factor {
            TableFactor::Table { args: None, .. }
            | TableFactor::Derived { .. }
            | TableFactor::NestedJoin { .. }
            | TableFactor::UNNEST { .. } => ControlFlow::Continue(()),
            _ => refuse("table functions are not offered".to_owned()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
        self.deeper()?;
        self.nodes += 1;
        if let Some(aggregates) = self.aggregates.last_mut() {
            aggregates.add(expr);
        }
        match expr {
            Expr::InList { list, .. } => self.in_items += list.len(),
            Expr::Function(function) => check_function(&function.name)?,
            // Syntax of its own, which the planner resolves past the list of functions.
            Expr::Overlay { .. } => {
                return refuse("`overlay` is not offered: it grows with every nesting".to_owned());
            }
            _ => {}
        }
        at_most(
            self.in_items,
            self.limits.in_items_max,
            "items of IN lists",
            "join with VALUES, or ask in parts",
        )?;
        let nodes = self.nodes.saturating_sub(self.in_items);
        at_most(nodes, self.limits.nodes_max, "expressions", "ask in parts")
    }

    fn post_visit_expr(&mut self, _expr: &Expr) -> ControlFlow<SqlError> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

fn check_function(name: &ObjectName) -> ControlFlow<SqlError> {
    let name = name.to_string().to_lowercase();
    if !REFUSED.contains(&&*name) {
        // Aggregate and window functions are not in our list; DataFusion knows which exist.
        return ControlFlow::Continue(());
    }
    let message = format!("`{name}` is not offered: its result can be far larger than its arguments");
    let hint = nearest(&name, OFFERED.iter().copied()).map(|near| format!("`{near}` is offered"));
    ControlFlow::Break(SqlError::Statement { message, hint })
}

fn refuse(message: String) -> ControlFlow<SqlError> {
    ControlFlow::Break(SqlError::statement(message))
}

fn at_most(count: usize, limit: usize, what: &str, hint: &str) -> ControlFlow<SqlError> {
    match count > limit {
        true => {
            ControlFlow::Break(SqlError::limit(format!("the statement has more than {limit} {what}"), hint))
        }
        false => ControlFlow::Continue(()),
    }
}

fn normalized(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// Texts of errors can repeat the statement; more than this helps nobody.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// DataFusion's error in our words: place, problem, nearest valid choice.
pub(super) fn explain(error: &DataFusionError) -> SqlError {
    let place = error.diagnostic().and_then(|diagnostic| diagnostic.span).map(|span| span.start);
    let place = place.filter(|start| start.line > 0);
    let place =
        place.map(|start| format!("line {}, column {}: ", start.line, start.column)).unwrap_or_default();
    let root = error.find_root();
    if let DataFusionError::SchemaError(schema_error, _) = root
        && let SchemaError::FieldNotFound { field, valid_fields } = &**schema_error
    {
        return no_such_column(&place, field.name(), valid_fields.iter().map(|column| column.name()));
    }
    let text = root.strip_backtrace();
    let text: String = text.chars().take(MESSAGE_CHARS_MAX).collect();
    match root {
        DataFusionError::ResourcesExhausted(_) => SqlError::limit(
            format!("not enough memory (`memory_bytes_max`): {text}"),
            "group or sort fewer rows, or select fewer columns",
        ),
        DataFusionError::Internal(_) | DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
            SqlError::Internal(text)
        }
        _ => SqlError::statement(format!("{place}{text}")),
    }
}

fn no_such_column<'f>(place: &str, name: &str, valid: impl Iterator<Item = &'f str>) -> SqlError {
    let mut valid: Vec<String> = valid.map(str::to_owned).collect();
    if valid.is_empty() {
        let all = Signal::ALL.into_iter().map(schema::schema);
        valid = all
            .flat_map(|table| table.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>())
            .collect();
    }
    valid.sort();
    valid.dedup();
    let hint = match nearest(name, valid.iter().map(String::as_str)) {
        Some(column) => format!("did you mean `{column}`?"),
        None => {
            let mut list = valid.join(", ");
            list.truncate(list.char_indices().nth(MESSAGE_CHARS_MAX).map_or(list.len(), |(at, _)| at));
            format!("the columns are {list}; attributes are read as attributes['{name}']")
        }
    };
    SqlError::Statement { message: format!("{place}there is no column `{name}`"), hint: Some(hint) }
}
