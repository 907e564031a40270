//! What queries hold of the memory budget.
//!
//! ```text
//! memory_bytes_max  │ head, as much as it may take │ kept pages │ requests: an eighth │ queries │
//! ```
//!
//! Requests may go beyond their eighth while queries leave memory unused; what they then hold is not there for
//! queries until it is given back.
//!
//! Owns: counting what queries hold, and refusing what does not fit. Does not own: what the head and requests take
//! (the store and the collector say it), what a query leaves out when it is refused (`query`).
//!
//! Invariants: queries together never hold more than is theirs; what a query holds comes back whole when the last
//! clone of its reservation is dropped; whatever queries hold, an eighth of the memory is there for requests and
//! the head can grow to its limit.

mod size;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arrow::array::RecordBatch;
use thiserror::Error as ThisError;

pub(crate) use size::bytes_of;

/// One part in so many is kept for requests.
const REQUESTS_SHARE: usize = 8;
/// Reservations grow in these steps, so that a query that reads in small pieces does not touch the shared count each
/// time. 1 MiB.
const STEP_BYTES: usize = 1 << 20;

/// The memory that queries share. Cheap to clone.
#[derive(Clone)]
pub struct Memory(Arc<Shared>);

struct Shared {
    /// Memory of the process.
    bytes_max: usize,
    /// Of that, what is neither for the head nor for kept pages nor for requests.
    queries_max: usize,
    page_bytes: usize,
    head: AtomicUsize,
    /// Bytes that requests in flight hold.
    requests: OnceLock<Box<dyn Fn() -> usize + Send + Sync>>,
    reserved: AtomicUsize,
    /// Queries that were refused memory.
    refused: AtomicU64,
}

/// More memory is wanted than is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
#[error(
    "not enough memory: {wanted} bytes more are needed, {free} are free for queries (`memory_bytes_max` is {bytes_max})"
)]
pub struct OutOfMemory {
    /// Bytes that were wanted on top of what is held.
    pub wanted: usize,
    /// Bytes that were free.
    pub free: usize,
    /// Memory of the process, in bytes.
    pub bytes_max: usize,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("free", &self.free()).field("reserved", &self.reserved()).finish()
    }
}

impl Memory {
    /// A budget of `bytes_max` bytes, of which the head may take `head_bytes_max` and kept pages `page_bytes`.
    pub(crate) fn new(bytes_max: usize, head_bytes_max: usize, page_bytes: usize) -> Self {
        let requests = bytes_max / REQUESTS_SHARE;
        let others = head_bytes_max.saturating_add(page_bytes).saturating_add(requests);
        Self(Arc::new(Shared {
            bytes_max,
            queries_max: bytes_max.saturating_sub(others),
            page_bytes,
            head: AtomicUsize::new(0),
            requests: OnceLock::new(),
            reserved: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }))
    }

    /// Memory without a limit.
    #[cfg(test)]
    pub(crate) fn unbounded() -> Self {
        Self::new(usize::MAX, 0, 0)
    }

    /// Says how the bytes that requests in flight hold are found. Only the first to say it counts.
    pub fn count_requests(&self, held: impl Fn() -> usize + Send + Sync + 'static) {
        self.0.requests.get_or_init(|| Box::new(held));
    }

