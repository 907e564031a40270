//! Whole data folders of every version that is read, kept in `storage/tests/golden/`: catalog, log and segments as one program
//! left them when it was killed. Whoever changes one of the formats without a way to read what there is, learns it here.
//!
//! A folder is named after the versions of catalog, log and segments. It is written anew, on purpose only, by
//! `cargo test --package storage --lib write_the_golden_folder -- --ignored`.

use std::path::PathBuf;

use model::positions::{AgentId, Range, StreamId};

use super::damage::copy;
use super::*;
use crate::catalog::CATALOG_VERSION;
use crate::positions::{AgentOrigin, KafkaRange, Origin};
use crate::schema::FORMAT_VERSION;
use crate::testing::{
    NOW, append as append_request, append_logs, append_spans, found, lines, log, logs_request,
    points_of_trace, span,
};

const AGENT: AgentId = AgentId([7; 16]);
const STREAM: StreamId = StreamId([9; 16]);

fn golden() -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn present() -> String {
    format!("folder-c{CATALOG_VERSION}-w{}-s{FORMAT_VERSION}", crate::wal::VERSION)
}

fn settings(dir: &std::path::Path) -> Settings {
    // A log of its own size, and nothing that depends on the machine.
    Settings { wal_segment_bytes: 1_024, disk_free_bytes_min: Some(0), ..crate::testing::settings(dir) }
}

async fn open_golden(dir: &std::path::Path) -> Arc<Store> {
    Store::open(settings(dir), Arc::new(IdRules::default()), ManualClock::at(NOW)).await.expect("opens")
}

/// One record of a stream or partition.
async fn append_from(store: &Store, body: &str, origin: Origin) {
    let plain = prost::Message::encode_to_vec(&logs_request(vec![log(body, 0, "ORD-7", 0)]));
    let payload = Bytes::from(zstd::bulk::compress(&plain, 1).expect("in memory"));
    let batch = store.decode(Signal::Logs, &plain, NOW).expect("decodable");
    let frame = Frame { signal: Signal::Logs, compression: Compression::Zstd, received_at: NOW, payload };
    store.append_from(frame, batch, origin).await.expect("durable");
}

fn agent(session: u64, start: u64) -> Origin {
    let ranges = vec![Range { begins: start == 0, ..Range::new(STREAM, start, start + 10, 1) }];
    Origin::Agent(AgentOrigin { agent: AGENT, session, ranges })
}

fn kafka(start: u64) -> Origin {
    Origin::Kafka(KafkaRange {
        topic: "orders".to_owned(),
        partition: 3,
        start,
        end: start + 1,
        resets: false,
    })
}

/// Sealed rows, a delete whose bytes are there still, positions; the same again in the log.
async fn fill(store: &Arc<Store>) {
    let session = store.hello(AGENT, Vec::new()).await.expect("known").session;
    for (half, at) in [("sealed", 0), ("logged", 1)] {
        append_spans(store, vec![span(1, 1 + at, 0, false)]).await;
        append_logs(store, vec![log(half, 1, "ORD-1", 0), log("deleted", 0, "ORD-2", 0)]).await;
        append_request(store, Signal::Metrics, &points_of_trace(1, i64::from(at), 0.25)).await;
        append_from(store, &format!("agent {half}"), agent(session, u64::from(at) * 10)).await;
        append_from(store, &format!("kafka {half}"), kafka(u64::from(at))).await;
        if at == 0 {
            store.seal().await.expect("sealed");
        }
    }
    assert_eq!(store.delete("order_id=ORD-2").await.expect("deleted").log_records, 2);
}

#[tokio::test]
#[ignore = "replaces the golden folder"]
async fn write_the_golden_folder() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open_golden(dir.path()).await;
    fill(&store).await;
    let to = golden().join(present());
    // Dropped without being closed: the log is not sealed.
    drop(store);
    copy(dir.path(), &to);
    for name in ["lock", "reserve"] {
        drop(std::fs::remove_file(to.join(name)));
    }
}

#[tokio::test]
async fn data_folders_of_every_version_open_with_all_that_is_in_them() {
    let mut names: Vec<String> = std::fs::read_dir(golden())
        .expect("there")
        .filter_map(|entry| entry.expect("readable").file_name().into_string().ok())
        .filter(|name| name.starts_with("folder-"))
        .collect();
    names.sort();
    assert!(names.contains(&present()), "no folder of the present versions: {names:?}");
    for name in names {
        let dir = tempfile::tempdir().expect("a folder");
        copy(&golden().join(&name), dir.path());
        check(&name, dir.path()).await;
    }
}

#[tokio::test]
async fn segments_of_earlier_formats_answer_and_compaction_rewrites_them_once_their_hour_has_ended() {
    let dir = tempfile::tempdir().expect("a folder");
    copy(&golden().join("folder-c1-w1-s3"), dir.path());
    let clock = ManualClock::at(NOW);
    let rules = Arc::new(IdRules::default());
    let store = Store::open(settings(dir.path()), rules, clock.clone()).await.expect("opens");
    store.seal().await.expect("sealed");
    let versions = |store: &Store| {
        let snapshot = store.snapshot();
        let of = |signal| {
            snapshot.segments(signal).map(|segment| segment.meta().format_version).collect::<Vec<_>>()
        };
        Signal::ALL.into_iter().flat_map(of).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(versions(&store), [3, FORMAT_VERSION].into());
    for is_compacted in [false, true] {
        let snapshot = store.snapshot();
        assert_eq!(found(&snapshot, Signal::Logs, "order_id=ORD-1"), ["logged", "sealed"], "{is_compacted}");
        let trace = format!("trace_id={}", "01".repeat(16));
        assert_eq!(found(&snapshot, Signal::Traces, &trace).len(), 2, "{is_compacted}");
        if !is_compacted {
            clock.advance(std::time::Duration::from_secs(7_200));
            store.compact().await.expect("merged");
        }
    }
    assert_eq!(versions(&store), [FORMAT_VERSION].into());
}

async fn check(name: &str, dir: &std::path::Path) {
    let store = open_golden(dir).await;
    let all = ["agent logged", "agent sealed", "kafka logged", "kafka sealed", "logged", "sealed"];
    for is_sealed in [false, true] {
        let snapshot = store.snapshot();
        assert_eq!(lines(&snapshot, Signal::Logs), all, "{name}");
        assert_eq!(lines(&snapshot, Signal::Traces), ["01 span 1", "01 span 2"], "{name}");
        assert!(!lines(&snapshot, Signal::Metrics).is_empty(), "{name}");
        assert_eq!(found(&snapshot, Signal::Logs, "order_id=ORD-1"), ["logged", "sealed"], "{name}");
        assert_eq!(found(&snapshot, Signal::Logs, "order_id=ORD-2"), Vec::<String>::new(), "{name}");
        if !is_sealed {
            let stats = store.stats();
            let sound = (stats.wal_records_lost, stats.segments_unreadable, stats.wal_records_replayed > 0);
            assert_eq!(sound, (0, 0, true), "{name}: {stats:?}");
            store.seal().await.expect("sealed");
        }
    }
    assert_eq!(store.deletes().await.expect("readable").len(), 1, "{name}");
    assert_eq!(store.kafka_offsets(), [("orders".to_owned(), 3, 2)], "{name}");
    let hello = store.hello(AGENT, Vec::new()).await.expect("known");
    assert_eq!((hello.session, hello.streams), (2, vec![(STREAM, 20)]), "{name}");
    assert!(!dir.join("quarantine").exists(), "{name}: nothing was set aside");
}
