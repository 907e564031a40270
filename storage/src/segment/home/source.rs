//! From where the files of a segment are read: the data folder, or a cache of what an object store keeps.
//!
//! ```text
//! SegmentSource::Folder   DATA_DIR/segments/<table>/<name>/…            what was published
//! SegmentSource::Cached   DATA_DIR/cache/segments/<table>/<name>/       copies; what is missing is asked of Fetch
//!                           data.crc                                    whole
//!                           data.parquet.000003                         the fourth 2 MiB
//!                           ids/ text/                                  whole
//! ```
//!
//! Owns: how copies are named and read. Does not own: who fetches them (`cache` in a server, a pipe to the server in a
//! worker process), nor which are dropped.
//!
//! Invariants: whatever can vanish is asked for again; a copy is not believed, its checksums are held against it as
//! against the original; nothing is written here.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use model::Signal;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use serde::{Deserialize, Serialize};

use super::cache::Cache;
use crate::segment::SegmentMeta;
use crate::segment::checksums::{self, CheckedFile, Checksums};

/// Bytes of a Parquet file that are fetched and kept together: a row group is one to three of them.
pub(crate) const CHUNK_BYTES: u64 = 2 << 20;
/// How often a copy may vanish between its fetch and its use.
const TRIES: usize = 8;

/// Brings files of segments to the local disk.
pub trait Fetch: Debug + Send + Sync {
    /// Returns when all that is wanted is there. Blocking.
    ///
    /// # Errors
    /// `NotFound` when the segment has no such file; others when the place where segments are kept does not answer.
    fn fetch(&self, wanted: &WantedFiles) -> io::Result<()>;
}

/// What of a segment is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WantedFiles {
    pub(crate) signal: Signal,
    pub(crate) name: String,
    pub(crate) part: WantedPart,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum WantedPart {
    /// `data.crc`.
    Checksums,
    /// Chunks of `data.parquet`.
    Chunks(Range<u64>),
    /// All files of an index.
    Index(Index),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Index {
    Ids,
    Text,
}

impl Index {
    /// Its folder beside the rows.
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Ids => "ids",
            Self::Text => "text",
        }
    }
}

/// Name of the copy of a chunk.
pub(super) fn chunk_name(chunk: u64) -> String {
    format!("data.parquet.{chunk:06}")
}

/// From where segments are read. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum SegmentSource {
    /// A data folder.
    Folder(Arc<Path>),
    /// Copies, in the same layout.
    Cached(Copies),
}

/// A folder of copies.
#[derive(Clone, Debug)]
pub(crate) struct Copies {
    pub(crate) root: Arc<Path>,
    pub(crate) fetch: Arc<dyn Fetch>,
    /// Where this process is the one that fetches and evicts.
    pub(crate) cache: Option<Arc<Cache>>,
}

impl<P: AsRef<Path>> From<P> for SegmentSource {
    fn from(data_dir: P) -> Self {
        Self::Folder(data_dir.as_ref().into())
    }
}

impl SegmentSource {
    /// The folder of a segment.
    pub(crate) fn dir(&self, meta: &SegmentMeta) -> PathBuf {
        match self {
            Self::Folder(root) | Self::Cached(Copies { root, .. }) => root.join(meta.path()),
        }
    }

