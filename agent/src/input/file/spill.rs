//! Letting go of deleted files while the collector is away.
//!
//! A deleted file takes its disk as long as it is held open. When such files take too much, or are held too
//! long, what is unread of them is read after all and goes into the spool (`export::files`); nothing else is read
//! meanwhile, since every other file is still its own buffer.
//!
//! ```text
//! deleted and not acknowledged: bytes > max_held_deleted, or gone for max_held_age ─► begin: only these are read
//! all of them acknowledged, which the spool does ─► end; they are closed as any rotated file is
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use super::FileTail;
use super::identity::FileStat;
use super::tracked::{FileId, Tracked};
use crate::config::SpoolSettings;

/// When to let go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    bytes_max: u64,
    age_max: Duration,
}

impl Held {
    pub(super) const fn new(settings: &SpoolSettings) -> Self {
        Self { bytes_max: settings.max_held_deleted, age_max: settings.max_held_age }
    }
}

impl FileTail {
    /// Whether files are being let go of: batches belong into the spool.
    pub(crate) fn is_spilling(&self) -> bool {
        !self.spilling.is_empty()
    }

    /// Begins or ends letting go of deleted files; `is_away` says that the collector takes nothing.
    pub(crate) fn spill(&mut self, is_away: bool, now: Duration) {
        if self.is_spilling() {
            let is_left =
                |id: &FileId| self.files.get(id).is_some_and(|file| file.acked.offset < file.size_now());
            let left: BTreeSet<FileId> = self.spilling.iter().copied().filter(|id| is_left(id)).collect();
            if left.is_empty() || !is_away {
                tracing::info!("deleted files are let go of");
                self.spilling.clear();
            }
            return;
        }
        if !is_away {
            return;
        }
        let held: Vec<&Tracked> =
            self.files.values().map(|file| &**file).filter(|file| is_held(file)).collect();
        let bytes: u64 = held.iter().map(|file| file.size_now()).sum();
        let is_old = |file: &&Tracked| {
            file.gone_since.is_some_and(|since| now.saturating_sub(since) > self.held.age_max)
        };
        let spilling: BTreeSet<FileId> = match bytes > self.held.bytes_max {
            true => held.iter().map(|file| file.id).collect(),
            false => held.iter().copied().filter(is_old).map(|file| file.id).collect(),
        };
        if !spilling.is_empty() {
            tracing::warn!(
                files = spilling.len(),
                held_bytes = bytes,
                "deleted files take too much disk or time; their unread rest moves into the spool"
            );
            self.spilling = spilling;
        }
    }

    /// The files that are read now.
    pub(super) fn readable(&self) -> Vec<FileId> {
        match self.is_spilling() {
            true => self.spilling.iter().copied().filter(|id| self.files.contains_key(id)).collect(),
            false => self.files.keys().copied().collect(),
        }
    }
}

/// Whether a file has no name left and something in it that the collector lacks.
fn is_held(file: &Tracked) -> bool {
    let stat = FileStat::of(&file.file);
    file.gone_since.is_some()
        && file.is_placed
        && file.copy_of.is_none()
        && stat.is_ok_and(|stat| stat.links == 0 && stat.size > file.acked.offset)
}
