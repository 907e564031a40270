//! `kill -9` under load: what was acknowledged is there, once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fixtures::server::{ServerSettings, TestServer};
use model::SystemClock;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use query_api::{Client, SqlAnswer, SqlRequest};
use servers::{BUCKET, Postgres, S3Server};
use tokio::time::Instant;

use crate::support::{answer, eventually};

/// Rounds of a run; `make torture ROUNDS=1000` sets more.
fn rounds() -> usize {
    std::env::var("SILMARI_TORTURE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30)
}
const SENDERS: u64 = 4;
/// After so long a request has no answer. A server may take a minute to stop, and answers until then.
const LOST_AFTER: Duration = Duration::from_secs(90);
/// A server that lives has answered by then.
const ANSWERED_AFTER: Duration = Duration::from_secs(20);

/// One request of ten records, `s3-0000042-0` … `s3-0000042-9`.
fn request(sender: u64, number: u64) -> (Vec<u8>, Vec<String>) {
    let mut writer = LogsWriter::new([("service.name", "load")]);
    let bodies: Vec<String> = (0..10).map(|record| format!("s{sender}-{number:07}-{record}")).collect();
    let now = SystemClock::shared().now();
    for body in &bodies {
        writer.push(&LogRecordParts { time: now, body, ..LogRecordParts::default() }, []);
    }
    (writer.finish(), bodies)
}

/// Sends until told to stop or the server is gone; gives the bodies that were acknowledged.
async fn send(
    endpoint: String,
    sender: u64,
    first: u64,
    stop: Arc<AtomicBool>,
    ending: Arc<OnceLock<Instant>>,
) -> (Vec<String>, u64) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut acknowledged = Vec::new();
    let mut number = first;
    while !stop.load(Ordering::SeqCst) {
        // About a thousand records a second each: enough to be hit, and few enough to be compared.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let (body, bodies) = request(sender, number);
        number += 1;
        let request = client
            .post(format!("{endpoint}/v1/logs"))
            .header("content-type", "application/x-protobuf")
            .body(body);
        let sent_at = Instant::now();
        match tokio::time::timeout(LOST_AFTER, request.send()).await {
            Ok(Ok(response)) if response.status().is_success() => acknowledged.extend(bodies),
            Ok(Ok(_)) => {}
            Ok(Err(_)) => break,
            // A connection that ends while a request is handed to it may lose it without a word (hyper, issue 4122).
            Err(_) => {
                let is_lost = ending.get().is_some_and(|ending| sent_at + ANSWERED_AFTER > *ending);
                assert!(is_lost, "a server that lived did not answer");
                break;
            }
        }
    }
    (acknowledged, number)
}

async fn sql(api: &str, query: &str, limit: Option<usize>) -> SqlAnswer {
    let request = SqlRequest { query: query.to_owned(), limit };
    answer(query, Client::new(api).sql(&request)).await.expect("rows")
}

async fn count(api: &str) -> usize {
    let answer = sql(api, "select count(*) from logs where service = 'load'", None).await;
    answer.rows[0][0].as_u64().expect("a number") as usize
}

/// Bodies of one sender's requests from number `first` on.
async fn stored(api: &str, sender: usize, first: u64) -> Vec<String> {
    let (from, to) = (format!("s{sender}-{first:07}"), format!("s{sender}-~"));
    let query =
        format!("select body from logs where service = 'load' and body >= '{from}' and body < '{to}'");
    let answer = sql(api, &query, Some(100_000)).await;
    assert!(answer.cuts.is_empty(), "{:?}", answer.cuts);
    answer.rows.iter().map(|row| row[0].as_str().expect("text").to_owned()).collect()
}

/// What was acknowledged from these numbers on is there, and nothing is there twice.
async fn check(api: &str, first: &[u64], acknowledged: &[Vec<String>]) {
    for (sender, acknowledged) in acknowledged.iter().enumerate() {
        let rows = stored(api, sender, first[sender]).await;
        let found: BTreeSet<&String> = rows.iter().collect();
        assert_eq!(found.len(), rows.len(), "a record of sender {sender} is there twice");
        let lost: Vec<_> = acknowledged.iter().filter(|body| !found.contains(body)).collect();
        let (count, all) = (lost.len(), acknowledged.len());
        assert!(lost.is_empty(), "{count} of {all} acknowledged records are lost: {lost:?}");
    }
}

