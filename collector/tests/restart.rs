//! Success means durable: what was answered is there when the store is opened again.

use std::sync::Arc;
use std::time::Duration;

use model::Signal;

use crate::support::{Server, json_request, open, protobuf, stored};

#[tokio::test]
async fn what_was_answered_with_success_is_there_after_the_store_is_opened_again() {
    let server = Server::start().await;
    for signal in Signal::ALL {
        let path = format!("/v1/{signal}");
        let body = protobuf(signal, &["protobuf"]);
        assert_eq!(server.post(&path, &[("content-type", "application/x-protobuf")], body).await.status, 200);
        let body = json_request(signal, &["json"]).to_string().into_bytes();
        assert_eq!(server.post(&path, &[("content-type", "application/json")], body).await.status, 200);
    }
    assert_eq!(server.post("/log", &[], br#"{"message":"log"}"#.to_vec()).await.status, 200);
    let Server { collector, store, dir } = server;
    collector.shutdown(Duration::from_secs(10)).await;
    drop(collector);
    // No close: the head is gone, the log is all there is.
    assert_eq!(store.stats().segments, 0);
    assert_eq!(Arc::strong_count(&store), 1, "nothing of the collector is left");
    drop(store);

    let store = open(storage::Settings::new(dir.path())).await;
    assert_eq!(stored(&store, Signal::Traces).await, ["json", "protobuf"]);
    assert_eq!(stored(&store, Signal::Logs).await, ["json", "log", "protobuf"]);
    assert_eq!(stored(&store, Signal::Metrics).await, ["json", "protobuf"]);
}
