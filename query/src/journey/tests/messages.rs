//! Producer, queue, consumer: who took what, and how long it waited.

use query_api::{EvidenceKind, JourneyStatus};

use super::*;

fn sender() -> SpanRecord {
    span(1, 1, 0, "shop", "send", 0, 10).produces("orders").id("order_id=X")
}

fn waits(journey: &Journey) -> Vec<(&str, i64, bool)> {
    let waits = journey.rows.iter().filter(|row| row.kind == RowKind::QueueWait);
    waits.map(|row| (row.name.as_str(), row.duration_nano / MILLI, row.is_open)).collect()
}

#[test]
fn a_consumer_is_found_by_link_coordinates_message_id_and_parent() {
    let coordinates = |span: SpanRecord| span.record("orders", "0", "7");
    let message = |span: SpanRecord| span.attribute("messaging.message.id", "m-1").id("message_id=m-1");
    let take = || span(2, 9, 0, "bill", "take", 30, 5).consumes("orders");
    for (from, to, kind) in [
        (sender(), take().link(1, 1), EvidenceKind::Link),
        (coordinates(sender()), coordinates(take()), EvidenceKind::Message),
        (message(sender()), message(take()), EvidenceKind::Message),
        (sender(), span(1, 9, 1, "bill", "take", 30, 5).consumes("orders"), EvidenceKind::SameTrace),
    ] {
        let journey = World::of(vec![from, to], vec![]).journey("X");
        let wait = journey.rows.iter().find(|row| row.kind == RowKind::QueueWait).expect("a wait");
        assert_eq!((wait.start_time, wait.duration_nano), (at(10), 20 * MILLI), "{kind:?}");
        assert_eq!((wait.service.as_str(), wait.evidence.kind), ("orders", kind));
        assert_eq!(wait.attributes["consumer.service"], "bill");
        assert_eq!((journey.status, journey.counts.messages), (JourneyStatus::Ok, 1));
    }
}

#[test]
fn each_service_and_group_that_takes_a_message_waits_on_its_own() {
    let group = |span: SpanRecord, group| span.attribute("messaging.consumer.group.name", group);
    let spans = vec![
        sender(),
        span(2, 2, 0, "bill", "take", 30, 5).consumes("orders").link(1, 1),
        group(span(3, 3, 0, "ship", "take", 40, 5).consumes("orders").link(1, 1), "fast"),
        group(span(4, 4, 0, "ship", "take", 50, 5).consumes("orders").link(1, 1), "slow"),
        group(span(5, 5, 0, "ship", "take again", 60, 5).consumes("orders").link(1, 1), "slow"),
    ];
    let journey = World::of(spans, vec![]).journey("X");
    assert_eq!(waits(&journey), [("orders", 20, false), ("orders", 30, false), ("orders", 40, false)]);
    assert_eq!(journey.counts.messages, 1);
}

#[test]
fn a_message_that_nobody_took_is_open_until_now() {
    let journey = World::of(vec![sender()], vec![]).journey("X");
    assert_eq!(journey.status, JourneyStatus::Waiting);
    assert_eq!(waits(&journey), [("orders", 99_990, true)]);
    assert_eq!(journey.duration_nano, 100_000 * MILLI);
    let expected = "trace shop send 10ms\n  span shop send 10ms\n    open orders orders 99990ms\n";
    assert_eq!(outline(&journey), expected);
}

#[test]
fn a_message_that_was_not_sent_does_not_wait() {
    let journey = World::of(vec![sender().error("broker down")], vec![]).journey("X");
    assert_eq!((waits(&journey), journey.status), (vec![], JourneyStatus::Failed));
}

#[test]
fn nothing_is_called_unconsumed_when_the_search_was_cut() {
    let mut spans = vec![sender()];
    spans.extend((2..=20).map(|at| span(at, at, 0, "bill", "take", 30, 5).consumes("orders").link(1, 1)));
    spans.push(span(1, 50, 0, "shop", "send", 1, 5).produces("mails").link(9, 9));
    let limits = Limits { traces: 2, ..Limits::default() };
    let journey = World::of(spans, vec![]).find("X", &limits).expect("found");
    check_invariants(&journey);
    assert!(waits(&journey).iter().all(|(_, _, is_open)| !is_open), "{:?}", waits(&journey));
    assert_eq!(journey.status, JourneyStatus::Ok);
}

