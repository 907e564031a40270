//! OTLP in, OTLP out: both protocols, the spool, and senders that are told to wait.

use std::time::Duration;

use agent::status::BreakerState;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::codec::CompressionEncoding;

use crate::collector::{Answer, Collector};
use crate::support::{Host, Running, until};

pub(crate) const LISTEN: &str =
    "[otlp]\ngrpc = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";

pub(crate) fn text(text: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) })
}

fn resource() -> Option<Resource> {
    let service = KeyValue { key: "service.name".to_owned(), value: text("checkout"), ..KeyValue::default() };
    Some(Resource { attributes: vec![service], ..Resource::default() })
}

pub(crate) fn spans(names: &[&str]) -> ExportTraceServiceRequest {
    let spans = names.iter().map(|name| Span {
        name: (*name).to_owned(),
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        ..Span::default()
    });
    let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
    let group = ResourceSpans { resource: resource(), scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![group] }
}

pub(crate) fn logs(bodies: &[&str]) -> ExportLogsServiceRequest {
    let log_records =
        bodies.iter().map(|body| LogRecord { body: text(body), ..LogRecord::default() }).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let group = ResourceLogs { resource: resource(), scope_logs, ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![group] }
}

pub(crate) fn grpc_url(agent: &Running) -> String {
    format!("http://{}", agent.addresses.otlp_grpc.expect("gRPC is on"))
}

/// Posts with HTTP/1.1; status and everything after it.
pub(crate) async fn post(
    agent: &Running,
    path: &str,
    content_type: &str,
    encoding: &str,
    body: &[u8],
) -> (u16, String) {
    let address = agent.addresses.otlp_http.expect("HTTP is on");
    let mut stream = TcpStream::connect(address).await.expect("connect");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
         Content-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("write");
    stream.write_all(body).await.expect("write");
    read_answer(stream).await
}

pub(crate) async fn get(agent: &Running, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(agent.addresses.admin.expect("admin is on")).await.expect("connect");
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("write");
    read_answer(stream).await
}

