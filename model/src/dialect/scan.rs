//! A JSON object read in one pass, without building it: each field is offered as soon as it is read.
//!
//! Owns: the grammar (RFC 8259), flattening nested objects with dots. Does not own: what a field means
//! (`role`). Invariants: what `serde_json` refuses is refused here (a test compares the two), so that a
//! line is JSON for both or for neither; text without escapes is not copied; depth is bounded.
//!
//! ```text
//! {"a":1,"b":{"c":"x\n","d":[1, 2]},"e":null}   ─►   a=1   b.c=x⏎   b.d=[1,2]
//! ```

use std::borrow::Cow;

use super::role::Roles;
use super::{DEPTH_MAX, ParsedLine};

/// Depth beyond which a text is not JSON for us, as for `serde_json`.
const NESTING_MAX: usize = 127;

/// The text is not one JSON object.
#[derive(Debug)]
pub(super) struct NotJson;

type Scan<T> = Result<T, NotJson>;

/// Reads a text that is one JSON object and offers its fields; what was offered before a mistake stays.
pub(super) fn object(text: &str, roles: &mut Roles, out: &mut ParsedLine) -> Scan<()> {
    let mut scanner = Scanner { text, bytes: text.as_bytes(), at: 0, path: String::new() };
    scanner.skip_space();
    scanner.expect(b'{')?;
    scanner.fields(1, roles, out)?;
    scanner.skip_space();
    if scanner.at == text.len() { Ok(()) } else { Err(NotJson) }
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// The names of the objects around, each with a dot behind it.
    path: String,
}

impl<'a> Scanner<'a> {
    /// The fields of an object behind its `{`.
    fn fields(&mut self, depth: usize, roles: &mut Roles, out: &mut ParsedLine) -> Scan<()> {
        self.skip_space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.skip_space();
            let key = self.string()?;
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            self.field(&key, depth, roles, out)?;
            self.skip_space();
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn field(&mut self, key: &str, depth: usize, roles: &mut Roles, out: &mut ParsedLine) -> Scan<()> {
        let start = self.at;
        match self.peek()? {
            b'"' => {
                let value = self.string()?;
                self.named(key, |name| roles.offer(name, &value, out));
            }
            b'{' if depth < DEPTH_MAX && !self.is_empty_object() => {
                self.at += 1;
                let outer = self.path.len();
                self.path.push_str(key);
                self.path.push('.');
                self.fields(depth + 1, roles, out)?;
                self.path.truncate(outer);
            }
            b'{' | b'[' => {
                self.skip_value(depth)?;
                let value = compact(&self.text[start..self.at]);
                // A list is no message, time or level, whatever its name.
                self.named(key, |name| out.push_attribute(name, &value));
            }
            b'n' => self.word("null")?,
            b't' | b'f' => {
                self.word(if self.bytes[self.at] == b't' { "true" } else { "false" })?;
                let value = &self.text[start..self.at];
                self.named(key, |name| roles.offer(name, value, out));
            }
            _ => {
                let has_exponent = self.number()?;
                let value = number_text(&self.text[start..self.at], has_exponent);
                self.named(key, |name| roles.offer(name, &value, out));
            }
        }
        Ok(())
    }

    /// Calls `with` with the whole name of a field: its key behind those of the objects around it.
    fn named(&mut self, key: &str, with: impl FnOnce(&str)) {
        if self.path.is_empty() {
            return with(key);
        }
        let outer = self.path.len();
        self.path.push_str(key);
        with(&self.path);
        self.path.truncate(outer);
    }

    fn is_empty_object(&self) -> bool {
        let inner = &self.bytes[self.at + 1..];
        inner.iter().find(|byte| !is_space(**byte)) == Some(&b'}')
    }

    /// Passes over a value of any kind.
    fn skip_value(&mut self, depth: usize) -> Scan<()> {
        match self.peek()? {
            b'{' | b'[' if depth >= NESTING_MAX => Err(NotJson),
            b'"' => self.string().map(drop),
            b'{' => self.skip_list(b'}', |scanner| {
                scanner.string()?;
                scanner.skip_space();
                scanner.expect(b':')?;
                scanner.skip_space();
                scanner.skip_value(depth + 1)
            }),
            b'[' => self.skip_list(b']', |scanner| scanner.skip_value(depth + 1)),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number().map(drop),
        }
    }

    fn skip_list(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Scan<()>) -> Scan<()> {
        self.at += 1;
        self.skip_space();
        if self.take(end) {
            return Ok(());
        }
        loop {
            self.skip_space();
            item(self)?;
            self.skip_space();
            if self.take(end) {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// A string with its escapes resolved; borrowed when it has none.
    fn string(&mut self) -> Scan<Cow<'a, str>> {
        self.expect(b'"')?;
        let start = self.at;
        self.at += plain_bytes(&self.bytes[start..]);
        if self.take(b'"') {
            return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
        }
        let mut resolved = self.text[start..self.at].to_owned();
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(Cow::Owned(resolved));
                }
                b'\\' => {
                    self.at += 1;
                    resolved.push(self.escape()?);
                }
                _ => return Err(NotJson),
            }
            let more = plain_bytes(&self.bytes[self.at..]);
            resolved.push_str(&self.text[self.at..self.at + more]);
            self.at += more;
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Scan<char> {
        let kind = self.peek()?;
        self.at += 1;
        Ok(match kind {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.code_point(),
            _ => return Err(NotJson),
        })
    }

    fn code_point(&mut self) -> Scan<char> {
        let first = self.code_unit()?;
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first).ok_or(NotJson);
        }
        self.expect(b'\\')?;
        self.expect(b'u')?;
        let second = self.code_unit()?;
        if first >= 0xdc00 || !(0xdc00..0xe000).contains(&second) {
            return Err(NotJson);
        }
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(NotJson)
    }

