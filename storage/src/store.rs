//! The store: what the rest of silmari holds.
//!
//! ```text
//! append ─► wal thread: write, fdatasync ─► State.active ─► Durable ─► sender
//!                                              │ seal (rows, age, close)
//!                                              ▼
//!                                       State.sealing ─► segment files ─► catalog ─► State.segments
//! ```
//!
//! Owns: opening, closing, and what happens to the rooms below. Does not own: taking records in (`append`, `gate`), the state (`shared`).
//!
//! Invariants: a batch is in exactly one of `active`, `sealing` and a segment; the three change under
//! one lock, so that a snapshot sees each row once.

mod append;
mod gate;
mod lock;
mod opening;
mod replay;
mod settings;
mod shared;
mod stats;
mod sweep;

use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use model::{Clock, IdRules};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::budget::{Disk, DiskState};
use crate::catalog::Catalog;
use crate::deletes::{self, DeleteReceipt};
use crate::error::{Context as _, Error, ErrorKind};
use crate::folder::Folder;
use crate::head::HeadBatch;
use crate::head::indexer;
use crate::maintenance;
use crate::memory::Memory;
use crate::segment::home::Remote;
use crate::segment::pages::PageCache;
use crate::snapshot::Snapshot;
use crate::wal::Wal;
use crate::wal::walk::WalFolder;
use disk::{Fs, RealFs};

pub use crate::wal::Durable;
pub use append::Placed;
pub(crate) use gate::Arrived;
pub use replay::ReplayProgress;
pub use settings::Settings;
pub(crate) use shared::{Shared, State};
pub use stats::StoreStats;

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
        let lock = lock::take(&data_dir).await?;
        // Every version is checked before anything of the store is changed.
        WalFolder::new(Arc::clone(&fs), data_dir.join("wal"), Arc::clone(&clock)).check_version()?;
        // On a full disk this gives up the reserve, so that the catalog opens.
        drop(Disk::new(&data_dir, settings.disk_free_bytes_min));
        let remote = Remote::open(&data_dir, &settings.places.segments)?;
        let folder = Folder {
            pages: PageCache::new(settings.page_bytes()),
            text_index: settings.text_index,
            remote,
            ..Folder::new(&data_dir, fs, settings.planted())
        };
        let catalog = Catalog::open(&folder, &settings.places.catalog, &*clock).await?;
        let shared = shared::build(folder, settings, clock, catalog).await?;
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
        // Not before: what is replayed is there sooner, and found all the same.
        tokio::spawn(indexer::run(&self.shared));
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

    /// Head and segments as they are now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.shared.state();
        let head = state.head();
        let is_partial = self.wal.get().is_none();
        let (segments, unreadable) = (state.segments.clone(), Arc::clone(&state.unreadable));
        let held = self.shared.memory.reserve();
        Snapshot::new(self.shared.clock.now(), head, segments, unreadable, is_partial, held)
    }

    /// The memory that queries share.
    pub fn memory(&self) -> &Memory {
        &self.shared.memory
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
            query_bytes: self.shared.memory.reserved() as u64,
            queries_out_of_memory: self.shared.memory.refused(),
            disk_free_bytes: free,
            is_disk_low: is_low,
            is_wal_refusing: self.wal.get().is_some_and(|wal| wal.is_refusing()),
            is_replaying: self.wal.get().is_none(),
            wal_records_replayed: self.shared.progress().records,
            is_object_store_away: self.shared.folder.remote.as_ref().is_some_and(Remote::is_away),
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

#[cfg(test)]
pub(crate) mod tests;
