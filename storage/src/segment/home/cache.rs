//! Copies of an object store's segments on the local disk, bounded by bytes.
//!
//! ```text
//! fetch ─► there? ─► touch                      DATA_DIR/cache/
//!            │ no                                 segments/<table>/<name>/{data.crc, data.parquet.000003, ids/, text/}
//!            ▼                                    new/<process>-<n>       being written, then renamed
//!          objects ─► new/… ─► rename ─► counted ─► above the limit: the longest unused go, down to nine tenths
//! ```
//!
//! Owns: which copies there are. Does not own: reading them (`source`).
//!
//! Invariants: one process writes and evicts, others read and touch; the time of a copy's last use is its modification time,
//! so that it survives a restart; nothing here is synced, because a copy is checked when it is read; an index that is mapped
//! into memory is let go when its copy is evicted, so that its space is free.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use super::objects::Objects;
use super::source::{CHUNK_BYTES, Fetch, Index, WantedFiles, WantedPart, chunk_name, touch};
use crate::folder::bytes_below;
use crate::index::IdIndex;
use crate::schema;
use crate::segment::{SegmentMeta, checksums};
use crate::text::files;

/// Chunks that come with one request.
const CHUNKS_PER_REQUEST: u64 = 4;
/// Chunks of the largest object there can be.
const CHUNKS_MAX: u64 = 1 << 24;
/// Fetches that do not wait for each other.
const LOCKS: usize = 32;
/// Folders below that of copies: `segments/<table>/<name>`.
const DEPTH: usize = 3;

/// Something that holds a copy open.
pub(crate) trait Holder: Send + Sync {
    /// Lets it go.
    fn let_go(&self);
}

/// The copies of one object store's segments.
pub(crate) struct Cache {
    root: PathBuf,
    bytes_max: u64,
    objects: Arc<Objects>,
    bytes: AtomicU64,
    number: AtomicU64,
    /// Whoever fetches holds the lock of what it fetches, so that nothing is fetched twice at a time.
    locks: [Mutex<()>; LOCKS],
    evicting: Mutex<()>,
    holders: Mutex<HashMap<PathBuf, Weak<dyn Holder>>>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("root", &self.root)
            .field("bytes_max", &self.bytes_max)
            .finish_non_exhaustive()
    }
}

