//! Whatever happens to an index, answers stay, nothing panics, and it is counted.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::TimeRange;

use super::*;
use crate::index::Sought;
use crate::rows::{LogRows, completed};
use crate::testing::*;

/// Everything that indexes are asked for.
#[derive(Debug, PartialEq)]
struct Answers {
    groups: Vec<(Vec<Range<usize>>, usize)>,
    counts: Vec<usize>,
    /// How many values there are of a kind, and whether one was given.
    values: Vec<(u64, bool)>,
    with_text: usize,
}

fn terms(signal: Signal) -> Vec<String> {
    let mut terms: Vec<String> =
        (1..5_u8).map(|trace| format!("trace_id={}", format!("{trace:02x}").repeat(16))).collect();
    if signal == Signal::Logs {
        terms.extend((0..12).map(|order| format!("order_id={}", order_id(order))));
    }
    terms.push("order_id=nowhere".to_owned());
    terms
}

/// Short ones stand in the index as they are, long ones as hashes.
fn order_id(order: u8) -> String {
    if order.is_multiple_of(2) {
        format!("ORD-{order}")
    } else {
        format!("ORD-{order}-of-a-length-that-is-hashed")
    }
}

fn answers(segment: &Segment) -> Answers {
    let terms = terms(segment.signal());
    let groups = |term: &String| segment.groups_with(&[Sought::new(term)], 2).expect("readable");
    let mut with_text = 0;
    let hint = TextHint::default().and("needle");
    let mut visit = |rows: RecordBatch, is_sure: bool| {
        with_text += match segment.signal() {
            Signal::Logs => {
                let rows = completed(Signal::Logs, &rows);
                let rows = LogRows::new(&rows);
                (0..rows.len()).filter(|row| is_sure || rows.body(*row).contains("needle")).count()
            }
            _ => rows.num_rows(),
        };
        Ok(ControlFlow::Continue(()))
    };
    let flow = segment.search(&TimeRange::ALL, &[], &hint, &mut visit).expect("readable");
    assert_eq!(flow, ControlFlow::Continue(()));
    Answers {
        groups: terms.iter().map(groups).collect(),
        counts: terms
            .iter()
            .map(|term| segment.count_groups(&Sought::new(term)).expect("readable"))
            .collect(),
        values: ["order_id", "session_id"].iter().map(|kind| values(segment, kind)).collect(),
        with_text: if segment.signal() == Signal::Logs { with_text } else { 0 },
    }
}

/// Which value stands for the others is not promised.
fn values(segment: &Segment, kind: &str) -> (u64, bool) {
    let (values, example) = segment.values(kind).expect("readable");
    assert!(example.iter().all(|term| terms(segment.signal()).contains(term)), "{example:?}");
    (values, example.is_some())
}

/// A segment of spans and one of logs that compaction has written.
async fn segments(dir: &Path) -> Vec<Arc<Segment>> {
    let store = open(dir).await;
    for seal in 0..2_u8 {
        let spans = (0..20).map(|at| span(1 + at % 4, 1 + at + 20 * seal, i64::from(at), false)).collect();
        append_spans(&store, spans).await;
        let body = |at| if at == 7 { "a needle, here".to_owned() } else { format!("hay {at}") };
        let logs = (0..20).map(|at| log(&body(at), at % 5, &order_id(at % 12), i64::from(at))).collect();
        append_logs(&store, logs).await;
        store.seal().await.expect("sealed");
    }
    store.compact().await.expect("merged");
    let state = store.shared().state();
    state.segments.clone()
}

fn index_files(dir: &Path, segment: &Segment) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for index in ["ids", "text"] {
        let entries = std::fs::read_dir(dir.join(segment.meta().path()).join(index)).expect("an index");
        files.extend(entries.map(|entry| entry.expect("readable").path()));
    }
    files.retain(|file| file.extension().is_none_or(|extension| extension != "lock"));
    files.retain(|file| !file.ends_with(".managed.json"));
    files.sort();
    files
}

/// One of many bytes is hit.
const STRIDE: usize = 23;

#[tokio::test]
async fn answers_are_the_same_whatever_bit_of_an_index_is_flipped_and_the_damage_is_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    for sound in segments(dir.path()).await {
        let expected = answers(&sound);
        assert_eq!(sound.damaged_indexes(), 0);
        assert!(expected.counts.iter().filter(|count| **count > 0).count() >= 4, "{expected:?}");
        for file in index_files(dir.path(), &sound) {
            let bytes = std::fs::read(&file).expect("readable");
            for at in (0..bytes.len()).step_by(STRIDE) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << (at % 8);
                std::fs::write(&file, damaged).expect("written");
                let segment = Segment::open(dir.path(), sound.meta().clone()).expect("opens");
                let case = format!("byte {at} of `{}`", file.display());
                assert_eq!(answers(&segment), expected, "{case}");
                assert_eq!(segment.damaged_indexes(), 1, "{case}");
            }
            std::fs::write(&file, &bytes).expect("written");
        }
    }
}

#[tokio::test]
async fn an_index_whose_files_are_cut_or_gone_is_done_without() {
    let dir = tempfile::tempdir().expect("a folder");
    for sound in segments(dir.path()).await {
        let expected = answers(&sound);
        for file in index_files(dir.path(), &sound) {
            let bytes = std::fs::read(&file).expect("readable");
            for left in [0, 1, bytes.len() / 2, bytes.len() - 1] {
                std::fs::write(&file, &bytes[..left]).expect("written");
                let segment = Segment::open(dir.path(), sound.meta().clone()).expect("opens");
                assert_eq!(answers(&segment), expected, "{left} bytes of `{}`", file.display());
                assert_eq!(segment.damaged_indexes(), 1, "{left} bytes of `{}`", file.display());
            }
            std::fs::remove_file(&file).expect("removed");
            let segment = Segment::open(dir.path(), sound.meta().clone()).expect("opens");
            assert_eq!(answers(&segment), expected, "without `{}`", file.display());
            std::fs::write(&file, &bytes).expect("written");
        }
        std::fs::remove_dir_all(dir.path().join(sound.meta().path()).join("ids")).expect("removed");
        let segment = Segment::open(dir.path(), sound.meta().clone()).expect("opens");
        assert_eq!(answers(&segment), expected);
        assert_eq!(segment.damaged_indexes(), 1);
    }
}
