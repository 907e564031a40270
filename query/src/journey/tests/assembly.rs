//! The drawing order, and where the time went.

use query_api::{RowMark, TimeClass, TimeSpent};

use super::*;

#[test]
fn a_purchase_reads_from_top_to_bottom_as_it_happened() {
    let expected = "\
trace gateway POST /checkout 310ms
  span gateway POST /checkout 310ms
    span checkout PlaceOrder 290ms
      log checkout stock low 0ms
      span checkout send orders 10ms
log nginx POST /checkout 200 0ms
queue orders orders/3@88121 4100ms
trace billing process orders 3610ms !
  span billing process orders 3610ms
    span billing charge #1 820ms !
      log billing acquirer timeout after 800ms 0ms !
    pause billing charge 2000ms
    span billing charge #2 380ms
trace ledger book 280ms
  span ledger book 280ms
trace mailer send mail 60ms
  span mailer send mail 60ms
";
    assert_eq!(outline(&purchase().journey("ORD-4711")), expected);
}

#[test]
fn where_the_time_went_is_largest_first_and_exact() {
    let journey = purchase().journey("ORD-4711");
    assert_eq!((journey.start_time, journey.duration_nano), (at(0), 8340 * MILLI));
    let spent = |class, label: &str, millis: i64| TimeSpent {
        class,
        label: label.to_owned(),
        duration_nano: millis * MILLI,
    };
    assert_eq!(
        journey.time_spent,
        [
            spent(TimeClass::QueueWait, "orders", 4100),
            spent(TimeClass::BackOff, "billing", 2000),
            spent(TimeClass::SelfTime, "billing", 1610),
            spent(TimeClass::SelfTime, "checkout", 280),
            spent(TimeClass::SelfTime, "ledger", 280),
            spent(TimeClass::Gap, "", 60),
            spent(TimeClass::SelfTime, "gateway", 10),
        ]
    );
    assert_eq!(row(&journey, "process orders").critical_nano, 410 * MILLI);
    assert_eq!(row(&journey, "send mail").critical_nano, 0, "beside what took longer");
    assert_eq!(row(&journey, "charge").evidence.text, "charge #1 failed, charge #2 follows");
    assert_eq!(row(&journey, "charge #2").marks, [RowMark::Retry]);
}

#[test]
fn the_critical_path_goes_from_row_to_row() {
    let journey = purchase().journey("ORD-4711");
    let step = |segment: &query_api::PathSegment| {
        let name = segment.row.map_or("-", |row| journey.rows[row].name.as_str());
        format!("{name} {}", segment.duration_nano / MILLI)
    };
    let steps: Vec<String> = journey.critical_path.iter().map(step).collect();
    assert_eq!(
        steps,
        [
            "POST /checkout 10",
            "PlaceOrder 270",
            "send orders 10",
            "orders/3@88121 4100",
            "process orders 10",
            "charge #1 820",
            "charge 2000",
            "charge #2 380",
            "process orders 400",
            "- 60",
            "book 280",
        ]
    );
}

#[test]
fn calls_that_were_refused_are_marked() {
    let spans = vec![
        span(1, 1, 0, "a", "root", 0, 50).id("order_id=X"),
        span(1, 2, 1, "a", "call b", 1, 1)
            .error("CircuitBreaker 'b' is OPEN and does not permit further calls"),
        span(1, 3, 1, "a", "call c", 3, 1).attribute("http.response.status_code", "429"),
        span(1, 4, 1, "a", "call d", 5, 1).error("").event(
            "exception",
            6,
            &[("exception.type", "io.github.resilience4j.circuitbreaker.CallNotPermittedException")],
        ),
        span(1, 5, 1, "a", "reads circuit diagrams", 7, 1),
    ];
    let logs = vec![
        log(1, 1, "a", "rate limit exceeded for client 7", 8).level(13),
        log(1, 1, "a", "rate limit exceeded only rarely today", 9),
    ];
    let journey = World::of(spans, logs).journey("X");
    let marks = |name: &str| row(&journey, name).marks.clone();
    assert_eq!(marks("call b"), [RowMark::CircuitOpen]);
    assert_eq!(marks("call c"), [RowMark::RateLimited]);
    assert_eq!(marks("call d"), [RowMark::CircuitOpen]);
    assert_eq!(marks("reads circuit diagrams"), []);
    assert_eq!(marks("rate limit exceeded for client 7"), [RowMark::RateLimited]);
    assert_eq!(marks("rate limit exceeded only rarely today"), []);
}

