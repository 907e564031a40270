//! Graphs over a real store.

use model::{IdTerm, TimeRange};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use query_api::{EdgeKind, IdGraph, IdNode, NodeKind};

use super::*;
use crate::testing::{MS, SECOND, TestLog, TestSpan, TestStore, last_15m};

async fn asked(store: &TestStore, id: &str, limits: GraphLimits) -> Result<IdGraph, Error> {
    let (snapshot, ids, id) = (store.store.snapshot(), store.store.ids().clone(), id.to_owned());
    let read = move || graph(&snapshot, &ids, &id, last_15m(), &limits, &Cancel::default());
    tokio::task::spawn_blocking(read).await.expect("no panic")
}

fn node<'a>(graph: &'a IdGraph, term: &str) -> &'a IdNode {
    let found = graph.nodes.iter().find(|node| node.term.to_string() == term);
    found.unwrap_or_else(|| panic!("no node {term} in {:#?}", terms(graph)))
}

fn terms(graph: &IdGraph) -> Vec<String> {
    graph.nodes.iter().map(|node| node.term.to_string()).collect()
}

/// Edges as `from kind to: service field xN, …`.
fn edges(graph: &IdGraph) -> Vec<String> {
    let name = |at: usize| graph.nodes[at].term.to_string();
    let edge = |edge: &query_api::IdEdge| {
        let told = edge.evidence.iter().map(|of| format!("{} {} x{}", of.service, of.field, of.records));
        let told: Vec<String> = told.collect();
        format!("{} {:?} {}: {}", name(edge.from), edge.kind, name(edge.to), told.join(", "))
    };
    graph.edges.iter().map(edge).collect()
}

