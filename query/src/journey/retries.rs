//! Tries that follow a failed one, and the back-off between the two.
//!
//! A retry is a span that starts when a failed one has ended, or after, and is either its next sibling of the
//! same service and name but for the number of the attempt, or the next consumer of the same message for the
//! same service and group.
//!
//! Invariant: a span follows at most one failed try, and is followed by at most one.

use std::collections::{BTreeMap, HashSet};

use super::forest::Forest;
use super::messages::Messages;
use super::outcome::stem;
use super::records::SpanRecord;

/// A failed try and the next one, as indices into the spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Retry {
    pub(crate) failed: usize,
    pub(crate) again: usize,
}

impl Retry {
    /// How long the pause was.
    pub(crate) fn back_off_nano(&self, spans: &[SpanRecord]) -> i64 {
        spans[self.again].start.since(spans[self.failed].end()).max(0)
    }
}

/// Finds the retries among `spans`, which are sorted by start.
pub(crate) fn find(spans: &[SpanRecord], forest: &Forest, messages: &Messages) -> Vec<Retry> {
    if !spans.iter().any(|span| span.is_error) {
        return Vec::new();
    }
    let mut siblings: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (at, span) in spans.iter().enumerate() {
        // Without a parent, spans of one name are separate requests.
        if let Some(parent) = forest.parent[at] {
            let key = (parent, span.trace_id, span.service.as_str(), stem(&span.name));
            siblings.entry(key).or_default().push(at);
        }
    }
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for tries in siblings.values().chain(&messages.attempts) {
        for pair in tries.windows(2) {
            let retry = Retry { failed: pair[0], again: pair[1] };
            let is_after = spans[retry.again].start >= spans[retry.failed].end();
            if spans[retry.failed].is_error && is_after && seen.insert(retry.again) {
                found.push(retry);
            }
        }
    }
    found
}
