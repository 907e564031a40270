//! Points are found by the traces that their exemplars name, in head and segments.

use model::{Signal, TimeRange};

use crate::rows::PointRows;
use crate::testing::{SECOND, append, found, lines, open, points_of_trace};
use crate::{ScanStats, Store};

fn trace(number: u8) -> String {
    format!("trace_id={}", format!("{number:02x}").repeat(16))
}

/// Value and order of the exemplars of a trace.
fn exemplars(store: &Store, number: u8) -> Vec<(f64, String)> {
    let (snapshot, mut stats) = (store.snapshot(), ScanStats::default());
    let rows = snapshot.lookup(Signal::Metrics, &TimeRange::ALL, &[trace(number)], &mut stats);
    let mut exemplars = Vec::new();
    for batch in rows.expect("readable") {
        let points = PointRows::new(&batch);
        for exemplar in (0..points.len()).flat_map(|row| points.exemplars(row)) {
            let (key, order) = exemplar.attributes[0];
            assert_eq!(key, "order_id");
            exemplars.push((exemplar.value, order.to_owned()));
        }
    }
    exemplars
}

#[tokio::test]
async fn exemplars_are_found_by_trace_in_the_head_in_segments_and_after_a_merge() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    let expected = vec![(0.25, "ORD-1".to_owned())];
    for number in 1..=2 {
        let time = i64::from(number) * SECOND;
        append(&store, Signal::Metrics, &points_of_trace(number, time, 0.25)).await;
        assert_eq!(exemplars(&store, number), expected, "in the head");
        store.seal().await.expect("seals");
        assert_eq!(exemplars(&store, number), expected, "in a segment");
    }
    store.compact().await.expect("merges");
    assert_eq!(store.stats().segments, 1);
    assert_eq!((exemplars(&store, 1), exemplars(&store, 2)), (expected.clone(), expected));
    assert_eq!(exemplars(&store, 3), []);
    assert_eq!(found(&store.snapshot(), Signal::Metrics, &trace(1)), ["load 1000000000 0.5"]);
}

#[tokio::test]
async fn deleting_a_trace_leaves_the_points_whose_exemplars_name_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append(&store, Signal::Metrics, &points_of_trace(1, 0, 0.25)).await;
    store.seal().await.expect("seals");
    append(&store, Signal::Metrics, &points_of_trace(1, SECOND, 0.5)).await;
    store.delete(&trace(1)).await.expect("deletes");
    assert_eq!(lines(&store.snapshot(), Signal::Metrics).len(), 4);
}
