//! The spool: data that cannot be read again waits here, on disk, until the collector has it.
//!
//! Owns: the room and who gets it, the policies of a full spool, durability. Does not own: what the requests
//! mean, the sending; order and crash safety within a lane are `fifo`'s.
//!
//! ```text
//! spool/logs/  traces/  metrics/     what was pushed, a lane a signal          `fifo`, `segment`, `cursor`
//! spool/files/                       batches of files that were deleted while the collector was away
//! spool/spare                        a preallocated segment, so that a full disk stops nobody
//! ```
//!
//! Invariants
//! - [`Queue::append`] returns after the bytes are in the file, with [`Durability::Power`] after they are synced;
//!   batches of files are always synced, because their positions move on.
//! - The lanes together hold at most the cap. A signal may not take the sixteenth that is kept for each other
//!   one, so that a flood of one does not keep the others out.
//! - Requests of a lane leave in the order they came. What is given up or found damaged is counted, in
//!   requests, items and bytes.
//! - Moving a cursor and deleting need no room on the disk.

mod cursor;
mod fifo;
mod look;
mod request;
pub(crate) mod segment;
mod spare;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use disk::Fs;
use model::positions::StreamId;
use model::time::SECOND;
use model::{Clock, Signal};
use thiserror::Error;
use tokio::sync::Notify;

use self::fifo::{Fifo, Spare, is_no_room};
pub use self::look::{Looked, look, records};
pub use self::request::{Amount, Encoding, Lane, Place, Spooled};
use self::segment::{BODY_BYTES_MAX, HEADER_BYTES, RECORD_HEAD_BYTES};
use self::spare::{NoSpare, SpareFile};
use crate::config::{Durability, WhenFull};
use crate::status::{LaneStatus, SpoolStatus, lock};

/// Room below which the spool counts as full.
const ROOM_WANTED: u64 = 16 << 10;
const SEGMENT_BYTES_MAX: u64 = 16 << 20;
const SPARE_BYTES_MAX: u64 = 1 << 20;
/// How long a full disk is not asked again.
const DISK_FULL_PAUSE: Duration = Duration::from_secs(1);
/// The cap when none is configured, unless a tenth of the free disk is less.
const BYTES_MAX_DEFAULT: u64 = 1 << 30;
const BYTES_MAX_LEAST: u64 = 64 << 20;

/// Why a request was not spooled.
#[derive(Debug, Error)]
pub enum QueueError {
    /// The cap is reached, or the disk is full: come back later.
    #[error("the spool holds {bytes} of at most {bytes_max} bytes{}", if *.is_disk_full { ", and the disk is full" } else { "" })]
    Full {
        /// Bytes in the spool.
        bytes: u64,
        /// The cap.
        bytes_max: u64,
        /// Whether it was the disk that had no room.
        is_disk_full: bool,
    },
    /// The request alone is larger than the cap.
    #[error("a request of {bytes} bytes does not fit into a spool of {bytes_max} bytes")]
    TooLarge {
        /// Its size, compressed.
        bytes: u64,
        /// The cap.
        bytes_max: u64,
    },
    /// The disk failed.
    #[error("cannot write the spool")]
    Io(#[from] io::Error),
}

/// What a spool is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of all lanes.
    pub bytes_max: u64,
    /// When an append returns.
    pub durability: Durability,
    /// What happens to a signal without room, by [`Signal::index`].
    pub when_full: [WhenFull; 3],
}

/// The cap for a disk with so many free bytes, when none is configured.
pub const fn bytes_max_default(free: u64) -> u64 {
    let tenth = free / 10;
    let most = if tenth < BYTES_MAX_DEFAULT { tenth } else { BYTES_MAX_DEFAULT };
    if most < BYTES_MAX_LEAST { BYTES_MAX_LEAST } else { most }
}

/// The spool of one data directory. All methods may be called from any thread; all but waiting may block
/// for a disk.
#[derive(Debug)]
pub struct Queue {
    fs: Arc<dyn Fs>,
    limits: Limits,
    inner: Mutex<Inner>,
    /// How far each lane is durable; whoever holds the lock syncs for all that wait for it.
    synced: [Mutex<Synced>; 4],
    filled: [Notify; 4],
}

