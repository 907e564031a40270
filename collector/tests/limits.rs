//! Size, overload, bombs: what is refused, how cheaply, and what the sender is told.

use std::net::SocketAddr;
use std::time::Duration;

use collector::Settings;
use model::Signal;
use model::wire::{put_bytes, put_message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{
    RETRY_INFO, Server, TRACES_METHOD, compressed, detail_types, frame, grpc_call, gzip_bomb, protobuf, until,
};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const GZIP: (&str, &str) = ("content-encoding", "gzip");

fn grpc_details(answer: &crate::support::GrpcAnswer) -> Vec<String> {
    use base64::Engine as _;
    let details = answer.field("grpc-status-details-bin");
    detail_types(&base64::engine::general_purpose::STANDARD_NO_PAD.decode(details).expect("base64"))
}

#[tokio::test]
async fn a_request_at_the_limit_passes_and_one_byte_more_is_413() {
    let body = protobuf(Signal::Logs, &[&"x".repeat(9_000)]);
    for way in ["identity", "gzip", "zstd"] {
        for (limit, status) in [(body.len(), 200), (body.len() - 1, 413)] {
            let server = Server::with(|settings| settings.limits.request_bytes_max = limit).await;
            let headers = [PROTOBUF, ("content-encoding", way)];
            let answer = server.post("/v1/logs", &headers, compressed(way, &body)).await;
            assert_eq!(answer.status, status, "{way} {limit}: {answer:?}");
            assert_eq!(answer.header("retry-after"), "", "the same again would fail again");
        }
    }
}

#[tokio::test]
async fn a_compressed_body_has_a_limit_of_its_own() {
    let server = Server::with(|settings| settings.limits.compressed_bytes_max = 1_000).await;
    let body = protobuf(Signal::Logs, &[&"x".repeat(5_000)]);
    assert_eq!(
        server.post("/v1/logs", &[PROTOBUF], body.clone()).await.status,
        200,
        "plain bodies may be larger"
    );
    let noise: Vec<u8> = (0..4_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert_eq!(server.post("/v1/logs", &[PROTOBUF, GZIP], noise.clone()).await.status, 413);
    let addr = server.collector.otlp_grpc_addr();
    let answer = grpc_call(addr, TRACES_METHOD, &[("grpc-encoding", "gzip")], frame(true, &noise)).await;
    assert_eq!(answer.field("grpc-status"), "8", "{answer:?}");
    assert_eq!(grpc_details(&answer), Vec::<String>::new());
}

#[tokio::test]
async fn a_gibibyte_of_zeros_is_refused_without_unpacking_it() {
    let server = Server::start().await;
    // Behind the first 80 MiB stands what is no gzip: who reads so far answers "malformed" instead.
    let mut bomb = gzip_bomb(1024);
    let broken = bomb.len() / 1024 * 80;
    bomb[broken..].fill(0xff);
    let answer = server.post("/v1/traces", &[PROTOBUF, GZIP], bomb.clone()).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    let addr = server.collector.otlp_grpc_addr();
    let answer = grpc_call(addr, TRACES_METHOD, &[("grpc-encoding", "gzip")], frame(true, &bomb)).await;
    assert_eq!(answer.field("grpc-status"), "8", "{answer:?}");
}

#[tokio::test]
async fn spans_of_two_bytes_are_counted_before_they_are_decoded() {
    let server = Server::start().await;
    let mut request = Vec::new();
    put_message(&mut request, 1, |group| {
        put_message(group, 2, |scope| (0..4_000_000).for_each(|_| put_bytes(scope, 2, b"")));
    });
    let answer = server.post("/v1/traces", &[PROTOBUF, GZIP], compressed("gzip", &request)).await;
    assert_eq!(answer.status, 413, "{answer:?}");
}

#[tokio::test]
async fn rows_that_repeat_a_large_resource_are_weighed_before_they_are_built() {
    let server = Server::start().await;
    let mut request = Vec::new();
    put_message(&mut request, 1, |group| {
        put_message(group, 1, |resource| {
            for key in 0..100u8 {
                put_message(resource, 1, |attribute| {
                    put_bytes(attribute, 1, &[b'a' + key % 26, b'0' + key / 26]);
                    put_message(attribute, 2, |any| put_bytes(any, 1, &[b'x'; 60_000]));
                });
            }
        });
        put_message(group, 2, |scope| (0..100_000).for_each(|_| put_bytes(scope, 2, b"")));
    });
    let answer = server.post("/v1/logs", &[PROTOBUF], request).await;
    assert_eq!(answer.status, 413, "600 GB of rows from 6 MB: {answer:?}");
}

/// Little room: one request of 64 KiB and its rows.
fn cramped(settings: &mut Settings) {
    settings.limits.request_bytes_max = 64 << 10;
    settings.limits.compressed_bytes_max = 64 << 10;
    settings.limits.decoded_bytes_max = 128 << 10;
    settings.limits.in_flight_bytes_max = 192 << 10;
    settings.limits.retry_after = Duration::from_secs(7);
}

/// A request whose last byte is missing: it holds its share of the budget until it is finished.
async fn unfinished(addr: SocketAddr, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.expect("connects");
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.write_all(&vec![0; bytes - 1]).await.expect("written");
    stream
}

#[tokio::test]
async fn overload_is_refused_before_the_body_is_read_and_says_when_to_come_back() {
    let server = Server::with(cramped).await;
    // Each holds the least that a request is charged, 16 KiB; twelve of them are the budget.
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(unfinished(server.collector.otlp_http_addr(), 100).await);
    }
    let body = protobuf(Signal::Traces, &["n"]);
    until("the budget to be used up", || async {
        server.post("/v1/traces", &[PROTOBUF], body.clone()).await.status == 429
    })
    .await;
    let answer = server.post("/v1/traces", &[PROTOBUF], body.clone()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "7"));
    assert_eq!(detail_types(&answer.body), [RETRY_INFO]);
    let answer = server.post("/log", &[], b"{}".to_vec()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "7"));
    let answer = grpc_call(server.collector.otlp_grpc_addr(), TRACES_METHOD, &[], frame(false, &body)).await;
    assert_eq!(answer.field("grpc-status"), "14", "{answer:?}");
    assert_eq!(grpc_details(&answer), [RETRY_INFO]);

    let mut asking = TcpStream::connect(server.collector.otlp_http_addr()).await.expect("connects");
    let head = "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n\
                content-length: 60000\r\nexpect: 100-continue\r\n\r\n";
    asking.write_all(head.as_bytes()).await.expect("written");
    let mut answer = vec![0; 12];
    asking.read_exact(&mut answer).await.expect("an answer without a body");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 429");

    drop(held);
    until("the budget to come back", || async {
        server.post("/v1/traces", &[PROTOBUF], body.clone()).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_full_is_a_503_and_unavailable_and_loses_nothing_silently() {
    let server = Server::with_store(|store| store.head_bytes_max = 0, |_| {}).await;
    let body = protobuf(Signal::Traces, &["n"]);
    assert_eq!(server.post("/v1/traces", &[PROTOBUF], body.clone()).await.status, 200);
    // Sealing empties the head again, so both answers are possible; a refusal must come and be retryable.
    let mut stored = 1;
    let refused = loop {
        let answer = server.post("/v1/traces", &[PROTOBUF], body.clone()).await;
        match answer.status {
            200 => stored += 1,
            _ => break answer,
        }
        assert!(stored < 1_000, "the head is never full");
    };
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{refused:?}");
    assert_eq!(detail_types(&refused.body), [RETRY_INFO]);
    assert_eq!(server.stored(Signal::Traces).await.len(), stored);
}
