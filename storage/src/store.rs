//! The store: what the rest of silmari holds.
//!
//! ```text
//! append ─► wal thread: write, fdatasync ─► State.active ─► Durable ─► sender
//!                                              │ seal (rows, age, close)
//!                                              ▼
//!                                       State.sealing ─► segment files ─► catalog ─► State.segments
//! ```
//!
//! Invariants: a batch is in exactly one of `active`, `sealing` and a segment; the three change under
//! one lock, so that a snapshot sees each row once.

mod opening;
mod replay;
mod sweep;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use model::positions::{AgentId, StreamId};
use model::{Clock, IdRules, Signal, UnixNano};
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::JoinHandle;

use crate::budget::{Disk, DiskState, memory_bytes_default};
use crate::catalog::Catalog;
use crate::decode::{self, Batch, DecodeError};
use crate::deletes::{DeleteReceipt, Tombstone};
use crate::error::{Context as _, Error, ErrorKind};
use crate::folder::Folder;
use crate::frame::{Compression, Frame};
use crate::head::indexer::{self, Indexes};
use crate::head::{HeadBatch, HeadView};
use crate::plant::{Plant, Planted};
use crate::positions::{Admitted, Change, Extension, Hello, Origin, Positions, Verdict, committed_of, judge};
use crate::retention::Retention;
use crate::segment::SegmentMeta;
use crate::segment::home::Remote;
use crate::segment::home::settings::Places;
use crate::segment::layout::Promote;
use crate::segment::reader::Segment;
use crate::snapshot::Snapshot;
pub use crate::wal::Durable;
use crate::wal::walk::WalFolder;
use crate::wal::{Admission, Record, ReplayRecord, Sink, Wal};
use crate::window::Window;
use crate::{compaction, deletes, maintenance};
use disk::{Fs, RealFs};
pub use replay::ReplayProgress;

/// How the store behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Rows in the head that make it be sealed into segments.
    pub seal_rows: usize,
    /// Age of the head's oldest row that makes it be sealed.
    pub seal_interval: Duration,
    /// Bytes of rows in the head above which appends are refused until sealing has caught up. From half
    /// of it on the head is sealed.
    pub head_bytes_max: usize,
    /// Memory of the process. The head takes at most half of it; what requests in flight may take is
    /// [`Store::memory_free`]. Bytes.
    pub memory_bytes_max: usize,
    /// Bytes that have to be free on the disk; below it appends are refused. `None`: 1 GiB, or 5 % of a
    /// smaller disk. 0: the disk is not watched, and nothing is held in reserve.
    pub disk_free_bytes_min: Option<u64>,
    /// Size of a WAL file in bytes.
    pub wal_segment_bytes: u64,
    /// Records one request may carry.
    pub records_per_request_max: usize,
    /// Bytes one request may have after decompression.
    pub request_bytes_max: usize,
    /// Where segments and catalog are; in the data folder, unless said otherwise.
    pub places: Places,
    /// How long rows stay.
    pub retention: Retention,
    /// Attributes that have a column of their own in every segment.
    pub promote: Promote,
    /// Segments of similar size in one hour that make them be merged while the hour lasts.
    pub compaction_fan_in: usize,
    /// Whether retention and compaction run by themselves; if not, [`Store::compact`] runs them.
    pub has_maintenance: bool,
    #[cfg(test)]
    pub(crate) planted: Planted,
}

impl Settings {
    /// The defaults, with everything below `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            seal_rows: 262_144,
            seal_interval: Duration::from_secs(600),
            head_bytes_max: 512 << 20,
            memory_bytes_max: memory_bytes_default(),
            disk_free_bytes_min: None,
            wal_segment_bytes: 64 << 20,
            records_per_request_max: 200_000,
            request_bytes_max: 64 << 20,
            places: Places::default(),
            retention: Retention::default(),
            promote: Promote::default(),
            compaction_fan_in: 8,
            has_maintenance: true,
            #[cfg(test)]
            planted: Planted::default(),
        }
    }

    #[cfg(test)]
    const fn planted(&self) -> Planted {
        self.planted
    }

    #[cfg(not(test))]
    const fn planted(&self) -> Planted {
        Planted {}
    }

    /// Bytes the head may take.
    fn head_bytes(&self) -> usize {
        self.head_bytes_max.min(self.memory_bytes_max / 2)
    }

    pub(crate) fn compaction(&self) -> compaction::plan::Settings {
        let fan_in = self.compaction_fan_in.clamp(2, compaction::plan::INPUTS_MAX);
        compaction::plan::Settings { fan_in, ..compaction::plan::Settings::default() }
    }
}

