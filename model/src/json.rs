//! A cursor over JSON text (RFC 8259): values are taken where they stand, no tree is built.
//!
//! Owns: the grammar, string escapes, the depth limit, places for error messages. Does not own: what
//! values mean (`otlp::json`, and whoever reads other objects).
//!
//! Invariants: memory grows only with the strings that carry escapes; nesting deeper than
//! [`DEPTH_MAX`] is an error, so recursion is bounded; a number is checked, not converted.

use std::borrow::Cow;

use thiserror::Error;

/// How deep arrays and objects may nest.
pub const DEPTH_MAX: usize = 128;

/// Why text is no JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct JsonError {
    /// From 1.
    pub line: usize,
    /// From 1, in bytes.
    pub column: usize,
    /// What was found, or expected.
    pub problem: &'static str,
}

/// What kind of value comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// `-1.5e3`
    Number,
    /// `true`, `false`
    Bool,
    /// `null`
    Null,
}

impl Kind {
    /// With its article, for "found …, expected …".
    pub const fn name(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Bool => "a boolean",
            Self::Null => "null",
        }
    }
}

/// A place to come back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pos: usize,
    depth: usize,
}

/// A position in JSON text.
#[derive(Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    pos: usize,
    depth: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning of a text.
    pub const fn new(text: &'a str) -> Self {
        Self { text, pos: 0, depth: 0 }
    }

    /// What comes next after white space.
    pub fn kind(&mut self) -> Result<Kind, JsonError> {
        match self.peek() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(_) => Err(self.error("expected a value")),
            None => Err(self.error("the text ends where a value is expected")),
        }
    }

    /// Whether only white space is left.
    pub fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Fails when anything but white space is left.
    pub fn end(&mut self) -> Result<(), JsonError> {
        if self.is_at_end() { Ok(()) } else { Err(self.error("expected the end of the text")) }
    }

    /// Where it stands.
    pub const fn mark(&self) -> Mark {
        Mark { pos: self.pos, depth: self.depth }
    }

    /// Goes back to where it stood.
    pub const fn rewind(&mut self, mark: Mark) {
        self.pos = mark.pos;
        self.depth = mark.depth;
    }

    /// Enters an object or array whose [`Cursor::kind`] was just seen.
    pub fn open(&mut self) -> Result<(), JsonError> {
        self.peek();
        if self.depth >= DEPTH_MAX {
            return Err(self.error("nested deeper than 128 levels"));
        }
        self.depth += 1;
        self.pos += 1;
        Ok(())
    }

    /// The next key of the object that was opened, its colon passed; `None` after the last.
    pub fn next_key(&mut self, is_first: &mut bool) -> Result<Option<Cow<'a, str>>, JsonError> {
        if !self.next_item(b'}', is_first)? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a key in double quotes"));
        }
        let key = self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.error("expected `:` after a key"));
        }
        self.pos += 1;
        Ok(Some(key))
    }

    /// Whether the array that was opened has another element.
    pub fn next_element(&mut self, is_first: &mut bool) -> Result<bool, JsonError> {
        self.next_item(b']', is_first)
    }

    fn next_item(&mut self, close: u8, is_first: &mut bool) -> Result<bool, JsonError> {
        let was_first = std::mem::replace(is_first, false);
        match self.peek() {
            Some(byte) if byte == close => {
                self.pos += 1;
                self.depth = self.depth.saturating_sub(1);
                Ok(false)
            }
            Some(_) if was_first => Ok(true),
            Some(b',') => {
                self.pos += 1;
                if self.peek() == Some(close) {
                    return Err(self.error("a comma before the closing bracket"));
                }
                Ok(true)
            }
            Some(_) => Err(self.error("expected `,` or the closing bracket")),
            None => Err(self.error("the text ends inside an object or array")),
        }
    }

    /// Passes the next value, whatever it is, and returns its text.
    pub fn skip(&mut self) -> Result<&'a str, JsonError> {
        let kind = self.kind()?;
        let start = self.pos;
        let mut is_first = true;
        match kind {
            Kind::Object => {
                self.open()?;
                while self.next_key(&mut is_first)?.is_some() {
                    self.skip()?;
                }
            }
            Kind::Array => {
                self.open()?;
                while self.next_element(&mut is_first)? {
                    self.skip()?;
                }
            }
            Kind::String => drop(self.string()?),
            Kind::Number => drop(self.number()?),
            Kind::Bool => drop(self.boolean()?),
            Kind::Null => self.literal("null")?,
        }
        Ok(&self.text[start..self.pos])
    }

    /// Moves behind the next line end; the end of the text when there is none.
    pub fn skip_line(&mut self) {
        let rest = &self.text.as_bytes()[self.pos..];
        self.pos += rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        self.depth = 0;
    }

    /// The line, counted from 1, of the next value.
    pub fn line(&mut self) -> usize {
        self.peek();
        self.place().0
    }

    /// A string, borrowed when it has no escapes. Half a surrogate pair reads as U+FFFD.
    pub fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.pos += 1;
        let start = self.pos;
        self.plain_run()?;
        if self.text.as_bytes()[self.pos] == b'"' {
            self.pos += 1;
            return Ok(Cow::Borrowed(&self.text[start..self.pos - 1]));
        }
        let mut out = self.text[start..self.pos].to_owned();
        loop {
            let byte = self.text.as_bytes()[self.pos];
            self.pos += 1;
            if byte == b'"' {
                return Ok(Cow::Owned(out));
            }
            self.escape(&mut out)?;
            let from = self.pos;
            self.plain_run()?;
            out.push_str(&self.text[from..self.pos]);
        }
    }

    /// Moves to the next `"` or `\`, which both exist when this returns `Ok`.
    fn plain_run(&mut self) -> Result<(), JsonError> {
        for (at, byte) in self.text.as_bytes()[self.pos..].iter().enumerate() {
            match byte {
                b'"' | b'\\' => {
                    self.pos += at;
                    return Ok(());
                }
                0..0x20 => {
                    self.pos += at;
                    return Err(self.error("a control character in a string"));
                }
                _ => {}
            }
        }
        self.pos = self.text.len();
        Err(self.error("the text ends inside a string"))
    }

    fn escape(&mut self, out: &mut String) -> Result<(), JsonError> {
        let Some(byte) = self.text.as_bytes().get(self.pos).copied() else {
            return Err(self.error("the text ends inside a string"));
        };
        let plain = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.pos += 1;
                out.push(self.unicode_escape()?);
                return Ok(());
            }
            _ => return Err(self.error("an escape that JSON does not have")),
        };
        self.pos += 1;
        out.push(plain);
        Ok(())
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let high = self.hex4()?;
        if !(0xd800..0xdc00).contains(&high) || !self.text.as_bytes()[self.pos..].starts_with(b"\\u") {
            return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before = self.pos;
        self.pos += 2;
        let low = self.hex4()?;
        if !(0xdc00..0xe000).contains(&low) {
            self.pos = before;
            return Ok(char::REPLACEMENT_CHARACTER);
        }
        let joined = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.as_bytes().get(self.pos..self.pos + 4);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else {
            return Err(self.error("expected four hex digits after `\\u`"));
        };
        let code = digits
            .iter()
            .filter_map(|digit| char::from(*digit).to_digit(16))
            .fold(0, |code, digit| code << 4 | digit);
        self.pos += 4;
        Ok(code)
    }

    /// A number, as it is written.
    pub fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.pos;
        self.pos += usize::from(self.byte() == Some(b'-'));
        let leading_zero = self.byte() == Some(b'0');
        if self.digits() > 1 && leading_zero {
            return Err(self.error("a number with a leading zero"));
        }
        if self.pos == start || !self.text.as_bytes()[self.pos - 1].is_ascii_digit() {
            return Err(self.error("a number without digits"));
        }
        if self.byte() == Some(b'.') {
            self.pos += 1;
            if self.digits() == 0 {
                return Err(self.error("a number without digits after its point"));
            }
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.pos += 1;
            self.pos += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return Err(self.error("a number without digits in its exponent"));
            }
        }
        Ok(&self.text[start..self.pos])
    }

    fn digits(&mut self) -> usize {
        let count = self.text.as_bytes()[self.pos..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.pos += count;
        count
    }

    /// `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool, JsonError> {
        let value = self.byte() == Some(b't');
        self.literal(if value { "true" } else { "false" })?;
        Ok(value)
    }

    /// Passes `null` if it comes next.
    pub fn take_null(&mut self) -> Result<bool, JsonError> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.literal("null").map(|()| true)
    }

    fn literal(&mut self, word: &str) -> Result<(), JsonError> {
        if !self.text.as_bytes()[self.pos..].starts_with(word.as_bytes()) {
            return Err(self.error("a word that is none of true, false and null"));
        }
        self.pos += word.len();
        Ok(())
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.pos += 1;
        }
        self.byte()
    }

    /// Line and column, both from 1.
    pub fn place(&self) -> (usize, usize) {
        let before = &self.text.as_bytes()[..self.pos.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.len() - before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) + 1;
        (line, column)
    }

    fn error(&self, problem: &'static str) -> JsonError {
        let (line, column) = self.place();
        JsonError { line, column, problem }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) -> Result<&str, JsonError> {
        let mut cursor = Cursor::new(text);
        let value = cursor.skip()?;
        cursor.end().map(|()| value)
    }

    #[test]
    fn an_error_names_line_and_column() {
        let error = check("{\n  \"a\": 01\n}").expect_err("leading zero");
        assert_eq!((error.line, error.problem), (2, "a number with a leading zero"));
        assert_eq!(check("[1,]").expect_err("comma").column, 4);
    }

    #[test]
    fn nesting_is_bounded_exactly() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(check(&nested(DEPTH_MAX)).is_ok());
        assert!(check(&nested(DEPTH_MAX + 1)).is_err());
        assert!(check(&"[".repeat(10_000_000)).is_err(), "a million brackets are refused at the 129th");
    }

    #[test]
    fn escapes_and_surrogate_pairs_are_read() {
        let mut cursor = Cursor::new(r#""a\"\\\/\b\f\n\r\té😀\ud83dx""#);
        cursor.kind().expect("a string");
        assert_eq!(cursor.string().expect("valid"), "a\"\\/\u{8}\u{c}\n\r\té😀\u{fffd}x");
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_is_passed_whole(text in any_json()) {
            prop_assert_eq!(check(&text).expect("valid"), text.trim());
        }

        #[test]
        fn whatever_passes_is_json_to_serde_json_too(text in "[\\[\\]{}\",:0-9a-z.eE+\\-\\\\ \n]{0,40}") {
            // Half surrogates are the one place where this cursor is kinder.
            if check(&text).is_ok() && !text.contains("\\u") {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok() || has_huge_number(&text), "{}", text);
            }
        }

        #[test]
        fn a_string_reads_as_serde_json_reads_it(text in ".{0,40}") {
            let written = serde_json::to_string(&text).expect("a string");
            let mut cursor = Cursor::new(&written);
            cursor.kind().expect("a string");
            prop_assert_eq!(cursor.string().expect("valid").into_owned(), text);
        }
    }

    /// serde_json refuses numbers that no double can hold; the cursor does not convert them.
    fn has_huge_number(text: &str) -> bool {
        serde_json::from_str::<serde_json::Value>(text)
            .is_err_and(|error| error.to_string().contains("out of range"))
    }

    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            ".{0,12}".prop_map(serde_json::Value::from),
        ];
        let value = leaf.prop_recursive(6, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        });
        (value, any::<bool>()).prop_map(|(value, is_pretty)| {
            if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }
                .expect("a tree")
        })
    }
}
