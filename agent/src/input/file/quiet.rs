//! Which files need not be looked at: those that were read to their end, and whose folder told of no change since.
//!
//! Asking a thousand files for their size every second is most of what an idle agent would do. Only a hint:
//! with every look at the folders (10 seconds; one where there are no events) every file is looked at.
//!
//! ```text
//! read to its end ─► quiet ─► its name was touched, or a name that is no open file's (the target of a link)
//!                         └─► the next look at the folders
//! ```
//!
//! Invariant: a file that waits for anything else than its own growth (a place, a verdict over a copy, its end
//! after it was renamed or deleted, a disk that reads again) is never quiet.

use std::collections::{HashMap, HashSet};

use super::FileTail;
use super::tracked::FileId;
use super::watch::{NameKey, Touched, name_key};

/// The files that rest.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    files: HashSet<FileId>,
    /// Open files by their names in watched folders.
    by_name: HashMap<NameKey, FileId>,
}

impl FileTail {
    /// Looks at every file with the next read, whether it was touched or not.
    pub(crate) fn look_at_all(&mut self) {
        self.quiet.files.clear();
        let names = self.files.values().map(|file| (name_key(&file.path), file.id));
        self.quiet.by_name.clear();
        self.quiet.by_name.extend(names);
    }

    /// Looks at files that were touched.
    pub(crate) fn look_at_touched(&mut self, touched: &Touched) {
        let Quiet { files, by_name } = &mut self.quiet;
        let mut is_strange = touched.is_any;
        for name in &touched.names {
            match by_name.get(name) {
                Some(id) => drop(files.remove(id)),
                None => is_strange = true,
            }
        }
        if is_strange {
            files.clear();
        }
    }

    /// Open files, and those of them that may be copies: what time alone changes.
    pub(crate) fn standing(&self) -> (usize, usize) {
        (self.files.len(), self.files.values().filter(|file| file.copy_of.is_some()).count())
    }

    pub(super) fn is_quiet(&self, id: FileId) -> bool {
        self.quiet.files.contains(&id)
    }

    /// Lets a file rest that has nothing to read.
    pub(super) fn rest(&mut self, id: FileId) {
        let Some(file) = self.files.get(&id) else { return };
        let waits_for_growth = file.is_placed
            && file.copy_of.is_none()
            && file.gone_since.is_none()
            && !file.is_finishing
            && file.problem.is_none();
        if waits_for_growth {
            self.quiet.files.insert(id);
        }
    }
}
