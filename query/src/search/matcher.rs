//! A search made ready to be asked of many rows: patterns compiled, cheap conditions first.
//!
//! Invariants: a row is matched in time linear in its bytes; nothing is allocated for a row unless a
//! wildcard stands in a trace or span id.

use std::collections::BTreeSet;

use model::ids::TRACE_ID;
use model::{IdRules, SpanId, TraceId};
use regex_automata::meta::Regex;

use super::ast::{Expr, Field, Op, Operand, Pattern, Term, Test};
use super::parse::parse_nanos;
use super::record::Record;

/// A prepared [`Expr`].
#[derive(Clone, Debug)]
pub(super) enum Node {
    All,
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Check(Check),
}

/// A prepared [`Term`].
#[derive(Clone, Debug)]
pub(super) enum Check {
    Text(ValueTest),
    Service(ValueTest),
    /// Severity numbers from the first to the second.
    Level(f64, f64),
    Trace(IdTest<TraceId>),
    Span(IdTest<SpanId>),
    Kind(ValueTest),
    Status(ValueTest),
    Duration(ValueTest),
    Resource(String, ValueTest),
    Other(OtherCheck),
}

/// A condition on an id kind or an attribute.
#[derive(Clone, Debug)]
pub(super) struct OtherCheck {
    key: String,
    test: ValueTest,
    /// `key=value` when the condition is equality.
    id_term: Option<String>,
    /// The key is a configured id kind: the `ids` column alone decides.
    is_id_kind: bool,
}

/// A condition on an id.
#[derive(Clone, Debug)]
pub(super) enum IdTest<T> {
    Exists,
    Equals(T),
    Glob(Regex),
}

/// A condition on text.
#[derive(Clone, Debug)]
pub(super) enum ValueTest {
    Exists,
    Equals(String),
    EqualsIgnoringCase(String),
    Regex(Regex),
    Compare(Op, Operand),
}

impl ValueTest {
    fn is_match(&self, value: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::Equals(text) => value == text,
            Self::EqualsIgnoringCase(text) => value.eq_ignore_ascii_case(text),
            Self::Regex(regex) => regex.is_match(value),
            Self::Compare(op, Operand::Number(number)) => {
                value.trim().parse::<f64>().is_ok_and(|value| op.holds(value, *number))
            }
            Self::Compare(op, Operand::Duration(nanos)) => {
                parse_nanos(value.trim()).is_some_and(|value| op.holds(value, *nanos))
            }
            Self::Compare(_, Operand::Severity(_)) => false,
        }
    }
}

impl Node {
    /// Prepares a search. `ids` says which fields are id kinds.
    ///
    /// # Errors
    /// What the regular expression engine says of a pattern that is too large for it.
    pub(super) fn new(expr: &Expr, ids: Option<&IdRules>) -> Result<Self, String> {
        let all =
            |parts: &[Expr]| parts.iter().map(|part| Self::new(part, ids)).collect::<Result<Vec<_>, _>>();
        Ok(match expr {
            Expr::All => Self::All,
            Expr::And(parts) => {
                let mut nodes = all(parts)?;
                nodes.sort_by_key(Self::cost);
                Self::And(nodes)
            }
            Expr::Or(parts) => {
                let mut nodes = all(parts)?;
                nodes.sort_by_key(Self::cost);
                Self::Or(nodes)
            }
            Expr::Not(part) => Self::Not(Box::new(Self::new(part, ids)?)),
            Expr::Term(term) => Self::Check(Check::new(term, ids)?),
        })
    }