#[derive(Debug, Default)]
struct Synced {
    number: u64,
    /// Up to here a sync failed.
    failed: u64,
}

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    limits: Limits,
    lanes: [Fifo; 4],
    given_up: [Amount; 4],
    spare: SpareFile,
    /// When the disk was last found full.
    disk_full: Option<Duration>,
    read_error: Option<String>,
}

impl Queue {
    /// Opens or makes the spool in `folder`.
    ///
    /// # Errors
    /// When the folder cannot be read or written; `InvalidData` when it holds what only another version reads.
    pub fn open(fs: Arc<dyn Fs>, folder: &Path, limits: Limits, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let segment_bytes_max = SEGMENT_BYTES_MAX.min(limits.bytes_max / 32);
        let open = |lane: Lane| Fifo::open(Arc::clone(&fs), folder.join(lane.name()), segment_bytes_max);
        let [traces, logs, metrics, files] = Lane::ALL.map(open);
        let lanes = [traces?, logs?, metrics?, files?];
        let spare_bytes = SPARE_BYTES_MAX.min(segment_bytes_max);
        let spare = SpareFile::open(Arc::clone(&fs), folder.join("spare"), spare_bytes);
        let inner = Inner {
            clock,
            limits,
            lanes,
            given_up: [Amount::default(); 4],
            spare,
            disk_full: None,
            read_error: None,
        };
        let filled = [const { Notify::const_new() }; 4];
        Ok(Self { fs, limits, inner: Mutex::new(inner), synced: Default::default(), filled })
    }

    /// What waits in a lane, taken or not.
    pub fn waiting(&self, lane: Lane) -> Amount {
        lock(&self.inner).lanes[lane.index()].waiting()
    }

    /// What the policy says about a signal without room.
    pub const fn when_full(&self, signal: Signal) -> WhenFull {
        self.limits.when_full[signal.index()]
    }

    /// Whether a request of a signal would be sent away for want of room, so that it need not be read.
    pub fn is_full(&self, signal: Signal) -> bool {
        self.when_full(signal) == WhenFull::Block && lock(&self.inner).is_full(Lane::Signal(signal))
    }

    /// Whether a lane has room for so many more bytes of requests.
    pub fn has_room(&self, lane: Lane, bytes: u64) -> bool {
        lock(&self.inner).has_room(lane, bytes)
    }

    /// What a sender is told when [`Queue::is_full`].
    pub fn full(&self) -> QueueError {
        lock(&self.inner).full()
    }

    /// Adds a request; it survives the process on return, and the power as the settings say. Its number, or
    /// `None` when there was no room and the policy gave it up. What the policy gave up for it is in
    /// [`Queue::take_given_up`], whatever is returned. A batch of files is never given up.
    ///
    /// # Errors
    /// When there is no room and the policy is to wait, or the disk fails; nothing of it is kept then. But
    /// after a sync that failed it may leave all the same.
    pub fn append(&self, lane: Lane, request: &Spooled) -> Result<Option<u64>, QueueError> {
        let appended = lock(&self.inner).append(lane, request)?;
        if let Some(number) = appended {
            if self.limits.durability == Durability::Power || lane == Lane::Files {
                self.sync(lane, number)?;
            }
            self.filled[lane.index()].notify_one();
        }
        Ok(appended)
    }

    /// Makes a request durable. Those that wait for their turn meanwhile are mostly synced with it.
    fn sync(&self, lane: Lane, number: u64) -> io::Result<()> {
        let mut synced = lock(&self.synced[lane.index()]);
        if number <= synced.number {
            return Ok(());
        }
        if number <= synced.failed {
            return Err(io::Error::other("a sync together with other requests failed"));
        }
        let unsynced = lock(&self.inner).lanes[lane.index()].unsynced();
        let files = unsynced.files.iter().try_for_each(|file| file.sync_data());
        let result = files.and_then(|()| match &unsynced.folder {
            Some(folder) => self.fs.sync_dir(folder),
            None => Ok(()),
        });
        match result {
            Ok(()) => synced.number = unsynced.number,
            Err(_) => {
                synced.failed = unsynced.number;
                lock(&self.inner).lanes[lane.index()].sync_failed();
            }
        }
        result
    }