    fn code_unit(&mut self) -> Scan<u32> {
        let digits = self.bytes.get(self.at..self.at + 4).ok_or(NotJson)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, digit| {
            char::from(*digit).to_digit(16).map(|digit| unit << 4 | digit).ok_or(NotJson)
        })
    }

    /// Passes over a number; whether it has an exponent.
    fn number(&mut self) -> Scan<bool> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        let has_exponent = self.take(b'e') || self.take(b'E');
        if has_exponent {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(has_exponent)
    }

    fn digits(&mut self) -> Scan<()> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(NotJson) }
    }

    fn word(&mut self, word: &str) -> Scan<()> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(NotJson);
        }
        self.at += word.len();
        Ok(())
    }

    #[inline]
    fn skip_space(&mut self) {
        while self.bytes.get(self.at).is_some_and(|byte| is_space(*byte)) {
            self.at += 1;
        }
    }

    #[inline]
    fn peek(&self) -> Scan<u8> {
        self.bytes.get(self.at).copied().ok_or(NotJson)
    }

    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(is_there);
        is_there
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Scan<()> {
        if self.take(byte) { Ok(()) } else { Err(NotJson) }
    }
}

#[inline]
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Bytes before the first `"`, `\` or control character; eight at a time.
#[inline]
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // A byte's high bit is set where it is below the subtrahend; a carry can only reach later bytes.
        let (quote, slash) = (word ^ (ONES * 0x22), word ^ (ONES * 0x5c));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = quote.wrapping_sub(ONES) & !quote;
        let slash = slash.wrapping_sub(ONES) & !slash;
        let found = (control | quote | slash) & HIGH;
        if found != 0 {
            return at * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_end = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    bytes.len() - rest.len() + rest.iter().position(is_end).unwrap_or(rest.len())
}

/// A number as text: as it is written, but for exponents, which no time or level has.
fn number_text(text: &str, has_exponent: bool) -> Cow<'_, str> {
    if !has_exponent {
        return Cow::Borrowed(text);
    }
    let number = text.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
    number.map_or(Cow::Borrowed(text), |number| Cow::Owned(number.to_string()))
}

/// JSON text without the white space between its parts.
fn compact(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(is_space) {
        return Cow::Borrowed(text);
    }
    let (mut is_string, mut is_escaped) = (false, false);
    let kept = text.chars().filter(|c| {
        let is_kept = is_string || !matches!(c, ' ' | '\t' | '\n' | '\r');
        match c {
            '"' if !is_escaped => is_string = !is_string,
            _ => {}
        }
        is_escaped = is_string && *c == '\\' && !is_escaped;
        is_kept
    });
    Cow::Owned(kept.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::super::{Dialect, parse_json_object, parse_line};
    use super::*;

    fn scanned(text: &str) -> Option<ParsedLine> {
        let (mut roles, mut out) = (Roles::default(), ParsedLine::default());
        object(text, &mut roles, &mut out).ok()?;
        roles.settle(&mut out);
        Some(out)
    }

    fn fields(text: &str) -> Vec<(String, String)> {
        let line = scanned(text).unwrap_or_else(|| panic!("{text} is an object"));
        line.attributes.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(fields(text), expected, "{text}");
    }

    #[test]
    fn fields_come_in_the_order_of_the_line_with_the_names_of_the_objects_around() {
        check(
            r#" {"z":1,"b":{"c":"x\n","d":[1, "a \" ]", {"e": 2}]},"e":null,"f":{},"g":true} "#,
            &[("z", "1"), ("b.c", "x\n"), ("b.d", r#"[1,"a \" ]",{"e":2}]"#), ("f", "{}"), ("g", "true")],
        );
        check(r#"{"a":{"b":{"c":1},"d":2},"e":3}"#, &[("a.b.c", "1"), ("a.d", "2"), ("e", "3")]);
    }

    #[test]
    fn numbers_stay_as_they_are_written_but_for_exponents() {
        check(
            r#"{"a":12.50,"b":-0,"c":123456789012345678901234567890,"d":1.5e3}"#,
            &[("a", "12.50"), ("b", "-0"), ("c", "123456789012345678901234567890"), ("d", "1500.0")],
        );
    }

    #[test]
    fn escapes_are_resolved_and_a_key_that_comes_again_replaces_itself() {
        check(r#"{"\u00e9\/\ud83d\ude00":"\b\f\r\t\\"}"#, &[("é/😀", "\u{8}\u{c}\r\t\\")]);
        check(r#"{"a":1,"b":2,"a":3}"#, &[("a", "3"), ("b", "2")]);
        let line = scanned(r#"{"msg":"first","level":"info","msg":"second"}"#).expect("object");
        assert_eq!((line.body.as_str(), line.attributes.len()), ("second", 0));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in [
            "",
            "[]",
            "{",
            "{}x",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":+1}",
            "{\"a\":.5}",
            "{\"a\":1e}",
            "{\"a\":tru}",
            "{\"a\":\"\t\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\\ud800\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":[1 2]}",
            "{\"a\":\"x",
        ] {
            assert!(scanned(text).is_none(), "{text}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(126), "]".repeat(126));
        assert!(scanned(&deep).is_some() && serde_json::from_str::<Value>(&deep).is_ok());
        let deeper = format!("{{\"a\":{}1{}}}", "[".repeat(127), "]".repeat(127));
        assert!(scanned(&deeper).is_none() && serde_json::from_str::<Value>(&deeper).is_err());
    }

    /// JSON values whose numbers are written the same by everybody.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ -~\u{e9}\u{1f600}\n\"\\\\]{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            let key = prop_oneof!["[a-c.]{0,3}", Just("msg".to_owned()), Just("level".to_owned())];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(key, inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_object_reads_as_its_tree_does(value in value(), is_pretty: bool) {
            let text = if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.expect("text");
            let found = scanned(&text);
            prop_assert_eq!(found.is_some(), value.is_object());
            if let Value::Object(object) = value {
                let (mut tree, mut line) = (ParsedLine::default(), ParsedLine::default());
                parse_json_object(&object, &mut tree);
                parse_line(Dialect::Json, &text, &mut line);
                if is_pretty && !tree.body.is_empty() && line.body == text {
                    tree.body.clone_from(&line.body);
                }
                prop_assert_eq!(line, tree);
            }
        }

        #[test]
        fn both_readers_call_the_same_texts_json(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("{"), Just("}"), Just("["), Just("]"), Just("\""), Just("\"a\":"), Just("\"b\""), Just(":"), Just(","),
                    Just(" "), Just("1"), Just("0"), Just("-"), Just("."), Just("e5"), Just("\\n"), Just("\\u00e9"), Just("\\ud83d"),
                    Just("\\ude00"), Just("é"), Just("true"), Just("null"), Just("\t"), Just("{\"a\":1}"),
                ],
                0..12,
            ),
        ) {
            let text = format!("{{\"k\":{}}}", pieces.concat());
            let is_json = matches!(serde_json::from_str::<Value>(&text), Ok(Value::Object(_)));
            prop_assert_eq!(scanned(&text).is_some(), is_json, "{}", text);
        }

        #[test]
        fn the_end_of_plain_text_is_found_wherever_it_stands(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(plain_bytes(&bytes), expected.unwrap_or(bytes.len()));
        }
    }
}
