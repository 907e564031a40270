//! The write-ahead log: what makes an acknowledgement true.
//!
//! Owns: files of opaque records in `wal/`, their sequence, group commit, replay after a crash, trimming.
//! Does not own: what a record means, rows, segments, how far the catalog has come.
//!
//! ```text
//!  append(record, attachment) ─► queue (bounded) ─► writer thread ─► 00000000000000000001.wal, …2042.wal
//!     ▲                            full: retry        one write, one fdatasync for all that waits
//!     └────────── Durable ◄── on_durable(sequence, attachment), in sequence order ◄──┘
//!
//!  file    ┌──────────┬────────┬────────┬───┬────────┬───────────────┐      bytes: format.rs and
//!          │ header 64│ record │ record │ … │ record │ zeros         │      docs/formats/wal.md
//!          └──────────┴────────┴────────┴───┴────────┴───────────────┘
//! ```
//!
//! Invariants: [`Durable`] exists only for records that were synced together with the name of their file;
//! sequences rise for ever, over restarts and with no file left; an append that was refused may be found
//! again after a crash, an append that was acknowledged always is; no damage to a file stops the start.

mod format;
mod quarantine;
mod queue;
mod replay;
mod scan;
mod spares;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod walk;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use model::{Clock, UnixNano};
use tokio::sync::oneshot;

#[cfg(test)]
pub(crate) use format::VERSION;
pub(crate) use replay::{ReplayRecord, ReplayReport};
pub use writer::Durable;

use crate::error::{Context as _, Error, ErrorKind};
use crate::plant::Planted;
use disk::{Fs, create_dir_durable};
use queue::{Bound, Pending, Queue, Trim};
use writer::{Place, Writer};

/// What becomes of records, on the writer thread. It must not block on the log, and should not own it.
///
/// ```text
/// group ─► admit, each in order ─► write, fdatasync ─► durable, each in order ─► settled ─► Durable
///                                        └ failed ─────────────────────────────► settled
/// ```
pub(crate) trait Sink<T>: Send {
    /// Whether a record may be written, given all that was admitted before it. Asked once, right before
    /// its group is written; refused groups are not asked again.
    fn admit(&mut self, _attachment: &T) -> Admission {
        Admission::Write
    }

    /// A record became durable; called before its [`Durable`] is given out.
    fn durable(&mut self, sequence: u64, attachment: T);

    /// What was admitted since the last call is durable, or was refused.
    fn settled(&mut self) {}
}

impl<T, F: FnMut(u64, T) + Send> Sink<T> for F {
    fn durable(&mut self, sequence: u64, attachment: T) {
        self(sequence, attachment);
    }
}

/// Whether a record may be written.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It is written.
    Write,
    /// It says nothing new: it is acknowledged, without being written, when all that was admitted before
    /// it is durable.
    Known,
    /// It is refused.
    Refuse(Error),
}

/// What becomes of records.
pub(crate) type OnDurable<T> = Box<dyn Sink<T>>;

/// Limits of the log.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// A file is begun when the active one would grow beyond this. Bytes; 64 MiB.
    pub(crate) segment_bytes: u64,
    /// At most this much is written with one sync. Bytes; 1 MiB. One record may be larger.
    pub(crate) group_bytes_max: usize,
    /// Larger records are refused. Bytes of extension and payload; 64 MiB.
    pub(crate) record_bytes_max: usize,
    /// More may not wait. Bytes; 64 MiB.
    pub(crate) queue_bytes_max: usize,
    /// More may not wait. Records; 4,096.
    pub(crate) queue_records_max: usize,
    /// While the disk fails, how long until the next attempt. 1 s.
    pub(crate) retry_interval: Duration,
    /// A bug, in tests.
    pub(crate) planted: Planted,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            group_bytes_max: 1 << 20,
            record_bytes_max: 64 << 20,
            queue_bytes_max: 64 << 20,
            queue_records_max: 4096,
            retry_interval: Duration::from_secs(1),
            planted: Planted::default(),
        }
    }
}