#[test]
fn a_version_that_changes_within_a_journey_is_a_mark() {
    let version = |mut span: SpanRecord, version: &str| {
        span.resource.insert("service.version".to_owned(), version.to_owned());
        span
    };
    let spans = vec![
        version(span(1, 1, 0, "a", "one", 0, 5), "1.4.1").id("order_id=X"),
        version(span(1, 2, 1, "b", "other", 1, 1), "7"),
        version(span(1, 3, 1, "a", "two", 4, 1), "1.4.2"),
    ];
    let journey = World::of(spans, vec![]).journey("X");
    let told: Vec<_> = journey.marks.iter().map(|mark| (mark.time, mark.text.as_str())).collect();
    assert_eq!(told, [(at(4), "version 1.4.1 → 1.4.2")]);
}

#[test]
fn a_consumer_of_many_messages_has_a_wait_for_each_and_says_so() {
    let spans = vec![
        span(1, 1, 0, "a", "send one", 0, 5).produces("t").id("order_id=X"),
        span(1, 2, 0, "a", "send two", 10, 5).produces("t"),
        span(2, 3, 0, "b", "take", 50, 5).consumes("t").link(1, 1).link(1, 2),
    ];
    let journey = World::of(spans, vec![]).journey("X");
    assert_eq!(journey.rows.iter().filter(|row| row.kind == RowKind::QueueWait).count(), 2);
    assert_eq!(row(&journey, "take").marks, [RowMark::Batch]);
}

#[test]
fn a_parent_that_was_not_received_is_a_row_around_its_children() {
    let spans =
        vec![span(1, 5, 4, "b", "late child", 20, 10).id("order_id=X"), span(1, 6, 4, "b", "child", 10, 5)];
    let logs = vec![log(1, 4, "a", "inside the missing span", 40), log(1, 0, "a", "outside", 0)];
    let journey = World::of(spans, logs).journey("X");
    let expected = "\
trace b child 20ms
  log a outside 0ms
  missing a root not received 30ms
    span b child 5ms
    span b late child 10ms
    log a inside the missing span 0ms
";
    assert_eq!(outline(&journey), expected);
    let missing = row(&journey, "root not received");
    assert_eq!((missing.span_id, missing.critical_nano), (Some(span_id(4)), 0));
}

#[test]
fn events_and_log_records_stand_in_their_span_by_time() {
    let spans = vec![
        span(1, 1, 0, "a", "root", 0, 50).id("order_id=X").event(
            "exception",
            30,
            &[("exception.message", "refused"), ("exception.type", "Io")],
        ),
        span(1, 2, 1, "a", "child", 20, 5),
    ];
    let logs = vec![log(1, 1, "a", "late", 40), log(1, 1, "a", "early", 10), log(1, 2, "a", "in child", 21)];
    let journey = World::of(spans, logs).journey("X");
    let expected = "\
trace a root 50ms
  span a root 50ms
    log a early 0ms
    span a child 5ms
      log a in child 0ms
    event a exception 0ms
    log a late 0ms
";
    assert_eq!(outline(&journey), expected);
    let event = row(&journey, "exception");
    assert_eq!((event.message.as_str(), event.attributes["exception.type"].as_str()), ("refused", "Io"));
}

#[test]
fn a_trace_of_which_only_log_records_came_has_a_heading() {
    let logs = vec![log(7, 3, "legacy", "one", 5).id("order_id=X"), log(7, 0, "legacy", "two", 9)];
    let journey = World::of(vec![], logs).journey("X");
    let expected = "\
trace legacy no span received 4ms
  missing legacy root not received 0ms
    log legacy one 0ms
  log legacy two 0ms
";
    assert_eq!(outline(&journey), expected);
    assert_eq!((journey.duration_nano, journey.counts.spans), (4 * MILLI, 0));
}