    /// The next requests of a lane that were not taken yet: one, or several of one signal in protobuf up to
    /// `bytes_max` before compression. Empty when there is none.
    ///
    /// # Errors
    /// When the disk fails; nothing is skipped, the next call reads the same place again.
    pub fn take(&self, lane: Lane, bytes_max: usize) -> io::Result<Vec<Spooled>> {
        let mut inner = lock(&self.inner);
        let taken = inner.lanes[lane.index()].take(bytes_max);
        inner.read_error = taken.as_ref().err().map(ToString::to_string);
        taken
    }

    /// Older requests that were given up for newer ones since the last call, but for those that were taken.
    pub fn take_given_up(&self, lane: Lane) -> Amount {
        std::mem::take(&mut lock(&self.inner).given_up[lane.index()])
    }

    /// What was found damaged since the last call.
    pub fn take_lost(&self, lane: Lane) -> Amount {
        lock(&self.inner).lanes[lane.index()].take_lost()
    }

    /// Everything up to `place` is settled.
    pub fn settle(&self, lane: Lane, place: Place) {
        self.note_settled(lock(&self.inner).settle(lane, Some(place)));
    }

    /// Everything that was taken of a lane is settled.
    pub fn settle_taken(&self, lane: Lane) {
        self.note_settled(lock(&self.inner).settle(lane, None));
    }

    fn note_settled(&self, settled: io::Result<()>) {
        if let Err(error) = settled {
            tracing::error!(%error, "cannot write the spool's cursor; requests will be sent again after a restart");
        }
    }

    /// Gives up all that waits in a lane; what it was.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn clear(&self, lane: Lane) -> io::Result<Amount> {
        lock(&self.inner).lanes[lane.index()].clear()
    }

    /// How far the waiting batches of files reach: the end of every range.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn spilled(&self) -> io::Result<Vec<(StreamId, u64)>> {
        let mut ends = Vec::new();
        lock(&self.inner).lanes[Lane::Files.index()].each_waiting(|spooled| {
            ends.extend(spooled.ranges.iter().map(|range| (range.stream, range.end)));
        })?;
        Ok(ends)
    }

    /// The last note of the runs before, as far as its segment is there.
    pub fn last_note(&self, lane: Lane) -> Option<String> {
        lock(&self.inner).lanes[lane.index()].note_before().map(str::to_owned)
    }

    /// Keeps segments of a lane from being deleted, and the notes in them, until the guard is dropped.
    pub fn hold(&self, lane: Lane) -> Hold<'_> {
        lock(&self.inner).lanes[lane.index()].hold(true);
        Hold { queue: self, lane }
    }

    /// Waits until something was added to a lane since the last wait.
    pub async fn filled(&self, lane: Lane) {
        self.filled[lane.index()].notified().await;
    }

    /// The numbers for `/status`.
    pub fn status(&self) -> SpoolStatus {
        let inner = lock(&self.inner);
        let now = inner.clock.now();
        let lanes = Lane::ALL.map(|lane| {
            let fifo = &inner.lanes[lane.index()];
            let waiting = fifo.waiting();
            LaneStatus {
                lane: lane.name().to_owned(),
                bytes: fifo.bytes(),
                requests: waiting.requests,
                records: waiting.items,
                oldest_seconds: fifo
                    .oldest()
                    .map_or(0, |oldest| u64::try_from(now.since(oldest) / SECOND).unwrap_or(0)),
            }
        });
        SpoolStatus {
            bytes: inner.bytes(),
            bytes_max: inner.limits.bytes_max,
            requests: lanes.iter().map(|lane| lane.requests).sum(),
            lanes: lanes.to_vec(),
            is_disk_full: inner.is_disk_full(),
            read_error: inner.read_error.clone(),
        }
    }
}

/// While it lives, nothing of a lane is deleted.
#[derive(Debug)]
pub struct Hold<'a> {
    queue: &'a Queue,
    lane: Lane,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        lock(&self.queue.inner).lanes[self.lane.index()].hold(false);
    }
}

impl Inner {
    /// Sizes come from the segments themselves, never from a counter kept beside them.
    fn bytes(&self) -> u64 {
        self.lanes.iter().map(Fifo::bytes).sum()
    }

