//! OTLP over HTTP: every encoding with every compression, every status.

use model::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use serde_json::json;

use crate::support::{
    BAD_REQUEST, Server, compressed, detail_types, json_request, protobuf, span, status_message, traces,
    wal_holds,
};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn every_signal_is_stored_in_every_encoding_with_every_compression() {
    let server = Server::start().await;
    for signal in Signal::ALL {
        let mut expected = Vec::new();
        for way in ["identity", "gzip", "zstd"] {
            for content_type in [PROTOBUF, JSON] {
                let name = format!("{way}-{}", content_type.1);
                let body = match content_type {
                    PROTOBUF => protobuf(signal, &[&name]),
                    _ => json_request(signal, &[&name]).to_string().into_bytes(),
                };
                let headers = [content_type, ("content-encoding", way)];
                let answer = server.post(&format!("/v1/{signal}"), &headers, compressed(way, &body)).await;
                assert_eq!(answer.status, 200, "{signal} {name}: {answer:?}");
                assert_eq!(answer.header("content-type"), content_type.1, "{signal} {name}");
                let expected_body: &[u8] = if content_type == PROTOBUF { b"" } else { b"{}" };
                assert_eq!(answer.body, expected_body, "partial_success is unset");
                expected.push(name);
                expected.sort();
                assert_eq!(server.stored(signal).await, expected);
            }
        }
    }
}

#[tokio::test]
async fn the_log_keeps_a_protobuf_body_as_it_was_sent() {
    let server = Server::start().await;
    let body = compressed("gzip", &protobuf(Signal::Logs, &["kept"]));
    let answer = server.post("/v1/logs", &[PROTOBUF, ("content-encoding", "gzip")], body.clone()).await;
    assert_eq!(answer.status, 200);
    assert!(wal_holds(server.dir.path(), &body));
}

