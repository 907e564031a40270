//! The store as its callers see it: durable, visible at once, found again.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bytes::Bytes;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use model::{ManualClock, TimeRange, TraceId};

use super::*;
use crate::rows::LogRows;
use crate::snapshot::{ScanOrder, ScanStats};

const NOW: UnixNano = UnixNano(1_800_000_000_000_000_000);

async fn open(dir: &std::path::Path) -> Arc<Store> {
    let clock = ManualClock::at(NOW);
    Store::open(Settings::new(dir), Arc::new(IdRules::default()), clock).await.expect("opens")
}

/// One log record: its body, its trace, its order.
async fn append(store: &Store, body: &str, trace: Option<u8>, order: &str, time: i64) {
    let mut writer = LogsWriter::new([("service.name", "billing")]);
    let parts = LogRecordParts {
        time: UnixNano(NOW.0 + time),
        body,
        trace_id: trace.and_then(|byte| TraceId::from_bytes(&[byte; 16])),
        ..LogRecordParts::default()
    };
    writer.push(&parts, [("order_id", order)]);
    let payload = Bytes::from(writer.finish());
    let batch = store.decode(Signal::Logs, &payload, NOW).expect("decodable");
    let frame = Frame { signal: Signal::Logs, compression: Compression::Identity, received_at: NOW, payload };
    store.append(frame, batch).await.expect("durable");
}

fn bodies(batches: &[arrow::array::RecordBatch]) -> BTreeSet<String> {
    batches
        .iter()
        .flat_map(|rows| {
            let rows = LogRows::new(rows);
            (0..rows.len()).map(|row| rows.body(row).to_owned()).collect::<Vec<_>>()
        })
        .collect()
}

fn found(store: &Store, term: &str) -> BTreeSet<String> {
    let mut stats = ScanStats::default();
    let terms = [term.to_owned()];
    let rows = store.snapshot().lookup(Signal::Logs, &TimeRange::ALL, &terms, &mut stats).expect("readable");
    bodies(&rows)
}

fn scanned(store: &Store, range: TimeRange) -> Vec<String> {
    let mut out = Vec::new();
    let mut visit = |rows: &arrow::array::RecordBatch| {
        let rows = LogRows::new(rows);
        out.extend((0..rows.len()).map(|row| rows.body(row).to_owned()));
        ControlFlow::Continue(())
    };
    let mut stats = ScanStats::default();
    store
        .snapshot()
        .scan(Signal::Logs, &range, &[], ScanOrder::Any, &mut stats, &mut visit)
        .expect("readable");
    out.sort();
    out
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

async fn fill(store: &Store) {
    append(store, "one", Some(1), "ORD-1", 0).await;
    append(store, "one again", Some(1), "ORD-9", 1).await;
    append(store, "two", Some(2), "ORD-2", 120_000_000_000).await;
    append(store, "no trace", None, "ORD-1", 5).await;
}

fn check_fill(store: &Store) {
    assert_eq!(found(store, "order_id=ORD-2"), set(&["two"]));
    assert_eq!(found(store, "order_id=ORD-404"), set(&[]));
    assert_eq!(found(store, &format!("trace_id={}", "01".repeat(16))), set(&["one", "one again"]));
    assert!(found(store, "order_id=ORD-1").is_superset(&set(&["one", "no trace"])));
    assert!(!found(store, "order_id=ORD-1").contains("two"));
    assert_eq!(scanned(store, TimeRange::ALL), ["no trace", "one", "one again", "two"]);
    let first_second = TimeRange { from: NOW, to: NOW.plus(1_000_000_000) };
    assert_eq!(scanned(store, first_second), ["no trace", "one", "one again"]);
}

#[tokio::test]
async fn rows_are_found_by_id_by_trace_and_by_time_in_the_head() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store).await;
    check_fill(&store);
}

#[tokio::test]
async fn sealing_changes_no_answer() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append(&store, "one", Some(1), "ORD-1", 0).await;
    append(&store, "one again", Some(1), "ORD-9", 1).await;
    store.seal().await.expect("sealed");
    append(&store, "two", Some(2), "ORD-2", 120_000_000_000).await;
    append(&store, "no trace", None, "ORD-1", 5).await;
    check_fill(&store);
    store.seal().await.expect("sealed");
    check_fill(&store);
    assert_eq!(store.stats().head_rows, 0);
    assert_eq!(store.stats().segments, 2);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_dropping_the_store_without_closing_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store).await;
    drop(store);
    let store = open(dir.path()).await;
    check_fill(&store);
    store.seal().await.expect("sealed");
    drop(store);
    let store = open(dir.path()).await;
    check_fill(&store);
    assert_eq!(store.stats().head_rows, 0, "nothing is replayed that is in a segment");
}