    fn cost(&self) -> u32 {
        match self {
            Self::All => 0,
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::cost).fold(0, u32::saturating_add),
            Self::Not(part) => part.cost(),
            Self::Check(check) => match check {
                Check::Level(..) | Check::Trace(_) | Check::Span(_) | Check::Duration(_) => 1,
                Check::Service(_) | Check::Kind(_) | Check::Status(_) => 2,
                Check::Other(_) | Check::Resource(..) => 10,
                Check::Text(_) => 20,
            },
        }
    }

    pub(super) fn is_match(&self, row: &impl Record) -> bool {
        match self {
            Self::All => true,
            Self::And(parts) => parts.iter().all(|part| part.is_match(row)),
            Self::Or(parts) => parts.iter().any(|part| part.is_match(row)),
            Self::Not(part) => !part.is_match(row),
            Self::Check(check) => check.is_match(row),
        }
    }

    /// Adds the columns of log records that it looks at.
    pub(super) fn add_log_columns(&self, columns: &mut BTreeSet<&'static str>) {
        match self {
            Self::All => {}
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().for_each(|part| part.add_log_columns(columns));
            }
            Self::Not(part) => part.add_log_columns(columns),
            Self::Check(check) => columns.extend(check.log_columns()),
        }
    }

    /// Id terms of which every match carries at least one; `None` when there are no such.
    pub(super) fn required_ids(&self) -> Option<Vec<String>> {
        match self {
            Self::All | Self::Not(_) => None,
            Self::And(parts) => parts.iter().filter_map(Self::required_ids).min_by_key(Vec::len),
            Self::Or(parts) => {
                let sets: Option<Vec<_>> = parts.iter().map(Self::required_ids).collect();
                sets.map(|sets| sets.concat())
            }
            Self::Check(Check::Trace(IdTest::Equals(id))) => Some(vec![format!("{TRACE_ID}={id}")]),
            Self::Check(Check::Other(check)) if check.is_id_kind => {
                check.id_term.clone().map(|term| vec![term])
            }
            Self::Check(_) => None,
        }
    }
}

impl Check {
    fn new(term: &Term, ids: Option<&IdRules>) -> Result<Self, String> {
        let (field, test) = (&term.field, &term.test);
        Ok(match field {
            Field::Text => Self::Text(text_test(test)?),
            Field::Service => Self::Service(value_test(test)?),
            Field::Level => {
                let (low, high) = level_range(test);
                Self::Level(low, high)
            }
            Field::TraceId => Self::Trace(id_test(test, TraceId::from_hex)?),
            Field::SpanId => Self::Span(id_test(test, SpanId::from_hex)?),
            Field::Kind => Self::Kind(word_test(test)?),
            Field::Status => Self::Status(word_test(test)?),
            Field::Duration => Self::Duration(value_test(test)?),
            Field::Resource(key) => Self::Resource(key.clone(), value_test(test)?),
            Field::Other(key) => {
                let literal = match test {
                    Test::Matches(pattern) => pattern.as_literal(),
                    _ => None,
                };
                Self::Other(OtherCheck {
                    key: key.clone(),
                    test: value_test(test)?,
                    // As the rules record it: `order_id:ord-1` finds ORD-1 where its kind writes it large.
                    id_term: literal.map(|value| match ids.and_then(|ids| ids.term(key, value)) {
                        Some(term) => term.to_string(),
                        None => format!("{key}={value}"),
                    }),
                    is_id_kind: ids.is_some_and(|ids| ids.kind(key).is_some()),
                })
            }
        })
    }

    /// The columns of log records that it looks at.
    const fn log_columns(&self) -> &'static [&'static str] {
        match self {
            Self::Text(_) => &["body"],
            Self::Service(_) => &["service"],
            Self::Level(..) => &["severity_number", "severity_text"],
            Self::Trace(_) => &["trace_id"],
            Self::Span(_) => &["span_id"],
            Self::Kind(_) | Self::Status(_) | Self::Duration(_) => &["attributes"],
            Self::Resource(..) => &["resource_attributes"],
            Self::Other(check) if check.is_id_kind => &["ids"],
            Self::Other(_) => &["attributes", "ids", "resource_attributes"],
        }
    }

    fn is_match(&self, row: &impl Record) -> bool {
        match self {
            Self::Text(test) => test.is_match(row.text()),
            Self::Service(test) => !row.service().is_empty() && test.is_match(row.service()),
            Self::Level(low, high) => {
                row.severity().map(f64::from).is_some_and(|severity| *low <= severity && severity <= *high)
            }
            Self::Trace(test) => test.is_match(row.trace_id()),
            Self::Span(test) => test.is_match(row.span_id()),
            Self::Kind(test) => column_or_attribute(row.kind(), "kind", test, row),
            Self::Status(test) => column_or_attribute(row.status(), "status", test, row),
            Self::Duration(test) => match (row.duration_nano(), test) {
                (None, _) => has(row.attributes(), "duration", test),
                (Some(_), ValueTest::Exists) => true,
                (Some(nanos), ValueTest::Compare(op, Operand::Duration(limit))) => op.holds(nanos, *limit),
                (Some(_), _) => false,
            },
            Self::Resource(key, test) => has(row.resource_attributes(), key, test),
            Self::Other(check) => check.is_match(row),
        }
    }
}