/// A server that seals every few hundred rows, so that kills hit seals too.
async fn start(folder: &std::path::Path, store: &str) -> TestServer {
    let config = folder.join("silmari.toml");
    std::fs::write(&config, format!("[store]\nseal_rows = 500\n{store}")).expect("written");
    let settings = ServerSettings::new(folder.join("data")).config(config);
    TestServer::start_with(settings).await.expect("starts every time")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_or_doubled_when_the_server_is_killed_under_load() {
    is_killed_under_load(rounds(), "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_it_is_killed_under_load_with_an_object_store_and_a_database() {
    let objects = S3Server::start().expect("an object store");
    let catalog =
        Postgres::shared().map(|server| format!("catalog = '{}'\n", server.url())).unwrap_or_default();
    let store = format!(
        "segments = 's3://{BUCKET}/torture'\n{catalog}[store.s3]\nendpoint = '{}'\nallow_http = true\ncredentials_file = '{}'\n\
         cache_bytes_max = '64MiB'\n",
        objects.endpoint(),
        objects.credentials().display()
    );
    is_killed_under_load(rounds().div_ceil(4), &store).await;
    assert!(objects.list("torture/segments/logs").iter().any(|name| name.ends_with("data.parquet")));
}

/// Kills the server again and again, with this under `[store]`.
async fn is_killed_under_load(rounds: usize, store: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut next = [0; SENDERS as usize];
    let mut before = next;
    let mut acknowledged: Vec<Vec<String>> = vec![Vec::new(); SENDERS as usize];
    let (mut total, mut killed_while_sending) = (0, 0);
    for round in 0..rounds {
        let mut server = start(folder.path(), store).await;
        let api = server.api().to_owned();
        check(&api, &before, &acknowledged).await;
        before = next;
        let rows_before = count(&api).await;
        assert!(rows_before >= total, "round {round}: {rows_before} rows, {total} were acknowledged");
        let (stop, ending) = (Arc::new(AtomicBool::new(false)), Arc::new(OnceLock::new()));
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let endpoint = server.otlp_http().to_owned();
                let (stop, ending) = (Arc::clone(&stop), Arc::clone(&ending));
                tokio::spawn(send(endpoint, sender, next[sender as usize], stop, ending))
            })
            .collect();
        // Killed at another moment each round: when so and so many rows are there.
        let wanted = 200 * (round % 6 + 1);
        let enough = || async {
            let rows = count(&api).await;
            (rows >= rows_before + wanted).then_some(()).ok_or(format!("{rows} rows"))
        };
        eventually(Duration::from_secs(30), enough).await;
        // Asked before: a sender may notice the end before this test does.
        let sending = senders.iter().filter(|sender| !sender.is_finished()).count();
        ending.get_or_init(Instant::now);
        // Every third round is asked to stop instead, which seals under load.
        if round % 3 == 2 {
            server.stop().await.expect("stops");
        } else {
            answer("the end of a killed server", server.kill9()).await.expect("killed");
            killed_while_sending += sending;
        }
        stop.store(true, Ordering::SeqCst);
        for (sender, task) in senders.into_iter().enumerate() {
            let (bodies, number) = answer("a sender", task).await.expect("a sender");
            total += bodies.len();
            acknowledged[sender] = bodies;
            next[sender] = number;
        }
    }
    assert!(killed_while_sending > 0, "no kill hit a sender: the test says nothing");

    let server = start(folder.path(), store).await;
    check(server.api(), &before, &acknowledged).await;
    let query = "select count(*), count(distinct body) from logs where service = 'load'";
    let answer = sql(server.api(), query, None).await;
    assert_eq!(answer.rows[0][0], answer.rows[0][1], "a record is there twice");
    let all = answer.rows[0][0].as_u64().expect("a number") as usize;
    assert!(all >= total, "{all} rows, {total} were acknowledged");
    server.stop().await.expect("stops");
}