#[test]
fn who_waits_for_nobody_is_on_the_path_though_others_work_elsewhere() {
    let spans = vec![
        span(1, 1, 0, "a", "caller goes on", 0, 100).id("order_id=X"),
        span(1, 2, 1, "a", "send", 10, 5).produces("t"),
        span(2, 3, 0, "b", "take", 20, 30).consumes("t").link(1, 2),
    ];
    let journey = World::of(spans, vec![]).journey("X");
    let own = |name| row(&journey, name).critical_nano / MILLI;
    assert_eq!((own("caller goes on"), own("send"), own("take")), (95, 5, 0));
    assert_eq!(row(&journey, "t").critical_nano, 0, "nothing hung on this message");
}

#[test]
fn clock_skew_is_the_largest_amount_an_effect_comes_before_its_cause() {
    let spans = vec![
        span(1, 1, 0, "a", "root", 10, 50).id("order_id=X"),
        span(1, 2, 1, "b", "early child", 7, 5),
        span(1, 3, 1, "a", "send", 20, 10).produces("t"),
        span(2, 4, 0, "c", "take while sending", 25, 5).consumes("t").link(1, 3),
    ];
    assert_eq!(World::of(spans.clone(), vec![]).journey("X").clock_skew_nano, 3 * MILLI);
    let mut spans = spans;
    spans[3].start = at(12);
    let journey = World::of(spans, vec![]).journey("X");
    assert_eq!(journey.clock_skew_nano, 8 * MILLI);
    assert_eq!(row(&journey, "t").duration_nano, 0, "a wait is never negative");
}

#[test]
fn events_beyond_the_limit_are_counted() {
    let mut one = span(1, 1, 0, "a", "root", 0, 50).id("order_id=X");
    for at in 0..20 {
        one = one.event("tick", at, &[]);
    }
    let limits = Limits { events: 5, ..Limits::default() };
    let journey = World::of(vec![one], vec![]).find("X", &limits).expect("found");
    assert_eq!(journey.rows.iter().filter(|row| row.kind == RowKind::Event).count(), 5);
    assert_eq!(cut(&journey, "events").what, "cut at 5 span events; 15 are left out");
}

#[test]
fn a_chain_of_a_hundred_thousand_spans_is_only_long() {
    let spans = (1..=100_000).map(|at| span(1, at, at - 1, "a", "s", at as i64, 1));
    let mut spans: Vec<SpanRecord> = spans.collect();
    spans[0] = spans[0].clone().id("order_id=X");
    let journey = World::of(spans, vec![]).journey("X");
    assert_eq!(journey.counts.spans, 100_000);
    assert_eq!(journey.rows.last().map(|row| row.depth), Some(u16::MAX), "depth stops at what a row can say");
}

#[test]
fn cycles_and_self_parents_are_cut_at_their_earliest_span() {
    let spans = vec![
        span(1, 1, 3, "a", "one", 0, 5).id("order_id=X"),
        span(1, 2, 1, "a", "two", 1, 5),
        span(1, 3, 2, "a", "three", 2, 5),
        span(1, 4, 4, "a", "own parent", 3, 5),
        span(1, 5, 3, "a", "below the cycle", 4, 5),
    ];
    let expected = "\
trace a one 9ms
  span a one 5ms
    span a two 5ms
      span a three 5ms
        span a below the cycle 5ms
  span a own parent 5ms
";
    assert_eq!(outline(&World::of(spans, vec![]).journey("X")), expected);
}

#[test]
fn traces_that_cause_each_other_are_still_drawn_once() {
    let spans = vec![
        span(1, 1, 0, "a", "one", 0, 5).id("order_id=X").link(2, 2),
        span(2, 2, 0, "b", "two", 1, 5).link(1, 1),
        span(3, 3, 0, "c", "three", 2, 5).link(3, 3).link(2, 2),
    ];
    let journey = World::of(spans, vec![]).journey("X");
    assert_eq!((journey.counts.traces, journey.counts.spans), (3, 3));
}
