//! The expression of a rule with `lang: logs`.
//!
//! ```text
//! count( <search> ) [by (field, …)] over <duration> <op> <number>
//! ```
//! `<search>` is the search syntax of `silmari logs`; its parentheses and quotes have to be balanced.

use std::fmt;
use std::time::Duration;

use super::parse_duration;

/// How a count is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

const COMPARISONS: [(&str, Comparison); 6] = [
    (">=", Comparison::GreaterOrEqual),
    ("<=", Comparison::LessOrEqual),
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    (">", Comparison::Greater),
    ("<", Comparison::Less),
];

impl Comparison {
    /// Whether `value` stands in this relation to `threshold`.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Greater => value > threshold,
            Self::GreaterOrEqual => value >= threshold,
            Self::Less => value < threshold,
            Self::LessOrEqual => value <= threshold,
            Self::Equal => value == threshold,
            Self::NotEqual => value != threshold,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = COMPARISONS.iter().find(|(_, comparison)| comparison == self);
        f.write_str(found.map_or("", |(text, _)| text))
    }
}

/// A count of log records, compared with a number.
#[derive(Clone, Debug, PartialEq)]
pub struct LogExpr {
    /// Which records are counted.
    pub search: String,
    /// Fields whose values are counted apart.
    pub by: Vec<String>,
    /// How far back records are counted.
    pub over: Duration,
    /// How the count is compared.
    pub comparison: Comparison,
    /// With what.
    pub threshold: f64,
}

impl LogExpr {
    /// Reads an expression.
    ///
    /// # Errors
    /// Says what is missing, at which character, and shows an expression that is right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |rest: &str, what: &str| {
            format!(
                "{what} at character {} of the expression; write `count(service:billing level>=error) by (service) \
                 over 5m > 10`",
                text.len() - rest.len() + 1
            )
        };
        let mut rest = text.trim_start();
        rest = rest.strip_prefix("count").ok_or_else(|| wrong(rest, "expected `count(`"))?.trim_start();
        let inside = rest.strip_prefix('(').ok_or_else(|| wrong(rest, "expected `(`"))?;
        let end = closing(inside).ok_or_else(|| wrong(rest, "`(` is never closed"))?;
        let search = inside[..end].trim().to_owned();
        rest = inside[end + 1..].trim_start();
        let mut by = Vec::new();
        if let Some(after) = keyword(rest, "by") {
            let list = after.strip_prefix('(').ok_or_else(|| wrong(after, "expected `(` after `by`"))?;
            let end = list.find(')').ok_or_else(|| wrong(after, "`(` is never closed"))?;
            by = list[..end].split(',').map(|field| field.trim().to_owned()).collect();
            if by.iter().any(String::is_empty) {
                return Err(wrong(list, "an empty field"));
            }
            rest = list[end + 1..].trim_start();
        }
        rest = keyword(rest, "over").ok_or_else(|| wrong(rest, "expected `over` and a duration"))?;
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let over = parse_duration(&rest[..end]).map_err(|error| wrong(rest, &error))?;
        if over.is_zero() {
            return Err(wrong(rest, "`over` must be longer than 0"));
        }
        rest = rest[end..].trim_start();
        let (sign, comparison) = COMPARISONS
            .into_iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(|| wrong(rest, "expected one of > >= < <= == !="))?;
        rest = rest[sign.len()..].trim();
        let threshold = rest.parse::<f64>().ok().filter(|number| number.is_finite());
        let threshold = threshold.ok_or_else(|| wrong(rest, "expected a number"))?;
        Ok(Self { search, by, over, comparison, threshold })
    }
}

/// What follows a whole word.
fn keyword<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(word)?;
    let is_whole = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    is_whole.then(|| rest.trim_start())
}

/// Where the parenthesis that is already open closes; those in quotes do not count.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (1usize, false, false);
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        match c {
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}
