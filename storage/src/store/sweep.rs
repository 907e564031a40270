//! Removing what a crash left behind in `segments/`.
//!
//! ```text
//! *.tmp                        half written                      removed
//! a folder without an entry    not committed, or replaced        removed, if the catalog names any segment
//! a folder with an entry       live                              kept
//! ```
//!
//! Invariant: a catalog that names nothing removes nothing but `.tmp`: it may have been lost, and then
//! the folders are all there is.

use std::collections::HashSet;

use model::Signal;

use crate::folder::Folder;
use crate::segment::{SegmentMeta, home};

/// Removes leftovers. Returns a number above those of all folders it saw.
pub(super) fn sweep(folder: &Folder, live: &[SegmentMeta]) -> u64 {
    let names: HashSet<(Signal, &str)> = live.iter().map(|meta| (meta.signal, meta.name.as_str())).collect();
    let mut number = 0;
    let mut orphans = 0;
    for signal in Signal::ALL {
        for listed in home::list(&folder.path, signal) {
            let (name, of_folder) = (listed.name.as_str(), SegmentMeta::number_of(&listed.name));
            number = number.max(of_folder.unwrap_or(0));
            let is_orphan = of_folder.is_some() && !names.contains(&(signal, name));
            if listed.is_unfinished() || (is_orphan && !live.is_empty()) {
                tracing::info!("`{}` was left behind by a crash", listed.path.display());
                home::remove(folder, &listed.path);
            } else if is_orphan {
                orphans += 1;
            }
        }
    }
    if orphans > 0 {
        tracing::warn!(
            "{orphans} segment folders are not in the catalog, which is empty: they are kept and not read"
        );
    }
    number + 1
}
