//! Patterns that find values in a text: linear-time expressions, some of them with a check of their own.

use regex_automata::Input;
use regex_automata::meta::Regex;
use regex_automata::util::captures::Captures;

use super::card::is_luhn;
use super::known::VALUES;
use crate::pattern;

/// Bytes of a pattern's text.
const PATTERN_BYTES_MAX: usize = 1_000;

/// One pattern, ready to search.
#[derive(Debug)]
pub struct ValuePattern {
    regex: Regex,
    check: fn(&str) -> bool,
}

impl ValuePattern {
    /// A pattern of those in [`VALUES`](super::known::VALUES).
    pub fn built_in(name: &str) -> Option<Self> {
        let (_, text) = VALUES.iter().find(|(known, _)| *known == name)?;
        let check = if name == "card" { is_card } else { always };
        Some(Self { check, ..Self::new(text).ok()? })
    }

    /// Compiles a pattern, within bounds of memory.
    ///
    /// # Errors
    /// What is wrong with it; also that it matches an empty text.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("the pattern has {} bytes, {PATTERN_BYTES_MAX} at most", text.len()));
        }
        let regex = pattern::compile(text).map_err(|error| {
            let problem = error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string);
            let last = problem.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("the pattern cannot be read: {last}")
        })?;
        if regex.is_match("") {
            return Err("the pattern matches an empty text, and so every place of every text".to_owned());
        }
        Ok(Self { regex, check: always })
    }

    /// Calls `found` with the first capture of every match, or with the match when there is none.
    pub fn each(&self, text: &str, found: &mut dyn FnMut(&str)) {
        let mut captures: Captures = self.regex.create_captures();
        let mut at = 0;
        while at <= text.len() {
            self.regex.search_captures(&Input::new(text).range(at..), &mut captures);
            let Some(all) = captures.get_match() else { return };
            let value = &text[captures.get_group(1).map_or(all.range(), |group| group.range())];
            if !value.is_empty() && (self.check)(value) {
                found(value);
            }
            at = if all.end() > at { all.end() } else { text.ceil_char_boundary(at + 1) };
        }
    }
}

fn always(_: &str) -> bool {
    true
}

/// Most numbers of that length are no cards.
fn is_card(text: &str) -> bool {
    text.bytes().filter(u8::is_ascii_digit).count() >= 13 && is_luhn(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str) -> Vec<String> {
        let mut all = Vec::new();
        ValuePattern::built_in(name).expect(name).each(text, &mut |value| all.push(value.to_owned()));
        all
    }

    #[test]
    fn each_built_in_pattern_finds_what_it_is_named_for_and_not_what_looks_alike() {
        for (name, _) in VALUES {
            assert!(ValuePattern::built_in(name).is_some(), "{name} compiles");
        }
        assert_eq!(found("email", "to ann@example.org, bob@b.example"), ["ann@example.org", "bob@b.example"]);
        assert_eq!(found("email", "orders/3@88121"), [""; 0]);
        assert_eq!(found("bearer", "Authorization: Bearer abc.def-123"), ["abc.def-123"]);
        assert_eq!(found("card", "card 4111 1111 1111 1111 declined"), ["4111 1111 1111 1111"]);
        assert_eq!(found("card", "offset 1795689371204000123"), [""; 0], "the check digit is wrong");
        assert_eq!(found("iban", "from DE89 3704 0044 0532 0130 00"), ["DE89 3704 0044 0532 0130 00"]);
        assert_eq!(found("password", r#"{"password": "hunter2!"}"#), ["hunter2!"]);
        assert_eq!(found("url_password", "postgres://shop:s3cret@db/x"), ["s3cret"]);
        assert_eq!(found("jwt", "t=eyJhbGciOiJI.eyJzdWIi.c2ln"), ["eyJhbGciOiJI.eyJzdWIi.c2ln"]);
        assert_eq!(found("ip", "from 10.1.2.3:80"), ["10.1.2.3"]);
    }
}