/// A copy: a file, or the folder of an index.
struct Copy {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl Cache {
    /// The copies below `root`; those of an earlier process stay.
    pub(crate) fn open(root: PathBuf, bytes_max: u64, objects: Arc<Objects>) -> io::Result<Self> {
        let unfinished = root.join("new");
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&unfinished)?,
        }
        let cache = Self::beside(root, bytes_max, &objects);
        cache.make_room();
        Ok(cache)
    }

    /// As [`Cache::open`], without looking at what there is.
    pub(crate) fn beside(root: PathBuf, bytes_max: u64, objects: &Arc<Objects>) -> Self {
        Self {
            root,
            bytes_max,
            objects: Arc::clone(objects),
            bytes: AtomicU64::new(0),
            number: AtomicU64::new(0),
            locks: Default::default(),
            evicting: Mutex::default(),
            holders: Mutex::default(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The copy in `dir` is held open until it is let go.
    pub(crate) fn hold(&self, dir: &Path, holder: Weak<dyn Holder>) {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned(), holder);
    }

    /// A place to write to, used once.
    fn unfinished(&self) -> PathBuf {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        self.root.join("new").join(format!("{}-{number}", std::process::id()))
    }

    fn put(&self, to: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = self.unfinished();
        fs::write(&new, bytes)?;
        self.move_in(&new, to, bytes.len() as u64)
    }

    /// Makes what was written a copy.
    fn move_in(&self, new: &Path, to: &Path, bytes: u64) -> io::Result<()> {
        if let Some(dir) = to.parent() {
            fs::create_dir_all(dir)?;
        }
        let moved = fs::rename(new, to);
        if moved.is_err() && to.exists() {
            // An index that somebody else has fetched meanwhile.
            return fs::remove_dir_all(new);
        }
        moved?;
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > self.bytes_max {
            self.make_room();
        }
        Ok(())
    }

    /// Counts the copies, and drops the longest unused while they are too many.
    fn make_room(&self) {
        let _one_at_a_time = self.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut copies = Vec::new();
        find(&self.root.join("segments"), DEPTH - 1, &mut copies);
        let mut bytes: u64 = copies.iter().map(|copy| copy.bytes).sum();
        if bytes > self.bytes_max {
            copies.sort_by_key(|copy| copy.used);
            let enough = self.bytes_max / 10 * 9;
            for copy in copies {
                if bytes <= enough {
                    break;
                }
                self.drop_copy(&copy.path);
                bytes -= copy.bytes;
            }
        }
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    fn drop_copy(&self, path: &Path) {
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("the copy `{}` cannot be removed: {error}", path.display());
        }
        // The folder of the segment, when this was its last copy.
        let _ = path.parent().map(fs::remove_dir);
        let holder = self.holders.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
        if let Some(holder) = holder.and_then(|holder| holder.upgrade()) {
            holder.let_go();
        }
    }

    /// Drops what there is of a segment.
    pub(crate) fn forget(&self, meta: &SegmentMeta) {
        let Ok(entries) = fs::read_dir(self.root.join(meta.path())) else { return };
        entries.filter_map(Result::ok).for_each(|entry| self.drop_copy(&entry.path()));
    }

    /// Takes the files of a segment that was just put: whoever wrote it is about to read it. The indexes are moved.
    pub(crate) fn seed(&self, from: &Path, meta: &SegmentMeta) -> io::Result<()> {
        let dir = self.root.join(meta.path());
        let mut rows = fs::File::open(from.join("data.parquet"))?;
        for chunk in 0.. {
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut io::Read::take(&mut rows, CHUNK_BYTES), &mut bytes)?;
            if bytes.is_empty() {
                break;
            }
            self.put(&dir.join(chunk_name(chunk)), &bytes)?;
        }
        self.put(&dir.join(checksums::FILE), &fs::read(from.join(checksums::FILE))?)?;
        for index in [Index::Ids, Index::Text].map(Index::folder) {
            if from.join(index).is_dir() {
                let bytes = bytes_below(&from.join(index))?;
                let new = self.unfinished();
                fs::rename(from.join(index), &new)?;
                self.move_in(&new, &dir.join(index), bytes)?;
            }
        }
        Ok(())
    }

    fn fetch_chunks(&self, meta: &SegmentMeta, chunks: &Range<u64>) -> io::Result<()> {
        let dir = self.root.join(meta.path());
        let mut next = chunks.start;
        while next < chunks.end {
            if dir.join(chunk_name(next)).exists() {
                next += 1;
                continue;
            }
            let is_missing = |chunk: &u64| !dir.join(chunk_name(*chunk)).exists();
            let end = chunks.end.min(next + CHUNKS_PER_REQUEST);
            let count = (next..end).take_while(is_missing).count() as u64;
            let bytes = next * CHUNK_BYTES..(next + count) * CHUNK_BYTES;
            let got = self.objects.get_range(meta, "data.parquet", bytes)?;
            for (chunk, bytes) in (next..).zip(got.chunks(CHUNK_BYTES as usize)) {
                self.put(&dir.join(chunk_name(chunk)), bytes)?;
            }
            next += count;
        }
        Ok(())
    }

    fn fetch_checksums(&self, meta: &SegmentMeta) -> io::Result<()> {
        let bytes = self.objects.get(meta, checksums::FILE)?;
        if !checksums::Checksums::are_sound(&bytes) {
            let message = format!("`{}/{}` is damaged", self.objects.shown(meta), checksums::FILE);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.put(&self.root.join(meta.path()).join(checksums::FILE), &bytes)
    }

    /// An index that the segment need not have, and has not, becomes an empty folder.
    fn fetch_index(&self, meta: &SegmentMeta, index: Index) -> io::Result<()> {
        let to = self.root.join(meta.path()).join(index.folder());
        if to.is_dir() {
            touch(&to);
            return Ok(());
        }
        let within = format!("{}/", index.folder());
        let listed = self.objects.files(meta)?;
        let (names, bytes): (Vec<String>, Vec<u64>) =
            listed.into_iter().filter(|(name, _)| name.starts_with(&within)).unzip();
        let is_needed = index == Index::Ids && schema::group_column(meta.signal).is_some();
        if names.is_empty() && is_needed {
            let message = format!("`{}` has no index `{}`", self.objects.shown(meta), index.folder());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let new = self.unfinished();
        let got = fs::create_dir_all(new.join(index.folder())).and_then(|()| {
            self.objects.download(meta, &names, &new)?;
            match names.is_empty() {
                true => Ok(()),
                false => check(index, &new.join(index.folder())).map_err(|problem| {
                    let message = format!("`{}/{}`: {problem}", self.objects.shown(meta), index.folder());
                    io::Error::new(io::ErrorKind::InvalidData, message)
                }),
            }
        });
        let moved = got.and_then(|()| self.move_in(&new.join(index.folder()), &to, bytes.iter().sum()));
        // Empty by now, or of no use.
        let _ = fs::remove_dir_all(&new);
        moved
    }
}

/// Whether the files of an index are as they were written; what is wrong, if something is.
fn check(index: Index, dir: &Path) -> Result<(), String> {
    match index {
        Index::Ids => {
            IdIndex::open(dir).and_then(|ids| ids.check()).map(|_| ()).map_err(|error| error.to_string())
        }
        Index::Text => files::check(dir).map_err(|error| error.to_string()),
    }
}

impl Fetch for Cache {
    fn fetch(&self, wanted: &WantedFiles) -> io::Result<()> {
        let meta = SegmentMeta::from_name(wanted.signal, &wanted.name);
        let meta = meta.ok_or_else(|| io::Error::other(format!("`{}` is no segment", wanted.name)))?;
        if matches!(&wanted.part, WantedPart::Chunks(chunks) if chunks.end > CHUNKS_MAX) {
            return Err(io::Error::other("no segment is that large"));
        }
        let mut hasher = DefaultHasher::new();
        wanted.hash(&mut hasher);
        let lock = &self.locks[(hasher.finish() % LOCKS as u64) as usize];
        let _one_at_a_time = lock.lock().unwrap_or_else(PoisonError::into_inner);
        match &wanted.part {
            WantedPart::Checksums => self.fetch_checksums(&meta),
            WantedPart::Chunks(chunks) => self.fetch_chunks(&meta, chunks),
            WantedPart::Index(index) => self.fetch_index(&meta, *index),
        }
    }
}

/// The copies `depth` folders below `dir`.
fn find(dir: &Path, depth: usize, found: &mut Vec<Copy>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.filter_map(Result::ok) {
        let Ok(metadata) = entry.metadata() else { continue };
        let path = entry.path();
        if depth > 0 {
            find(&path, depth - 1, found);
            continue;
        }
        let bytes = bytes_below(&path).unwrap_or(0);
        found.push(Copy { path, bytes, used: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH) });
    }
}

/// Signals and names of which there are copies; for tests.
#[cfg(test)]
pub(crate) fn copies(root: &Path, signal: model::Signal) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root.join("segments").join(signal.table())) else { return Vec::new() };
    entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
