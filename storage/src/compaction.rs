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
//! One merge runs at a time, on a thread of its own at low priority. It gives way to a delete and to the store's end, and none begins
//! whose output would bring the disk near its mark.

mod join;
pub(crate) mod merge;
mod numbers;
pub(crate) mod plan;
pub(crate) mod rewrite;

use std::sync::Arc;
use std::time::Duration;

use model::{TimeRange, UnixNano};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use plan::{Candidate, Merge};
use rewrite::Rewrite;

use crate::error::Error;
use crate::maintenance;
use crate::plant::Plant;
use crate::segment::reader::{Segment, metadata_of};
use crate::segment::{RowRanges, SegmentMeta};
use crate::store::{Shared, State, Store};

/// How long after rows were sealed more of their window are awaited. A sender of old data makes segments of windows that
/// ended long ago, one after the other: merged as they come, the first would be rewritten with each.
const JOINED_NANO: i64 = 60 * 1_000_000_000;

/// How long segments that could not be read are left alone. An object store may be back by then; a damaged file stays so.
const LEFT_ALONE: Duration = Duration::from_secs(600);

/// Merges until there is nothing to merge, or nothing but what may be joined by more. Returns the number of merges.
///
/// # Errors
/// The first, when an input cannot be read; the others are merged all the same.
pub(crate) async fn run(store: &Arc<Store>, awaits_more: bool) -> Result<usize, Error> {
    let (mut merges, mut problem) = (0, Ok(()));
    while let Some(merge) = next(store.shared(), awaits_more) {
        if !has_room(store.shared(), &merge) {
            break;
        }
        let Some(rewrite) = rewrite_of(store.shared(), &merge) else { continue };
        let inputs = rewrite.inputs.clone();
        let done = maintenance::unless_damaged(maintenance::rewrite(store, rewrite).await)?;
        if done.is_ok() {
            store.shared().state().stats.merges += 1;
            merges += 1;
        } else {
            leave_alone(store.shared(), inputs).await;
        }
        problem = problem.and(done);
    }
    problem.map(|()| merges)
}

/// Finds out which inputs cannot be read, and lets the planner go around them for a while: others are merged without them.
async fn leave_alone(shared: &Shared, inputs: Vec<Arc<Segment>>) {
    let of = |input: &Arc<Segment>| (input.signal(), input.meta().name.clone());
    let all: Vec<_> = inputs.iter().map(of).collect();
    let look = move || -> Vec<_> { inputs.iter().filter(|input| !is_readable(input)).map(of).collect() };
    let found = tokio::task::spawn_blocking(look).await.unwrap_or_default();
    let found = if found.is_empty() { all } else { found };
    let until = shared.clock.monotonic().saturating_add(LEFT_ALONE);
    shared.state().left_alone.extend(found.into_iter().map(|place| (place, until)));
}

fn is_readable(segment: &Segment) -> bool {
    // A join reads the footer again.
    if !segment.open_data().is_ok_and(|file| metadata_of(&file, ArrowReaderOptions::new()).is_ok()) {
        return false;
    }
    let reader = segment.stored_reader(&TimeRange::ALL, &[], merge::READ_ROWS);
    reader.is_ok_and(|mut rows| rows.all(|batch| batch.is_ok()))
}

/// Whether the disk has room for the output while the inputs are still there. A merge for what is small makes a full disk no
/// emptier; one that takes deleted rows away is done whatever the disk says.
fn has_room(shared: &Shared, merge: &Merge) -> bool {
    let bytes = merge.inputs.iter().map(|input| input.bytes).sum();
    let is_input = |segment: &Segment, input: &SegmentMeta| {
        segment.meta().name == input.name && segment.signal() == input.signal
    };
    let takes_away = shared.state().segments.iter().any(|segment| {
        !segment.hidden().is_empty() && merge.inputs.iter().any(|input| is_input(segment, input))
    });
    let has_room = takes_away || shared.disk.has_room_for(bytes);
    if !has_room {
        tracing::debug!(bytes, "segments are not merged while the disk has so little room");
    }
    has_room
}

fn next(shared: &Shared, awaits_more: bool) -> Option<Merge> {
    let (now, monotonic) = (shared.clock.now(), shared.clock.monotonic());
    let candidates: Vec<Candidate> = {
        let state = shared.state();
        // A clock that went back is no reason to wait.
        let is_recent = |joined: &UnixNano| (0..JOINED_NANO).contains(&now.since(*joined));
        let candidate = |segment: &Arc<Segment>| Candidate {
            meta: segment.meta().clone(),
            has_hidden: !segment.hidden().is_empty(),
            is_left_alone: {
                let place = (segment.signal(), segment.meta().name.clone());
                state.left_alone.get(&place).is_some_and(|until| monotonic < *until)
            },
            is_joined: awaits_more
                && state.joined.get(&(segment.signal(), segment.meta().window())).is_some_and(is_recent),
        };
        state.segments.iter().map(candidate).collect()
    };
    plan::plan(&candidates, &shared.settings.compaction(), now).into_iter().next()
}

/// Notes that rows came for the windows of these segments, and forgets windows that none came for.
pub(crate) fn note_joined(state: &mut State, segments: &[Arc<Segment>], now: UnixNano) {
    state.joined.retain(|_, joined| (0..JOINED_NANO).contains(&now.since(*joined)));
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
