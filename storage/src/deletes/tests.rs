//! What was deleted by id is not seen again, wherever it was.

use model::ManualClock;

use super::*;
use crate::Store;
use crate::testing::*;

/// ORD-1 in a segment and in the head, each time with a neighbour of the same trace.
async fn fill(store: &Arc<Store>) {
    append_logs(store, vec![log("one", 1, "ORD-1", 0), log("two", 1, "ORD-2", 1)]).await;
    append_spans(store, vec![span(1, 1, 0, false), span(2, 2, 0, false)]).await;
    store.seal().await.expect("sealed");
    append_logs(store, vec![log("three", 2, "ORD-1", 2), log("four", 2, "", 3)]).await;
}

fn logs(store: &Store) -> Vec<String> {
    lines(&store.snapshot(), Signal::Logs)
}

#[tokio::test]
async fn deleted_rows_are_hidden_at_once_everywhere_and_nothing_else_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store).await;
    let before = store.snapshot();
    let receipt = store.delete("order_id=ORD-1").await.expect("deleted");
    assert_eq!((receipt.id, receipt.log_records, receipt.spans, receipt.gone_at), (1, 2, 0, None));
    let snapshot = store.snapshot();
    assert_eq!(lines(&snapshot, Signal::Logs), ["four", "two"]);
    assert!(found(&snapshot, Signal::Logs, "order_id=ORD-2").contains(&"two".to_owned()));
    assert!(
        !found(&snapshot, Signal::Logs, "order_id=ORD-1").iter().any(|line| line == "one" || line == "three")
    );
    let (head, segments) = snapshot.row_counts(Signal::Logs);
    assert_eq!(head + segments, 2);
    for file in snapshot.segment_files(Signal::Logs) {
        let selection = file.expect("there").selection(&[]).expect("readable");
        assert!(selection.is_some(), "other engines are told");
    }
    assert_eq!(lines(&before, Signal::Logs).len(), 4, "an older snapshot stays as it is");
}

#[tokio::test]
async fn a_whole_trace_can_be_deleted() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store).await;
    let receipt = store.delete(&format!("trace_id={}", "01".repeat(16))).await.expect("deleted");
    assert_eq!((receipt.log_records, receipt.spans), (2, 1));
    assert_eq!(logs(&store), ["four", "three"]);
    assert_eq!(lines(&store.snapshot(), Signal::Traces), ["02 span 2"]);
}

#[tokio::test]
async fn deleted_rows_do_not_come_back_after_a_restart_and_later_ones_are_not_touched() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store).await;
    store.delete("order_id=ORD-1").await.expect("deleted");
    append_logs(&store, vec![log("late", 3, "ORD-1", 4)]).await;
    assert_eq!(logs(&store), ["four", "late", "two"]);
    drop(store);
    let store = open(dir.path()).await;
    assert_eq!(logs(&store), ["four", "late", "two"], "neither the wal nor the segment brings them back");
    store.seal().await.expect("sealed");
    assert_eq!(logs(&store), ["four", "late", "two"]);
}

#[tokio::test]
async fn compaction_takes_the_bytes_away_and_the_receipt_says_when() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::at(NOW);
    let store = open_with(settings(dir.path()), Arc::clone(&clock)).await;
    fill(&store).await;
    store.delete("order_id=ORD-1").await.expect("deleted");
    assert_eq!(store.deletes().await.expect("readable")[0].gone_at, None, "the file still has them");
    store.seal().await.expect("sealed");
    clock.advance(std::time::Duration::from_secs(5));
    store.compact().await.expect("rewritten");
    let receipt = &store.deletes().await.expect("readable")[0];
    assert_eq!(receipt.gone_at, Some(NOW.plus(5 * SECOND)));
    assert_eq!((receipt.term.as_str(), receipt.log_records), ("order_id=ORD-1", 2));
    assert_eq!(logs(&store), ["four", "two"]);
    drop(store);
    let store = open(dir.path()).await;
    assert_eq!(logs(&store), ["four", "two"]);
    assert!(store.shared().state().tombstones.is_empty());
    assert_eq!(store.delete("order_id=ORD-2").await.expect("deleted").id, 2, "numbers go on");
}

#[tokio::test]
async fn a_segment_of_which_everything_is_deleted_goes() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append_logs(&store, vec![log("one", 1, "ORD-1", 0)]).await;
    store.seal().await.expect("sealed");
    store.delete("order_id=ORD-1").await.expect("deleted");
    store.compact().await.expect("rewritten");
    assert!(folders(dir.path(), Signal::Logs).is_empty());
    assert!(logs(&store).is_empty());
}

#[tokio::test]
async fn counting_changes_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    fill(&store).await;
    let counted = store.count_deletable("order_id=ORD-1").await.expect("counted");
    assert_eq!(counted.log_records, 2);
    assert_eq!(logs(&store).len(), 4);
    assert!(store.deletes().await.expect("readable").is_empty());
}

#[tokio::test]
async fn what_names_no_id_is_refused_with_the_nearest_kind() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    for (term, hint) in [
        ("ORD-1", "kind=value"),
        ("ordr_id=ORD-1", "did you mean `order_id`?"),
        ("link=0101", "there is no id kind `link`"),
        ("trace_id=xyz", "no trace id"),
    ] {
        let error = store.delete(term).await.expect_err(term);
        assert_eq!(error.kind(), ErrorKind::FixInput);
        assert!(error.to_string().contains(hint), "{error}");
    }
}
