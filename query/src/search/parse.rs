//! Text to tree: recursive descent over the search syntax of `docs/reference/search.md`.
//!
//! ```text
//! or     = and { "OR" and }
//! and    = unary { ["AND"] unary }
//! unary  = ( "NOT" | "-" | "!" ) unary | "(" or ")" | term
//! term   = quoted | word | field ":" ( "(" or ")" | value ) | field op value
//! ```
//!
//! Invariants: the text is bounded by [`TEXT_BYTES_MAX`] and recursion by [`DEPTH_MAX`]; every error
//! names its column in characters.

use model::{Severity, SpanId, TraceId};

use super::ast::{Expr, Field, Op, Operand, Pattern, Term, Test};
use super::{DEPTH_MAX, SearchError, TERM_BYTES_MAX, TERMS_MAX, TEXT_BYTES_MAX};
use model::text::nearest;

/// Reads a search.
pub(super) fn parse(text: &str) -> Result<Expr, SearchError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("a search has {TEXT_BYTES_MAX} bytes at most, this one has {}", text.len());
        return Err(SearchError { column: 1, message });
    }
    let mut parser = Parser { text, at: 0, depth: 0, terms: 0 };
    parser.skip_space();
    if parser.is_at_end() {
        return Ok(Expr::All);
    }
    let expr = parser.or(None)?;
    match parser.peek() {
        None => Ok(expr),
        Some(_) => Err(parser.error_here("there is no `(` for this `)`")),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    terms: usize,
}

/// A word or quoted text as read; quoted text has no wildcards.
struct Value {
    pattern: Pattern,
    start: usize,
}

impl<'t> Parser<'t> {
    fn or(&mut self, field: Option<&Field>) -> Result<Expr, SearchError> {
        let mut parts = vec![self.and(field)?];
        while self.eat_keyword("OR") {
            parts.push(self.and(field)?);
        }
        Ok(one_or(parts, Expr::Or))
    }

    fn and(&mut self, field: Option<&Field>) -> Result<Expr, SearchError> {
        let mut parts = Vec::new();
        loop {
            self.skip_space();
            let is_end = self.is_at_end() || self.peek() == Some(')') || self.is_keyword("OR");
            if is_end && parts.is_empty() {
                return Err(self.error_here("a term is missing here"));
            }
            if is_end {
                return Ok(one_or(parts, Expr::And));
            }
            if !parts.is_empty() && self.eat_keyword("AND") {
                parts.push(self.unary(field)?);
                continue;
            }
            if self.is_keyword("AND") {
                return Err(self.error_here("a term is missing before `AND`"));
            }
            parts.push(self.unary(field)?);
        }
    }

    fn unary(&mut self, field: Option<&Field>) -> Result<Expr, SearchError> {
        self.skip_space();
        if self.is_at_end() || self.peek() == Some(')') || self.is_keyword("OR") || self.is_keyword("AND") {
            return Err(self.error_here("a term is missing here"));
        }
        if self.eat_keyword("NOT") {
            return self.nested(|parser| Ok(Expr::Not(Box::new(parser.unary(field)?))));
        }
        match self.peek() {
            Some('-' | '!') => {
                self.at += 1;
                if self.peek().is_none_or(char::is_whitespace) {
                    return Err(self.error_here("a term must follow directly, as in -path:/health"));
                }
                self.nested(|parser| Ok(Expr::Not(Box::new(parser.unary(field)?))))
            }
            Some('(') => self.group(field),
            _ => self.term(field),
        }
    }