/// Numbers of the store, for `/metrics` and `silmari`'s header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Rows of each signal (by [`Signal::index`]) made visible since the store was opened.
    pub rows_appended: [u64; 3],
    /// Rows in the head now.
    pub head_rows: u64,
    /// Bytes the head holds now.
    pub head_bytes: u64,
    /// Live segments.
    pub segments: u64,
    /// Bytes of live segments.
    pub segment_bytes: u64,
    /// WAL records that were replayed since the store was opened.
    pub wal_records_replayed: u64,
    /// Whether the WAL is still being replayed, and appends are refused.
    pub is_replaying: bool,
    /// WAL records that replay could not read, since the store was opened.
    pub wal_records_lost: u64,
    /// Segments the catalog names and that cannot be opened.
    pub segments_unreadable: u64,
    /// Indexes of segments that are damaged: searches read all rows of those segments.
    pub indexes_damaged: u64,
    /// Last WAL sequence that is durable.
    pub wal_sequence: u64,
    /// Bytes free on the disk when it was last looked at.
    pub disk_free_bytes: u64,
    /// Whether appends are refused because too little of the disk is free.
    pub is_disk_low: bool,
    /// Whether appends are refused because the WAL cannot be written.
    pub is_wal_refusing: bool,
    /// Times the head was sealed since the store was opened.
    pub seals: u64,
    /// Times sealing failed since the store was opened.
    pub seal_failures: u64,
    /// Merges of segments since the store was opened.
    pub merges: u64,
    /// Segments that retention removed or reduced to errors since the store was opened.
    pub segments_expired: u64,
}

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
    pub(crate) oldest: Option<UnixNano>,
    /// When rows were last sealed of a window.
    pub(crate) joined: HashMap<(Signal, Window), UnixNano>,
    /// Segments that retention found to lose no row at an age.
    pub(crate) unaffected: HashMap<(Signal, String), Duration>,
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
    fn head(&self) -> [HeadView; 3] {
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
    closing: AtomicBool,
    number: AtomicU64,
    identity: String,
    pub(crate) disk: Disk,
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
    fn replayed(&self, change: impl FnOnce(&mut ReplayProgress)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn progress(&self) -> ReplayProgress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be done when the object store answers.
    fn missed(&self) -> MutexGuard<'_, opening::Missed> {
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
    fn is_full(&self) -> bool {
        self.is_full_at(&self.state().stats)
    }

    /// Makes a durable batch visible, and the positions that came with it. Called in WAL order.
    fn push(&self, sequence: u64, batch: Batch, move_positions: impl FnOnce(&mut Positions, UnixNano)) {
        let signal = batch.signal();
        let batch = {
            let mut state = self.state();
            let now = self.clock.now();
            move_positions(&mut state.positions, now);
            state.stats.wal_sequence = sequence;
            state.oldest.get_or_insert(now);
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

/// What waits in the log for its record to become durable.
pub(crate) struct Arrived {
    batch: Batch,
    extension: Extension,
}

/// Judges appends in WAL order, and makes them visible when they are durable.
struct Gate {
    shared: Arc<Shared>,
    /// Positions of the group that is being written.
    admitted: Admitted,
    /// Changes of its records that are still to become durable, in order.
    waiting: VecDeque<Vec<Change>>,
}

impl Sink<Arrived> for Gate {
    fn admit(&mut self, arrived: &Arrived) -> Admission {
        let verdict = judge(&arrived.extension, &self.admitted.over(&self.shared.state().positions));
        match verdict {
            Verdict::Write(changes) => {
                self.admitted.extend(&changes);
                self.waiting.push_back(changes);
                Admission::Write
            }
            Verdict::Known => Admission::Known,
            Verdict::Trim(committed) => Admission::Refuse(misfit(Trim(committed))),
            Verdict::Refuse(refusal) => Admission::Refuse(misfit(refusal)),
        }
    }

    fn durable(&mut self, sequence: u64, arrived: Arrived) {
        let changes = self.waiting.pop_front().unwrap_or_default();
        self.shared.push(sequence, arrived.batch, |positions, now| positions.apply(changes, now));
    }

    fn settled(&mut self) {
        self.admitted.clear();
        self.waiting.clear();
    }
}

/// A part of the append is there already: up to here, a range each.
#[derive(Debug, thiserror::Error)]
#[error("a part of the records is there already")]
struct Trim(Vec<Option<u64>>);

fn misfit(reason: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Position, reason.to_string()).with_source(reason)
}

/// How often an append is cut to committed positions that move meanwhile.
const TRIM_TRIES: usize = 8;

/// Records that are durable, and where their source stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Proof that they are on the disk.
    pub durable: Durable,
    /// The streams of the append and their committed positions.
    pub committed: Vec<(StreamId, Option<u64>)>,
    /// Records of the frame that were there already and were not stored again.
    pub dropped: usize,
}

/// A store that is open. Dropping it without [`Store::close`] is safe: the WAL holds everything.
pub struct Store {
    shared: Arc<Shared>,
    ids: Arc<IdRules>,
    /// Set when it is replayed.
    wal: OnceLock<Arc<Wal<Arrived>>>,
    replay: watch::Receiver<replay::State>,
    sealer: Mutex<Option<JoinHandle<()>>>,
    maintenance: Mutex<Option<JoinHandle<()>>>,
    /// Held as long as the store is open or replays: one process at a time.
    lock: Arc<File>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("data_dir", &self.shared.settings.data_dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens or creates the store in `settings.data_dir` and replays its WAL.
    ///
    /// # Errors
    /// When the folder cannot be written, or holds files of a newer format. Damaged WAL records and
    /// segments do not stop it: they are counted in [`StoreStats`].
    pub async fn open(
        settings: Settings,
        ids: Arc<IdRules>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Error> {
        Self::open_on(Arc::new(RealFs), settings, ids, clock).await
    }

    /// As [`Store::open`], but returns when the store can be read from: the WAL is replayed meanwhile. Until that is
    /// done, answers say that rows are missing, and appends and deletes are refused with `Retry`.
    ///
    /// # Errors
    /// As [`Store::open`], but for what the replay finds: see [`Store::replayed`].
    pub async fn open_at_once(
        settings: Settings,
        ids: Arc<IdRules>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Error> {
        Self::begin(Arc::new(RealFs), settings, ids, clock).await
    }

    /// As [`Store::open`], on this file system.
    pub(crate) async fn open_on(
        fs: Arc<dyn Fs>,
        settings: Settings,
        ids: Arc<IdRules>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Error> {
        let store = Self::begin(fs, settings, ids, clock).await?;
        store.replayed().await?;
        Ok(store)
    }

    async fn begin(
        fs: Arc<dyn Fs>,
        settings: Settings,
        ids: Arc<IdRules>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Error> {
        let data_dir = settings.data_dir.clone();
        std::fs::create_dir_all(&data_dir)
            .context(ErrorKind::FixInput, || format!("creating the data folder `{}`", data_dir.display()))?;
        let lock = lock(&data_dir).await?;
        // Every version is checked before anything of the store is changed.
        WalFolder::new(Arc::clone(&fs), data_dir.join("wal"), Arc::clone(&clock)).check_version()?;
        // On a full disk this gives up the reserve, so that the catalog opens.
        drop(Disk::new(&data_dir, settings.disk_free_bytes_min));
        let remote = Remote::open(&data_dir, &settings.places.segments)?;
        let folder = Folder { remote, ..Folder::new(&data_dir, fs, settings.planted()) };
        let catalog = Catalog::open(&folder, &settings.places.catalog, &*clock).await?;
        let shared = build_shared(folder, settings, clock, catalog).await?;
        let (replay, state) = watch::channel(replay::State::Running);
        let store = Arc::new(Self {
            shared,
            ids,
            wal: OnceLock::new(),
            replay: state,
            sealer: Mutex::new(None),
            maintenance: Mutex::new(None),
            lock: Arc::new(lock),
        });
        tokio::spawn(indexer::run(&store.shared));
        tokio::spawn(store.replay_log(replay));
        Ok(store)
    }

    /// Replays the log, and makes the store take appends. Ends early when the store is dropped.
    fn replay_log(self: &Arc<Self>, state: watch::Sender<replay::State>) -> impl Future<Output = ()> + use<> {
        let (shared, ids) = (Arc::clone(&self.shared), Arc::clone(&self.ids));
        let (store, lock) = (Arc::downgrade(self), Arc::clone(&self.lock));
        async move {
            let result = replay::run(&shared, &ids).await;
            drop(shared);
            let now = match (result, store.upgrade()) {
                (Ok(wal), Some(store)) => {
                    store.wal.get_or_init(|| Arc::new(wal));
                    store.start_background();
                    replay::State::Done
                }
                (Ok(_), None) => replay::State::Done,
                (Err(error), _) => replay::State::Failed(error.kind(), error.to_string().into()),
            };
            drop(lock);
            // Nobody may be waiting.
            drop(state.send(now));
        }
    }

    fn start_background(self: &Arc<Self>) {
        let sealer = tokio::spawn(crate::seal::run(Arc::downgrade(self)));
        *self.sealer.lock().unwrap_or_else(PoisonError::into_inner) = Some(sealer);
        if self.shared.settings.has_maintenance {
            let maintenance = tokio::spawn(maintenance::run(Arc::downgrade(self)));
            *self.maintenance.lock().unwrap_or_else(PoisonError::into_inner) = Some(maintenance);
        }
    }

    /// Waits until the WAL is replayed and the store takes appends.
    ///
    /// # Errors
    /// When the folder of the WAL cannot be created or listed, or the store was closed meanwhile. Damaged records are
    /// counted in [`StoreStats`] instead.
    pub async fn replayed(&self) -> Result<(), Error> {
        let mut state = self.replay.clone();
        let state = state.wait_for(|state| !matches!(state, replay::State::Running)).await;
        match state.as_deref() {
            Ok(replay::State::Failed(kind, message)) => Err(Error::new(*kind, &**message)),
            Ok(_) => Ok(()),
            // Its task panicked, or the runtime ends.
            Err(_) => Err(Error::new(ErrorKind::Internal, "replaying the write-ahead log ended by a defect")),
        }
    }

    /// How far the replay is; `None` once it is done.
    pub fn replay_progress(&self) -> Option<ReplayProgress> {
        self.wal.get().is_none().then(|| self.shared.progress())
    }

    /// The log, once it can be appended to.
    fn wal(&self) -> Result<&Arc<Wal<Arrived>>, Error> {
        self.wal.get().ok_or_else(|| {
            let ReplayProgress { records, bytes, bytes_total } = self.shared.progress();
            Error::retry(format!(
                "the write-ahead log is being replayed: {records} records, {bytes} of at most {bytes_total} bytes"
            ))
        })
    }

    /// Decodes an uncompressed request of `signal`. CPU work: call it off the async threads.
    ///
    /// # Errors
    /// When the request as a whole cannot be read; records that are bad beside good ones are counted
    /// in the batch.
    pub fn decode(
        &self,
        signal: Signal,
        request: &[u8],
        received_at: UnixNano,
    ) -> Result<Batch, DecodeError> {
        let believes_all = self.shared.folder.planted.has(Plant::FutureBelieved);
        let received_at = if believes_all { UnixNano(i64::MAX >> 1) } else { received_at };
        decode::decode(signal, request, &self.ids, received_at, self.shared.settings.records_per_request_max)
    }

    /// Makes a frame durable and its rows visible. Returns after both.
    ///
    /// # Errors
    /// `Retry` when the head is full or the disk refuses; nothing was acknowledged then.
    pub async fn append(&self, frame: Frame, batch: Batch) -> Result<Durable, Error> {
        self.check_room()?;
        self.log(&frame, batch, Extension::default()).await
    }

    /// As [`Store::append`], for records whose place in their source is known: together with the records
    /// the source's position becomes durable, and records that are there already are not stored again.
    /// Appends of one source are stored in the order of their first polls, or refused. A frame
    /// without records only moves positions.
    ///
    /// # Errors
    /// `Position` when the positions do not fit; nothing was stored then. As [`Store::append`].
    pub async fn append_from(&self, frame: Frame, batch: Batch, origin: Origin) -> Result<Placed, Error> {
        self.check_room()?;
        let mut extension = Extension::from(origin);
        let mut batch = batch;
        let mut dropped = 0;
        for _ in 0..TRIM_TRIES {
            let records = batch.accepted + batch.rejected;
            match self.log(&frame, batch, extension.clone()).await {
                Ok(durable) => {
                    let dropped = dropped + if durable.is_new { 0 } else { records };
                    return Ok(self.placed(durable, &extension, dropped));
                }
                Err(error) => {
                    let Some(Trim(committed)) = error.source_ref::<Trim>() else { return Err(error) };
                    for ((_, kept_from), committed) in extension.ranges.iter_mut().zip(committed) {
                        *kept_from = *committed;
                    }
                    batch = self.decode_rest(&frame, &extension).await?;
                    dropped += records.saturating_sub(batch.accepted + batch.rejected);
                }
            }
        }
        Err(Error::retry("the committed positions move faster than the request can be cut to them"))
    }

    /// Opens a session for an agent: from now on only it may write the agent's streams. Returns when the
    /// session is durable and all that was appended before it is settled.
    ///
    /// # Errors
    /// `Retry` when the disk refuses.
    pub async fn hello(&self, agent: AgentId, forget: Vec<StreamId>) -> Result<Hello, Error> {
        self.check_room()?;
        for _ in 0..TRIM_TRIES {
            let session = self.shared.state().positions.session(agent) + 1;
            let received_at = self.shared.clock.now();
            let (signal, compression) = (Signal::Logs, Compression::Identity);
            let frame = Frame { signal, compression, received_at, payload: bytes::Bytes::new() };
            let batch = decode::decode(signal, &[], &self.ids, received_at, 0);
            let batch = batch.context(ErrorKind::Internal, || "an empty request".to_owned())?;
            let extension = Extension::hello(agent, session, forget.clone());
            match self.log(&frame, batch, extension).await {
                Ok(_) => {
                    let streams = self.shared.state().positions.streams_of(agent);
                    return Ok(Hello { store: self.shared.identity.clone(), session, streams });
                }
                // Another hello of this agent was faster.
                Err(error) if error.kind() == ErrorKind::Position => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::retry("the agent says hello more often than it can be answered"))
    }

    /// The next offset of every Kafka partition that was read: topic, partition, offset.
    pub fn kafka_offsets(&self) -> Vec<(String, u32, u64)> {
        self.shared.state().positions.kafka()
    }

    /// Whether an append can be taken now: to be asked before a request is read.
    ///
    /// # Errors
    /// `Retry` when the head or the disk is full, or the disk does not work.
    pub fn check_room(&self) -> Result<(), Error> {
        let wal = self.wal()?;
        if self.shared.state().stats.head_bytes as usize > self.shared.settings.head_bytes() {
            self.shared.seal_wanted.notify_one();
            return Err(Error::retry("the head is full: sealing has to catch up first"));
        }
        let DiskState { free, is_low } = self.shared.disk.state();
        if is_low {
            return Err(Error::retry(format!(
                "the disk of `{}` is full: {free} bytes are free",
                self.shared.settings.data_dir.display()
            )));
        }
        if wal.is_refusing() {
            return Err(Error::retry("the write-ahead log cannot be written just now"));
        }
        Ok(())
    }

    /// What is left of the memory budget beside the head. Bytes.
    pub fn memory_free(&self) -> usize {
        let head = usize::try_from(self.shared.state().stats.head_bytes).unwrap_or(usize::MAX);
        self.shared.settings.memory_bytes_max.saturating_sub(head)
    }

    /// Looks whether disk and log work again: nobody else would, once requests are refused.
    pub(crate) async fn look_around(&self) {
        self.shared.disk.look();
        opening::make_up(&self.shared).await;
        if self.wal.get().is_some_and(|wal| wal.is_refusing()) {
            let received_at = self.shared.clock.now();
            let (signal, compression) = (Signal::Logs, Compression::Identity);
            let frame = Frame { signal, compression, received_at, payload: bytes::Bytes::new() };
            if let Ok(batch) = decode::decode(signal, &[], &self.ids, received_at, 0) {
                // Whether it works shows in `is_refusing`.
                drop(self.log(&frame, batch, Extension::default()).await);
            }
        }
    }

    fn log(
        &self,
        frame: &Frame,
        batch: Batch,
        extension: Extension,
    ) -> impl Future<Output = Result<Durable, Error>> + Send + use<> {
        let record = Record {
            signal: frame.signal.code(),
            compression: frame.compression.code(),
            received_at: frame.received_at,
            extension: extension.encode(),
            payload: frame.payload.clone(),
        };
        let queued = self.wal().map(|wal| wal.append(record, Arrived { batch, extension }));
        async move { queued?.await }
    }

    /// What the appended records have become.
    fn placed(&self, durable: Durable, extension: &Extension, dropped: usize) -> Placed {
        let state = self.shared.state();
        let agent = extension.agent.map(|(agent, _)| agent);
        let committed = match agent {
            Some(agent) => committed_of(extension, |stream| state.positions.stream(agent, stream)),
            None => Vec::new(),
        };
        Placed { durable, committed, dropped }
    }

    /// The rows of the records that are not there yet.
    async fn decode_rest(&self, frame: &Frame, extension: &Extension) -> Result<Batch, Error> {
        let (ids, extension) = (Arc::clone(&self.ids), extension.clone());
        let record = ReplayRecord {
            sequence: 0,
            signal: frame.signal.code(),
            compression: frame.compression.code(),
            received_at: frame.received_at,
            extension: bytes::Bytes::new(),
            payload: frame.payload.clone(),
        };
        tokio::task::spawn_blocking(move || replay::rows_of(&ids, &record, &extension))
            .await
            .context(ErrorKind::Internal, || "decoding".to_owned())?
            .map_err(|problem| Error::new(ErrorKind::FixInput, problem))
    }

    /// Head and segments as they are now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.shared.state();
        let head = state.head();
        let is_partial = self.wal.get().is_none();
        let (segments, unreadable) = (state.segments.clone(), Arc::clone(&state.unreadable));
        Snapshot::new(self.shared.clock.now(), head, segments, unreadable, is_partial)
    }

    /// Batches as they become visible. A receiver that falls behind by more than a thousand misses
    /// the oldest and learns it from [`HeadBatch::rows_before`].
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<HeadBatch>> {
        self.shared.subscribe()
    }

    /// Moves all of the head into segments now.
    ///
    /// # Errors
    /// `Retry` when the disk refuses or the WAL is still being replayed; the rows stay in the head and in the WAL.
    pub async fn seal(&self) -> Result<(), Error> {
        // A task of its own: a caller that goes away must not leave a seal half done.
        let seal = crate::seal::seal(Arc::clone(&self.shared), Arc::clone(self.wal()?));
        tokio::spawn(seal).await.context(ErrorKind::Internal, || "sealing the head".to_owned())?
    }

    /// Applies retention and merges small segments now; the store does it by itself after seals.
    ///
    /// # Errors
    /// `Retry` when a delete or the store's end came in between or the disk refuses, `Damaged` when a segment cannot
    /// be read. The store is as it was, or has fewer segments.
    pub async fn compact(self: &Arc<Self>) -> Result<(), Error> {
        maintenance::once(self, false).await
    }

    /// Deletes every row received so far that carries the id `term` (`kind=value`) itself: spans, log
    /// records, for `trace_id=…` both of that trace. When this returns no new snapshot shows them; they leave
    /// the disk with the next compaction, and the receipt of [`Store::deletes`] says when that was.
    ///
    /// # Errors
    /// `FixInput` when `term` names no id kind; `Retry` when the disk refuses or too many deletes are pending. Nothing was
    /// deleted then.
    pub async fn delete(&self, term: &str) -> Result<DeleteReceipt, Error> {
        self.delete_or_count(term, false).await
    }

    /// What [`Store::delete`] would delete. Nothing changes; the receipt has the number the next delete
    /// would have.
    ///
    /// # Errors
    /// As [`Store::delete`].
    pub async fn count_deletable(&self, term: &str) -> Result<DeleteReceipt, Error> {
        self.delete_or_count(term, true).await
    }

    async fn delete_or_count(&self, term: &str, is_dry: bool) -> Result<DeleteReceipt, Error> {
        let term = deletes::check_term(term, &self.ids)?;
        // What is not replayed yet would not be found.
        let (wal, shared) = (Arc::clone(self.wal()?), Arc::clone(&self.shared));
        // A task of its own: a caller that goes away must not leave a delete half done.
        let delete = async move {
            let receipt = deletes::delete(shared, term, is_dry).await?;
            if !is_dry {
                // The requests hold what was deleted.
                wal.forget();
            }
            Ok(receipt)
        };
        tokio::spawn(delete).await.context(ErrorKind::Internal, || "deleting".to_owned())?
    }

    /// Receipts of all deletes, oldest first.
    ///
    /// # Errors
    /// `Damaged` when the catalog cannot be read.
    pub async fn deletes(&self) -> Result<Vec<DeleteReceipt>, Error> {
        let tombstones = self.shared.catalog.deletes().await?;
        Ok(tombstones.into_iter().map(|tombstone| tombstone.receipt).collect())
    }

    /// Whether requests can be made durable just now: the WAL is replayed, the disk works and has room.
    pub fn is_ready(&self) -> bool {
        self.wal.get().is_some_and(|wal| !wal.is_refusing()) && !self.shared.disk.state().is_low
    }

    /// The id rules that are applied.
    pub fn ids(&self) -> &Arc<IdRules> {
        &self.ids
    }

    /// The numbers as they are now.
    pub fn stats(&self) -> StoreStats {
        let DiskState { free, is_low } = self.shared.disk.state();
        let state = self.shared.state();
        StoreStats {
            disk_free_bytes: free,
            is_disk_low: is_low,
            is_wal_refusing: self.wal.get().is_some_and(|wal| wal.is_refusing()),
            is_replaying: self.wal.get().is_none(),
            wal_records_replayed: self.shared.progress().records,
            indexes_damaged: state.segments.iter().map(|segment| segment.damaged_indexes()).sum(),
            ..state.stats.clone()
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Seals the head and closes the catalog. The store must not be used afterwards.
    ///
    /// # Errors
    /// When sealing fails; nothing is lost, the WAL holds it.
    pub async fn close(&self) -> Result<(), Error> {
        let sealer = self.sealer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sealer) = sealer {
            sealer.abort();
        }
        self.shared.closing.store(true, Ordering::Release);
        self.shared.maintenance_wanted.notify_one();
        let maintenance = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(maintenance) = maintenance {
            // It ends with the batch of rows it is at. If it panicked, that was logged where it happened.
            drop(maintenance.await);
        }
        // Before the end of the replay there is nothing that the log does not hold.
        let is_replayed = self.replayed().await.is_ok();
        let sealed = if is_replayed { self.seal().await } else { Ok(()) };
        if let Some(wal) = self.wal.get() {
            wal.close();
        }
        self.shared.catalog.close().await;
        sealed
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
    }
}

async fn build_shared(
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

/// Takes the data folder for this process. Waits a little for one that is just ending.
async fn lock(data_dir: &Path) -> Result<File, Error> {
    let path = data_dir.join("lock");
    let doing = || format!("locking `{}`", path.display());
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.context(ErrorKind::FixInput, doing)?;
    for _ in 0..LOCK_TRIES {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => tokio::time::sleep(LOCK_PAUSE).await,
            Err(error) => return Err(error).context(ErrorKind::FixInput, doing),
        }
    }
    Err(Error::new(
        ErrorKind::FixInput,
        format!("another silmari uses `{}`: stop it, or choose another --data-dir", data_dir.display()),
    ))
}

const LOCK_TRIES: usize = 60;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
pub(crate) mod tests;
