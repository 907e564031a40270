//! Rows inferred from log lines.

use query_api::{JourneyStatus, TimeClass};

use super::*;
use crate::journey::InferenceWords;

const RID: &str = "request_id=7f3a";

/// gateway calls legacy, which sends no spans.
fn world(logs: Vec<LogRecord>) -> World {
    let spans = vec![
        span(1, 1, 0, "gateway", "GET /", 0, 100).kind("server").id("order_id=X"),
        span(1, 2, 1, "gateway", "GET /quotes", 10, 60).kind("client").id(RID),
    ];
    World::of(spans, logs)
}

/// A line of legacy that carries the request id.
fn line(body: &str, millis: i64) -> LogRecord {
    log(0, 0, "legacy", body, millis).id(RID)
}

fn served() -> Vec<LogRecord> {
    vec![
        line("request started GET /quotes request_id=7f3a", 15),
        line("cache is cold", 20),
        line("request finished GET /quotes status=200", 55),
    ]
}

fn inferred(journey: &Journey) -> Vec<(&str, &str, u16, i64, i64)> {
    let rows = journey.rows.iter().filter(|row| row.kind == RowKind::Inferred);
    rows.map(|row| {
        let start = row.start_time.since(at(0)) / MILLI;
        (row.service.as_str(), row.name.as_str(), row.depth, start, row.duration_nano / MILLI)
    })
    .collect()
}

#[test]
fn start_and_finish_make_a_row_below_the_call_that_carries_the_id_with_the_lines_inside() {
    let journey = world(served()).journey("X");
    assert_eq!(inferred(&journey), [("legacy", "request GET /quotes", 3, 15, 40)]);
    let lines: Vec<(u16, Option<TraceId>)> = journey
        .rows
        .iter()
        .filter(|row| row.kind == RowKind::Log)
        .map(|row| (row.depth, row.trace_id))
        .collect();
    assert_eq!(lines, [(4, None); 3], "they stand inside, and are of no trace all the same");
    let row = row(&journey, "request GET /quotes");
    assert_eq!(row.label, "inferred");
    assert!(row.evidence.text.contains(RID) && row.evidence.text.contains("inferred"), "{:?}", row.evidence);
    assert_eq!(row.attributes["inferred.finish"], "request finished GET /quotes status=200");
    assert_eq!((row.span_id, row.parent_span_id), (None, Some(span_id(2))), "nobody gave it an id");
}

#[test]
fn it_is_on_the_critical_path_as_inferred_time_and_counted_as_no_span() {
    let journey = world(served()).journey("X");
    let spent: Vec<_> =
        journey.time_spent.iter().map(|it| (it.class, it.label.as_str(), it.duration_nano / MILLI)).collect();
    assert_eq!(spent, [(TimeClass::SelfTime, "gateway", 60), (TimeClass::Inferred, "legacy", 40)]);
    assert_eq!((journey.counts.spans, journey.counts.logs, journey.counts.traces), (2, 3, 1));
    assert_eq!((journey.traces.len(), journey.traces[0].spans), (1, 2));
    assert_eq!(journey.services, ["gateway", "legacy"]);
}

#[test]
fn an_error_in_the_log_of_a_service_without_spans_still_decides() {
    let mut lines = served();
    lines[1] = LogRecord { severity_number: 17, ..line("pool exhausted", 20) };
    let journey = world(lines).journey("X");
    assert_eq!(journey.status, JourneyStatus::Failed);
    assert_eq!(journey.failure.expect("a failure").service, "legacy");
}

#[test]
fn rows_nest_and_a_system_that_only_writes_logs_has_them_without_a_trace() {
    let order = |service: &str, body: &str, millis| log(0, 0, service, body, millis).id("order_id=X");
    let journey = World::of(
        vec![],
        vec![
            order("shop", "checkout begins", 0),
            order("billing", "charge started", 10),
            order("billing", "handshake done", 12),
            order("billing", "charge completed", 40),
            order("shop", "checkout done total=7", 50),
            order("shop", "afterwards", 60),
        ],
    )
    .journey("X");
    assert_eq!(inferred(&journey), [("shop", "checkout", 0, 0, 50), ("billing", "charge", 1, 10, 30)]);
    let depth = |name: &str| row(&journey, name).depth;
    assert_eq!((depth("checkout begins"), depth("handshake done"), depth("afterwards")), (1, 2, 0));
    assert_eq!((journey.counts.traces, journey.traces.len()), (0, 0), "there is no trace");
    assert!(journey.rows.iter().all(|row| row.trace_id.is_none() && row.kind != RowKind::Trace));
}

