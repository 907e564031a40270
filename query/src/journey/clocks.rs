//! Clocks that disagree: what to add to each service's times so that causes come before their effects.
//!
//! A call of another service lies inside the span that made it, and a consumer starts when its producer has
//! started, or after; `clock_offsets` holds the arithmetic. Offsets are counted from the service that the
//! journey began in.
//!
//! Invariant: raw times are what is stored and shown unless correction is asked for; what is corrected says so.

use std::collections::BTreeMap;

use super::forest::Forest;
use super::messages::Messages;
use super::records::{LogRecord, SpanRecord};
use crate::clock_offsets::{Bounds, Pairs};

/// Nanoseconds to add to the times of each service whose clock is off.
pub(crate) fn offsets(spans: &[SpanRecord], forest: &Forest, messages: &Messages) -> BTreeMap<String, i64> {
    // What nothing led to comes first: its clock is the one that others are compared with.
    let is_first = |span: &&SpanRecord| {
        span.parent_span_id.is_none() && span.links.is_empty() && span.kind != "consumer"
    };
    let given = spans.iter().find(is_first).into_iter().chain(spans);
    pairs(spans, forest, messages).offsets(given.map(|span| span.service.as_str()))
}

/// For each two services that called each other: what to add to the second.
fn pairs<'a>(spans: &'a [SpanRecord], forest: &Forest, messages: &Messages) -> Pairs<'a> {
    let mut pairs = Pairs::default();
    for (span, parent) in spans.iter().zip(&forest.parent) {
        let Some(parent) = parent.and_then(|parent| spans.get(parent as usize)) else { continue };
        // The place of an inferred row follows from its time: it says nothing about clocks.
        if span.is_inferred() || parent.is_inferred() {
            continue;
        }
        let starts_after = parent.start.since(span.start);
        // Only a call that is waited for ends before its caller does.
        let most = match parent.kind.as_str() {
            "client" => parent.end().since(span.end()),
            _ => Bounds::ANY.most,
        };
        pairs.add(&parent.service, &span.service, Bounds { least: starts_after, most });
    }
    for wait in &messages.waits {
        let Some(consumer) = wait.consumer.map(|at| &spans[at]) else { continue };
        let producer = &spans[wait.producer];
        let least = producer.start.since(consumer.start);
        pairs.add(&producer.service, &consumer.service, Bounds { least, ..Bounds::ANY });
    }
    pairs
}

/// Adds the offsets, and puts everything in the order of its new times.
pub(crate) fn correct(spans: &mut [SpanRecord], logs: &mut [LogRecord], offsets: &BTreeMap<String, i64>) {
    if offsets.is_empty() {
        return;
    }
    let of = |service: &str| offsets.get(service).copied().unwrap_or(0);
    for span in spans.iter_mut() {
        let offset = of(&span.service);
        span.start = span.start.plus(offset);
        span.events.iter_mut().for_each(|event| event.time = event.time.plus(offset));
    }
    for log in logs.iter_mut() {
        log.time = log.time.plus(of(&log.service));
    }
    spans.sort_by(|a, b| a.start.cmp(&b.start).then_with(|| a.cmp(b)));
    logs.sort();
}
