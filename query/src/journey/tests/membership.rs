//! What joins, what does not, and what is said about it.

use std::collections::BTreeSet;

use query_api::{Certainty, EvidenceKind};

use super::*;

fn names(journey: &Journey) -> BTreeSet<&str> {
    let is_record = |row: &&JourneyRow| matches!(row.kind, RowKind::Span | RowKind::Log);
    journey.rows.iter().filter(is_record).map(|row| row.name.as_str()).collect()
}

#[test]
fn an_order_number_reaches_every_trace_of_its_purchase() {
    let journey = purchase().journey("ORD-4711");
    assert_eq!(journey.matched, terms(&["order_id=ORD-4711"]));
    assert_eq!((journey.counts.traces, journey.counts.spans, journey.counts.logs), (4, 8, 3));
    assert_eq!(journey.services, ["gateway", "checkout", "nginx", "billing", "ledger", "mailer"]);
    assert_eq!(journey.ids, terms(&["kafka_record=orders/3@88121", "order_id=ORD-4711"]));
    assert_eq!(journey.cuts, []);
}

#[test]
fn every_way_into_a_purchase_shows_the_same_purchase() {
    let whole = purchase().journey("ORD-4711");
    for id in ["order_id=ORD-4711", &trace(2).to_string(), "orders/3@88121", &trace(4).to_string()] {
        let journey = purchase().journey(id);
        assert_eq!(outline(&journey), outline(&whole), "{id}");
    }
}

#[test]
fn each_trace_says_how_it_was_first_reached() {
    let journey = purchase().journey(&trace(1).to_string());
    let evidence: Vec<_> =
        journey.traces.iter().map(|it| (it.evidence.kind, it.evidence.text.as_str())).collect();
    let asked = format!("trace_id={}", trace(1));
    assert_eq!(
        evidence,
        [
            (EvidenceKind::Asked, asked.as_str()),
            (EvidenceKind::Link, "span link from orders/3@88121"),
            (EvidenceKind::SharedId, "order_id=ORD-4711"),
            (EvidenceKind::SharedId, "order_id=ORD-4711"),
        ]
    );
    assert_eq!(row(&journey, "POST /checkout 200").evidence.kind, EvidenceKind::SharedId);
    assert_eq!(row(&journey, "process orders").evidence.text, "span link from orders/3@88121");
    assert_eq!(row(&journey, "charge #1").evidence.kind, EvidenceKind::SameTrace);
}

#[test]
fn a_trace_that_carries_the_id_and_a_link_says_both() {
    let mut world = purchase();
    world.spans[3] = world.spans[3].clone().id("order_id=ORD-4711");
    let journey = world.journey("ORD-4711");
    let told: Vec<&str> = journey.traces[1].all_evidence().map(|of| of.text.as_str()).collect();
    assert_eq!(told, ["order_id=ORD-4711", "span link from orders/3@88121"]);
}

/// Every piece of evidence of a row: kind, how certain, where.
fn told(row: &JourneyRow) -> Vec<(EvidenceKind, Certainty, &str, &str)> {
    row.all_evidence().map(|of| (of.kind, of.certainty, of.text.as_str(), of.source.as_str())).collect()
}

#[test]
fn each_row_says_all_that_speaks_for_it_and_how_certain_that_is() {
    use Certainty::{Certain, Inferred, Likely};
    use EvidenceKind::{Asked, Baggage, Link, Message, SameTrace, SharedId};
    let spans = vec![
        span(1, 1, 0, "shop", "send", 0, 5).produces("orders").record("orders", "3", "7").id("order_id=X"),
        span(2, 2, 0, "bill", "take", 9, 20)
            .consumes("orders")
            .record("orders", "3", "7")
            .link(1, 1)
            .id("order_id=X")
            .id("correlation_id=c"),
        span(2, 3, 2, "bill", "try #1", 10, 5).error("no"),
        span(2, 4, 2, "bill", "try #2", 18, 5),
        span(3, 5, 0, "mail", "send", 30, 5).attribute("baggage", "order.id=X").handed("order_id=X"),
    ];
    let logs = vec![
        log(0, 0, "old", "took correlation_id=c over", 12).handed("correlation_id=c"),
        log(2, 2, "bill", "no id", 13),
    ];
    let journey = World::of(spans, logs).journey("X");
    assert_eq!(
        told(row(&journey, "take")),
        [
            (Asked, Certain, "order_id=X", "attr:order_id"),
            (Link, Certain, "span link from orders/3@7", ""),
            (
                Message,
                Certain,
                "kafka_record=orders/3@7",
                "template:{messaging.destination.name}/{messaging.destination.partition.id}@{messaging.kafka.offset}"
            ),
            (Message, Certain, "message orders/3@7", ""),
            (SharedId, Certain, "correlation_id=c", "attr:correlation_id"),
        ]
    );
    assert_eq!(told(row(&journey, "try #1")), [(SameTrace, Certain, "same trace", "")]);
    assert_eq!(told(row(&journey, "try"))[0].1, Inferred, "nothing records a pause");
    let mail = journey.rows.iter().find(|row| row.service == "mail" && row.kind == RowKind::Span);
    assert_eq!(told(mail.expect("a row")), [(Baggage, Likely, "order_id=X", "baggage:order.id")]);
    assert_eq!(journey.traces[2].evidence.kind, Baggage, "a trace with no more than baggage says so");
    let line = row(&journey, "took correlation_id=c over");
    assert_eq!(told(line), [(SharedId, Likely, "correlation_id=c", "kv:correlation_id")]);
    assert_eq!(told(row(&journey, "no id")), [(SameTrace, Certain, "same trace", "")]);
    let sent = told(row(&journey, "send"));
    assert!(sent.contains(&(Link, Certain, "span link to it in bill take", "")), "{sent:?}");
}

