//! A server that replays a long log: it listens, answers, says so, and stays within its memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fixtures::process::{TestProcess, binary};
use model::otlp::logs::{LogRecordParts, LogsWriter};
use model::{IdRules, Signal, SystemClock};
use query_api::{Client, SqlRequest};
use storage::{Compression, Frame, Settings, Store};

use crate::support::{eventually, peak_rss_bytes};

/// Bytes of log; `SILMARI_REPLAY_BYTES=1073741824` for a gibibyte.
fn log_bytes() -> usize {
    std::env::var("SILMARI_REPLAY_BYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(24 << 20)
}

/// Fills the log of `data` and leaves it there. The number of records.
async fn fill(data: &std::path::Path, bytes_wanted: usize) -> u64 {
    let clock = SystemClock::shared();
    let settings = Settings {
        seal_rows: usize::MAX,
        head_bytes_max: usize::MAX,
        memory_bytes_max: usize::MAX,
        has_maintenance: false,
        ..Settings::new(data)
    };
    let store = Store::open(settings, Arc::new(IdRules::default()), Arc::clone(&clock)).await.expect("opens");
    let (mut bytes, mut records) = (0, 0);
    let mut number = 0;
    while bytes < bytes_wanted {
        let mut writer = LogsWriter::new([("service.name", "load"), ("host.name", "web-3")]);
        for _ in 0..1_000 {
            number += 1;
            let body =
                format!("GET /cart/{number} answered 200 in {} ms, cache {}", number % 977, number * 7919);
            let order = format!("ORD-{}", number / 3);
            let parts = LogRecordParts { time: clock.now(), body: &body, ..LogRecordParts::default() };
            writer.push(&parts, [("order_id", order.as_str()), ("http.request.method", "GET")]);
        }
        let payload = Bytes::from(writer.finish());
        let received_at = clock.now();
        let batch = store.decode(Signal::Logs, &payload, received_at).expect("decodable");
        bytes += payload.len();
        records += batch.rows() as u64;
        let frame = Frame { signal: Signal::Logs, compression: Compression::Identity, received_at, payload };
        store.append(frame, batch).await.expect("durable");
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_replays_a_long_log_answers_and_stays_within_its_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let records = fill(&data, log_bytes()).await;
    let config = folder.path().join("silmari.toml");
    std::fs::write(&config, "[store]\nmemory_bytes_max = \"256MiB\"\n").expect("written");

    let arguments: Vec<String> = ["serve", "--data-dir"]
        .into_iter()
        .map(str::to_owned)
        .chain([data.display().to_string(), "--config".to_owned(), config.display().to_string()])
        .chain(
            ["--api", "--otlp-http", "--otlp-grpc"]
                .iter()
                .flat_map(|flag| [(*flag).to_owned(), "127.0.0.1:0".to_owned()]),
        )
        .chain(["--until-stdin-closes".to_owned()])
        .collect();
    let mut process =
        TestProcess::spawn(&binary("silmari", "SILMARI_BIN").expect("built"), &arguments).expect("starts");
    let clock = SystemClock::shared();
    let began = clock.monotonic();
    let listening = process.wait_for("listening").await.expect("it listens");
    let url = |key: &str| listening[key].as_str().expect("an address").to_owned();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");

    let ready = client.get(format!("{}/ready", url("api"))).send().await.expect("answered");
    assert_eq!(ready.status(), 503);
    let text = ready.text().await.expect("text");
    assert!(text.contains("is being replayed"), "{text}");
    let query = "select count(*) from logs".to_owned();
    let answer =
        Client::new(&url("api")).sql(&SqlRequest { query: query.clone(), limit: None }).await.expect("a row");
    assert!(answer.cuts.iter().any(|cut| cut.limit == "replay"), "{:?}", answer.cuts);
    let mut writer = LogsWriter::new([("service.name", "load")]);
    writer.push(&LogRecordParts { body: "new", ..LogRecordParts::default() }, []);
    let refused = client
        .post(format!("{}/v1/logs", url("otlp_http")))
        .header("content-type", "application/x-protobuf")
        .body(writer.finish())
        .send()
        .await
        .expect("answered");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));

    let is_ready = || async {
        let answer =
            client.get(format!("{}/ready", url("api"))).send().await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.text().await.unwrap_or_default()) }
    };
    eventually(Duration::from_secs(900), is_ready).await;
    let (took, rss) =
        (clock.monotonic().saturating_sub(began), peak_rss_bytes(process.id().expect("it runs")));
    let answer = Client::new(&url("api")).sql(&SqlRequest { query, limit: None }).await.expect("a row");
    assert_eq!(answer.rows[0][0].as_u64(), Some(records));
    assert!(answer.cuts.is_empty(), "{:?}", answer.cuts);
    eprintln!("{records} records of {} MiB in {took:?}, at most {} MiB", log_bytes() >> 20, rss >> 20);
    // The cap, and what the program itself and its libraries take.
    assert!(rss < (256 + 160) << 20, "{} MiB", rss >> 20);
    process.stop().await.expect("stops");
}
