//! Compaction: small segments into larger ones, deleted rows out of the files.
//!
//! ```text
//! 1 plan     segments, settings, now ─► merges            (pure)
//! 2 write    inputs ─► one segment of the next level, fsync'd, read back
//! 3 commit   DELETE inputs, INSERT output in one catalog transaction
//! 4 swap     the same in memory, under the one lock
//! 5 remove   the inputs' files, when the last snapshot that reads them is gone
//! ```
//!
//! A crash before 3 leaves a folder that the catalog does not name, a crash after 3 leaves the inputs' folders: both
//! are swept when the store opens, and at every instant each row is in one live segment.
//!
//! One merge runs at a time, on a thread of its own at low priority. It gives way to a delete and to the store's end.

pub(crate) mod merge;
pub(crate) mod plan;
pub(crate) mod rewrite;

use std::sync::Arc;

use model::UnixNano;
use plan::{Candidate, Merge};
use rewrite::Rewrite;

use crate::error::Error;
use crate::maintenance;
use crate::plant::Plant;
use crate::segment::RowRanges;
use crate::segment::reader::Segment;
use crate::store::{Shared, State, Store};

/// How long after rows were sealed more of their window are awaited. A sender of old data makes segments of windows that
/// ended long ago, one after the other: merged as they come, the first would be rewritten with each.
const JOINED_NANO: i64 = 60 * 1_000_000_000;

/// Merges until there is nothing to merge, or nothing but what may be joined by more. Returns the number of merges.
pub(crate) async fn run(store: &Arc<Store>, awaits_more: bool) -> Result<usize, Error> {
    let mut merges = 0;
    while let Some(merge) = next(store.shared(), awaits_more) {
        let Some(rewrite) = rewrite_of(store.shared(), &merge) else { continue };
        maintenance::rewrite(store, rewrite).await?;
        store.shared().state().stats.merges += 1;
        merges += 1;
    }
    Ok(merges)
}

fn next(shared: &Shared, awaits_more: bool) -> Option<Merge> {
    let now = shared.clock.now();
    let candidates: Vec<Candidate> = {
        let state = shared.state();
        let is_recent = |joined: &UnixNano| now.since(*joined) < JOINED_NANO;
        let candidate = |segment: &Arc<Segment>| Candidate {
            meta: segment.meta().clone(),
            has_hidden: !segment.hidden().is_empty(),
            is_joined: awaits_more
                && state.joined.get(&(segment.signal(), segment.meta().window())).is_some_and(is_recent),
        };
        state.segments.iter().map(candidate).collect()
    };
    plan::plan(&candidates, &shared.settings.compaction(), now).into_iter().next()
}

/// Notes that rows came for the windows of these segments, and forgets windows that none came for.
pub(crate) fn note_joined(state: &mut State, segments: &[Arc<Segment>], now: UnixNano) {
    state.joined.retain(|_, joined| now.since(*joined) < JOINED_NANO);
    state.joined.extend(segments.iter().map(|segment| ((segment.signal(), segment.meta().window()), now)));
}

/// What the executor needs; `None` when a segment is gone, which nobody but maintenance can bring about.
pub(crate) fn rewrite_of(shared: &Shared, merge: &Merge) -> Option<Rewrite> {
    let state = shared.state();
    let live = |name: &str, signal| {
        let is_it = |segment: &&Arc<Segment>| segment.meta().name == name && segment.signal() == signal;
        state.segments.iter().find(is_it).map(Arc::clone)
    };
    let mut inputs: Option<Vec<_>> =
        merge.inputs.iter().map(|input| live(&input.name, input.signal)).collect();
    if shared.folder.planted.has(Plant::DeletedRowsMerged) {
        inputs.iter_mut().flatten().for_each(|input| *input = input.with_hidden(RowRanges::default()));
    }
    let delete_id = state.last_delete_id;
    drop(state);
    let first = merge.inputs.first()?;
    let (kept, promoted) = (first.kept, shared.settings.promote.of(first.signal).to_vec());
    let number = shared.next_number();
    Some(Rewrite { inputs: inputs?, number, kept, delete_id, promoted, filter: None })
}

#[cfg(test)]
mod tests;
