//! Segments in an object store: a real S3 server on a loopback port, which is stopped, corrupted and started again.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, IdRules, ManualClock, Signal, TimeRange};
use servers::{BUCKET, S3Server};

use super::cache::copies;
use super::settings::{ObjectSettings, SegmentHome};
use crate::inspect::{Access, Inspector};
use crate::testing::{
    HOUR, NOW, SECOND, append_logs, append_spans, found, lines, log, open_with, settings, span, with_text,
};
use crate::{ErrorKind, Keep, Places, Retention, ScanOrder, ScanStats, Settings, Store};

/// A store in a folder, with its segments in a bucket.
struct Shop {
    dir: tempfile::TempDir,
    server: S3Server,
    clock: Arc<ManualClock>,
}

pub(crate) fn home_in(server: &S3Server, prefix: &str) -> SegmentHome {
    let mut settings = ObjectSettings::new(&format!("s3://{BUCKET}/{prefix}")).expect("a place");
    settings.endpoint = Some(server.endpoint());
    settings.credentials_file = Some(server.credentials());
    settings.region = Some("eu-central-1".to_owned());
    settings.allow_http = true;
    settings.cache_bytes_max = super::settings::CACHE_BYTES_MIN;
    SegmentHome::Objects(settings)
}

impl Shop {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        Self { dir, server: S3Server::start().expect("a server"), clock: ManualClock::at(NOW) }
    }

    fn places(&self) -> Places {
        Places { segments: home_in(&self.server, "shop"), ..Places::default() }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::<ManualClock>::clone(&self.clock)
    }

    fn settings(&self) -> Settings {
        Settings { places: self.places(), ..settings(self.dir.path()) }
    }

    async fn open(&self) -> Arc<Store> {
        open_with(self.settings(), Arc::clone(&self.clock)).await
    }

    fn cache(&self) -> std::path::PathBuf {
        self.dir.path().join("cache")
    }

    fn empty_cache(&self) {
        std::fs::remove_dir_all(self.cache().join("segments")).expect("there are copies");
    }

    /// Names of the segments of a table in the bucket.
    fn segments(&self, signal: Signal) -> Vec<String> {
        let below = format!("shop/segments/{}/", signal.table());
        let objects = self.server.list(&below);
        let mut names: Vec<String> = objects
            .iter()
            .filter_map(|name| name.strip_prefix(&below)?.split('/').next().map(str::to_owned))
            .collect();
        names.dedup();
        names
    }

    fn object(&self, signal: Signal, name: &str) -> std::path::PathBuf {
        let segment = self.segments(signal).into_iter().next().expect("a segment");
        self.server.objects().join("shop/segments").join(signal.table()).join(segment).join(name)
    }
}

