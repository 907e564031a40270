//! What a search says, as a tree, and the tree as text again.
//!
//! Invariant: `parse(expr.to_string())` yields `expr`, for every expression that `parse` can yield.

use std::fmt;

use model::Severity;

/// A search.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// `*` or no text: everything.
    All,
    /// All of these.
    And(Vec<Expr>),
    /// Any of these.
    Or(Vec<Expr>),
    /// Not this.
    Not(Box<Expr>),
    /// One condition.
    Term(Term),
}

/// One condition on one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// What is looked at.
    pub field: Field,
    /// What must hold.
    pub test: Test,
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The body of a log record, the name of a span: bare words, `body:` and `name:`.
    Text,
    /// `service:`
    Service,
    /// `level:` and `severity:`
    Level,
    /// `trace_id:`
    TraceId,
    /// `span_id:`
    SpanId,
    /// `kind:` of a span; of a log record the attribute of that name.
    Kind,
    /// `status:` of a span; of a log record the attribute of that name.
    Status,
    /// `duration:` of a span; of a log record the attribute of that name.
    Duration,
    /// `resource.KEY:`
    Resource(String),
    /// An id kind or an attribute of the record or of its resource.
    Other(String),
}

/// What must hold for a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// `field:*`
    Exists,
    /// `field:value`
    Matches(Pattern),
    /// `field>value`; also `level:value` and `duration:value` with [`Op::Eq`].
    Compare(Op, Operand),
}

/// Literal text with any text between its parts: `a*b` is `["a", "b"]`, `a` is `["a"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub(crate) Vec<String>);

impl Pattern {
    /// The pattern without a wildcard.
    pub fn literal(text: impl Into<String>) -> Self {
        Self(vec![text.into()])
    }

    /// The text, when there is no wildcard in it.
    pub fn as_literal(&self) -> Option<&str> {
        match &*self.0 {
            [text] => Some(text),
            _ => None,
        }
    }

    /// Whether it is wildcards only.
    pub(crate) fn is_anything(&self) -> bool {
        self.0.len() > 1 && self.0.iter().all(String::is_empty)
    }
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Equal.
    Eq,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `<`
    Lt,
    /// `<=`
    Le,
}

impl Op {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Eq => ":",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Lt => "<",
            Self::Le => "<=",
        }
    }

    /// Whether `left op right` holds.
    pub(crate) fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Self::Eq => left == right,
            Self::Gt => left > right,
            Self::Ge => left >= right,
            Self::Lt => left < right,
            Self::Le => left <= right,
        }
    }
}

/// What a field is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand {
    /// A number.
    Number(f64),
    /// A duration in nanoseconds.
    Duration(i64),
    /// A level.
    Severity(Severity),
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Duration(nanos) => write!(f, "{nanos}ns"),
            Self::Severity(severity) => f.write_str(&severity.name().to_lowercase()),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::And(parts) => {
                write_joined(f, parts, " ", |part| matches!(part, Self::And(_) | Self::Or(_)))
            }
            Self::Or(parts) => write_joined(f, parts, " OR ", |part| matches!(part, Self::Or(_))),
            Self::Not(part) if matches!(**part, Self::And(_) | Self::Or(_)) => write!(f, "-({part})"),
            Self::Not(part) => write!(f, "-{part}"),
            Self::Term(term) => term.fmt(f),
        }
    }
}

fn write_joined(
    f: &mut fmt::Formatter<'_>,
    parts: &[Expr],
    joint: &str,
    is_wrapped: impl Fn(&Expr) -> bool,
) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            f.write_str(joint)?;
        }
        match is_wrapped(part) {
            true => write!(f, "({part})")?,
            false => write!(f, "{part}")?,
        }
    }
    Ok(())
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.field, &self.test) {
            (Field::Text, Test::Matches(pattern)) => pattern.fmt(f),
            (field, Test::Exists) => write!(f, "{field}:*"),
            (field, Test::Matches(pattern)) => write!(f, "{field}:{pattern}"),
            (field, Test::Compare(op, operand)) => write!(f, "{field}{}{operand}", op.text()),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("body"),
            Self::Service => f.write_str("service"),
            Self::Level => f.write_str("level"),
            Self::TraceId => f.write_str("trace_id"),
            Self::SpanId => f.write_str("span_id"),
            Self::Kind => f.write_str("kind"),
            Self::Status => f.write_str("status"),
            Self::Duration => f.write_str("duration"),
            Self::Resource(key) => {
                f.write_str("resource.")?;
                write_escaped(f, key)
            }
            Self::Other(key) => write_escaped(f, key),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.as_literal() {
            return write_literal(f, text);
        }
        for (at, part) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("*")?;
            }
            write_escaped(f, part)?;
        }
        Ok(())
    }
}

/// Letters that never need an escape, whatever stands around them.
fn is_plain(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '.' | '/' | '@' | '-')
}

fn write_literal(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let is_keyword = matches!(text, "AND" | "OR" | "NOT");
    if !text.is_empty() && !is_keyword && !text.starts_with('-') && text.chars().all(is_plain) {
        return f.write_str(text);
    }
    f.write_str("\"")?;
    for letter in text.chars() {
        match letter {
            '"' | '\\' => write!(f, "\\{letter}")?,
            _ => write!(f, "{letter}")?,
        }
    }
    f.write_str("\"")
}

fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for (at, letter) in text.char_indices() {
        match is_plain(letter) && !(at == 0 && letter == '-') {
            true => write!(f, "{letter}")?,
            false => write!(f, "\\{letter}")?,
        }
    }
    Ok(())
}
