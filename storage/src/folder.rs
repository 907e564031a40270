//! The data folder as those see it who write into it.
//!
//! Owns: where it is and through which file system its files become durable. Does not own: what lies in it.
//!
//! Invariant: whatever makes bytes or names durable, or removes them, goes through [`Folder::fs`]; only tantivy
//! writes its files by itself, before [`Folder::sync_tree`], and SQLite the catalog.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{DiskFile, Fs};

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
    /// Where segments are kept, if not here.
    pub(crate) remote: Option<Remote>,
}

impl Folder {
    /// A folder of the machine's own file system.
    pub(crate) fn new(path: &Path, fs: Arc<dyn Fs>, planted: Planted) -> Self {
        Self { path: path.to_owned(), fs, planted, pages: PageCache::new(0), remote: None }
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

/// Bytes of all files below `dir`.
pub(crate) fn bytes_below(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Writes a file from its start to its end.
#[derive(Debug)]
pub(crate) struct Appender {
    file: Box<dyn DiskFile>,
    at: u64,
}

impl Appender {
    /// Of an empty file.
    pub(crate) const fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file, at: 0 }
    }
}

impl io::Write for Appender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
