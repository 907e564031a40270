//! Positions in a store: through kills, restarts and seals they say what the rows say.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use model::{IdRules, ManualClock, Signal, TimeRange, UnixNano};

use super::*;
use crate::rows::LogRows;
use crate::snapshot::{ScanOrder, ScanStats};
use crate::{Compression, Error, ErrorKind, Frame, Placed, Settings, Store};

const NOW: UnixNano = UnixNano(1_800_000_000_000_000_000);

async fn open(dir: &Path) -> Arc<Store> {
    let clock = ManualClock::at(NOW);
    Store::open(Settings::new(dir), Arc::new(IdRules::default()), clock).await.expect("opens")
}

/// A request of log records whose bodies are these.
fn frame(bodies: &[&str]) -> Frame {
    let mut payload = Vec::new();
    if !bodies.is_empty() {
        let mut writer = LogsWriter::new([("service.name", "billing")]);
        for body in bodies {
            writer.push(&LogRecordParts { time: NOW, body, ..LogRecordParts::default() }, []);
        }
        payload = writer.finish();
    }
    let payload = zstd::bulk::compress(&payload, 1).expect("in memory");
    let (signal, compression) = (Signal::Logs, Compression::Zstd);
    Frame { signal, compression, received_at: NOW, payload: Bytes::from(payload) }
}

async fn send(store: &Store, origin: Origin, bodies: &[&str]) -> Result<Placed, Error> {
    let frame = frame(bodies);
    let request = crate::decompress(Compression::Zstd, &frame.payload, 1 << 20).expect("sound");
    let batch = store.decode(Signal::Logs, &request, NOW).expect("decodable");
    store.append_from(frame, batch, origin).await
}

fn bodies(store: &Store) -> Vec<String> {
    let mut out = Vec::new();
    let mut visit = |rows: &arrow::array::RecordBatch| {
        let rows = LogRows::new(rows);
        out.extend((0..rows.len()).map(|row| rows.body(row).to_owned()));
        ControlFlow::Continue(())
    };
    let mut stats = ScanStats::default();
    let snapshot = store.snapshot();
    let scanned = snapshot.scan(Signal::Logs, &TimeRange::ALL, &[], ScanOrder::Any, &mut stats, &mut visit);
    scanned.expect("readable");
    out.sort();
    out
}

fn refused(result: Result<Placed, Error>) -> PositionRefusal {
    let error = result.expect_err("it does not fit");
    assert_eq!(error.kind(), ErrorKind::Position);
    error.position_refusal().expect("says where to go on").clone()
}

/// How the store gets from one step to the next.
#[derive(Clone, Copy, Debug)]
enum Between {
    Nothing,
    Kill,
    Seal,
    SealAndKill,
}

async fn pass(store: Arc<Store>, dir: &Path, between: Between) -> Arc<Store> {
    if matches!(between, Between::Seal | Between::SealAndKill) {
        store.seal().await.expect("sealed");
    }
    if matches!(between, Between::Kill | Between::SealAndKill) {
        drop(store);
        return open(dir).await;
    }
    store
}

#[tokio::test]
async fn every_rule_holds_at_once_and_after_kills_and_seals() {
    for between in [Between::Nothing, Between::Kill, Between::Seal, Between::SealAndKill] {
        let dir = tempfile::tempdir().expect("a folder");
        let mut store = open(dir.path()).await;
        assert_eq!(store.hello(AGENT, Vec::new()).await.expect("durable").session, 1);
        store = pass(store, dir.path(), between).await;
        let two = || from(1, vec![begins(range(1, 0, &[10, 20]))]);
        let placed = send(&store, two(), &["a", "b"]).await.expect("stored");
        assert_eq!(placed.committed, [(stream(1), Some(20))]);

        // The answer was lost: the same again, then the same with something new behind it.
        store = pass(store, dir.path(), between).await;
        let placed = send(&store, two(), &["a", "b"]).await.expect("acknowledged");
        assert_eq!((placed.committed, placed.dropped), (vec![(stream(1), Some(20))], 2), "{between:?}");
        assert_eq!(bodies(&store), ["a", "b"], "{between:?}");
        store = pass(store, dir.path(), between).await;
        let overlap = from(1, vec![range(1, 10, &[20, 30, 40])]);
        let placed = send(&store, overlap, &["b", "c", "d"]).await.expect("stored in part");
        assert_eq!((placed.committed, placed.dropped), (vec![(stream(1), Some(40))], 1));
        assert_eq!(bodies(&store), ["a", "b", "c", "d"], "{between:?}");

        store = pass(store, dir.path(), between).await;
        let gap = refused(send(&store, from(1, vec![range(1, 50, &[60])]), &["f"]).await);
        assert_eq!((gap.mismatch, gap.committed), (Mismatch::Gap, vec![(stream(1), Some(40))]));
        assert_eq!(bodies(&store), ["a", "b", "c", "d"], "{between:?}");

        // Lines that were dropped on purpose move the position without a record.
        send(&store, from(1, vec![Range::new(stream(1), 40, 50, 0)]), &[]).await.expect("moves");
        store = pass(store, dir.path(), between).await;
        send(&store, from(1, vec![range(1, 50, &[60])]), &["f"]).await.expect("it fits now");

        store = pass(store, dir.path(), between).await;
        let hello = store.hello(AGENT, Vec::new()).await.expect("durable");
        assert_eq!((hello.session, hello.streams), (2, vec![(stream(1), 60)]), "{between:?}");
        store = pass(store, dir.path(), between).await;
        let old = refused(send(&store, from(1, vec![range(1, 60, &[70])]), &["g"]).await);
        assert_eq!((old.mismatch, old.session), (Mismatch::Session, 2));
        send(&store, from(2, vec![range(1, 60, &[70])]), &["g"]).await.expect("the new session writes");
        store = pass(store, dir.path(), between).await;
        assert_eq!(bodies(&store), ["a", "b", "c", "d", "f", "g"], "{between:?}");
    }
}

