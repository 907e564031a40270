//! `store ls`: the segments that live, and the log's files.

use std::ops::ControlFlow;

use model::{Signal, UnixNano};
use serde::Serialize;

use super::Inspector;
use crate::error::{Context as _, Error, ErrorKind};
use crate::segment::checksums;
use crate::wal::walk::Walked;

/// What a store consists of.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Listing {
    /// Live segments, oldest first.
    pub segments: Vec<SegmentListing>,
    /// Files of the write-ahead log, in order. Empty while a server writes it.
    pub wal: Vec<WalListing>,
    /// Everything up to this WAL sequence is in segments.
    pub wal_sequence: u64,
    /// Whether a server uses the store.
    pub is_live: bool,
}

/// A segment.
#[derive(Clone, Debug, Serialize)]
pub struct SegmentListing {
    /// What its rows are.
    pub signal: Signal,
    /// Its folder below `segments/TABLE/`.
    pub name: String,
    /// 0 for what a seal wrote, one more than its inputs for what compaction wrote.
    pub level: u32,
    /// Format version.
    pub format_version: u32,
    /// Its earliest row.
    pub min_time: UnixNano,
    /// Its latest row.
    pub max_time: UnixNano,
    /// Its rows.
    pub rows: u64,
    /// Bytes of all its files on disk; what the catalog says where they differ is a finding of `verify`.
    pub bytes: u64,
    /// Bytes of `data.parquet` and its checksums.
    pub parquet_bytes: u64,
    /// Bytes of the identity index.
    pub id_index_bytes: u64,
}

/// A file of the log.
#[derive(Clone, Debug, Serialize)]
pub struct WalListing {
    /// Its name.
    pub name: String,
    /// Bytes of it, those preallocated too.
    pub bytes: u64,
    /// Its records.
    pub records: u64,
    /// Sequence of its first record; 0 when it has none.
    pub first_sequence: u64,
    /// Sequence of its last record; 0 when it has none.
    pub last_sequence: u64,
    /// Records that are not in segments yet: what a start replays.
    pub to_replay: u64,
}

impl Inspector {
    /// The segments and the log's files. Blocking: reads the log's headers and records.
    ///
    /// # Errors
    /// When the log or an object store cannot be listed.
    pub fn listing(&self) -> Result<Listing, Error> {
        let segments = self.segments.iter().map(|meta| {
            let sizes = self.sizes_of(meta);
            let sizes = sizes.context(ErrorKind::Retry, || format!("listing `{}`", meta.path()))?;
            Ok(SegmentListing {
                signal: meta.signal,
                name: meta.name.clone(),
                level: meta.level,
                format_version: meta.format_version,
                min_time: meta.time.from,
                max_time: meta.time.to,
                rows: meta.rows,
                bytes: sizes.all(),
                parquet_bytes: sizes.of("data.parquet") + sizes.of(checksums::FILE),
                id_index_bytes: sizes.of("ids"),
            })
        });
        let segments = segments.collect::<Result<_, Error>>()?;
        // Beside a server a half-written record would look like damage.
        let wal = if self.is_live { Vec::new() } else { self.wal_files()? };
        Ok(Listing { segments, wal, wal_sequence: self.wal_sequence, is_live: self.is_live })
    }

    fn wal_files(&self) -> Result<Vec<WalListing>, Error> {
        let mut files: Vec<WalListing> = Vec::new();
        self.wal().walk(&mut |walked| {
            match (walked, files.last_mut()) {
                (Walked::File(file), _) => files.push(WalListing {
                    name: file.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                    bytes: file.bytes,
                    records: 0,
                    first_sequence: 0,
                    last_sequence: 0,
                    to_replay: 0,
                }),
                (Walked::Record(record), Some(file)) if record.is_crc_ok => {
                    file.records += 1;
                    file.last_sequence = record.sequence;
                    if file.first_sequence == 0 {
                        file.first_sequence = record.sequence;
                    }
                    file.to_replay += u64::from(record.sequence > self.wal_sequence);
                }
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        Ok(files)
    }
}
