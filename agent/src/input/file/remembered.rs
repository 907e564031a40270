//! Files that are no longer read, and what is kept of them: where they were left, and the evidence for it.
//!
//! Bounds: [`REMEMBERED_MAX`]; the oldest are forgotten, and the collector is told to forget them too.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::identity::{FileKey, FileStat, HEAD_BYTES, Mark};
use super::names::is_kin_of_one;
use super::positions::SavedFile;
use super::tracked::{FileId, Tracked};
use super::{FileTail, stream_id};

/// Closed or truncated files whose positions are kept.
const REMEMBERED_MAX: usize = 1024;

/// The generation of a file that holds the bytes before an offset as its own, and the offset.
pub(super) type Origin = (FileKey, u32, u64);

/// A generation of a file that is no longer read.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    /// Number in this run; `None` for one of an earlier run.
    pub(super) id: Option<FileId>,
    pub(super) key: FileKey,
    pub(super) generation: u32,
    pub(super) path: PathBuf,
    /// See [`SavedFile::stream_path`].
    pub(super) stream_path: PathBuf,
    pub(super) input: String,
    pub(super) read: Mark,
    pub(super) acked: Mark,
    /// Where reading goes on: what is acknowledged, by what is saved or by what the collector says.
    pub(super) resume: u64,
    /// How far it went into batches of this run.
    pub(super) sent: u64,
    /// See [`SavedFile::continues`].
    pub(super) continues: Option<(FileKey, u32, u64)>,
    /// Nothing of it is left to be read. `false` for an open file of an earlier run.
    pub(super) is_closed: bool,
    /// See [`SavedFile::is_undecided`].
    pub(super) is_undecided: bool,
}

impl From<SavedFile> for Remembered {
    fn from(saved: SavedFile) -> Self {
        Self {
            id: None,
            key: saved.key,
            generation: saved.generation,
            path: saved.path,
            stream_path: saved.stream_path,
            input: saved.input,
            read: saved.seen,
            acked: saved.acked,
            resume: saved.acked.offset,
            sent: saved.acked.offset,
            continues: saved.continues,
            is_closed: saved.is_closed,
            is_undecided: saved.is_undecided,
        }
    }
}

impl Remembered {
    /// Of a file as it stands, which is closed or truncated.
    pub(super) fn of(file: &Tracked, input: String) -> Self {
        Self {
            id: Some(file.id),
            key: file.key,
            generation: file.generation,
            path: file.path.clone(),
            stream_path: PathBuf::from(&file.stream.file_path),
            input,
            read: file.read,
            acked: file.acked,
            resume: file.read.offset,
            sent: file.sent,
            continues: file.continues,
            is_closed: true,
            is_undecided: false,
        }
    }

    /// A compressed file of which nothing is left to be read.
    pub(super) fn packed(key: FileKey, path: &Path, input: String, end: Mark) -> Self {
        Self {
            id: None,
            key,
            generation: 0,
            path: path.to_path_buf(),
            stream_path: path.to_path_buf(),
            input,
            read: end,
            acked: end,
            resume: end.offset,
            sent: end.offset,
            continues: None,
            is_closed: true,
            is_undecided: false,
        }
    }

    /// Of a file that was deleted and is held open, for the comparison with one restored in its place.
    pub(super) fn restorable(file: &Tracked) -> Self {
        Self::of(file, String::new())
    }

    /// Whether a new file at `path` is this one restored from a backup, if their bytes agree: with less
    /// evidence than a whole head, files that only begin alike would be taken for each other.
    /// A time of change before the birth is evidence as well: a restoring program set it.
    pub(super) fn is_restored_as(&self, path: &Path, stat: &FileStat) -> bool {
        let is_named = self.path == path || self.is_kin_of(path);
        is_named
            && self.read.offset > 0
            && (self.read.offset >= HEAD_BYTES as u64 || stat.modified < stat.born())
    }

    /// What it continues when it is read from `at`: what lies behind is its own from then on.
    pub(super) fn continued_at(&self, at: u64) -> Option<Origin> {
        self.continues.map(|(key, generation, began)| (key, generation, began.min(at)))
    }

    /// Whether `path` is a name that a rotation gives to it.
    pub(super) fn is_kin_of(&self, path: &Path) -> bool {
        is_kin_of_one([&self.path, &self.stream_path], path)
    }

    /// Whether this is that generation of that file.
    pub(super) fn is(&self, id: FileId, generation: u32) -> bool {
        self.id == Some(id) && self.generation == generation
    }

    /// What is kept on disk of it.
    pub(super) fn saved(&self) -> SavedFile {
        SavedFile {
            key: self.key,
            generation: self.generation,
            path: self.path.clone(),
            stream_path: self.stream_path.clone(),
            input: self.input.clone(),
            is_closed: self.is_closed,
            is_undecided: self.is_undecided,
            acked: self.acked,
            seen: self.read,
            continues: self.continues,
        }
    }

    /// Whether `file`, of `size` bytes, is the file this was and not another content in its place: the
    /// bytes before how far it was read are the same. Bytes that a power failure took are forgiven when
    /// there is enough evidence before them.
    pub(super) fn is_begun_in(&self, file: &File, size: u64) -> io::Result<bool> {
        if size < self.resume {
            return Ok(false);
        }
        Ok(self.read.holds_in(file)?
            || self.acked.offset >= HEAD_BYTES as u64 && self.acked.holds_in(file)?)
    }

    /// Whether lines of this run were read that the collector has not acknowledged.
    pub(super) fn is_unacknowledged(&self) -> bool {
        self.id.is_some() && self.acked.offset < self.read.offset
    }
}

impl FileTail {
    /// Takes the newest generation of a file out of memory.
    pub(super) fn recall(&mut self, key: &FileKey) -> Option<Remembered> {
        let newest = self.remembered.iter().enumerate().filter(|(_, old)| old.key == *key);
        let (at, _) = newest.max_by_key(|(_, old)| old.generation)?;
        self.remembered.remove(at)
    }

    /// Keeps a generation of a file that is no longer read; beyond the limit the oldest is forgotten.
    pub(super) fn remember(&mut self, old: Remembered) {
        self.remembered.push_back(Remembered { is_closed: true, ..old });
        let mut excess = self.remembered.len().saturating_sub(REMEMBERED_MAX);
        let (packed, forget) = (&self.packed, &mut self.forget);
        self.remembered.retain(|old| {
            // A compressed file that is still there would be taken for a new one.
            let is_kept = excess == 0 || packed.contains_key(&old.key);
            if !is_kept {
                excess -= 1;
                forget.push(stream_id(&old.key, old.generation));
            }
            is_kept
        });
    }
}
