//! The position protocol as an agent speaks it, over HTTP and gRPC.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use collector::Source;
use model::Signal;
use model::positions::{Range, StreamId, decode_committed, encode};
use serde_json::{Value, json};
use storage::Mismatch;

use crate::support::{Answer, Server, TRACES_METHOD, compressed, frame, grpc_call, protobuf};

const AGENT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

fn stream(byte: u8) -> StreamId {
    StreamId([byte; 16])
}

/// A range whose records end at `ends`.
fn range(of: u8, start: u64, ends: &[u64]) -> Range {
    let end = ends.last().copied().unwrap_or(start);
    Range { ends: ends.to_vec(), begins: start == 0, ..Range::new(stream(of), start, end, ends.len() as u64) }
}

async fn hello(server: &Server, body: &Value) -> Answer {
    server.post("/v1/agent/hello", &[], body.to_string().into_bytes()).await
}

async fn session(server: &Server) -> u64 {
    let answer = hello(server, &json!({"agent": AGENT, "host": "web-3", "later": [1]})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["session"].as_u64().expect("a number")
}

async fn send(server: &Server, session: u64, ranges: &[Range], names: &[&str]) -> Answer {
    let positions = STANDARD.encode(encode(ranges));
    let session = session.to_string();
    let headers = [
        PROTOBUF,
        ("content-encoding", "zstd"),
        ("silmari-agent", AGENT),
        ("silmari-session", &session),
        ("silmari-batch", "7"),
        ("silmari-positions-bin", &positions),
    ];
    let body = if names.is_empty() { Vec::new() } else { compressed("zstd", &protobuf(Signal::Logs, names)) };
    server.post("/v1/logs", &headers, body).await
}

fn committed(text: &str) -> Vec<(StreamId, Option<u64>)> {
    decode_committed(&STANDARD.decode(text).expect("base64")).expect("sound")
}

fn committed_of(answer: &Answer) -> Vec<(StreamId, Option<u64>)> {
    committed(answer.header("silmari-committed-bin"))
}

#[tokio::test]
async fn an_agent_that_lost_an_answer_an_order_or_its_session_is_told_where_to_go_on() {
    let server = Server::start().await;
    assert_eq!(session(&server).await, 1);
    let first = [range(1, 0, &[10, 20])];
    for _ in 0..2 {
        let answer = send(&server, 1, &first, &["a", "b"]).await;
        assert_eq!((answer.status, committed_of(&answer)), (200, vec![(stream(1), Some(20))]), "{answer:?}");
        assert_eq!(answer.body, b"", "full success");
    }
    let answer = send(&server, 1, &[range(1, 10, &[20, 30])], &["b", "c"]).await;
    assert_eq!((answer.status, committed_of(&answer)), (200, vec![(stream(1), Some(30))]));
    assert_eq!(server.stored(Signal::Logs).await, ["a", "b", "c"]);

    let answer = send(&server, 1, &[range(1, 40, &[50])], &["e"]).await;
    assert_eq!((answer.status, answer.header("silmari-refused")), (409, "gap"), "{answer:?}");
    assert_eq!(committed_of(&answer), [(stream(1), Some(30))]);
    let answer = send(&server, 1, &[range(9, 5, &[6])], &["x"]).await;
    assert_eq!((answer.status, committed_of(&answer)), (409, vec![(stream(9), None)]));
    let answer = send(&server, 1, &[Range::new(stream(1), 30, 40, 0)], &[]).await;
    assert_eq!((answer.status, committed_of(&answer)), (200, vec![(stream(1), Some(40))]), "{answer:?}");

    let body = json!({"agent": AGENT, "forget": ["ffeeddccbbaa99887766554433221100"]});
    let second = hello(&server, &body).await.json();
    assert_eq!(second["session"], 2);
    assert_eq!(second["streams"], json!([{"stream": "01".repeat(16), "committed": 40}]));
    let answer = send(&server, 1, &[range(1, 40, &[50])], &["e"]).await;
    assert_eq!((answer.status, answer.header("silmari-refused")), (409, "session"));
    assert_eq!(answer.header("silmari-session"), "2");
    let answer = send(&server, 3, &[range(1, 40, &[50])], &["e"]).await;
    assert_eq!((answer.status, answer.header("silmari-refused")), (409, "session-unknown"));
    assert_eq!(send(&server, 2, &[range(1, 40, &[50])], &["e"]).await.status, 200);
    assert_eq!(server.stored(Signal::Logs).await, ["a", "b", "c", "e"]);

    let metrics = server.collector.metrics();
    let refused = |mismatch| metrics.positions_refused(Source::OtlpHttp, Signal::Logs, mismatch);
    assert_eq!((refused(Mismatch::Gap), refused(Mismatch::Session), refused(Mismatch::Overlap)), (2, 1, 0));
    let counts = metrics.counts(Source::OtlpHttp, Signal::Logs);
    assert_eq!((counts.records_stored, counts.records_known, counts.records_returned), (4, 3, 4));
    assert_eq!(
        counts.records_received,
        counts.records_stored + counts.records_rejected + counts.records_returned + counts.records_known
    );
}

#[tokio::test]
async fn the_same_protocol_travels_over_grpc() {
    let server = Server::start().await;
    session(&server).await;
    let call = async |ranges: &[Range], names: &[&str]| {
        // gRPC leaves the padding out.
        let positions = STANDARD_NO_PAD.encode(encode(ranges));
        let headers = [
            ("silmari-agent", AGENT),
            ("silmari-session", "1"),
            ("silmari-positions-bin", positions.as_str()),
        ];
        let body = frame(false, &protobuf(Signal::Traces, names));
        grpc_call(server.collector.otlp_grpc_addr(), TRACES_METHOD, &headers, body).await
    };
    for _ in 0..2 {
        let answer = call(&[range(1, 0, &[1, 2])], &["a", "b"]).await;
        assert_eq!(answer.field("grpc-status"), "0");
        assert_eq!(committed(answer.field("silmari-committed-bin")), [(stream(1), Some(2))]);
    }
    let answer = call(&[range(1, 3, &[4])], &["d"]).await;
    assert_eq!((answer.field("grpc-status"), answer.field("silmari-refused")), ("9", "gap"));
    assert_eq!(committed(answer.field("silmari-committed-bin")), [(stream(1), Some(2))]);
    assert_eq!(server.stored(Signal::Traces).await, ["a", "b"]);
}

#[tokio::test]
async fn a_batch_of_ten_thousand_lines_fits_into_the_headers_of_both_protocols() {
    let server = Server::start().await;
    session(&server).await;
    let names: Vec<String> = (0..10_000).map(|number| format!("n{number:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ends: Vec<u64> = (1..=10_000).map(|number| number * 200).collect();
    assert_eq!(send(&server, 1, &[range(1, 0, &ends)], &names).await.status, 200);
    let positions = STANDARD.encode(encode(&[range(2, 0, &ends)]));
    let headers =
        [("silmari-agent", AGENT), ("silmari-session", "1"), ("silmari-positions-bin", positions.as_str())];
    let body = frame(false, &protobuf(Signal::Traces, &names));
    let answer = grpc_call(server.collector.otlp_grpc_addr(), TRACES_METHOD, &headers, body).await;
    assert_eq!(answer.field("grpc-status"), "0");
}

#[tokio::test]
async fn what_is_wrong_is_refused_for_good_and_moves_nothing() {
    let server = Server::start().await;
    session(&server).await;
    let other_count = send(&server, 1, &[range(1, 0, &[10])], &["a", "b"]).await;
    assert_eq!(other_count.status, 400);
    let positions = STANDARD.encode(encode(&[range(1, 0, &[10])]));
    let headers = [
        ("content-type", "application/json"),
        ("silmari-agent", AGENT),
        ("silmari-session", "1"),
        ("silmari-positions-bin", &positions),
    ];
    assert_eq!(server.post("/v1/logs", &headers, b"{}".to_vec()).await.status, 400, "JSON");
    let without_session = [PROTOBUF, ("silmari-agent", AGENT), ("silmari-positions-bin", &positions)];
    let body = protobuf(Signal::Logs, &["a"]);
    assert_eq!(server.post("/v1/logs", &without_session, body.clone()).await.status, 400);
    for wrong in ["", "[]", "{", r#"{"agent":"x"}"#, r#"{"host":"h"}"#] {
        let answer = server.post("/v1/agent/hello", &[], wrong.as_bytes().to_vec()).await;
        assert_eq!(answer.status, 400, "{wrong}: {answer:?}");
    }
    assert_eq!(hello(&server, &json!({"agent": AGENT, "forget": ["zz"]})).await.status, 400);
    // An agent id alone, as a proxy may leave it, is nothing.
    assert_eq!(server.post("/v1/logs", &[PROTOBUF, ("silmari-agent", AGENT)], body).await.status, 200);
    assert_eq!(hello(&server, &json!({"agent": AGENT})).await.json()["streams"], json!([]));
}
