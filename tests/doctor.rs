//! `silmari doctor` on the shop: clean while it is healthy, and each fault of instrumentation named.

use std::path::Path;
use std::time::Duration;

use fixtures::ledger::LedgerEntry;
use fixtures::server::TestServer;
use fixtures::shop::{Shop, ShopSettings};
use model::{SystemClock, TimeRange};
use query_api::{Client, DoctorAnswer, Finding, FindingKind, Journey, JourneyRow, RowKind, TimeClass};

use crate::support::{agent, eventually, server, silmari, stderr, stdout};

const PURCHASES: u64 = 200;

/// Purchases through a shop with these faults, all of its telemetry on its way to `server`.
async fn shop(folder: &Path, otlp: String, faults: &[&str]) -> Vec<LedgerEntry> {
    let settings = ShopSettings {
        purchases: PURCHASES,
        rate: 60.0,
        faults: faults.iter().map(|fault| fault.parse().expect("a fault")).collect(),
        ..ShopSettings::new(otlp, folder.join("logs"))
    };
    let shop = Shop::start(settings).await.expect("a shop");
    assert!(shop.wait_idle(Duration::from_secs(60)).await, "the shop did not come to rest");
    let ledger = shop.stop().await;
    assert_eq!(ledger.len() as u64, PURCHASES);
    ledger
}

async fn examined(server: &TestServer) -> DoctorAnswer {
    let range = TimeRange::last(Duration::from_secs(3_600), SystemClock::shared().now());
    Client::new(server.api()).doctor(None, range).await.expect("an answer")
}

/// The answer once everything is in and old enough to be judged.
async fn settled(server: &TestServer, is_whole: impl Fn(&DoctorAnswer) -> bool) -> DoctorAnswer {
    let whole = || async {
        let answer = examined(server).await;
        match is_whole(&answer) {
            true => Ok(answer),
            false => Err(format!("{:#?} {:#?}", answer.edges, answer.findings)),
        }
    };
    eventually(Duration::from_secs(60), whole).await
}

/// What passed between two places.
fn passed(answer: &DoctorAnswer, from: &str, to: &str) -> u64 {
    let edge = answer.edges.iter().find(|edge| edge.from == from && edge.to == to);
    edge.map_or(0, |edge| edge.count)
}

fn of<'a>(answer: &'a DoctorAnswer, kind: FindingKind, service: &str) -> &'a Finding {
    let found = answer.findings.iter().find(|finding| finding.kind == kind && finding.service == service);
    found.unwrap_or_else(|| panic!("no {kind:?} of {service} in {:#?}", answer.findings))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_shop_has_nothing_to_mend_and_passes_in_ci() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path()).await;
    let (agent, endpoint) = agent(folder.path(), &server).await;
    shop(folder.path(), endpoint, &[]).await;
    let is_whole = |answer: &DoctorAnswer| {
        let all = |from, to| passed(answer, from, to) >= PURCHASES;
        all("checkout", "pricing") && all("billing", "acq-2.example") && all("order-events", "notify")
    };
    let answer = settled(&server, is_whole).await;
    assert!(answer.is_clean(), "{:#?}", answer.findings);
    assert_eq!(answer.services.len(), 10);
    let external: Vec<&str> =
        answer.edges.iter().filter(|edge| edge.is_external).map(|edge| edge.to.as_str()).collect();
    assert_eq!(external, ["acq-2.example"], "the acquirer is somebody else's");

    let output = silmari(server.api(), &["doctor", "--min-coverage", "80"]).await;
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("nothing to mend"), "{}", stdout(&output));
    agent.stop().await.expect("stops");
    server.stop().await.expect("stops");
}

