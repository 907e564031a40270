//! What is copied into a segment is there as if it had been merged, in every way that rows are looked for.

use std::ops::Range;

use super::*;
use crate::compaction::join::RUNS_MAX;
use crate::index::Sought;
use crate::inspect::{Access, Inspector};
use crate::segment::home::settings::Places;
use crate::segment::reader::Segment;
use crate::segment::writer::SegmentWriter;

const ROUNDS: u8 = 4;
const SEALS: u8 = 2;

/// Rounds of two seals each, merged after every round: what an earlier round has merged is copied by later ones. One trace has spans
/// in all of them.
async fn joined(store: &Arc<Store>) {
    rounds(store, 0..ROUNDS).await;
}

async fn rounds(store: &Arc<Store>, rounds: Range<u8>) {
    for round in rounds {
        for seal in round * SEALS..(round + 1) * SEALS {
            let time = i64::from(seal);
            append_spans(store, vec![span(1, 1 + seal, time, false), span(20 + seal, 50 + seal, time, true)])
                .await;
            let order = format!("ORD-{}", seal % 3);
            let logs = vec![
                log(&format!("line {seal} of many"), 1, &order, time),
                log("no trace", 0, "ORD-7", time),
            ];
            append_logs(store, logs).await;
            append_points(store, &[("up", time, f64::from(seal))]).await;
            store.seal().await.expect("sealed");
        }
        store.compact().await.expect("merged");
    }
}

fn segments(store: &Store) -> Vec<Arc<Segment>> {
    store.shared().state().segments.clone()
}

fn segment(store: &Store, signal: Signal) -> Arc<Segment> {
    segments(store).into_iter().find(|segment| segment.signal() == signal).expect("one")
}

fn runs(store: &Store, signal: Signal) -> usize {
    segment(store, signal).runs().len()
}

fn trace(number: u8) -> String {
    format!("trace_id={}", format!("{number:02x}").repeat(16))
}

fn check(store: &Store) {
    let snapshot = store.snapshot();
    let seals = 0..ROUNDS * SEALS;
    let mut spans: Vec<String> = seals.clone().map(|seal| format!("01 span {}", 1 + seal)).collect();
    assert_eq!(found(&snapshot, Signal::Traces, &trace(1)), spans);
    spans.extend(seals.clone().map(|seal| format!("{:02x} span {}", 20 + seal, 50 + seal)));
    assert_eq!(lines(&snapshot, Signal::Traces), spans);
    assert_eq!(found(&snapshot, Signal::Traces, &trace(22)), ["16 span 52"]);
    assert_eq!(found(&snapshot, Signal::Logs, "order_id=ORD-7").len(), seals.len());
    // A group is the lines of a trace that stand together, here those of one run.
    assert!(found(&snapshot, Signal::Logs, "order_id=ORD-1").contains(&"line 4 of many".to_owned()));
    assert_eq!(found(&snapshot, Signal::Logs, &trace(1)).len(), seals.len());
    assert_eq!(lines(&snapshot, Signal::Metrics).len(), seals.len());
    assert_eq!(with_text(store, "line 3 of"), 1);
    assert_eq!(with_text(store, "of many"), seals.len());
}

/// Closes a store, to look at it from outside.
async fn closed(store: Arc<Store>, dir: &std::path::Path) -> Inspector {
    store.close().await.expect("closed");
    drop(store);
    // A background task may hold the lock for a moment.
    for _ in 0..10_000 {
        let clock = model::ManualClock::at(NOW);
        match Inspector::open(dir, &Places::default(), Access::Exclusive, clock).await {
            Err(error) if error.to_string().contains("a running silmari") => tokio::task::yield_now().await,
            opened => return opened.expect("opens"),
        }
    }
    panic!("the lock stays taken");
}