async fn read_answer(mut stream: TcpStream) -> (u16, String) {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("read");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_requests_reach_the_collector_with_the_agents_attributes() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let agent = host.agent(&collector.url(), LISTEN).await;
    let mut plain = TraceServiceClient::connect(grpc_url(&agent)).await.expect("connect");
    plain.export(spans(&["a"])).await.expect("taken");
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = plain.clone().send_compressed(encoding);
        client.export(spans(&["b", "c"])).await.expect("taken");
    }
    let mut client = LogsServiceClient::connect(grpc_url(&agent)).await.expect("connect");
    client.export(logs(&["hello"])).await.expect("taken");
    until("all of them", || collector.records().len() == 6).await;
    for record in collector.records() {
        assert_eq!(record.resource("service.name"), "checkout");
        assert_eq!(record.resource("deployment.environment.name"), "test");
        assert!(!record.resource("host.name").is_empty());
        assert_eq!(record.resource.len(), 3);
    }
    assert_eq!(collector.texts(), ["a", "b", "c", "b", "c", "hello"]);
    let status = agent.stop().await;
    assert_eq!((status.flows[1].output_records, status.flows[2].output_records), (5, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_requests_in_protobuf_and_json_are_taken_and_broken_ones_are_not() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let agent = host.agent(&collector.url(), LISTEN).await;
    let mut writer = LogsWriter::new([("service.name", "web")]);
    writer.push(&LogRecordParts { body: "over http", ..Default::default() }, []);
    let request = writer.finish();
    let protobuf = "application/x-protobuf";
    assert_eq!(post(&agent, "/v1/logs", protobuf, "identity", &request).await.0, 200);
    let packed = zstd::encode_all(request.as_slice(), 1).expect("packed");
    assert_eq!(post(&agent, "/v1/logs", protobuf, "zstd", &packed).await.0, 200);
    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"s"}]}]}]}"#;
    let (status, answer) =
        post(&agent, "/v1/traces", "application/json; charset=utf-8", "identity", json).await;
    assert!(status == 200 && answer.ends_with("{}"), "{answer}");
    until("all three", || collector.records().len() == 3).await;
    let records = collector.records();
    let span = records.iter().find(|record| record.text == "s").expect("the span");
    assert_eq!(span.resource("deployment.environment.name"), "test");

    for (path, content_type, encoding, body, expected) in [
        ("/v1/logs", protobuf, "identity", &b"\x0a\x05a"[..], 400),
        ("/v1/logs", protobuf, "gzip", b"no gzip", 400),
        ("/v1/logs", protobuf, "br", b"", 415),
        ("/v1/logs", "text/plain", "identity", b"", 415),
        ("/v1/logs", "application/json", "identity", b"[", 400),
        ("/v1/profiles", protobuf, "identity", b"", 404),
        ("/v1/metrics", protobuf, "identity", b"", 200),
    ] {
        let (status, answer) = post(&agent, path, content_type, encoding, body).await;
        assert_eq!(status, expected, "{answer}");
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_while_the_collector_was_away_survives_a_restart() {
    let (host, mut collector) = (Host::new(), Collector::start().await);
    collector.go_away().await;
    let agent = host.agent(&collector.url(), LISTEN).await;
    let mut client = TraceServiceClient::connect(grpc_url(&agent)).await.expect("connect");
    client.export(spans(&["a", "b"])).await.expect("taken");
    until("a failure", || agent.status().collector.consecutive_failures > 0).await;
    let status = agent.stop().await;
    assert_eq!((status.flows[1].buffered_records, status.spool.requests), (2, 1));
    collector.come_back().await;
    let agent = host.agent(&collector.url(), LISTEN).await;
    until("both", || collector.texts() == ["a", "b"]).await;
    let status = agent.stop().await;
    assert_eq!((status.flows[1].buffered_records, status.spool.requests), (0, 0));
    assert_eq!(collector.texts(), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_stays_away_opens_the_breaker_and_the_oldest_request_is_told() {
    let (host, mut collector) = (Host::new(), Collector::start().await);
    collector.go_away().await;
    let agent = host.agent(&collector.url(), LISTEN).await;
    let mut client = TraceServiceClient::connect(grpc_url(&agent)).await.expect("connect");
    client.export(spans(&["a"])).await.expect("taken");
    until("an open breaker", || agent.status().collector.breaker != BreakerState::Closed).await;
    until("a second of waiting", || agent.status().spool.lanes[0].oldest_seconds >= 1).await;
    let metrics = get(&agent, "/metrics").await.1;
    let open = ["agent_breaker_state 1\n", "agent_breaker_state 2\n"];
    assert!(open.iter().any(|line| metrics.contains(line)), "{metrics}");
    assert!(!metrics.contains("agent_spool_oldest_seconds{lane=\"traces\"} 0\n"), "{metrics}");
    collector.come_back().await;
    until("the span", || collector.texts() == ["a"]).await;
    let is_idle = || {
        let status = agent.status();
        (status.collector.in_flight, status.collector.breaker) == (0, BreakerState::Closed)
    };
    until("nothing under way", is_idle).await;
    until("an empty spool", || agent.status().spool.lanes[0].oldest_seconds == 0).await;
    let metrics = get(&agent, "/metrics").await.1;
    for line in [
        "agent_breaker_state 0\n",
        "agent_inflight_batches 0\n",
        "agent_duplicate_suppressed_total 0\n",
        "agent_spool_oldest_seconds{lane=\"traces\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_tells_senders_when_to_come_back_and_loses_nothing_it_took() {
    let (host, mut collector) = (Host::new(), Collector::start().await);
    collector.go_away().await;
    let agent = host.agent(&collector.url(), &format!("{LISTEN}[spool]\nmax = \"1MiB\"")).await;
    let mut client = LogsServiceClient::connect(grpc_url(&agent)).await.expect("connect");
    // Random bytes as text, so that compression does not make them small.
    let mut random = 42u64;
    let mut noise = || {
        let letters = (0..100_000).map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(33 + (random >> 33) as u8 % 90)
        });
        letters.collect::<String>()
    };
    let mut taken = 0;
    let refusal = loop {
        match client.export(logs(&[&noise()])).await {
            Ok(_) => taken += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
    assert!(memmem(refusal.details(), b"google.rpc.RetryInfo"), "{refusal:?}");
    assert!(taken >= 5, "the spool really filled up: {taken}");
    let mut writer = LogsWriter::new([]);
    writer.push(&LogRecordParts { body: &noise(), ..Default::default() }, []);
    let (status, answer) =
        post(&agent, "/v1/logs", "application/x-protobuf", "identity", &writer.finish()).await;
    assert!(status == 429 && answer.to_lowercase().contains("retry-after: 5"), "{answer}");
    collector.come_back().await;
    until("what was taken", || collector.records().len() == taken).await;
    until("room", || agent.status().spool.requests == 0).await;
    client.export(logs(&["again"])).await.expect("taken again");
    until("the last", || collector.records().len() == taken + 1).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_cannot_be_read_for_a_while_is_shown_and_shipped_later() {
    let (host, mut collector) = (Host::new(), Collector::start().await);
    collector.go_away().await;
    let agent = host.agent(&collector.url(), LISTEN).await;
    let mut client = LogsServiceClient::connect(grpc_url(&agent)).await.expect("connect");
    client.export(logs(&["a"])).await.expect("taken");
    until("an attempt to send it", || agent.status().collector.consecutive_failures > 0).await;
    let segment = host.data.path().join("spool/logs/0000000000000001.seg");
    let only_first = std::fs::read(&segment).expect("read");
    client.export(logs(&["b"])).await.expect("taken");
    let whole = std::fs::read(&segment).expect("read");
    std::fs::write(&segment, &only_first).expect("shortened behind the agent's back");
    collector.come_back().await;
    until("the read error", || agent.status().spool.read_error.is_some()).await;
    assert_eq!(collector.texts(), ["a"]);
    std::fs::write(&segment, &whole).expect("whole again");
    until("the rest", || collector.texts() == ["a", "b"]).await;
    until("the spool to be empty", || agent.status().spool.requests == 0).await;
    let status = agent.stop().await;
    assert_eq!((status.flows[2].output_records, status.spool.read_error), (2, None));
}

fn memmem(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_refused_request_does_not_take_its_neighbours_along() {
    let (host, mut collector) = (Host::new(), Collector::start().await);
    collector.answer(Answer::RefusePoison);
    collector.go_away().await;
    let agent = host.agent(&collector.url(), LISTEN).await;
    let mut client = LogsServiceClient::connect(grpc_url(&agent)).await.expect("connect");
    for body in ["a", "poison", "b"] {
        client.export(logs(&[body])).await.expect("taken");
    }
    collector.come_back().await;
    until("the good ones", || collector.texts() == ["a", "b"]).await;
    until("the spool to be empty", || agent.status().spool.requests == 0).await;
    let status = agent.stop().await;
    assert_eq!((status.flows[2].output_records, status.flows[2].dropped[1].1), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_pages_tell_what_the_status_holds() {
    let (host, collector) = (Host::new(), Collector::start().await);
    host.append("a.log", "1\n\n2\n");
    let agent = host.agent(&collector.url(), LISTEN).await;
    until("both lines", || agent.status().flows[0].output_records == 2).await;
    let (status, metrics) = get(&agent, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "agent_input_records_total{component=\"files\",signal=\"logs\"} 3",
        "agent_output_records_total{component=\"files\",signal=\"logs\"} 2",
        "agent_dropped_records_total{component=\"files\",signal=\"logs\",reason=\"blank\"} 1",
        "agent_buffered_records{component=\"files\",signal=\"logs\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let (_, status) = get(&agent, "/status").await;
    let body = status.split_once("\r\n\r\n").expect("a body").1;
    let status: agent::status::Status = serde_json::from_str(body).expect("a status");
    assert_eq!(status.flows[0].input_records, 3);
    assert!(get(&agent, "/healthz").await.1.ends_with("ok\n"));
    tokio::time::timeout(Duration::from_secs(30), agent.stop()).await.expect("ended in time");
}
