//! A term that is looked for, made ready once for the indexes of many segments.

use model::{IdTerm, TraceId};

use super::shortened;

/// A term as `kind=value`, as it stands in an index, and the trace it names.
#[derive(Clone, Debug)]
pub(crate) struct Sought {
    /// As it was asked for.
    pub(crate) text: String,
    /// As it stands in indexes from format 2 on.
    pub(super) short: String,
    pub(super) trace: Option<TraceId>,
}

impl Sought {
    /// Makes a term ready.
    pub(crate) fn new(term: &str) -> Self {
        let trace = term.parse::<IdTerm>().ok().and_then(|term| term.trace_id());
        Self { text: term.to_owned(), short: shortened(term).into_owned(), trace }
    }

    /// What looking it up costs, as so many look-ups of an id: a trace is sought in every bucket.
    pub(crate) const fn lookups(&self) -> usize {
        if self.trace.is_some() { 8 } else { 1 }
    }

    /// Makes terms ready.
    pub(crate) fn all(terms: &[String]) -> Vec<Self> {
        terms.iter().map(|term| Self::new(term)).collect()
    }
}