fn span(trace: u64, number: u64, attributes: &'static [(&'static str, &'static str)]) -> TestSpan<'static> {
    TestSpan {
        service: "checkout",
        name: "PlaceOrder",
        trace,
        span: number,
        start: -60 * SECOND,
        duration: 5 * MS,
        attributes,
        ..TestSpan::default()
    }
}

fn hex(trace: u64) -> String {
    crate::testing::trace_bytes(trace).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An order over two traces, a message between them, an untraced line, a user.
async fn purchase() -> TestStore {
    let store = TestStore::open().await;
    let producer = TestSpan {
        kind: SpanKind::Producer,
        name: "send orders",
        ..span(
            1,
            2,
            &[
                ("messaging.destination.name", "orders"),
                ("messaging.destination.partition.id", "3"),
                ("messaging.kafka.offset", "88121"),
                ("user.id", "u-7"),
            ],
        )
    };
    let consumer = TestSpan {
        service: "billing",
        kind: SpanKind::Consumer,
        name: "process orders",
        links: vec![(1, 2)],
        start: -50 * SECOND,
        ..span(2, 3, &[("correlation_id", "c-1")])
    };
    store.spans(&[span(1, 1, &[("order.id", "ORD-1")]), producer, consumer]).await;
    let line = TestLog {
        service: "nginx",
        body: "200 order_id=ORD-1 cart_id=C-9",
        time: -59 * SECOND,
        ..TestLog::default()
    };
    store.logs(&[line]).await;
    store
}

#[tokio::test]
async fn the_graph_says_what_hangs_together_and_by_which_fields() {
    let store = purchase().await;
    for is_sealed in [false, true] {
        if is_sealed {
            store.store.seal().await.expect("sealed");
        }
        let graph = asked(&store, "ORD-1", GraphLimits::default()).await.expect("found");
        assert_eq!(graph.matched, [IdTerm::new("order_id", "ORD-1")]);
        let (one, two) = (hex(1), hex(2));
        let linked = format!("link={one}/0000000000000003");
        let mut expected = vec![
            format!(
                "trace_id={one} Carries kafka_record=orders/3@88121: checkout template:{{messaging.destination.name}}/{{messaging.destination.partition.id}}@{{messaging.kafka.offset}} x1"
            ),
            format!("trace_id={one} Carries order_id=ORD-1: checkout attr:order.id x1"),
            format!("trace_id={one} Carries user_id=u-7: checkout attr:user.id x1"),
            format!("trace_id={two} Carries correlation_id=c-1: billing attr:correlation_id x1"),
            format!("trace_id={two} Link {linked}: billing span link x1"),
            format!("{linked} PartOf trace_id={one}: checkout  x1"),
            "order_id=ORD-1 SameRecord cart_id=C-9: nginx kv:cart_id x1".to_owned(),
        ];
        let mut found = edges(&graph);
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "sealed: {is_sealed}");

        let order = node(&graph, "order_id=ORD-1");
        assert!(order.is_asked && order.distance == 0);
        assert_eq!(
            (order.spans, order.logs, &*order.services),
            (1, 1, &["checkout".to_owned(), "nginx".to_owned()][..])
        );
        let user = node(&graph, "user_id=u-7");
        assert_eq!(user.not_expanded.as_deref(), Some("user_id does not join (link: false)"));
        assert_eq!((user.distance, node(&graph, &format!("trace_id={two}")).distance), (2, 3));
        assert_eq!(node(&graph, "kafka_record=orders/3@88121").kind, NodeKind::Message);
        assert_eq!(node(&graph, &format!("trace_id={one}")).name, "checkout PlaceOrder");
        assert_eq!(node(&graph, &linked).kind, NodeKind::Span);
        assert!(graph.cuts.iter().any(|cut| cut.limit == "ids.yaml user_id.link"), "{:?}", graph.cuts);
    }
}

#[tokio::test]
async fn from_a_producer_span_to_the_spans_that_link_to_it() {
    let store = purchase().await;
    let linked = format!("link={}/0000000000000003", hex(1));
    let graph = asked(&store, &linked, GraphLimits::default()).await.expect("found");
    assert!(node(&graph, &linked).is_asked);
    let to: Vec<_> = graph.edges.iter().filter(|edge| edge.kind == EdgeKind::Link).collect();
    assert_eq!(to.len(), 1);
    assert_eq!(graph.nodes[to[0].from].name, "billing process orders");
    let nobody = format!("link={}/0000000000000002", hex(1));
    assert!(matches!(asked(&store, &nobody, GraphLimits::default()).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_hub_is_shown_and_not_expanded_and_asked_for_it_is_cut_with_its_flag() {
    let store = TestStore::open().await;
    let own = span(1, 1, &[("order.id", "ORD-1"), ("correlation_id", "hub")]);
    let mut spans = vec![own];
    spans.extend((2..300).map(|trace| span(trace, trace, &[("correlation_id", "hub")])));
    store.spans(&spans).await;
    for is_sealed in [false, true] {
        if is_sealed {
            store.store.seal().await.expect("sealed");
        }
        let graph = asked(&store, "ORD-1", GraphLimits::default()).await.expect("found");
        assert_eq!(graph.nodes.len(), 3, "{:?}", terms(&graph));
        let why = node(&graph, "correlation_id=hub").not_expanded.clone().expect("not expanded");
        assert!(why.starts_with("hangs on "), "{why}");
        let cut =
            graph.cuts.iter().find(|cut| cut.limit == "ids.yaml correlation_id.max_fanout").expect("cut");
        assert!(cut.hint.as_deref().is_some_and(|hint| hint.contains("`degree`")), "{cut:?}");

        let limits = GraphLimits { degree: Some(1_000), nodes: 1_000, ..GraphLimits::default() };
        let whole = asked(&store, "ORD-1", limits).await.expect("found");
        assert_eq!(whole.nodes.iter().filter(|node| node.kind == NodeKind::Trace).count(), 299);

        let hub = asked(&store, "hub", GraphLimits::default()).await.expect("found");
        assert_eq!(hub.nodes.iter().filter(|node| node.kind == NodeKind::Trace).count(), 200);
        let cut = hub.cuts.iter().find(|cut| cut.limit == "nodes").expect("cut");
        assert!(cut.hint.as_deref().is_some_and(|hint| hint.contains("`nodes`")), "{cut:?}");
    }
}

#[tokio::test]
async fn a_search_that_nobody_waits_for_ends_and_says_so() {
    let store = purchase().await;
    let cancel = Cancel::default();
    cancel.cancel();
    let snapshot = store.store.snapshot();
    let limits = GraphLimits::default();
    let found = graph(&snapshot, store.store.ids(), "ORD-1", last_15m(), &limits, &cancel);
    assert!(matches!(found, Err(Error::NotFound { .. })), "nothing was searched");
}

#[tokio::test]
async fn kinds_are_listed_with_the_values_they_have() {
    let store = purchase().await;
    for is_sealed in [false, true] {
        if is_sealed {
            store.store.seal().await.expect("sealed");
        }
        let (snapshot, ids) = (store.store.snapshot(), store.store.ids().clone());
        let answer = kinds(&snapshot, &ids, TimeRange::ALL, &Cancel::default()).expect("readable");
        let row = |kind: &str| answer.kinds.iter().find(|row| row.kind == kind).expect("a kind");
        assert_eq!((row("order_id").values_in_spans, row("order_id").values_in_logs), (1, 1));
        assert_eq!((row("cart_id").values_in_spans, row("cart_id").values_in_logs), (0, 1));
        assert_eq!(row("user_id").example, Some(IdTerm::new("user_id", "u-7")));
        assert_eq!(row("payment_id").example, None);
        assert!(!row("user_id").link);
    }
}

/// How long `work` takes at its fastest of a few times.
fn fastest<T>(mut work: impl FnMut() -> T) -> std::time::Duration {
    let clock = model::SystemClock::shared();
    let time = |_| {
        let begin = clock.monotonic();
        drop(work());
        clock.monotonic().saturating_sub(begin)
    };
    (0..5).map(time).min().expect("five times")
}

/// Run with `cargo test -p query --lib -- --ignored --nocapture a_hub_of_100_000`.
#[tokio::test]
#[ignore = "fills a store with 100,000 traces, about a minute"]
async fn a_hub_of_100_000_traces_answers_in_the_time_of_a_normal_id() {
    use std::io::Write as _;

    let store = TestStore::open().await;
    for chunk in 0..100 {
        let spans: Vec<_> = (0..1_000)
            .map(|at| TestSpan {
                start: -(chunk * 8 + 1) * SECOND,
                ..span(chunk as u64 * 1_000 + at + 10, at, &[("user.id", "u-7"), ("correlation_id", "hub")])
            })
            .collect();
        store.spans(&spans).await;
    }
    store.spans(&[span(1, 1, &[("order.id", "ORD-1"), ("correlation_id", "hub"), ("user.id", "u-7")])]).await;
    store.spans(&[span(2, 2, &[("order.id", "ORD-2")])]).await;
    for place in ["head", "segment"] {
        if place == "segment" {
            store.store.seal().await.expect("sealed");
        }
        let (snapshot, ids) = (store.store.snapshot(), store.store.ids().clone());
        let limits = GraphLimits::default();
        for (id, what) in [
            ("ORD-2", "a normal id"),
            ("ORD-1", "an id beside a hub"),
            ("u-7", "a hub that does not join"),
            ("correlation_id=hub", "a hub that joins"),
        ] {
            let graph =
                || graph(&snapshot, &ids, id, last_15m(), &limits, &Cancel::default()).expect("found");
            let of_graph = fastest(graph);
            let journey = || {
                let limits = crate::journey::Limits::default();
                {
                    let request = crate::journey::Request { id, range: last_15m(), is_corrected: false };
                    crate::journey::find(&snapshot, &ids, &request, &limits).expect("found")
                }
            };
            let of_journey = fastest(journey);
            writeln!(
                std::io::stderr(),
                "{place:8} {what:26} graph {of_graph:>10.1?} journey {of_journey:>10.1?}"
            )
            .expect("standard error");
            assert!(of_graph.as_millis() < 2_000, "{what}: {of_graph:?}");
        }
    }
}

#[tokio::test]
async fn a_trace_that_a_record_names_in_its_text_belongs_and_leads_back_to_the_record() {
    let store = TestStore::open().await;
    store.spans(&[span(9, 9, &[("payment.id", "PAY-1")])]).await;
    let body = format!("settled order_id=ORD-5 trace_id={}", hex(9).to_uppercase());
    store.logs(&[TestLog { service: "legacy", body: &body, time: -59 * SECOND, ..TestLog::default() }]).await;
    for is_sealed in [false, true] {
        if is_sealed {
            store.store.seal().await.expect("sealed");
        }
        for id in ["ORD-5", "PAY-1"] {
            let graph = asked(&store, id, GraphLimits::default()).await.expect("found");
            for term in ["order_id=ORD-5", "payment_id=PAY-1", &format!("trace_id={}", hex(9))] {
                node(&graph, term);
            }
        }
    }
}

#[tokio::test]
async fn records_further_apart_than_max_age_do_not_join_and_the_cut_says_so() {
    let store = TestStore::open().await;
    let at =
        |trace, start: i64, attributes| TestSpan { start: start * SECOND, ..span(trace, trace, attributes) };
    store
        .spans(&[
            at(1, -600, &[("order.id", "ORD-1"), ("correlation_id", "reused")]),
            at(2, -590, &[("correlation_id", "reused")]),
            at(3, -60, &[("correlation_id", "reused")]),
        ])
        .await;
    let rules = "kinds: [{kind: order_id}, {kind: correlation_id, max_age: 1m}]";
    let rules = IdRules::parse(rules).expect("valid");
    let limits = GraphLimits::default();
    let found = graph(&store.store.snapshot(), &rules, "ORD-1", last_15m(), &limits, &Cancel::default());
    let found = found.expect("found");
    let traces = found.nodes.iter().filter(|node| node.kind == NodeKind::Trace);
    let traces: Vec<String> = traces.map(|node| node.term.value.clone()).collect();
    assert_eq!(traces, [hex(1), hex(2)]);
    assert!(found.cuts.iter().any(|cut| cut.limit == "ids.yaml correlation_id.max_age"), "{:?}", found.cuts);
}
