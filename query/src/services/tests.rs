//! The overview over spans and log records of a real store.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use query_api::{Health, QueueRow, ServiceRow};

use super::*;
use crate::testing::{MS, NOW, SECOND, TestLog, TestSpan, TestStore, last_15m};

fn run(store: &TestStore) -> ServicesAnswer {
    overview(&store.store.snapshot(), last_15m(), &Cancel::default()).expect("readable")
}

fn service<'a>(answer: &'a ServicesAnswer, name: &str) -> &'a ServiceRow {
    answer.services.iter().find(|row| row.service == name).expect(name)
}

fn queue<'a>(answer: &'a ServicesAnswer, name: &str) -> &'a QueueRow {
    answer.queues.iter().find(|row| row.destination == name).expect(name)
}

#[tokio::test]
async fn requests_are_server_and_consumer_spans_and_the_worst_service_comes_first() {
    let store = TestStore::open().await;
    let server =
        TestSpan { service: "checkout", kind: SpanKind::Server, duration: 100 * MS, ..TestSpan::default() };
    let mut spans = Vec::new();
    for span in 0..90 {
        spans.push(TestSpan { span, start: -10 * SECOND, ..server.clone() });
    }
    for span in 90..99 {
        spans.push(TestSpan {
            span,
            start: -60 * SECOND,
            duration: 900 * MS,
            is_error: span < 95,
            ..server.clone()
        });
    }
    spans.push(TestSpan {
        span: 200,
        kind: SpanKind::Client,
        start: -10 * SECOND,
        is_error: true,
        ..server.clone()
    });
    spans.push(TestSpan { span: 201, service: "cart", start: -10 * SECOND, ..server.clone() });
    spans.push(TestSpan { span: 202, service: "catalog", start: -600 * SECOND, ..server });
    store.spans(&spans).await;
    store.store.seal().await.expect("sealed");
    let log = TestLog { service: "mail", severity: 17, time: -SECOND, body: "refused", ..TestLog::default() };
    store
        .logs(&[
            log.clone(),
            TestLog { severity: 9, ..log.clone() },
            TestLog { severity: 0, level: "FATAL", ..log },
        ])
        .await;

    let answer = run(&store);
    let names: Vec<_> = answer.services.iter().map(|row| (&*row.service, row.health)).collect();
    let expected =
        [("checkout", Health::Bad), ("catalog", Health::Silent), ("cart", Health::Ok), ("mail", Health::Ok)];
    assert_eq!(names, expected);
    let checkout = service(&answer, "checkout");
    assert!((checkout.rate - 0.11).abs() < 1e-6, "{}", checkout.rate);
    assert!((checkout.error_ratio - 5.0 / 99.0).abs() < 1e-9);
    let near =
        |value: Option<i64>, expected: i64| value.is_some_and(|v| (v - expected).abs() <= expected / 64);
    assert!(near(checkout.p50_nano, 100 * MS) && near(checkout.p95_nano, 900 * MS), "{checkout:?}");
    assert_eq!((checkout.rates.len(), answer.step_nano), (STEPS, 37_500 * MS));
    assert!(checkout.rates[23] > 0.0 && checkout.rates[0] == 0.0);
    assert!(checkout.error_ratios[22] > 0.5 && checkout.error_ratios[23] == 0.0);
    assert_eq!(service(&answer, "mail").log_errors, 2);
    assert_eq!(service(&answer, "mail").p50_nano, None);
    assert_eq!(service(&answer, "catalog").last_seen, NOW.plus(-600 * SECOND));
}

const ORDERS: &[(&str, &str)] = &[("messaging.destination.name", "orders")];

fn produced(span: u64, start: i64) -> TestSpan<'static> {
    TestSpan {
        service: "order",
        kind: SpanKind::Producer,
        trace: span,
        span,
        start,
        duration: 5 * MS,
        attributes: ORDERS,
        ..TestSpan::default()
    }
}

