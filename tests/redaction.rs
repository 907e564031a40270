//! What `[redaction]` names is on no byte of the disk: not in the log, not in segments, not compressed.

use std::io::{Read as _, Write as _};
use std::path::Path;

use fixtures::server::{ServerSettings, TestServer};
use model::SystemClock;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use query_api::{Client, SqlRequest};

const CONFIG: &str = r#"
[redaction]
presets = ["default", "email", "cards"]
patterns = ['customer=(\w+)']
attributes = ["user.name"]
"#;

/// None of these may be found.
const SECRETS: [&str; 6] = [
    "hunter2hunter2",
    "ann.secret@shop.example",
    "4111 1111 1111 1111",
    "zebedee",
    "Annabelle",
    "s3cr3tvalue",
];

fn request() -> Vec<u8> {
    let mut writer = LogsWriter::new([("service.name", "billing")]);
    let time = SystemClock::shared().now();
    for body in [
        "login password=hunter2hunter2 failed",
        "mail to ann.secret@shop.example",
        "paid with 4111 1111 1111 1111, customer=zebedee",
        "nothing to hide in ORD-4711",
    ] {
        let pairs = [("user.name", "Annabelle"), ("db.password", "s3cr3tvalue"), ("order_id", "ORD-4711")];
        writer.push(&LogRecordParts { time, body, ..LogRecordParts::default() }, pairs);
    }
    writer.finish()
}

async fn send(server: &TestServer, encoding: Option<&str>, kind: &str, body: Vec<u8>) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut post = client.post(format!("{}/v1/logs", server.otlp_http())).header("content-type", kind);
    if let Some(encoding) = encoding {
        post = post.header("content-encoding", encoding);
    }
    let answer = post.body(body).send().await.expect("answered");
    assert!(answer.status().is_success(), "{}", answer.text().await.expect("text"));
}

async fn send_all(server: &TestServer) {
    let request = request();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&request).expect("in memory");
    send(server, None, "application/x-protobuf", request.clone()).await;
    send(server, Some("gzip"), "application/x-protobuf", gzip.finish().expect("in memory")).await;
    let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"password=hunter2hunter2"},
        "attributes":[{"key":"user.name","value":{"stringValue":"Annabelle"}}]}]}]}]}"#;
    send(server, None, "application/json", json.into()).await;
}

/// The secrets in any file below `dir`, or in anything that zstd packed there.
fn found(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut bytes = std::fs::read(&path).expect("readable");
            // What is reserved is long and empty.
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
            let mut parts = vec![bytes.clone()];
            parts.extend(zstd_frames(&bytes));
            for secret in SECRETS {
                if parts.iter().any(|part| part.windows(secret.len()).any(|at| at == secret.as_bytes())) {
                    found.push(format!("`{secret}` in {}", path.display()));
                }
            }
        }
    }
    found
}

fn zstd_frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let starts = bytes.windows(4).enumerate().filter(|(_, magic)| *magic == [0x28, 0xb5, 0x2f, 0xfd]);
    starts
        .filter_map(|(at, _)| {
            let mut frame = Vec::new();
            let decoder = zstd::stream::read::Decoder::with_buffer(&bytes[at..]).ok()?.single_frame();
            // What can be read of it counts.
            let _ = decoder.take(1 << 20).read_to_end(&mut frame);
            Some(frame)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_to_be_hidden_is_on_no_byte_of_the_disk_before_and_after_sealing() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("silmari.toml");
    std::fs::write(&config, CONFIG).expect("written");
    let data = folder.path().join("data");
    let server = TestServer::start_with(ServerSettings::new(&data).config(config)).await.expect("starts");
    send_all(&server).await;
    assert_eq!(found(&data), Vec::<String>::new(), "in the log");
    let query = "select body from logs order by body".to_owned();
    let answer = Client::new(server.api()).sql(&SqlRequest { query, limit: None }).await.expect("rows");
    let bodies: Vec<&str> = answer.rows.iter().map(|row| row[0].as_str().expect("text")).collect();
    assert_eq!(bodies.len(), 9);
    for expected in [
        "login password=[redacted:password] failed",
        "mail to [redacted:email]",
        "nothing to hide in ORD-4711",
        "paid with [redacted:card], customer=[redacted:custom]",
    ] {
        assert!(bodies.contains(&expected), "{bodies:?}");
    }
    let metrics = reqwest::get(format!("{}/metrics", server.api())).await.expect("answered");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("silmari_collector_values_redacted_total{source=\"otlp_http\""), "{metrics}");
    server.stop().await.expect("stops");
    assert!(std::fs::read_dir(data.join("segments/logs")).expect("sealed").count() > 0);
    assert_eq!(found(&data), Vec::<String>::new(), "in segments");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redaction_the_same_search_finds_every_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = TestServer::start(&data).await.expect("starts");
    send_all(&server).await;
    let in_the_log = found(&data).len();
    assert!(in_the_log >= SECRETS.len(), "{:?}", found(&data));
    server.stop().await.expect("stops");
    assert!(found(&data).len() >= SECRETS.len(), "{:?}", found(&data));
}
