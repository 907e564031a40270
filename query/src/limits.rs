//! What queries may cost, and the gate they pass through.
//!
//! Owns: how many queries run at once, how long one may wait and run, and ending one whose asker has
//! gone. Does not own: limits on an answer's size, which belong to each kind of query.
//!
//! ```text
//! request ─► Gate: a free place within `queue_timeout`, else 503 ─► blocking thread ─► answer
//!                                                                    ▲ Cancel: set on timeout
//!                                                                    │ or when the request is dropped
//! ```
//!
//! Invariant: a place is given back when the work ends, not when its asker stops waiting, so that the
//! number of running queries never exceeds `concurrency`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use storage::Reservation;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What the query API may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Queries that run at once. Default: twice the number of cores.
    pub concurrency: usize,
    /// How long a query waits for others before it is refused. Default 5 s.
    pub queue_timeout: Duration,
    /// How long a query may run. Default 30 s.
    pub timeout: Duration,
    /// Log records one answer may hold. Default 10,000.
    pub log_records_max: usize,
    /// Live tails open at once. Default 64.
    pub tails_max: usize,
    /// Bytes of a request's body. Default 1 MiB.
    pub body_bytes_max: usize,
    /// Bytes of a request's path and query. Default 32 KiB.
    pub uri_bytes_max: usize,
    /// What SQL may cost.
    pub sql: crate::sql::SqlLimits,
    /// How far a journey may grow.
    pub journey: crate::journey::Limits,
    /// What an examination by the doctor may cost.
    pub doctor: crate::doctor::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            concurrency: cores * 2,
            queue_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            log_records_max: 10_000,
            tails_max: 64,
            body_bytes_max: 1 << 20,
            uri_bytes_max: 32 << 10,
            sql: crate::sql::SqlLimits::default(),
            journey: crate::journey::Limits::default(),
            doctor: crate::doctor::Limits::default(),
        }
    }
}

/// Whether anybody still waits for an answer, and the memory that is reserved until it is written. Cheap to clone and to ask.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    kept: Arc<Mutex<Vec<Reservation>>>,
}

impl Cancel {
    /// Whether the work should stop.
    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Asks the work to stop.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// The flag itself, for code that takes one.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// Keeps memory reserved until the work has ended, its answer written.
    pub(crate) fn keep(&self, held: &Reservation) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(held.clone());
    }

    /// `Break` when the work should stop: for the visit of a scan.
    pub(crate) fn flow(&self) -> std::ops::ControlFlow<()> {
        match self.is_cancelled() {
            true => std::ops::ControlFlow::Break(()),
            false => std::ops::ControlFlow::Continue(()),
        }
    }
}

/// Cancels when it is dropped.
#[derive(Debug)]
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Why a query was not run to its end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Too many others were running for too long.
    #[error("{running} queries are running and none ended within {waited:?}")]
    Busy {
        /// Queries that may run at once.
        running: usize,
        /// How long a place was waited for.
        waited: Duration,
    },
    /// It ran for too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// It panicked: a defect of ours.
    #[error("the query ended in an internal error")]
    Failed,
}

/// Lets a bounded number of queries run.
#[derive(Clone, Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    concurrency: usize,
    queue_timeout: Duration,
    timeout: Duration,
}

impl Gate {
    /// A gate with the limits given.
    pub fn new(limits: &Limits) -> Self {
        let concurrency = limits.concurrency.max(1);
        Self {
            places: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            queue_timeout: limits.queue_timeout,
            timeout: limits.timeout,
        }
    }

    /// Waits for a place. It is free again when the permit is dropped.
    ///
    /// # Errors
    /// [`Refusal::Busy`] after `queue_timeout`.
    pub async fn enter(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout(self.queue_timeout, place).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Refusal::Busy { running: self.concurrency, waited: self.queue_timeout }),
        }
    }

    /// Runs blocking work off the async threads. Dropping the future cancels the work.
    ///
    /// # Errors
    /// [`Refusal`]; the work itself returns what it likes.
    pub async fn run<T, W>(&self, work: W) -> Result<T, Refusal>
    where
        T: Send + 'static,
        W: FnOnce(&Cancel) -> T + Send + 'static,
    {
        let permit = self.enter().await?;
        let cancel = Cancel::default();
        let guard = CancelOnDrop(cancel.clone());
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&cancel)
        });
        let answer = tokio::time::timeout(self.timeout, task).await;
        drop(guard);
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Refusal::Failed),
            Err(_) => Err(Refusal::Timeout(self.timeout)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(concurrency: usize, wait: Duration, run: Duration) -> Gate {
        Gate::new(&Limits { concurrency, queue_timeout: wait, timeout: run, ..Limits::default() })
    }

    #[tokio::test]
    async fn a_full_gate_refuses_after_the_queue_timeout_and_admits_again() {
        let gate = gate(1, Duration::from_millis(20), Duration::from_secs(10));
        let place = gate.enter().await.expect("free");
        assert!(matches!(gate.run(|_| ()).await, Err(Refusal::Busy { running: 1, .. })));
        drop(place);
        assert_eq!(gate.run(|_| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_query_that_takes_too_long_is_cancelled_and_keeps_its_place_until_it_ends() {
        let gate = gate(1, Duration::from_millis(20), Duration::from_millis(20));
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let (ended, end) = std::sync::mpsc::channel::<bool>();
        let answer = gate.run(move |cancel| {
            assert!(wait.recv().is_err(), "the test lets go");
            ended.send(cancel.is_cancelled()).expect("the test listens");
        });
        assert_eq!(answer.await, Err(Refusal::Timeout(Duration::from_millis(20))));
        assert!(matches!(gate.enter().await, Err(Refusal::Busy { .. })), "the place is still taken");
        drop(go_on);
        assert_eq!(end.recv_timeout(Duration::from_secs(10)), Ok(true), "the work saw that nobody waits");
    }

    #[tokio::test]
    async fn a_query_whose_asker_has_gone_is_cancelled() {
        let gate = gate(1, Duration::from_secs(10), Duration::from_secs(10));
        let (began, begin) = tokio::sync::oneshot::channel::<()>();
        let (ended, end) = tokio::sync::oneshot::channel::<bool>();
        let asker = tokio::spawn(async move {
            gate.run(move |cancel| {
                began.send(()).expect("the test listens");
                // Bounded, so that a defect fails the test instead of hanging it.
                (0..50_000_000).take_while(|_| !cancel.is_cancelled()).for_each(|_| std::thread::yield_now());
                ended.send(cancel.is_cancelled()).expect("the test listens");
            })
            .await
        });
        begin.await.expect("it runs");
        asker.abort();
        assert_eq!(end.await, Ok(true));
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error_of_its_own_request_only() {
        let gate = gate(1, Duration::from_secs(10), Duration::from_secs(10));
        let panics = |_: &Cancel| -> () { panic!("a defect") };
        assert_eq!(gate.run(panics).await, Err(Refusal::Failed));
        assert_eq!(gate.run(|_| 1).await, Ok(1));
    }
}
