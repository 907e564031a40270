//! A journey that is followed: sent again whenever records arrive that can change it.
//!
//! ```text
//! Store ─► broadcast ─► does a row name a trace, an id, a link of the journey? ─► compute ─► differs? ─► a line
//!                       no: nothing is computed                                    at most once in a while
//! ```
//!
//! Owns: which arrivals concern a journey, how often it is computed. Does not own: computing it, and what time alone
//! changes in it (`query_api::Journey::advance`), which whoever shows it knows by himself.
//!
//! Invariants: a journey is computed only after rows arrived that name something of it, or when so many arrived
//! that some were missed; between two computations lies at least [`PAUSE_MIN`], and four times what the last one took,
//! so that a follower costs a fifth of a core at most.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use model::{IdRules, Signal, TraceId};
use query_api::Journey;
use storage::rows::{LogRows, PointRows, SpanRows};
use storage::{HeadBatch, Store};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// Least time between two computations.
pub const PAUSE_MIN: Duration = Duration::from_millis(250);
/// How often an idle follower hears that it is still served.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What belongs to a journey, as arriving rows name it.
#[derive(Debug, Default)]
struct Interest {
    traces: HashSet<TraceId>,
    /// Ids that join, as `kind=value`.
    terms: HashSet<String>,
}

impl Interest {
    fn of(journey: &Journey, rules: &IdRules) -> Self {
        let traces: HashSet<TraceId> = journey.traces.iter().map(|trace| trace.trace_id).collect();
        let joins = |kind: &str| rules.kind(kind).is_none_or(|rule| rule.link);
        let ids = journey.ids.iter().filter(|id| joins(&id.kind)).chain(&journey.matched);
        let mut terms: HashSet<String> = ids.map(ToString::to_string).collect();
        terms.extend(traces.iter().map(|trace| super::survey::trace_term(*trace)));
        Self { traces, terms }
    }

    fn concerns(&self, batch: &HeadBatch) -> bool {
        match batch.signal {
            Signal::Traces => {
                let rows = SpanRows::new(&batch.rows);
                (0..rows.len()).any(|row| {
                    self.traces.contains(&rows.trace_id(row))
                        || rows.ids(row).any(|id| self.terms.contains(id))
                        || rows.links(row).any(|(trace, _)| self.traces.contains(&trace))
                })
            }
            Signal::Logs => {
                let rows = LogRows::new(&batch.rows);
                (0..rows.len()).any(|row| {
                    rows.trace_id(row).is_some_and(|trace| self.traces.contains(&trace))
                        || rows.ids(row).any(|id| self.terms.contains(id))
                })
            }
            Signal::Metrics => {
                let rows = PointRows::new(&batch.rows);
                let mut exemplars = (0..rows.len()).flat_map(|row| rows.exemplars(row));
                exemplars.any(|exemplar| exemplar.trace_id.is_some_and(|trace| self.traces.contains(&trace)))
            }
        }
    }
}

/// Waits for arrivals that concern a journey.
#[derive(Debug)]
pub struct Follower {
    batches: Receiver<Arc<HeadBatch>>,
    rules: Arc<IdRules>,
    interest: Interest,
    shown: Option<Journey>,
    pause: Duration,
}

/// Why waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Something arrived that can change the journey.
    Concerns,
    /// Nothing arrived for [`KEEP_ALIVE`].
    Nothing,
    /// The store is gone.
    End,
}

impl Follower {
    /// To be made before the journey is computed for the first time, so that nothing is missed in between.
    pub fn new(store: &Store) -> Self {
        Self {
            batches: store.subscribe(),
            rules: Arc::clone(store.ids()),
            interest: Interest::default(),
            shown: None,
            pause: PAUSE_MIN,
        }
    }

    /// Takes a computed journey and how long that took. `false` when it shows nothing new.
    pub fn take(&mut self, journey: &Journey, took: Duration) -> bool {
        self.pause = PAUSE_MIN.max(took * 4);
        self.interest = Interest::of(journey, &self.rules);
        let fresh = timeless(journey);
        let is_new = self.shown.as_ref() != Some(&fresh);
        self.shown = Some(fresh);
        is_new
    }

    /// Waits until something arrived that concerns the journey, then for the pause, in which more may come.
    pub async fn wait(&mut self) -> Arrival {
        loop {
            match tokio::time::timeout(KEEP_ALIVE, self.batches.recv()).await {
                Err(_) => return Arrival::Nothing,
                Ok(Err(RecvError::Closed)) => return Arrival::End,
                // What was missed may have concerned it.
                Ok(Err(RecvError::Lagged(_))) => break,
                Ok(Ok(batch)) if self.interest.concerns(&batch) => break,
                Ok(Ok(_)) => {}
            }
        }
        tokio::time::sleep(self.pause).await;
        // What has come up to now is in the snapshot that is taken next.
        while matches!(self.batches.try_recv(), Ok(_) | Err(TryRecvError::Lagged(_))) {}
        Arrival::Concerns
    }
}

/// A journey without what differs between two computations over the same rows.
fn timeless(journey: &Journey) -> Journey {
    let mut journey = journey.clone();
    journey.stats = query_api::QueryStats::default();
    journey.range = model::TimeRange::ALL;
    journey.progress = None;
    // A message that nobody has consumed waits longer each time.
    journey.advance(model::UnixNano::MAX);
    journey
}

#[cfg(test)]
mod tests;
