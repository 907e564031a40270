//! Budgets: replay seals instead of holding the log, a full disk refuses and answers, and it ends alone.

use std::process::Command;

use super::*;

#[tokio::test]
async fn replay_seals_when_the_head_is_full_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    for number in 0..20 {
        append(&store, &format!("row {number:02}"), Some(1), "ORD-1", number).await;
    }
    drop(store);
    let small = Settings { seal_rows: 3, ..Settings::new(dir.path()) };
    let store = Store::open(small, Arc::new(IdRules::default()), ManualClock::at(NOW)).await.expect("opens");
    let stats = store.stats();
    assert!(stats.seals >= 6, "{stats:?}");
    assert!(stats.head_rows < 3, "{stats:?}");
    assert_eq!(scanned(&store, TimeRange::ALL).len(), 20);
    drop(store);
    assert_eq!(scanned(&*open(dir.path()).await, TimeRange::ALL).len(), 20, "nothing is replayed twice");
}

/// Whether an append was taken; refusals are retryable.
async fn try_append(store: &Store, body: &str) -> bool {
    let mut writer = LogsWriter::new([("service.name", "billing")]);
    writer.push(&LogRecordParts { time: NOW, body, ..LogRecordParts::default() }, []);
    let payload = Bytes::from(writer.finish());
    let batch = store.decode(Signal::Logs, &payload, NOW).expect("decodable");
    let frame = Frame { signal: Signal::Logs, compression: Compression::Identity, received_at: NOW, payload };
    match store.append(frame, batch).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
            false
        }
    }
}

#[tokio::test]
async fn below_its_mark_the_disk_refuses_appends_and_answers_queries() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append(&store, "one", Some(1), "ORD-1", 0).await;
    drop(store);
    let settings = Settings { disk_free_bytes_min: Some(u64::MAX), ..Settings::new(dir.path()) };
    let store =
        Store::open(settings, Arc::new(IdRules::default()), ManualClock::at(NOW)).await.expect("opens");
    assert!(store.stats().is_disk_low);
    assert!(!store.is_ready());
    assert!(!try_append(&store, "two").await);
    assert_eq!(scanned(&store, TimeRange::ALL), ["one"]);
}

#[tokio::test]
async fn appends_go_on_while_queries_hold_all_they_may_and_what_is_found_by_id_counts() {
    let dir = tempfile::tempdir().expect("a folder");
    let budget = 8 << 20;
    let settings = Settings { memory_bytes_max: budget, ..Settings::new(dir.path()) };
    let store =
        Store::open(settings, Arc::new(IdRules::default()), ManualClock::at(NOW)).await.expect("opens");
    append(&store, "one", Some(1), "ORD-1", 0).await;
    store.seal().await.expect("sealed");
    append(&store, "two", Some(1), "ORD-1", 1).await;

    let query = store.snapshot();
    let terms = ["order_id=ORD-1".to_owned()];
    let look = |snapshot: &Snapshot| {
        let mut stats = ScanStats::default();
        bodies(&snapshot.lookup(Signal::Logs, &TimeRange::ALL, &terms, &mut stats).expect("readable"))
    };
    assert_eq!(look(&query).len(), 2);
    assert!(store.stats().query_bytes > 0, "the rows that were found are held");
    drop(query);
    assert_eq!(store.stats().query_bytes, 0);

    let others = store.memory().reserve();
    others.grow(store.memory().free()).expect("all there is");
    let query = store.snapshot();
    assert!(look(&query).is_empty());
    assert!(query.held().refusal().is_some());
    assert_eq!(store.stats().queries_out_of_memory, 1);

    assert!(store.memory_free() >= budget / 8, "there is room for requests");
    for number in 0..50 {
        assert!(try_append(&store, &format!("row {number}")).await);
    }
    assert!(store.memory_free() >= budget / 8, "also while the head grows");
    drop(others);
    assert_eq!(look(&store.snapshot()).len(), 2);
}

/// A tmpfs that is unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a folder");
        let options = format!("size={size}");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(dir))
    }

    /// Takes what is free, but for nothing. What the disk says of the last byte.
    fn fill(&self) -> std::io::ErrorKind {
        let path = self.0.path().join("filler");
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("opens");
        let mut write_all = |block: usize| loop {
            if let Err(error) = std::io::Write::write(&mut file, &vec![1; block]) {
                return error.kind();
            }
        };
        [1 << 20, 4_096, 1].map(&mut write_all)[2]
    }

    fn free(&self) {
        std::fs::remove_file(self.0.path().join("filler")).expect("removes");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // When it fails, the temporary folder stays: nothing that a test can mend.
        drop(Command::new("umount").arg("-l").arg(self.0.path()).output());
    }
}

/// A body of its own that no compression makes small.
fn noise(name: &str) -> String {
    let mut dice = disk::sim::Dice(name.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte)));
    let mut body = name.to_owned();
    (0..12_000).for_each(|_| body.push_str(&format!("{:x}", dice.roll())));
    body
}

/// The names of the bodies that are to be seen.
fn names(store: &Store) -> Vec<String> {
    let all = scanned(store, TimeRange::ALL);
    all.iter().map(|body| body.split_once(' ').map_or("", |(name, _)| name).to_owned()).collect()
}

#[tokio::test]
async fn a_64_mib_disk_is_filled_and_freed_and_every_cycle_ends_with_all_that_was_acknowledged() {
    let Some(disk) = SmallDisk::mount("64m") else {
        eprintln!("skipped: mounting a tmpfs needs root");
        return;
    };
    let dir = disk.0.path().join("data");
    let settings = || Settings { wal_segment_bytes: 1 << 20, ..Settings::new(&dir) };
    let start = async || {
        Store::open(settings(), Arc::new(IdRules::default()), ManualClock::at(NOW)).await.expect("starts")
    };
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..6 {
        let store = start().await;
        assert_eq!(names(&store), acknowledged, "round {round}");
        for number in 0..5 {
            let name = format!("{round}-{number}");
            assert!(try_append(&store, &noise(&format!("{name} "))).await, "round {round}: there is room");
            acknowledged.push(name);
        }
        if round % 2 == 0 {
            store.seal().await.expect("sealed");
        }
        assert_eq!(disk.fill(), std::io::ErrorKind::StorageFull, "round {round}");
        store.look_around().await;
        assert!(store.stats().is_disk_low, "round {round}: {:?}", store.stats());
        assert!(!try_append(&store, "refused ").await, "round {round}: the disk is full");
        assert_eq!(names(&store), acknowledged);
        drop(store);

        let store = start().await;
        assert!(!store.is_ready(), "round {round}");
        assert_eq!(names(&store), acknowledged, "a full disk is read");
        assert!(!try_append(&store, "refused ").await);
        disk.free();
        store.look_around().await;
        let name = format!("{round}-after");
        assert!(try_append(&store, &noise(&format!("{name} "))).await, "round {round}: it goes on alone");
        acknowledged.push(name);
        drop(store);
    }
}
