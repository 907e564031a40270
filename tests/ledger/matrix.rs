//! Membership under everything that can happen to telemetry between a service and the store.
//!
//! One shop with all its faults of behaviour and instrumentation is recorded once; each scenario changes what it sent,
//! delivers it in a random order and partly twice, and compares journeys with the ledger as sets, both ways.
//!
//! | scenario | evidence that is left | membership |
//! |---|---|---|
//! | out of order, doubled | all | exact |
//! | late: a half arrives after the store was stopped and sealed | all | exact |
//! | clocks off by up to 2 s | all; times are no evidence | exact |
//! | one trace in three not sampled | ids in the lines of those traces | exact: no span, all lines but those of a service without an SDK that only such a span named |
//! | one span in five lost | ids in what is left of each trace | exact, in the same sense |
//! | batch consumers without ids | links | exact: the purchases of a batch are one journey, for nothing tells them apart |
//! | a consumer without ids, link, coordinates, and no ids in its lines | none | recall is lost by exactly those traces; precision stays |

use std::collections::{BTreeMap, BTreeSet};

use fixtures::capture::{Capture, CapturedSpan};
use model::{SpanId, TraceId};

use super::*;

const FAULTS: [&str; 6] = [
    "billing:slow=800ms,rate=0.1",
    "catalog:error,rate=0.05",
    "notify:drop-context,rate=0.2",
    "order:drop-context,rate=0.3",
    "pricing:no-sdk",
    "shipping:stop-consuming=50",
];
const PURCHASES: u64 = 60;
/// The ids that spans of the shop carry.
const IDS: [&str; 5] = [
    "correlation_id",
    "order.id",
    "messaging.kafka.message.key",
    "messaging.kafka.offset",
    "messaging.destination.partition.id",
];

type Ids = (TraceId, SpanId);

/// What the ledger says, of what was delivered.
fn told(entry: &LedgerEntry, capture: &Capture) -> LedgerEntry {
    let delivered: BTreeSet<Ids> = capture.spans.iter().map(|one| (one.trace_id(), one.span_id())).collect();
    let calls: BTreeSet<String> = delivered.iter().map(|(_, span)| span.to_string()).collect();
    let mut told = entry.clone();
    told.spans.retain(|span| delivered.contains(&(span.trace_id, span.span_id)));
    // Lines of pricing carry the id of the call that made them and nothing else: without that span nothing ties them.
    let is_tied = |line: &str| line.split("request_id=").nth(1).is_some_and(|id| calls.contains(&id[..16]));
    told.logs.retain(|log| log.trace_id.is_some() || is_tied(&log.line));
    told
}

fn id_of(entry: &LedgerEntry) -> &str {
    match entry.messages.is_empty() {
        true => &entry.correlation_id,
        false => &entry.order,
    }
}

async fn journey(client: &Client, entry: &LedgerEntry) -> Result<Journey, String> {
    let id = id_of(entry);
    let journey = client.journey(id, last_hour()).await.map_err(|error| format!("{id}: {error}"))?;
    let spent: i64 = journey.time_spent.iter().map(|spent| spent.duration_nano).sum();
    match spent == journey.duration_nano {
        true => Ok(journey),
        false => Err(format!("{id}: {spent} ns are explained of {}", journey.duration_nano)),
    }
}

/// Delivers to a server of its own and looks at every purchase.
async fn check(
    scenario: &str,
    capture: &Capture,
    look: impl Fn(&LedgerEntry, &Journey) -> Result<(), String>,
) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path()).await;
    capture.deliver(server.otlp_grpc(), 7).await.expect("delivered");
    look_at_all(scenario, &server, capture, look).await;
    server.stop().await.expect("stops");
}

async fn look_at_all(
    scenario: &str,
    server: &TestServer,
    capture: &Capture,
    look: impl Fn(&LedgerEntry, &Journey) -> Result<(), String>,
) {
    let client = Client::new(server.api());
    for entry in &capture.ledger {
        let looked = journey(&client, entry).await.and_then(|journey| look(entry, &journey));
        looked.unwrap_or_else(|complaint| panic!("{scenario}: {complaint}"));
    }
}

