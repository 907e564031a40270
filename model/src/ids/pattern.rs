//! `re:PATTERN` sources: linear-time regular expressions on bodies.
//!
//! Invariants: what a pattern compiles to is bounded ([`PROGRAM_BYTES_MAX`], [`CACHE_BYTES_MAX`]); its
//! literals are looked for first, by vector instructions, so that a body without them costs one pass over
//! its bytes; a search allocates nothing.

use regex_automata::meta::Regex;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Input, PatternID};

/// Bytes of a pattern's text.
pub(super) const PATTERN_BYTES_MAX: usize = 1_000;
/// Bytes of the program it compiles to.
const PROGRAM_BYTES_MAX: usize = 1 << 20;
/// Bytes of the states a search keeps.
const CACHE_BYTES_MAX: usize = 1 << 18;

/// Matches of one pattern in one body; further ones are not looked for, as each may cost a pass over the rest.
const MATCHES_MAX: usize = 256;

/// A pattern, ready to search.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    has_capture: bool,
}

impl Pattern {
    /// Compiles a pattern; the error says what is wrong with it.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the pattern is empty".to_owned());
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("the pattern has {} bytes, {PATTERN_BYTES_MAX} at most", text.len()));
        }
        let config = Regex::config()
            .nfa_size_limit(Some(PROGRAM_BYTES_MAX))
            .onepass_size_limit(Some(PROGRAM_BYTES_MAX))
            .hybrid_cache_capacity(CACHE_BYTES_MAX);
        let regex = Regex::builder().configure(config).build(text).map_err(|error| explain(&error))?;
        let groups = regex.group_info().group_len(PatternID::ZERO);
        if groups > 2 {
            return Err("use at most one (capture); other groups are written (?:…)".to_owned());
        }
        if regex.is_match("") {
            return Err("the pattern matches an empty text, and so every place of every body".to_owned());
        }
        Ok(Self { regex, has_capture: groups == 2 })
    }

    /// Calls `found` with the capture of every match, or with the match when there is no capture, until it
    /// says `false`.
    pub(super) fn each(&self, body: &str, found: &mut dyn FnMut(&str) -> bool) {
        let mut input = Input::new(body);
        let slots: &mut [Option<NonMaxUsize>] = &mut [None; 4][..if self.has_capture { 4 } else { 2 }];
        for _ in 0..MATCHES_MAX {
            if self.regex.search_slots(&input, slots).is_none() {
                return;
            }
            let (Some(start), Some(end)) = (slots[0], slots[1]) else { return };
            let (start, end) = (start.get(), end.get());
            let value = match slots.get(2..4) {
                Some([Some(from), Some(to)]) => Some(&body[from.get()..to.get()]),
                Some(_) => None,
                None => Some(&body[start..end]),
            };
            if value.is_some_and(|value| !found(value)) {
                return;
            }
            // An empty match, as look-around allows, is stepped over.
            let next = if end > start { end } else { body.ceil_char_boundary(end + 1) };
            if next >= body.len() {
                return;
            }
            input.set_start(next);
        }
    }
}

/// The last sentence of what the engine says: the first shows the pattern again.
fn explain(error: &regex_automata::meta::BuildError) -> String {
    match (error.syntax_error(), error.size_limit()) {
        (Some(problem), _) => {
            let text = problem.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("the pattern cannot be read: {}", last.trim_start_matches("error: "))
        }
        (None, Some(limit)) => format!("the pattern is too large: it compiles to more than {limit} bytes"),
        (None, None) => format!("the pattern cannot be used: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pattern: &str, body: &str) -> Vec<String> {
        let mut found = Vec::new();
        Pattern::new(pattern).expect(pattern).each(body, &mut |value| {
            found.push(value.to_owned());
            true
        });
        found
    }

    #[test]
    fn every_match_gives_its_capture_or_itself() {
        assert_eq!(all(r"order (ORD-\d+)", "order ORD-1, order ORD-2"), ["ORD-1", "ORD-2"]);
        assert_eq!(all(r"\bORD-\d+\b", "ORD-1 XORD-2 ORD-3"), ["ORD-1", "ORD-3"]);
        assert_eq!(all(r"a(b)?", "aab"), ["b"]);
        assert!(all(r"\bORD-\d+", "").is_empty());
    }

    #[test]
    fn what_could_grow_or_match_everything_is_refused() {
        for (pattern, part) in [
            ("", "empty"),
            ("a*", "matches an empty text"),
            ("(a)(b)", "at most one (capture)"),
            ("ORD-(", "unclosed group"),
            (r"(?:\w{1,500}){100}x", "too large"),
            (&"a".repeat(1_001), "1000 at most"),
        ] {
            let problem = Pattern::new(pattern).expect_err(pattern);
            assert!(problem.contains(part), "{pattern}: {problem}");
        }
    }

    #[test]
    fn a_pattern_that_would_backtrack_for_ever_elsewhere_is_linear() {
        assert!(all("(?:a+)+b", &"a".repeat(50_000)).is_empty());
    }
}