#[test]
fn a_trace_joins_by_one_log_record_that_carries_the_id() {
    let spans = vec![span(1, 1, 0, "a", "root", 0, 5), span(1, 2, 1, "b", "child", 1, 2)];
    let logs = vec![log(1, 2, "b", "took order", 2).id("order_id=X"), log(1, 1, "a", "other line", 3)];
    let journey = World::of(spans, logs).journey("X");
    assert_eq!(names(&journey), ["child", "other line", "root", "took order"].into());
}

#[test]
fn links_are_followed_in_both_directions() {
    let spans = || {
        vec![
            span(1, 1, 0, "a", "first", 0, 5).id("order_id=ONE"),
            span(2, 2, 0, "b", "second", 6, 5).link(1, 1),
            span(3, 3, 0, "c", "third", 12, 5).link(2, 2).id("order_id=THREE"),
            span(4, 4, 0, "d", "unrelated", 0, 5),
        ]
    };
    for id in ["ONE", "THREE"] {
        let journey = World::of(spans(), vec![]).journey(id);
        assert_eq!(names(&journey), ["first", "second", "third"].into(), "from {id}");
    }
    let journey = World::of(spans(), vec![]).journey("THREE");
    assert_eq!(journey.traces[1].evidence.text, "span link to it in c third");
}

#[test]
fn a_kind_that_does_not_join_is_shown_and_not_followed() {
    let user = "user_id=u-7";
    let spans = vec![
        span(1, 1, 0, "a", "mine", 0, 5).id("order_id=X").id(user),
        span(2, 2, 0, "a", "other order of the user", 9, 5).id("order_id=Y").id(user),
    ];
    let journey = World::of(spans.clone(), vec![]).journey("X");
    assert_eq!(names(&journey), ["mine"].into());
    assert!(journey.ids.contains(&terms(&[user])[0]));
    let cut = cut(&journey, "ids.yaml user_id.link");
    assert_eq!(cut.what, "user_id=u-7 is shown and not followed: user_id does not join");

    let asked = World::of(spans, vec![]).journey("u-7");
    assert_eq!(asked.counts.traces, 2, "the id that is asked for is followed whatever its kind");
}

#[test]
fn a_value_on_too_many_traces_is_named_and_not_followed() {
    let shared = "correlation_id=shared";
    let mut spans = vec![span(1, 1, 0, "a", "mine", 0, 5).id("order_id=X").id(shared)];
    spans.extend((2..=60).map(|at| span(at, at, 0, "a", "other", 10, 5).id(shared)));
    let journey = World::of(spans.clone(), vec![]).journey("X");
    assert_eq!(names(&journey), ["mine"].into());
    let refused = cut(&journey, "ids.yaml correlation_id.max_fanout");
    assert_eq!(refused.what, "correlation_id=shared is shown and not followed: it hangs on 60 traces");

    assert_eq!(World::of(spans, vec![]).journey("shared").counts.traces, 60, "asked for, it is followed");
}

#[test]
fn an_untraced_record_belongs_once_however_many_ids_lead_to_it() {
    let (order, correlation) = ("order_id=X", "correlation_id=c");
    let spans = vec![span(1, 1, 0, "a", "root", 0, 5).id(order).id(correlation)];
    let logs = vec![
        log(0, 0, "n", "by both", 1).id(order).id(correlation),
        log(0, 0, "n", "by the second", 2).id(correlation),
        log(0, 0, "n", "by neither", 3).id("order_id=Y"),
        log(0, 0, "n", "by the second", 2).id(correlation),
    ];
    let journey = World::of(spans, logs).journey("X");
    let lines: Vec<&str> =
        journey.rows.iter().filter(|row| row.kind == RowKind::Log).map(|row| row.name.as_str()).collect();
    assert_eq!(lines, ["by both", "by the second", "by the second"], "equal lines are two lines");
}

#[test]
fn untraced_records_lead_on_to_traces() {
    let spans = vec![span(1, 1, 0, "a", "root", 0, 5).id("correlation_id=c")];
    let logs = vec![log(0, 0, "n", "line", 1).id("order_id=X").id("correlation_id=c")];
    let journey = World::of(spans, logs).journey("X");
    assert_eq!(names(&journey), ["line", "root"].into());
    assert_eq!(journey.traces[0].evidence.text, "correlation_id=c");
}