#[tokio::test]
async fn what_was_merged_before_is_copied_and_everything_is_found_as_before() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    joined(&store).await;
    assert_eq!(store.stats().segments, 3);
    let both = [Signal::Traces, Signal::Logs];
    assert_eq!(both.map(|signal| runs(&store, signal)), [usize::from(ROUNDS); 2], "a run of each round");
    assert_eq!(runs(&store, Signal::Metrics), 1, "points are put in order");
    for signal in both {
        assert!(
            segment(&store, signal).numbered_columns().contains_key("service"),
            "texts are numbered as before"
        );
    }
    check(&store);
    drop(store);
    let store = open(dir.path()).await;
    check(&store);
    let tool = closed(store, dir.path()).await;
    let rules = model::IdRules::default();
    let found = tool.verify(&rules, &mut |_, _| {}).expect("readable");
    assert_eq!(found.findings, [], "nothing to find");
}

#[tokio::test]
async fn an_index_of_copied_rows_says_what_the_rows_say() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    joined(&store).await;
    for segment in segments(&store).iter().filter(|segment| segment.signal() != Signal::Metrics) {
        let ids = dir.path().join(segment.meta().path()).join("ids");
        let terms: Vec<String> =
            (1..40).map(trace).chain((0..8).map(|order| format!("order_id=ORD-{order}"))).collect();
        let answers = |segment: &Segment| -> Vec<_> {
            let answer =
                |term: &String| segment.groups_with(&[Sought::new(term)], usize::MAX).expect("readable");
            terms.iter().map(answer).collect()
        };
        let indexed = answers(segment);
        assert!(indexed.iter().any(|(groups, _)| groups.len() >= ROUNDS.into()), "{indexed:?}");
        std::fs::rename(&ids, ids.with_extension("away")).expect("renamed");
        let without = Segment::open(dir.path(), segment.meta().clone()).expect("opens");
        assert_eq!(answers(&without), indexed);
        assert_eq!(without.damaged_indexes(), 1);
        std::fs::rename(ids.with_extension("away"), &ids).expect("renamed");
    }
}

#[tokio::test]
async fn words_of_copied_rows_are_found_by_the_index_they_had_and_are_read_again_where_it_is_damaged() {
    for is_damaged in [false, true] {
        let dir = tempfile::tempdir().expect("a folder");
        let store = open(dir.path()).await;
        rounds(&store, 0..ROUNDS - 1).await;
        assert_eq!(with_text(&store, "line 3 of"), 1, "it was sound when it was asked first");
        let text = |segment: &Segment| dir.path().join(segment.meta().path()).join("text");
        let of_logs = |segment: &Arc<Segment>| segment.signal() == Signal::Logs && is_damaged;
        for segment in segments(&store).into_iter().filter(of_logs) {
            let files = std::fs::read_dir(text(&segment)).expect("a folder").flatten();
            let terms = files.map(|file| file.path()).find(|path| path.extension() == Some("term".as_ref()));
            let terms = terms.expect("a dictionary");
            let mut bytes = std::fs::read(&terms).expect("readable");
            bytes[20] ^= 1;
            std::fs::write(&terms, bytes).expect("written");
        }
        rounds(&store, ROUNDS - 1..ROUNDS).await;
        assert_eq!(runs(&store, Signal::Logs), usize::from(ROUNDS));
        let parts = std::fs::read(text(&segment(&store, Signal::Logs)).join("parts.json")).expect("there");
        let parts: Vec<[u64; 2]> = serde_json::from_slice(&parts).expect("JSON");
        // The first two rounds had been joined, and are read as one now.
        let expected: &[[u64; 2]] = if is_damaged { &[[8, 10], [4, 6], [4, 6]] } else { &[[4, 6]; 4] };
        assert_eq!(parts, expected);
        check(&store);
        for seal in 0..ROUNDS * SEALS {
            assert_eq!(with_text(&store, &format!("line {seal} of")), 1);
        }
        assert_eq!(segment(&store, Signal::Logs).damaged_indexes(), 0);
    }
}

#[tokio::test]
async fn a_damaged_index_of_copied_rows_is_built_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    joined(&store).await;
    let path = segment(&store, Signal::Traces).meta().path();
    let index = dir.path().join(path).join("ids").join(crate::index::FILE);
    let sound = std::fs::read(&index).expect("readable");
    let mut damaged = sound.clone();
    damaged[0] ^= 1;
    std::fs::write(&index, damaged).expect("written");
    let tool = closed(store, dir.path()).await;
    let rules = model::IdRules::default();
    let found = tool.verify(&rules, &mut |_, _| {}).expect("readable");
    assert_eq!(found.findings.len(), 1, "{:?}", found.findings);
    tool.repair(&found.findings).await.expect("repaired");
    drop(tool);
    assert_eq!(std::fs::read(&index).expect("readable"), sound, "the same as before");
    check(&*open(dir.path()).await);
}

