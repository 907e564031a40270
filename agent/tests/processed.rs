//! What `[otlp]` does to pushed records: secrets, conditions, attributes, and JSON as good as protobuf.

use model::otlp::logs::{LogRecordParts, LogsWriter};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::collector::Collector;
use crate::pushed::{grpc_url, post, spans, text};
use crate::support::{Host, Running, until};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn listen(more: &str) -> String {
    format!(
        "[otlp]\ngrpc = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n{more}\n[admin]\nlisten = \"127.0.0.1:0\"\n"
    )
}

fn request(bodies: &[(i32, &str)], attributes: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = LogsWriter::new([("service.name", "checkout")]);
    for (severity_number, body) in bodies {
        let parts = LogRecordParts { severity_number: *severity_number, body, ..Default::default() };
        writer.push(&parts, attributes.iter().copied());
    }
    writer.finish()
}

fn json_request(records: &serde_json::Value) -> Vec<u8> {
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string().into_bytes()
}

async fn taken(agent: &Running, content_type: &str, body: &[u8]) -> String {
    let (status, answer) = post(agent, "/v1/logs", content_type, "identity", body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_in_pushed_logs_and_spans_are_hidden_whatever_the_protocol() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let settings = listen("redact = [\"default\", \"email\"]\nredact_patterns = ['customer=(\\w+)']");
    let agent = host.agent(&collector.url(), &settings).await;
    let pairs = [("mail", "to ann@shop.example"), ("db.password", "hunter2"), ("order", "ORD-1")];
    taken(&agent, PROTOBUF, &request(&[(9, "password=hunter2 customer=ann")], &pairs)).await;
    let record = json!([{ "body": {"stringValue": "Authorization: Bearer hunter2hunter2hunter2"}, "attributes": [
        {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "token=hunter2"}]}}},
    ]}]);
    taken(&agent, JSON, &json_request(&record)).await;
    let mut request = spans(&["GET /?token=hunter2"]);
    let query = KeyValue { key: "url.query".to_owned(), value: text("token=hunter2"), ..KeyValue::default() };
    request.resource_spans[0].scope_spans[0].spans[0].attributes = vec![query];
    let mut client = TraceServiceClient::connect(grpc_url(&agent)).await.expect("connect");
    client.export(request).await.expect("taken");
    until("all three", || collector.records().len() == 3).await;
    let all = format!("{:?}", collector.records());
    assert!(!all.contains("hunter2") && !all.contains("ann"), "{all}");
    assert!(all.contains("password=[redacted:password] customer=[redacted:custom]"), "{all}");
    assert!(all.contains("ORD-1"), "{all}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushed_log_records_are_chosen_and_changed_as_the_table_says_and_counted() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let settings = listen(
        "drop = [\"level < info\", 'line ~ \"^GET /health\"']\nsample = { keep = 0.0, unless = \"level >= warn\" }\n\
         set = { team = \"shop\" }\nrename = { order = \"order_id\" }",
    );
    let agent = host.agent(&collector.url(), &settings).await;
    let bodies = [(5, "debug"), (17, "GET /health"), (9, "info"), (13, "warn"), (17, "error")];
    taken(&agent, PROTOBUF, &request(&bodies, &[("order", "ORD-1"), ("team", "other")])).await;
    let dropped = json!([{"severityNumber": 5, "body": {"stringValue": "nothing is left of this one"}}]);
    taken(&agent, JSON, &json_request(&dropped)).await;
    let kept = json!([{"severityNumber": 17, "body": {"kvlistValue": {"values": []}},
        "attributes": [{"key": "order", "value": {"intValue": 7}}]}]);
    taken(&agent, JSON, &json_request(&kept)).await;
    until("what is kept", || collector.records().len() == 3).await;
    let pairs = |at: usize| collector.records()[at].attributes.clone();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(collector.texts()[..2], ["warn", "error"]);
    assert_eq!(pairs(0), [pair("order_id", "ORD-1"), pair("team", "shop")]);
    assert_eq!(pairs(2), [pair("order_id", "7"), pair("team", "shop")]);
    let status = agent.stop().await;
    let flow = &status.flows[2];
    let dropped: Vec<_> = flow.dropped.iter().filter(|(_, records)| *records > 0).collect();
    assert_eq!((flow.input_records, flow.output_records), (7, 3));
    let expected = [(agent::status::DropReason::Filtered, 3), (agent::status::DropReason::Sampled, 1)];
    assert_eq!(dropped, expected.iter().collect::<Vec<_>>());
    assert!(flow.is_conserved());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_json_request_is_split_as_one_in_protobuf_is_and_a_larger_one_is_told_why_not() {
    let (host, collector) = (Host::new(), Collector::start_positioned().await);
    let agent = host.agent(&collector.url(), &listen("")).await;
    let records = |bytes: usize| -> serde_json::Value {
        let record = |at: usize| json!({"body": {"stringValue": format!("{at} {}", "x".repeat(10_000))}});
        (0..bytes / 10_000).map(record).collect()
    };
    taken(&agent, JSON, &json_request(&records(3_000_000))).await;
    until("all of them", || collector.records().len() == 300).await;
    assert!(collector.requests() >= 3, "several requests: {}", collector.requests());
    let packed = zstd::encode_all(json_request(&records(4_500_000)).as_slice(), 1).expect("packed");
    let (status, answer) = post(&agent, "/v1/logs", JSON, "zstd", &packed).await;
    assert!(status == 413 && answer.contains("send smaller batches"), "{answer}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_with_a_wrong_value_is_left_out_of_json_and_its_sender_learns_why() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let agent = host.agent(&collector.url(), &listen("")).await;
    let records =
        json!([{"body": {"stringValue": "good"}}, {"body": {"stringValue": "bad"}, "traceId": "xyz"}]);
    let answer = taken(&agent, JSON, &json_request(&records)).await;
    assert!(
        answer.contains("\"rejectedLogRecords\":\"1\"") && answer.contains("logRecords[1].traceId"),
        "{answer}"
    );
    until("the good one", || collector.texts() == ["good"]).await;
    let flow = &agent.stop().await.flows[2];
    assert_eq!((flow.input_records, flow.output_records, flow.dropped_records()), (2, 1, 1));
    assert!(flow.is_conserved());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_shows_requests_that_were_pushed_as_json() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let agent = host.agent(&collector.url(), &listen("redact = [\"passwords\"]")).await;
    let address = agent.addresses.admin.expect("admin is on");
    let mut stream = TcpStream::connect(address).await.expect("connect");
    stream.write_all(b"GET /tail?source=otlp HTTP/1.0\r\nHost: a\r\n\r\n").await.expect("asked");
    let mut lines = BufReader::new(stream).lines();
    while !lines.next_line().await.expect("a head").expect("a line").is_empty() {}
    let record = json!([{"body": {"stringValue": "seen, pwd=hunter2"}}]);
    taken(&agent, JSON, &json_request(&record)).await;
    let line = tokio::time::timeout(std::time::Duration::from_secs(30), lines.next_line()).await;
    let line = line.expect("in time").expect("read").expect("a record");
    let shown: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(shown["body"], "seen, pwd=[redacted:password]");
    agent.stop().await;
}
