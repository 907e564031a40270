//! What everything that works on a store shares: the state under its one lock, and what the work needs besides.
//!
//! Owns: rows becoming visible. Does not own: when they do (`gate`), when they leave the head (`seal`).
//!
//! Invariant: a batch is in exactly one of `active`, `sealing` and a segment.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{Clock, Signal, UnixNano};
use tokio::sync::{Notify, broadcast};

use super::replay::ReplayProgress;
use super::{Settings, StoreStats, opening};
use crate::budget::Disk;
use crate::catalog::Catalog;
use crate::decode::Batch;
use crate::deletes::{self, Tombstone};
use crate::error::{Context as _, Error, ErrorKind};
use crate::folder::Folder;
use crate::head::indexer::Indexes;
use crate::head::{HeadBatch, HeadView};
use crate::memory::Memory;
use crate::plant::Plant;
use crate::positions::Positions;
use crate::retention::BelievedClock;
use crate::segment::SegmentMeta;
use crate::segment::reader::Segment;
use crate::window::Window;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) active: Vec<Arc<HeadBatch>>,
    pub(crate) sealing: Vec<Arc<HeadBatch>>,
    /// Where the terms of the head are, by signal.
    pub(crate) indexes: [Indexes; 3],
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Segments the catalog names and that cannot be opened: answers say that their rows are missing.
    pub(crate) unreadable: Arc<[SegmentMeta]>,
    /// What the store has of its senders' sources.
    pub(crate) positions: Positions,
    /// When the first row of the head came, on the monotonic clock.
    pub(crate) oldest: Option<Duration>,
    /// When rows were last sealed of a window.
    pub(crate) joined: HashMap<(Signal, Window), UnixNano>,
    /// Segments that retention found to lose no row at an age.
    pub(crate) unaffected: HashMap<(Signal, String), Duration>,
    /// Segments that could not be read when they were to be merged, and until when on the monotonic clock they are left alone.
    pub(crate) left_alone: HashMap<(Signal, String), Duration>,
    /// The time by which rows are removed.
    pub(crate) believed: BelievedClock,
    /// The WAL sequence up to which everything is in segments.
    pub(crate) sealed_sequence: u64,
    /// Deletes whose bytes are not gone, oldest first.
    pub(crate) tombstones: Arc<[Tombstone]>,
    /// The last delete there was, 0 before the first.
    pub(crate) last_delete_id: u64,
    pub(crate) stats: StoreStats,
}

impl State {
    /// The head as it is now, by signal.
    pub(super) fn head(&self) -> [HeadView; 3] {
        let mut batches = [Vec::new(), Vec::new(), Vec::new()];
        for batch in self.sealing.iter().chain(&self.active) {
            batches[batch.signal.index()].push(Arc::clone(batch));
        }
        let [spans, logs, points] = batches;
        let view =
            |signal: Signal, batches| HeadView::new(signal, batches, self.indexes[signal.index()].clone());
        [view(Signal::Traces, spans), view(Signal::Logs, logs), view(Signal::Metrics, points)]
    }

    /// Brings the numbers up to date after segments have changed.
    pub(crate) fn count_segments(&mut self) {
        self.stats.segments = self.segments.len() as u64;
        self.stats.segment_bytes = self.segments.iter().map(|segment| segment.meta().bytes).sum();
    }
}

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) folder: Folder,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalog: Catalog,
    state: Mutex<State>,
    tail: broadcast::Sender<Arc<HeadBatch>>,
    pub(crate) seal_wanted: Notify,
    pub(crate) seal_lock: tokio::sync::Mutex<()>,
    pub(crate) maintenance_wanted: Notify,
    /// Held by whoever replaces segments.
    pub(crate) maintenance_lock: tokio::sync::Mutex<()>,
    /// Deletes that a merge has to give way to.
    pub(crate) deletes_waiting: AtomicUsize,
    pub(super) closing: AtomicBool,
    number: AtomicU64,
    pub(super) identity: String,
    pub(crate) disk: Disk,
    pub(crate) memory: Memory,
    progress: Mutex<ReplayProgress>,
    missed: Mutex<opening::Missed>,
}

