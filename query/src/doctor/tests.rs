//! The doctor over spans and log records of a real store.

use model::kafka::MESSAGE_EVENT;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use query_api::{DoctorService, Finding, FindingKind, Severity};

use super::*;
use crate::testing::{MS, SECOND, TestLog, TestSpan, TestStore, last_15m};

const BEGIN: i64 = -300 * SECOND;
const ORDER: (&str, &str) = ("order.id", "ORD-1");
const GET: (&str, &str) = ("http.request.method", "GET");

fn examine_with(store: &TestStore, limits: &Limits) -> DoctorAnswer {
    let request = Request { range: last_15m(), service: None };
    examine(&store.store.snapshot(), &request, limits, &|| false, &Cancel::default()).expect("readable")
}

fn examined(store: &TestStore) -> DoctorAnswer {
    examine_with(store, &Limits::default())
}

fn finding(answer: &DoctorAnswer, kind: FindingKind) -> &Finding {
    let found = answer.findings.iter().find(|finding| finding.kind == kind);
    found.unwrap_or_else(|| panic!("no {kind:?} in {:#?}", answer.findings))
}

fn service<'a>(answer: &'a DoctorAnswer, name: &str) -> &'a DoctorService {
    answer.services.iter().find(|row| row.service == name).expect(name)
}

/// Request `at`: checkout is asked, and asks pricing, which has a server span below the call or as `pricing` says.
fn call(at: u64, pricing: Option<TestSpan<'static>>) -> Vec<TestSpan<'static>> {
    let start = BEGIN + at as i64 * SECOND;
    let server = TestSpan {
        service: "checkout",
        name: "POST /checkout",
        kind: SpanKind::Server,
        trace: at,
        span: 1,
        start,
        duration: 100 * MS,
        attributes: &[ORDER, ("http.request.method", "POST"), ("http.route", "/checkout")],
        ..TestSpan::default()
    };
    let client = TestSpan {
        name: "GET /quotes",
        kind: SpanKind::Client,
        span: 2,
        parent: Some(1),
        start: start + 10 * MS,
        duration: 50 * MS,
        attributes: &[
            GET,
            ("url.full", "http://pricing.shop.svc:80/quotes?x=1"),
            ("server.address", "pricing.shop.svc"),
        ],
        ..server.clone()
    };
    [Some(server), Some(client), pricing].into_iter().flatten().collect()
}

/// The server span of pricing, as it should be.
fn quote(at: u64) -> TestSpan<'static> {
    TestSpan {
        service: "pricing",
        name: "GET /quotes",
        kind: SpanKind::Server,
        trace: at,
        span: 3,
        parent: Some(2),
        start: BEGIN + at as i64 * SECOND + 20 * MS,
        duration: 30 * MS,
        attributes: &[GET, ("url.path", "/quotes"), ("http.route", "/quotes")],
        ..TestSpan::default()
    }
}

async fn calls(store: &TestStore, pricing: impl Fn(u64) -> Option<TestSpan<'static>>) {
    for at in 1..=20 {
        store.spans(&call(at, pricing(at))).await;
    }
}

#[tokio::test]
async fn calls_that_arrive_below_their_callers_are_clean() {
    let store = TestStore::open().await;
    calls(&store, |at| Some(quote(at))).await;
    let log =
        TestLog { service: "pricing", body: "quote made", trace: Some(3), time: BEGIN, ..TestLog::default() };
    store.logs(&[log]).await;
    let answer = examined(&store);
    assert_eq!(answer.findings, []);
    assert_eq!((answer.cuts.len(), answer.looked_at), (0, last_15m()));
    let pricing = service(&answer, "pricing");
    assert_eq!((pricing.spans, pricing.spans_without_id, pricing.spans_unreachable), (20, 20, 0));
    assert_eq!(
        (pricing.logs, pricing.logs_without_id, pricing.logs_unreachable),
        (1, 1, 0),
        "its trace has one"
    );
    assert_eq!((pricing.received, pricing.received_without_context, pricing.coverage), (20, 0, 1.0));
    let edge = &answer.edges[0];
    assert_eq!((&*edge.from, &*edge.to, edge.count, edge.lost), ("checkout", "pricing", 20, 0));
    store.store.seal().await.expect("sealed");
    let sealed = examined(&store);
    assert_eq!((sealed.services, sealed.edges), (answer.services, answer.edges), "the same from segments");
}

