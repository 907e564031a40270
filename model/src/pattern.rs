//! A pattern from a configuration file: compiled while it is read, so that a mistake has its place.
//!
//! Invariant: what a pattern may take when compiled and when searched with is bounded.

use std::fmt;

use regex_automata::meta::{BuildError, Regex};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Memory a user's pattern may take when compiled.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A pattern with its text.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern, within bounds of memory.
    ///
    /// # Errors
    /// What is wrong with it, or that it is too large.
    pub fn new(text: &str) -> Result<Self, String> {
        let regex = compile(text).map_err(|error| {
            let cause = error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string);
            let cause = cause.split_whitespace().collect::<Vec<_>>().join(" ");
            format!("`{text}` is no pattern: {cause}")
        })?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// The compiled pattern.
    pub const fn regex(&self) -> &Regex {
        &self.regex
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Compiles an expression, within bounds of memory.
pub(crate) fn compile(text: &str) -> Result<Regex, Box<BuildError>> {
    let config = Regex::config()
        .nfa_size_limit(Some(PATTERN_BYTES_MAX))
        .onepass_size_limit(Some(PATTERN_BYTES_MAX))
        .dfa_size_limit(Some(PATTERN_BYTES_MAX))
        .hybrid_cache_capacity(PATTERN_BYTES_MAX);
    Regex::builder().configure(config).build(text).map_err(Box::new)
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

impl Eq for Pattern {}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
