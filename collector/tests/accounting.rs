//! The collector's own counters: nothing is dropped without being counted.

use collector::metrics::Counts;
use collector::{Reason, Source};
use model::Signal;
use prost::Message as _;

use crate::support::{Server, protobuf, span, traces};

#[tokio::test]
async fn received_is_stored_plus_rejected_plus_returned_and_requests_add_up() {
    let server = Server::with(|settings| settings.limits.request_records_max = 3).await;
    let content_type = ("content-type", "application/x-protobuf");
    let post = async |body: Vec<u8>| server.post("/v1/traces", &[content_type], body).await.status;
    let mut bad = span("bad");
    bad.trace_id = Vec::new();
    assert_eq!(post(protobuf(Signal::Traces, &["a", "b"])).await, 200);
    assert_eq!(post(traces(vec![span("c"), bad]).encode_to_vec()).await, 200);
    assert_eq!(post(protobuf(Signal::Traces, &["1", "2", "3", "4"])).await, 413);
    assert_eq!(post(b"\xff".to_vec()).await, 400);

    let metrics = server.collector.metrics();
    let Counts {
        requests,
        requests_stored,
        records_received,
        records_stored,
        records_rejected,
        records_returned,
        ..
    } = metrics.counts(Source::OtlpHttp, Signal::Traces);
    assert_eq!((requests, requests_stored), (4, 2));
    let refused = |reason| metrics.requests_refused(Source::OtlpHttp, Signal::Traces, reason);
    assert_eq!(requests, requests_stored + Reason::ALL.into_iter().map(refused).sum::<u64>());
    assert_eq!((refused(Reason::TooLarge), refused(Reason::Malformed)), (1, 1));
    assert_eq!((records_stored, records_rejected, records_returned), (3, 1, 4));
    assert_eq!(records_received, records_stored + records_rejected + records_returned);
    assert_eq!(server.stored(Signal::Traces).await.len() as u64, records_stored);
}