    /// The head has changed and holds so many bytes.
    pub(crate) fn set_head(&self, bytes: u64) {
        self.0.head.store(usize::try_from(bytes).unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// An empty reservation.
    pub fn reserve(&self) -> Reservation {
        Reservation(Arc::new(Account { memory: self.clone(), held: Mutex::default() }))
    }

    /// Bytes that queries have reserved.
    pub fn reserved(&self) -> usize {
        self.0.reserved.load(Ordering::Relaxed)
    }

    /// Bytes that queries may still reserve.
    pub fn free(&self) -> usize {
        self.limit().saturating_sub(self.reserved())
    }

    /// Queries that wanted more memory than was free, since the store was opened.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Bytes that queries may hold together now.
    fn limit(&self) -> usize {
        let Shared { bytes_max, queries_max, page_bytes, head, requests, .. } = &*self.0;
        let requests = requests.get().map_or(0, |held| held()).max(bytes_max / REQUESTS_SHARE);
        let others = head.load(Ordering::Relaxed).saturating_add(*page_bytes).saturating_add(requests);
        bytes_max.saturating_sub(others).min(*queries_max)
    }

    fn take(&self, bytes: usize) -> Result<(), OutOfMemory> {
        let limit = self.limit();
        let fits = |reserved: usize| reserved.checked_add(bytes).filter(|sum| *sum <= limit);
        let taken = self.0.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map(drop).map_err(|reserved| OutOfMemory {
            wanted: bytes,
            free: limit.saturating_sub(reserved),
            bytes_max: self.0.bytes_max,
        })
    }

    fn give_back(&self, bytes: usize) {
        self.0.reserved.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The memory that one query holds. Clones are the same reservation; when the last one is dropped, all is given back.
#[derive(Clone, Debug)]
pub struct Reservation(Arc<Account>);

#[derive(Debug)]
struct Account {
    memory: Memory,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Bytes the query has asked for.
    used: usize,
    /// Bytes taken of the shared memory, at least those.
    taken: usize,
    /// The first time there was not enough.
    refusal: Option<OutOfMemory>,
}

impl Reservation {
    /// Reserves `bytes` more.
    ///
    /// # Errors
    /// [`OutOfMemory`] when they are not free; nothing was reserved then.
    pub fn grow(&self, bytes: usize) -> Result<(), OutOfMemory> {
        let mut held = self.held();
        let used = held.used.saturating_add(bytes);
        if used > held.taken {
            let lacking = used - held.taken;
            let step = lacking.checked_next_multiple_of(STEP_BYTES).unwrap_or(lacking);
            let memory = &self.0.memory;
            let taken = memory.take(step).map(|()| step).or_else(|_| memory.take(lacking).map(|()| lacking));
            match taken {
                Ok(bytes) => held.taken += bytes,
                Err(refusal) => {
                    self.refuse(&mut held, refusal);
                    return Err(refusal);
                }
            }
        }
        held.used = used;
        Ok(())
    }

    /// Reserves what a batch of rows takes.
    ///
    /// # Errors
    /// As [`Reservation::grow`].
    pub fn grow_by(&self, rows: &RecordBatch) -> Result<(), OutOfMemory> {
        self.grow(bytes_of(rows))
    }

    /// Reserves `most` bytes, or half of what is free where that is less, so that others find some too. Gives how many
    /// bytes that were.
    ///
    /// # Errors
    /// [`OutOfMemory`] when they would be fewer than `least`; nothing was reserved then.
    pub fn grow_up_to(&self, most: usize, least: usize) -> Result<usize, OutOfMemory> {
        let free = self.0.memory.free();
        let part = most.min(free / 2);
        if part < least {
            let refusal = OutOfMemory { wanted: least, free, bytes_max: self.0.memory.0.bytes_max };
            self.refuse(&mut self.held(), refusal);
            return Err(refusal);
        }
        self.grow(part).map(|()| part)
    }

    /// Gives back `bytes` of what was reserved.
    pub fn shrink(&self, bytes: usize) {
        let mut held = self.held();
        held.used = held.used.saturating_sub(bytes);
        let kept = held.used.checked_next_multiple_of(STEP_BYTES).unwrap_or(held.used);
        let surplus = held.taken.saturating_sub(kept);
        held.taken -= surplus;
        self.0.memory.give_back(surplus);
    }

    /// What was refused first, if anything was: the answer lacks what would have taken that memory.
    pub fn refusal(&self) -> Option<OutOfMemory> {
        self.held().refusal
    }

    fn refuse(&self, held: &mut Held, refusal: OutOfMemory) {
        if held.refusal.is_none() {
            held.refusal = Some(refusal);
            self.0.memory.0.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.memory.give_back(held.taken);
    }
}