async fn fill(store: &Store, round: u8) {
    append_spans(store, vec![span(round, 1, 0, false), span(round, 2, SECOND, round == 1)]).await;
    let order = format!("ORD-{round}");
    append_logs(
        store,
        vec![log("order placed", round, &order, 0), log("an error of the card", 0, "", SECOND)],
    )
    .await;
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn unreadable(store: &Store, signal: Signal) -> (usize, u64) {
    let (mut rows, mut stats) = (0, ScanStats::default());
    let mut visit = |batch: &arrow::array::RecordBatch| {
        rows += batch.num_rows();
        ControlFlow::Continue(())
    };
    let snapshot = store.snapshot();
    snapshot
        .scan(signal, &TimeRange::ALL, &[], ScanOrder::Any, &mut stats, &mut visit)
        .expect("no defect of ours");
    (rows, stats.segments_unreadable)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_found_by_time_id_and_text_after_sealing_merging_deleting_and_without_any_copy() {
    let shop = Shop::new();
    let store = shop.open().await;
    for round in 1..5 {
        fill(&store, round).await;
        store.seal().await.expect("sealed");
    }
    let spans = lines(&store.snapshot(), Signal::Traces);
    assert_eq!(spans.len(), 8);
    assert_eq!(shop.segments(Signal::Traces).len(), 4);
    assert_eq!(found(&store.snapshot(), Signal::Logs, "order_id=ORD-3"), ["order placed"]);
    store.compact().await.expect("merged");
    assert_eq!(lines(&store.snapshot(), Signal::Traces), spans);
    until("the inputs of the merge are gone", || shop.segments(Signal::Traces).len() == 1).await;

    store.delete("order_id=ORD-3").await.expect("deleted");
    assert!(found(&store.snapshot(), Signal::Logs, "order_id=ORD-3").is_empty());
    store.compact().await.expect("rewritten");
    assert_eq!(lines(&store.snapshot(), Signal::Logs).len(), 7);
    store.close().await.expect("closed");
    drop(store);

    shop.empty_cache();
    let store = shop.open().await;
    assert_eq!(lines(&store.snapshot(), Signal::Traces), spans);
    assert_eq!(found(&store.snapshot(), Signal::Traces, &format!("trace_id={}", "02".repeat(16))).len(), 2);
    assert_eq!(found(&store.snapshot(), Signal::Logs, "order_id=ORD-2"), ["order placed"]);
    assert_eq!(store.stats().indexes_damaged, 0);
    assert!(!shop.dir.path().join("segments/spans").read_dir().is_ok_and(|mut all| all.next().is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_joined_with_their_words_or_without_any_and_searched_the_same() {
    for text_index in [true, false] {
        let shop = Shop::new();
        let open = || {
            let settings = Settings { text_index, ..shop.settings() };
            open_with(settings, Arc::clone(&shop.clock))
        };
        let store = open().await;
        for round in 1..9 {
            fill(&store, round).await;
            store.seal().await.expect("sealed");
            if round % 2 == 0 {
                store.compact().await.expect("merged");
                shop.empty_cache();
            }
        }
        until("the inputs of the joins are gone", || shop.segments(Signal::Logs).len() == 1).await;
        let of_text = |name: &String| name.contains("/text/");
        assert_eq!(shop.server.list("shop/segments/logs/").iter().any(of_text), text_index);
        if text_index {
            let parts =
                std::fs::read(shop.object(Signal::Logs, "text/parts.json")).expect("an index of parts");
            let parts: Vec<[u64; 2]> = serde_json::from_slice(&parts).expect("JSON");
            assert_eq!(parts.len(), 4, "{parts:?}");
        }
        let check = |store: &Store| {
            assert_eq!(lines(&store.snapshot(), Signal::Logs).len(), 16);
            assert_eq!(with_text(store, "order placed"), 8);
            assert_eq!(with_text(store, "of the card"), 8);
            assert_eq!(with_text(store, "no such words"), 0);
            assert_eq!(found(&store.snapshot(), Signal::Logs, "order_id=ORD-5"), ["order placed"]);
            assert_eq!(store.stats().indexes_damaged, 0);
        };
        check(&store);
        store.close().await.expect("closed");
        drop(store);
        shop.empty_cache();
        check(&*open().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_removes_objects_and_their_copies() {
    let shop = Shop::new();
    let keep = Keep { age: Some(Duration::from_secs(3_600)), ..Keep::default() };
    let retention = Retention { logs: keep, ..Retention::default() };
    let store = open_with(Settings { retention, ..shop.settings() }, Arc::clone(&shop.clock)).await;
    fill(&store, 1).await;
    store.seal().await.expect("sealed");
    assert_eq!(copies(&shop.cache(), Signal::Logs), shop.segments(Signal::Logs));
    shop.clock.advance(Duration::from_nanos(3 * HOUR as u64));
    store.compact().await.expect("expired");
    until("the segment is gone", || shop.segments(Signal::Logs).is_empty()).await;
    assert!(copies(&shop.cache(), Signal::Logs).is_empty());
    assert_eq!(shop.segments(Signal::Traces).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_between_publishing_and_committing_is_swept_and_replayed_once() {
    let shop = Shop::new();
    let store = shop.open().await;
    fill(&store, 1).await;
    store.seal().await.expect("sealed");
    fill(&store, 2).await;
    let spans = lines(&store.snapshot(), Signal::Traces);
    // Published and not committed: the catalog refuses, and the process ends before anything can be taken back.
    let committed = shop.server.list("shop/segments/spans");
    let table = shop.server.objects().join("shop/segments/spans");
    let name = shop.segments(Signal::Traces).remove(0);
    let orphan = "00000000000000000003-00000000000000000004-L0-000090";
    copy_folder(&table.join(&name), &table.join(orphan));
    assert!(shop.server.list("shop/segments/spans").len() > committed.len());
    drop(store);

    let store = shop.open().await;
    assert_eq!(lines(&store.snapshot(), Signal::Traces), spans);
    until("the orphan is swept", || shop.server.list("shop/segments/spans") == committed).await;
    store.seal().await.expect("sealed");
    assert_eq!(lines(&store.snapshot(), Signal::Traces), spans);
    assert!(
        shop.segments(Signal::Traces)
            .iter()
            .any(|name| name.ends_with("-000091") || name > &orphan.to_owned())
    );
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("there").filter_map(Result::ok) {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).expect("copied")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_object_store_is_away_rows_are_taken_and_answers_say_what_is_missing() {
    let mut shop = Shop::new();
    let store = shop.open().await;
    fill(&store, 1).await;
    store.seal().await.expect("sealed");
    shop.server.stop();
    // What there are copies of is read from them.
    assert_eq!(unreadable(&store, Signal::Traces), (2, 0));
    shop.empty_cache();
    assert!(!store.stats().is_object_store_away);
    assert_eq!(unreadable(&store, Signal::Traces), (0, 1));
    assert!(store.stats().is_object_store_away);
    fill(&store, 2).await;
    let refused = store.seal().await.expect_err("nowhere to put it");
    assert_eq!(refused.kind(), ErrorKind::Retry, "{refused}");
    assert_eq!(unreadable(&store, Signal::Traces), (2, 1));
    drop(store);

    // It starts as well.
    let store = shop.open().await;
    assert_eq!(store.stats().segments_unreadable, 2);
    fill(&store, 3).await;
    assert_eq!(unreadable(&store, Signal::Traces), (4, 1));
    shop.server.restart().expect("the same port");
    until("everything is readable again", || store.stats().segments_unreadable == 0).await;
    store.seal().await.expect("sealed");
    assert_eq!(unreadable(&store, Signal::Traces), (6, 0));
    assert_eq!(found(&store.snapshot(), Signal::Logs, "order_id=ORD-1"), ["order placed"]);
    store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_is_back_is_not_called_away_even_when_nobody_wants_anything_of_it() {
    let mut shop = Shop::new();
    let store = shop.open().await;
    fill(&store, 1).await;
    store.seal().await.expect("sealed");
    shop.server.stop();
    shop.empty_cache();
    assert_eq!(unreadable(&store, Signal::Traces), (0, 1));
    assert!(store.stats().is_object_store_away);
    shop.server.restart().expect("the same port");
    until("it answers again", || !store.stats().is_object_store_away).await;
    store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_is_fetched_again_and_a_damaged_object_is_refused_and_quarantined() {
    let shop = Shop::new();
    let store = shop.open().await;
    fill(&store, 1).await;
    store.seal().await.expect("sealed");
    store.close().await.expect("closed");
    drop(store);
    let name = shop.segments(Signal::Traces).remove(0);
    let flip = |path: &Path| {
        let mut bytes = std::fs::read(path).expect("there");
        bytes[8] ^= 1;
        std::fs::write(path, bytes).expect("written");
    };
    flip(&shop.cache().join("segments/spans").join(&name).join("data.parquet.000000"));
    let ids = shop.cache().join("segments/spans").join(&name).join("ids");
    let files = std::fs::read_dir(&ids).expect("a copy of the index").filter_map(Result::ok);
    files
        .filter(|file| file.path().extension().is_some_and(|ext| ext == "term"))
        .for_each(|file| flip(&file.path()));
    let store = shop.open().await;
    assert_eq!(unreadable(&store, Signal::Traces), (2, 0));
    assert_eq!(found(&store.snapshot(), Signal::Traces, &format!("trace_id={}", "01".repeat(16))).len(), 2);
    assert_eq!(store.stats().indexes_damaged, 0);
    store.close().await.expect("closed");
    drop(store);

    flip(&shop.object(Signal::Traces, "data.parquet"));
    shop.empty_cache();
    let store = shop.open().await;
    assert_eq!(unreadable(&store, Signal::Traces), (0, 1));
    store.close().await.expect("closed");
    drop(store);
    let places = shop.places();
    let open = |access| Inspector::open(shop.dir.path(), &places, access, shop.clock());
    let inspector = open(Access::Exclusive).await.expect("opens");
    let found = inspector.verify(&IdRules::default(), &mut |_, _| {}).expect("readable");
    assert_eq!(found.defects(), 1, "{:?}", found.findings);
    let repaired = inspector.repair(&found.findings).await.expect("moved");
    assert_eq!(repaired.len(), 1);
    assert!(shop.dir.path().join("quarantine/segments/spans").join(&name).join("data.parquet").is_file());
    assert!(shop.segments(Signal::Traces).is_empty());
    drop(inspector);
    let inspector = open(Access::Shared).await.expect("opens");
    let found = inspector.verify(&IdRules::default(), &mut |_, _| {}).expect("readable");
    assert_eq!(found.findings, []);
    assert_eq!(inspector.listing().expect("listed").segments.len(), 1);
    let stats = inspector.stats();
    assert!(stats.iter().all(|signal| signal.unreadable.is_empty()), "{stats:?}");
    assert!(stats[Signal::Logs.index()].bytes > 0 && stats[Signal::Logs.index()].id_index_bytes > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_the_segments_of_another_store_is_refused_and_left_alone() {
    let shop = Shop::new();
    let store = shop.open().await;
    fill(&store, 1).await;
    store.close().await.expect("closed");
    let before = shop.server.list("");
    let other = tempfile::tempdir().expect("a folder");
    let settings = Settings { places: shop.places(), ..settings(other.path()) };
    let refused =
        Store::open(settings, Arc::new(IdRules::default()), shop.clock()).await.expect_err("not its own");
    assert_eq!(refused.kind(), ErrorKind::FixInput);
    assert!(refused.to_string().contains("another store"), "{refused}");
    assert_eq!(shop.server.list(""), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_are_still_in_the_data_folder_are_missed_before_anything_is_put_elsewhere() {
    let shop = Shop::new();
    let store = open_with(settings(shop.dir.path()), Arc::clone(&shop.clock)).await;
    fill(&store, 1).await;
    store.close().await.expect("closed");
    drop(store);
    let open = || Store::open(shop.settings(), Arc::new(IdRules::default()), shop.clock());
    let refused = open().await.expect_err("they are not in the bucket");
    assert!(refused.to_string().contains("copy the folder `segments`"), "{refused}");
    copy_folder(&shop.dir.path().join("segments"), &shop.server.objects().join("shop/segments"));
    let store = open().await.expect("now they are");
    assert_eq!(lines(&store.snapshot(), Signal::Traces).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_forgets_what_was_not_used_for_longest_and_never_what_is_read() {
    let shop = Shop::new();
    let store = shop.open().await;
    fill(&store, 1).await;
    store.seal().await.expect("sealed");
    drop(store);
    // Copies of segments that nobody reads any more, older than all.
    let old = shop.cache().join("segments/spans/old");
    std::fs::create_dir_all(&old).expect("made");
    for number in 0..70 {
        let file = std::fs::File::create(old.join(format!("data.parquet.{number:06}"))).expect("made");
        file.set_len(1 << 20).expect("sparse");
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(number)).expect("dated");
    }
    let store = shop.open().await;
    let left = std::fs::read_dir(&old).expect("there").count();
    assert!((40..60).contains(&left), "{left} MiB of 70 are left, 64 are the limit");
    assert!(!old.join("data.parquet.000000").exists() && old.join("data.parquet.000069").exists());
    assert_eq!(unreadable(&store, Signal::Traces), (2, 0));
}