#[tokio::test]
async fn partial_success_is_said_in_the_encoding_of_the_request() {
    let server = Server::start().await;
    let mut bad = span("bad");
    bad.span_id = Vec::new();
    let body = traces(vec![span("a"), bad]).encode_to_vec();
    let answer = server.post("/v1/traces", &[PROTOBUF], body).await;
    assert_eq!(answer.status, 200);
    let partial =
        ExportTraceServiceResponse::decode(&*answer.body).expect("protobuf").partial_success.expect("set");
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("`bad`"), "{partial:?}");

    let mut request = json_request(Signal::Traces, &["b", "bad", "c"]);
    request["resourceSpans"][0]["scopeSpans"][0]["spans"][1]["traceId"] =
        json!("0AF7651916CD43DD8448EB211C80319");
    let answer = server.post("/v1/traces", &[JSON], request.to_string().into_bytes()).await;
    assert_eq!(answer.status, 200);
    let message = "resourceSpans[0].scopeSpans[0].spans[1].traceId: 31 hex digits, expected 32";
    assert_eq!(answer.json(), json!({"partialSuccess": {"rejectedSpans": "1", "errorMessage": message}}));
    assert_eq!(server.stored(Signal::Traces).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn each_signal_names_its_own_rejected_field() {
    let server = Server::start().await;
    let mut request = json_request(Signal::Logs, &["a"]);
    request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["body"] = json!(5);
    let answer = server.post("/v1/logs", &[JSON], request.to_string().into_bytes()).await;
    assert_eq!(answer.json()["partialSuccess"]["rejectedLogRecords"], "1", "{answer:?}");
    let mut request = json_request(Signal::Metrics, &["a"]);
    request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["gauge"]["dataPoints"][0]["asDouble"] =
        json!("x");
    let answer = server.post("/v1/metrics", &[JSON], request.to_string().into_bytes()).await;
    assert_eq!(answer.json()["partialSuccess"]["rejectedDataPoints"], "1", "{answer:?}");
}

#[tokio::test]
async fn empty_requests_are_successes() {
    let server = Server::start().await;
    for (content_type, body) in [(PROTOBUF, ""), (JSON, "{}"), (JSON, "{\"resourceSpans\":[]}")] {
        let answer = server.post("/v1/traces", &[content_type], body.into()).await;
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
    }
    let charset = ("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(server.post("/v1/traces", &[charset], b"{}".to_vec()).await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_decoded_is_a_400_with_a_status_in_the_same_encoding() {
    let server = Server::start().await;
    let answer = server.post("/v1/traces", &[PROTOBUF], b"\xff\xff\xff".to_vec()).await;
    assert_eq!((answer.status, answer.header("content-type")), (400, PROTOBUF.1));
    assert!(status_message(&answer.body).contains("no protobuf message: byte"), "{answer:?}");
    assert_eq!(detail_types(&answer.body), [BAD_REQUEST]);

    let answer = server.post("/v1/traces", &[JSON], b"{\"resourceSpans\": [}".to_vec()).await;
    assert_eq!((answer.status, answer.header("content-type")), (400, JSON.1));
    let status = answer.json();
    assert_eq!(status["code"], 3);
    assert_eq!(status["message"], "the request is no JSON: line 1, column 20: expected a value");

    let answer = server.post("/v1/traces", &[JSON], b"{\"resourceSpans\": 5}".to_vec()).await;
    let violation = &answer.json()["details"][0]["fieldViolations"][0];
    assert_eq!(violation["field"], "resourceSpans", "{answer:?}");

    for way in ["gzip", "zstd"] {
        let answer =
            server.post("/v1/logs", &[PROTOBUF, ("content-encoding", way)], b"neither".to_vec()).await;
        assert_eq!(answer.status, 400, "{way}: {answer:?}");
        assert!(status_message(&answer.body).contains(way), "{answer:?}");
    }
}

#[tokio::test]
async fn unknown_types_encodings_paths_and_methods_get_their_status() {
    let server = Server::start().await;
    let body = protobuf(Signal::Traces, &["n"]);
    let answer = server.post("/v1/traces", &[("content-type", "text/xml")], body.clone()).await;
    assert_eq!((answer.status, answer.header("content-type")), (415, JSON.1));
    assert!(answer.json()["message"].as_str().expect("text").contains("application/x-protobuf"));
    assert_eq!(server.post("/v1/traces", &[], body.clone()).await.status, 415, "no content type");

    let answer = server.post("/v1/traces", &[PROTOBUF, ("content-encoding", "br")], body.clone()).await;
    assert_eq!((answer.status, answer.header("accept-encoding")), (415, "gzip, zstd, identity"));
    assert!(status_message(&answer.body).contains("br"));

    let answer = server.post("/v1/profiles", &[PROTOBUF], body).await;
    assert_eq!(answer.status, 404);
    assert!(status_message(&answer.body).contains("/v1/traces"));

    let answer =
        crate::support::Answer::of(reqwest::get(server.url("/v1/traces")).await.expect("an answer")).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST, OPTIONS"));
    assert_eq!(server.stored(Signal::Traces).await, Vec::<String>::new());
}

#[tokio::test]
async fn browsers_may_send_from_any_origin_unless_origins_are_named() {
    let server = Server::start().await;
    let client = reqwest::Client::new();
    for path in ["/v1/traces", "/log"] {
        let preflight = client
            .request(reqwest::Method::OPTIONS, server.url(path))
            .header("origin", "https://shop.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,x-service");
        let answer = crate::support::Answer::of(preflight.send().await.expect("an answer")).await;
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("access-control-allow-methods"), "POST");
        assert_eq!(answer.header("access-control-allow-headers"), "content-type,x-service");
    }
    let origin = ("origin", "https://shop.example");
    let answer = server.post("/v1/traces", &[JSON, origin], b"{}".to_vec()).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, "*"));

    let server =
        Server::with(|settings| settings.cors_origins = vec!["https://shop.example".to_owned()]).await;
    let answer = server.post("/v1/traces", &[JSON, origin], b"{}".to_vec()).await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example");
    let other = ("origin", "https://other.example");
    let answer = server.post("/v1/traces", &[JSON, other], b"{}".to_vec()).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}
