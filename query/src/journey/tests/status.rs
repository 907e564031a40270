//! How a journey went: one test for each clause of the rule.

use query_api::JourneyStatus;

use super::*;

fn status(spans: Vec<SpanRecord>, logs: Vec<LogRecord>) -> (JourneyStatus, Option<(String, String)>) {
    let journey = World::of(spans, logs).journey("X");
    let failure = journey.failure.as_ref().map(|failure| {
        assert_eq!(journey.rows[failure.row].name, failure.name, "the row is the one that is named");
        assert_eq!(journey.rows[failure.row].service, failure.service);
        (failure.name.clone(), failure.message.clone())
    });
    (journey.status, failure)
}

fn root() -> SpanRecord {
    span(1, 1, 0, "a", "root", 0, 100).id("order_id=X")
}

fn failed(name: &str, message: &str) -> (JourneyStatus, Option<(String, String)>) {
    (JourneyStatus::Failed, Some((name.to_owned(), message.to_owned())))
}

const OK: (JourneyStatus, Option<(String, String)>) = (JourneyStatus::Ok, None);

#[test]
fn a_retry_that_succeeded_makes_the_failed_try_good() {
    assert_eq!(purchase().journey("ORD-4711").status, JourneyStatus::Ok);
    assert_eq!(purchase().journey("ORD-4711").counts.errors, 1, "it is still counted and marked");
}

#[test]
fn without_a_later_success_the_error_decides() {
    let mut world = purchase();
    world.spans[5].is_error = true;
    let journey = world.journey("ORD-4711");
    let failure = journey.failure.expect("failed");
    assert_eq!(journey.status, JourneyStatus::Failed);
    assert_eq!(
        (failure.name.as_str(), failure.message.as_str()),
        ("charge #1", "acquirer timeout after 800ms")
    );
}

#[test]
fn a_success_that_ran_beside_the_error_is_no_retry() {
    let spans =
        vec![root(), span(1, 2, 1, "a", "get", 10, 20).error("500"), span(1, 3, 1, "a", "get", 15, 5)];
    assert_eq!(status(spans, vec![]), failed("get", "500"));
}

#[test]
fn a_success_before_the_error_or_elsewhere_is_no_retry() {
    let error = || span(1, 2, 1, "a", "get #2", 50, 10).error("500");
    let others = [
        span(1, 3, 1, "a", "get #1", 10, 5),
        span(1, 3, 1, "b", "get #3", 70, 5),
        span(1, 3, 1, "a", "put #3", 70, 5),
        span(1, 3, 2, "a", "get #3", 70, 5),
    ];
    for other in others {
        assert_eq!(
            status(vec![root(), error(), other.clone()], vec![]),
            failed("get #2", "500"),
            "{other:?}"
        );
    }
    let retry = span(1, 3, 1, "a", "get #3", 70, 5);
    assert_eq!(status(vec![root(), error(), retry], vec![]), OK);
}

#[test]
fn what_stands_below_a_try_that_was_made_good_is_good() {
    let spans = vec![
        root(),
        span(1, 2, 1, "a", "get #1", 10, 10).error("500"),
        span(1, 3, 2, "b", "serve", 12, 5).error("broken"),
        span(1, 4, 1, "a", "get #2", 30, 10),
    ];
    assert_eq!(status(spans, vec![]), OK);
}

#[test]
fn a_message_that_was_taken_again_with_success_is_good() {
    let take = |at: u64| span(at, at, 0, "bill", "take", 20 * at as i64, 5).consumes("t").link(1, 1);
    let send = || root().produces("t");
    assert_eq!(status(vec![send(), take(8).error("down"), take(9)], vec![]), OK);
    assert_eq!(status(vec![send(), take(8), take(9).error("down")], vec![]), failed("take", "down"));
}

#[test]
fn the_root_cause_is_shown_not_what_it_broke() {
    let spans = vec![
        root().error("502"),
        span(1, 2, 1, "b", "serve", 10, 50).error("500"),
        span(1, 3, 2, "b", "query", 20, 10).error("connection refused"),
        span(1, 4, 2, "b", "undo", 40, 10).error("connection refused again"),
    ];
    assert_eq!(status(spans, vec![]), failed("query", "connection refused"));
}

#[test]
fn a_failure_speaks_through_its_status_its_exception_or_its_log() {
    let bare = || root().error("");
    let exception = bare().event("exception", 5, &[("exception.message", "boom")]);
    let line = || vec![log(1, 1, "a", "fine", 4), log(1, 1, "a", "it broke", 6).level(17)];
    assert_eq!(status(vec![bare()], vec![]), failed("root", ""));
    assert_eq!(status(vec![bare()], line()), failed("root", "it broke"));
    assert_eq!(status(vec![exception], line()), failed("root", "boom"));
    assert_eq!(status(vec![root().error("said")], line()), failed("root", "said"));
}

#[test]
fn an_error_log_decides_only_for_a_service_without_spans() {
    let line = |service| vec![log(0, 0, service, "out of stock", 5).level(17).id("order_id=X")];
    assert_eq!(status(vec![root()], line("a")), OK);
    assert_eq!(status(vec![root()], line("legacy")), failed("out of stock", "out of stock"));
    assert_eq!(status(vec![], line("legacy")), failed("out of stock", "out of stock"));
}

#[test]
fn failing_weighs_more_than_waiting() {
    let send = span(1, 2, 1, "a", "send", 10, 5).produces("t");
    assert_eq!(status(vec![root(), send.clone()], vec![]).0, JourneyStatus::Waiting);
    assert_eq!(status(vec![root().error("late"), send], vec![]), failed("root", "late"));
}