fn consumed(service: &'static str, span: u64, start: i64) -> TestSpan<'static> {
    TestSpan {
        service,
        kind: SpanKind::Consumer,
        trace: 1_000 + span,
        span: 1_000 + span,
        start,
        duration: MS,
        links: vec![(span, span)],
        attributes: ORDERS,
        ..TestSpan::default()
    }
}

#[tokio::test]
async fn a_queue_is_as_good_as_its_slowest_consumer() {
    let store = TestStore::open().await;
    let mut spans = Vec::new();
    for message in 0..20 {
        let start = -300 * SECOND + message as i64 * SECOND;
        spans.push(produced(message, start));
        spans.push(consumed("billing", message, start + 105 * MS));
        if message < 15 {
            spans.push(consumed("shipping", message, start + 205 * MS));
        }
    }
    store.spans(&spans).await;
    let answer = run(&store);
    let orders = queue(&answer, "orders");
    assert_eq!(orders.consumers, ["billing", "shipping"]);
    assert_eq!(orders.pending, 5);
    assert_eq!(orders.health, Health::Bad, "shipping has read nothing since");
    assert!((orders.in_rate - 20.0 / 900.0).abs() < 1e-9 && (orders.out_rate - 15.0 / 900.0).abs() < 1e-9);
    let wait = orders.wait_p95_nano.expect("waits");
    assert!((wait - 200 * MS).abs() <= 200 * MS / 64, "{wait}");
}

#[tokio::test]
async fn messages_on_their_way_worry_nobody_and_a_lost_few_are_a_warning() {
    let store = TestStore::open().await;
    let mut spans = Vec::new();
    for message in 0..20 {
        let start = -300 * SECOND + message as i64 * SECOND;
        spans.push(produced(message, start));
        if message % 5 != 0 {
            spans.push(consumed("billing", message, start + 105 * MS));
        }
    }
    store.spans(&spans).await;
    assert_eq!(queue(&run(&store), "orders").health, Health::Warn);

    let store = TestStore::open().await;
    store
        .spans(&[produced(1, -60 * SECOND), consumed("billing", 1, -59 * SECOND), produced(2, -SECOND)])
        .await;
    let answer = run(&store);
    assert_eq!(queue(&answer, "orders").health, Health::Ok);
    assert_eq!(queue(&answer, "orders").pending, 1);
}

#[tokio::test]
async fn a_queue_nobody_reads_is_bad() {
    let store = TestStore::open().await;
    store.spans(&[produced(1, -60 * SECOND), produced(2, -50 * SECOND)]).await;
    let answer = run(&store);
    let orders = queue(&answer, "orders");
    assert_eq!((orders.health, orders.pending, orders.wait_p95_nano), (Health::Bad, 2, None));
    assert!(orders.consumers.is_empty());
}

#[tokio::test]
async fn a_consumer_that_is_a_child_or_shares_the_record_is_matched_and_others_are_counted() {
    let store = TestStore::open().await;
    let record = [
        ("messaging.destination.name", "orders"),
        ("messaging.destination.partition.id", "3"),
        ("messaging.kafka.offset", "88121"),
    ];
    let start = -60 * SECOND;
    let child =
        TestSpan { trace: 1, parent: Some(1), links: Vec::new(), ..consumed("billing", 1, start + 50 * MS) };
    store.spans(&[produced(1, start), child]).await;
    let by_record =
        TestSpan { links: Vec::new(), attributes: &record, ..consumed("billing", 2, start + 70 * MS) };
    store.spans(&[TestSpan { attributes: &record, ..produced(2, start) }, by_record]).await;
    let answer = run(&store);
    assert_eq!((queue(&answer, "orders").pending, queue(&answer, "orders").health), (0, Health::Ok));

    let store = TestStore::open().await;
    let unlinked = TestSpan { links: Vec::new(), ..consumed("billing", 1, start + 50 * MS) };
    store.spans(&[produced(1, start), produced(2, start), unlinked]).await;
    let answer = run(&store);
    assert_eq!(queue(&answer, "orders").pending, 1, "by the number of messages");
}
