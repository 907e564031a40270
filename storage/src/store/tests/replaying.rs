//! A store whose log is still being replayed: it answers, says that rows are missing, and asks senders to come again.

use std::sync::mpsc;

use super::*;
use crate::shadow::{ShadowFs, memory_dir};
use crate::testing::{append_logs, frame, lines, log, logs_request, settings};

/// A store with a row in a segment and `rows` in the log, closed by a kill.
async fn filled(dir: &std::path::Path, rows: usize) {
    let store = crate::testing::open(dir).await;
    append_logs(&store, vec![log("sealed", 1, "ORD-1", 0)]).await;
    store.seal().await.expect("sealed");
    for number in 0..rows {
        append_logs(&store, vec![log(&format!("row {number:04}"), 1, "ORD-1", 0)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_log_is_replayed_queries_are_answered_and_say_so_and_senders_are_asked_to_wait() {
    let dir = memory_dir();
    filled(dir.path(), 20).await;
    let fs = ShadowFs::of(dir.path());
    // Reading the log waits for this test.
    let (go_on, wait) = mpsc::sync_channel::<()>(0);
    let wait = Mutex::new(wait);
    fs.observe(Some(Arc::new(move || {
        let is_replay = std::thread::current().name().is_some_and(|name| name.starts_with("tokio"));
        if is_replay {
            // The sender is gone: nothing waits any more.
            let _ = wait.lock().expect("no panic in it").recv();
        }
    })));
    let (ids, clock) = (Arc::new(IdRules::default()), ManualClock::at(crate::testing::NOW));
    // Looking for other versions reads the log too, before anything else is done.
    let beginning = tokio::spawn(Store::begin(Arc::new(fs.clone()), settings(dir.path()), ids, clock));
    let store = loop {
        if beginning.is_finished() {
            break beginning.await.expect("no panic").expect("opens");
        }
        // Lets one call pass, if one waits.
        let _ = go_on.try_send(());
        tokio::task::yield_now().await;
    };
    assert!(store.replay_progress().is_some() && !store.is_ready() && store.stats().is_replaying);
    let mut stats = ScanStats::default();
    let mut visit = |_: &arrow::array::RecordBatch| ControlFlow::Continue(());
    let snapshot = store.snapshot();
    let order = ScanOrder::Any;
    snapshot.scan(Signal::Logs, &TimeRange::ALL, &[], order, &mut stats, &mut visit).expect("readable");
    assert!(stats.is_replaying && snapshot.is_partial());
    assert!(lines(&snapshot, Signal::Logs).contains(&"sealed".to_owned()), "segments are read");

    let frame = frame(Signal::Logs, &logs_request(vec![log("new", 1, "", 0)]), crate::testing::NOW);
    let batch = store.decode(Signal::Logs, &frame.payload, frame.received_at).expect("decodable");
    let refused = store.append(frame, batch).await.expect_err("not yet");
    assert!(refused.to_string().contains("is being replayed"), "{refused}");
    for refused in [
        refused.kind(),
        store.delete("order_id=ORD-1").await.expect_err("not yet").kind(),
        store.seal().await.expect_err("not yet").kind(),
        store.hello(model::positions::AgentId([1; 16]), Vec::new()).await.expect_err("not yet").kind(),
    ] {
        assert_eq!(refused, ErrorKind::Retry);
    }

    drop(go_on);
    store.replayed().await.expect("replayed");
    assert!(store.is_ready() && store.replay_progress().is_none());
    assert_eq!(store.stats().wal_records_replayed, 20);
    let snapshot = store.snapshot();
    assert!(!snapshot.is_partial());
    assert_eq!(lines(&snapshot, Signal::Logs).len(), 21);
    append_logs(&store, vec![log("new", 1, "", 0)]).await;
}

#[tokio::test]
async fn a_store_that_is_dropped_or_closed_while_it_replays_loses_nothing() {
    let dir = memory_dir();
    filled(dir.path(), 300).await;
    let (ids, clock) = (Arc::new(IdRules::default()), ManualClock::at(crate::testing::NOW));
    for is_closed in [false, true] {
        let (ids, clock) = (Arc::clone(&ids), Arc::clone(&clock));
        let store = Store::open_at_once(settings(dir.path()), ids, clock).await.expect("opens");
        if is_closed {
            store.close().await.expect("closed");
        }
        drop(store);
    }
    let store = crate::testing::open(dir.path()).await;
    assert_eq!(lines(&store.snapshot(), Signal::Logs).len(), 301);
}
