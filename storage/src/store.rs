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

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{Clock, IdRules, Signal, UnixNano};
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;

use crate::catalog::Catalog;
use crate::decode::{self, Batch, DecodeError};
use crate::error::{Context as _, Error, ErrorKind};
use crate::frame::{Compression, Frame, decompress};
use crate::fs::{Fs, RealFs};
use crate::head::HeadBatch;
use crate::segment::reader::Segment;
use crate::snapshot::Snapshot;
pub use crate::wal::Durable;
use crate::wal::{self, Record, ReplayRecord, Wal};

/// How the store behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Rows in the head that make it be sealed into segments.
    pub seal_rows: usize,
    /// Age of the head's oldest row that makes it be sealed.
    pub seal_interval: Duration,
    /// Bytes of rows in the head above which appends are refused until sealing has caught up.
    pub head_bytes_max: usize,
    /// Size of a WAL file in bytes.
    pub wal_segment_bytes: u64,
    /// Records one request may carry.
    pub records_per_request_max: usize,
    /// Bytes one request may have after decompression.
    pub request_bytes_max: usize,
}

impl Settings {
    /// The defaults, with everything below `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            seal_rows: 262_144,
            seal_interval: Duration::from_secs(60),
            head_bytes_max: 1 << 30,
            wal_segment_bytes: 64 << 20,
            records_per_request_max: 200_000,
            request_bytes_max: 64 << 20,
        }
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
    /// WAL records that replay could not read, since the store was opened.
    pub wal_records_lost: u64,
    /// Segments the catalog names and that cannot be opened.
    pub segments_unreadable: u64,
    /// Last WAL sequence that is durable.
    pub wal_sequence: u64,
    /// Times the head was sealed since the store was opened.
    pub seals: u64,
    /// Times sealing failed since the store was opened.
    pub seal_failures: u64,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) active: Vec<Arc<HeadBatch>>,
    pub(crate) sealing: Vec<Arc<HeadBatch>>,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) oldest: Option<UnixNano>,
    pub(crate) stats: StoreStats,
}

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalog: Catalog,
    state: Mutex<State>,
    tail: broadcast::Sender<Arc<HeadBatch>>,
    pub(crate) seal_wanted: Notify,
    pub(crate) seal_lock: tokio::sync::Mutex<()>,
}

/// Batches a slow subscriber may be behind before it misses some.
const TAIL_BATCHES: usize = 1_024;

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a durable batch visible. Called in WAL order.
    fn push(&self, sequence: u64, batch: Batch) {
        let signal = batch.signal();
        let batch = {
            let mut state = self.state();
            let rows_before = state.stats.rows_appended[signal.index()];
            let batch = HeadBatch::new(batch, rows_before);
            let rows = batch.rows.num_rows() as u64;
            state.stats.wal_sequence = sequence;
            state.stats.rows_appended[signal.index()] += rows;
            state.stats.head_rows += rows;
            state.stats.head_bytes += batch.bytes() as u64;
            state.oldest.get_or_insert(self.clock.now());
            state.active.push(Arc::clone(&batch));
            if state.stats.head_rows as usize >= self.settings.seal_rows {
                self.seal_wanted.notify_one();
            }
            batch
        };
        // Nobody may be listening; that is no failure.
        drop(self.tail.send(batch));
    }
}

