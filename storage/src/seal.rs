//! Sealing: moving the head into segments.
//!
//! ```text
//! 1 take    active ─► sealing, at WAL sequence S      (one lock, still visible)
//! 2 write   a segment for each signal and hour, sorted, fsync'd, a few thousand rows at a time
//! 3 commit  segments + positions up to S + S in one catalog transaction
//! 4 swap    sealing ─► segments                       (one lock)
//! 5 trim    WAL files that end at or before S
//! ```
//!
//! A crash before 3 leaves folders that the catalog does not name, and which are swept. A crash after 3 replays
//! nothing twice, because replay begins after S.
//!
//! Memory: 64 bytes a row for its place in the order, and four for each text and attribute of it that is numbered, beside the head itself.

mod parts;

use std::sync::{Arc, Weak};
use std::time::Duration;

use arrow::array::RecordBatch;
use model::Signal;

use crate::budget::cores;
use crate::compaction::{self, plan::LARGE_ROWS};
use crate::error::{Context as _, Error, ErrorKind};
use crate::folder::Folder;
use crate::head::HeadBatch;
use crate::plant::Plant;
use crate::positions::{Entry, Key};
use crate::segment::SegmentMeta;
use crate::segment::layout::{KeyCounts, Layout, Place, Sources};
use crate::segment::reader::Segment;
use crate::segment::writer::{self, SegmentWriter};
use crate::store::{Arrived, Shared, Store};
use crate::wal::Wal;
use parts::{Placed, parts};

