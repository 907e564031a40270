//! Exemplars on a journey: OTLP histograms in, rows below their spans out.

use model::TimeRange;
use query_api::{Certainty, Journey, JourneyRow, RowKind};

use super::super::{Limits, Request, find};
use crate::testing::{MS, SECOND, TestSpan, TestStore, last_15m};

fn span(span: u64, parent: Option<u64>) -> TestSpan<'static> {
    TestSpan {
        service: "checkout",
        name: "POST /orders",
        trace: 1,
        span,
        parent,
        start: -2 * SECOND,
        duration: 300 * MS,
        attributes: &[("order_id", "ORD-4711")],
        ..TestSpan::default()
    }
}

fn journey(store: &TestStore, range: TimeRange, limits: &Limits) -> Journey {
    let request = Request { id: "ORD-4711", range, is_corrected: false };
    find(&store.store.snapshot(), store.store.ids(), &request, limits).expect("found")
}

fn exemplars(journey: &Journey) -> Vec<&JourneyRow> {
    journey.rows.iter().filter(|row| row.kind == RowKind::Exemplar).collect()
}

async fn filled() -> TestStore {
    let store = TestStore::open().await;
    store.spans(&[span(1, None), span(2, Some(1))]).await;
    // Exported twice, as a sender does that keeps its last exemplars.
    store.measured("checkout", 1, 2, -2 * SECOND + 100 * MS).await;
    store.measured("checkout", 1, 2, -2 * SECOND + 100 * MS).await;
    // A span that was not received, and another trace.
    store.measured("checkout", 1, 9, -SECOND).await;
    store.measured("billing", 7, 8, -SECOND).await;
    store
}

#[tokio::test]
async fn a_measurement_is_one_row_below_the_span_in_which_it_was_taken() {
    let store = filled().await;
    for place in ["head", "segments"] {
        let journey = journey(&store, last_15m(), &Limits::default());
        let rows = exemplars(&journey);
        assert_eq!(rows.len(), 2, "{place}: {rows:?}");
        let beside = rows.iter().find(|row| row.depth == 1).expect("at the top of its trace");
        assert_eq!(beside.start_time, rows.iter().map(|row| row.start_time).max().expect("two"));
        let below = rows.iter().find(|row| row.depth == 3).expect("below the second span");
        assert_eq!(below.name, "http.server.request.duration = 0.3 s");
        assert_eq!((below.service.as_str(), below.label.as_str()), ("checkout", "exemplar"));
        assert_eq!(below.attributes["metric.series"], "http_server_request_duration_seconds");
        assert_eq!(below.attributes["service_name"], "checkout");
        assert_eq!(below.attributes.get("le"), None);
        assert_eq!(below.evidence.certainty, Certainty::Certain);
        assert_eq!(below.evidence.text, "exemplar of http.server.request.duration names this span");
        assert_eq!(journey.duration_nano, 300 * MS, "a measurement does not stretch the journey");
        assert_eq!(journey.counts.traces, 1, "it joins nothing");
        store.store.seal().await.expect("seals");
    }
}

#[tokio::test]
async fn measurements_beyond_the_limit_are_counted() {
    let store = filled().await;
    let limits = Limits { exemplars: 1, ..Limits::default() };
    let journey = journey(&store, last_15m(), &limits);
    assert_eq!(exemplars(&journey).len(), 1);
    let cut = journey.cuts.iter().find(|cut| cut.limit == "exemplars").expect("a cut");
    assert!(cut.what.contains("1 later"), "{}", cut.what);
}