/// A store that is open. Dropping it without [`Store::close`] is safe: the WAL holds everything.
pub struct Store {
    shared: Arc<Shared>,
    ids: Arc<IdRules>,
    wal: Wal<Batch>,
    sealer: Mutex<Option<JoinHandle<()>>>,
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
        let data_dir = settings.data_dir.clone();
        std::fs::create_dir_all(&data_dir)
            .context(ErrorKind::FixInput, || format!("creating the data folder `{}`", data_dir.display()))?;
        let catalog = Catalog::open(&data_dir).await?;
        let shared = build_shared(settings, clock, catalog).await?;
        let wal = build_wal(&shared, &ids).await?;
        let store = Arc::new(Self { shared, ids, wal, sealer: Mutex::new(None) });
        let sealer = tokio::spawn(crate::seal::run(Arc::downgrade(&store)));
        *store.sealer.lock().unwrap_or_else(PoisonError::into_inner) = Some(sealer);
        Ok(store)
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
        decode::decode(signal, request, &self.ids, received_at, self.shared.settings.records_per_request_max)
    }

    /// Makes a frame durable and its rows visible. Returns after both.
    ///
    /// # Errors
    /// `Retry` when the head is full or the disk refuses; nothing was acknowledged then.
    pub async fn append(&self, frame: Frame, batch: Batch) -> Result<Durable, Error> {
        if self.shared.state().stats.head_bytes as usize > self.shared.settings.head_bytes_max {
            self.shared.seal_wanted.notify_one();
            return Err(Error::retry("the head is full: sealing has to catch up first"));
        }
        let record = Record {
            signal: frame.signal.code(),
            compression: frame.compression.code(),
            received_at: frame.received_at,
            extension: bytes::Bytes::new(),
            payload: frame.payload,
        };
        self.wal.append(record, batch).await
    }

    /// Head and segments as they are now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.shared.state();
        let head = state.sealing.iter().chain(&state.active).map(Arc::clone).collect();
        Snapshot::new(self.shared.clock.now(), head, state.segments.clone())
    }

    /// Batches as they become visible. A receiver that falls behind by more than a thousand misses
    /// the oldest and learns it from [`HeadBatch::rows_before`].
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<HeadBatch>> {
        self.shared.tail.subscribe()
    }

    /// Moves all of the head into segments now.
    ///
    /// # Errors
    /// `Retry` when the disk refuses; the rows stay in the head and in the WAL.
    pub async fn seal(&self) -> Result<(), Error> {
        crate::seal::seal(&self.shared, &self.wal).await
    }

    /// The id rules that are applied.
    pub fn ids(&self) -> &Arc<IdRules> {
        &self.ids
    }

    /// The numbers as they are now.
    pub fn stats(&self) -> StoreStats {
        self.shared.state().stats.clone()
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
        let sealed = self.seal().await;
        self.wal.close();
        self.shared.catalog.close().await;
        sealed
    }
}

async fn build_shared(
    settings: Settings,
    clock: Arc<dyn Clock>,
    catalog: Catalog,
) -> Result<Arc<Shared>, Error> {
    let mut state = State::default();
    for meta in catalog.segments().await? {
        let bytes = meta.bytes;
        match Segment::open(&settings.data_dir, meta) {
            Ok(segment) => {
                state.stats.segments += 1;
                state.stats.segment_bytes += bytes;
                state.segments.push(segment);
            }
            Err(error) => {
                tracing::error!("{error}: its rows are left out of every answer");
                state.stats.segments_unreadable += 1;
            }
        }
    }
    Ok(Arc::new(Shared {
        settings,
        clock,
        catalog,
        state: Mutex::new(state),
        tail: broadcast::channel(TAIL_BATCHES).0,
        seal_wanted: Notify::new(),
        seal_lock: tokio::sync::Mutex::new(()),
    }))
}

async fn build_wal(shared: &Arc<Shared>, ids: &Arc<IdRules>) -> Result<Wal<Batch>, Error> {
    let from_sequence = shared.catalog.wal_sequence().await?;
    let (shared, ids) = (Arc::clone(shared), Arc::clone(ids));
    let open = move || {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let dir = shared.settings.data_dir.join("wal");
        let settings =
            wal::Settings { segment_bytes: shared.settings.wal_segment_bytes, ..wal::Settings::default() };
        let mut undecodable = 0;
        let mut replay = |record: ReplayRecord| -> Result<(), Error> {
            match replayed(&shared, &ids, &record) {
                Ok(batch) => shared.push(record.sequence, batch),
                Err(problem) => {
                    undecodable += 1;
                    tracing::error!("wal record {}: {problem}: it is left out", record.sequence);
                }
            }
            Ok(())
        };
        let on_durable = {
            let shared = Arc::clone(&shared);
            Box::new(move |sequence, batch| shared.push(sequence, batch))
        };
        let (wal, report) =
            Wal::open(fs, &dir, settings, Arc::clone(&shared.clock), from_sequence, on_durable, &mut replay)?;
        shared.state().stats.wal_records_lost = report.lost_records + undecodable;
        Ok(wal)
    };
    tokio::task::spawn_blocking(open).await.context(ErrorKind::Internal, || "replaying the wal".to_owned())?
}

fn replayed(shared: &Shared, ids: &IdRules, record: &ReplayRecord) -> Result<Batch, String> {
    let limits = &shared.settings;
    let signal =
        Signal::from_code(record.signal).ok_or_else(|| format!("unknown signal {}", record.signal))?;
    let compression = Compression::from_code(record.compression)
        .ok_or_else(|| format!("unknown compression {}", record.compression))?;
    let request = decompress(compression, &record.payload, limits.request_bytes_max)
        .map_err(|error| error.to_string())?;
    decode::decode(signal, &request, ids, record.received_at, limits.records_per_request_max)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
