//! Every call of the file system fails once while a store is opened, filled, sealed, merged and closed: no panic,
//! nothing acknowledged is lost, what is refused can be sent again, and the store goes on by itself.
//!
//! tantivy writes by itself until its files are synced, and SQLite always: the catalog is made to fail apart.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::shadow::{ShadowFs, memory_dir};
use crate::testing::{append_logs, lines, log, logs_request, settings};
use disk::sim::Fault;

/// What is done; letters are appends of a record with this body.
const WORK: [&str; 15] =
    ["a", "b", "seal", "c", "d", "seal", "compact", "e", "delete", "f", "seal", "compact", "g", "close", "h"];

struct Run {
    dir: tempfile::TempDir,
    fs: ShadowFs,
    clock: Arc<ManualClock>,
    /// Bodies, and whether they were acknowledged.
    sent: BTreeMap<String, bool>,
    refused: u64,
}

impl Run {
    fn new() -> Self {
        let dir = memory_dir();
        let fs = ShadowFs::of(dir.path());
        let clock = ManualClock::at(crate::testing::NOW);
        Self { dir, fs, clock, sent: BTreeMap::new(), refused: 0 }
    }

    async fn open(&self) -> Result<Arc<Store>, Error> {
        let small =
            Settings { wal_segment_bytes: 1_024, disk_free_bytes_min: Some(0), ..settings(self.dir.path()) };
        let (ids, clock) = (Arc::new(IdRules::default()), Arc::clone(&self.clock));
        Store::open_on(Arc::new(self.fs.clone()), small, ids, clock).await
    }

    /// Does it; every error has to be one after which one tries again.
    async fn step(&mut self, store: &Arc<Store>, step: &str) {
        let result = match step {
            "seal" => store.seal().await,
            "compact" => store.compact().await,
            "delete" => store.delete("order_id=ORD-9").await.map(drop),
            body => {
                let record = log(body, 1, "ORD-1", 0);
                let frame =
                    crate::testing::frame(Signal::Logs, &logs_request(vec![record]), crate::testing::NOW);
                let batch = store.decode(Signal::Logs, &frame.payload, frame.received_at).expect("decodable");
                let result = store.append(frame, batch).await.map(drop);
                self.sent.insert(body.to_owned(), result.is_ok());
                result
            }
        };
        if let Err(error) = result {
            assert_eq!(error.kind(), ErrorKind::Retry, "{step}: {error}");
            self.refused += 1;
        }
    }

    fn check(&self, store: &Store, case: &str) {
        let found = lines(&store.snapshot(), Signal::Logs);
        for (body, is_acknowledged) in &self.sent {
            let count = found.iter().filter(|line| *line == body).count();
            let range = if *is_acknowledged { 1..=1 } else { 0..=1 };
            assert!(range.contains(&count), "{case}: `{body}` is there {count} times: {found:?}");
        }
    }

    async fn work(&mut self, case: &str) {
        let mut opened = self.open().await;
        if let Err(error) = &opened {
            assert_eq!(error.kind(), ErrorKind::Retry, "{case}: opening: {error}");
            self.refused += 1;
            opened = self.open().await;
        }
        let mut store = opened.unwrap_or_else(|error| panic!("{case}: one failure is over: {error}"));
        for step in WORK {
            if step == "close" {
                // It says so when it could not seal; the log holds everything.
                self.refused += u64::from(store.close().await.is_err());
                drop(store);
                store = match self.open().await {
                    Ok(store) => store,
                    Err(_) => self.open().await.unwrap_or_else(|error| panic!("{case}: {error}")),
                };
            } else {
                self.step(&store, step).await;
            }
            self.check(&store, case);
        }
        self.fs.heal();
        self.clock.advance(Duration::from_secs(2));
        self.step(&store, "after").await;
        assert!(self.sent["after"], "{case}: it goes on by itself");
        self.check(&store, case);
        drop(store);
        let store = self.open().await.expect("opens");
        self.check(&store, case);
        store.seal().await.expect("sealed");
        self.check(&store, case);
    }
}

#[tokio::test]
async fn every_call_of_the_file_system_fails_once_and_nothing_acknowledged_is_lost() {
    let mut clean = Run::new();
    clean.work("no fault").await;
    let operations = clean.fs.operations();
    assert!(operations > 200 && clean.refused == 0, "{operations} {}", clean.refused);
    let is_all = std::env::var("SILMARI_FAULTS").is_ok_and(|which| which == "all");
    let step = if is_all { 1 } else { 17 };
    let (mut runs, mut seen, mut refused) = (0, 0, 0);
    for fault in [Fault::Io, Fault::NoSpace, Fault::ShortWrite] {
        // Other calls for each fault.
        let first = if is_all { 0 } else { fault as u64 * 5 };
        for at in (first..operations).step_by(step as usize) {
            runs += 1;
            let mut run = Run::new();
            run.fs.fail(at, fault);
            run.work(&format!("{fault:?} of call {at}")).await;
            seen += run.fs.faults_seen();
            refused += run.refused;
        }
    }
    assert!(seen >= runs * 3 / 4 && refused >= runs / 8, "{runs} runs, {seen} faults, {refused} refusals");
}

#[tokio::test]
async fn a_catalog_that_cannot_be_written_refuses_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = crate::testing::open(dir.path()).await;
    append_logs(&store, vec![log("one", 1, "ORD-1", 0), log("four", 1, "ORD-4", 0)]).await;
    store.seal().await.expect("sealed");
    append_logs(&store, vec![log("two", 1, "ORD-2", 0)]).await;
    store.shared().catalog.set_read_only(true).await;
    let all = ["four", "one", "two"];
    for _ in 0..2 {
        assert_eq!(store.seal().await.expect_err("the catalog fails").kind(), ErrorKind::Retry);
        assert_eq!(lines(&store.snapshot(), Signal::Logs), all);
    }
    let refused = store.delete("order_id=ORD-1").await.expect_err("the catalog fails");
    assert_eq!(refused.kind(), ErrorKind::Retry);
    assert_eq!(crate::testing::folders(dir.path(), Signal::Logs).len(), 1, "nothing is left behind");
    append_logs(&store, vec![log("three", 1, "ORD-3", 0)]).await;

    store.shared().catalog.set_read_only(false).await;
    store.seal().await.expect("sealed");
    store.shared().catalog.set_read_only(true).await;
    assert_eq!(store.compact().await.expect_err("the catalog fails").kind(), ErrorKind::Retry);
    store.shared().catalog.set_read_only(false).await;
    store.compact().await.expect("merged");
    drop(store);
    let store = crate::testing::open(dir.path()).await;
    assert_eq!(lines(&store.snapshot(), Signal::Logs), ["four", "one", "three", "two"]);
}