#[tokio::test]
async fn a_span_that_is_in_two_large_segments_is_there_once_afterwards() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    for round in 0..2_u8 {
        append_spans(&store, vec![span(1, 1, 0, false), span(2, 2 + round, 1, false)]).await;
        store.seal().await.expect("sealed");
        append_spans(&store, vec![span(3, 4 + round, 2, false), span(4, 6 + round, 3, false)]).await;
        store.seal().await.expect("sealed");
        store.compact().await.expect("merged");
    }
    let expected =
        ["01 span 1", "02 span 2", "02 span 3", "03 span 4", "03 span 5", "04 span 6", "04 span 7"];
    assert_eq!(lines(&store.snapshot(), Signal::Traces), expected);
    assert_eq!(runs(&store, Signal::Traces), 1, "rows were put in order, and the second one left out");
}

#[tokio::test]
async fn a_span_that_was_sent_twice_before_it_was_sealed_is_there_once_afterwards() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    joined(&store).await;
    let copied = segment(&store, Signal::Traces);
    append_spans(&store, vec![span(3, 3, 0, false), span(3, 3, 0, false), span(4, 4, 0, false)]).await;
    store.seal().await.expect("sealed");
    let large = as_large(&store, &newest(&store, Signal::Traces));
    assert_eq!((large.meta().level, large.meta().rows), (1, 3));
    let rewrite = Rewrite {
        inputs: vec![copied, large],
        number: store.shared().next_number(),
        kept: crate::segment::Kept::All,
        delete_id: 0,
        promoted: Vec::new(),
        filter: None,
    };
    let merged = rewrite::write(&store.shared().folder, rewrite, &|| false).expect("written").expect("rows");
    assert_eq!(merged.meta().rows, u64::from(ROUNDS * SEALS) * 2 + 2);
}

fn newest(store: &Store, signal: Signal) -> Arc<Segment> {
    let of_signal = segments(store).into_iter().filter(|segment| segment.signal() == signal);
    of_signal.max_by_key(|segment| segment.meta().sequences).expect("one")
}

/// The rows of a seal as one of more rows is written.
fn as_large(store: &Store, seal: &Segment) -> Arc<Segment> {
    let shared = store.shared();
    let meta = SegmentMeta::named(seal.signal(), 1, seal.meta().sequences, shared.next_number());
    let mut writer = SegmentWriter::create(&shared.folder, meta, seal.layout(), 1).expect("begun");
    for rows in seal.stored_reader(&TimeRange::ALL, &[], 100).expect("readable") {
        writer.push(&rows.expect("readable")).expect("written");
    }
    Segment::open_in(&shared.folder, writer.finish().expect("written")).expect("opens")
}

#[tokio::test]
async fn the_newest_groups_are_those_of_the_newest_run() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    joined(&store).await;
    let logs = segment(&store, Signal::Logs);
    let term = Sought::new("order_id=ORD-7");
    let (all, left_out) = logs.groups_with([&term], usize::MAX).expect("readable");
    assert_eq!((all.len(), left_out), (usize::from(ROUNDS * SEALS), 0));
    let time_of = |group: &Range<usize>| {
        let rows = logs.read(vec![group.clone()], &["time"]).expect("readable");
        crate::rows::time_range(Signal::Logs, &rows[0]).to
    };
    let mut times: Vec<_> = all.iter().map(time_of).collect();
    times.sort_unstable();
    for most in 1..=all.len() {
        let (newest, left_out) = logs.groups_with([&term], most).expect("readable");
        assert_eq!(left_out, all.len() - most);
        assert!(newest.is_sorted_by_key(|group| group.start));
        let mut found: Vec<_> = newest.iter().map(time_of).collect();
        found.sort_unstable();
        assert_eq!(found, times[left_out..], "the {most} newest");
    }
}

