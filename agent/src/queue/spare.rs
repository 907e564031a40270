//! The preallocated segment of a spool, so that a full disk stops nobody who gives up something for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use disk::{DiskFile, Fs};

use super::fifo::Spare;

/// The preallocated segment.
#[derive(Debug)]
pub(super) struct SpareFile {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    bytes: u64,
    pub(super) file: Option<Arc<dyn DiskFile>>,
    pub(super) tried: Duration,
}

impl Spare for SpareFile {
    fn take(&mut self, path: &Path) -> Option<Arc<dyn DiskFile>> {
        let file = self.file.take()?;
        self.fs.rename(&self.path, path).ok()?;
        Some(file)
    }
}

/// For lanes that wait for room: the spare segment is for those that give up their oldest.
pub(super) struct NoSpare;

impl Spare for NoSpare {
    fn take(&mut self, _path: &Path) -> Option<Arc<dyn DiskFile>> {
        None
    }
}

impl SpareFile {
    pub(super) fn open(fs: Arc<dyn Fs>, path: PathBuf, bytes: u64) -> Self {
        let mut spare = Self { fs, path, bytes, file: None, tried: Duration::ZERO };
        // What an earlier run left may have been cut by a crash.
        drop(spare.fs.remove_file(&spare.path));
        spare.fill();
        spare
    }

    /// Makes a new one when the disk has room.
    pub(super) fn fill(&mut self) {
        let made = self.fs.create(&self.path).and_then(|file| file.preallocate(self.bytes).map(|()| file));
        match made {
            Ok(file) => self.file = Some(file.into()),
            Err(_) => drop(self.fs.remove_file(&self.path)),
        }
    }
}