#[tokio::test]
async fn a_callee_that_begins_traces_of_its_own_loses_its_callers_context() {
    let store = TestStore::open().await;
    // Of every five requests four arrive well.
    let pricing = |at: u64| match at % 5 {
        0 => TestSpan { trace: 1_000 + at, parent: None, ..quote(at) },
        _ => quote(at),
    };
    calls(&store, |at| Some(pricing(at))).await;
    let answer = examined(&store);
    let lost = finding(&answer, FindingKind::ContextLost);
    assert_eq!((&*lost.service, &*lost.other, lost.affected, lost.of), ("pricing", "checkout", 4, 20));
    assert_eq!(lost.severity, Severity::Warn);
    assert!(lost.hint.contains("traceparent"), "{}", lost.hint);
    let trace = lost.example.as_deref().expect("an example");
    assert_eq!(lost.follow, Some(format!("silmari trace {trace}")));
    let pricing = service(&answer, "pricing");
    assert_eq!((pricing.received, pricing.received_without_context, pricing.coverage), (20, 4, 0.8));
    let spans = finding(&answer, FindingKind::SpansWithoutId);
    assert_eq!(
        (&*spans.service, spans.affected),
        ("pricing", 4),
        "what lost its context is reached by no id"
    );
}

#[tokio::test]
async fn an_unnamed_callee_is_known_by_its_request_and_its_time() {
    let store = TestStore::open().await;
    for at in 1..=20 {
        let root = TestSpan { trace: 1_000 + at, parent: None, ..quote(at) };
        let mut spans = call(at, Some(root));
        spans[1].attributes = &[GET, ("url.full", "http://10.1.2.3:8080/quotes?x=1")];
        // The same request at another time belongs to somebody else.
        let other = TestSpan { service: "stranger", trace: 2_000 + at, start: BEGIN - SECOND, ..quote(at) };
        spans.push(TestSpan { parent: None, ..other });
        store.spans(&spans).await;
    }
    let answer = examined(&store);
    let lost = finding(&answer, FindingKind::ContextLost);
    assert_eq!((&*lost.service, lost.affected, lost.severity), ("pricing", 20, Severity::Bad));
}

#[tokio::test]
async fn a_callee_that_only_writes_logs_is_not_instrumented_and_an_unknown_one_is_external() {
    let store = TestStore::open().await;
    calls(&store, |_| None).await;
    let answer = examined(&store);
    assert_eq!(answer.findings, [], "nothing is known of it: it may be somebody else's");
    assert!(answer.edges[0].is_external);

    let log = TestLog { service: "pricing", body: "request started", time: BEGIN, ..TestLog::default() };
    store.logs(&[log]).await;
    let answer = examined(&store);
    let missing = finding(&answer, FindingKind::NotInstrumented);
    assert_eq!((&*missing.service, &*missing.other, missing.affected), ("pricing", "checkout", 20));
    assert_eq!(service(&answer, "pricing").coverage, 0.0);
    assert!(answer.findings.iter().all(|finding| finding.kind != FindingKind::LogsOnly), "it is said once");
    let logs = finding(&answer, FindingKind::LogsWithoutId);
    assert!(logs.what.contains("`request started`") && logs.follow.is_some(), "{logs:?}");
}

#[tokio::test]
async fn failed_calls_and_those_that_have_just_ended_are_not_judged() {
    let store = TestStore::open().await;
    let log = TestLog { service: "pricing", body: "order_id=ORD-1", time: BEGIN, ..TestLog::default() };
    store.logs(&[log]).await;
    let mut failed = call(1, None);
    failed[1].is_error = true;
    let mut young = call(2, None);
    young[1].start = -SECOND;
    store.spans(&failed).await;
    store.spans(&young).await;
    let answer = examined(&store);
    assert!(answer.findings.iter().all(|it| it.severity == Severity::Note), "{:#?}", answer.findings);
    assert!(answer.is_clean());
    assert_eq!(answer.edges[0].count, 1, "the failed call is a call");
}

