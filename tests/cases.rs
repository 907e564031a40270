//! `silmari export` and `silmari open`: the real commands, over a shop's purchases.

use std::path::Path;
use std::time::Duration;

use fixtures::server::{ServerSettings, TestServer};
use fixtures::shop::{Shop, ShopSettings};
use model::{SystemClock, TimeRange};
use query_api::{Client, Journey};
use serde_json::Value;

use crate::support::{agent, eventually, server, silmari, stderr, stdout};

const PURCHASES: u64 = 12;
const MAIL: &str = "ann.smith@example.org";

fn last_hour() -> TimeRange {
    TimeRange::last(Duration::from_secs(3_600), SystemClock::shared().now())
}

async fn post(server: &TestServer, body: &str) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request =
        client.post(format!("{}/log", server.otlp_http())).header("content-type", "application/json");
    let sent = request.body(body.to_owned()).send().await.expect("sent");
    assert!(sent.status().is_success(), "{}", sent.status());
}

/// A server with purchases, their log lines, and a line that should not leave the house.
async fn shop(folder: &Path) -> TestServer {
    let server = server(folder).await;
    let (agent, endpoint) = agent(folder, &server).await;
    let settings = ShopSettings {
        purchases: PURCHASES,
        rate: 40.0,
        faults: vec!["billing:slow=400ms,rate=0.5".parse().expect("a fault")],
        acquirer_timeout: Duration::from_millis(150),
        ..ShopSettings::new(endpoint, folder.join("logs"))
    };
    let shop = Shop::start(settings).await.expect("a shop");
    assert!(shop.wait_idle(Duration::from_secs(60)).await, "the shop did not come to rest");
    let ledger = shop.stop().await;
    let client = Client::new(server.api());
    for entry in &ledger {
        let whole = || async {
            let found = client.journey(&entry.order, last_hour()).await.map_err(|error| error.to_string())?;
            let (logs, spans) = (found.counts.logs, found.counts.spans);
            match logs == entry.logs.len() && spans == entry.spans.len() {
                true => Ok(()),
                false => Err(format!("{}: {logs} logs, {spans} spans", entry.order)),
            }
        };
        eventually(Duration::from_secs(30), whole).await;
    }
    agent.stop().await.expect("stops");
    let line = format!(
        r#"{{"service":"legacy","level":"warn","message":"mail to {MAIL} bounced, password=hunter2!!","order_id":"ORD-4711","user.email":"{MAIL}"}}"#
    );
    post(&server, &line).await;
    server
}

/// The journey without what differs between two servers.
fn comparable(mut journey: Journey) -> Value {
    journey.stats = query_api::QueryStats::default();
    journey.range = TimeRange::ALL;
    journey.progress = None;
    journey.marks.clear();
    serde_json::to_value(journey).expect("JSON")
}

async fn journey(server: &TestServer, id: &str) -> Journey {
    let client = Client::new(server.api());
    let find = || async {
        let journey = client.journey(id, last_hour()).await.map_err(|error| error.to_string())?;
        let is_whole = journey.rows.iter().any(|row| row.service == "legacy") || id != "ORD-4711";
        if is_whole { Ok(journey) } else { Err("the last line is not there yet".to_owned()) }
    };
    eventually(Duration::from_secs(20), find).await
}

