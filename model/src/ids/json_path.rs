//! `json:$.path` sources: one walk over a JSON body finds the values of all paths, without building a tree.
//!
//! A path is `$` and steps: `.key`, `['any key']`, `[3]`, `[*]` (every element). Values are texts, numbers
//! and booleans. Invariants: the walk is linear in the body; it goes no deeper than the longest path
//! ([`STEPS_MAX`]), the rest is passed over without recursion; a malformed body ends it and keeps what was
//! found before.

use memchr::memmem::Finder;

/// Paths of one `ids.yaml`.
pub(super) const PATHS_MAX: usize = 64;
/// Steps of one path.
pub(super) const STEPS_MAX: usize = 16;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
    Any,
}

/// All paths, each with the number of its source.
#[derive(Debug, Default)]
pub(super) struct JsonPaths {
    paths: Vec<(u16, Vec<Step>)>,
    /// The last key of every path: a body that contains none of them holds no value.
    last_keys: Vec<Finder<'static>>,
}

impl JsonPaths {
    /// Adds a path; the error says what is wrong with it.
    pub(super) fn add(&mut self, source: u16, path: &str) -> Result<(), String> {
        if self.paths.len() == PATHS_MAX {
            return Err(format!("there are more than {PATHS_MAX} json: sources"));
        }
        let steps = parse(path)?;
        let last_key = steps.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            _ => None,
        });
        let last_key = last_key.ok_or("name a key, as in $.order.id")?;
        self.last_keys.push(Finder::new(last_key).into_owned());
        self.paths.push((source, steps));
        Ok(())
    }

    /// Calls `found` with every value and the source of its path. `scratch` is for texts with escapes.
    pub(super) fn scan(&self, body: &str, scratch: &mut String, found: &mut dyn FnMut(u16, &str)) {
        let start = body.trim_start();
        if self.paths.is_empty() || !start.starts_with(['{', '[']) {
            return;
        }
        let bytes = start.as_bytes();
        // A key can be written with escapes; where there are none, it stands in the text as it is.
        let may_hold = memchr::memchr(b'\\', bytes).is_some()
            || self.last_keys.iter().any(|key| key.find(bytes).is_some());
        if may_hold {
            let all = u64::MAX >> (PATHS_MAX - self.paths.len());
            let mut walk = Walk { paths: &self.paths, text: start, at: 0, scratch, found };
            // What is malformed ends the walk.
            walk.value(all, 0).unwrap_or_default();
        }
    }
}

/// Calls `found` with every text in an array of texts, as attributes with several values are stored.
pub(super) fn each_text(array: &str, scratch: &mut String, found: &mut dyn FnMut(&str)) {
    let paths = [(0, vec![Step::Any])];
    let mut walk = Walk { paths: &paths, text: array, at: 0, scratch, found: &mut |_, text| found(text) };
    walk.value(1, 0).unwrap_or_default();
}

fn parse(path: &str) -> Result<Vec<Step>, String> {
    let mut rest = path.strip_prefix('$').ok_or("begin with $, as in $.order.id")?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = if let Some(key) = rest.strip_prefix('.') {
            let end = key.find(['.', '[']).unwrap_or(key.len());
            (Step::Key(key[..end].to_owned()), &key[end..])
        } else if let Some(quoted) = rest.strip_prefix("['") {
            let (key, after) = quoted.split_once("']").ok_or("a [' without its ']")?;
            (Step::Key(key.to_owned()), after)
        } else if let Some(index) = rest.strip_prefix('[') {
            let (index, after) = index.split_once(']').ok_or("a [ without its ]")?;
            let step = match index {
                "*" => Step::Any,
                number => {
                    Step::Index(number.parse().map_err(|_| format!("[{number}]: write a number or *"))?)
                }
            };
            (step, after)
        } else {
            return Err(format!("`{rest}`: steps are .key, ['key'], [0] and [*]"));
        };
        if step == Step::Key(String::new()) {
            return Err("a step has no key".to_owned());
        }
        steps.push(step);
        rest = after;
    }
    match steps.len() {
        0 => Err("name a key, as in $.order.id".to_owned()),
        1..=STEPS_MAX => Ok(steps),
        more => Err(format!("{more} steps, {STEPS_MAX} at most")),
    }
}

struct Walk<'a> {
    paths: &'a [(u16, Vec<Step>)],
    text: &'a str,
    at: usize,
    scratch: &'a mut String,
    found: &'a mut dyn FnMut(u16, &str),
}

