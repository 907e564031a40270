//! Random and hostile records: nothing is lost, nothing is doubled, every nanosecond is accounted for.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Few ids, so that parents collide, form cycles, point nowhere and are shared.
fn any_span() -> impl Strategy<Value = SpanRecord> {
    let shape = (1..4u64, 1..12u64, 0..14u64, -50..50i64, -20..60i64, 0..6usize);
    let marks = (any::<bool>(), vec((1..4u64, 1..12u64), 0..2), vec(-60..80i64, 0..2));
    (shape, marks).prop_map(|((trace, id, parent, start, length, kind), (is_error, links, events))| {
        let kind = ["internal", "server", "client", "producer", "consumer", "unspecified"][kind];
        let mut one = span(trace, id, parent, ["a", "b"][id as usize % 2], "s", start, length).kind(kind);
        one.is_error = is_error;
        if id % 3 > 0 {
            one = one.attribute("messaging.destination.name", "t");
        }
        one = links.into_iter().fold(one, |one, (trace, span)| one.link(trace, span));
        one = events.into_iter().fold(one, |one, millis| one.event("e", millis, &[]));
        one.id("order_id=X")
    })
}

fn any_log() -> impl Strategy<Value = LogRecord> {
    (0..4u64, 0..14u64, -50..80i64, 0..24i32).prop_map(|(trace, span, millis, level)| {
        log(trace, span, "a", "line", millis).level(level).id("order_id=X")
    })
}

type Key = (RowKind, Option<TraceId>, Option<SpanId>, UnixNano, i64);

fn counted(keys: impl Iterator<Item = Key>) -> Vec<(Key, usize)> {
    let mut counts: BTreeMap<String, (Key, usize)> = BTreeMap::new();
    for key in keys {
        counts.entry(format!("{key:?}")).or_insert((key, 0)).1 += 1;
    }
    counts.into_values().collect()
}

proptest! {
    #[test]
    fn every_record_is_one_row_and_every_nanosecond_is_accounted_for(
        spans in vec(any_span(), 0..40),
        logs in vec(any_log(), 0..20),
    ) {
        prop_assume!(!spans.is_empty() || !logs.is_empty());
        let mut world = World::of(spans.clone(), logs.clone());
        let journey = world.journey("X");
        let mut distinct: Vec<&SpanRecord> = Vec::new();
        for span in &spans {
            if !distinct.contains(&span) {
                distinct.push(span);
            }
        }
        let of_span = |span: &&SpanRecord| {
            (RowKind::Span, Some(span.trace_id), Some(span.span_id), span.start, span.duration_nano.max(0))
        };
        let of_log = |log: &LogRecord| (RowKind::Log, log.trace_id, log.span_id, log.time, 0);
        let expected = counted(distinct.iter().map(of_span).chain(logs.iter().map(of_log)));
        let drawn = journey.rows.iter().filter(|row| matches!(row.kind, RowKind::Span | RowKind::Log));
        let drawn = drawn.map(|row| (row.kind, row.trace_id, row.span_id, row.start_time, row.duration_nano));
        prop_assert_eq!(counted(drawn), expected);
        let events = journey.rows.iter().filter(|row| row.kind == RowKind::Event).count();
        prop_assert_eq!(events, distinct.iter().map(|span| span.events.len()).sum::<usize>());
    }

    #[test]
    fn the_order_in_which_records_arrive_does_not_matter(
        spans in vec(any_span(), 1..20).prop_shuffle(),
        logs in vec(any_log(), 0..10).prop_shuffle(),
    ) {
        let one = World::of(spans.clone(), logs.clone()).journey("X");
        let other = World::of(spans.into_iter().rev().collect(), logs.into_iter().rev().collect()).journey("X");
        prop_assert_eq!(outline(&one), outline(&other));
        prop_assert_eq!(one.time_spent, other.time_spent);
    }

    #[test]
    fn correcting_clocks_keeps_every_record_and_every_nanosecond(
        spans in vec(any_span(), 1..30),
        logs in vec(any_log(), 0..10),
    ) {
        let mut world = World::of(spans, logs);
        let raw = world.journey("X");
        let corrected = world.corrected("X");
        prop_assert_eq!(corrected.counts, raw.counts);
        prop_assert_eq!(corrected.rows.len() >= raw.counts.spans + raw.counts.logs, true);
    }
}

#[test]
fn times_at_the_ends_of_the_calendar_do_not_overflow() {
    let mut one = span(1, 1, 0, "a", "early", 0, 0).id("order_id=X");
    (one.start, one.duration_nano) = (UnixNano::MIN, i64::MAX);
    let mut other = span(1, 2, 1, "a", "late", 0, 0).produces("t");
    (other.start, other.duration_nano) = (UnixNano::MAX, i64::MAX);
    let mut third = span(1, 3, 2, "b", "negative", 0, 0).consumes("t");
    third.duration_nano = i64::MIN;
    let journey = World::of(vec![one, other, third], vec![]).journey("X");
    assert_eq!(journey.duration_nano, i64::MAX);
}

#[test]
fn thousands_of_messages_with_one_id_stay_linear() {
    let twin = |span: SpanRecord| span.attribute("messaging.message.id", "m").id("message_id=m");
    let send = |at: u64| twin(span(1, at, 0, "a", "send", at as i64, 1).produces("t"));
    let take = |at: u64| twin(span(1, at, 0, "b", "take", at as i64, 1).consumes("t"));
    let spans: Vec<SpanRecord> = (1..5_000).map(send).chain((5_000..10_000).map(take)).collect();
    let journey = World::of(spans, vec![]).journey("message_id=m");
    let waits = journey.rows.iter().filter(|row| row.kind == RowKind::QueueWait && !row.is_open).count();
    assert_eq!(waits, 16, "an id that thousands share says nothing about any one of them");
}
