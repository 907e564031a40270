//! The search syntax for log records and spans: text to tree, tree to a matcher of rows.
//!
//! `service:checkout level>=warn "acquirer timeout" -path:/health duration>200ms order_id:ORD-4711`
//!
//! Owns: the grammar and its meaning (`docs/reference/search.md`). Does not own: which rows are read
//! (`logs`), which ids a record carries (`model::ids`).
//!
//! Invariants: text, nesting and number of terms are bounded; what is printed reads back as the same
//! search; matching a row is linear in its bytes.

mod ast;
mod matcher;
mod parse;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use model::IdRules;
use storage::TextHint;
use storage::rows::{LogRows, SpanRows};
use thiserror::Error;

pub use ast::{Expr, Field, Op, Operand, Pattern, Term, Test};
pub(crate) use record::severity_of;

use matcher::Node;
use record::{LogRow, SpanRow};

/// Bytes a search may have.
pub const TEXT_BYTES_MAX: usize = 16 << 10;
/// Bytes one term may have.
pub const TERM_BYTES_MAX: usize = 1 << 10;
/// Terms a search may have.
pub const TERMS_MAX: usize = 256;
/// How deep parentheses and negations may nest.
pub const DEPTH_MAX: usize = 64;

/// Why a text is no search.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("column {column}: {message}")]
pub struct SearchError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

/// A search, ready to be asked of rows.
#[derive(Clone, Debug)]
pub struct Query {
    expr: Expr,
    node: Node,
    /// What is left to ask of a row that contains the text of the hint.
    rest: Node,
    required_ids: Option<Vec<String>>,
    text_hint: TextHint,
}

/// Reads a search.
///
/// # Errors
/// What is wrong, at which column, and what would be right.
pub fn parse(text: &str) -> Result<Query, SearchError> {
    Query::new(parse::parse(text)?, None)
}

/// Reads a search, knowing the id kinds: a field of that name looks at the ids found in a record and at
/// nothing else, so that the identity index can answer it.
///
/// # Errors
/// As [`parse`].
pub fn parse_with_ids(text: &str, ids: &IdRules) -> Result<Query, SearchError> {
    Query::new(parse::parse(text)?, Some(ids))
}

impl Query {
    fn new(expr: Expr, ids: Option<&IdRules>) -> Result<Self, SearchError> {
        let node = |expr: &Expr| Node::new(expr, ids).map_err(|message| SearchError { column: 1, message });
        let text_hint = text_hint(&expr, TextHint::default());
        let (node, rest) = (node(&expr)?, node(&without_text(&expr))?);
        let required_ids = node.required_ids();
        Ok(Self { expr, node, rest, required_ids, text_hint })
    }

    /// What was asked.
    pub const fn expr(&self) -> &Expr {
        &self.expr
    }

    /// Whether a log record matches.
    pub fn matches_log(&self, rows: &LogRows<'_>, row: usize) -> bool {
        self.node.is_match(&LogRow(rows, row))
    }

    /// Whether a log record matches that is known to contain the text of the hint.
    pub(crate) fn matches_log_with_text(&self, rows: &LogRows<'_>, row: usize) -> bool {
        self.rest.is_match(&LogRow(rows, row))
    }

    /// Whether every log record matches that contains the text of the hint.
    pub(crate) const fn is_text_alone(&self) -> bool {
        matches!(self.rest, Node::All)
    }

    /// The columns of a log record that decide whether it matches, when it is known to contain the text of the hint.
    pub(crate) fn log_columns(&self) -> BTreeSet<&'static str> {
        let mut columns = BTreeSet::new();
        self.rest.add_log_columns(&mut columns);
        columns
    }

    /// Whether a span matches.
    pub fn matches_span(&self, rows: &SpanRows<'_>, row: usize) -> bool {
        self.node.is_match(&SpanRow(rows, row))
    }

    /// Id terms (`kind=value`) of which every match carries at least one: rows that
    /// [`storage::Snapshot::lookup`] does not find for them need not be read. `None` when the search
    /// demands no id. Id kinds other than `trace_id` need [`parse_with_ids`].
    pub fn required_ids(&self) -> Option<&[String]> {
        self.required_ids.as_deref()
    }

    /// Text that every match contains, for [`storage::Snapshot::search`].
    pub const fn text_hint(&self) -> &TextHint {
        &self.text_hint
    }
}

/// The text that every row contains for which `expr` holds.
fn text_hint(expr: &Expr, hint: TextHint) -> TextHint {
    match expr {
        Expr::And(parts) => parts.iter().fold(hint, |hint, part| text_hint(part, hint)),
        expr => match demanded_text(expr) {
            Some(pattern) => hint.and_pattern(&pattern.0),
            None => hint,
        },
    }
}

/// What `expr` says besides [`text_hint`].
fn without_text(expr: &Expr) -> Expr {
    match expr {
        Expr::And(parts) => {
            let mut parts: Vec<Expr> = parts.iter().map(without_text).collect();
            parts.retain(|part| !matches!(part, Expr::All));
            if parts.is_empty() { Expr::All } else { Expr::And(parts) }
        }
        expr if demanded_text(expr).is_some() => Expr::All,
        expr => expr.clone(),
    }
}

fn demanded_text(expr: &Expr) -> Option<&Pattern> {
    match expr {
        Expr::Term(Term { field: Field::Text, test: Test::Matches(pattern) }) => Some(pattern),
        _ => None,
    }
}

impl FromStr for Query {
    type Err = SearchError;

    fn from_str(text: &str) -> Result<Self, SearchError> {
        parse(text)
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}
