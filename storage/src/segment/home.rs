//! Where sealed segments are kept. Whatever publishes, lists or removes their folders does it here; their rows are read through
//! [`super::checksums::CheckedFile`], by ranges.
//!
//! ```text
//! writer ─ publish ─► segments/<table>/<name>/ ◄─ list ─ sweep, rebuild, fsck
//!                            ▲      └──────────── remove ─ compaction, retention, sweep
//!                            └ read_range ─ queries, compaction
//! ```
//!
//! Owns: what makes a published folder durable on a file system. Does not own: which segments live (`catalog`), what is in
//! a folder (`writer`, `reader`).
//!
//! Invariants: a folder under its final name is complete and durable, files and names both, before `publish`
//! returns; until then it has the suffix `.tmp` and nobody reads it.

use std::io;
use std::path::{Path, PathBuf};

use model::Signal;

use super::SegmentMeta;
use crate::folder::Folder;
use crate::plant::Plant;

/// What an unfinished folder's name ends with.
const UNFINISHED: &str = "tmp";

/// A folder of a table.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
}

impl Listed {
    /// Whether it was never published.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == UNFINISHED)
    }
}

/// Where a segment is written before it is published.
pub(super) fn unfinished(folder: &Folder, meta: &SegmentMeta) -> PathBuf {
    folder.path.join(meta.path()).with_extension(UNFINISHED)
}

/// Makes what was written under [`unfinished`] durable under the segment's name.
pub(super) fn publish(folder: &Folder, meta: &SegmentMeta) -> io::Result<()> {
    let (from, dir) = (unfinished(folder, meta), folder.path.join(meta.path()));
    let Folder { fs, planted, .. } = folder;
    if !planted.has(Plant::SegmentNotSynced) {
        folder.sync_tree(&from)?;
    }
    folder.remove_if_there(&dir)?;
    fs.rename(&from, &dir)?;
    for parent in dir.ancestors().skip(1).take(3) {
        if !planted.has(Plant::SegmentNameNotSynced) {
            fs.sync_dir(parent)?;
        }
    }
    Ok(())
}

/// The folders of a signal's table, sorted by name; none where there is no table.
pub(crate) fn list(data_dir: &Path, signal: Signal) -> Vec<Listed> {
    let Ok(entries) = std::fs::read_dir(data_dir.join("segments").join(signal.table())) else {
        return Vec::new();
    };
    let listed = |entry: std::fs::DirEntry| Listed {
        path: entry.path(),
        name: entry.file_name().to_string_lossy().into_owned(),
    };
    let mut all: Vec<Listed> = entries.filter_map(Result::ok).map(listed).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Removes a folder that the catalog does not name, if it is there. What cannot be removed is swept when the store
/// opens.
pub(crate) fn remove(folder: &Folder, dir: &Path) {
    match folder.remove_if_there(dir) {
        Ok(()) => tracing::debug!("removed `{}`", dir.display()),
        Err(error) => tracing::warn!("`{}` is swept when the store opens: {error}", dir.display()),
    }
}
