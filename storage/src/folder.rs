//! The data folder as those see it who write into it.
//!
//! Owns: where it is and through which file system its files become durable. Does not own: what lies in it.
//!
//! Invariant: whatever makes bytes or names durable, or removes them, goes through [`Folder::fs`]; only tantivy
//! writes its files by itself, before [`Folder::sync_tree`], and SQLite the catalog.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::Fs;

use crate::plant::Planted;
use crate::segment::home::Remote;
use crate::segment::pages::PageCache;

/// A data folder. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) planted: Planted,
    /// Pages of segments that were read lately.
    pub(crate) pages: PageCache,
    /// Whether segments that are written get a text index.
    pub(crate) text_index: bool,
    /// Where segments are kept, if not here.
    pub(crate) remote: Option<Remote>,
}

impl Folder {
    /// A folder of the machine's own file system.
    pub(crate) fn new(path: &Path, fs: Arc<dyn Fs>, planted: Planted) -> Self {
        Self { path: path.to_owned(), fs, planted, pages: PageCache::new(0), text_index: true, remote: None }
    }

    /// Makes every file and folder below `dir` durable.
    pub(crate) fn sync_tree(&self, dir: &Path) -> io::Result<()> {
        sync_tree(&*self.fs, dir)
    }

    /// Removes a folder with all in it, if it is there.
    pub(crate) fn remove_if_there(&self, dir: &Path) -> io::Result<()> {
        match self.fs.remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Makes every file and folder below `dir` durable.
pub(crate) fn sync_tree(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(fs, &entry.path())?;
        } else {
            fs.open(&entry.path())?.sync_data()?;
        }
    }
    fs.sync_dir(dir)
}

/// Bytes of a file, or of all files below a folder.
pub(crate) fn bytes_below(path: &Path) -> io::Result<u64> {
    let metadata = std::fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    std::fs::read_dir(path)?.map(|entry| bytes_below(&entry?.path())).sum()
}