const SENT: &[(&str, &str)] = &[ORDER, ("messaging.destination.name", "mail")];

fn send(at: u64) -> TestSpan<'static> {
    TestSpan {
        service: "shipping",
        name: "send mail",
        kind: SpanKind::Producer,
        trace: at,
        span: 1,
        start: BEGIN + at as i64 * SECOND,
        duration: MS,
        attributes: SENT,
        ..TestSpan::default()
    }
}

fn take(at: u64) -> TestSpan<'static> {
    TestSpan {
        service: "notify",
        kind: SpanKind::Consumer,
        trace: 1_000 + at,
        links: vec![(at, 1)],
        ..send(at)
    }
}

#[tokio::test]
async fn consumers_without_a_link_and_messages_nobody_takes_are_told_apart() {
    let store = TestStore::open().await;
    for at in 1..=10 {
        let unlinked = TestSpan { links: vec![], ..take(at) };
        store.spans(&[send(at), if at <= 4 { unlinked } else { take(at) }]).await;
    }
    let answer = examined(&store);
    let lost = finding(&answer, FindingKind::ConsumerUnlinked);
    assert_eq!((&*lost.service, &*lost.other, lost.affected, lost.of), ("notify", "mail", 4, 10));
    assert!(lost.what.ends_with("journeys end there"), "{}", lost.what);
    let untaken =
        |answer: &DoctorAnswer| answer.findings.iter().any(|it| it.kind == FindingKind::MessageUnlinked);
    assert!(!untaken(&answer), "the consumers without a link explain the messages: {:#?}", answer.findings);

    let store = TestStore::open().await;
    for at in 1..=10 {
        let taken = (at <= 4).then(|| take(at));
        store.spans(&[Some(send(at)), taken].into_iter().flatten().collect::<Vec<_>>()).await;
    }
    let answer = examined(&store);
    let left = finding(&answer, FindingKind::MessageUnlinked);
    assert_eq!((&*left.service, &*left.other, left.affected, left.of), ("shipping", "mail", 6, 10));
    assert!(left.hint.contains("notify"), "{}", left.hint);
}

#[tokio::test]
async fn topics_of_the_header_tap_without_traceparent_are_named() {
    let store = TestStore::open().await;
    const WITHOUT: &[(&str, &str)] =
        &[("messaging.destination.name", "mail"), ("messaging.kafka.offset", "1")];
    const WITH: &[(&str, &str)] =
        &[("messaging.destination.name", "orders"), ("messaging.header.traceparent", "00-1-2-01")];
    let log = |attributes| TestLog {
        service: "kafka",
        event: MESSAGE_EVENT,
        time: BEGIN,
        attributes,
        ..TestLog::default()
    };
    store.logs(&[log(WITH), log(WITHOUT), log(WITHOUT)]).await;
    let answer = examined(&store);
    let topics: Vec<_> =
        answer.topics.iter().map(|it| (&*it.topic, it.messages, it.without_context)).collect();
    assert_eq!(topics, [("mail", 2, 2), ("orders", 1, 0)]);
    let without = finding(&answer, FindingKind::TopicWithoutHeaders);
    assert_eq!((&*without.other, without.affected, without.of), ("mail", 2, 2));
    assert!(answer.services.is_empty(), "records of the tap are no logs of a service");
}

#[tokio::test]
async fn missing_parents_are_counted_where_they_would_have_been_read() {
    let store = TestStore::open().await;
    for at in 1..=10 {
        let mut spans = call(at, Some(quote(at)));
        if at <= 3 {
            spans.remove(1);
        }
        store.spans(&spans).await;
    }
    let answer = examined(&store);
    let orphans = finding(&answer, FindingKind::Orphans);
    assert_eq!((&*orphans.service, orphans.affected, orphans.of), ("pricing", 3, 10));

    let range = TimeRange { from: crate::testing::NOW.plus(BEGIN + SECOND + 15 * MS), ..last_15m() };
    let request = Request { range, service: None };
    let answer =
        examine(&store.store.snapshot(), &request, &Limits::default(), &|| false, &Cancel::default());
    let edge = answer.expect("readable");
    assert!(
        edge.findings.iter().all(|it| it.kind != FindingKind::Orphans),
        "parents before the range: {edge:#?}"
    );
}