#[test]
fn an_unknown_id_says_what_was_searched() {
    let error = purchase().find("ORD-9", &Limits::default()).expect_err("unknown");
    let Error::NotFound { searched, range } = error else { panic!("{error}") };
    assert!(searched.contains(&terms(&["order_id=ORD-9"])[0]));
    assert_eq!(searched, IdRules::default().candidates("ORD-9"));
    assert_eq!(range, TimeRange::ALL);
}

#[test]
fn a_span_that_arrived_twice_is_shown_once_and_counted() {
    let mut world = purchase();
    world.spans.extend(world.spans[..2].to_vec());
    let journey = world.journey("ORD-4711");
    assert_eq!(journey.counts.spans, 8);
    assert_eq!(cut(&journey, "duplicates").what, "2 spans that arrived more than once are shown once");
}

/// Trace n leads to trace n + 1.
fn chain(length: u64) -> World {
    let link = |at: u64| {
        let one = span(at, at, 0, "s", "step", at as i64 * 10, 5);
        if at == 1 { one.id("order_id=X") } else { one.link(at - 1, at - 1) }
    };
    World::of((1..=length).map(link).collect(), vec![])
}

#[test]
fn hops_are_bounded_and_the_bound_is_reported() {
    let journey = chain(9).journey("X");
    assert_eq!((journey.counts.traces, journey.cuts.len()), (9, 1), "the ninth trace is the last hop");
    let journey = chain(20).journey("X");
    assert_eq!(journey.counts.traces, 9);
    assert_eq!(cut(&journey, "hops").what, "cut after 8 hops; 1 id or link is not followed");
    let limits = Limits { hops: 30, ..Limits::default() };
    let journey = chain(20).find("X", &limits).expect("found");
    assert_eq!((journey.counts.traces, journey.cuts), (20, vec![]));
}

#[test]
fn traces_are_bounded_and_the_newest_are_kept() {
    let spans = (1..=300).map(|at| span(at, at, 0, "a", "visit", at as i64, 1).id("user_id=u-7")).collect();
    let journey = World::of(spans, vec![]).journey("u-7");
    assert_eq!(journey.counts.traces, 200);
    assert_eq!(journey.start_time, at(101));
    assert_eq!(cut(&journey, "traces").what, "cut at 200 traces; 100 older ones are left out");
}

#[test]
fn rows_are_bounded_and_what_is_left_out_is_counted() {
    let spans = (1..=50).map(|at| span(1, at, at - 1, "a", "s", at as i64, 1).id("order_id=X")).collect();
    let logs = (1..=40).map(|at| log(1, 1, "a", "line", at)).collect();
    let limits = Limits { spans: 20, logs: 15, ..Limits::default() };
    let journey = World::of(spans, logs).find("X", &limits).expect("found");
    check_invariants(&journey);
    assert_eq!((journey.counts.spans, journey.counts.logs), (20, 15));
    assert_eq!(cut(&journey, "spans").what, "cut at 20 spans; 30 later ones are left out");
    assert_eq!(cut(&journey, "logs").what, "cut at 15 log records; 25 are left out");
    assert_eq!(journey.start_time, at(1), "the beginning is kept");
}

#[test]
fn ids_to_follow_are_bounded() {
    let ids = |span: SpanRecord| (0..50).fold(span, |span, at| span.id(&format!("payment_id=p{at}")));
    let spans = vec![ids(span(1, 1, 0, "a", "s", 0, 1).id("order_id=X"))];
    let limits = Limits { ids: 10, ..Limits::default() };
    let journey = World::of(spans, vec![]).find("X", &limits).expect("found");
    assert_eq!(journey.ids.len(), 10);
    let whats: Vec<&str> = journey.cuts.iter().map(|cut| cut.what.as_str()).collect();
    assert_eq!(whats, ["followed 10 ids and links; 41 are left out", "10 of 51 ids are listed"]);
}

#[test]
fn a_hub_beside_a_purchase_costs_nothing() {
    let user = "user_id=u-7";
    let mut world = purchase();
    world.spans[0] = world.spans[0].clone().id(user);
    world.spans.extend((100..10_100).map(|at| span(at, at, 0, "gateway", "visit", at as i64, 1).id(user)));
    let journey = world.journey("ORD-4711");
    assert_eq!(journey.counts.spans, 8);
    assert_eq!(world.copied, 11, "no row of the hub is copied");
    assert!(world.lookups <= 16, "{} lookups", world.lookups);
}

#[test]
fn a_hub_that_is_asked_for_is_cut_before_it_is_copied() {
    let spans = (1..=10_000).map(|at| span(at, at, 0, "gateway", "visit", at as i64, 1).id("user_id=u-7"));
    let mut world = World::of(spans.collect(), vec![]);
    let journey = world.journey("u-7");
    assert_eq!((journey.counts.traces, world.copied), (200, 200));
    assert!(world.lookups <= 4, "{} lookups: a full journey is not searched further", world.lookups);
}
