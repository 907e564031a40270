//! What a search finds, and that it reads nothing twice.

use std::collections::BTreeSet;

use arrow::array::{Array as _, ArrayRef};
use model::{Signal, TimeRange, UnixNano};

use super::{Finder, Place};
use crate::memory::bytes_of;
use crate::rows::LogRows;
use crate::testing::{HOUR, NOW, SECOND, append_logs, log, open};
use crate::{Snapshot, Store};

/// Two traces and three records without one, half in a segment.
async fn fill(store: &Store) {
    append_logs(store, vec![log("a1", 1, "ORD-1", 0), log("b1", 2, "ORD-2", 1), log("x1", 0, "ORD-1", 2)])
        .await;
    store.seal().await.expect("sealed");
    append_logs(store, vec![log("a2", 1, "", 3), log("x2", 0, "ORD-1", 4), log("x3", 0, "ORD-2", -HOUR / 4)])
        .await;
}

fn places(finder: &mut Finder<'_>, term: &str) -> Vec<Place> {
    let mut places = Vec::new();
    finder.find(Signal::Logs, &[term.to_owned()], &mut |place, _, _| places.push(place)).expect("readable");
    places
}

fn bodies(finder: &mut Finder<'_>, places: &[Place]) -> BTreeSet<String> {
    let mut bodies = BTreeSet::new();
    for part in finder.read(Signal::Logs, places, &[]).expect("readable") {
        let rows = LogRows::new(&part.batch);
        bodies.extend(part.rows.iter().map(|row| rows.body(*row as usize).to_owned()));
    }
    bodies
}

fn found(snapshot: &Snapshot, range: TimeRange, term: &str) -> BTreeSet<String> {
    let mut finder = Finder::new(snapshot, range);
    let places = places(&mut finder, term);
    bodies(&mut finder, &places)
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

#[tokio::test]
async fn groups_are_found_by_id_and_by_trace_in_head_and_segments() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store).await;
    let snapshot = store.snapshot();
    assert_eq!(found(&snapshot, TimeRange::ALL, "order_id=ORD-1"), set(&["a1", "x1", "x2"]));
    let trace = format!("trace_id={}", "01".repeat(16));
    assert_eq!(found(&snapshot, TimeRange::ALL, &trace), set(&["a1", "a2"]));
    assert_eq!(found(&snapshot, TimeRange::ALL, "order_id=ORD-9"), set(&[]));
    let late = TimeRange { from: UnixNano(NOW.0 - SECOND), to: UnixNano::MAX };
    assert_eq!(
        found(&snapshot, late, "order_id=ORD-2"),
        set(&["b1"]),
        "what lies outside the range is not there"
    );
}

#[tokio::test]
async fn what_was_looked_at_once_is_not_read_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store).await;
    let snapshot = store.snapshot();
    let mut finder = Finder::new(&snapshot, TimeRange::ALL);
    let first = places(&mut finder, "order_id=ORD-1");
    let read = finder.stats.rows_scanned;
    assert_eq!(read, 2, "the segment's two rows, whole because they are few");
    assert_eq!(places(&mut finder, "order_id=ORD-1"), first);
    assert_eq!(finder.stats.rows_scanned, read);
    let twice = [first.clone(), first].concat();
    assert_eq!(bodies(&mut finder, &twice), set(&["a1", "x1", "x2"]));
    assert_eq!(finder.stats.rows_scanned, read, "and not again");
}

#[tokio::test]
async fn only_the_newest_groups_are_given_under_a_limit_and_the_others_are_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store).await;
    let snapshot = store.snapshot();
    let mut finder = Finder::new(&snapshot, TimeRange::ALL);
    finder.limit_groups(Some(2));
    let places = places(&mut finder, "order_id=ORD-1");
    assert_eq!(bodies(&mut finder, &places), set(&["x1", "x2"]));
    assert_eq!((finder.limit_groups(None), finder.limit_groups(None)), (1, 0));
}

#[tokio::test]
async fn a_look_up_that_was_prepared_for_other_terms_or_before_a_limit_finds_what_it_is_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store).await;
    let snapshot = store.snapshot();
    let term = |term: &str| vec![term.to_owned()];
    let mut finder = Finder::new(&snapshot, TimeRange::ALL);
    let expected = places(&mut finder, "order_id=ORD-1");
    let others = places(&mut finder, "order_id=ORD-2");

    finder.prepare(&term("order_id=ORD-1"));
    assert_eq!(places(&mut finder, "order_id=ORD-1"), expected);
    assert_eq!(places(&mut finder, "order_id=ORD-1"), expected, "and once more, when nothing is prepared");
    finder.prepare(&term("order_id=ORD-1"));
    assert_eq!(places(&mut finder, "order_id=ORD-2"), others);
    finder.prepare(&term("order_id=ORD-1"));
    finder.limit_groups(Some(1));
    assert_eq!(places(&mut finder, "order_id=ORD-2").len(), 1);
    assert_eq!(finder.limit_groups(None), 1);
}

#[tokio::test]
async fn rows_are_counted_by_what_they_use_not_by_the_buffers_of_their_reader() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    let logs = (0..300).map(|at| log(&format!("body number {at} of them all"), 1, "ORD-1", at)).collect();
    append_logs(&store, logs).await;
    store.seal().await.expect("sealed");
    let snapshot = store.snapshot();
    let segment = snapshot.segments(Signal::Logs).next().expect("one");
    for rows in [1, 300] {
        let batch = segment.read(std::iter::once(0..rows).collect(), &[]).expect("readable").remove(0);
        let used = |column: &ArrayRef| column.to_data().get_slice_memory_size().expect("counted");
        let used: usize = batch.columns().iter().map(used).sum();
        let counted = bytes_of(&batch);
        assert!((used * 9 / 10..used * 3 / 2 + 64).contains(&counted), "{rows}: {counted} for {used}");
    }
}

#[tokio::test]
async fn what_was_counted_in_several_steps_is_found_in_the_segments_that_have_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append_logs(&store, vec![log("a", 1, "ORD-1", 0), log("b", 2, "ORD-2", 1)]).await;
    store.seal().await.expect("sealed");
    append_logs(&store, vec![log("c", 3, "ORD-2", 2), log("d", 4, "ORD-3", 3)]).await;
    store.seal().await.expect("sealed");
    append_logs(&store, vec![log("e", 5, "ORD-3", 4)]).await;
    let snapshot = store.snapshot();
    let mut finder = Finder::new(&snapshot, TimeRange::ALL);
    let [one, two, three] = ["order_id=ORD-1", "order_id=ORD-2", "order_id=ORD-3"];
    assert_eq!(finder.count_groups(&[]), [[0; 2]; 0]);
    assert_eq!(finder.count_groups(&[(one, 9)]), [[0, 1]]);
    // Counted again, and twice at once: numbers are given anew.
    assert_eq!(finder.count_groups(&[(one, 9), (two, 9), (two, 9)]), [[0, 1], [0, 2], [0, 2]]);
    assert_eq!(finder.count_groups(&[(three, 9), ("order_id=none", 9)]), [[0, 2], [0, 0]]);
    let terms = [one, two, three, "order_id=none"].map(str::to_owned);
    finder.prepare(&terms);
    let mut found = Vec::new();
    finder.find(Signal::Logs, &terms, &mut |place, _, _| found.push(place)).expect("readable");
    assert_eq!(bodies(&mut finder, &found), set(&["a", "b", "c", "d", "e"]));
}