fn same_spans_and_logs(told: &LedgerEntry, journey: &Journey) -> Result<(), String> {
    let (expected, found) = (told_spans(told), found_spans(journey));
    if expected != found {
        let missing: Vec<_> = expected.difference(&found).collect();
        let extra: Vec<_> = found.difference(&expected).collect();
        return Err(format!("{}: missing {missing:?}, too many {extra:?}", told.order));
    }
    compare_logs(told, journey)
}

fn draw(of: &str, one_in: u64) -> bool {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish().is_multiple_of(one_in)
}

async fn out_of_order_doubled_and_late(capture: &Capture) {
    check("out of order, doubled", capture, compare).await;

    let folder = tempfile::tempdir().expect("a folder");
    let first = server(folder.path()).await;
    let (mut early, mut late) = (capture.clone(), capture.clone());
    let is_late = |one: &CapturedSpan| draw(&one.span_id().to_string(), 2);
    early.spans.retain(|one| !is_late(one));
    late.spans.retain(is_late);
    (early.logs, late.logs) = capture.logs.iter().cloned().partition(|log| !draw(&log.line, 2));
    early.deliver(first.otlp_grpc(), 1).await.expect("delivered");
    first.stop().await.expect("stops and seals");
    let second = server(folder.path()).await;
    late.deliver(second.otlp_grpc(), 2).await.expect("delivered");
    look_at_all("late", &second, capture, compare).await;
    second.stop().await.expect("stops");
}

async fn clocks_that_are_off(capture: &Capture) {
    let mut skewed = capture.clone();
    let services: BTreeSet<String> = skewed.spans.iter().map(|one| one.service.clone()).collect();
    for (at, service) in services.iter().enumerate() {
        // -2 s, -1 s, 0, 1 s, 2 s and again.
        skewed.shift(service, (at as i64 % 5 - 2) * 1_000_000_000);
    }
    let look = |entry: &LedgerEntry, journey: &Journey| {
        compare(entry, journey)?;
        let mut waits = journey.rows.iter().filter(|row| row.kind == RowKind::QueueWait);
        match waits.all(|row| row.duration_nano >= 0) && journey.clock_skew_nano > 500_000_000 {
            true => Ok(()),
            false => Err(format!("{}: skew {}", entry.order, journey.clock_skew_nano)),
        }
    };
    check("clocks", &skewed, look).await;
}

async fn sampled_traces_and_lost_spans(capture: &Capture) {
    let mut sampled = capture.clone();
    sampled.spans.retain(|one| !draw(&one.trace_id().to_string(), 3));
    assert!(sampled.spans.len() < capture.spans.len(), "something is not sampled");
    check("sampling", &sampled, |entry, found| same_spans_and_logs(&told(entry, &sampled), found)).await;

    let mut lossy = capture.clone();
    lossy.spans.retain(|one| !draw(&one.span_id().to_string(), 5));
    let missing = std::cell::Cell::new(0);
    let look = |entry: &LedgerEntry, journey: &Journey| {
        let rows = journey.rows.iter().filter(|row| row.kind == RowKind::Missing);
        missing.set(missing.get() + rows.count());
        same_spans_and_logs(&told(entry, &lossy), journey)
    };
    check("lost spans", &lossy, look).await;
    assert!(missing.get() > 0, "lost parents are shown as missing");
}

/// Five consumer spans of notify become one, with five links and no id of its own.
fn batched(capture: &Capture) -> (Capture, BTreeMap<TraceId, TraceId>) {
    let is_linked = |one: &&CapturedSpan| {
        one.service == "notify" && one.span.name.starts_with("process") && !one.span.links.is_empty()
    };
    let mut consumers: Vec<CapturedSpan> = capture.spans.iter().filter(is_linked).cloned().collect();
    consumers.sort_by_key(|one| one.span.start_time_unix_nano);
    let mut batched = capture.clone();
    let mut into = BTreeMap::new();
    for batch in consumers.chunks(5) {
        let mut one = batch[0].clone();
        one.strip(&IDS);
        one.span.links = batch.iter().flat_map(|it| it.span.links.clone()).collect();
        one.span.end_time_unix_nano =
            batch.iter().map(|it| it.span.end_time_unix_nano).max().expect("not empty");
        into.extend(batch.iter().map(|it| (it.trace_id(), one.trace_id())));
        batched.spans.retain(|it| !batch.iter().any(|of| of.trace_id() == it.trace_id()));
        batched.spans.push(one);
    }
    let is_gone = |trace: Option<TraceId>| trace.is_some_and(|trace| into.contains_key(&trace));
    batched.logs.retain(|log| !is_gone(log.trace_id));
    (batched, into)
}

