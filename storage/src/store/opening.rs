//! Opening the segments that the catalog names, and making up for it when the object store was away then.
//!
//! ```text
//! open ─► whose are they? ─► sweep ─► open each            a segment that cannot be opened is missing from answers,
//!              │ away: later    │          │               and they say so
//!              └────────────────┴──────────┴─► every 1 s, 2 s, … 60 s until nothing is missing
//! ```
//!
//! Owns: [`Missed`]. Does not own: when the object store counts as away (`segment::home`).
//!
//! Invariant: a number that names a segment is used once, whether or not leftovers could be listed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Shared, State, sweep};
use crate::deletes::{self, Tombstone};
use crate::error::{Context as _, Error, ErrorKind};
use crate::folder::Folder;
use crate::plant::Plant;
use crate::segment::SegmentMeta;
use crate::segment::reader::Segment;

/// How far numbers of names are from those of an earlier run whose leftovers could not be listed.
const NUMBERS_APART: u64 = 1_000_000;
/// Between two tries to make up.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What could not be done because the object store was away.
#[derive(Debug)]
pub(crate) struct Missed {
    /// Leftovers with smaller numbers are still to be swept.
    sweep_below: Option<u64>,
    next: Instant,
    pause: Duration,
}

/// Sweeps and opens what the catalog names. Returns a number for the next segment. Blocking.
pub(super) fn open(
    folder: &Folder,
    identity: &str,
    metas: Vec<SegmentMeta>,
    state: &mut State,
) -> Result<(u64, Missed), Error> {
    let ready = folder.remote.as_ref().map_or(Ok(()), |remote| {
        remote.objects.claim(identity, metas.first());
        remote.objects.ready()
    });
    let swept = match ready {
        // Somebody else's, or nothing that could be ours.
        Err(error) if error.kind() != io::ErrorKind::NotConnected => {
            return Err(error).context(ErrorKind::FixInput, || "opening the store".to_owned());
        }
        ready => ready.and_then(|()| sweep::sweep(folder, &metas, u64::MAX)),
    };
    let (number, sweep_below) = match swept {
        Ok(number) => (number, None),
        Err(error) => {
            tracing::error!("{error}: what a crash left behind is swept later");
            let number = sweep::number_above(&metas) + NUMBERS_APART;
            (number, Some(number))
        }
    };
    let mut unreadable = Vec::new();
    for meta in metas {
        match open_one(folder, &meta, &state.tombstones) {
            Ok(segment) => state.segments.push(segment),
            Err(error) => {
                tracing::error!("{error}: answers will say that its rows are missing");
                unreadable.push(meta);
            }
        }
    }
    state.stats.segments_unreadable = unreadable.len() as u64;
    state.unreadable = unreadable.into();
    state.count_segments();
    Ok((number, Missed { sweep_below, next: Instant::now() + PAUSES.0, pause: PAUSES.0 }))
}

fn open_one(folder: &Folder, meta: &SegmentMeta, tombstones: &[Tombstone]) -> Result<Arc<Segment>, Error> {
    let tombstones = match folder.planted.has(Plant::DeletedRowsNotHiddenAgain) {
        true => &[],
        false => tombstones,
    };
    let segment = Segment::open_in(folder, meta.clone())?;
    deletes::hidden_in(segment, tombstones)
}

/// Makes up for what was missed, when it is time to try, and asks an object store that was away whether it is back. Segments of the data folder that cannot be opened stay so: only a
/// person can bring them back.
pub(super) async fn make_up(shared: &Arc<Shared>) {
    let Some(remote) = &shared.folder.remote else { return };
    let (is_missing, is_due) = {
        let missed = shared.missed();
        let is_missing = missed.sweep_below.is_some() || !shared.state().unreadable.is_empty();
        (is_missing, missed.next <= Instant::now())
    };
    if !is_due || !(is_missing || remote.is_away()) {
        return;
    }
    let trying = Arc::clone(shared);
    let tried = if is_missing {
        // Nobody replaces or deletes meanwhile.
        let _one_at_a_time = shared.maintenance_lock.lock().await;
        tokio::task::spawn_blocking(move || try_to_make_up(&trying)).await
    } else {
        // Nobody else may ask it for long, and it would seem to be away still.
        tokio::task::spawn_blocking(move || is_there(&trying)).await
    };
    let mut missed = shared.missed();
    missed.pause = match tried {
        Ok(Ok(())) => PAUSES.0,
        Ok(Err(error)) => {
            tracing::debug!("{error}");
            (missed.pause * 2).min(PAUSES.1)
        }
        Err(_) => PAUSES.1,
    };
    missed.next = Instant::now() + missed.pause;
}

/// Whether the object store answers. Blocking.
fn is_there(shared: &Shared) -> Result<(), Error> {
    let ready = shared.folder.remote.as_ref().map_or(Ok(()), |remote| remote.objects.ready());
    ready.context(ErrorKind::Retry, || "asking the object store again".to_owned())
}

fn try_to_make_up(shared: &Shared) -> Result<(), Error> {
    let doing = || "looking for segments again".to_owned();
    is_there(shared)?;
    let sweep_below = shared.missed().sweep_below;
    if let Some(below) = sweep_below {
        let live: Vec<SegmentMeta> = {
            let state = shared.state();
            let open = state.segments.iter().map(|segment| segment.meta().clone());
            open.chain(state.unreadable.iter().cloned()).collect()
        };
        sweep::sweep(&shared.folder, &live, below).context(ErrorKind::Retry, doing)?;
        shared.missed().sweep_below = None;
    }
    let (unreadable, tombstones) = {
        let state = shared.state();
        (Arc::clone(&state.unreadable), Arc::clone(&state.tombstones))
    };
    let mut problem = Ok(());
    for meta in unreadable.iter() {
        match open_one(&shared.folder, meta, &tombstones) {
            Ok(segment) => {
                let mut state = shared.state();
                state.unreadable = state.unreadable.iter().filter(|other| *other != meta).cloned().collect();
                state.stats.segments_unreadable = state.unreadable.len() as u64;
                state.segments.push(segment);
                state.count_segments();
                tracing::info!("`{}` can be read again", meta.path());
            }
            Err(error) => problem = Err(error),
        }
    }
    problem
}
