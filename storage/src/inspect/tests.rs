//! What is found in stores that are sound, damaged in known places, in use, or newer.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use model::{IdRules, ManualClock, Signal, TimeRange, TraceId, UnixNano};

use super::*;
use crate::schema::FORMAT_VERSION;
use crate::segment::layout::Layout;
use crate::snapshot::ScanStats;
use crate::{Compression, Frame, Settings, Store};

const NOW: UnixNano = UnixNano(1_800_000_000_000_000_000);

fn clock() -> Arc<dyn Clock> {
    ManualClock::at(NOW)
}

async fn open_store(dir: &Path) -> Arc<Store> {
    Store::open(Settings::new(dir), Arc::new(IdRules::default()), clock()).await.expect("opens")
}

async fn append(store: &Store, order: &str) {
    let mut writer = LogsWriter::new([("service.name", "billing")]);
    for at in 0..20_u8 {
        let parts = LogRecordParts {
            time: UnixNano(NOW.0 + i64::from(at)),
            body: "charged",
            trace_id: TraceId::from_bytes(&[at + 1; 16]),
            ..LogRecordParts::default()
        };
        writer.push(&parts, [("order_id", order)]);
    }
    let payload = Bytes::from(writer.finish());
    let batch = store.decode(Signal::Logs, &payload, NOW).expect("decodable");
    let frame = Frame { signal: Signal::Logs, compression: Compression::Identity, received_at: NOW, payload };
    store.append(frame, batch).await.expect("durable");
}

/// A segment of twenty log records, and three WAL records of twenty more each, that were never sealed.
async fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open_store(dir.path()).await;
    append(&store, "ORD-1").await;
    store.seal().await.expect("sealed");
    for order in ["ORD-2", "ORD-3", "ORD-4"] {
        append(&store, order).await;
    }
    drop(store);
    dir
}

async fn inspector(dir: &Path, access: Access) -> Inspector {
    // The store's background task may hold the lock for a moment after the store was dropped.
    for _ in 0..10_000 {
        match Inspector::open(dir, &Places::default(), access, clock()).await {
            Err(error) if error.to_string().contains("a running silmari") => tokio::task::yield_now().await,
            opened => return opened.expect("opens"),
        }
    }
    panic!("the lock stays taken");
}

async fn verify(dir: &Path) -> Verification {
    inspector(dir, Access::Shared).await.verify(&IdRules::default(), &mut |_, _| {}).expect("readable")
}

fn segment_dir(dir: &Path) -> PathBuf {
    let mut entries = std::fs::read_dir(dir.join("segments/logs")).expect("a table");
    entries.next().expect("a segment").expect("readable").path()
}

fn wal_file(dir: &Path) -> PathBuf {
    let entries = std::fs::read_dir(dir.join("wal")).expect("a log").filter_map(Result::ok);
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "wal"))
        .collect();
    files.sort();
    files.pop().expect("a file")
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt as _;
    let file = File::options().write(true).open(path).expect("writable");
    file.write_all_at(bytes, at).expect("written");
}

async fn in_catalog(dir: &Path, statement: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.join("catalog.sqlite"));
    let pool = sqlx::SqlitePool::connect_with(options).await.expect("opens");
    sqlx::query(statement).execute(&pool).await.expect("executed");
    pool.close().await;
}

/// Every file of a store but those that only an open database has.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable").filter_map(Result::ok) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name != "lock" && !name.ends_with("-shm") && !name.ends_with("-wal") {
                let bytes = std::fs::read(&path).expect("readable");
                all.insert(path, bytes);
            }
        }
    }
    all
}

#[tokio::test]
async fn a_sound_store_has_nothing_to_find_and_looking_changes_nothing() {
    let dir = filled().await;
    let before = contents(dir.path());
    let found = verify(dir.path()).await;
    assert_eq!(found.findings, []);
    assert_eq!((found.segments, found.rows, found.postings, found.wal_records), (1, 20, 40, 3));
    assert!(found.ids_looked_up >= 40, "{}", found.ids_looked_up);
    assert_eq!(contents(dir.path()), before);
}

