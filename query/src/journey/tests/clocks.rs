//! Clocks that disagree.

use query_api::RowMark;

use super::*;

/// A call from `a` to `b`, whose clock is 40 ms behind, and a message on to `c`, 2 s behind.
fn skewed() -> World {
    let spans = vec![
        span(1, 1, 0, "a", "GET /", 0, 100).kind("server").id("order_id=X"),
        span(1, 2, 1, "a", "call b", 10, 60).kind("client"),
        span(1, 3, 2, "b", "serve", -20, 40).kind("server"),
        span(1, 4, 3, "b", "send", 0, 5).produces("t"),
        span(2, 5, 0, "c", "take", -1_900, 30).consumes("t").link(1, 4),
    ];
    World::of(spans, vec![log(1, 3, "b", "in the middle", 0)])
}

#[test]
fn times_are_raw_and_the_bound_is_told_unless_correction_is_asked_for() {
    let journey = skewed().journey("X");
    assert!(journey.clock_offsets.is_empty());
    assert_eq!(journey.clock_skew_nano, 1_900 * MILLI);
    assert_eq!(row(&journey, "serve").start_time, at(-20));
    assert!(journey.rows.iter().all(|row| row.marks.is_empty()));
}

#[test]
fn corrected_services_lie_inside_their_callers_and_after_their_producers_and_say_so() {
    let journey = skewed().corrected("X");
    // b: between +30 and +50 fits; c: its consumer must not start before the producer at 40.
    let expected = [("b".to_owned(), 40 * MILLI), ("c".to_owned(), 1_940 * MILLI)];
    assert_eq!(journey.clock_offsets, expected.into_iter().collect());
    let serve = row(&journey, "serve");
    assert_eq!((serve.start_time, serve.marks.as_slice()), (at(20), &[RowMark::ClockCorrected][..]));
    assert_eq!(row(&journey, "in the middle").start_time, at(40), "log records move with their service");
    assert_eq!(row(&journey, "take").start_time, at(40));
    assert!(row(&journey, "call b").marks.is_empty());
    assert_eq!(journey.clock_skew_nano, 1_900 * MILLI, "what was recorded does not change");
}

#[test]
fn clocks_that_agree_are_left_alone() {
    let raw = purchase().journey("ORD-4711");
    let corrected = purchase().corrected("ORD-4711");
    assert_eq!(raw, corrected);
}
