//! The breaker: while the collector answers nobody, one request at a time asks whether it does again.
//!
//! ```text
//! closed ── 5 failures in a row ─► open ── a back-off ends ─► half open: one probe ─► answered ─► closed
//!                                    ▲                                            └─► failed ─┐
//!                                    └────────────────────────────────────────────────────────┘
//! ```
//!
//! Does not own: how long a sender waits between its attempts (`backoff`).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};

/// Failures in a row after which it opens.
const FAILURES_MAX: u64 = 5;

/// How a breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Requests leave as they come.
    #[default]
    Closed,
    /// One request asks whether the collector is back.
    HalfOpen,
    /// The collector did not answer again and again; everything waits.
    Open,
}

/// Shared by all that send.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: AtomicU64,
    in_flight: AtomicU64,
    probe: Mutex<()>,
}

/// Leave to send one request; it is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    breaker: &'a Breaker,
    _probe: Option<MutexGuard<'a, ()>>,
}

impl Breaker {
    /// Waits for the turn of a request: at once while it is closed, else behind the one that asks.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        let mut probe = None;
        if self.is_open() {
            // What the one before learnt may have closed it.
            probe = Some(self.probe.lock().await).filter(|_| self.is_open());
        }
        self.in_flight.fetch_add(1, Relaxed);
        Turn { breaker: self, _probe: probe }
    }

    /// The collector answered, whatever it said of the request.
    pub(crate) fn answered(&self) {
        self.failures.store(0, Relaxed);
    }

    /// It did not, or could not take anything.
    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    fn is_open(&self) -> bool {
        self.failures.load(Relaxed) >= FAILURES_MAX
    }

    /// How it stands now.
    pub(crate) fn state(&self) -> BreakerState {
        match (self.is_open(), self.probe.try_lock().is_err()) {
            (false, _) => BreakerState::Closed,
            (true, true) => BreakerState::HalfOpen,
            (true, false) => BreakerState::Open,
        }
    }

    /// Requests that were sent and are not answered.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.breaker.in_flight.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn it_opens_after_five_failures_and_lets_one_request_ask_at_a_time() {
        let breaker = Breaker::default();
        (0..4).for_each(|_| breaker.failed());
        assert_eq!(breaker.state(), BreakerState::Closed);
        let two = (breaker.turn().await, breaker.turn().await);
        assert_eq!(breaker.in_flight(), 2);
        drop(two);
        breaker.failed();
        assert_eq!(breaker.state(), BreakerState::Open);
        let probe = breaker.turn().await;
        assert_eq!((breaker.state(), breaker.in_flight()), (BreakerState::HalfOpen, 1));
        let mut other = pin!(breaker.turn());
        let mut context = Context::from_waker(Waker::noop());
        assert!(other.as_mut().poll(&mut context).is_pending(), "the second one waits");
        breaker.answered();
        drop(probe);
        let Poll::Ready(turn) = other.as_mut().poll(&mut context) else { panic!("it goes on") };
        assert_eq!(breaker.state(), BreakerState::Closed);
        let third = breaker.turn().await;
        assert_eq!(breaker.in_flight(), 2);
        drop((turn, third));
        assert_eq!(breaker.in_flight(), 0);
    }
}