#[tokio::test]
async fn an_older_snapshot_does_not_change_when_the_store_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append(&store, "one", Some(1), "ORD-1", 0).await;
    let before = store.snapshot();
    append(&store, "two", Some(2), "ORD-2", 0).await;
    store.seal().await.expect("sealed");
    assert_eq!(before.row_counts(Signal::Logs), (1, 0));
    assert_eq!(store.snapshot().row_counts(Signal::Logs), (0, 2));
}

#[tokio::test]
async fn a_damaged_segment_does_not_stop_the_store_and_is_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append(&store, "lost", Some(1), "ORD-1", 0).await;
    store.seal().await.expect("sealed");
    append(&store, "kept", Some(2), "ORD-2", 0).await;
    drop(store);
    let logs = std::fs::read_dir(dir.path().join("segments/logs")).expect("there").next().expect("one");
    std::fs::write(logs.expect("readable").path().join("data.parquet"), b"PAR1 no more").expect("written");
    let store = open(dir.path()).await;
    assert_eq!(store.stats().segments_unreadable, 1);
    assert_eq!(scanned(&store, TimeRange::ALL), ["kept"]);
}

#[tokio::test]
async fn subscribers_see_batches_as_they_become_visible() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    let mut tail = store.subscribe();
    append(&store, "one", Some(1), "ORD-1", 0).await;
    append(&store, "two", None, "ORD-2", 0).await;
    assert_eq!(tail.recv().await.expect("a batch").rows_before, 0);
    assert_eq!(tail.recv().await.expect("a batch").rows_before, 1);
}

#[tokio::test]
async fn closing_while_the_background_seals_loses_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::at(NOW);
    let settings = Settings { seal_rows: 3, ..Settings::new(dir.path()) };
    let store = Store::open(settings, Arc::new(IdRules::default()), clock).await.expect("opens");
    for number in 0..20 {
        // Every third row wakes the sealer, which then is at work when the store is closed.
        append(&store, &format!("row {number:02}"), Some(1), "ORD-1", number).await;
    }
    store.close().await.expect("closed");
    drop(store);
    let store = open(dir.path()).await;
    assert_eq!(scanned(&store, TimeRange::ALL).len(), 20);
}

#[tokio::test]
async fn a_caller_that_gives_up_a_seal_leaves_it_to_finish() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append(&store, "one", Some(1), "ORD-1", 0).await;
    // Polled once, then dropped.
    let given_up = tokio::time::timeout(Duration::ZERO, store.seal()).await;
    append(&store, "two", Some(2), "ORD-2", 0).await;
    store.seal().await.expect("sealed");
    assert_eq!(scanned(&store, TimeRange::ALL), ["one", "two"], "given up: {}", given_up.is_err());
    assert_eq!(store.stats().head_rows, 0);
}

#[tokio::test]
async fn a_second_store_on_the_same_folder_is_refused_and_touches_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append(&store, "one", Some(1), "ORD-1", 0).await;
    let clock = ManualClock::at(NOW);
    let second = Store::open(Settings::new(dir.path()), Arc::new(IdRules::default()), clock).await;
    let error = second.expect_err("the folder is taken").to_string();
    assert!(error.contains("another silmari"), "{error}");
    assert_eq!(scanned(&store, TimeRange::ALL), ["one"]);
}

#[tokio::test]
async fn a_small_request_takes_little_of_the_heads_budget() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append(&store, "one", Some(1), "ORD-1", 0).await;
    let bytes = store.stats().head_bytes;
    assert!(bytes < 8_192, "one log record is booked at {bytes} bytes");
}

#[tokio::test]
async fn what_was_acknowledged_under_larger_limits_comes_back_under_smaller_ones() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store).await;
    drop(store);
    let small = Settings { request_bytes_max: 1, records_per_request_max: 0, ..Settings::new(dir.path()) };
    let clock = ManualClock::at(NOW);
    let store = Store::open(small, Arc::new(IdRules::default()), clock).await.expect("opens");
    check_fill(&store);
}