/// Batches a slow subscriber may be behind before it misses some.
const TAIL_BATCHES: usize = 1_024;

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The replay went on.
    pub(super) fn replayed(&self, change: impl FnOnce(&mut ReplayProgress)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn progress(&self) -> ReplayProgress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be done when the object store answers.
    pub(super) fn missed(&self) -> MutexGuard<'_, opening::Missed> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a segment's name, used once.
    pub(crate) fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// Batches as they become visible.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<HeadBatch>> {
        self.tail.subscribe()
    }

    /// Whether background work has to end for good.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Whether background work has to end now.
    pub(crate) fn must_yield(&self) -> bool {
        self.is_closing() || self.deletes_waiting.load(Ordering::Acquire) > 0
    }

    fn is_full_at(&self, stats: &StoreStats) -> bool {
        stats.head_rows as usize >= self.settings.seal_rows
            || stats.head_bytes as usize >= self.settings.head_bytes() / 2
    }

    /// Whether the head should be sealed.
    pub(super) fn is_full(&self) -> bool {
        self.is_full_at(&self.state().stats)
    }

    /// Makes a durable batch visible, and the positions that came with it. Called in WAL order.
    pub(super) fn push(
        &self,
        sequence: u64,
        batch: Batch,
        move_positions: impl FnOnce(&mut Positions, UnixNano),
    ) {
        let signal = batch.signal();
        let batch = {
            let mut state = self.state();
            let now = self.clock.now();
            move_positions(&mut state.positions, now);
            state.stats.wal_sequence = sequence;
            state.oldest.get_or_insert(self.clock.monotonic());
            if batch.rows() == 0 {
                return;
            }
            let rows_before = state.stats.rows_appended[signal.index()];
            let batch = HeadBatch::new(batch, rows_before);
            let tombstones = match self.folder.planted.has(Plant::DeletedRowsReplayed) {
                true => &[],
                false => &*state.tombstones,
            };
            let batch =
                deletes::replayed(batch, sequence, tombstones).expect("rows of the schema can be filtered");
            let rows = batch.rows.num_rows() as u64;
            state.stats.rows_appended[signal.index()] += rows;
            state.stats.head_rows += rows;
            state.stats.head_bytes += batch.bytes() as u64;
            self.memory.set_head(state.stats.head_bytes);
            state.active.push(Arc::clone(&batch));
            if self.is_full_at(&state.stats) {
                self.seal_wanted.notify_one();
            }
            batch
        };
        // Nobody may be listening; that is no failure.
        drop(self.tail.send(batch));
    }
}

/// What a store shares, as the catalog and the segments say.
pub(super) async fn build(
    folder: Folder,
    settings: Settings,
    clock: Arc<dyn Clock>,
    catalog: Catalog,
) -> Result<Arc<Shared>, Error> {
    let metas = catalog.segments().await?;
    metas.iter().try_for_each(SegmentMeta::check_version)?;
    let deletes = catalog.deletes().await?;
    let state = State {
        sealed_sequence: catalog.wal_sequence().await?,
        last_delete_id: deletes.last().map_or(0, |last| last.receipt.id),
        tombstones: deletes.into_iter().filter(|delete| delete.receipt.gone_at.is_none()).collect(),
        positions: Positions::from_catalog(catalog.positions().await?),
        ..State::default()
    };
    let identity = catalog.identity(&uuid::Uuid::new_v4().to_string()).await?;
    let (state, number, missed) = open_segments(folder.clone(), identity.clone(), metas, state).await?;
    let disk = Disk::new(&settings.data_dir, settings.disk_free_bytes_min);
    let memory = settings.memory();
    Ok(Arc::new(Shared {
        settings,
        folder,
        clock,
        catalog,
        state: Mutex::new(state),
        tail: broadcast::channel(TAIL_BATCHES).0,
        seal_wanted: Notify::new(),
        seal_lock: tokio::sync::Mutex::new(()),
        maintenance_wanted: Notify::new(),
        maintenance_lock: tokio::sync::Mutex::new(()),
        deletes_waiting: AtomicUsize::new(0),
        closing: AtomicBool::new(false),
        number: AtomicU64::new(number),
        identity,
        disk,
        memory,
        progress: Mutex::default(),
        missed: Mutex::new(missed),
    }))
}

/// Off the async threads: an object store may take its time.
async fn open_segments(
    folder: Folder,
    identity: String,
    metas: Vec<SegmentMeta>,
    mut state: State,
) -> Result<(State, u64, opening::Missed), Error> {
    let open = move || {
        let (number, missed) = opening::open(&folder, &identity, metas, &mut state)?;
        Ok((state, number, missed))
    };
    tokio::task::spawn_blocking(open).await.context(ErrorKind::Internal, || "opening segments".to_owned())?
}