impl OtherCheck {
    fn is_match(&self, row: &impl Record) -> bool {
        let has_id = || match &self.id_term {
            Some(term) => row.ids().any(|id| id == term),
            None => row.ids().any(|id| {
                let value = id.strip_prefix(&*self.key).and_then(|rest| rest.strip_prefix('='));
                value.is_some_and(|value| self.test.is_match(value))
            }),
        };
        if self.is_id_kind {
            return has_id();
        }
        has(row.attributes(), &self.key, &self.test)
            || has_id()
            || has(row.resource_attributes(), &self.key, &self.test)
    }
}

impl<T: PartialEq + ToString> IdTest<T> {
    fn is_match(&self, id: Option<T>) -> bool {
        match (self, id) {
            (_, None) => false,
            (Self::Exists, Some(_)) => true,
            (Self::Equals(wanted), Some(id)) => *wanted == id,
            (Self::Glob(regex), Some(id)) => regex.is_match(&id.to_string()),
        }
    }
}

fn has<'a>(mut pairs: impl Iterator<Item = (&'a str, &'a str)>, key: &str, test: &ValueTest) -> bool {
    pairs.any(|(name, value)| name == key && test.is_match(value))
}

fn column_or_attribute(column: Option<&str>, key: &str, test: &ValueTest, row: &impl Record) -> bool {
    column.is_some_and(|value| test.is_match(value)) || has(row.attributes(), key, test)
}

fn level_range(test: &Test) -> (f64, f64) {
    const ALL: (f64, f64) = (1.0, 24.0);
    let Test::Compare(op, operand) = test else { return ALL };
    // A level is a range of four numbers: above `warn` is above its last.
    let (first, last) = match operand {
        Operand::Severity(severity) => (f64::from(severity.number()), f64::from(severity.number() + 3)),
        Operand::Number(number) => (*number, *number),
        Operand::Duration(_) => return ALL,
    };
    match op {
        Op::Eq => (first, last),
        Op::Gt => (last.next_up(), ALL.1),
        Op::Ge => (first, ALL.1),
        Op::Lt => (ALL.0, first.next_down()),
        Op::Le => (ALL.0, last),
    }
}

fn value_test(test: &Test) -> Result<ValueTest, String> {
    Ok(match test {
        Test::Exists => ValueTest::Exists,
        Test::Compare(op, operand) => ValueTest::Compare(*op, *operand),
        Test::Matches(pattern) => match pattern.as_literal() {
            Some(text) => ValueTest::Equals(text.to_owned()),
            None => ValueTest::Regex(whole(pattern)?),
        },
    })
}

/// As [`value_test`], upper and lower case the same.
fn word_test(test: &Test) -> Result<ValueTest, String> {
    Ok(match value_test(test)? {
        ValueTest::Equals(text) => ValueTest::EqualsIgnoringCase(text),
        test => test,
    })
}

/// Whether the text contains the pattern anywhere, upper and lower case the same.
fn text_test(test: &Test) -> Result<ValueTest, String> {
    match test {
        Test::Matches(pattern) => regex("(?is)", &pattern.0, "").map(ValueTest::Regex),
        _ => Ok(ValueTest::Exists),
    }
}

fn id_test<T>(test: &Test, read: impl Fn(&str) -> Option<T>) -> Result<IdTest<T>, String> {
    let Test::Matches(pattern) = test else { return Ok(IdTest::Exists) };
    match pattern.as_literal().and_then(read) {
        Some(id) => Ok(IdTest::Equals(id)),
        None => whole(pattern).map(IdTest::Glob),
    }
}

/// Whether all of the text is the pattern.
fn whole(pattern: &Pattern) -> Result<Regex, String> {
    regex(r"(?s)\A", &pattern.0, r"\z")
}

fn regex(begin: &str, parts: &[String], end: &str) -> Result<Regex, String> {
    let mut source = begin.to_owned();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            source.push_str(".*");
        }
        for letter in part.chars() {
            if matches!(
                letter,
                '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$'
            ) {
                source.push('\\');
            }
            source.push(letter);
        }
    }
    source.push_str(end);
    let config = Regex::config().nfa_size_limit(Some(1 << 20)).hybrid_cache_capacity(1 << 18);
    Regex::builder().configure(config).build(&source).map_err(|error| error.to_string())
}