/// What is logged; opaque here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// `Signal::code`.
    pub(crate) signal: u8,
    /// `Compression::code`.
    pub(crate) compression: u8,
    /// When the request arrived.
    pub(crate) received_at: UnixNano,
    /// Senders' positions and Kafka offsets.
    pub(crate) extension: Bytes,
    /// The request as it was sent.
    pub(crate) payload: Bytes,
}

/// What the log did since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    /// Files on disk.
    pub(crate) files: usize,
    /// Bytes in them that hold records and headers.
    pub(crate) bytes: u64,
    /// Files that wait to be written again.
    pub(crate) spares: usize,
    /// Files that were begun over an earlier one.
    pub(crate) files_reused: u64,
    /// The last durable record.
    pub(crate) last_sequence: u64,
    /// Records written.
    pub(crate) records: u64,
    /// Groups written; `records / groups` is the mean size of a group.
    pub(crate) groups: u64,
    /// Records in the largest group.
    pub(crate) group_records_max: usize,
    /// `fdatasync` calls.
    pub(crate) syncs: u64,
    /// Records that were acknowledged without being written, because they were there already.
    pub(crate) known: u64,
    /// Groups that were refused because of the disk.
    pub(crate) failures: u64,
    /// The same since the last group that was written.
    pub(crate) failures_in_row: u32,
    /// Whether appends are refused without touching the disk, but for one attempt per interval.
    pub(crate) is_refusing: bool,
    /// Records that wait.
    pub(crate) queue_records: usize,
    /// Bytes that wait.
    pub(crate) queue_bytes: usize,
}

/// What a replay finds, and nothing else.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn replay_only(
    fs: Arc<dyn Fs>,
    dir: std::path::PathBuf,
    clock: Arc<dyn Clock>,
    visit: &mut dyn FnMut(ReplayRecord),
) -> Result<ReplayReport, Error> {
    let place = Place { fs, dir, clock, settings: Settings::default() };
    let recovered = replay::recover(&place, 0, &mut |record| {
        visit(record);
        Ok(())
    })?;
    Ok(recovered.report)
}

/// A log that is open for writing. Dropping it writes what waits and ends the thread.
pub(crate) struct Wal<T> {
    queue: Arc<Queue<T>>,
    stats: Arc<Mutex<Stats>>,
    record_bytes_max: usize,
    forgets: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<T> fmt::Debug for Wal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Wal<T> {
    /// Opens the log in `dir`, creating it when there is none, gives every record after `from_sequence`
    /// to `replay` and starts the writer thread. Blocking.
    ///
    /// # Errors
    /// `Damaged` when a file is of a newer version; nothing was touched then. `Retry` when the folder
    /// cannot be created or listed. What `replay` returns.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        settings: Settings,
        clock: Arc<dyn Clock>,
        from_sequence: u64,
        on_durable: OnDurable<T>,
        replay: &mut dyn FnMut(ReplayRecord) -> Result<(), Error>,
    ) -> Result<(Self, ReplayReport), Error> {
        let place = Place { fs, dir: dir.to_owned(), clock, settings };
        let (wal, mut writer, report) = Self::open_parts(place, from_sequence, on_durable, replay)?;
        let queue = Arc::clone(&wal.queue);
        let group_bytes_max = writer.group_bytes_max();
        let thread = std::thread::Builder::new().name("wal-writer".to_owned()).spawn(move || {
            let _stopped = AbandonOnDrop(Arc::clone(&queue));
            while let Some(work) = queue.next(group_bytes_max) {
                writer.work(work);
            }
            writer.finish();
        });
        let thread =
            thread.context(ErrorKind::Retry, || "cannot start the write-ahead log's thread".to_owned())?;
        *wal.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok((wal, report))
    }

