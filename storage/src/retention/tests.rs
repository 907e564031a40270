//! Rows that are too old leave, errors later.

use model::ManualClock;

use super::*;
use crate::Settings;
use crate::testing::*;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn keep() -> Keep {
    Keep { age: Some(DAY), errors_age: Some(10 * DAY), bytes_max: None }
}

async fn fill(store: &Arc<Store>) {
    append_spans(store, vec![span(1, 1, 0, false), span(1, 2, 1, true), span(2, 3, 2, false)]).await;
    append_logs(store, vec![log("an error", 0, "", 0), log("fine", 0, "", 1)]).await;
    append_points(store, &[("up", 0, 1.0)]).await;
    store.seal().await.expect("sealed");
    // The other half of trace 1, in another segment.
    append_spans(store, vec![span(1, 4, 3, false), span(3, 5, 4, false)]).await;
    store.seal().await.expect("sealed");
}

#[tokio::test]
async fn failed_traces_as_a_whole_and_error_logs_outlive_the_rest() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::at(NOW);
    let retention = Retention { traces: keep(), logs: keep(), metrics: keep() };
    let settings = Settings { retention, compaction_fan_in: 16, ..settings(dir.path()) };
    let store = open_with(settings, Arc::clone(&clock)).await;
    fill(&store).await;
    store.compact().await.expect("nothing to do");
    assert_eq!(lines(&store.snapshot(), Signal::Traces).len(), 5);

    clock.advance(DAY + Duration::from_secs(60));
    store.compact().await.expect("retained");
    let snapshot = store.snapshot();
    assert_eq!(lines(&snapshot, Signal::Traces), ["01 span 1", "01 span 2", "01 span 4"]);
    assert_eq!(lines(&snapshot, Signal::Logs), ["an error"]);
    assert!(lines(&snapshot, Signal::Metrics).is_empty());
    drop(snapshot);

    clock.advance(10 * DAY);
    store.compact().await.expect("retained");
    for signal in Signal::ALL {
        assert!(lines(&store.snapshot(), signal).is_empty());
        assert!(folders(dir.path(), signal).is_empty(), "the files are gone too");
    }
}

#[tokio::test]
async fn the_oldest_segments_make_room_when_there_are_too_many_bytes() {
    let dir = tempfile::tempdir().expect("a folder");
    let retention =
        Retention { logs: Keep { bytes_max: Some(1), ..Keep::default() }, ..Retention::default() };
    let store = open_with(Settings { retention, ..settings(dir.path()) }, ManualClock::at(NOW)).await;
    append_logs(&store, vec![log("old", 0, "", -HOUR)]).await;
    append_spans(&store, vec![span(1, 1, 0, false)]).await;
    store.seal().await.expect("sealed");
    store.compact().await.expect("retained");
    assert!(lines(&store.snapshot(), Signal::Logs).is_empty());
    assert_eq!(lines(&store.snapshot(), Signal::Traces).len(), 1);
}
