//! Ten times more than the server may hold at once: it refuses before it reads, stays within its memory, and what it
//! acknowledged is there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fixtures::process::{TestProcess, binary};
use model::SystemClock;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use query_api::{Client, SqlRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{eventually, peak_rss_bytes};

const IN_FLIGHT_BYTES: usize = 8 << 20;
const MEMORY_BYTES: u64 = 96 << 20;
/// What the budget does not count: a row group and the terms of its indexes while the head is sealed, a read buffer for
/// each connection, what the allocator keeps. All requests at once would take more, decoded.
const BESIDE_BYTES: u64 = 200 << 20;
const RECORDS: usize = 1_000;
/// Senders, each with one request of nearly a MiB that it sends until it is taken.
const SENDERS: usize = 170;

const CONFIG: &str = r#"
[store]
memory_bytes_max = "96MiB"

[collector.limits]
request_bytes_max = "1MiB"
compressed_bytes_max = "1MiB"
decoded_bytes_max = "6MiB"
in_flight_bytes_max = "8MiB"
"#;

fn request(sender: usize) -> Vec<u8> {
    let mut writer = LogsWriter::new([("service.name", format!("load-{sender:03}").as_str())]);
    let time = SystemClock::shared().now();
    for record in 0..RECORDS {
        let body = format!("{record} {}", "of many words ".repeat(70));
        writer.push(&LogRecordParts { time, body: &body, ..LogRecordParts::default() }, []);
    }
    writer.finish()
}

/// How often senders were refused, and how often before they had sent a body.
#[derive(Default)]
struct Refusals {
    all: AtomicUsize,
    before_body: AtomicUsize,
}

/// Sends until it is taken.
async fn send(endpoint: String, sender: usize, refusals: Arc<Refusals>) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let body = request(sender);
    let post = || async {
        let request = client
            .post(format!("{endpoint}/v1/logs"))
            .header("content-type", "application/x-protobuf")
            .body(body.clone());
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            // The connection ends when a refusal came before the body was read.
            Ok(_) | Err(_) => {
                refusals.all.fetch_add(1, Ordering::Relaxed);
                Err("refused".to_owned())
            }
        }
    };
    eventually(Duration::from_secs(300), post).await;
}

/// Announces a body and does not send it: counts the refusals that come all the same.
async fn announce(addr: SocketAddr, refusals: Arc<Refusals>) {
    loop {
        let mut stream = TcpStream::connect(addr).await.expect("connects");
        let head = "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n\
                    content-length: 500000\r\nexpect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("written");
        let mut answer = [0; 12];
        if stream.read_exact(&mut answer).await.is_ok() && answer.ends_with(b"429") {
            refusals.before_body.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_the_load_is_refused_before_it_is_read_and_what_is_acknowledged_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("silmari.toml");
    std::fs::write(&config, CONFIG).expect("written");
    let data = folder.path().join("data").display().to_string();
    let config = config.display().to_string();
    let mut arguments = vec!["serve", "--data-dir", &data, "--config", &config, "--until-stdin-closes"];
    for flag in ["--api", "--otlp-http", "--otlp-grpc"] {
        arguments.extend([flag, "127.0.0.1:0"]);
    }
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let program = binary("silmari", "SILMARI_BIN").expect("built");
    let mut process = TestProcess::spawn(&program, &arguments).expect("starts");
    let listening = process.wait_for("listening").await.expect("it listens");
    let url = |key: &str| listening[key].as_str().expect("an address").to_owned();
    let idle = peak_rss_bytes(process.id().expect("it runs"));
    let addr = url("otlp_http").trim_start_matches("http://").parse().expect("an address");

    assert!(SENDERS * request(0).len() >= 10 * IN_FLIGHT_BYTES, "ten times what may be in flight");
    let refusals = Arc::new(Refusals::default());
    let announcing = tokio::spawn(announce(addr, Arc::clone(&refusals)));
    let senders =
        (0..SENDERS).map(|sender| tokio::spawn(send(url("otlp_http"), sender, Arc::clone(&refusals))));
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("taken in the end");
    }
    announcing.abort();
    let peak = peak_rss_bytes(process.id().expect("it runs"));

    let query = "select service, count(*) from logs where service like 'load-%' group by service".to_owned();
    let request = SqlRequest { query, limit: Some(1_000) };
    let answer = Client::new(&url("api")).sql(&request).await.expect("rows");
    let found: BTreeMap<String, u64> = answer
        .rows
        .iter()
        .map(|row| (row[0].as_str().expect("text").to_owned(), row[1].as_u64().expect("a number")))
        .collect();
    assert_eq!(found.len(), SENDERS);
    // A sender whose answer was lost sends again, and its records are there twice.
    assert!(found.values().all(|rows| *rows >= RECORDS as u64 && rows % RECORDS as u64 == 0), "{found:?}");
    let (all, before_body) =
        (refusals.all.load(Ordering::Relaxed), refusals.before_body.load(Ordering::Relaxed));
    assert!(all > SENDERS / 10, "{all} refusals are no overload");
    assert!(before_body > 0, "nobody was refused before its body was read");
    eprintln!(
        "{all} refusals, {before_body} of announced bodies; {} MiB idle, at most {} MiB",
        idle >> 20,
        peak >> 20
    );
    assert!(peak < idle + MEMORY_BYTES + BESIDE_BYTES, "{} MiB", peak >> 20);
    process.stop().await.expect("stops");
}