async fn run(api: &str, arguments: &[&str]) -> String {
    let output = silmari(api, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

const NO_SERVER: &str = "http://127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn a_case_shows_offline_what_the_server_showed() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = shop(folder.path()).await;
    let online = journey(&server, "ORD-4711").await;
    let file = folder.path().join("case.silmari");
    let file = file.to_str().expect("a path");
    let api = server.api().to_owned();
    run(&api, &["export", "ORD-4711", "-o", file]).await;
    let drawn = run(&api, &["trace", "ORD-4711"]).await;
    let graph = run(&api, &["ids", "ORD-4711"]).await;
    let again = silmari(&api, &["export", "ORD-4711", "-o", file]).await;
    assert!(stderr(&again).contains("is there already"), "{}", stderr(&again));
    server.stop().await.expect("stops");

    let text = run(NO_SERVER, &["open", file]).await;
    assert!(text.starts_with(" offline case, made 20"), "{text}");
    // The waits of the open messages aside, it is the same drawing.
    let rows = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.contains('●') || line.contains('≡')).map(str::to_owned).collect()
    };
    assert_eq!(rows(&text), rows(&drawn));
    let json: Value = serde_json::from_str(&run(NO_SERVER, &["open", file, "--json"]).await).expect("JSON");
    let offline: Journey = serde_json::from_value(json["journey"].clone()).expect("a journey");
    assert_eq!(comparable(offline), comparable(online));
    assert_eq!(json["about"]["id"], "ORD-4711");
    assert!(!json["services"]["services"].as_array().expect("services").is_empty());
    // A rate takes two exports of a metric; until then the case says that there were none.
    let says_none = json["about"]["left_out"].to_string().contains("metrics: ");
    assert_eq!(json["metrics"].as_array().expect("metrics").is_empty(), says_none, "{}", json["about"]);

    assert_eq!(run(NO_SERVER, &["ids", "ORD-4711", "--server", file]).await, graph);
    let services = run(NO_SERVER, &["services", "--server", file]).await;
    assert!(services.contains("billing"), "{services}");
    let trace = run(NO_SERVER, &["trace", "ORD-4711", "--server", file]).await;
    assert_eq!(rows(&trace), rows(&drawn));
    let other = silmari(NO_SERVER, &["trace", "ORD-9", "--server", file]).await;
    assert!(stderr(&other).contains("it is about ORD-4711"), "{}", stderr(&other));
    let sql = silmari(NO_SERVER, &["sql", "select 1", "--server", file]).await;
    assert!(stderr(&sql).contains("needs a server"), "{}", stderr(&sql));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_as_otlp_is_the_same_journey_when_it_is_imported() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = shop(folder.path()).await;
    for id in ["ORD-4711", "ORD-4712"] {
        let online = journey(&server, id).await;
        let lines = run(server.api(), &["export", id, "--format", "otlp-json"]).await;
        let file = folder.path().join(format!("{id}.jsonl"));
        std::fs::write(&file, lines).expect("written");

        let other = folder.path().join(id);
        std::fs::create_dir_all(&other).expect("made");
        let ids = folder.path().join("ids.yaml");
        let imported =
            TestServer::start_with(ServerSettings::new(other.join("data")).ids(ids)).await.expect("a server");
        run(NO_SERVER, &["import", file.to_str().expect("a path"), "--to", imported.otlp_http()]).await;
        assert_eq!(comparable(journey(&imported, id).await), comparable(online), "{id}");
        imported.stop().await.expect("stops");
    }
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redacted_export_holds_the_values_in_no_format() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = shop(folder.path()).await;
    journey(&server, "ORD-4711").await;
    let plain = run(server.api(), &["export", "ORD-4711", "--format", "csv"]).await;
    assert!(plain.contains(MAIL) && plain.contains("hunter2!!"), "{plain}");

    let rules = folder.path().join("redact.yaml");
    std::fs::write(&rules, "id_kinds: [order_id]\n").expect("written");
    let rules = rules.to_str().expect("a path");
    let secrets = [MAIL, "hunter2!!", "ORD-4711"];
    for format in ["text", "md", "csv", "otlp-json"] {
        let arguments = ["export", "ORD-4711", "--format", format, "--redact-rules", rules];
        let text = run(server.api(), &arguments).await;
        for secret in secrets {
            assert!(
                !text.to_lowercase().contains(&secret.to_lowercase()),
                "{format} holds {secret}:\n{text}"
            );
        }
        assert!(text.contains("redacted-"), "{format}");
    }
    let file = folder.path().join("case.silmari");
    let path = file.to_str().expect("a path");
    run(server.api(), &["export", "ORD-4711", "--redact-rules", rules, "-o", path]).await;
    let bytes = std::fs::read(&file).expect("written");
    for (section, raw) in case::file::raw_sections(&bytes).expect("sections") {
        let text = String::from_utf8(raw).expect("JSON").to_lowercase();
        for secret in secrets {
            assert!(!text.contains(&secret.to_lowercase()), "section {section} holds {secret}");
        }
    }
    let text = run(NO_SERVER, &["open", path]).await;
    assert!(text.contains("values redacted") && text.contains("redacted-"), "{text}");

    std::fs::write(folder.path().join("bad.yaml"), "atributes: [x]\n").expect("written");
    let bad = folder.path().join("bad.yaml");
    let arguments = ["export", "ORD-4711", "--redact-rules", bad.to_str().expect("a path")];
    let output = silmari(NO_SERVER, &arguments).await;
    assert_eq!(output.status.code(), Some(2), "told before a server is asked");
    assert!(stderr(&output).contains("did you mean `attributes`?"), "{}", stderr(&output));
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_cases_are_compared_and_a_file_that_is_none_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = shop(folder.path()).await;
    let mut files = Vec::new();
    for id in ["ORD-4711", "ORD-4712"] {
        let file = folder.path().join(format!("{id}.silmari")).to_str().expect("a path").to_owned();
        run(server.api(), &["export", id, "-o", &file]).await;
        files.push(file);
    }
    let online = run(server.api(), &["diff", "ORD-4711", "ORD-4712"]).await;
    server.stop().await.expect("stops");
    let offline = run(NO_SERVER, &["diff", &files[0], &files[1]]).await;
    assert_eq!(offline, online);

    let bad = folder.path().join("bad.silmari");
    let mut bytes = std::fs::read(&files[0]).expect("read");
    for (bytes, said) in [
        (b"PK\x03\x04".to_vec(), "is no case"),
        (
            {
                bytes[8] = 9;
                bytes
            },
            "format version 9",
        ),
    ] {
        std::fs::write(&bad, bytes).expect("written");
        let output = silmari(NO_SERVER, &["open", bad.to_str().expect("a path")]).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}
