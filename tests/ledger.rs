//! The shop's ledger against the journeys that silmari finds: sets, both ways.

mod matrix;

use std::collections::BTreeSet;
use std::time::Duration;

use fixtures::ledger::LedgerEntry;
use fixtures::server::TestServer;
use fixtures::shop::{Shop, ShopSettings};
use model::{SystemClock, TimeRange};
use query_api::{Client, GroupState, IdGraph, Journey, NodeKind, RowKind, WhereAnswer};

use crate::support::{agent, eventually, server};

const PURCHASES: u64 = 200;
const FAULTS: [&str; 4] = [
    "billing:slow=800ms,rate=0.1",
    "catalog:error,rate=0.05",
    "notify:drop-context,rate=0.2",
    "shipping:stop-consuming=150",
];

type Spans = BTreeSet<(String, String, String, String)>;
type Messages = BTreeSet<String>;

fn last_hour() -> TimeRange {
    TimeRange::last(Duration::from_secs(3_600), SystemClock::shared().now())
}

/// Makes purchases through a shop whose telemetry takes the whole way: SDK and files, agent, server.
async fn shop(folder: &std::path::Path, otlp: String) -> Vec<LedgerEntry> {
    let settings = ShopSettings {
        purchases: PURCHASES,
        rate: 40.0,
        faults: FAULTS.iter().map(|fault| fault.parse().expect("a fault")).collect(),
        acquirer_timeout: Duration::from_millis(300),
        ..ShopSettings::new(otlp, folder.join("logs"))
    };
    let shop = Shop::start(settings).await.expect("a shop");
    assert!(shop.wait_idle(Duration::from_secs(60)).await, "the shop did not come to rest");
    let ledger = shop.stop().await;
    assert_eq!(ledger.len() as u64, PURCHASES);
    ledger
}

fn told_spans(entry: &LedgerEntry) -> Spans {
    let of = |span: &fixtures::ledger::LedgerSpan| {
        (span.trace_id.to_string(), span.span_id.to_string(), span.service.clone(), span.name.clone())
    };
    entry.spans.iter().map(of).collect()
}

fn found_spans(journey: &Journey) -> Spans {
    let spans = journey.rows.iter().filter(|row| row.kind == RowKind::Span);
    spans
        .map(|row| {
            let trace = row.trace_id.map(|id| id.to_string()).unwrap_or_default();
            let span = row.span_id.map(|id| id.to_string()).unwrap_or_default();
            (trace, span, row.service.to_string(), row.name.to_string())
        })
        .collect()
}

fn told_messages(entry: &LedgerEntry) -> Messages {
    entry.messages.iter().map(|sent| format!("{}/{}@{}", sent.topic, sent.partition, sent.offset)).collect()
}

fn found_messages(journey: &Journey) -> Messages {
    journey.rows.iter().filter(|row| row.kind == RowKind::QueueWait).map(|row| row.name.to_string()).collect()
}

/// Each log line of the ledger has exactly one row, and each log row one line.
fn compare_logs(entry: &LedgerEntry, journey: &Journey) -> Result<(), String> {
    let mut rows: Vec<_> = journey.rows.iter().filter(|row| row.kind == RowKind::Log).collect();
    for told in &entry.logs {
        let is_it = |row: &&query_api::JourneyRow| {
            row.service == told.service
                && row.trace_id == told.trace_id
                && row.span_id == told.span_id
                && (row.name.contains(&told.message) || told.line.contains(row.name.as_str()))
        };
        let Some(at) = rows.iter().position(is_it) else {
            return Err(format!("{}: no row for the line `{}` of {}", entry.order, told.line, told.service));
        };
        rows.swap_remove(at);
    }
    match rows.first() {
        None => Ok(()),
        Some(row) => {
            Err(format!("{}: {} rows too many, `{}` of {}", entry.order, rows.len(), row.name, row.service))
        }
    }
}

fn compare(entry: &LedgerEntry, journey: &Journey) -> Result<(), String> {
    let differ = |what: &str, missing: String, extra: String| {
        Err(format!("{}: {what}: missing {missing}, too many {extra}", entry.order))
    };
    let (told, found) = (told_spans(entry), found_spans(journey));
    if told != found {
        let missing: Vec<_> = told.difference(&found).collect();
        let extra: Vec<_> = found.difference(&told).collect();
        return differ("spans", format!("{missing:?}"), format!("{extra:?}"));
    }
    let (told, found) = (told_messages(entry), found_messages(journey));
    if told != found {
        return differ("messages", format!("{told:?}"), format!("{found:?}"));
    }
    compare_logs(entry, journey)
}