    /// The log without its thread.
    fn open_parts(
        place: Place,
        from_sequence: u64,
        on_durable: OnDurable<T>,
        replay: &mut dyn FnMut(ReplayRecord) -> Result<(), Error>,
    ) -> Result<(Self, Writer<T>, ReplayReport), Error> {
        create_dir_durable(&*place.fs, &place.dir)
            .context(ErrorKind::Retry, || format!("cannot create `{}`", place.dir.display()))?;
        let recovered = replay::recover(&place, from_sequence, replay)?;
        let report = recovered.report.clone();
        let bound =
            Bound { bytes: place.settings.queue_bytes_max, records: place.settings.queue_records_max.max(1) };
        let stats = Arc::new(Mutex::new(Stats::default()));
        let wal = Self {
            queue: Arc::new(Queue::new(bound)),
            stats: Arc::clone(&stats),
            record_bytes_max: place.settings.record_bytes_max.min(u32::MAX as usize),
            forgets: AtomicBool::new(false),
            thread: Mutex::new(None),
        };
        Ok((wal, Writer::new(place, recovered, on_durable, stats), report))
    }

    /// Logs a record. It is queued by this call, not by the first poll; a future that is dropped leaves
    /// its record in the log.
    ///
    /// # Errors
    /// `Retry` when the queue is full, the disk fails or the log is closed; the record may be found
    /// after a crash all the same. `FixInput` when the record is too large.
    pub(crate) fn append(
        &self,
        record: Record,
        attachment: T,
    ) -> impl Future<Output = Result<Durable, Error>> + Send + use<T> {
        let (done, answer) = oneshot::channel();
        let queued =
            self.check(&record).and_then(|()| self.queue.append(Pending { record, attachment, done }));
        async move {
            queued?;
            answer.await.unwrap_or_else(|_| Err(stopped()))
        }
    }

    fn check(&self, record: &Record) -> Result<(), Error> {
        let bytes = record.extension.len() + record.payload.len();
        if bytes <= self.record_bytes_max {
            return Ok(());
        }
        let message =
            format!("a record of {bytes} bytes is larger than the log's limit of {}", self.record_bytes_max);
        Err(Error::new(ErrorKind::FixInput, message))
    }

    /// Deletes the files whose records are all up to `up_to_sequence`, the active one too when it is
    /// covered; how many they were. The writer thread does it between two groups, whether the future
    /// is polled or not.
    ///
    /// # Errors
    /// `Retry` when a file could not be deleted; the next call tries again.
    pub(crate) fn trim(
        &self,
        up_to_sequence: u64,
    ) -> impl Future<Output = Result<usize, Error>> + Send + use<T> {
        let (done, answer) = oneshot::channel();
        let queued = self.queue.trim(Trim {
            up_to: up_to_sequence,
            forgets: self.forgets.swap(false, Ordering::AcqRel),
            done,
        });
        async move {
            queued?;
            answer.await.unwrap_or_else(|_| Err(stopped()))
        }
    }

    /// From the next trim on no byte of the files there are now outlives them: they are deleted, not written again. For
    /// records that were deleted.
    pub(crate) fn forget(&self) {
        self.forgets.store(true, Ordering::Release);
    }

    /// Writes what waits and ends the thread. Blocking; later appends are refused.
    pub(crate) fn close(&self) {
        self.close_and_join();
    }
}

impl<T> Wal<T> {
    /// Whether appends are refused without touching the disk, but for one attempt per interval.
    pub(crate) fn is_refusing(&self) -> bool {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).is_refusing
    }

    /// What the log did so far.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (stats.queue_records, stats.queue_bytes) = self.queue.depth();
        stats
    }

    fn close_and_join(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the write-ahead log's thread had panicked");
        }
    }
}

impl<T> Drop for Wal<T> {
    fn drop(&mut self) {
        self.close_and_join();
    }
}

/// Lets no one wait for a thread that is gone, not even when it panicked.
struct AbandonOnDrop<T>(Arc<Queue<T>>);

impl<T> Drop for AbandonOnDrop<T> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

fn stopped() -> Error {
    Error::retry("the write-ahead log's thread stopped; restart the process")
}
