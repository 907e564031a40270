//! `POST /log` over the wire.

use model::Signal;
use serde_json::json;

use crate::support::{Server, compressed};

#[tokio::test]
async fn one_line_of_curl_is_enough() {
    let server = Server::start().await;
    // What `curl -d` sends by itself.
    let form = ("content-type", "application/x-www-form-urlencoded");
    let answer = server.post("/log", &[form], br#"{"level":"warn","message":"late"}"#.to_vec()).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.json(), json!({"accepted": 1, "rejected": 0, "errors": []}));
    // What `navigator.sendBeacon` sends.
    let beacon = ("content-type", "text/plain;charset=UTF-8");
    let answer = server.post("/log", &[beacon], br#"[{"message":"a"},{"message":"b"}]"#.to_vec()).await;
    assert_eq!(answer.json()["accepted"], 2);
    let lines = b"{\"message\":\"c\"}\n{\"message\":\"d\"}\n";
    for way in ["gzip", "zstd"] {
        let answer = server.post("/log", &[("content-encoding", way)], compressed(way, lines)).await;
        assert_eq!(answer.json()["accepted"], 2, "{way}: {answer:?}");
    }
    assert_eq!(server.stored(Signal::Logs).await, ["a", "b", "c", "c", "d", "d", "late"]);
}

#[tokio::test]
async fn the_service_comes_from_the_object_the_query_or_the_header() {
    let server = Server::start().await;
    let header = ("x-service", "from-header");
    server.post("/log?service=from%20query", &[header], br#"{"service":"own","message":"1"}"#.to_vec()).await;
    server.post("/log?service=from%20query", &[header], br#"{"message":"2"}"#.to_vec()).await;
    server.post("/log", &[header], br#"{"message":"3"}"#.to_vec()).await;
    server.post("/log", &[], br#"{"message":"4"}"#.to_vec()).await;
    let snapshot = server.store.snapshot();
    let services = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        let mut visit = |rows: &_| {
            let rows = storage::rows::LogRows::new(rows);
            found.extend((0..rows.len()).map(|row| format!("{} {}", rows.body(row), rows.service(row))));
            std::ops::ControlFlow::Continue(())
        };
        let mut stats = storage::ScanStats::default();
        let order = storage::ScanOrder::Any;
        snapshot
            .scan(Signal::Logs, &model::TimeRange::ALL, &[], order, &mut stats, &mut visit)
            .expect("readable");
        found.sort();
        found
    });
    assert_eq!(
        services.await.expect("no panic"),
        ["1 own", "2 from query", "3 from-header", "4 unknown_service"]
    );
}

#[tokio::test]
async fn good_objects_are_kept_and_nothing_good_is_a_400() {
    let server = Server::start().await;
    let answer = server.post("/log", &[], br#"[{"message":"kept"}, 5]"#.to_vec()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({"accepted": 1, "rejected": 1, "errors": ["[1]: a number, expected an object"]})
    );
    for body in ["[5]", "no JSON", "", "[{]"] {
        let answer = server.post("/log", &[], body.into()).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert_eq!(answer.json()["accepted"], 0);
        assert!(!answer.json()["errors"].as_array().expect("a list").is_empty(), "{body}: {answer:?}");
    }
    assert_eq!(server.post("/log", &[], b"[]".to_vec()).await.status, 200, "an empty array is no error");
    assert_eq!(server.stored(Signal::Logs).await, ["kept"]);
}