    /// The checksums of its rows. `None` when there are none, or they are damaged.
    ///
    /// # Errors
    /// When they cannot be fetched, or copies of what was fetched are damaged again and again: without them copies are not believed.
    pub(crate) fn checksums(&self, meta: &SegmentMeta) -> io::Result<Option<Arc<Checksums>>> {
        let data = self.dir(meta).join("data.parquet");
        let Self::Cached(Copies { fetch, .. }) = self else { return Ok(Checksums::of(&data).map(Arc::new)) };
        for _ in 0..TRIES {
            let path = data.with_file_name(checksums::FILE);
            if let Some(found) = Checksums::of(&data) {
                touch(&path);
                return Ok(Some(Arc::new(found)));
            }
            // A damaged copy makes room for a new one.
            let _ = std::fs::remove_file(&path);
            fetch.fetch(&wanted(meta, WantedPart::Checksums))?;
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("`{}` is damaged", checksums::FILE)))
    }

    /// Opens its Parquet file; what is read is held against the checksums.
    pub(crate) fn open_data(
        &self,
        meta: &SegmentMeta,
        checksums: Option<Arc<Checksums>>,
    ) -> io::Result<CheckedFile> {
        let data = self.dir(meta).join("data.parquet");
        match (self, checksums) {
            (Self::Cached(Copies { fetch, .. }), Some(checksums)) => {
                let wanted = wanted(meta, WantedPart::Checksums);
                let chunks =
                    Chunks { dir: self.dir(meta), wanted, fetch: Arc::clone(fetch), len: checksums.bytes() };
                Ok(CheckedFile::cached(&data, chunks, checksums))
            }
            (_, checksums) => CheckedFile::open(&data, checksums),
        }
    }
}

/// What is asked of a segment.
pub(crate) fn wanted(meta: &SegmentMeta, part: WantedPart) -> WantedFiles {
    WantedFiles { signal: meta.signal, name: meta.name.clone(), part }
}

/// Says that a copy was used just now: those that were not go first. A copy that has just gone needs no mark.
pub(crate) fn touch(path: &Path) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let _ = utimensat(CWD, path, &Timestamps { last_access: now, last_modification: now }, AtFlags::empty());
}

/// The copies of one Parquet file, chunk by chunk. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Chunks {
    dir: PathBuf,
    wanted: WantedFiles,
    fetch: Arc<dyn Fetch>,
    len: u64,
}

impl Chunks {
    /// Bytes of the original.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Reads these bytes, which lie within the file. Blocking: fetches what is not there.
    pub(crate) fn read(&self, bytes: Range<u64>) -> io::Result<Bytes> {
        let mut out = vec![0; usize::try_from(bytes.end - bytes.start).map_err(io::Error::other)?];
        let chunks = bytes.start / CHUNK_BYTES..bytes.end.div_ceil(CHUNK_BYTES);
        for chunk in chunks.clone() {
            let start = (chunk * CHUNK_BYTES).max(bytes.start);
            let end = ((chunk + 1) * CHUNK_BYTES).min(bytes.end);
            let part = &mut out[(start - bytes.start) as usize..(end - bytes.start) as usize];
            self.read_chunk(chunk, start - chunk * CHUNK_BYTES, part, chunks.end)?;
        }
        Ok(out.into())
    }

    /// Reads from one chunk; when it has to be fetched, those up to `until` come along.
    fn read_chunk(&self, chunk: u64, from: u64, into: &mut [u8], until: u64) -> io::Result<()> {
        let path = self.dir.join(chunk_name(chunk));
        for _ in 0..TRIES {
            match File::open(&path).and_then(|file| file.read_exact_at(into, from)) {
                Ok(()) => {
                    touch(&path);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Cut short by a crash.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.forget_chunk(chunk),
                Err(error) => return Err(error),
            }
            let part = WantedPart::Chunks(chunk..until);
            self.fetch.fetch(&WantedFiles { part, ..self.wanted.clone() })?;
        }
        Err(io::Error::other(
            "copies of the segment vanish faster than they are read: the cache is too small",
        ))
    }

    /// Drops the copies of these bytes, because they are not what was written.
    pub(crate) fn forget(&self, bytes: &Range<u64>) {
        (bytes.start / CHUNK_BYTES..bytes.end.div_ceil(CHUNK_BYTES))
            .for_each(|chunk| self.forget_chunk(chunk));
    }

    fn forget_chunk(&self, chunk: u64) {
        // If it cannot be removed it is read again, and found damaged again.
        let _ = std::fs::remove_file(self.dir.join(chunk_name(chunk)));
    }
}
