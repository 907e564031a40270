//! Removing what a crash left behind of segments.
//!
//! ```text
//! *.tmp                        half written                      removed
//! a segment without an entry   not committed, or replaced        removed, if the catalog names any segment
//! a segment with an entry      live                              kept
//! ```
//!
//! Invariant: a catalog that names nothing removes nothing but `.tmp`: it may have been lost, and then
//! the segments are all there is.

use std::collections::HashSet;
use std::io;

use model::Signal;

use crate::folder::Folder;
use crate::segment::{SegmentMeta, home};

/// Removes leftovers with a number below `below`. Returns a number above those of all it saw.
///
/// # Errors
/// When an object store does not answer; nothing of it was removed then.
pub(super) fn sweep(folder: &Folder, live: &[SegmentMeta], below: u64) -> io::Result<u64> {
    let names: HashSet<(Signal, &str)> = live.iter().map(|meta| (meta.signal, meta.name.as_str())).collect();
    let mut number = number_above(live);
    let mut orphans = 0;
    for signal in Signal::ALL {
        for listed in home::list(folder, signal)? {
            let (name, of_name) = (listed.name.as_str(), SegmentMeta::number_of(&listed.name));
            if of_name.is_some_and(|number| number >= below) {
                continue;
            }
            number = number.max(of_name.map_or(0, |number| number + 1));
            let is_orphan = of_name.is_some() && !names.contains(&(signal, name));
            if listed.is_unfinished() || (is_orphan && !live.is_empty()) {
                tracing::info!("`{}/{name}` was left behind by a crash", signal.table());
                home::remove_listed(folder, &listed);
            } else if is_orphan {
                orphans += 1;
            }
        }
    }
    if orphans > 0 {
        tracing::warn!(
            "{orphans} segments are not in the catalog, which is empty: they are kept and not read"
        );
    }
    Ok(number)
}

/// A number above those of these segments.
pub(super) fn number_above(live: &[SegmentMeta]) -> u64 {
    live.iter().filter_map(|meta| SegmentMeta::number_of(&meta.name)).max().unwrap_or(0) + 1
}
