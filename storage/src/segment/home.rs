//! Where sealed segments are kept. Whatever publishes, lists or removes them does it here; their rows are read through
//! [`super::checksums::CheckedFile`], by ranges.
//!
//! ```text
//! writer ─► segments/<table>/<name>.tmp/ ─ publish ─┬─► segments/<table>/<name>/        synced, renamed, names synced
//!                                                   └─► object store, data.parquet last; copies into the cache
//!               list ─ sweep, rebuild, fsck         remove ─ compaction, retention, sweep
//!               source ─ queries, compaction
//! ```
//!
//! Owns: what makes a published segment durable. Does not own: which segments live (`catalog`), what is in one (`writer`,
//! `reader`), how an object store is asked (`objects`) and what of it is on the local disk (`cache`).
//!
//! Invariants: a segment under its name is complete and durable before `publish` returns; until then its folder has the suffix
//! `.tmp` and nobody reads it. What is half put into an object store is named by no catalog.

pub(crate) mod cache;
mod credentials;
mod objects;
pub(crate) mod settings;
pub(crate) mod source;
#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Signal;

use self::cache::Cache;
pub(crate) use self::objects::Objects;
use self::settings::{ObjectSettings, SegmentHome};
use self::source::{Copies, SegmentSource};
use super::SegmentMeta;
use crate::error::{Context as _, Error, ErrorKind};
use crate::folder::Folder;
use crate::plant::Plant;

/// What an unfinished folder's name ends with.
const UNFINISHED: &str = "tmp";

/// An object store and the copies of what is in it.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) objects: Arc<Objects>,
    pub(crate) cache: Arc<Cache>,
}

impl Remote {
    /// As configuration says it; `None` for segments in the data folder.
    ///
    /// # Errors
    /// `FixInput` for settings that cannot be right; when the folder of the cache cannot be written.
    pub(crate) fn open(data_dir: &Path, home: &SegmentHome) -> Result<Option<Self>, Error> {
        let SegmentHome::Objects(settings) = home else { return Ok(None) };
        let objects = Arc::new(Objects::open(settings)?);
        let cache = Self::cache_of(data_dir, settings, &objects)
            .context(ErrorKind::Retry, || format!("opening the cache in `{}`", data_dir.display()))?;
        Ok(Some(Self { objects, cache: Arc::new(cache) }))
    }

    fn cache_of(data_dir: &Path, settings: &ObjectSettings, objects: &Arc<Objects>) -> io::Result<Cache> {
        Cache::open(data_dir.join("cache"), settings.cache_bytes_max, Arc::clone(objects))
    }

    /// As [`Remote::open`], for a process beside the one that has the cache: without copies of its own.
    ///
    /// # Errors
    /// As [`Remote::open`].
    pub(crate) fn beside(data_dir: &Path, home: &SegmentHome) -> Result<Option<Self>, Error> {
        let SegmentHome::Objects(settings) = home else { return Ok(None) };
        let objects = Arc::new(Objects::open(settings)?);
        let cache = Arc::new(Cache::beside(data_dir.join("cache"), settings.cache_bytes_max, &objects));
        Ok(Some(Self { objects, cache }))
    }

    /// Whether the object store did not answer when it was last asked.
    pub(crate) fn is_away(&self) -> bool {
        self.objects.is_silent()
    }

    fn source(&self) -> SegmentSource {
        SegmentSource::Cached(Copies {
            root: self.cache.root().into(),
            fetch: Arc::<Cache>::clone(&self.cache),
            cache: Some(Arc::clone(&self.cache)),
        })
    }
}

/// A folder of a table, or a segment of an object store.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// `None` for one that is in the object store.
    pub(crate) path: Option<PathBuf>,
    signal: Signal,
}

impl Listed {
    /// Whether it was never published.
    pub(crate) fn is_unfinished(&self) -> bool {
        Path::new(&self.name).extension().is_some_and(|extension| extension == UNFINISHED)
    }

    /// What people call it.
    pub(crate) fn shown(&self) -> String {
        format!("segments/{}/{}", self.signal.table(), self.name)
    }

    /// What its name says, if it is one of ours.
    pub(crate) fn meta(&self) -> Option<SegmentMeta> {
        SegmentMeta::from_name(self.signal, &self.name)
    }
}