/// The graph holds the purchase's traces and messages and no others, and evidence for every edge.
fn compare_graph(entry: &LedgerEntry, graph: &IdGraph) -> Result<(), String> {
    let of_kind = |kind: NodeKind| -> BTreeSet<String> {
        let nodes = graph.nodes.iter().filter(|node| node.kind == kind);
        nodes.map(|node| node.term.value.clone()).collect()
    };
    let told: BTreeSet<String> = entry.traces.iter().map(ToString::to_string).collect();
    if of_kind(NodeKind::Trace) != told {
        return Err(format!(
            "{}: traces {told:?}, the graph has {:?}",
            entry.order,
            of_kind(NodeKind::Trace)
        ));
    }
    if of_kind(NodeKind::Message) != told_messages(entry) {
        return Err(format!("{}: the graph has messages {:?}", entry.order, of_kind(NodeKind::Message)));
    }
    match graph.edges.iter().find(|edge| edge.evidence.is_empty()) {
        Some(edge) => Err(format!("{}: no evidence for {edge:?}", entry.order)),
        None => Ok(()),
    }
}

/// Every message is placed, and consumed by the groups that consumed it.
fn compare_place(entry: &LedgerEntry, place: &WhereAnswer) -> Result<(), String> {
    let told: BTreeSet<(String, Vec<String>)> = entry
        .messages
        .iter()
        .map(|sent| (format!("{}/{}@{}", sent.topic, sent.partition, sent.offset), sent.consumed_by.clone()))
        .collect();
    let consumed = |of: &query_api::MessageWhere| -> Vec<String> {
        let past = |group: &&query_api::GroupProgress| matches!(group.state, GroupState::Consumed { .. });
        let mut groups: Vec<String> =
            of.groups.iter().filter(past).map(|group| group.group.clone()).collect();
        groups.sort();
        groups
    };
    let found = place
        .messages
        .iter()
        .map(|of| (format!("{}/{}@{}", of.topic, of.partition, of.offset), consumed(of)));
    let found: BTreeSet<_> = found.collect();
    if found == told { Ok(()) } else { Err(format!("{}: placed {found:?}, told {told:?}", entry.order)) }
}

/// Every purchase by its order number: exactly what the ledger says.
async fn check_all(client: &Client, ledger: &[LedgerEntry]) -> Result<(), String> {
    for entry in ledger {
        // A checkout that was refused has no order number; its correlation id finds it.
        let id = match entry.spans.is_empty() || entry.messages.is_empty() {
            true => &entry.correlation_id,
            false => &entry.order,
        };
        let journey = client.journey(id, last_hour()).await.map_err(|error| format!("{id}: {error}"))?;
        compare(entry, &journey)?;
        let graph = client.id_graph(id, last_hour(), &[]).await.map_err(|error| format!("{id}: {error}"))?;
        compare_graph(entry, &graph)?;
        let place = client.whereabouts(id, last_hour()).await.map_err(|error| format!("{id}: {error}"))?;
        compare_place(entry, &place)?;
        let spent: i64 = journey.time_spent.iter().map(|spent| spent.duration_nano).sum();
        if spent != journey.duration_nano {
            return Err(format!("{id}: {spent} ns are explained of {}", journey.duration_nano));
        }
    }
    Ok(())
}

async fn head_rows(api: &str) -> u64 {
    let metrics = reqwest::get(format!("{api}/metrics")).await.expect("metrics").text().await.expect("text");
    let line = metrics.lines().find(|line| line.starts_with("silmari_head_rows "));
    let value = line.and_then(|line| line.rsplit(' ').next()).expect("silmari_head_rows");
    value.parse::<f64>().expect("a number") as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn every_journey_holds_exactly_what_the_ledger_says_before_and_after_restart_and_sealing() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = server(folder.path()).await;
    let (agent, endpoint) = agent(folder.path(), &first).await;
    let ledger = shop(folder.path(), endpoint).await;
    let outcomes: BTreeSet<_> = ledger.iter().map(|entry| entry.outcome).collect();
    assert!(outcomes.len() >= 3, "the faults must show: {outcomes:?}");

    let client = Client::new(first.api());
    let arrived = || async { check_all(&client, &ledger).await };
    eventually(Duration::from_secs(120), arrived).await;
    agent.stop().await.expect("the agent stops");

    // Killed without warning: the WAL is all that is left.
    assert!(head_rows(first.api()).await > 0, "the head must hold rows for this test to mean something");
    let mut first = first;
    first.kill9().await.expect("killed");
    let second = server(folder.path()).await;
    check_all(&Client::new(second.api()), &ledger).await.expect("the same after kill -9");

    // Stopped in order: everything moves to segments.
    second.stop().await.expect("stops");
    let third: TestServer = server(folder.path()).await;
    assert_eq!(head_rows(third.api()).await, 0, "all rows are in segments");
    check_all(&Client::new(third.api()), &ledger).await.expect("the same from segments");
    third.stop().await.expect("stops");
}
