//! Admission: how many bytes may be in flight, and how many requests are decoded at once.
//!
//! Owns: the byte budget and the decoding slots. Does not own: what a request costs when decoded
//! (`weight`), which answer a refusal gets (`status`).
//!
//! Every request holds a [`Ticket`]. It is charged before the body is read, again as bytes arrive, are
//! decompressed and are decoded, and gives all back when it is dropped after the answer:
//!
//! ```text
//! header ─ enter ─► body ─ grow ─► decompressed ─ grow ─► decoded rows ─ shrink ─► durable, answered ─ drop
//!            │ budget used up: refused before the body is read
//! ```
//!
//! Invariants: the sum of all charges never exceeds `in_flight_bytes_max`; nobody waits for bytes while
//! holding bytes, so no two requests can block each other.

mod weight;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use weight::{Weight, weigh};

use crate::status::{Reason, Refusal};

/// The least a request is charged: its headers, tasks and buffers.
const FLOOR_BYTES: usize = 16 << 10;
/// Charges grow in these steps, so that a body in small pieces does not touch the budget each time.
const STEP_BYTES: usize = 64 << 10;

/// The budgets of a collector.
#[derive(Debug)]
pub(crate) struct Admission {
    bytes: Arc<Semaphore>,
    bytes_max: usize,
    decoders: Arc<Semaphore>,
}

/// A request's share of the bytes in flight.
#[derive(Debug)]
pub(crate) struct Ticket {
    permit: OwnedSemaphorePermit,
    bytes: Arc<Semaphore>,
    bytes_max: usize,
}

impl Admission {
    /// A budget of `bytes_max` bytes and as many decoding slots as the machine has cores.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let bytes_max = bytes_max.min(u32::MAX as usize);
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            bytes: Arc::new(Semaphore::new(bytes_max)),
            bytes_max,
            decoders: Arc::new(Semaphore::new(cores)),
        }
    }

    /// Tells how many bytes are in flight, also when the admission is gone.
    pub(crate) fn counter(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let (bytes, bytes_max) = (Arc::clone(&self.bytes), self.bytes_max);
        move || bytes_max.saturating_sub(bytes.available_permits())
    }

    /// Admits a request that announces `announced` bytes, if they are known. Only the least is charged
    /// yet, but a body that cannot fit now is refused here, before it is sent. `memory`: what the store
    /// leaves of the memory budget, for all requests together.
    pub(crate) fn enter(&self, announced: Option<u64>, memory: usize) -> Result<Ticket, Refusal> {
        let unused = self.bytes.available_permits();
        let in_flight = self.bytes_max.saturating_sub(unused);
        let free = unused.min(memory.saturating_sub(in_flight)) as u64;
        if free < FLOOR_BYTES as u64 || announced.is_some_and(|bytes| bytes > free) {
            return Err(overload());
        }
        let bytes = Arc::clone(&self.bytes);
        let permit = Arc::clone(&bytes).try_acquire_many_owned(FLOOR_BYTES as u32).map_err(|_| overload())?;
        Ok(Ticket { permit, bytes, bytes_max: self.bytes_max })
    }

    /// Waits until `bytes` fit: for sources that are asked for more instead of sending it.
    pub(crate) async fn wait(&self, bytes: usize) -> Ticket {
        let wanted = bytes.clamp(FLOOR_BYTES, self.bytes_max) as u32;
        let permit = Arc::clone(&self.bytes).acquire_many_owned(wanted).await;
        let permit = permit.expect("the budget is never closed");
        Ticket { permit, bytes: Arc::clone(&self.bytes), bytes_max: self.bytes_max }
    }

    /// A slot to decode in. First come, first served.
    pub(crate) async fn decoder(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.decoders).acquire_owned().await.expect("the slots are never closed")
    }
}

impl Ticket {
    fn charged(&self) -> usize {
        self.permit.num_permits()
    }