#[tokio::test]
async fn the_listing_says_what_there_is_and_what_a_start_would_replay() {
    let dir = filled().await;
    let listing = inspector(dir.path(), Access::Beside).await.listing().expect("listed");
    let [segment] = &*listing.segments else { panic!("{listing:?}") };
    assert_eq!((segment.signal, segment.rows, segment.min_time), (Signal::Logs, 20, NOW));
    assert_eq!(segment.parquet_bytes + segment.id_index_bytes, segment.bytes);
    assert_eq!((listing.wal_sequence, listing.is_live), (1, false));
    let last = listing.wal.last().expect("a file");
    assert_eq!((last.first_sequence, last.last_sequence, last.to_replay), (2, 4, 3));
}

#[tokio::test]
async fn the_records_of_the_log_are_told_with_place_and_content() {
    let dir = filled().await;
    let mut records = Vec::new();
    let mut each = |record: WalRecord| {
        records.push(record);
        std::ops::ControlFlow::Continue(())
    };
    inspector(dir.path(), Access::Shared).await.each_wal_record(&mut each).expect("listed");
    assert_eq!(records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [2, 3, 4]);
    let record = &records[0];
    assert_eq!((&*record.signal, &*record.compression, record.records), ("logs", "identity", Some(20)));
    assert_eq!(record.first_service.as_deref(), Some("billing"));
    assert!(record.is_crc_ok && !record.is_in_segments && record.received_at == NOW);
}

#[tokio::test]
async fn the_costs_of_columns_and_id_kinds_add_up_to_the_files() {
    let dir = filled().await;
    let inspector = inspector(dir.path(), Access::Beside).await;
    let stats = inspector.stats().into_iter().find(|stats| stats.signal == Signal::Logs).expect("logs");
    let columns: u64 = stats.columns.iter().map(|column| column.bytes).sum();
    assert_eq!(columns + stats.parquet_metadata_bytes + stats.id_index_bytes, stats.bytes);
    let layout = Layout::new(Signal::Logs, Vec::new(), Vec::new());
    assert_eq!(stats.columns.len(), layout.schema().fields().len());
    let kind = |name: &str| stats.id_kinds.iter().find(|kind| kind.kind == name).expect("a kind").clone();
    assert_eq!((kind("trace_id").terms, kind("trace_id").groups), (20, 20));
    assert_eq!((kind("order_id").terms, kind("order_id").groups), (1, 20));
}

#[tokio::test]
async fn a_page_that_cannot_be_decoded_is_named_and_its_segment_can_be_moved_away() {
    let dir = filled().await;
    let data = segment_dir(dir.path()).join("data.parquet");
    let metadata = {
        let file = File::open(&data).expect("there");
        let mut reader = parquet::file::metadata::ParquetMetaDataReader::new();
        reader.try_parse(&file).expect("sound");
        reader.finish().expect("parsed")
    };
    let chunk = metadata.row_group(0).columns().iter().find(|chunk| chunk.column_path().string() == "body");
    let (at, bytes) = chunk.expect("a column").byte_range();
    overwrite(&data, at, &vec![0xFF; bytes as usize]);
    let found = verify(dir.path()).await;
    let finding = &found.findings[0];
    assert_eq!((found.defects(), finding.severity), (1, Severity::Defect));
    assert_eq!(finding.place.as_deref(), Some("row group 0 of 1, column `body`"));
    assert!(finding.path.ends_with("data.parquet"), "{finding:?}");

    let before = std::fs::read(&data).expect("there");
    let exclusive = inspector(dir.path(), Access::Exclusive).await;
    let done = exclusive.repair(&found.findings).await.expect("repaired");
    drop(exclusive);
    assert_eq!(verify(dir.path()).await.findings, []);
    let kept = dir.path().join(&done[0].kept_in);
    assert_eq!(std::fs::read(kept.join("data.parquet")).expect("kept"), before);
    let reason = std::fs::read_to_string(kept.with_extension("json")).expect("a reason");
    let reason: serde_json::Value = serde_json::from_str(&reason).expect("JSON");
    assert_eq!(reason["catalog"]["row_count"], 20);
    assert_eq!(reason["reasons"][0]["place"], "row group 0 of 1, column `body`");
    let store = open_store(dir.path()).await;
    assert_eq!(store.stats().segments_unreadable, 0);
    assert_eq!(store.snapshot().row_counts(Signal::Logs), (60, 0));
}

