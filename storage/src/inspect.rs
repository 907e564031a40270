//! Looking at a store from outside, without opening it: what `silmari store` shows, checks and mends.
//!
//! ```text
//! Inspector::open ─► lock (shared; exclusive to repair) ─► catalog, read-only ─┬─► listing   what there is
//!                    a server holds it: refused, but for Access::Beside        ├─► stats     what costs what
//!                                                                             ├─► each_record of the WAL
//!                                                                             └─► verify ─► Finding ─► repair
//! ```
//!
//! Owns: what counts as a defect, and where unreadable things are put. Does not own: formats.
//!
//! Invariants: only [`Inspector::repair`] writes, and it moves or adds, never deletes; a store of a newer
//! version is refused as a whole, untouched; everything found is named with its place.

mod files;
mod ids;
mod listing;
mod repair;
mod segment;
mod stats;
#[cfg(test)]
mod tests;
mod verify;
mod wal;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use model::Clock;
use rustix::fs::FlockOperation;
use serde::Serialize;

pub use listing::{Listing, SegmentListing, WalListing};
pub use repair::Repaired;
pub use stats::{ColumnStats, IdKindStats, SignalStats};
pub use verify::Verification;
pub use wal::WalRecord;

use crate::catalog::{Catalog, CatalogHome};
use crate::error::{Context as _, Error, ErrorKind};
use crate::folder::Folder;
use crate::plant::Planted;
use crate::segment::SegmentMeta;
use crate::segment::home::Remote;
use crate::segment::home::settings::Places;
use crate::wal::walk::WalFolder;
use disk::RealFs;

/// Who else may use the store meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A running server too: what is read may be a moment old.
    Beside,
    /// Others that look, no server.
    Shared,
    /// Nobody.
    Exclusive,
}

/// A store that is looked at.
#[derive(Debug)]
pub struct Inspector {
    folder: Folder,
    catalog: CatalogHome,
    clock: Arc<dyn Clock>,
    segments: Vec<SegmentMeta>,
    wal_sequence: u64,
    catalog_problems: Vec<String>,
    is_live: bool,
    access: Access,
    _lock: Option<File>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file or folder, relative to the data folder.
    pub path: String,
    /// Where in it, when that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// What [`Inspector::repair`] does about it, or what a person can do.
    pub remedy: String,
    #[serde(skip)]
    repair: repair::Repair,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is lost or wrong.
    Note,
    /// Rows or records cannot be read, or would be answered wrongly.
    Defect,
}

impl Inspector {
    /// Opens the store in `data_dir`, whose segments and catalog are where `places` says, for looking.
    ///
    /// # Errors
    /// `FixInput` when there is no store, or a server uses it and `access` does not allow that; `Damaged`
    /// when it is of a newer version or the catalog cannot be read.
    pub async fn open(
        data_dir: &Path,
        places: &Places,
        access: Access,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let there_is_none = || {
            let text = format!(
                "there is no store in `{}`: name the folder that was given to `silmari serve --data-dir`",
                data_dir.display()
            );
            Error::new(ErrorKind::FixInput, text)
        };
        let has_wal = data_dir.join("wal").is_dir();
        let has_catalog =
            places.catalog != CatalogHome::Embedded || data_dir.join("catalog.sqlite").is_file();
        if !data_dir.is_dir() || (!has_catalog && !has_wal) {
            return Err(there_is_none());
        }
        let (lock, is_live) = take_lock(data_dir, access)?;
        WalFolder::new(Arc::new(RealFs), data_dir.join("wal"), Arc::clone(&clock)).check_version()?;
        let catalog = Catalog::open_read_only(data_dir, &places.catalog).await?;
        let read = async {
            Ok::<_, Error>((
                catalog.segments().await?,
                catalog.wal_sequence().await?,
                catalog.problems().await?,
            ))
        };
        let read = read.await;
        catalog.close().await;
        let (segments, wal_sequence, catalog_problems) = read?;
        segments.iter().try_for_each(SegmentMeta::check_version)?;
        let remote = Remote::beside(data_dir, &places.segments)?;
        let folder = Folder { remote, ..Folder::new(data_dir, Arc::new(RealFs), Planted::default()) };
        let catalog = places.catalog.clone();
        Ok(Self {
            folder,
            catalog,
            clock,
            segments,
            wal_sequence,
            catalog_problems,
            is_live,
            access,
            _lock: lock,
        })
    }

    /// Whether a server uses the store at this moment.
    pub const fn is_live(&self) -> bool {
        self.is_live
    }

    fn wal(&self) -> WalFolder {
        WalFolder::new(Arc::new(RealFs), self.folder.path.join("wal"), Arc::clone(&self.clock))
    }
}

/// The lock where there is one to take, and whether a server has it, if that is allowed.
fn take_lock(data_dir: &Path, access: Access) -> Result<(Option<File>, bool), Error> {
    let path = data_dir.join("lock");
    let doing = || format!("locking `{}`", path.display());
    let (file, operation) = match access {
        Access::Exclusive => {
            let file = File::options().create(true).truncate(false).write(true).open(&path);
            (file, FlockOperation::NonBlockingLockExclusive)
        }
        Access::Beside | Access::Shared => (File::open(&path), FlockOperation::NonBlockingLockShared),
    };
    let file = match file {
        // A copy of a store need not have brought its lock.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((None, false)),
        file => file.context(ErrorKind::FixInput, doing)?,
    };
    match rustix::fs::flock(&file, operation) {
        Ok(()) => Ok((Some(file), false)),
        Err(rustix::io::Errno::WOULDBLOCK) if access == Access::Beside => Ok((None, true)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::new(
            ErrorKind::FixInput,
            format!(
                "a running silmari uses `{}`: stop it first, or look at a copy of the folder; `store ls` and `store stats` work beside it",
                data_dir.display()
            ),
        )),
        Err(error) => Err(error).context(ErrorKind::FixInput, doing),
    }
}

/// Bytes of a file or of all files below a folder; 0 for what is not there.
fn bytes_below(path: &Path) -> u64 {
    crate::folder::bytes_below(path).unwrap_or(0)
}