impl<'a> Walk<'a> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.byte()
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    /// One value; `wanted` are the paths that lead here, `depth` the steps taken. `None` when the text is
    /// no JSON.
    fn value(&mut self, wanted: u64, depth: usize) -> Option<()> {
        match self.peek()? {
            b'{' if self.goes_on(wanted, depth) => self.object(wanted, depth),
            b'[' if self.goes_on(wanted, depth) => self.array(wanted, depth),
            b'{' | b'[' => self.skip(),
            b'"' => {
                let raw = self.string()?;
                self.emit(wanted, depth, raw, true);
                Some(())
            }
            _ => {
                let raw = self.scalar()?;
                if raw != "null" {
                    self.emit(wanted, depth, raw, false);
                }
                Some(())
            }
        }
    }

    fn each(&self, wanted: u64) -> impl Iterator<Item = (usize, &'a (u16, Vec<Step>))> + use<'a> {
        let paths = self.paths;
        (0..paths.len()).filter(move |at| wanted >> at & 1 == 1).map(move |at| (at, &paths[at]))
    }

    fn goes_on(&self, wanted: u64, depth: usize) -> bool {
        self.each(wanted).any(|(_, (_, steps))| steps.len() > depth)
    }

    fn emit(&mut self, wanted: u64, depth: usize, raw: &str, is_text: bool) {
        let mut is_plain = true;
        if is_text && raw.contains('\\') {
            unescape(raw, self.scratch);
            is_plain = false;
        }
        for (_, (source, steps)) in self.each(wanted) {
            if steps.len() == depth {
                (self.found)(*source, if is_plain { raw } else { self.scratch });
            }
        }
    }

    /// Those of `wanted` whose step at `depth` satisfies `fits`.
    fn narrow(&self, wanted: u64, depth: usize, fits: impl Fn(&Step) -> bool) -> u64 {
        let fitting = self.each(wanted).filter(|(_, (_, steps))| steps.get(depth).is_some_and(&fits));
        fitting.fold(0, |mask, (at, _)| mask | 1 << at)
    }

    fn object(&mut self, wanted: u64, depth: usize) -> Option<()> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            return self.take(b'}');
        }
        loop {
            self.peek()?;
            let key = self.string()?;
            self.take(b':')?;
            let narrowed = self.narrow(
                wanted,
                depth,
                |step| matches!(step, Step::Key(wanted) if same_text(key, wanted)),
            );
            self.member(narrowed, depth)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => return self.take(b'}'),
                _ => return None,
            }
        }
    }

    fn array(&mut self, wanted: u64, depth: usize) -> Option<()> {
        self.take(b'[')?;
        if self.peek()? == b']' {
            return self.take(b']');
        }
        for index in 0.. {
            let narrowed = self.narrow(wanted, depth, |step| {
                matches!(step, Step::Any) || matches!(step, Step::Index(at) if *at == index)
            });
            self.member(narrowed, depth)?;
            match self.peek()? {
                b',' => self.at += 1,
                b']' => return self.take(b']'),
                _ => return None,
            }
        }
        None
    }

    fn member(&mut self, wanted: u64, depth: usize) -> Option<()> {
        if wanted == 0 { self.skip() } else { self.value(wanted, depth + 1) }
    }

    /// The text between two quotes, escapes as they are.
    fn string(&mut self) -> Option<&'a str> {
        if self.byte()? != b'"' {
            return None;
        }
        let start = self.at + 1;
        let mut at = start;
        loop {
            at += memchr::memchr2(b'"', b'\\', &self.text.as_bytes()[at..])?;
            if self.text.as_bytes()[at] == b'"' {
                break;
            }
            // A backslash and what it stands before; one at the very end is malformed.
            at += 2;
            if at > self.text.len() {
                return None;
            }
        }
        self.at = at + 1;
        self.text.get(start..at)
    }

    /// A number or a word.
    fn scalar(&mut self) -> Option<&'a str> {
        let start = self.at;
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        while self.byte().is_some_and(is_part) {
            self.at += 1;
        }
        (self.at > start).then(|| &self.text[start..self.at])
    }

    /// Passes over one value without recursion.
    fn skip(&mut self) -> Option<()> {
        let mut open = 0usize;
        loop {
            match self.peek()? {
                b'"' => drop(self.string()?),
                b'{' | b'[' => {
                    open += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    open = open.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if open > 0 => self.at += 1,
                _ => drop(self.scalar()?),
            }
            if open == 0 {
                return Some(());
            }
        }
    }
}

/// Whether a raw JSON text means `wanted`.
fn same_text(raw: &str, wanted: &str) -> bool {
    match raw.contains('\\') {
        false => raw == wanted,
        true => {
            let mut text = String::new();
            unescape(raw, &mut text);
            text == wanted
        }
    }
}

/// Writes what a raw JSON text means; halves of surrogate pairs that stand alone become U+FFFD.
fn unescape(raw: &str, out: &mut String) {
    out.clear();
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut signs = after.chars();
        match signs.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let (sign, used) = unicode(after);
                out.push(sign);
                rest = after.get(used..).unwrap_or_default();
                continue;
            }
            Some(sign) => out.push(sign),
            None => {}
        }
        rest = signs.as_str();
    }
    out.push_str(rest);
}

