//! Entry points for fuzzers (`fuzz/`): any bytes; none may panic, hang, or make the memory grow without bound.
//!
//! The same functions run in this crate's tests on damaged copies of what we write ourselves.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatchReader as _;
use model::{IdRules, ManualClock, Signal, UnixNano};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::PageIndexPolicy;

use crate::catalog::{Catalog, CatalogHome};
use crate::error::{Context as _, Error, ErrorKind};
use crate::folder::Folder;
use crate::index::{IdIndex, Sought, blocks};
use crate::plant::Planted;
use crate::positions::Extension;
use crate::segment::checksums::CheckedFile;
use crate::segment::reader::{metadata_of, next_batch};
use crate::wal::walk::WalFolder;
use crate::{decode, wal};
use disk::{DiskFile, Fs, RealFs};

const NOW: UnixNano = UnixNano(1_800_000_000_000_000_000);
/// Rows read of a file that claims to have many.
const ROWS_MAX: usize = 100_000;

/// A log of one file with these bytes is walked and replayed.
pub fn log(bytes: &[u8]) {
    let fs: Arc<dyn Fs> = Arc::new(OneFile(Arc::from(bytes)));
    let clock = ManualClock::at(NOW);
    let folder = WalFolder::new(Arc::clone(&fs), "/wal".into(), clock.clone());
    let mut walked = 0;
    // A newer version is an error, and so may be anything else.
    let _ = folder.walk(&mut |_| {
        walked += 1;
        ControlFlow::Continue(())
    });
    assert!(walked <= 3 + bytes.len(), "{walked} things in {} bytes", bytes.len());
    let mut last = 0;
    let report = wal::replay_only(fs, "/wal".into(), clock, &mut |record| {
        assert!(record.sequence > last, "sequences rise");
        last = record.sequence;
    });
    if let Ok(report) = report {
        assert!(report.bytes + report.damaged_bytes + report.truncated_tail_bytes <= bytes.len() as u64);
    }
}

/// A Parquet file with these bytes is opened and read.
///
/// # Errors
/// What is wrong with it.
pub fn segment(bytes: &[u8]) -> Result<usize, Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data.parquet");
    std::fs::write(&data, bytes)?;
    let file = CheckedFile::beside(&data)?;
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    let metadata = metadata_of(&file, options)?;
    let mut reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata).build()?;
    assert!(!reader.schema().fields().is_empty());
    let mut rows = 0;
    while let Some(batch) = next_batch(&mut reader) {
        rows += batch?.num_rows();
        if rows > ROWS_MAX {
            break;
        }
    }
    Ok(rows)
}

/// An identity index of these bytes, and one whose blocks are these bytes under right checksums, are asked everything.
pub fn identity_index(bytes: &[u8]) {
    for file in [bytes.to_vec(), blocks::around(bytes, false), blocks::around(bytes, true)] {
        let index = IdIndex::of(&file);
        let Ok(kinds) = index.kinds() else { continue };
        for kind in kinds {
            let term = Sought::new(&format!("{}=1", kind.name));
            let _ = (index.values(&kind.name), index.count(&term), index.lookup(&[term], 10));
        }
        let _ = index.check();
    }
}

/// A data folder whose catalog is a file of these bytes: it is opened, or set aside and made anew, and everything in it is read.
///
/// # Errors
/// What was refused: a newer version, and what the disk says.
pub fn catalog(bytes: &[u8]) -> Result<usize, Error> {
    let doing = || "making a folder".to_owned();
    let dir = tempfile::tempdir().context(ErrorKind::Retry, doing)?;
    std::fs::write(dir.path().join("catalog.sqlite"), bytes).context(ErrorKind::Retry, doing)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context(ErrorKind::Retry, doing)?.block_on(async {
        let folder = Folder::new(dir.path(), Arc::new(RealFs), Planted::default());
        let clock = ManualClock::at(NOW);
        let catalog = Catalog::open(&folder, &CatalogHome::Embedded, &*clock).await?;
        let segments = catalog.segments().await?;
        let (deletes, positions) = (catalog.deletes().await?, catalog.positions().await?);
        let found = segments.len() + deletes.len() + positions.len();
        assert!(found <= bytes.len(), "{found} things in {} bytes", bytes.len());
        // What was read is written, and what is written is believed.
        catalog.commit(&[], &[], catalog.wal_sequence().await?).await?;
        catalog.close().await;
        let again = Catalog::open(&folder, &CatalogHome::Embedded, &*clock).await?;
        assert_eq!(again.segments().await?.len(), segments.len(), "nothing is lost by being written again");
        again.close().await;
        Ok(found)
    })
}

/// An OTLP request in protobuf becomes rows.
pub fn request(signal: Signal, bytes: &[u8]) {
    let Ok(batch) = decode::decode(signal, bytes, &IdRules::default(), NOW, 10_000) else { return };
    assert!(batch.accepted + batch.rejected <= 10_000 || signal == Signal::Metrics);
    for row in batch.rows.columns() {
        assert_eq!(row.len(), batch.rows());
    }
}

