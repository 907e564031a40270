//! Segments of every format that is read, kept in `storage/tests/golden/`: whoever changes the format without a way
//! to read what there is, learns it here.
//!
//! They are written anew, on purpose only, by
//! `cargo test --package storage --lib write_the_golden_segments -- --ignored`.

use std::path::{Path, PathBuf};

use model::{Signal, TimeRange, UnixNano};

use super::reader::Segment;
use super::{Kept, SegmentMeta};
use crate::memory::Memory;
use crate::schema::FORMAT_VERSION;
use crate::testing::*;

fn golden(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{version}"))
}

async fn fill(dir: &Path) -> std::sync::Arc<crate::Store> {
    let store = open(dir).await;
    for half in 0..2 {
        let time = i64::from(half) * SECOND;
        append_spans(&store, vec![span(1, 1 + half, time, false), span(2, 3 + half, time, true)]).await;
        append_logs(&store, vec![log("placed", 1, "ORD-1", time), log("no trace", 0, "ORD-2", time)]).await;
        append(&store, Signal::Metrics, &points_of_trace(1, time, 0.25)).await;
        store.seal().await.expect("sealed");
    }
    store.compact().await.expect("merged");
    store
}

#[tokio::test]
#[ignore = "replaces the golden segments"]
async fn write_the_golden_segments() {
    let dir = tempfile::tempdir().expect("a folder");
    drop(fill(dir.path()).await);
    for signal in Signal::ALL {
        let name = folders(dir.path(), signal).remove(0);
        let from = dir.path().join("segments").join(signal.table()).join(name);
        let to = golden(FORMAT_VERSION).join("segments").join(signal.table()).join("golden");
        // tantivy's files have other names each time.
        drop(std::fs::remove_dir_all(&to));
        copy(&from, &to);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("readable").is_dir() {
            true => copy(&entry.path(), &to),
            // tantivy's lock files say nothing of the format.
            false if entry.path().extension().is_some_and(|extension| extension == "lock") => {}
            false => std::fs::copy(entry.path(), to).map(|_| ()).expect("copied"),
        }
    }
}

fn open_golden(version: u32, signal: Signal) -> std::sync::Arc<Segment> {
    let mut meta = SegmentMeta::named(signal, 1, (1, 6), 1);
    meta.name = "golden".to_owned();
    meta.rows = 4;
    meta.time = TimeRange { from: NOW, to: NOW.plus(SECOND) };
    meta.kept = Kept::All;
    meta.format_version = version;
    let segment = Segment::open(golden(version), meta).expect("opens");
    segment.verify().expect("as it was written");
    segment
}

#[test]
fn segments_of_every_format_open_and_are_found_by_id_text_and_time() {
    (1..=FORMAT_VERSION).for_each(check_golden);
}

fn check_golden(version: u32) {
    for signal in Signal::ALL {
        open_golden(version, signal);
    }
    let rows =
        |batches: Vec<arrow::array::RecordBatch>| batches.iter().map(|rows| rows.num_rows()).sum::<usize>();
    let held = Memory::unbounded().reserve();
    let logs = open_golden(version, Signal::Logs);
    assert_eq!(
        rows(logs.lookup(&["order_id=ORD-2".to_owned()], 100, 100, &[], &held).expect("readable").0),
        2
    );
    let trace = [format!("trace_id={}", "02".repeat(16))];
    assert_eq!(
        rows(open_golden(version, Signal::Traces).lookup(&trace, 100, 100, &[], &held).expect("readable").0),
        2
    );
    check_exemplars(version);
    let mut seen = 0;
    let mut visit = |rows: arrow::array::RecordBatch, _| {
        seen += rows.num_rows();
        Ok(std::ops::ControlFlow::Continue(()))
    };
    let hint = crate::TextHint::default().and("placed");
    logs.search(&TimeRange::ALL, &[], &hint, &mut visit).expect("readable").is_continue();
    assert_eq!(seen, 2);
}

/// Points of all formats have a column of exemplars; those written before format 3 have none in it.
fn check_exemplars(version: u32) {
    let points = open_golden(version, Signal::Metrics);
    let mut found = Vec::new();
    let mut visit = |rows: arrow::array::RecordBatch| {
        let points = crate::rows::PointRows::new(&rows);
        let of = |row: usize| points.exemplars(row).map(|exemplar| exemplar.value).collect::<Vec<_>>();
        found.extend((0..points.len()).flat_map(of));
        Ok(std::ops::ControlFlow::Continue(()))
    };
    points.scan(&TimeRange::ALL, &[], &mut visit).expect("readable").is_continue();
    let trace = [format!("trace_id={}", "01".repeat(16))];
    let held = Memory::unbounded().reserve();
    let (by_trace, _) = points.lookup(&trace, 100, 100, &[], &held).expect("readable");
    let by_trace: usize = by_trace.iter().map(|rows| rows.num_rows()).sum();
    match version {
        1 | 2 => assert_eq!((found.len(), by_trace), (0, 0)),
        _ => assert_eq!((found, by_trace), (vec![0.25; 2], 2)),
    }
}

#[tokio::test]
async fn a_segment_of_a_newer_format_is_refused_and_both_versions_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append_logs(&store, vec![log("one", 1, "ORD-1", 0)]).await;
    store.seal().await.expect("sealed");
    let old = store.snapshot().segments(Signal::Logs).next().expect("one").meta().clone();
    let newer = SegmentMeta { format_version: FORMAT_VERSION + 1, ..old.clone() };
    store.shared().catalog.replace(&[old], &[newer]).await.expect("committed");
    drop(store);
    let clock = model::ManualClock::at(UnixNano(NOW.0));
    let opened = crate::Store::open(settings(dir.path()), std::sync::Arc::default(), clock).await;
    let error = opened.expect_err("newer").to_string();
    let (newer, known) = (format!("format {}", FORMAT_VERSION + 1), format!("up to {FORMAT_VERSION}"));
    assert!(error.contains(&newer) && error.contains(&known), "{error}");
    assert_eq!(folders(dir.path(), Signal::Logs).len(), 1, "nothing is removed");
}