async fn batch_consumers(capture: &Capture) {
    let (batched, into) = batched(capture);
    // Purchases whose messages came in one batch hang together.
    let mut journeys: Vec<(BTreeSet<TraceId>, Spans)> = Vec::new();
    for entry in &capture.ledger {
        let mut spans = told_spans(&told(entry, &batched));
        let mut batches: BTreeSet<TraceId> =
            entry.traces.iter().filter_map(|trace| into.get(trace)).copied().collect();
        let of_batch = batched.spans.iter().filter(|one| batches.contains(&one.trace_id()));
        spans.extend(of_batch.map(|one| {
            (
                one.trace_id().to_string(),
                one.span_id().to_string(),
                one.service.clone(),
                one.span.name.clone(),
            )
        }));
        let (joined, apart) = journeys.into_iter().partition(|(known, _)| !known.is_disjoint(&batches));
        journeys = apart;
        for (more, others) in joined {
            batches.extend(more);
            spans.extend(others);
        }
        journeys.push((batches, spans));
    }
    assert!(journeys.len() < capture.ledger.len(), "batches join purchases");
    let look = |entry: &LedgerEntry, journey: &Journey| {
        let found = found_spans(journey);
        let own = entry.spans.iter().map(|span| (span.trace_id.to_string(), span.span_id.to_string()));
        let own: BTreeSet<_> = own.collect();
        let of = |spans: &Spans| {
            spans.iter().any(|(trace, span, ..)| own.contains(&(trace.clone(), span.clone())))
        };
        let expected = journeys.iter().find(|(_, spans)| of(spans)).map(|(_, spans)| spans.clone());
        match expected.as_ref() == Some(&found) {
            true => Ok(()),
            false => {
                Err(format!("{}: {} spans of {:?}", entry.order, found.len(), expected.map(|it| it.len())))
            }
        }
    };
    check("batches", &batched, look).await;
}

/// Where no evidence is left, nothing is guessed.
async fn a_consumer_without_any_evidence(capture: &Capture) {
    let mut mute = capture.clone();
    for one in mute.spans.iter_mut().filter(|one| one.service == "notify") {
        one.strip(&IDS);
        one.span.links.clear();
    }
    let own: BTreeSet<TraceId> =
        mute.spans.iter().filter(|one| one.service == "notify").map(CapturedSpan::trace_id).collect();
    for log in mute.logs.iter_mut().filter(|log| log.service == "notify") {
        log.line = "mail sent".to_owned();
    }
    let lost = std::cell::Cell::new(0);
    let look = |entry: &LedgerEntry, journey: &Journey| {
        let mut told = entry.clone();
        let all = told.spans.len();
        told.spans.retain(|span| !own.contains(&span.trace_id));
        told.logs.retain(|log| !log.trace_id.is_some_and(|trace| own.contains(&trace)));
        lost.set(lost.get() + all - told.spans.len());
        same_spans_and_logs(&told, journey)
    };
    check("no evidence", &mute, look).await;
    assert!(lost.get() > 0, "recall is lost where nothing tells");
}

#[tokio::test(flavor = "multi_thread")]
async fn membership_is_exact_wherever_evidence_is_left_and_nothing_is_guessed_where_none_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let capture = Capture::record(folder.path(), PURCHASES, &FAULTS).await.expect("a recording");
    assert_eq!(capture.ledger.len() as u64, PURCHASES);
    assert!(capture.logs.iter().any(|log| log.trace_id.is_none()), "pricing knows no traces");
    out_of_order_doubled_and_late(&capture).await;
    clocks_that_are_off(&capture).await;
    sampled_traces_and_lost_spans(&capture).await;
    batch_consumers(&capture).await;
    a_consumer_without_any_evidence(&capture).await;
}
