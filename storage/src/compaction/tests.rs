//! Merging segments as the store's callers see it: nothing lost, nothing doubled, at any step.

mod join;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use model::{Clock as _, Signal};
use proptest::prelude::*;

use super::*;
use crate::Settings;
use crate::testing::*;

/// Two seals of spans, logs and points, some of them twice.
async fn fill(store: &Arc<Store>) {
    append_spans(store, vec![span(1, 1, 0, false), span(2, 2, 5, false)]).await;
    append_logs(store, vec![log("one", 1, "ORD-1", 0), log("alike", 0, "", 7), log("alike", 0, "", 7)]).await;
    append_points(store, &[("up", 0, 1.0), ("up", 10, 2.0)]).await;
    store.seal().await.expect("sealed");
    append_spans(store, vec![span(1, 1, 0, false), span(1, 3, 9, true)]).await;
    append_logs(store, vec![log("alike", 0, "", 7), log("two", 1, "ORD-2", 3)]).await;
    append_points(store, &[("up", 10, 3.0), ("up", 20, 4.0)]).await;
    store.seal().await.expect("sealed");
}

const SPANS: [&str; 3] = ["01 span 1", "01 span 3", "02 span 2"];
const LOGS: [&str; 5] = ["alike", "alike", "alike", "one", "two"];
const POINTS: [&str; 3] = ["up 0 1", "up 10 3", "up 20 4"];

fn check_merged(store: &Store) {
    let snapshot = store.snapshot();
    assert_eq!(lines(&snapshot, Signal::Traces), SPANS);
    assert_eq!(lines(&snapshot, Signal::Logs), LOGS);
    assert_eq!(lines(&snapshot, Signal::Metrics), POINTS);
    assert_eq!(found(&snapshot, Signal::Logs, "order_id=ORD-2"), ["one", "two"], "one group now");
    assert_eq!(found(&snapshot, Signal::Traces, &format!("trace_id={}", "01".repeat(16))), SPANS[..2]);
}

#[tokio::test]
async fn a_repeated_span_and_a_repeated_point_become_one_and_log_records_that_look_alike_stay() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store).await;
    store.compact().await.expect("merged");
    check_merged(&store);
    assert_eq!(store.stats().segments, 3);
    assert_eq!(folders(dir.path(), Signal::Logs).len(), 1, "the inputs are gone from the disk");
    drop(store);
    check_merged(&*open(dir.path()).await);
}

#[tokio::test]
async fn texts_that_many_rows_have_are_numbers_in_the_file_after_a_merge_as_before() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store).await;
    let numbered = || -> Vec<bool> {
        let segments = store.shared().state().segments.clone();
        segments.iter().map(|segment| segment.numbered_columns().contains_key("service")).collect()
    };
    assert_eq!(numbered(), [true; 6]);
    store.compact().await.expect("merged");
    assert_eq!(numbered(), [true; 3]);
    check_merged(&store);
}

#[tokio::test]
async fn a_snapshot_taken_before_a_merge_reads_its_files_until_it_is_dropped() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store).await;
    let before = store.snapshot();
    store.compact().await.expect("merged");
    assert_eq!(lines(&before, Signal::Logs), LOGS);
    assert_eq!(folders(dir.path(), Signal::Logs).len(), 3, "two inputs and the output");
    drop(before);
    assert_eq!(folders(dir.path(), Signal::Logs).len(), 1);
}

#[tokio::test]
async fn rows_of_different_hours_are_never_merged() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    for number in 0..4 {
        append_logs(&store, vec![log("now", 0, "", number), log("before", 0, "", number - HOUR)]).await;
        store.seal().await.expect("sealed");
    }
    store.compact().await.expect("merged");
    assert_eq!(folders(dir.path(), Signal::Logs).len(), 2);
    let range = model::TimeRange { from: NOW, to: NOW.plus(10) };
    let mut stats = crate::ScanStats::default();
    let mut visit = |_: &arrow::array::RecordBatch| std::ops::ControlFlow::Continue(());
    store
        .snapshot()
        .scan(Signal::Logs, &range, &[], crate::ScanOrder::Any, &mut stats, &mut visit)
        .expect("readable");
    assert_eq!((stats.segments_read, stats.segments_pruned), (1, 1));
}

