//! Slow and silent clients, and the end of the collector.

use std::time::Duration;

use collector::{Drained, Reason, Source};
use model::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Server, protobuf, until};

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.collector.otlp_http_addr()).await.expect("connects")
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut out = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut out)).await;
    read.expect("the connection ends")
        .map_or_else(|error| format!("{error}"), |_| String::from_utf8_lossy(&out).into_owned())
}

fn head(path: &str, length: usize) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/x-protobuf\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes()
}

#[tokio::test]
async fn a_body_that_stops_is_refused_retryably() {
    let server = Server::with(|settings| settings.connections.body_grace = Duration::from_millis(100)).await;
    let mut stream = connect(&server).await;
    stream.write_all(&head("/v1/logs", 100)).await.expect("written");
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after: 1"), "{answer}");
    let metrics = server.collector.metrics();
    assert_eq!(metrics.requests_refused(Source::OtlpHttp, Signal::Logs, Reason::SlowBody), 1);
}

#[tokio::test]
async fn silence_and_half_a_header_are_ended() {
    let server =
        Server::with(|settings| settings.connections.header_timeout = Duration::from_millis(100)).await;
    for said in ["", "P", "PRI * HTT", "POST /log HTTP/1.1\r\nhost:"] {
        let mut stream = connect(&server).await;
        stream.write_all(said.as_bytes()).await.expect("written");
        let answer = read_all(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{said}: {answer}");
    }
    let mut stream = TcpStream::connect(server.collector.otlp_grpc_addr()).await.expect("connects");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM").await.expect("written");
    read_all(&mut stream).await;
}

#[tokio::test]
async fn a_connection_that_rests_is_closed() {
    let server =
        Server::with(|settings| settings.connections.idle_timeout = Duration::from_millis(100)).await;
    let mut stream = connect(&server).await;
    stream.write_all(b"POST /log HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}").await.expect("written");
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "answered, then closed: {answer}");
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted() {
    let server = Server::start().await;
    let mut stream = connect(&server).await;
    stream.write_all(&head("/v1/logs", 100)).await.expect("written");
    let metrics = server.collector.metrics();
    until("the request to begin", || async { metrics.counts(Source::OtlpHttp, Signal::Logs).requests == 1 })
        .await;
    drop(stream);
    until("the request to be counted as aborted", || async {
        metrics.requests_refused(Source::OtlpHttp, Signal::Logs, Reason::Aborted) == 1
    })
    .await;
}

#[tokio::test]
async fn shutdown_answers_what_is_in_flight_and_accepts_nothing_new() {
    let server = Server::start().await;
    let body = protobuf(Signal::Logs, &["in flight"]);
    let mut stream = connect(&server).await;
    stream.write_all(&head("/v1/logs", body.len())).await.expect("written");
    stream.write_all(&body[..10]).await.expect("written");
    let metrics = server.collector.metrics();
    until("the request to begin", || async { metrics.counts(Source::OtlpHttp, Signal::Logs).requests == 1 })
        .await;

    let idle = connect(&server).await;
    let http = server.collector.otlp_http_addr();
    let finish = async {
        until("the listener to be gone", || async { TcpStream::connect(http).await.is_err() }).await;
        stream.write_all(&body[10..]).await.expect("written");
        read_all(&mut stream).await
    };
    let (drained, answer) = tokio::join!(server.collector.shutdown(Duration::from_secs(20)), finish);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(drained, Drained::InTime);
    assert_eq!(server.stored(Signal::Logs).await, ["in flight"]);
    drop(idle);
}

#[tokio::test]
async fn shutdown_cuts_what_does_not_end_in_time() {
    let server = Server::start().await;
    let mut stream = connect(&server).await;
    stream.write_all(&head("/v1/logs", 100)).await.expect("written");
    let metrics = server.collector.metrics();
    until("the request to begin", || async { metrics.counts(Source::OtlpHttp, Signal::Logs).requests == 1 })
        .await;
    assert_eq!(server.collector.shutdown(Duration::from_millis(50)).await, Drained::Cut(1));
    assert!(!read_all(&mut stream).await.starts_with("HTTP/1.1 200"));
}