#[test]
fn a_batch_producer_has_one_wait_for_each_message() {
    let take = |at: u64, offset: &str| {
        span(at, at, 0, "bill", "take", 10 * at as i64, 5)
            .consumes("orders")
            .record("orders", "0", offset)
            .link(1, 1)
    };
    let journey = World::of(vec![sender(), take(2, "7"), take(3, "8")], vec![]).journey("X");
    assert_eq!(waits(&journey), [("orders/0@7", 10, false), ("orders/0@8", 20, false)]);
    assert_eq!(journey.counts.messages, 2);
}

#[test]
fn a_batch_consumer_ends_one_wait_for_each_message_above_its_trace() {
    let send = |at: u64| span(at, at, 0, "shop", "send", at as i64, 1).produces("orders").id("order_id=X");
    let take = span(9, 9, 0, "bill", "take", 50, 5).consumes("orders").link(1, 1).link(2, 2);
    let journey = World::of(vec![send(1), send(2), take], vec![]).journey("X");
    let expected = "\
trace shop send 1ms
  span shop send 1ms
queue orders orders 48ms
queue orders orders 47ms
trace bill take 5ms
  span bill take 5ms
trace shop send 1ms
  span shop send 1ms
";
    assert_eq!(outline(&journey), expected);
}

#[test]
fn receiving_and_committing_do_not_make_a_message_wait_twice() {
    let operation = |span: SpanRecord, kind| span.attribute("messaging.operation.type", kind);
    let spans = vec![
        sender().record("orders", "0", "7"),
        operation(span(2, 2, 0, "bill", "poll", 20, 5).kind("client").link(1, 1), "receive")
            .attribute("messaging.destination.name", "orders"),
        operation(
            span(3, 3, 0, "bill", "take", 30, 5).consumes("orders").record("orders", "0", "7"),
            "process",
        ),
        operation(span(4, 4, 0, "bill", "ack", 40, 5).consumes("orders").link(1, 1), "settle"),
    ];
    assert_eq!(waits(&World::of(spans, vec![]).journey("X")), [("orders/0@7", 10, false)]);
}

#[test]
fn a_forwarded_message_keeps_its_id_and_its_destinations_apart() {
    let id = |span: SpanRecord| span.attribute("messaging.message.id", "m").id("message_id=m");
    let spans = vec![
        id(sender()),
        id(span(2, 2, 0, "relay", "take", 20, 5).consumes("orders")),
        id(span(2, 3, 2, "relay", "forward", 22, 2).produces("billed")),
        id(span(3, 4, 0, "ship", "take", 44, 5).consumes("billed")),
    ];
    let journey = World::of(spans, vec![]).journey("X");
    assert_eq!(waits(&journey), [("orders", 10, false), ("billed", 20, false)]);
}

#[test]
fn within_one_trace_the_wait_stands_before_its_consumer() {
    let spans = vec![
        sender(),
        span(1, 2, 1, "bill", "take", 30, 5).consumes("orders"),
        span(1, 3, 1, "shop", "ack", 9, 1),
    ];
    let expected = "\
trace shop send 35ms
  span shop send 10ms
    span shop ack 1ms
    queue orders orders 20ms
    span bill take 5ms
";
    assert_eq!(outline(&World::of(spans, vec![]).journey("X")), expected);
}

#[test]
fn a_message_of_an_unknown_producer_still_counts() {
    let spans = vec![
        span(1, 1, 0, "bill", "take", 0, 5).consumes("orders").record("orders", "0", "7").id("order_id=X"),
    ];
    let journey = World::of(spans, vec![]).journey("X");
    assert_eq!((journey.counts.messages, waits(&journey)), (1, vec![]));
}