#[tokio::test]
async fn a_rare_word_in_merged_segments_is_found_without_reading_every_row() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    for seal in 0..2 {
        let body = |row| if row == 700 + seal { "a Needle, here".to_owned() } else { format!("hay {row}") };
        let logs = (0..1_000).map(|row| log(&body(row), 0, "", row)).collect();
        append_logs(&store, logs).await;
        store.seal().await.expect("sealed");
    }
    let found = |hint: &str| {
        let (mut found, mut stats) = (0, crate::ScanStats::default());
        let mut visit = |rows: &crate::TextRows<'_>| {
            let whole = crate::rows::completed(Signal::Logs, rows.rows);
            let whole = crate::rows::LogRows::new(&whole);
            let is_found = |row: &usize| rows.is_sure || whole.body(*row).contains("Needle");
            found += (0..whole.len()).filter(is_found).count();
            std::ops::ControlFlow::Continue(())
        };
        let hint = crate::TextHint::default().and(hint);
        let (signal, range) = (Signal::Logs, &model::TimeRange::ALL);
        let wanted = crate::TextSearch { signal, range, hint: &hint, columns: &[] };
        store.snapshot().search(&wanted, &mut stats, &mut visit).expect("readable");
        (found, stats.rows_scanned)
    };
    assert_eq!(found("needle"), (2, 2_000), "level 0 is scanned");
    store.compact().await.expect("merged");
    let (matching, scanned) = found("EEDLE, h");
    assert_eq!((matching, scanned), (2, 2));
    assert_eq!(found("nowhere"), (0, 0));
}

/// The merge of all log segments, one step after the other.
async fn written(
    store: &Arc<Store>,
) -> (Vec<Arc<crate::segment::reader::Segment>>, Option<Arc<crate::segment::reader::Segment>>) {
    let merge = next(store.shared(), false).expect("something to merge");
    let rewrite = rewrite_of(store.shared(), &merge).expect("live");
    let inputs = rewrite.inputs.clone();
    (inputs, maintenance::write(store, rewrite).await.expect("written"))
}

#[tokio::test]
async fn a_crash_between_writing_and_committing_a_merge_changes_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append_logs(&store, vec![log("one", 1, "ORD-1", 0)]).await;
    store.seal().await.expect("sealed");
    append_logs(&store, vec![log("two", 1, "ORD-1", 1)]).await;
    store.seal().await.expect("sealed");
    let (inputs, output) = written(&store).await;
    assert!(output.is_some());
    drop((inputs, output, store));
    let before = folders(dir.path(), Signal::Logs).len();
    let store = open(dir.path()).await;
    assert_eq!(lines(&store.snapshot(), Signal::Logs), ["one", "two"]);
    assert_eq!((before, folders(dir.path(), Signal::Logs).len()), (3, 2), "the output is swept");
}

#[tokio::test]
async fn a_crash_between_committing_a_merge_and_removing_its_inputs_doubles_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append_logs(&store, vec![log("one", 1, "ORD-1", 0)]).await;
    store.seal().await.expect("sealed");
    append_logs(&store, vec![log("two", 1, "ORD-1", 1)]).await;
    store.seal().await.expect("sealed");
    let (inputs, output) = written(&store).await;
    let metas: Vec<_> = inputs.iter().map(|input| input.meta().clone()).collect();
    let new = [output.as_ref().expect("rows are left").meta().clone()];
    store.shared().catalog.replace(&metas, &new).await.expect("committed");
    drop((inputs, output, store));
    let store = open(dir.path()).await;
    assert_eq!(lines(&store.snapshot(), Signal::Logs), ["one", "two"]);
    assert_eq!(folders(dir.path(), Signal::Logs).len(), 1, "the inputs are swept");
}

#[tokio::test]
async fn an_input_that_went_bad_stops_its_merge_and_stays() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append_logs(&store, vec![log("one", 1, "ORD-1", 0)]).await;
    store.seal().await.expect("sealed");
    append_logs(&store, vec![log("two", 1, "ORD-1", 1)]).await;
    store.seal().await.expect("sealed");
    let name = &folders(dir.path(), Signal::Logs)[0];
    let file = dir.path().join("segments/logs").join(name).join("data.parquet");
    let mut bytes = std::fs::read(&file).expect("readable");
    bytes[4..600].fill(0xff);
    std::fs::write(&file, bytes).expect("written");
    let error = store.compact().await.expect_err("an input cannot be read");
    assert_eq!(error.kind(), crate::ErrorKind::Damaged, "{error}");
    assert_eq!(folders(dir.path(), Signal::Logs).len(), 2, "nothing half written stays");
}

