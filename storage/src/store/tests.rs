//! The store as its callers see it: durable, visible at once, found again.

mod damage;
mod exemplars;
mod faults;
mod golden;
mod limits;
mod naive;
mod replaying;
pub(crate) mod whole;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use model::{ManualClock, Signal, TimeRange, TraceId, UnixNano};

use super::*;
use crate::frame::{Compression, Frame};
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

fn linked_span(number: u8, minute: u64) -> Vec<u8> {
    use model::wire::{put_bytes, put_fixed64, put_message, put_u64};
    let mut request = Vec::new();
    put_message(&mut request, 1, |resource| {
        put_message(resource, 2, |scope| {
            put_message(scope, 2, |span| {
                put_bytes(span, 1, &[number; 16]);
                put_bytes(span, 2, &[number; 8]);
                put_bytes(span, 5, b"consume");
                put_u64(span, 6, 5);
                put_fixed64(span, 7, NOW.0 as u64 - minute * 60_000_000_000);
                put_fixed64(span, 8, NOW.0 as u64);
                model::otlp::logs::put_attribute(span, 9, "user.id", "u-7");
                put_message(span, 13, |link| {
                    put_bytes(link, 1, &[0xaa; 16]);
                    put_bytes(link, 2, &[number; 8]);
                });
            });
        });
    });
    request
}

async fn append_span(store: &Store, payload: Vec<u8>) {
    let payload = Bytes::from(payload);
    let batch = store.decode(Signal::Traces, &payload, NOW).expect("decodable");
    let frame =
        Frame { signal: Signal::Traces, compression: Compression::Identity, received_at: NOW, payload };
    store.append(frame, batch).await.expect("durable");
}

fn traces_of(batches: &[arrow::array::RecordBatch]) -> Vec<u8> {
    let mut found: Vec<u8> = Vec::new();
    for batch in batches {
        let rows = crate::rows::SpanRows::new(batch);
        found.extend((0..rows.len()).map(|row| rows.trace_id(row).0[0]));
    }
    found.sort_unstable();
    found
}

#[tokio::test]
async fn a_linked_span_is_found_by_the_span_it_links_to_and_a_hub_is_counted_and_cut_unread() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    for is_sealed in [false, true] {
        if is_sealed {
            store.seal().await.expect("sealed");
        } else {
            for number in 1..=20 {
                append_span(&store, linked_span(number, u64::from(number))).await;
            }
        }
        let snapshot = store.snapshot();
        let lookup = |term: &str, groups_max| {
            let mut stats = ScanStats::default();
            let terms = [term.to_owned()];
            let all = &TimeRange::ALL;
            let rows = snapshot.lookup_newest(Signal::Traces, all, &terms, groups_max, &mut stats);
            (traces_of(&rows.expect("readable")), stats.groups_left_out)
        };
        let (trace, span) = ("aa".repeat(16), "03".repeat(8));
        assert_eq!(lookup(&format!("link={trace}"), 100).0.len(), 20, "sealed: {is_sealed}");
        assert_eq!(lookup(&format!("link={trace}/{span}"), 100).0, [3], "sealed: {is_sealed}");
        let (newest, left_out) = lookup("user_id=u-7", 5);
        assert_eq!((newest.len(), left_out), (5, 15), "sealed: {is_sealed}");
        if is_sealed {
            assert_eq!(newest, [1, 2, 3, 4, 5], "the last minutes of a segment");
        }
        let mut stats = ScanStats::default();
        let (all, term) = (&TimeRange::ALL, "user_id=u-7");
        let mut finder = crate::Finder::new(&snapshot, *all);
        assert_eq!(finder.count_groups(&[(term, 100), ("user_id=u-8", 100)]), [[20, 0], [0, 0]]);
        let mut found = 0;
        finder.prepare(&[term.to_owned(), "user_id=u-8".to_owned()]);
        finder
            .find(Signal::Traces, &[term.to_owned(), "user_id=u-8".to_owned()], &mut |_, _, _| found += 1)
            .expect("readable");
        assert_eq!(found, 20, "what was counted is found, sealed: {is_sealed}");
        drop(finder);
        let traces = snapshot.count_traces(Signal::Traces, all, term, 100, &mut stats);
        assert_eq!(traces.expect("readable"), 20);
        let kinds = ["user_id", "user", "order_id"];
        let counts = snapshot.count_values(&kinds, all, &mut stats, &mut || ControlFlow::Continue(()));
        let counts = counts.expect("readable");
        assert_eq!(counts[0].values_in_spans, 1);
        assert_eq!(counts[0].example.as_deref(), Some("user_id=u-7"));
        assert_eq!((counts[1].values_in_spans, counts[2].values_in_spans), (0, 0), "only whole kinds count");
    }
    store.close().await.expect("closed");
}
