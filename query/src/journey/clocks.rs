//! Clocks that disagree: what to add to each service's times so that causes come before their effects.
//!
//! ```text
//! caller     ├────────────────┤        a call of another service lies inside the span that made it:
//! callee  ├────────┤                   offset between  caller.start - callee.start
//!            └──► +δ                              and  caller.end - callee.end
//! message    a consumer starts when its producer has started, or after: offset ≥ producer.start - consumer.start
//! ```
//!
//! All calls between two services narrow one interval. Where it holds 0 the clocks agree; where it does not,
//! its middle is taken, as NTP does; where it is empty (a clock that jumped) the middle of its two ends.
//! Offsets are counted from the service that the journey began in, along the narrowest intervals first.
//!
//! Invariant: raw times are what is stored and shown unless correction is asked for; what is corrected says so.

use std::collections::BTreeMap;

use super::forest::Forest;
use super::messages::Messages;
use super::records::{LogRecord, SpanRecord};

/// What may be added to the times of one service so that they agree with those of another.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    least: i64,
    most: i64,
}

impl Bounds {
    const ANY: Self = Self { least: -i64::MAX / 4, most: i64::MAX / 4 };

    fn narrow(&mut self, other: Self) {
        self.least = self.least.max(other.least);
        self.most = self.most.min(other.most);
    }

    const fn turned(self) -> Self {
        Self { least: self.most.saturating_neg(), most: self.least.saturating_neg() }
    }

    const fn width(self) -> i64 {
        self.most.saturating_sub(self.least)
    }

    fn offset(self) -> i64 {
        if self.least <= 0 && 0 <= self.most {
            return 0;
        }
        match (self.least > Self::ANY.least, self.most < Self::ANY.most) {
            (true, true) => self.least / 2 + self.most / 2,
            (true, false) => self.least,
            _ => self.most,
        }
    }
}

type Pairs<'a> = BTreeMap<(&'a str, &'a str), Bounds>;

/// Nanoseconds to add to the times of each service whose clock is off.
pub(crate) fn offsets(spans: &[SpanRecord], forest: &Forest, messages: &Messages) -> BTreeMap<String, i64> {
    let pairs = pairs(spans, forest, messages);
    let mut known: BTreeMap<&str, i64> = BTreeMap::new();
    // What nothing led to comes first: its clock is the one that others are compared with. Services that no
    // call joins are islands, each with its own clock.
    let is_first = |span: &&SpanRecord| {
        span.parent_span_id.is_none() && span.links.is_empty() && span.kind != "consumer"
    };
    for span in spans.iter().find(is_first).into_iter().chain(spans) {
        if known.contains_key(span.service.as_str()) {
            continue;
        }
        known.insert(&span.service, 0);
        while let Some((to, offset)) = surest(&pairs, &known) {
            known.insert(to, offset);
        }
    }
    known
        .into_iter()
        .filter(|(_, offset)| *offset != 0)
        .map(|(name, offset)| (name.to_owned(), offset))
        .collect()
}

/// The service whose offset follows most surely from those that are known, and that offset.
fn surest<'a>(pairs: &Pairs<'a>, known: &BTreeMap<&'a str, i64>) -> Option<(&'a str, i64)> {
    let mut best: Option<(i64, &'a str, i64)> = None;
    for ((from, to), bounds) in pairs {
        let Some(base) = known.get(from) else { continue };
        let candidate = (bounds.width(), *to, base.saturating_add(bounds.offset()));
        if !known.contains_key(to) && best.is_none_or(|best| candidate < best) {
            best = Some(candidate);
        }
    }
    best.map(|(_, to, offset)| (to, offset))
}

/// For each two services that called each other: what to add to the second.
fn pairs<'a>(spans: &'a [SpanRecord], forest: &Forest, messages: &Messages) -> Pairs<'a> {
    let mut pairs = Pairs::new();
    let mut add = |from: &'a str, to: &'a str, bounds: Bounds| {
        if from != to {
            pairs.entry((from, to)).or_insert(Bounds::ANY).narrow(bounds);
            pairs.entry((to, from)).or_insert(Bounds::ANY).narrow(bounds.turned());
        }
    };
    for (span, parent) in spans.iter().zip(&forest.parent) {
        let Some(parent) = parent.and_then(|parent| spans.get(parent as usize)) else { continue };
        let starts_after = parent.start.since(span.start);
        // Only a call that is waited for ends before its caller does.
        let most = match parent.kind.as_str() {
            "client" => parent.end().since(span.end()),
            _ => Bounds::ANY.most,
        };
        add(&parent.service, &span.service, Bounds { least: starts_after, most });
    }
    for wait in &messages.waits {
        let Some(consumer) = wait.consumer.map(|at| &spans[at]) else { continue };
        let producer = &spans[wait.producer];
        let least = producer.start.since(consumer.start);
        add(&producer.service, &consumer.service, Bounds { least, ..Bounds::ANY });
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
