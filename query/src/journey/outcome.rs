//! How a journey went.
//!
//! The rule, in this order:
//!
//! 1. **Failed** when a span ended with status `error` and was not made good; or when a log record of
//!    level ERROR or above comes from a service of which the journey holds no span.
//! 2. **Waiting** when a message was produced and nobody has consumed it.
//! 3. **Ok** otherwise.
//!
//! An error span is *made good* when a later try succeeded, or when it stands below a span that was
//! made good. A later try is a span without error that starts when the failed one has ended, or after,
//! and is either a sibling (same trace, parent, service, and name but for the number of the attempt:
//! `charge #1`, `charge #2`), or a consumer of the same message for the same service and group.
//!
//! The failure that is shown is the root cause: among the errors that decide, one below which no other
//! decides, the one that ended first.

use std::collections::{HashMap, HashSet};

use model::{Severity, UnixNano};

use super::forest::{Forest, Node};
use super::messages::Messages;
use super::records::{LogRecord, SpanRecord};

/// The first error of a journey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) at: Culprit,
    pub(crate) message: String,
}

/// What failed: an index into the spans or the log records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Culprit {
    Span(usize),
    Log(usize),
}

/// Whether a log record is of level ERROR or above.
pub(crate) fn is_error_log(log: &LogRecord) -> bool {
    log.severity_number >= Severity::Error.number()
}

/// The failure that decides, if one does.
pub(crate) fn failure(
    spans: &[SpanRecord],
    logs: &[LogRecord],
    forest: &Forest,
    messages: &Messages,
) -> Option<Failure> {
    let span = root_cause(spans, forest, &deciding(spans, forest, messages));
    let log = silent_service_error(spans, logs);
    let ends_first = match (span, log) {
        (Some(span), Some(log)) => spans[span].end() <= logs[log].time,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if ends_first {
        return span.map(|span| Failure {
            at: Culprit::Span(span),
            message: span_message(spans, logs, forest, span),
        });
    }
    log.map(|log| Failure { at: Culprit::Log(log), message: logs[log].body.to_string() })
}

/// Which spans are errors that nothing made good.
fn deciding(spans: &[SpanRecord], forest: &Forest, messages: &Messages) -> Vec<bool> {
    if !spans.iter().any(|span| span.is_error) {
        return vec![false; spans.len()];
    }
    let mut is_good = vec![false; forest.parent.len()];
    retried_siblings(spans, forest, &mut is_good);
    for tries in &messages.attempts {
        mark_retried(spans, tries, &mut is_good);
    }
    for node in &forest.order {
        if let Some(parent) = forest.parent[*node as usize] {
            is_good[*node as usize] |= is_good[parent as usize];
        }
    }
    spans.iter().zip(is_good).map(|(span, is_good)| span.is_error && !is_good).collect()
}

fn retried_siblings(spans: &[SpanRecord], forest: &Forest, is_good: &mut [bool]) {
    let mut siblings: HashMap<_, Vec<usize>> = HashMap::new();
    for (at, span) in spans.iter().enumerate() {
        let key = (span.trace_id, forest.parent[at], span.service.as_str(), stem(&span.name));
        siblings.entry(key).or_default().push(at);
    }
    siblings.values().filter(|tries| tries.len() > 1).for_each(|tries| mark_retried(spans, tries, is_good));
}

/// Marks the errors among `tries`, which stand by start, that a later one made good.
fn mark_retried(spans: &[SpanRecord], tries: &[usize], is_good: &mut [bool]) {
    let mut last_success: Option<UnixNano> = None;
    for at in tries.iter().rev() {
        let span = &spans[*at];
        if span.is_error {
            is_good[*at] |= last_success.is_some_and(|success| success >= span.end());
        } else if last_success.is_none() {
            last_success = Some(span.start);
        }
    }
}

/// A span name without the number of the attempt: `charge #2`, `charge (attempt 2)` → `charge`.
pub(crate) fn stem(name: &str) -> &str {
    let text = name.trim_end().trim_end_matches(')');
    let before = text.trim_end_matches(|c: char| c.is_ascii_digit());
    if before.len() == text.len() {
        return name;
    }
    let before = before.trim_end();
    let marks = ["#", "attempt", "retry", "try"];
    match marks.iter().find_map(|mark| before.strip_suffix(mark)) {
        Some(rest) => rest.trim_end_matches([' ', '(', '-', ':']),
        None => name,
    }
}

/// Of the spans that decide, one without another below it, the first that ended.
fn root_cause(spans: &[SpanRecord], forest: &Forest, decides: &[bool]) -> Option<usize> {
    let mut has_cause_below = vec![false; forest.parent.len()];
    for node in forest.order.iter().rev().map(|node| *node as usize) {
        let is_cause = decides.get(node).copied().unwrap_or(false) || has_cause_below[node];
        if let Some(parent) = forest.parent[node] {
            has_cause_below[parent as usize] |= is_cause;
        }
    }
    let causes = (0..spans.len()).filter(|at| decides[*at] && !has_cause_below[*at]);
    causes.min_by_key(|at| (spans[*at].end(), *at))
}

/// The first error in the log of a service that sends no spans.
fn silent_service_error(spans: &[SpanRecord], logs: &[LogRecord]) -> Option<usize> {
    let received = spans.iter().filter(|span| !span.is_inferred());
    let speaking: HashSet<&str> = received.map(|span| span.service.as_str()).collect();
    let decides = |log: &&LogRecord| is_error_log(log) && !speaking.contains(log.service.as_str());
    let first: Option<(UnixNano, usize)> =
        logs.iter().enumerate().filter(|(_, log)| decides(log)).map(|(at, log)| (log.time, at)).min();
    first.map(|(_, at)| at)
}

/// What a failed span says: its status message, its exception, or the error logged in it.
fn span_message(spans: &[SpanRecord], logs: &[LogRecord], forest: &Forest, at: usize) -> String {
    let span = &spans[at];
    if !span.status_message.is_empty() {
        return span.status_message.to_string();
    }
    let exception = span.events.iter().rev().find_map(|event| event.attributes.get("exception.message"));
    if let Some(message) = exception {
        return message.to_string();
    }
    let inside =
        |log: &(usize, &LogRecord)| forest.log_parent[log.0] == Some(at as Node) && is_error_log(log.1);
    logs.iter().enumerate().find(inside).map(|(_, log)| log.body.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::stem;

    #[test]
    fn the_number_of_an_attempt_is_not_part_of_a_name() {
        for (name, expected) in [
            ("charge #1", "charge"),
            ("charge (attempt 2)", "charge"),
            ("charge retry 3", "charge"),
            ("charge", "charge"),
            ("GET /orders/1", "GET /orders/1"),
            ("process shard 7", "process shard 7"),
        ] {
            assert_eq!(stem(name), expected);
        }
    }
}