#[tokio::test]
async fn of_two_requests_for_one_piece_of_a_stream_one_is_stored() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    store.hello(AGENT, Vec::new()).await.expect("durable");
    // All are in the queue before the first is written.
    let all = (0..20).map(|_| send(&store, from(1, vec![begins(range(1, 0, &[10, 20]))]), &["a", "b"]));
    for result in futures_util::future::join_all(all).await {
        assert_eq!(result.expect("stored or known").committed, [(stream(1), Some(20))]);
    }
    assert_eq!(bodies(&store), ["a", "b"]);
    let orders = [(20, 30, "c"), (30, 40, "d"), (40, 50, "e")];
    let all = orders.map(|(start, end, body)| {
        let (store, origin) = (&store, from(1, vec![range(1, start, &[end])]));
        async move { send(store, origin, &[body]).await }
    });
    for result in futures_util::future::join_all(all).await {
        result.expect("in order they all fit");
    }
    assert_eq!(bodies(&store), ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn streams_of_one_request_stand_or_fall_together() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    store.hello(AGENT, Vec::new()).await.expect("durable");
    let first = vec![begins(range(1, 0, &[10])), begins(range(2, 0, &[5, 6]))];
    send(&store, from(1, first), &["a", "x", "y"]).await.expect("stored");
    let mixed = vec![range(2, 5, &[6, 7]), range(1, 11, &[20])];
    let gap = refused(send(&store, from(1, mixed), &["y", "z", "c"]).await);
    assert_eq!(gap.committed, [(stream(2), Some(6)), (stream(1), Some(10))]);
    // One is there as a whole, of one the second half is new, one is new.
    let mixed = vec![range(1, 0, &[10]), range(2, 5, &[6, 7]), begins(range(3, 90, &[91]))];
    let placed = send(&store, from(1, mixed), &["a", "y", "z", "n"]).await.expect("stored in part");
    assert_eq!(placed.dropped, 2);
    assert_eq!(placed.committed, [(stream(1), Some(10)), (stream(2), Some(7)), (stream(3), Some(91))]);
    assert_eq!(bodies(&store), ["a", "n", "x", "y", "z"]);
}

#[tokio::test]
async fn forgotten_streams_are_forgotten_after_a_restart_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    let identity = store.hello(AGENT, Vec::new()).await.expect("durable").store;
    send(&store, from(1, vec![begins(range(1, 0, &[10]))]), &["a"]).await.expect("stored");
    store.seal().await.expect("sealed");
    assert_eq!(store.hello(AGENT, vec![stream(1)]).await.expect("durable").streams, []);
    let mut store = store;
    for between in [Between::Kill, Between::SealAndKill] {
        store = pass(store, dir.path(), between).await;
        let hello = store.hello(AGENT, Vec::new()).await.expect("durable");
        assert_eq!((hello.streams, &hello.store), (Vec::new(), &identity), "{between:?}");
    }
}

#[tokio::test]
async fn kafka_offsets_are_those_of_the_rows_after_kill_and_seal() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = open(dir.path()).await;
    for (number, between) in (0..).zip([Between::Nothing, Between::Kill, Between::SealAndKill]) {
        send(&store, kafka(number, number + 1, false), &[&format!("m{number}")]).await.expect("stored");
        store = pass(store, dir.path(), between).await;
        send(&store, kafka(number, number + 1, false), &[&format!("m{number}")]).await.expect("known");
        assert_eq!(store.kafka_offsets(), [("orders".to_owned(), 3, number + 1)], "{between:?}");
    }
    assert_eq!(bodies(&store), ["m0", "m1", "m2"]);
}
