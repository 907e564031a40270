//! Conditions on records: `level >= warn and url.path != "/health" or line ~ "timeout|refused"`.
//!
//! ```text
//! condition  = all { "or" all }           all   = test { "and" test }
//! test       = [ "not" ] field op value   op    = = != < <= > >= ~ !~
//! field      = level | line | body | service | trace_id | status | any attribute
//! value      = bare word | "quoted" | 'quoted'
//! ```
//!
//! `<` and its kin compare levels by gravity, everything else as numbers; a field that is missing or no number
//! meets none of them. `status` is `http.response.status_code` where a record has no `status` of its own.
//! Invariant: a condition is compiled once; testing it allocates nothing.

use std::cmp::Ordering;

use model::Severity;
use model::dialect::ParsedLine;

use crate::config::process::Pattern;

/// What a condition is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// The whole line.
    pub(crate) line: &'a str,
    /// Its parts; `None` before it is parsed.
    pub(crate) parsed: Option<&'a ParsedLine>,
    /// The service it is of.
    pub(crate) service: &'a str,
}

/// A condition, compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    /// Any of these, each all of its tests.
    any: Vec<Vec<Test>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Test {
    is_negated: bool,
    field: Field,
    check: Check,
}

#[derive(Clone, Debug, PartialEq)]
enum Field {
    Level,
    Line,
    Body,
    Service,
    TraceId,
    Status,
    Attribute(String),
}

#[derive(Clone, Debug, PartialEq)]
enum Check {
    Is(String),
    Matches(Pattern),
    Number(Comparison, f64),
    Level(Comparison, Severity),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
}

impl Comparison {
    const fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Below => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::Above => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
            Self::Equal => ordering.is_eq(),
        }
    }
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// What is wrong, where in the text, and an example.
    pub fn parse(text: &str) -> Result<Self, String> {
        let problem = |problem: String| format!("`{text}` is no condition: {problem}, as in `level >= warn`");
        let words = split(text).map_err(problem)?;
        let mut any = vec![Vec::new()];
        let mut at = 0;
        loop {
            let (test, used) = Test::parse(&words[at..]).map_err(problem)?;
            any.last_mut().expect("never empty").push(test);
            at += used;
            match words.get(at) {
                None => return Ok(Self { text: text.to_owned(), any }),
                Some(Word::Bare(word)) if word == "and" => {}
                Some(Word::Bare(word)) if word == "or" => any.push(Vec::new()),
                Some(other) => return Err(problem(format!("write `and` or `or` before `{}`", other.text()))),
            }
            at += 1;
        }
    }

    /// The condition as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the line's text alone decides it.
    pub(crate) fn is_about_line(&self) -> bool {
        self.any.iter().flatten().all(|test| test.field == Field::Line)
    }

    /// Whether it holds for a record.
    pub(crate) fn holds(&self, subject: &Subject<'_>) -> bool {
        self.any.iter().any(|tests| tests.iter().all(|test| test.holds(subject)))
    }
}

impl Test {
    fn parse(words: &[Word]) -> Result<(Self, usize), String> {
        let is_not = matches!(words.first(), Some(Word::Bare(word)) if word == "not");
        let words = &words[usize::from(is_not)..];
        let [field, operator, value, ..] = words else {
            return Err("write FIELD OPERATOR VALUE".to_owned());
        };
        let Word::Operator(operator) = operator else {
            return Err(format!("`{}` is no operator: use = != < <= > >= ~ !~", operator.text()));
        };
        let field = match field.text() {
            "level" => Field::Level,
            "line" => Field::Line,
            "body" | "message" => Field::Body,
            "service" | "service.name" => Field::Service,
            "trace_id" => Field::TraceId,
            "status" => Field::Status,
            name => Field::Attribute(name.to_owned()),
        };
        if matches!(value, Word::Operator(_)) {
            return Err(format!("`{}` is no value", value.text()));
        }
        let value = value.text();
        let comparison = match *operator {
            "<" => Some(Comparison::Below),
            "<=" => Some(Comparison::AtMost),
            ">" => Some(Comparison::Above),
            ">=" => Some(Comparison::AtLeast),
            _ => None,
        };
        let check = match (comparison, *operator, &field) {
            (None, "~" | "!~", _) => Check::Matches(Pattern::new(value)?),
            (Some(comparison), _, Field::Level) => Check::Level(comparison, value.parse()?),
            (None, _, Field::Level) => Check::Level(Comparison::Equal, value.parse()?),
            (Some(comparison), ..) => {
                let number = value.parse::<f64>().map_err(|_| format!("`{value}` is no number"))?;
                Check::Number(comparison, number)
            }
            (None, ..) => Check::Is(value.to_owned()),
        };
        let is_negated = is_not != matches!(*operator, "!=" | "!~");
        Ok((Self { is_negated, field, check }, 3 + usize::from(is_not)))
    }

    fn holds(&self, subject: &Subject<'_>) -> bool {
        self.checks(subject) != self.is_negated
    }

    fn checks(&self, subject: &Subject<'_>) -> bool {
        if let Check::Level(comparison, level) = &self.check {
            let number = subject.parsed.map_or(0, |parsed| parsed.severity_number);
            return Severity::from_number(number)
                .is_some_and(|found| comparison.holds(found.number().cmp(&level.number())));
        }
        let Some(value) = self.field.of(subject) else { return false };
        match &self.check {
            Check::Is(wanted) => value == wanted,
            Check::Matches(pattern) => pattern.regex().is_match(value),
            Check::Number(comparison, wanted) => value
                .trim()
                .parse::<f64>()
                .ok()
                .and_then(|found| found.partial_cmp(wanted))
                .is_some_and(|ordering| comparison.holds(ordering)),
            Check::Level(..) => false,
        }
    }
}

impl Field {
    fn of<'a>(&self, subject: &Subject<'a>) -> Option<&'a str> {
        let parsed = subject.parsed;
        match self {
            Self::Line => Some(subject.line),
            Self::Service => Some(subject.service),
            Self::Level => parsed.map(|parsed| parsed.severity_text.as_str()),
            Self::Body => parsed.map(|parsed| parsed.body.as_str()),
            // An id has no text of its own; whether there is one can be asked with the line.
            Self::TraceId => parsed.and_then(|parsed| parsed.trace_id.is_some().then_some("present")),
            Self::Status => parsed.and_then(|parsed| {
                parsed.attribute("status").or_else(|| parsed.attribute("http.response.status_code"))
            }),
            Self::Attribute(name) => parsed.and_then(|parsed| parsed.attribute(name)),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Bare(String),
    Quoted(String),
    Operator(&'static str),
}

impl Word {
    fn text(&self) -> &str {
        match self {
            Self::Bare(text) | Self::Quoted(text) => text,
            Self::Operator(text) => text,
        }
    }
}

/// Longer ones first, so that `<=` is not read as `<`.
const OPERATORS: [&str; 9] = ["!=", "!~", "<=", ">=", "==", "=", "<", ">", "~"];

fn split(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some(operator) = OPERATORS.into_iter().find(|operator| rest.starts_with(operator)) {
            words.push(Word::Operator(if operator == "==" { "=" } else { operator }));
            rest = &rest[operator.len()..];
        } else if matches!(first, '"' | '\'') {
            let inner = &rest[1..];
            let end = inner.find(first).ok_or_else(|| format!("a {first} is not closed"))?;
            words.push(Word::Quoted(inner[..end].to_owned()));
            rest = &inner[end + 1..];
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "=!<>~\"'".contains(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(format!("`{first}` is not understood"));
            }
            words.push(Word::Bare(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(words)
}
