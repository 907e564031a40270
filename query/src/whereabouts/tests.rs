//! Where messages are, over a real store with what a tap writes.

use model::kafka::MESSAGE_EVENT;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use query_api::{GroupState, MessageWhere};

use super::*;
use crate::testing::{NOW, SECOND, TestLog, TestSpan, TestStore, last_15m};

const PLACE: &[(&str, &str)] = &[
    ("messaging.destination.name", "orders"),
    ("messaging.destination.partition.id", "3"),
    ("messaging.kafka.offset", "88123"),
    ("messaging.kafka.message.key", "ORD-1"),
    ("messaging.header.x-order-id", "ORD-1"),
];

async fn asked(store: &TestStore, id: &str) -> Result<WhereAnswer, Error> {
    let (snapshot, ids, id) = (store.store.snapshot(), store.store.ids().clone(), id.to_owned());
    let read = move || find(&snapshot, &ids, &id, last_15m(), &Cancel::default());
    tokio::task::spawn_blocking(read).await.expect("no panic")
}

async fn tapped(store: &TestStore) {
    let log = TestLog {
        service: "kafka",
        event: MESSAGE_EVENT,
        body: "orders/3@88123",
        time: -600 * SECOND,
        attributes: PLACE,
        ..TestLog::default()
    };
    store.logs(&[log]).await;
}

/// A look at committed offset and end of the partition.
async fn look(store: &TestStore, group: &str, time: i64, committed: i64, end: i64) {
    let (topic, partition) = (("topic", "orders"), ("partition", "3"));
    store.gauge("kafka.consumer_group.offset", &[("group", group), topic, partition], time, committed).await;
    store.gauge("kafka.partition.current_offset", &[topic, partition], time, end).await;
}

fn group<'a>(message: &'a MessageWhere, name: &str) -> &'a GroupState {
    &message.groups.iter().find(|known| known.group == name).expect("a group").state
}

#[tokio::test]
async fn a_message_is_placed_by_the_tap_and_groups_by_their_offsets() {
    let store = TestStore::open().await;
    tapped(&store).await;
    for (time, committed) in [(-610, 88_100), (-410, 88_123), (-405, 88_124)] {
        look(&store, "billing", time * SECOND, committed, 88_200).await;
    }
    for (time, end) in [(-120, 89_000), (-60, 89_720), (0, 90_440)] {
        look(&store, "shipping", time * SECOND, 88_000, end).await;
    }
    let answer = asked(&store, "ORD-1").await.expect("found");
    let message = &answer.messages[0];
    assert_eq!(answer.messages.len(), 1);
    assert_eq!((&*message.topic, message.partition, message.offset), ("orders", 3, 88_123));
    assert_eq!((&*message.key, message.produced_at), ("ORD-1", NOW.plus(-600 * SECOND)));
    let (after, before) = (Some(NOW.plus(-410 * SECOND)), NOW.plus(-405 * SECOND));
    assert_eq!(group(message, "billing"), &GroupState::Passed { after, before });
    let GroupState::NotConsumed { lag, growth_per_second, ahead, .. } = group(message, "shipping") else {
        panic!("{:?}", message.groups)
    };
    assert_eq!((*lag, *growth_per_second, *ahead), (2_440, Some(12.0), 123));
}

#[tokio::test]
async fn a_consumer_span_tells_more_than_offsets_and_a_producer_span_names_its_service() {
    let store = TestStore::open().await;
    let producer = TestSpan {
        service: "checkout",
        name: "send orders",
        kind: SpanKind::Producer,
        trace: 1,
        span: 1,
        start: -601 * SECOND,
        duration: SECOND,
        attributes: PLACE,
        ..TestSpan::default()
    };
    let consumer = TestSpan {
        service: "billing",
        name: "process orders",
        kind: SpanKind::Consumer,
        trace: 2,
        span: 2,
        start: -400 * SECOND,
        links: vec![(1, 1)],
        ..TestSpan::default()
    };
    store.spans(&[producer, consumer]).await;
    look(&store, "billing", -300 * SECOND, 88_000, 88_200).await;
    let answer = asked(&store, "order_id=ORD-1").await.expect("found");
    let message = &answer.messages[0];
    assert_eq!((&*message.produced_by, message.produced_at), ("checkout", NOW.plus(-600 * SECOND)));
    let GroupState::Consumed { at, service, .. } = group(message, "billing") else {
        panic!("{:?}", message.groups)
    };
    assert_eq!((*at, &**service), (NOW.plus(-400 * SECOND), "billing"));
    assert_eq!(message.groups.len(), 1, "the group is told once");
}

#[tokio::test]
async fn an_id_without_messages_is_found_and_an_unknown_one_is_not() {
    let store = TestStore::open().await;
    let log = TestLog { service: "a", body: "order_id=ORD-2", time: -SECOND, ..TestLog::default() };
    store.logs(&[log]).await;
    assert!(asked(&store, "ORD-2").await.expect("found").messages.is_empty());
    assert!(matches!(asked(&store, "ORD-3").await, Err(Error::NotFound { .. })));
}