#[tokio::test]
async fn segments_beside_one_that_went_bad_are_merged_and_points_not_past_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    for at in 0..5 {
        append_logs(&store, vec![log(&format!("line {at}"), 1, "ORD-1", at)]).await;
        append_points(&store, &[("up", at, 1.0)]).await;
        store.seal().await.expect("sealed");
    }
    for signal in [Signal::Logs, Signal::Metrics] {
        // The third of five.
        let name = &folders(dir.path(), signal)[2];
        let file = dir.path().join("segments").join(signal.table()).join(name).join("data.parquet");
        let mut bytes = std::fs::read(&file).expect("readable");
        bytes[4..600].fill(0xff);
        std::fs::write(&file, bytes).expect("written");
    }
    let error = store.compact().await.expect_err("an input cannot be read");
    assert_eq!(error.kind(), crate::ErrorKind::Damaged, "{error}");
    assert_eq!(folders(dir.path(), Signal::Logs).len(), 2, "the bad one, and one of the four others");
    assert_eq!(folders(dir.path(), Signal::Metrics).len(), 3, "two before it, two behind it");
    store.compact().await.expect("the bad ones are left alone");
    append_logs(&store, vec![log("another", 1, "ORD-1", 9)]).await;
    assert!(store.stats().merges >= 3);
}

#[tokio::test]
async fn what_stands_before_all_others_goes_through_a_merge_as_it_is_and_repeated_rows_are_found_all_the_same()
 {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    const TWENTY_MILLIS: i64 = SECOND / 50;
    let spans = |rows: std::ops::Range<i64>| {
        rows.map(|row| {
            let mut span = span((row / 700 % 200 + 1) as u8, 1, row * TWENTY_MILLIS, false);
            span.span_id = (row + 1).to_be_bytes().to_vec();
            span
        })
        .collect::<Vec<_>>()
    };
    // One after the other, with a hundred rows of both; one more within a seal, and one at the end of a batch that is read.
    let seals = [spans(0..9_000), spans(8_900..12_000), spans(20_000..25_000)];
    for (at, mut seal) in seals.into_iter().enumerate() {
        seal.push(seal[[3_000, 10, 4_095][at]].clone());
        append_spans(&store, seal).await;
        store.seal().await.expect("sealed");
    }
    let inputs = store.shared().state().segments.iter().map(|segment| segment.meta().clone()).collect();
    let rewrite = rewrite_of(store.shared(), &Merge { inputs }).expect("live");
    maintenance::rewrite(&store, rewrite).await.expect("merged");
    let snapshot = store.snapshot();
    let mut times = Vec::new();
    let mut visit = |rows: &arrow::array::RecordBatch| {
        let rows = crate::rows::SpanRows::new(rows);
        times.extend((0..rows.len()).map(|row| rows.start_time(row).since(NOW) / TWENTY_MILLIS));
        ControlFlow::Continue(())
    };
    let (range, order) = (model::TimeRange::ALL, crate::ScanOrder::Any);
    let mut stats = crate::ScanStats::default();
    snapshot.scan(Signal::Traces, &range, &[], order, &mut stats, &mut visit).expect("readable");
    times.sort_unstable();
    assert!(times.into_iter().eq((0..12_000).chain(20_000..25_000)));
}

/// What a reader takes the points for: of two of one series at one time the one it reads later.
fn points_as_read(store: &Store) -> BTreeMap<(String, i64), String> {
    let mut read = BTreeMap::new();
    let mut visit = |rows: &arrow::array::RecordBatch| {
        let rows = crate::rows::PointRows::new(rows);
        for row in 0..rows.len() {
            let key = (rows.name(row).to_owned(), rows.time(row).since(NOW));
            read.insert(key, rows.value(row).to_string());
        }
        ControlFlow::Continue(())
    };
    let mut stats = crate::ScanStats::default();
    store
        .snapshot()
        .scan(Signal::Metrics, &model::TimeRange::ALL, &[], crate::ScanOrder::Any, &mut stats, &mut visit)
        .expect("readable");
    read
}

/// Points of one seal: series, time, and how many others there are besides.
type SealedPoints = (Vec<(u8, i64)>, usize);