#[tokio::test]
async fn a_broken_identity_index_is_built_again_from_the_rows() {
    let dir = filled().await;
    let ids = segment_dir(dir.path()).join("ids");
    let terms = ids.join(crate::index::FILE);
    overwrite(&terms, 20, &[0xFF; 8]);
    let found = verify(dir.path()).await;
    assert_eq!(found.defects(), 1, "{:?}", found.findings);
    assert!(found.findings[0].problem.contains("checksum"), "{:?}", found.findings);

    let exclusive = inspector(dir.path(), Access::Exclusive).await;
    let done = exclusive.repair(&found.findings).await.expect("repaired");
    drop(exclusive);
    assert!(dir.path().join(&done[0].kept_in).join(terms.file_name().expect("a name")).exists());
    assert_eq!(verify(dir.path()).await.defects(), 0);
    let store = open_store(dir.path()).await;
    let mut stats = ScanStats::default();
    let terms = ["order_id=ORD-1".to_owned()];
    let rows = store.snapshot().lookup(Signal::Logs, &TimeRange::ALL, &terms, &mut stats).expect("readable");
    assert_eq!(rows.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 20);
}

#[tokio::test]
async fn what_catalog_and_file_tell_differently_is_a_defect_that_is_left_to_a_person() {
    let dir = filled().await;
    in_catalog(dir.path(), "UPDATE segment SET row_count = 21, max_time = min_time").await;
    let found = verify(dir.path()).await;
    let problems: Vec<&str> = found.findings.iter().map(|finding| &*finding.problem).collect();
    assert!(problems.contains(&"20 rows, the catalog says 21"), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("queries by time")), "{problems:?}");
    let exclusive = inspector(dir.path(), Access::Exclusive).await;
    assert_eq!(exclusive.repair(&found.findings).await.expect("nothing to do"), []);
}

#[tokio::test]
async fn a_segment_that_is_gone_and_a_folder_that_nobody_knows_are_both_found() {
    let dir = filled().await;
    let segment = segment_dir(dir.path());
    let stranger = segment.with_file_name("00000000000000000001-00000000000000000001-L0-000099");
    std::fs::rename(&segment, &stranger).expect("renamed");
    let found = verify(dir.path()).await;
    assert_eq!((found.findings.len(), found.defects()), (2, 1));
    assert!(found.findings[0].problem.contains("not there"), "{:?}", found.findings);
    let exclusive = inspector(dir.path(), Access::Exclusive).await;
    assert_eq!(exclusive.repair(&found.findings).await.expect("repaired").len(), 2);
    drop(exclusive);
    assert_eq!(verify(dir.path()).await.findings, []);
    assert!(
        dir.path()
            .join("quarantine/segments/logs/00000000000000000001-00000000000000000001-L0-000099/data.parquet")
            .exists()
    );
}

#[tokio::test]
async fn a_damaged_record_of_the_log_is_a_defect_until_its_bytes_are_kept() {
    let dir = filled().await;
    let file = wal_file(dir.path());
    // Within the first record's payload: 64 bytes of file header, 40 of its own.
    overwrite(&file, 64 + 40 + 10, &[0xFF; 4]);
    let found = verify(dir.path()).await;
    assert_eq!((found.defects(), found.wal_records), (1, 2), "{:?}", found.findings);
    let place = found.findings[0].place.clone().expect("a place");
    assert!(place.starts_with("bytes 64.."), "{place}");

    let exclusive = inspector(dir.path(), Access::Exclusive).await;
    let done = exclusive.repair(&found.findings).await.expect("repaired");
    drop(exclusive);
    assert!(done[0].kept_in.starts_with("wal/quarantine/"), "{done:?}");
    let again = verify(dir.path()).await;
    assert_eq!((again.defects(), again.findings.len()), (0, 1), "{:?}", again.findings);
    let store = open_store(dir.path()).await;
    assert_eq!(store.snapshot().row_counts(Signal::Logs), (40, 20));
}

