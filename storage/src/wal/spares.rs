//! Files of the log that are written again: what a file system does for every block that is written the first time costs
//! as much as the sync itself.
//!
//! ```text
//! 0…1201.wal ─ trimmed ─► 0…1201.spare ─ begin_file ─► 0…2042.wal   the folder is synced before anything is written
//!   header 1201, records       the same                  header 2042, records, then what is left of 1201
//! ```
//!
//! Owns: the names of spares, and how many there are. Does not own: which files are trimmed, what is written.
//!
//! Invariants: a file is a spare only after all its records are in segments; bytes of a file's epoch reach the disk
//! only after its name did, so that no two files ever have records of one epoch.

use std::io;
use std::path::{Path, PathBuf};

use super::replay::file_number;
use super::writer::Place;
use crate::plant::Plant;
use disk::DiskFile;

/// Files that are kept.
const SPARES_MAX: usize = 2;
/// What their names end with.
const SUFFIX: &str = "spare";

/// Files that wait to be written again.
#[derive(Debug, Default)]
pub(super) struct Spares {
    paths: Vec<PathBuf>,
}

impl Spares {
    /// Those that an earlier process left; what is too many goes.
    pub(super) fn found(place: &Place) -> Self {
        let names = place.fs.list(&place.dir).unwrap_or_default();
        let paths = names.iter().map(|name| place.dir.join(name));
        let mut paths: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|suffix| suffix == SUFFIX)).collect();
        let mut spares = Self { paths: paths.split_off(paths.len().min(SPARES_MAX)) };
        spares.clear(place);
        Self { paths }
    }

    /// How many there are.
    pub(super) const fn count(&self) -> usize {
        self.paths.len()
    }

    /// Keeps a file whose records are all in segments. `false` when there are enough, or it is too small to be worth it.
    pub(super) fn keep(&mut self, place: &Place, path: &Path) -> io::Result<bool> {
        if self.paths.len() >= SPARES_MAX {
            return Ok(false);
        }
        if place.fs.open(path)?.len()? < place.settings.segment_bytes / 2 {
            return Ok(false);
        }
        let spare = path.with_extension(SUFFIX);
        place.fs.rename(path, &spare)?;
        self.paths.push(spare);
        Ok(true)
    }

    /// A spare under a new name, which is durable when this returns. `None` when there is none that can be used.
    pub(super) fn take(&mut self, place: &Place, path: &Path) -> Option<Box<dyn DiskFile>> {
        let spare = self.paths.pop()?;
        let is_synced = || match place.settings.planted.has(Plant::ReusedNameNotSynced) {
            true => Ok(()),
            false => place.fs.sync_dir(&place.dir),
        };
        let renamed = place.fs.rename(&spare, path);
        match renamed.and_then(|()| is_synced()).and_then(|()| place.fs.open_write(path)) {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "a spare file was not taken");
                // Whichever name it has: another file is begun.
                for path in [&*spare, path] {
                    remove(place, path);
                }
                None
            }
        }
    }

    /// Gives their space back.
    pub(super) fn clear(&mut self, place: &Place) {
        self.paths.drain(..).for_each(|path| remove(place, &path));
    }
}

/// The highest number a spare had: records of its epoch may still be in it.
pub(super) fn last_number(place: &Place) -> u64 {
    let names = place.fs.list(&place.dir).unwrap_or_default();
    let numbers = names.iter().filter_map(|name| file_number(name.strip_suffix(".spare")?));
    numbers.max().unwrap_or(0)
}

fn remove(place: &Place, path: &Path) {
    match place.fs.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::debug!(path = %path.display(), %error, "a spare file stays until the next start");
        }
        _ => {}
    }
}
