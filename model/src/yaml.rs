//! YAML files that people write, read strictly: what is not known is a mistake, and a mistake is told with its place
//! and with what would be right.
//!
//! ```text
//! text ─► at most so many bytes? ─► values, each Spanned with its place ─► checks of the file's owner
//!                  └─────────────────────────┴────── YamlError ──────────────────────┘
//! ```
//!
//! Owns: the words and the place of a mistake. Does not own: what a file holds, or which file it is.
//!
//! Invariant: structures that are read deny unknown fields, so that no key is passed over in silence.

use std::fmt;

use serde::de::DeserializeOwned;
pub use serde_saphyr::{Location, Spanned};

use crate::text::meant;

/// Why a file cannot be used. Displays as `LINE:COLUMN: MESSAGE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// Line of the mistake, from 1; 0 when it is of the whole file.
    pub line: u64,
    /// Column of the mistake in characters, from 1; 0 when it is of the whole file.
    pub column: u64,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl YamlError {
    /// A mistake at a place.
    pub fn at(place: Location, message: impl Into<String>) -> Self {
        Self { line: place.line(), column: place.column(), message: message.into() }
    }

    /// A mistake of the whole file.
    pub fn of_file(message: impl Into<String>) -> Self {
        Self { line: 0, column: 0, message: message.into() }
    }

    fn new(error: &serde_saphyr::Error) -> Self {
        use serde_saphyr::Error;
        let inner = error.without_snippet();
        let message = match inner {
            Error::SerdeUnknownField { field, expected, .. } => {
                let all = || format!("valid keys are {}", expected.join(", "));
                format!("unknown key `{field}`: {}", meant(field, expected.iter().copied(), all))
            }
            Error::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
            other => first_line(&other.to_string()),
        };
        match inner.location() {
            Some(place) => Self::at(place, message),
            None => Self::of_file(message),
        }
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line.max(1), self.column.max(1), self.message)
    }
}

impl std::error::Error for YamlError {}

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
/// Too many bytes, no YAML, unknown and missing keys, values of another type.
pub fn read<T: DeserializeOwned>(text: &str, bytes_max: usize) -> Result<T, YamlError> {
    if text.len() > bytes_max {
        let message = format!("the file has {} bytes, {bytes_max} at most", text.len());
        return Err(YamlError::of_file(message));
    }
    serde_saphyr::from_str(text).map_err(|error| YamlError::new(&error))
}

/// What the parser says, without the place, which stands in front.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or("not YAML").trim();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    line.split(" at line ").next().unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        name: Spanned<String>,
        #[serde(default)]
        limit: u32,
    }

    fn mistake(text: &str) -> String {
        read::<File>(text, 100).expect_err(text).to_string()
    }

    #[test]
    fn values_have_their_place() {
        let file: File = read("limit: 3\nname: 'ä'\n", 100).expect("valid");
        let place = file.name.referenced;
        assert_eq!((place.line(), place.column(), file.name.value.as_str(), file.limit), (2, 7, "ä", 3));
        assert_eq!(YamlError::at(place, "is no name").to_string(), "2:7: is no name");
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_what_would_be_right() {
        assert_eq!(mistake("name: a\nlimt: 3\n"), "2:1: unknown key `limt`: did you mean `limit`?");
        assert_eq!(mistake("name: a\nzzzzzz: 3\n"), "2:1: unknown key `zzzzzz`: valid keys are name, limit");
        assert!(mistake("limit: 3\n").ends_with(": the key `name` is missing"), "{}", mistake("limit: 3\n"));
        assert!(
            mistake("name: a\nlimit: many\n").starts_with("2:8: "),
            "{}",
            mistake("name: a\nlimit: many\n")
        );
        for text in ["", "[", "name: [", "a: b: c", "\u{0}", "name: a\nlimit: many\n"] {
            let said = mistake(text);
            assert_eq!(said.lines().count(), 1, "{text:?}: {said}");
            assert!(!said.contains(" at line ") && !said.contains("error: "), "{text:?}: {said}");
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let error = read::<File>(&" ".repeat(101), 100).expect_err("too large");
        assert_eq!((error.line, error.column), (0, 0));
        assert_eq!(error.to_string(), "1:1: the file has 101 bytes, 100 at most");
    }
}
