//! Indexes of the head's terms, built behind the acknowledgement.
//!
//! ```text
//! batch became visible ─► its terms ─► 8 neighbours of a tier ─► merged into one of the next tier
//! ```
//!
//! Owns: which batches share an index. Does not own: looking things up (`view`), sealing.
//!
//! Invariants: the store's state is locked to look and to swap only; what is not indexed yet is found all the
//! same; an index never reaches from rows that are being sealed to rows that are not, so that it goes with them.

use std::sync::Arc;

use model::Signal;
use tokio::sync::broadcast::error::RecvError;

use super::{HeadBatch, TermIndex};
use crate::store::{Shared, State};

/// Indexes of one tier that are merged.
const FAN_IN: usize = 8;

/// The indexes of one signal, in the order of their rows.
pub(crate) type Indexes = Vec<Arc<TermIndex>>;

/// Indexes what is there and what becomes visible, until the store is gone.
pub(crate) fn run(shared: &Arc<Shared>) -> impl Future<Output = ()> + use<> {
    let (mut arrivals, shared) = (shared.subscribe(), Arc::downgrade(shared));
    async move {
        while let Some(shared) = shared.upgrade() {
            if tokio::task::spawn_blocking(move || index_all(&shared)).await.is_err() {
                tracing::error!("indexing the head ended by a defect: look-ups in it are slower from now on");
                return;
            }
            match arrivals.recv().await {
                // What was missed is found in the state.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
            arrivals = arrivals.resubscribe();
        }
    }
}

/// Indexes all that is in the head.
pub(crate) fn index_all(shared: &Shared) {
    for signal in Signal::ALL {
        let batches = shared.state().without_index(signal);
        let fresh: Indexes = batches.iter().map(|batch| batch.own_index()).collect();
        shared.state().add_indexes(signal, fresh);
        loop {
            let neighbours = shared.state().mergeable(signal);
            let Some(merged) = TermIndex::merged(&neighbours) else { break };
            shared.state().swap_indexes(signal, &neighbours, merged);
        }
    }
}

impl State {
    /// The newest batches of a signal, in their order, that no index covers.
    fn without_index(&self, signal: Signal) -> Vec<Arc<HeadBatch>> {
        let covered = self.indexes[signal.index()].last().map_or(0, |last| last.rows().end);
        // Of a signal of which there is nothing new the head would be walked from end to end, batch by batch.
        if covered >= self.stats.rows_appended[signal.index()] {
            return Vec::new();
        }
        let newest = self.active.iter().rev().chain(self.sealing.iter().rev());
        let of_signal = newest.filter(|batch| batch.signal == signal);
        let mut batches: Vec<_> =
            of_signal.take_while(|batch| batch.rows_before >= covered).map(Arc::clone).collect();
        batches.retain(|batch| !batch.is_reduced && batch.rows.num_rows() > 0);
        batches.reverse();
        batches
    }

    fn add_indexes(&mut self, signal: Signal, fresh: Indexes) {
        let indexes = &mut self.indexes[signal.index()];
        let covered = indexes.last().map_or(0, |last| last.rows().end);
        indexes.extend(fresh.into_iter().filter(|index| index.rows().start >= covered));
        self.drop_dead_indexes();
    }

    /// Forgets the indexes of rows that are not in the head any more.
    pub(crate) fn drop_dead_indexes(&mut self) {
        for signal in Signal::ALL {
            if self.indexes[signal.index()].is_empty() {
                continue;
            }
            let mut head = self.sealing.iter().chain(&self.active).filter(|batch| batch.signal == signal);
            let first = head.next().map_or(u64::MAX, |batch| batch.rows_before);
            self.indexes[signal.index()].retain(|index| index.rows().end > first);
        }
    }

    /// The last neighbours of one tier that make up an index of the next; none when there are no such.
    fn mergeable(&self, signal: Signal) -> Indexes {
        let indexes = &self.indexes[signal.index()];
        let Some(last) = indexes.last() else { return Indexes::new() };
        let tail: Indexes =
            indexes.iter().rev().take_while(|index| index.tier() == last.tier()).map(Arc::clone).collect();
        let of_signal = |batch: &&Arc<HeadBatch>| batch.signal == signal;
        let boundary = self.active.iter().find(of_signal).map_or(u64::MAX, |batch| batch.rows_before);
        let is_active = last.rows().start >= boundary;
        let mut tail: Indexes =
            tail.into_iter().take_while(|index| (index.rows().start >= boundary) == is_active).collect();
        tail.reverse();
        if tail.len() < FAN_IN { Indexes::new() } else { tail }
    }

    fn swap_indexes(&mut self, signal: Signal, old: &[Arc<TermIndex>], merged: TermIndex) {
        let indexes = &mut self.indexes[signal.index()];
        let Some(at) = indexes.iter().position(|index| Arc::ptr_eq(index, &old[0])) else { return };
        let there = indexes[at..].iter().zip(old).filter(|(there, old)| Arc::ptr_eq(there, old)).count();
        if there < old.len() {
            return;
        }
        indexes.splice(at..at + old.len(), [Arc::new(merged)]);
        let rows = old[0].rows().start..old[old.len() - 1].rows().end;
        if old.iter().any(|index| index.tier() == 0) {
            let of_signal = self.active.iter().chain(&self.sealing).filter(|batch| batch.signal == signal);
            let merged = of_signal.filter(|batch| rows.contains(&batch.rows_before));
            merged.for_each(|batch| batch.forget_own_index());
        }
    }
}

#[cfg(test)]
mod tests;