/// Positions in a header, and the extension of a record.
pub fn positions(bytes: &[u8]) {
    if let Ok(ranges) = model::positions::decode(bytes) {
        let again = model::positions::decode(&model::positions::encode(&ranges));
        assert_eq!(again.as_ref(), Ok(&ranges), "what was read is written the same");
    }
    // What cannot be read was written by a newer version.
    if let Ok(extension) = Extension::decode(bytes) {
        assert!(Extension::decode(&extension.encode()).is_ok(), "what was read is written readably");
    }
}

/// A folder with one file that nobody can change.
#[derive(Clone, Debug)]
struct OneFile(Arc<[u8]>);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl DiskFile for OneFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let read = buffer.len().min(self.0.len() - start);
        buffer[..read].copy_from_slice(&self.0[start..start + read]);
        Ok(read)
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        refused()
    }

    fn sync_data(&self) -> io::Result<()> {
        refused()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn preallocate(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

impl Fs for OneFile {
    fn create(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
        refused()
    }

    fn open(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.clone()))
    }

    fn open_write(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
        refused()
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(vec!["00000000000000000001.wal".to_owned()])
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::testing::{log as log_record, logs_request, points_request, span, spans_request};

    /// Bytes with some changed, cut or doubled.
    fn damaged(sound: &[u8], changes: &[(usize, u8)], cut: usize) -> Vec<u8> {
        let mut bytes = sound.to_vec();
        for (at, byte) in changes {
            let at = at % bytes.len().max(1);
            bytes[at] ^= byte;
        }
        bytes.truncate(bytes.len() - cut % (bytes.len() / 4).max(1));
        bytes
    }

    fn changes() -> impl Strategy<Value = (Vec<(usize, u8)>, usize)> {
        (
            prop::collection::vec((any::<usize>(), 1..=255_u8), 0..6),
            prop_oneof![3 => Just(0), 1 => any::<usize>()],
        )
    }

    fn requests() -> [(Signal, Vec<u8>); 3] {
        [
            (Signal::Traces, spans_request(vec![span(1, 2, 0, true)]).encode_to_vec()),
            (Signal::Logs, logs_request(vec![log_record("body", 1, "ORD-1", 0)]).encode_to_vec()),
            (Signal::Metrics, points_request(&[("up", 0, 1.0), ("down", 5, 2.0)]).encode_to_vec()),
        ]
    }

    #[test]
    fn files_over_which_the_library_panics_are_damaged() {
        let wide_numbers: &[u8] = include_bytes!("../tests/damaged/wide-numbers.parquet");
        let unknown_type: &[u8] = include_bytes!("../tests/damaged/unknown-type.parquet");
        for bytes in [wide_numbers, unknown_type] {
            let error = segment(bytes).expect_err("the library panics over it");
            assert!(error.to_string().contains("damaged"), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn damaged_requests_and_any_bytes_end_in_rows_or_a_refusal(
            (changes, cut) in changes(),
            noise in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            for (signal, sound) in requests() {
                request(signal, &damaged(&sound, &changes, cut));
                request(signal, &noise);
            }
        }

        #[test]
        fn any_bytes_are_an_identity_index_or_none(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            identity_index(&noise);
        }

        #[test]
        fn damaged_positions_and_any_bytes_are_read_or_refused(
            (changes, cut) in changes(),
            noise in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            let stream = model::positions::StreamId([3; 16]);
            let range = model::positions::Range { ends: vec![5, 9], ..model::positions::Range::new(stream, 0, 9, 2) };
            positions(&damaged(&model::positions::encode(&[range]), &changes, cut));
            positions(&noise);
        }

        #[test]
        fn damaged_logs_and_any_bytes_are_walked_and_replayed(
            (changes, cut) in changes(),
            noise in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let sound = include_bytes!("../../fuzz/corpus/log/three-records");
            log(&damaged(sound, &changes, cut));
            log(&noise);
        }
    }

    /// The catalog of a data folder with segments, a delete and positions.
    fn sound_catalog() -> Vec<u8> {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/catalog/a-folder"))
            .expect("there")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        #[test]
        fn damaged_catalogs_and_any_bytes_are_opened_or_made_anew(
            (changes, cut) in changes(),
            noise in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            for bytes in [damaged(&sound_catalog(), &changes, cut), noise] {
                if let Err(error) = catalog(&bytes) {
                    prop_assert!(error.to_string().contains("use a newer silmari"), "{error}");
                }
            }
        }
    }

    #[test]
    fn the_seeds_of_the_corpus_are_sound() {
        assert_eq!(catalog(&sound_catalog()).expect("sound"), 3 + 1 + 3, "segments, a delete, positions");
        let sound = include_bytes!("../../fuzz/corpus/log/three-records");
        let fs: Arc<dyn Fs> = Arc::new(OneFile(Arc::from(&sound[..])));
        let mut records = 0;
        let report = wal::replay_only(fs, "/wal".into(), ManualClock::at(NOW), &mut |_| records += 1);
        assert_eq!((records, report.expect("sound").damaged_bytes), (3, 0));
    }
}