async fn check_last_point_wins(seals: &[SealedPoints], merges: &[u8]) {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = model::ManualClock::at(NOW);
    let store = open_with(settings(dir.path()), Arc::clone(&clock)).await;
    let mut expected = BTreeMap::new();
    let mut value = 0.0;
    for (number, (points, others)) in seals.iter().enumerate() {
        let others = (0..*others).map(|at| ("other".to_owned(), (number * 1_000 + at) as i64));
        let points = points.iter().map(|(series, time)| (format!("series{series}"), *time)).chain(others);
        let mut sent = Vec::new();
        for (name, time) in points {
            value += 1.0;
            expected.insert((name.clone(), time), value.to_string());
            sent.push((name, time, value));
        }
        let sent: Vec<(&str, i64, f64)> =
            sent.iter().map(|(name, time, value)| (name.as_str(), *time, *value)).collect();
        append_points(&store, &sent).await;
        store.seal().await.expect("sealed");
        // The window is open, or has ended: the planner goes by size or takes all.
        let merge = merges[number % merges.len()];
        let at = if merge == 2 { NOW.plus(2 * HOUR) } else { NOW };
        clock.jump(at.since(clock.now()));
        if merge > 0 {
            store.compact().await.expect("merged");
        }
        assert_eq!(points_as_read(&store), expected, "after seal {number}");
    }
    clock.jump(NOW.plus(2 * HOUR).since(clock.now()));
    store.compact().await.expect("merged");
    assert_eq!(points_as_read(&store), expected);
    drop(store);
    assert_eq!(points_as_read(&*open(dir.path()).await), expected, "opened again");
}

#[tokio::test]
async fn a_small_older_segment_does_not_win_by_being_merged_with_a_small_newer_one_first() {
    let same = vec![(1, 5)];
    let seals = [(same.clone(), 3), (same.clone(), 400), (same.clone(), 3), (same, 2)];
    check_last_point_wins(&seals, &[2]).await;
    check_last_point_wins(&seals, &[1]).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_point_acknowledged_last_wins_whatever_is_merged_when(
        seals in prop::collection::vec(
            (prop::collection::vec((0..3_u8, 0..3_i64), 1..6), prop_oneof![0..3_usize, 20..200_usize]),
            1..8,
        ),
        merges in prop::collection::vec(0..3_u8, 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(check_last_point_wins(&seals, &merges));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever is sent, in whatever order, sealed whenever: merging shows what a naive list shows.
    #[test]
    fn merging_is_the_same_as_a_list_without_repeated_spans(
        seals in prop::collection::vec(
            prop::collection::vec((1..4_u8, 1..5_u8, 0..3_i64), 1..20),
            1..6,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let dir = tempfile::tempdir().expect("a folder");
            let store = open(dir.path()).await;
            let mut expected = std::collections::BTreeSet::new();
            for spans in &seals {
                let sent = spans.iter().map(|(trace, id, minute)| span(*trace, *id, minute * 60 * SECOND, false));
                append_spans(&store, sent.collect()).await;
                expected.extend(spans.iter().copied());
                store.seal().await.expect("sealed");
            }
            let inputs: Vec<_> =
                store.shared().state().segments.iter().map(|segment| segment.meta().clone()).collect();
            let rewrite = rewrite_of(store.shared(), &Merge { inputs }).expect("live");
            maintenance::rewrite(&store, rewrite).await.expect("merged");
            assert_eq!(lines(&store.snapshot(), Signal::Traces).len(), expected.len());
            for trace in 1..4_u8 {
                let term = format!("trace_id={}", format!("{trace:02x}").repeat(16));
                let found = found(&store.snapshot(), Signal::Traces, &term);
                assert_eq!(found.len(), expected.iter().filter(|(of, ..)| *of == trace).count());
            }
        });
    }
}

#[tokio::test]
async fn without_a_text_index_searches_read_the_rows_and_with_it_again_merges_write_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let indexed = || {
        let signals = [Signal::Traces, Signal::Logs];
        let of = |signal| folders(dir.path(), signal).into_iter().map(move |name| (signal, name));
        let folders = signals.into_iter().flat_map(of);
        folders
            .filter(|(signal, name)| {
                dir.path().join("segments").join(signal.table()).join(name).join("text").is_dir()
            })
            .count()
    };
    for text_index in [false, true] {
        let settings = Settings { text_index, ..settings(dir.path()) };
        let store = open_with(settings, model::ManualClock::at(NOW)).await;
        for seal in 0..2 {
            append_logs(&store, vec![log("a needle", 1, "ORD-1", seal), log("hay", 0, "", seal)]).await;
            append_spans(&store, vec![span(1, 1 + seal as u8 + 2 * u8::from(text_index), seal, false)]).await;
            store.seal().await.expect("sealed");
        }
        store.compact().await.expect("merged");
        assert_eq!(indexed(), if text_index { 2 } else { 0 });
        let found = with_text(&store, "needle");
        assert_eq!(found, if text_index { 4 } else { 2 });
        store.close().await.expect("closed");
    }
}
