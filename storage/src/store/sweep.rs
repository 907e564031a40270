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
use std::path::Path;

use model::Signal;

use crate::folder::Folder;
use crate::segment::SegmentMeta;

/// Removes leftovers. Returns a number above those of all folders it saw.
pub(super) fn sweep(folder: &Folder, live: &[SegmentMeta]) -> u64 {
    let names: HashSet<(Signal, &str)> = live.iter().map(|meta| (meta.signal, meta.name.as_str())).collect();
    let mut number = 0;
    let mut orphans = 0;
    for signal in Signal::ALL {
        let Ok(entries) = std::fs::read_dir(folder.path.join("segments").join(signal.table())) else {
            continue;
        };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            number = number.max(SegmentMeta::number_of(name).unwrap_or(0));
            let is_half = path.extension().is_some_and(|extension| extension == "tmp");
            let is_orphan = SegmentMeta::number_of(name).is_some() && !names.contains(&(signal, name));
            if is_half || (is_orphan && !live.is_empty()) {
                remove(folder, &path);
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

fn remove(folder: &Folder, path: &Path) {
    match folder.fs.remove_dir_all(path) {
        Ok(()) => tracing::info!("removed `{}`, which a crash left behind", path.display()),
        Err(error) => tracing::warn!("`{}` could not be removed: {error}", path.display()),
    }
}