    /// Charges up to `total` bytes, in steps. What would not fit if nothing else were in flight is refused for good: the same
    /// request would be refused for ever.
    pub(crate) fn grow_to(&mut self, total: usize) -> Result<(), Refusal> {
        if total <= self.charged() {
            return Ok(());
        }
        if total > self.bytes_max {
            let message = format!(
                "the request takes {total} bytes while it is decoded, {} are there for all requests together: send smaller batches",
                self.bytes_max
            );
            return Err(Refusal::new(Reason::TooLarge, message));
        }
        let more = (total - self.charged()).next_multiple_of(STEP_BYTES).min(self.bytes_max - self.charged());
        let more = u32::try_from(more).map_err(|_| overload())?;
        let permit = Arc::clone(&self.bytes).try_acquire_many_owned(more).map_err(|_| overload())?;
        self.permit.merge(permit);
        Ok(())
    }

    /// Gives back what is charged above `total` bytes.
    pub(crate) fn shrink_to(&mut self, total: usize) {
        let surplus = self.charged().saturating_sub(total.max(FLOOR_BYTES));
        drop(self.permit.split(surplus));
    }
}

fn overload() -> Refusal {
    Refusal::new(Reason::Overload, "too many bytes are in flight: send the same request again later")
}

#[cfg(test)]
mod tests {
    use model::{IdRules, SystemClock};
    use storage::{Settings, Store};

    use super::*;

    #[test]
    fn the_budget_is_never_exceeded_and_comes_back_whole() {
        let admission = Admission::new(1 << 20);
        let mut first = admission.enter(Some(900_000), usize::MAX).expect("fits");
        first.grow_to(900_000).expect("fits");
        assert!(admission.enter(Some(900_000), usize::MAX).is_err(), "refused by its announcement");
        let mut second = admission.enter(None, usize::MAX).expect("the floor fits");
        assert!(second.grow_to(900_000).is_err(), "refused while it grows");
        first.shrink_to(100);
        second.grow_to(900_000).expect("fits now");
        drop((first, second));
        assert_eq!(admission.bytes.available_permits(), 1 << 20);
    }

    #[test]
    fn what_can_never_fit_is_refused_for_good() {
        let admission = Admission::new(1 << 20);
        let mut ticket = admission.enter(None, usize::MAX).expect("fits");
        ticket.grow_to(1 << 20).expect("all there is");
        let refusal = ticket.grow_to((1 << 20) + 1).expect_err("more than there is");
        assert_eq!(refusal.reason, Reason::TooLarge);
    }

    #[test]
    fn what_the_head_holds_is_not_there_for_requests() {
        let admission = Admission::new(1 << 20);
        assert!(admission.enter(None, FLOOR_BYTES - 1).is_err());
        assert!(admission.enter(Some(100_000), 90_000).is_err(), "refused before the body is read");
        let first = admission.enter(Some(60_000), 100_000).expect("fits");
        assert!(admission.enter(Some(90_000), 100_000).is_err(), "the first one counts");
        drop(first);
        admission.enter(Some(90_000), 100_000).expect("fits again");
    }

    #[tokio::test]
    async fn requests_are_admitted_while_queries_hold_all_they_may_and_leave_them_less_themselves() {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = Settings { memory_bytes_max: 8 << 20, ..Settings::new(dir.path()) };
        let store = Store::open(settings, Arc::new(IdRules::default()), SystemClock::shared());
        let store = store.await.expect("opens");
        let admission = Admission::new(64 << 20);
        store.memory().count_requests(admission.counter());

        let queries = store.memory().reserve();
        queries.grow(store.memory().free()).expect("all there is");
        let mut ticket =
            admission.enter(Some(1 << 20), store.memory_free()).expect("an eighth is for requests");
        ticket.grow_to(1 << 20).expect("fits");
        drop(queries);

        let free = store.memory().free();
        assert!(admission.enter(Some(6 << 20), store.memory_free()).is_ok(), "queries hold nothing");
        ticket.grow_to(7 << 20).expect("fits");
        assert!(store.memory().free() < free / 2, "what requests hold is not there for queries");
        drop(ticket);
        assert_eq!(store.memory().free(), free);
    }

    #[tokio::test]
    async fn waiting_asks_for_no_more_than_there_is() {
        let admission = Admission::new(1 << 20);
        let ticket = admission.wait(usize::MAX).await;
        assert_eq!(ticket.charged(), 1 << 20);
    }
}
