//! A term that is looked for, made ready once for the indexes of many segments.

use super::key_of;

/// A term as `kind=value`, and what it stands under in an index.
#[derive(Clone, Debug)]
pub(crate) struct Sought {
    /// As it was asked for.
    pub(crate) text: String,
    pub(super) key: u64,
}

impl Sought {
    /// Makes a term ready.
    pub(crate) fn new(term: &str) -> Self {
        Self { text: term.to_owned(), key: key_of(term) }
    }

    /// Makes terms ready.
    pub(crate) fn all(terms: &[String]) -> Vec<Self> {
        terms.iter().map(|term| Self::new(term)).collect()
    }

    pub(super) fn kind(&self) -> &str {
        super::kind_of(&self.text)
    }
}