const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// After a seal that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Seals when rows or age demand it, until the store is gone.
pub(crate) async fn run(store: Weak<Store>) {
    loop {
        let Some(shared) = store.upgrade().map(|store| Arc::clone(store.shared())) else { return };
        let wanted = tokio::time::timeout(LOOK_INTERVAL, shared.seal_wanted.notified()).await.is_ok();
        let is_due = wanted || is_old(&shared);
        drop(shared);
        let Some(store) = store.upgrade() else { return };
        store.look_around().await;
        if is_due && let Err(error) = store.seal().await {
            tracing::error!("sealing the head failed and will be tried again: {error}");
            // Whoever closes the store does not wait for the pause.
            drop(store);
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}

fn is_old(shared: &Shared) -> bool {
    let now = shared.clock.monotonic();
    shared.state().oldest.is_some_and(|oldest| now.saturating_sub(oldest) >= shared.settings.seal_interval)
}

/// Moves all of the head into segments, and trims the log.
pub(crate) async fn seal(shared: Arc<Shared>, wal: Arc<Wal<Arrived>>) -> Result<(), Error> {
    if shared.folder.planted.has(Plant::TrimBeforeCommit) {
        let sequence = shared.state().stats.wal_sequence;
        wal.trim(sequence).await?;
    }
    let Some(sequence) = seal_head(&shared).await? else { return Ok(()) };
    if let Err(error) = wal.trim(sequence).await {
        tracing::warn!("the wal keeps files that are in segments until the next seal: {error}");
    }
    Ok(())
}

/// Moves all of the head into segments; up to which sequence, when there was anything to move.
pub(crate) async fn seal_head(shared: &Arc<Shared>) -> Result<Option<u64>, Error> {
    let _one_at_a_time = shared.seal_lock.lock().await;
    let Some(mut taken) = take(shared) else { return Ok(None) };
    let (sequence, moved) = (taken.sequences.1, std::mem::take(&mut taken.moved));
    match write_and_commit(shared, taken, &moved).await {
        Ok(segments) => {
            swap(shared, segments, sequence);
            shared.maintenance_wanted.notify_one();
            Ok(Some(sequence))
        }
        Err(error) => {
            give_back(shared, moved);
            Err(error)
        }
    }
}

/// What a seal moves.
struct Taken {
    batches: Vec<Arc<HeadBatch>>,
    /// Positions that changed since the last seal.
    moved: Vec<(Key, Option<Entry>)>,
    /// WAL sequences its rows come from.
    sequences: (u64, u64),
    /// The last delete: its rows are not in the batches any more.
    delete_id: u64,
}

/// `None` when there is nothing to move.
fn take(shared: &Shared) -> Option<Taken> {
    let mut state = shared.state();
    assert!(state.sealing.is_empty(), "one seal at a time, and each gives back or swaps what it took");
    if state.active.is_empty() && !state.positions.is_dirty() {
        return None;
    }
    state.sealing = std::mem::take(&mut state.active);
    state.oldest = None;
    state.positions.forget_idle(shared.clock.now());
    let moved = state.positions.take_dirty();
    let taken = Taken {
        batches: state.sealing.clone(),
        moved,
        sequences: (state.sealed_sequence + 1, state.stats.wal_sequence),
        delete_id: state.last_delete_id,
    };
    if shared.folder.planted.has(Plant::HeadHiddenWhileSealing) {
        state.sealing.clear();
    }
    Some(taken)
}

fn give_back(shared: &Shared, moved: Vec<(Key, Option<Entry>)>) {
    let mut state = shared.state();
    let newer = std::mem::take(&mut state.active);
    state.active = std::mem::take(&mut state.sealing);
    if shared.folder.planted.has(Plant::FailedSealForgetsRows) {
        state.active.clear();
    }
    state.active.extend(newer);
    state.positions.give_back(moved);
    state.oldest = Some(shared.clock.monotonic());
    state.stats.seal_failures += 1;
}

fn swap(shared: &Shared, segments: Vec<Arc<Segment>>, sequence: u64) {
    let mut state = shared.state();
    let sealed = std::mem::take(&mut state.sealing);
    if shared.folder.planted.has(Plant::HeadKeptAfterSealing) {
        state.active.extend(sealed.first().map(Arc::clone));
    }
    for batch in sealed {
        state.stats.head_rows -= batch.rows.num_rows() as u64;
        state.stats.head_bytes -= batch.bytes() as u64;
    }
    shared.memory.set_head(state.stats.head_bytes);
    state.drop_dead_indexes();
    state.stats.seals += 1;
    state.sealed_sequence = sequence;
    compaction::note_joined(&mut state, &segments, shared.clock.now());
    state.segments.extend(segments);
    state.count_segments();
}

async fn write_and_commit(
    shared: &Arc<Shared>,
    taken: Taken,
    moved: &[(Key, Option<Entry>)],
) -> Result<Vec<Arc<Segment>>, Error> {
    let sequence = taken.sequences.1;
    let writing = Arc::clone(shared);
    let segments = tokio::task::spawn_blocking(move || write(&writing, &taken))
        .await
        .context(ErrorKind::Internal, || "writing segments".to_owned())??;
    let metas: Vec<SegmentMeta> = segments.iter().map(|segment| segment.meta().clone()).collect();
    let moved = if shared.folder.planted.has(Plant::PositionsLeftOut) { &[] } else { moved };
    if let Err(error) = shared.catalog.commit(&metas, moved, sequence).await {
        // The answer may have been lost after the commit was done.
        return match shared.catalog.wal_sequence().await {
            Ok(committed) if committed >= sequence => Ok(segments),
            Ok(_) => {
                segments.iter().for_each(|segment| segment.remove_when_unused(&shared.folder));
                Err(error)
            }
            // The next start finds out which it was.
            Err(_) => Err(error),
        };
    }
    Ok(segments)
}

/// Writes the segments of a seal and opens them. When one fails, those before it are removed.
fn write(shared: &Shared, taken: &Taken) -> Result<Vec<Arc<Segment>>, Error> {
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    let mut write_all = || -> Result<(), Error> {
        for signal in Signal::ALL {
            let batches = taken.batches.iter().filter(|batch| batch.signal == signal);
            let rows: Vec<&RecordBatch> = batches.map(|batch| &batch.rows).collect();
            let sources = Sources::numbered(&rows);
            for part in parts(signal, &rows) {
                let level = u32::from(part.len() as u64 >= LARGE_ROWS);
                let mut meta = SegmentMeta::named(signal, level, taken.sequences, shared.next_number());
                meta.delete_id = taken.delete_id;
                let promoted = shared.settings.promote.of(signal);
                let meta = write_one(&shared.folder, meta, (&rows, &sources), &part, promoted)?;
                match Segment::open_in(&shared.folder, meta.clone()) {
                    Ok(segment) => segments.push(segment),
                    Err(error) => {
                        writer::discard(&shared.folder, &meta);
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    };
    if let Err(error) = write_all() {
        segments.iter().for_each(|segment| segment.remove_when_unused(&shared.folder));
        return Err(error);
    }
    Ok(segments)
}

/// Threads that write one segment, at most.
const THREADS_MAX: usize = 4;
/// Rows of a batch that is written at once.
const WRITE_ROWS: usize = 8_192;
/// Bytes of the same, roughly.
const WRITE_BYTES: usize = 64 << 20;

fn write_one(
    folder: &Folder,
    meta: SegmentMeta,
    (rows, sources): (&[&RecordBatch], &Sources<'_>),
    part: &[Placed],
    promoted: &[String],
) -> Result<SegmentMeta, Error> {
    // A request with huge records makes small batches of all: offsets within a batch have 32 bits.
    let row_bytes = rows.iter().map(|rows| rows.get_array_memory_size() / rows.num_rows().max(1)).max();
    let batch_rows = (WRITE_BYTES / row_bytes.unwrap_or(0).max(1)).clamp(1, WRITE_ROWS);
    let layout = layout_for(meta.signal, rows, part, promoted);
    let mut writer = SegmentWriter::create(folder, meta, &layout, threads())?;
    let gather = |placed: &[Placed]| {
        let places: Vec<Place> =
            placed.iter().map(|placed| (placed.batch as usize, placed.row as usize)).collect();
        sources.gather(&layout, &places)
    };
    let mut chunks = part.chunks(batch_rows);
    let mut next = chunks.next().map(gather).transpose()?;
    while let Some(rows) = next.take() {
        let following = chunks.next();
        writer.push_beside(
            &rows,
            Some(Box::new(|| {
                next = following.map(gather).transpose()?;
                Ok(())
            })),
        )?;
    }
    writer.finish()
}

/// Threads of a seal: what is received waits for it.
fn threads() -> usize {
    cores().min(THREADS_MAX)
}

/// The columns for a segment of these rows.
fn layout_for(signal: Signal, rows: &[&RecordBatch], part: &[Placed], promoted: &[String]) -> Layout {
    let mut held = vec![0; rows.len()];
    part.iter().for_each(|placed| held[placed.batch as usize] += 1);
    let mut counts = KeyCounts::default();
    for (rows, held) in rows.iter().zip(held).filter(|(_, held)| *held > 0) {
        counts.add_sample(rows, held);
    }
    counts.layout(signal, promoted)
}

#[cfg(test)]
mod tests {
    use model::ManualClock;

    use super::*;
    use crate::testing::{HOUR, NOW, append_logs, log, open_with, settings};

    #[tokio::test]
    async fn the_head_grows_old_however_the_clock_is_set() {
        let dir = tempfile::tempdir().expect("a folder");
        let clock = ManualClock::at(NOW);
        let store = open_with(settings(dir.path()), Arc::clone(&clock)).await;
        append_logs(&store, vec![log("fine", 0, "", 0)]).await;
        // The store does not seal meanwhile.
        let _held = store.shared().seal_lock.lock().await;
        clock.jump(HOUR);
        assert!(!is_old(store.shared()), "set an hour ahead");
        clock.jump(-3 * HOUR);
        clock.advance(store.shared().settings.seal_interval);
        assert!(is_old(store.shared()), "set back two hours, and left for as long as a head may stay");
    }
}