    fn group(&mut self, field: Option<&Field>) -> Result<Expr, SearchError> {
        let open = self.at;
        self.at += 1;
        let expr = self.nested(|parser| parser.or(field))?;
        self.skip_space();
        if self.peek() != Some(')') {
            return Err(self.error(open, "this `(` has no `)`"));
        }
        self.at += 1;
        Ok(expr)
    }

    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, SearchError>,
    ) -> Result<T, SearchError> {
        if self.depth == DEPTH_MAX {
            return Err(self.error_here(format!("nested deeper than {DEPTH_MAX}")));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// One condition; inside `field:( … )` only values.
    fn term(&mut self, field: Option<&Field>) -> Result<Expr, SearchError> {
        self.terms += 1;
        if self.terms > TERMS_MAX {
            return Err(self.error_here(format!("a search has {TERMS_MAX} terms at most")));
        }
        if let Some(field) = field {
            let value = self.value("a value")?;
            return self.condition(field, value);
        }
        if self.peek() == Some('"') {
            let value = self.value("a phrase")?;
            return self.condition(&Field::Text, value);
        }
        let word = self.word(true)?;
        if !self.is_at_operator() {
            return self.condition(&Field::Text, word);
        }
        let field = self.field(&word)?;
        self.after_field(&field)
    }

    fn field(&self, word: &Value) -> Result<Field, SearchError> {
        let Some(name) = word.pattern.as_literal() else {
            return Err(self.error(word.start, "field names have no wildcards"));
        };
        Ok(match name {
            "" => return Err(self.error(word.start, "a field name is missing here, as in service:checkout")),
            "body" | "name" => Field::Text,
            "service" | "service.name" => Field::Service,
            "level" | "severity" => Field::Level,
            "trace_id" => Field::TraceId,
            "span_id" => Field::SpanId,
            "kind" => Field::Kind,
            "status" => Field::Status,
            "duration" => Field::Duration,
            _ => match name.strip_prefix("resource.") {
                Some(key) if !key.is_empty() => Field::Resource(key.to_owned()),
                _ => Field::Other(name.to_owned()),
            },
        })
    }

    fn after_field(&mut self, field: &Field) -> Result<Expr, SearchError> {
        let start = self.at;
        let (op, is_negated) = self.operator()?;
        let Some(op) = op else {
            if self.peek() == Some('(') && !is_negated {
                return self.nested(|parser| parser.group(Some(field)));
            }
            let value = self.value(&format!("a value of `{field}`"))?;
            let expr = self.condition(field, value)?;
            return Ok(if is_negated { Expr::Not(Box::new(expr)) } else { expr });
        };
        let value = self.value(&format!("a value to compare `{field}` with"))?;
        if matches!(field, Field::Text | Field::Service | Field::TraceId | Field::SpanId) {
            let message = format!("`{field}` has no order: use `{field}:` instead of `{field}{}`", op.text());
            return Err(self.error(start, message));
        }
        let operand = self.operand(field, &value)?;
        Ok(term(field, Test::Compare(op, operand)))
    }

    /// `:`, `=`, `!=` are no comparison; `:>=` is `>=`.
    fn operator(&mut self) -> Result<(Option<Op>, bool), SearchError> {
        let start = self.at;
        if self.peek() == Some(':') {
            self.at += 1;
            if !matches!(self.peek(), Some('<' | '>')) {
                return Ok((None, false));
            }
        }
        let rest = &self.text[self.at..];
        let run = rest.find(|c| !matches!(c, '<' | '>' | '=' | '!' | '~')).unwrap_or(rest.len());
        let run = &rest[..run.min(3)];
        self.at += run.len();
        Ok(match run {
            "=" | "==" => (None, false),
            "!=" => (None, true),
            ">" => (Some(Op::Gt), false),
            ">=" => (Some(Op::Ge), false),
            "<" => (Some(Op::Lt), false),
            "<=" => (Some(Op::Le), false),
            _ => {
                let right = match run {
                    "=>" => "`>=`",
                    "=<" => "`<=`",
                    "<>" | "!~" => "`!=`, or `-field:value`",
                    "=~" => "`:` with a wildcard, as in path:/api/*",
                    _ => "one of `:` `=` `!=` `>` `>=` `<` `<=`",
                };
                return Err(self.error(start, format!("unknown operator `{run}`: use {right}")));
            }
        })
    }

    /// What `field:value` says.
    fn condition(&self, field: &Field, value: Value) -> Result<Expr, SearchError> {
        if value.pattern.is_anything() {
            return Ok(if *field == Field::Text { Expr::All } else { term(field, Test::Exists) });
        }
        let test = match field {
            Field::Text if value.pattern.as_literal() == Some("") => {
                return Err(self.error(value.start, "this phrase is empty"));
            }
            Field::Level => Test::Compare(Op::Eq, self.operand(field, &value)?),
            Field::Duration => match value.pattern.as_literal().and_then(parse_nanos) {
                Some(nanos) => Test::Compare(Op::Eq, Operand::Duration(nanos)),
                None => Test::Matches(value.pattern),
            },
            Field::TraceId => self.hex(value, "trace id", 32, |text| TraceId::from_hex(text).is_some())?,
            Field::SpanId => self.hex(value, "span id", 16, |text| SpanId::from_hex(text).is_some())?,
            _ => Test::Matches(value.pattern),
        };
        Ok(term(field, test))
    }

    fn hex(
        &self,
        value: Value,
        what: &str,
        digits: usize,
        is_id: impl Fn(&str) -> bool,
    ) -> Result<Test, SearchError> {
        let parts = value.pattern.0.iter().map(|part| part.to_ascii_lowercase()).collect();
        let pattern = Pattern(parts);
        let is_right = match pattern.as_literal() {
            Some(text) => is_id(text),
            None => pattern.0.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit())),
        };
        match is_right {
            true => Ok(Test::Matches(pattern)),
            false => {
                let message =
                    format!("this is no {what}: write {digits} hex digits, or the first of them and `*`");
                Err(self.error(value.start, message))
            }
        }
    }

    fn operand(&self, field: &Field, value: &Value) -> Result<Operand, SearchError> {
        let wrong = |message: String| Err(self.error(value.start, message));
        let Some(text) = value.pattern.as_literal() else {
            return wrong(format!("`{field}` is compared with one value, without wildcards"));
        };
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        match field {
            Field::Level => match (Severity::from_word(text), number) {
                (Some(severity), _) => Ok(Operand::Severity(severity)),
                (None, Some(number)) if (1.0..=24.0).contains(&number) => Ok(Operand::Number(number)),
                _ => wrong(wrong_level(text)),
            },
            Field::Duration => match parse_nanos(text) {
                Some(nanos) => Ok(Operand::Duration(nanos)),
                None if number.is_some() => wrong(format!(
                    "a duration has a unit: write {text}ms, {text}s or another of ns us ms s m h d w"
                )),
                None => {
                    wrong(format!("`{text}` is no duration: write a number and a unit, as in 200ms or 1.5s"))
                }
            },
            _ => match (number, parse_nanos(text)) {
                (Some(number), _) => Ok(Operand::Number(number)),
                (None, Some(nanos)) => Ok(Operand::Duration(nanos)),
                _ => wrong(format!(
                    "`{text}` is neither a number nor a duration, so nothing is above or below it"
                )),
            },
        }
    }

    fn value(&mut self, what: &str) -> Result<Value, SearchError> {
        let start = self.at;
        if self.peek() == Some('"') {
            return Ok(Value { pattern: Pattern::literal(self.quoted()?), start });
        }
        let word = self.word(false)?;
        if self.at == start {
            return Err(self.error_here(format!("{what} is missing here")));
        }
        Ok(word)
    }

    fn quoted(&mut self) -> Result<String, SearchError> {
        let start = self.at;
        let mut text = String::new();
        let mut letters = self.text[start + 1..].char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.at = start + 1 + at + 1;
                    self.check_length(start)?;
                    return Ok(text);
                }
                '\\' => text.extend(letters.next().map(|(_, letter)| letter)),
                _ => text.push(letter),
            }
        }
        Err(self.error(start, "this `\"` has no second one"))
    }

    /// A word up to a space, a parenthesis or a quote; as a field name also up to an operator.
    fn word(&mut self, ends_at_operator: bool) -> Result<Value, SearchError> {
        let start = self.at;
        let mut parts = Vec::new();
        let mut last = String::new();
        while let Some(letter) = self.peek() {
            let is_end = letter.is_whitespace() || matches!(letter, '(' | ')' | '"');
            if is_end || (ends_at_operator && self.is_at_operator()) {
                break;
            }
            self.at += letter.len_utf8();
            match letter {
                '\\' => match self.peek() {
                    Some(escaped) => {
                        last.push(escaped);
                        self.at += escaped.len_utf8();
                    }
                    None => {
                        return Err(self
                            .error(self.at - 1, "nothing follows this `\\`: write `\\\\` for a backslash"));
                    }
                },
                // `**` means what `*` means.
                '*' if !parts.is_empty() && last.is_empty() => {}
                '*' => parts.push(std::mem::take(&mut last)),
                _ => last.push(letter),
            }
        }
        self.check_length(start)?;
        parts.push(last);
        Ok(Value { pattern: Pattern(parts), start })
    }

    fn check_length(&self, start: usize) -> Result<(), SearchError> {
        match self.at - start > TERM_BYTES_MAX {
            true => Err(self.error(start, format!("one term has {TERM_BYTES_MAX} bytes at most"))),
            false => Ok(()),
        }
    }

    fn is_at_operator(&self) -> bool {
        let rest = &self.text[self.at..];
        rest.starts_with([':', '=', '<', '>']) || rest.starts_with("!=") || rest.starts_with("!~")
    }

    fn is_keyword(&self, keyword: &str) -> bool {
        let Some(rest) = self.text[self.at..].strip_prefix(keyword) else { return false };
        rest.chars().next().is_none_or(|c| c.is_whitespace() || matches!(c, '(' | ')' | '"'))
    }

    fn eat_keyword(&mut self, keyword: &str) -> bool {
        self.skip_space();
        let is_there = self.is_keyword(keyword);
        if is_there {
            self.at += keyword.len();
        }
        is_there
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    fn error_here(&self, message: impl Into<String>) -> SearchError {
        self.error(self.at, message)
    }

    fn error(&self, at: usize, message: impl Into<String>) -> SearchError {
        SearchError { column: self.text[..at].chars().count() + 1, message: message.into() }
    }
}

fn one_or(mut parts: Vec<Expr>, many: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    match parts.len() {
        1 => parts.remove(0),
        _ => many(parts),
    }
}

fn term(field: &Field, test: Test) -> Expr {
    Expr::Term(Term { field: field.clone(), test })
}

fn wrong_level(text: &str) -> String {
    const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];
    match nearest(text, LEVELS) {
        Some(level) => format!("`{text}` is no level: did you mean `{level}`?"),
        None => format!("`{text}` is no level: use {}, or a number from 1 to 24", LEVELS.join(", ")),
    }
}

/// Nanoseconds of `200ms`, `1h30m` or `1.5s`.
pub(super) fn parse_nanos(text: &str) -> Option<i64> {
    if let Ok(duration) = model::time::parse_duration(text) {
        return i64::try_from(duration.as_nanos()).ok();
    }
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(unit);
    let number: f64 = number.parse().ok()?;
    let one = model::time::parse_duration(&format!("1{unit}")).ok()?;
    let nanos = number * one.as_nanos() as f64;
    (nanos < i64::MAX as f64).then_some(nanos as i64)
}