#[tokio::test]
async fn an_unfinished_write_at_the_end_of_the_log_is_worth_a_note_only() {
    let dir = filled().await;
    let file = wal_file(dir.path());
    let found = verify(dir.path()).await;
    assert_eq!(found.findings, []);
    let mut last = 0;
    let each = &mut |record: WalRecord| {
        last = record.offset;
        std::ops::ControlFlow::Continue(())
    };
    inspector(dir.path(), Access::Shared).await.each_wal_record(each).expect("listed");
    overwrite(&file, last + 40, b"half a record");
    let found = verify(dir.path()).await;
    assert_eq!((found.defects(), found.findings.len()), (0, 1), "{:?}", found.findings);
}

#[tokio::test]
async fn a_store_in_use_can_be_listed_and_measured_but_not_checked() {
    let dir = filled().await;
    let store = open_store(dir.path()).await;
    let beside = inspector(dir.path(), Access::Beside).await;
    assert!(beside.is_live());
    let listing = beside.listing().expect("listed");
    assert_eq!((listing.segments.len(), listing.wal.len()), (1, 0));
    assert_eq!(beside.stats().iter().map(|stats| stats.rows).sum::<u64>(), 20);
    for access in [Access::Shared, Access::Exclusive] {
        let error =
            Inspector::open(dir.path(), &Places::default(), access, clock()).await.expect_err("in use");
        assert_eq!(error.kind(), ErrorKind::FixInput);
        assert!(error.to_string().contains("stop it first"), "{error}");
    }
    append(&store, "ORD-5").await;
    store.close().await.expect("closed");
}

#[tokio::test]
async fn a_folder_without_a_store_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let error =
        Inspector::open(dir.path(), &Places::default(), Access::Beside, clock()).await.expect_err("no store");
    assert!(error.to_string().contains("there is no store in"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0);
}

/// A log file of version 2 with a header that checks.
fn newer_wal(dir: &Path) {
    let mut header = [0; 64];
    header[..8].copy_from_slice(b"SILMWAL2");
    header[8..10].copy_from_slice(&2_u16.to_le_bytes());
    header[10..12].copy_from_slice(&64_u16.to_le_bytes());
    let crc = crc32c::crc32c(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(dir.join("wal/00000000000000000900.wal"), header).expect("written");
}

#[tokio::test]
async fn newer_catalogs_segments_and_logs_are_refused_and_left_untouched() {
    for what in ["catalog", "segment", "wal"] {
        let dir = filled().await;
        drop(inspector(dir.path(), Access::Exclusive).await);
        let unfinished =
            dir.path().join("segments/logs/00000000000000000001-00000000000000000001-L0-000077.tmp");
        std::fs::create_dir_all(&unfinished).expect("made");
        std::fs::write(unfinished.join("data.parquet"), b"half").expect("written");
        match what {
            "catalog" => {
                in_catalog(dir.path(), "UPDATE position SET value = 2 WHERE name = 'catalog_version'").await;
                in_catalog(dir.path(), "PRAGMA user_version = 2").await;
            }
            "segment" => {
                let newer = format!("UPDATE segment SET format_version = {}", FORMAT_VERSION + 1);
                in_catalog(dir.path(), newer.leak()).await;
            }
            _ => newer_wal(dir.path()),
        }
        let before = contents(dir.path());
        let server = Store::open(Settings::new(dir.path()), Arc::new(IdRules::default()), clock()).await;
        let server = server.expect_err(what).to_string();
        let tool = Inspector::open(dir.path(), &Places::default(), Access::Exclusive, clock())
            .await
            .expect_err(what)
            .to_string();
        let newer = format!("format {}", FORMAT_VERSION + 1);
        for text in [&server, &tool] {
            assert!(text.contains(what) || text.contains("write-ahead log"), "{what}: {text}");
            assert!(text.contains("version 2") || text.contains(&newer), "{what}: {text}");
            assert!(!text.contains('\n'), "one sentence: {text}");
        }
        assert!(contents(dir.path()) == before, "{what}: files were changed");
    }
}