#[tokio::test]
async fn rows_that_a_delete_hides_are_not_copied_and_those_left_are_in_order_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    joined(&store).await;
    assert_eq!(store.delete("order_id=ORD-1").await.expect("deleted").log_records, 3);
    store.compact().await.expect("rewritten");
    assert_eq!(runs(&store, Signal::Logs), 1);
    assert_eq!(with_text(&store, "of many"), usize::from(ROUNDS * SEALS) - 3);
    assert_eq!(found(&store.snapshot(), Signal::Logs, "order_id=ORD-1"), Vec::<String>::new());
    let logs = segment(&store, Signal::Logs);
    let rows = logs.read(std::iter::once(0..logs.meta().rows as usize).collect(), &[]).expect("readable");
    let keys: Vec<_> = rows.iter().flat_map(|rows| crate::order::keys(Signal::Logs, rows)).collect();
    assert!(keys.is_sorted());
}

#[tokio::test]
async fn a_segment_of_many_runs_is_put_in_order_again_before_there_are_too_many() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    let mut found_runs = Vec::new();
    for round in 0..40 {
        let time = i64::from(round);
        let logs =
            vec![log(&format!("line {round} of many"), 1, "ORD-1", time), log("no trace", 0, "", time)];
        append_logs(&store, logs).await;
        store.seal().await.expect("sealed");
        let inputs = segments(&store).iter().map(|segment| segment.meta().clone()).collect();
        let rewrite = rewrite_of(store.shared(), &Merge { inputs }).expect("live");
        maintenance::rewrite(&store, rewrite).await.expect("merged");
        found_runs.push(runs(&store, Signal::Logs));
    }
    let expected = (1..=RUNS_MAX).chain(1..);
    assert_eq!(found_runs, expected.take(40).collect::<Vec<_>>());
    assert_eq!(with_text(&store, "of many"), 40);
    assert_eq!(with_text(&store, "no trace"), 40);
    assert_eq!(found(&store.snapshot(), Signal::Logs, "order_id=ORD-1").len(), 40);
}

#[tokio::test]
async fn what_cannot_be_copied_stays_and_the_others_are_merged_without_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    rounds(&store, 0..ROUNDS - 1).await;
    let damaged = segment(&store, Signal::Logs);
    let data = dir.path().join(damaged.meta().path()).join("data.parquet");
    let mut bytes = std::fs::read(&data).expect("readable");
    bytes[100] ^= 1;
    std::fs::write(&data, bytes).expect("written");
    for seal in 0..2 {
        let logs = vec![log("after the damage", 1, "ORD-9", seal), log("no trace", 0, "", seal)];
        append_logs(&store, logs).await;
        store.seal().await.expect("sealed");
    }
    let error = store.compact().await.expect_err("damaged");
    assert_eq!(error.kind(), crate::ErrorKind::Damaged, "{error}");
    let logs = || segments(&store).into_iter().filter(|segment| segment.signal() == Signal::Logs);
    let names: Vec<_> = logs().map(|segment| segment.meta().name.clone()).collect();
    assert_eq!(names.len(), 2, "the others are one: {names:?}");
    assert!(names.contains(&damaged.meta().name));
    assert_eq!(folders(dir.path(), Signal::Logs).len(), 2, "nothing is left of what was begun");
    assert_eq!(found(&store.snapshot(), Signal::Logs, "order_id=ORD-9").len(), 2);
}

#[tokio::test]
async fn a_row_group_that_went_bad_is_not_copied_and_nothing_is_left_of_the_copy() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    joined(&store).await;
    let copied = segment(&store, Signal::Logs);
    let data = dir.path().join(copied.meta().path()).join("data.parquet");
    let mut bytes = std::fs::read(&data).expect("readable");
    bytes[100] ^= 1;
    std::fs::write(&data, bytes).expect("written");
    let meta = SegmentMeta::named(Signal::Logs, 9, copied.meta().sequences, store.shared().next_number());
    let mut writer = SegmentWriter::create(&store.shared().folder, meta, copied.layout(), 1).expect("begun");
    let error = writer.append(&copied, &|| Ok(())).expect_err("damaged");
    assert_eq!(error.kind(), crate::ErrorKind::Damaged, "compaction goes on without it: {error}");
    drop(writer);
    assert_eq!(folders(dir.path(), Signal::Logs).len(), 1, "nothing is left of what was written");
}