#[tokio::test]
async fn a_clock_that_is_off_is_measured_and_odd_calls_are_not() {
    let store = TestStore::open().await;
    let behind = |at: u64| TestSpan { start: quote(at).start - 2 * SECOND, ..quote(at) };
    calls(&store, |at| Some(behind(at))).await;
    let answer = examined(&store);
    let offset = answer.clock_offsets["pricing"];
    assert!((offset - 2 * SECOND).abs() <= 10 * MS, "{offset}");
    let clock = finding(&answer, FindingKind::ClockOffset);
    assert_eq!((clock.severity, clock.what.contains("behind")), (Severity::Bad, true));

    let store = TestStore::open().await;
    let odd = |at: u64| TestSpan { start: quote(at).start - (at / 20) as i64 * SECOND, ..quote(at) };
    calls(&store, |at| Some(odd(at))).await;
    assert!(examined(&store).clock_offsets.is_empty(), "one call in twenty says nothing about a clock");
}

#[tokio::test]
async fn memory_is_bounded_by_judging_a_part_of_the_traces_whole() {
    let store = TestStore::open().await;
    for at in 1..=200 {
        let pricing = TestSpan { trace: 10_000 + at, parent: None, ..quote(at) };
        store.spans(&call(at, Some(if at % 2 == 0 { pricing } else { quote(at) }))).await;
    }
    let all = examined(&store);
    assert_eq!(finding(&all, FindingKind::ContextLost).affected, 100);
    let part = examine_with(&store, &Limits { traced: 120, ..Limits::default() });
    let cut = part.cuts.iter().find(|cut| cut.limit == "traced").expect("a cut");
    assert!(cut.what.starts_with("one trace in "), "{}", cut.what);
    assert_eq!(service(&part, "checkout").spans, 400, "what can be counted is counted in full");
    assert!(part.findings.iter().all(|it| it.kind != FindingKind::Orphans), "traces stay whole: {part:#?}");
}

#[tokio::test]
async fn rows_and_time_are_bounded_and_the_newest_are_looked_at() {
    let store = TestStore::open().await;
    for at in 1..=10 {
        store.spans(&call(at, Some(quote(at)))).await;
    }
    let old = TestSpan { start: -800 * SECOND, trace: 5_000, ..quote(1) };
    store.spans(&[TestSpan { parent: None, ..old }]).await;
    let answer = examine_with(&store, &Limits { rows: 20, ..Limits::default() });
    let cut = answer.cuts.iter().find(|cut| cut.limit == "rows").expect("a cut");
    assert!(cut.what.starts_with("cut at 20 rows"), "{}", cut.what);
    assert!(answer.looked_at.from > last_15m().from && answer.looked_at.to == last_15m().to);

    let request = Request { range: last_15m(), service: None };
    let late = examine(&store.store.snapshot(), &request, &Limits::default(), &|| true, &Cancel::default());
    let late = late.expect("an answer all the same");
    assert_eq!(late.cuts[0].limit, "time");
}

#[tokio::test]
async fn one_service_can_be_asked_for() {
    let store = TestStore::open().await;
    calls(&store, |at| Some(TestSpan { trace: 1_000 + at, parent: None, ..quote(at) })).await;
    let request = Request { range: last_15m(), service: Some("checkout") };
    let snapshot = store.store.snapshot();
    let answer =
        examine(&snapshot, &request, &Limits::default(), &|| false, &Cancel::default()).expect("readable");
    let names: Vec<&str> = answer.services.iter().map(|row| &*row.service).collect();
    assert_eq!(names, ["checkout"]);
    let kinds: Vec<FindingKind> = answer.findings.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [FindingKind::ContextLost], "what its callee loses concerns it too");
}
