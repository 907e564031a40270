//! A journey while it goes on: `silmari trace -f` beside a shop whose consumer stops and goes on.

use std::process::Stdio;
use std::time::Duration;

use fixtures::shop::{Shop, ShopSettings};
use query_api::Client;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::{SILMARI, eventually, server, silmari, stdout};

/// Lines of a command until one has `part`; all of them.
async fn until<R: tokio::io::AsyncBufRead + Unpin>(
    lines: &mut tokio::io::Lines<R>,
    part: &str,
) -> Vec<String> {
    let mut all = Vec::new();
    let reading = async {
        while let Some(line) = lines.next_line().await.expect("readable") {
            let is_it = line.contains(part);
            all.push(line);
            if is_it {
                return true;
            }
        }
        false
    };
    let found = tokio::time::timeout(Duration::from_secs(60), reading).await;
    assert_eq!(found, Ok(true), "`{part}` did not come; these did:\n{}", all.join("\n"));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_is_stuck_while_its_consumer_has_stopped_and_done_when_it_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path()).await;
    // Asked before there is anything: it waits for the id to come.
    let mut follow = tokio::process::Command::new(SILMARI)
        .args(["trace", "order_id=ORD-4711", "-f", "--until-done", "--server", server.api()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("silmari runs");
    let mut told = BufReader::new(follow.stdout.take().expect("piped")).lines();
    let mut remarks = BufReader::new(follow.stderr.take().expect("piped")).lines();
    until(&mut remarks, "waiting for it").await;

    let settings = ShopSettings {
        purchases: 1,
        rate: 40.0,
        faults: vec!["shipping:stop-consuming=0".parse().expect("a fault")],
        ..ShopSettings::new(server.otlp_grpc(), folder.path().join("logs"))
    };
    let shop = Shop::start(settings).await.expect("a shop");
    assert!(shop.wait_idle(Duration::from_secs(30)).await, "the shop did not come to rest");
    let before = until(&mut told, "-- stuck in billed/").await;
    let has = |lines: &[String], part: &str| lines.iter().any(|line| line.contains(part));
    assert!(has(&before, "not consumed: billed/"), "{}", before.join("\n"));
    assert!(!has(&before, "-- done"), "{}", before.join("\n"));
    assert!(!has(&before, " shipping "), "{}", before.join("\n"));

    let output = silmari(server.api(), &["trace", "order_id=ORD-4711"]).await;
    assert!(stdout(&output).contains("stuck in billed/"), "{}", stdout(&output));
    let journey = Client::new(server.api()).journey("order_id=ORD-4711", last_hour()).await.expect("found");
    assert_eq!(journey.progress.expect("said").state, query_api::ProgressState::Stuck);

    shop.resume_consumers();
    let after = until(&mut told, "-- done").await;
    assert!(has(&after, " shipping "), "{}", after.join("\n"));
    assert!(has(&after, "waited in billed/"), "{}", after.join("\n"));
    let ended = tokio::time::timeout(Duration::from_secs(20), follow.wait()).await.expect("in time");
    assert!(ended.expect("it ran").success());
    let ledger = shop.stop().await;

    // Every span of the purchase was told, and told once.
    let all = [before, after].concat();
    let spans: usize = ledger[0].spans.len();
    let is_span = |line: &&String| line.contains(" ● ") || line.contains(" ✖ ");
    assert_eq!(all.iter().filter(is_span).count(), spans, "{}", all.join("\n"));
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_costs_nothing_while_nothing_of_its_journey_arrives() {
    use futures_util::StreamExt as _;

    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path()).await;
    let post = |order: &str, line: &str| {
        let body = format!(r#"{{"service":"legacy","message":"{line}","order_id":"{order}"}}"#);
        let url = format!("{}/log", server.otlp_http());
        async move {
            let client = reqwest::Client::builder().no_proxy().build().expect("a client");
            let request = client.post(url).header("content-type", "application/json").body(body);
            assert!(request.send().await.expect("sent").status().is_success());
        }
    };
    post("ORD-1", "first").await;
    let client = Client::new(server.api());
    let found = || async { client.journey("ORD-1", last_hour()).await.map_err(|error| error.to_string()) };
    eventually(Duration::from_secs(10), found).await;
    let journeys = client.follow_journey("ORD-1", last_hour().from, false, &[]).await.expect("followed");
    let mut journeys = std::pin::pin!(journeys);
    let first = journeys.next().await.expect("a journey").expect("readable");
    assert_eq!(first.counts.logs, 1);
    for number in 0..20 {
        post("ORD-2", &format!("other {number}")).await;
    }
    post("ORD-1", "second").await;
    let next = tokio::time::timeout(Duration::from_secs(20), journeys.next()).await.expect("in time");
    let next = next.expect("a journey").expect("readable");
    assert_eq!(next.counts.logs, 2, "the records of other journeys made no line of their own");
    server.stop().await.expect("stops");
}

fn last_hour() -> model::TimeRange {
    model::TimeRange::last(Duration::from_secs(3_600), model::SystemClock::shared().now())
}
