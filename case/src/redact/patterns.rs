//! Patterns of what should not leave the house: linear-time expressions, some of them with a check of their own.

use regex_automata::Input;
use regex_automata::meta::Regex;
use regex_automata::util::captures::Captures;

/// Bytes a pattern compiles to at most.
const PROGRAM_BYTES_MAX: usize = 1 << 20;
/// Bytes of a pattern's text.
const PATTERN_BYTES_MAX: usize = 1_000;

/// The patterns that are known by name, with what they look for.
pub(super) const BUILT_IN: [(&str, &str); 8] = [
    ("email", r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63})+"),
    ("bearer", r"(?i)\b(?:bearer|basic)\s+([A-Za-z0-9._~+/\-]{8,}=*)"),
    ("jwt", r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{4,}\.[A-Za-z0-9_\-]*"),
    ("card", r"\b\d(?:[ \-]?\d){12,18}\b"),
    ("iban", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
    (
        "password",
        r#"(?i)\b(?:password|passwd|pwd|secret|api[_\-]?key|access[_\-]?token)["']?\s*[=:]\s*["']?([^\s"',;&]{4,})"#,
    ),
    ("url_password", r"://[^/\s:@]{1,128}:([^/\s@]{1,128})@"),
    ("ip", r"\b(?:\d{1,3}\.){3}\d{1,3}\b"),
];

/// One pattern, ready to search.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    check: fn(&str) -> bool,
}

impl Pattern {
    /// A pattern of those in [`BUILT_IN`].
    pub(super) fn built_in(name: &str) -> Option<Self> {
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        let check = if name == "card" { is_card } else { always };
        Some(Self { check, ..Self::new(text).ok()? })
    }

    /// Compiles a pattern; the error says what is wrong with it.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("the pattern has {} bytes, {PATTERN_BYTES_MAX} at most", text.len()));
        }
        let config = Regex::config().nfa_size_limit(Some(PROGRAM_BYTES_MAX));
        let regex = Regex::builder().configure(config).build(text).map_err(|error| {
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
    pub(super) fn each(&self, text: &str, found: &mut dyn FnMut(&str)) {
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

/// Luhn's check: most numbers of that length are no cards.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match at % 2 {
            0 => *digit,
            _ if *digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum();
    digits.len() >= 13 && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str) -> Vec<String> {
        let mut all = Vec::new();
        Pattern::built_in(name).expect(name).each(text, &mut |value| all.push(value.to_owned()));
        all
    }

    #[test]
    fn each_built_in_pattern_finds_what_it_is_named_for_and_not_what_looks_alike() {
        for (name, _) in BUILT_IN {
            assert!(Pattern::built_in(name).is_some(), "{name} compiles");
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