/// The character of `uXXXX`, or of `uXXXX\uXXXX`, and how many bytes it took.
fn unicode(text: &str) -> (char, usize) {
    let unit = |at: usize| {
        let digits = text.get(at..at + 4)?;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let Some(first) = unit(1) else { return (char::REPLACEMENT_CHARACTER, 1) };
    if let (0xd800..0xdc00, Some("\\u"), Some(second @ 0xdc00..0xe000)) = (first, text.get(5..7), unit(7)) {
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 11);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 5)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(paths: &[&str], body: &str) -> Vec<(u16, String)> {
        let mut compiled = JsonPaths::default();
        for (source, path) in (0..).zip(paths) {
            compiled.add(source, path).expect(path);
        }
        let mut found = Vec::new();
        compiled.scan(body, &mut String::new(), &mut |source, value| found.push((source, value.to_owned())));
        found
    }

    fn check(path: &str, body: &str, expected: &[&str]) {
        let found: Vec<String> = values(&[path], body).into_iter().map(|(_, value)| value).collect();
        assert_eq!(found, expected, "{path} in {body}");
    }

    #[test]
    fn paths_reach_texts_numbers_and_booleans_but_no_containers() {
        check("$.orderId", r#"{"a":{"orderId":"no"},"orderId":"ORD-1"}"#, &["ORD-1"]);
        check("$.order.id", r#" {"order":{"x":[1,{"id":2}],"id":4711}}"#, &["4711"]);
        check("$.items[*].sku", r#"{"items":[{"sku":"a"},{"sku":"b"},7]}"#, &["a", "b"]);
        check("$.items[1].sku", r#"{"items":[{"sku":"a"},{"sku":"b"}]}"#, &["b"]);
        check("$['a.b']", r#"{"a.b":true,"a":{"b":false}}"#, &["true"]);
        check("$[0].id", r#"[{"id":"x"},{"id":"y"}]"#, &["x"]);
        check("$.id", r#"{"id":null}"#, &[]);
        check("$.id", r#"{"id":{"id":1}}"#, &[]);
        check("$.id", "no json, id", &[]);
    }

    #[test]
    fn two_paths_with_one_beginning_are_found_in_one_walk() {
        let body = r#"{"order":{"id":"O","payment":{"id":"P"}}}"#;
        let found = values(&["$.order.id", "$.order.payment.id"], body);
        assert_eq!(found, [(0, "O".to_owned()), (1, "P".to_owned())]);
    }

    #[test]
    fn escapes_in_keys_and_values_are_read() {
        check("$.orderId", r#"{"order\u0049d":"a\"\\\u00e4\ud83d\ude00\ud83dx"}"#, &["a\"\\ä😀\u{fffd}x"]);
    }

    #[test]
    fn a_body_that_breaks_off_keeps_what_was_found_before() {
        check("$.id", r#"{"id":"x","rest":[1,2"#, &["x"]);
        check("$.id", r#"{"rest":[1,2],"id":"x"#, &[]);
        check("$.id", r#"{"rest" 1,"id":"x"}"#, &[]);
    }

    #[test]
    fn deep_bodies_do_not_overflow_the_stack() {
        let body = format!(r#"{{"a":{}1{},"id":"x"}}"#, "[".repeat(20_000), "]".repeat(20_000));
        check("$.id", &body, &["x"]);
        check("$.a[*][*].b", &body, &[]);
    }

    #[test]
    fn mistakes_in_a_path_are_named() {
        let mut paths = JsonPaths::default();
        for (path, part) in [
            ("order.id", "begin with $"),
            ("$", "name a key"),
            ("$[*]", "name a key"),
            ("$..id", "no key"),
            ("$.a[x]", "a number or *"),
            ("$.a[1", "without its ]"),
            ("$x", "steps are"),
            (&"$.a".replace(".a", &".a".repeat(17)), "16 at most"),
        ] {
            let problem = paths.add(0, path).expect_err(path);
            assert!(problem.contains(part), "{path}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_walked_without_panic(body in r#"[{}\[\]:,"\\a1ué ]{0,60}"#) {
            values(&["$.a", "$[*].a", "$.a[1].a"], &body);
        }

        #[test]
        fn what_serde_finds_is_found(value in "\\PC{0,20}", key in "[a-z\"\\\\é]{1,6}") {
            let body = serde_json::json!({ "x": [{ "y": 1 }], &key: value }).to_string();
            let path = format!("$['{key}']");
            prop_assert_eq!(values(&[&path], &body), vec![(0, value)]);
        }
    }
}