    /// What is kept for the other signals and not used by them.
    fn reserved(&self, lane: Lane) -> u64 {
        let reserve = self.limits.bytes_max / 16;
        let others = Signal::ALL.map(Lane::Signal).into_iter().filter(|other| *other != lane);
        others.map(|other| reserve.saturating_sub(self.lanes[other.index()].bytes())).sum()
    }

    fn has_room(&self, lane: Lane, bytes: u64) -> bool {
        self.bytes() + self.reserved(lane) + bytes <= self.limits.bytes_max
    }

    fn is_disk_full(&self) -> bool {
        let is_recent = |since| self.clock.monotonic().saturating_sub(since) < DISK_FULL_PAUSE;
        self.disk_full.is_some_and(is_recent)
    }

    fn is_full(&self, lane: Lane) -> bool {
        self.is_disk_full() || !self.has_room(lane, ROOM_WANTED.min(self.limits.bytes_max / 32))
    }

    fn full(&self) -> QueueError {
        let (bytes, bytes_max) = (self.bytes(), self.limits.bytes_max);
        QueueError::Full { bytes, bytes_max, is_disk_full: self.is_disk_full() }
    }

    fn append(&mut self, lane: Lane, request: &Spooled) -> Result<Option<u64>, QueueError> {
        let record_bytes = segment::record_bytes(request);
        let bytes_max = self.limits.bytes_max / 16 * 13;
        let is_too_large = record_bytes + HEADER_BYTES > bytes_max;
        if is_too_large || record_bytes > (RECORD_HEAD_BYTES + BODY_BYTES_MAX) as u64 {
            let bytes_max = bytes_max.min(BODY_BYTES_MAX as u64);
            return Err(QueueError::TooLarge { bytes: record_bytes, bytes_max });
        }
        let policy = self.policy(lane);
        loop {
            if let Some(number) = self.try_append(lane, request, record_bytes)? {
                self.disk_full = None;
                self.fill_spare();
                return Ok(Some(number));
            }
            match policy {
                WhenFull::Block => return Err(self.full()),
                WhenFull::DropNew => return Ok(None),
                WhenFull::DropOldest => match self.drop_oldest(lane)? {
                    Some(given_up) => self.given_up[lane.index()].add(given_up),
                    None => return Ok(None),
                },
            }
        }
    }

    const fn policy(&self, lane: Lane) -> WhenFull {
        match lane {
            Lane::Signal(signal) => self.limits.when_full[signal.index()],
            Lane::Files => WhenFull::Block,
        }
    }

    /// `None` when the cap is reached or the disk is full.
    fn try_append(&mut self, lane: Lane, request: &Spooled, record_bytes: u64) -> io::Result<Option<u64>> {
        let needed = self.lanes[lane.index()].needed(record_bytes);
        if !self.has_room(lane, needed) {
            return Ok(None);
        }
        let spare: &mut dyn Spare =
            if self.policy(lane) == WhenFull::DropOldest { &mut self.spare } else { &mut NoSpare };
        match self.lanes[lane.index()].append(request, spare) {
            Ok(number) => Ok(Some(number)),
            Err(error) if is_no_room(&error) => {
                if self.disk_full.is_none() {
                    tracing::error!(%error, "the disk is full; the spool takes what its policies let it");
                }
                self.disk_full = Some(self.clock.monotonic());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn drop_oldest(&mut self, lane: Lane) -> io::Result<Option<Amount>> {
        match self.lanes[lane.index()].drop_oldest(&mut self.spare) {
            Err(error) if is_no_room(&error) => Ok(None),
            dropped => dropped,
        }
    }

    fn settle(&mut self, lane: Lane, place: Option<Place>) -> io::Result<()> {
        let fifo = &mut self.lanes[lane.index()];
        match place {
            Some(place) => fifo.settle(place)?,
            None => fifo.settle_read()?,
        }
        self.fill_spare();
        Ok(())
    }

    /// Makes a new spare segment when it was used, asking a full disk now and then.
    fn fill_spare(&mut self) {
        if self.spare.file.is_none() {
            let now = self.clock.monotonic();
            if now.saturating_sub(self.spare.tried) >= DISK_FULL_PAUSE {
                self.spare.tried = now;
                self.spare.fill();
            }
        }
    }
}
