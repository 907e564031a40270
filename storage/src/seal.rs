//! Sealing: moving the head into segments.
//!
//! ```text
//! 1 take    active ─► sealing, at WAL sequence S      (one lock, still visible)
//! 2 write   one segment a signal, fsync'd
//! 3 commit  segments + S in one catalog transaction
//! 4 swap    sealing ─► segments                       (one lock)
//! 5 trim    WAL files that end at or before S
//! ```
//!
//! A crash before 3 leaves folders that the catalog does not name and nobody reads. A crash after 3 replays nothing twice, because replay begins after S.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arrow::array::RecordBatch;
use model::Signal;

use crate::decode::Batch;
use crate::error::{Context as _, Error, ErrorKind};
use crate::head::HeadBatch;
use crate::segment::SegmentMeta;
use crate::segment::reader::Segment;
use crate::segment::writer;
use crate::store::{Shared, Store};
use crate::wal::Wal;

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
        if is_due && let Err(error) = store.seal().await {
            tracing::error!("sealing the head failed and will be tried again: {error}");
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}

fn is_old(shared: &Shared) -> bool {
    let limit = i64::try_from(shared.settings.seal_interval.as_nanos()).unwrap_or(i64::MAX);
    let now = shared.clock.now();
    shared.state().oldest.is_some_and(|oldest| now.since(oldest) >= limit)
}

/// Moves all of the head into segments.
pub(crate) async fn seal(shared: Arc<Shared>, wal: Arc<Wal<Batch>>) -> Result<(), Error> {
    let shared = &shared;
    let _one_at_a_time = shared.seal_lock.lock().await;
    let (batches, sequence) = take(shared);
    if batches.is_empty() {
        return Ok(());
    }
    match write_and_commit(shared, batches, sequence).await {
        Ok(segments) => {
            swap(shared, segments);
            if let Err(error) = wal.trim(sequence).await {
                tracing::warn!("the wal keeps files that are in segments until the next seal: {error}");
            }
            Ok(())
        }
        Err(error) => {
            give_back(shared);
            Err(error)
        }
    }
}

fn take(shared: &Shared) -> (Vec<Arc<HeadBatch>>, u64) {
    let mut state = shared.state();
    assert!(state.sealing.is_empty(), "one seal at a time, and each gives back or swaps what it took");
    state.sealing = std::mem::take(&mut state.active);
    state.oldest = None;
    (state.sealing.clone(), state.stats.wal_sequence)
}

fn give_back(shared: &Shared) {
    let mut state = shared.state();
    let newer = std::mem::take(&mut state.active);
    state.active = std::mem::take(&mut state.sealing);
    state.active.extend(newer);
    state.oldest = Some(shared.clock.now());
    state.stats.seal_failures += 1;
}

fn swap(shared: &Shared, segments: Vec<Arc<Segment>>) {
    let mut state = shared.state();
    for batch in std::mem::take(&mut state.sealing) {
        state.stats.head_rows -= batch.rows.num_rows() as u64;
        state.stats.head_bytes -= batch.bytes() as u64;
    }
    state.stats.seals += 1;
    state.stats.segments += segments.len() as u64;
    state.stats.segment_bytes += segments.iter().map(|segment| segment.meta().bytes).sum::<u64>();
    state.segments.extend(segments);
}

async fn write_and_commit(
    shared: &Arc<Shared>,
    batches: Vec<Arc<HeadBatch>>,
    sequence: u64,
) -> Result<Vec<Arc<Segment>>, Error> {
    let writing = Arc::clone(shared);
    let metas = tokio::task::spawn_blocking(move || write(&writing, &batches, sequence))
        .await
        .context(ErrorKind::Internal, || "writing segments".to_owned())??;
    let mut segments = Vec::with_capacity(metas.len());
    for meta in &metas {
        segments.push(Segment::open(&shared.settings.data_dir, meta.clone())?);
    }
    if let Err(error) = shared.catalog.commit(&metas, sequence).await {
        // The answer may have been lost after the commit was done.
        if shared.catalog.wal_sequence().await.is_ok_and(|committed| committed >= sequence) {
            return Ok(segments);
        }
        return Err(error);
    }
    Ok(segments)
}

fn write(shared: &Shared, batches: &[Arc<HeadBatch>], sequence: u64) -> Result<Vec<SegmentMeta>, Error> {
    let mut metas = Vec::new();
    for signal in Signal::ALL {
        let rows: Vec<RecordBatch> =
            batches.iter().filter(|batch| batch.signal == signal).map(|batch| batch.rows.clone()).collect();
        if rows.iter().any(|rows| rows.num_rows() > 0) {
            metas.push(writer::write(&shared.settings.data_dir, signal, format!("{sequence:020}"), &rows)?);
        }
    }
    Ok(metas)
}