#[test]
fn a_call_that_alone_carries_the_id_is_the_place_even_when_clocks_disagree() {
    let mut lines = served();
    lines.iter_mut().for_each(|line| line.time = line.time.plus(2_000 * MILLI));
    let journey = world(lines).journey("X");
    assert_eq!(inferred(&journey), [("legacy", "request GET /quotes", 3, 2_015, 40)]);
    assert_eq!(journey.clock_skew_nano, 0, "what was inferred says nothing about clocks");
}

#[test]
fn it_is_not_done_where_it_would_be_a_guess() {
    let cases: [(&str, Vec<LogRecord>); 8] = [
        ("no finish", vec![line("request started", 15)]),
        ("no start", vec![line("request finished", 15)]),
        ("finish before start", vec![line("request finished", 15), line("request started", 20)]),
        (
            "other services",
            vec![line("request started", 15), log(0, 0, "other", "request finished", 20).id(RID)],
        ),
        (
            "other ids of one kind",
            vec![line("request started", 15).id("order_id=X"), line("request finished", 20).id("order_id=Y")],
        ),
        ("other subjects", vec![line("request started", 15), line("charge finished", 20)]),
        (
            "two open at once, one like the other",
            vec![
                line("request started", 15),
                line("request started", 16),
                line("request finished", 20),
                line("request finished", 21),
            ],
        ),
        ("a service that sends spans", {
            let own = |body: &str, millis| log(0, 0, "gateway", body, millis).id(RID);
            vec![own("request started", 15), own("request finished", 20)]
        }),
    ];
    for (why, lines) in cases {
        let journey = world(lines.clone()).journey("X");
        assert_eq!(inferred(&journey), [], "{why}");
        assert_eq!(journey.counts.logs, lines.len(), "{why}: the lines stay");
    }
}

#[test]
fn instances_are_told_apart() {
    let on = |mut record: LogRecord, host: &str| {
        record.resource.insert("host.name".to_owned(), host.to_owned());
        record
    };
    let lines = vec![on(line("request started", 15), "a"), on(line("request finished", 20), "b")];
    assert_eq!(inferred(&world(lines).journey("X")), []);
    // Two at once on two hosts are two rows.
    let lines = vec![
        on(line("request started", 15), "a"),
        on(line("request started", 16), "b"),
        on(line("request finished", 30), "a"),
        on(line("request finished", 40), "b"),
    ];
    assert_eq!(inferred(&world(lines).journey("X")).len(), 2);
}

#[test]
fn a_start_and_its_finish_within_one_millisecond_are_in_order() {
    let lines = vec![line("request finished", 15), line("request started", 15)];
    assert_eq!(inferred(&world(lines).journey("X")), [("legacy", "request", 3, 15, 0)]);
}

#[test]
fn the_words_can_be_changed_and_the_whole_turned_off() {
    let lines = vec![line("anfrage beginnt", 15), line("anfrage fertig", 20)];
    let with = |words: InferenceWords| {
        let limits = Limits { inference: words, ..Limits::default() };
        let journey = world(lines.clone()).find("X", &limits).expect("found");
        inferred(&journey).len()
    };
    let own = |word: &str| vec![word.to_owned()];
    assert_eq!(with(InferenceWords::default()), 0);
    assert_eq!(with(InferenceWords { is_on: true, start: own("beginnt"), finish: own("fertig") }), 1);
    assert_eq!(with(InferenceWords { is_on: false, start: own("beginnt"), finish: own("fertig") }), 0);
}

#[test]
fn ten_thousand_lines_of_one_id_are_bounded_and_named() {
    let lines = (0..5_000).flat_map(|at| {
        [line(&format!("step{at} started"), at * 2), line(&format!("step{at} finished"), at * 2 + 1)]
    });
    let journey = world(lines.collect()).journey("X");
    assert_eq!(inferred(&journey).len(), 2_000);
    assert_eq!(cut(&journey, "inferred").what, "2000 rows are inferred from log records; 3000 are left out");
}