/// A service without an SDK is in every journey all the same: a row inferred from its start and finish lines, below the
/// call that its lines name, with all of its lines inside.
async fn check_inferred(server: &TestServer, ledger: &[LedgerEntry]) {
    let range = TimeRange::last(Duration::from_secs(3_600), SystemClock::shared().now());
    for entry in ledger.iter().step_by(20) {
        let journey = Client::new(server.api()).journey(&entry.order, range).await.expect("a journey");
        let lines = entry.logs.iter().filter(|log| log.service == "pricing").count();
        let inferred: Vec<(usize, &JourneyRow)> =
            journey.rows.iter().enumerate().filter(|(_, row)| row.kind == RowKind::Inferred).collect();
        let [(at, row)] = inferred[..] else { panic!("{}: {inferred:?}", entry.order) };
        assert_eq!((&*row.service, &*row.name), ("pricing", "request POST /quotes"), "{row:?}");
        let above = journey.rows[..at].iter().rev().find(|above| above.depth < row.depth).expect("a call");
        assert_eq!((&*above.service, &*above.label), ("checkout", "client"), "{above:?}");
        let inside = journey.rows[at + 1..].iter().take_while(|inside| inside.depth > row.depth);
        let inside = inside.filter(|row| row.kind == RowKind::Log && row.service == "pricing").count();
        assert_eq!((inside, lines), (lines, 3), "{}", entry.order);
        assert_eq!(row.critical_nano, inferred_time(&journey), "{}", entry.order);
    }
}

fn inferred_time(journey: &Journey) -> i64 {
    let spent = journey.time_spent.iter().filter(|spent| spent.class == TimeClass::Inferred);
    spent.map(|spent| spent.duration_nano).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_instrumentation_is_named_with_an_example_that_can_be_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path()).await;
    let (agent, endpoint) = agent(folder.path(), &server).await;
    let faults = ["pricing:no-sdk", "order:drop-context", "notify:drop-context,rate=0.3", "billing:slow=1ms"];
    let ledger = shop(folder.path(), endpoint, &faults).await;
    let is_whole = |answer: &DoctorAnswer| {
        let all = |from, to| passed(answer, from, to) >= PURCHASES;
        all("checkout", "pricing") && all("checkout", "order") && all("order-events", "notify")
    };
    let answer = settled(&server, is_whole).await;

    let pricing = of(&answer, FindingKind::NotInstrumented, "pricing");
    assert_eq!((&*pricing.other, pricing.affected), ("checkout", PURCHASES));
    let order = of(&answer, FindingKind::ContextLost, "order");
    assert_eq!(&*order.other, "checkout");
    assert!(order.affected * 10 >= PURCHASES * 9, "{order:#?}");
    let notify = of(&answer, FindingKind::ConsumerUnlinked, "notify");
    assert_eq!(&*notify.other, "order-events");
    assert!((0.15..0.45).contains(&(notify.affected as f64 / notify.of as f64)), "{notify:#?}");
    let guilty = ["pricing", "order", "notify"];
    let innocent: Vec<&Finding> =
        answer.findings.iter().filter(|finding| !guilty.contains(&finding.service.as_str())).collect();
    assert!(innocent.is_empty(), "{innocent:#?}");

    check_inferred(&server, &ledger).await;
    let services = Client::new(server.api()).services(answer.range).await.expect("services").services;
    let pricing = services.iter().find(|row| row.service == "pricing").expect("its log is known");
    assert!(pricing.rate == 0.0, "inferred rows are no requests: {pricing:?}");

    let follow = order.follow.as_deref().expect("an example");
    let words: Vec<&str> = follow.split(' ').skip(1).collect();
    let output = silmari(server.api(), &words).await;
    assert!(output.status.success() && stdout(&output).contains("checkout"), "{follow}: {}", stderr(&output));

    let output = silmari(server.api(), &["doctor", "--min-coverage", "95"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stderr(&output).contains("pricing 0 %"), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("not instrumented: pricing is called by checkout"),
        "{}",
        stdout(&output)
    );
    let output =
        silmari(server.api(), &["doctor", "--service", "gateway", "--min-coverage", "80", "--json"]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    agent.stop().await.expect("stops");
    server.stop().await.expect("stops");
}