/// From where segments are read.
pub(crate) fn source(folder: &Folder) -> SegmentSource {
    match &folder.remote {
        None => SegmentSource::from(&folder.path),
        Some(remote) => remote.source(),
    }
}

/// Where a segment is written before it is published.
pub(super) fn unfinished(folder: &Folder, meta: &SegmentMeta) -> PathBuf {
    folder.path.join(meta.path()).with_extension(UNFINISHED)
}

/// Whether a segment could be published just now: to be asked before the work of writing one. Blocking.
pub(super) fn ready(folder: &Folder) -> io::Result<()> {
    folder.remote.as_ref().map_or(Ok(()), |remote| remote.objects.ready())
}

/// Makes what was written under [`unfinished`] durable under the segment's name.
pub(super) fn publish(folder: &Folder, meta: &SegmentMeta) -> io::Result<()> {
    let (from, dir) = (unfinished(folder, meta), folder.path.join(meta.path()));
    let Folder { fs, planted, remote, .. } = folder;
    if let Some(Remote { objects, cache }) = remote {
        objects.put(&from, meta)?;
        if let Err(error) = cache.seed(&from, meta) {
            tracing::debug!("`{}` will be fetched again: {error}", meta.path());
        }
        return folder.remove_if_there(&from);
    }
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

/// The segments of a signal, sorted by name, and folders that were never published; none where there is no table.
///
/// # Errors
/// When an object store does not answer.
pub(crate) fn list(folder: &Folder, signal: Signal) -> io::Result<Vec<Listed>> {
    let mut all = list_folder(&folder.path, signal);
    if let Some(remote) = &folder.remote {
        all.retain(Listed::is_unfinished);
        let names = remote.objects.segments(signal)?;
        // Whatever else somebody keeps there is not ours.
        let listed = names.into_iter().map(|name| Listed { name, path: None, signal });
        all.extend(listed.filter(|listed| listed.meta().is_some()));
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// The folders of a signal's table.
fn list_folder(data_dir: &Path, signal: Signal) -> Vec<Listed> {
    let Ok(entries) = std::fs::read_dir(data_dir.join("segments").join(signal.table())) else {
        return Vec::new();
    };
    let listed = |entry: std::fs::DirEntry| Listed {
        path: Some(entry.path()),
        name: entry.file_name().to_string_lossy().into_owned(),
        signal,
    };
    entries.filter_map(Result::ok).map(listed).collect()
}

/// Bytes of the Parquet file; 0 when that cannot be told.
pub(crate) fn bytes_of_rows(folder: &Folder, meta: &SegmentMeta) -> u64 {
    match &folder.remote {
        None => {
            std::fs::metadata(folder.path.join(meta.path()).join("data.parquet")).map_or(0, |data| data.len())
        }
        Some(remote) => {
            let files = remote.objects.files(meta).unwrap_or_default();
            files.iter().find(|(name, _)| name == "data.parquet").map_or(0, |(_, bytes)| *bytes)
        }
    }
}

/// Removes a folder that the catalog does not name, if it is there. What cannot be removed is swept when the store
/// opens.
pub(crate) fn remove(folder: &Folder, dir: &Path) {
    match folder.remove_if_there(dir) {
        Ok(()) => tracing::debug!("removed `{}`", dir.display()),
        Err(error) => tracing::warn!("`{}` is swept when the store opens: {error}", dir.display()),
    }
}

/// Removes what the catalog does not name. What cannot be removed is swept when the store opens.
pub(crate) fn remove_listed(folder: &Folder, listed: &Listed) {
    match (&listed.path, listed.meta()) {
        (Some(dir), _) => remove(folder, dir),
        (None, Some(meta)) => remove_segment(folder, &meta),
        (None, None) => {}
    }
}

/// Removes a segment that the catalog does not name any more, or never did. Does not wait for an object store.
pub(crate) fn remove_segment(folder: &Folder, meta: &SegmentMeta) {
    match &folder.remote {
        None => remove(folder, &folder.path.join(meta.path())),
        Some(Remote { objects, cache }) => {
            cache.forget(meta);
            objects.delete_later(meta);
        }
    }
}
