//! The head of one signal as a snapshot has it, and finding terms in it.
//!
//! ```text
//! term ─► hash ─► indexes of neighbours ─┐
//!                 batches not in one yet ┴─► rows that may carry it ─► rows that do ─► their groups
//! ```
//!
//! Owns: from terms to rows. Does not own: building indexes (`indexer`).
//!
//! Invariant: the answer does not depend on which batches are in an index; what a look-up costs depends on what it
//! finds, and on the number of batches that are in none yet.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use model::{Signal, TimeRange};

use super::{HeadBatch, TermIndex};
use crate::rows::{TermColumns, Wanted, trace_hash};

/// The batches of one signal.
#[derive(Debug)]
pub(crate) struct HeadView {
    signal: Signal,
    /// In WAL order.
    batches: Vec<Arc<HeadBatch>>,
    /// In the order of their rows, none of which is in two.
    indexes: Vec<Arc<TermIndex>>,
    /// The batches that no index covers.
    bare: OnceLock<Vec<usize>>,
}

/// Rows that carry a term, by the number of rows before their batch; those of a batch ascending.
pub(crate) type Carriers = HashMap<u64, Vec<u32>>;

/// Rows of a batch, and the groups they are of.
pub(crate) struct GroupRows {
    /// Ascending.
    pub(crate) rows: Vec<u32>,
    pub(crate) groups: usize,
    /// Groups that no more were asked for.
    pub(crate) left_out: usize,
}

impl HeadView {
    pub(crate) const fn new(
        signal: Signal,
        batches: Vec<Arc<HeadBatch>>,
        indexes: Vec<Arc<TermIndex>>,
    ) -> Self {
        Self { signal, batches, indexes, bare: OnceLock::new() }
    }

    pub(crate) fn batches(&self) -> &[Arc<HeadBatch>] {
        &self.batches
    }

    /// Calls `each` with every row that carries one of the terms, possibly more than once, until it says stop.
    pub(crate) fn each_carrier(
        &self,
        wanted: &Wanted<'_>,
        each: &mut dyn FnMut(&HeadBatch, &TermColumns<'_>, usize) -> ControlFlow<()>,
    ) {
        let shared = self.indexes.iter().map(|index| (Arc::clone(index), false));
        let own = self.bare().iter().map(|at| (self.batches[*at].own_index(), true));
        let mut at_hand: Option<(&HeadBatch, TermColumns<'_>)> = None;
        for (index, is_own) in shared.chain(own) {
            for number in wanted.hashes().iter().flat_map(|hash| index.rows_of(*hash)) {
                if at_hand.as_ref().is_none_or(|(batch, _)| !batch.numbers().contains(&number)) {
                    at_hand = self.batch_with(number);
                }
                let Some((batch, columns)) = &at_hand else { continue };
                // The rows of a batch that lost some are numbered anew: a shared index knows the old ones.
                let is_known = is_own || !batch.is_reduced;
                let row = (number - batch.rows_before) as usize;
                if is_known && wanted.is_on(columns, row) && each(batch, columns, row).is_break() {
                    return;
                }
            }
        }
    }

    /// How many groups of batches that overlap `range` carry a term; counting ends at `enough`.
    pub(crate) fn count_groups(&self, term: &str, range: &TimeRange, enough: usize) -> usize {
        let mut groups = HashSet::new();
        if enough > 0 {
            self.each_carrier(&Wanted::new([term]), &mut |batch, columns, row| {
                if batch.time.overlaps(range) {
                    groups.insert((batch.rows_before, columns.group(row)));
                }
                if groups.len() < enough { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        }
        groups.len()
    }

    /// The rows that carry one of the terms.
    pub(crate) fn carriers(&self, wanted: &Wanted<'_>) -> Carriers {
        let mut carriers = Carriers::new();
        self.each_carrier(wanted, &mut |batch, _, row| {
            carriers.entry(batch.rows_before).or_default().push(row as u32);
            ControlFlow::Continue(())
        });
        for rows in carriers.values_mut() {
            rows.sort_unstable();
            rows.dedup();
        }
        carriers
    }

    /// The rows of the last `groups_max` groups — a trace, or a row that has none — that rows of a batch are of.
    pub(crate) fn groups_of(&self, batch: &HeadBatch, carriers: &[u32], groups_max: usize) -> GroupRows {
        let mut found = GroupRows { rows: Vec::new(), groups: 0, left_out: 0 };
        let Some(columns) = TermColumns::new(self.signal, &batch.rows) else { return found };
        let index = self.index_of(batch);
        let mut known = HashSet::new();
        for row in carriers.iter().rev() {
            let group = columns.group(*row as usize);
            if !known.insert(group) {
                continue;
            }
            if found.groups == groups_max {
                found.left_out += 1;
                continue;
            }
            found.groups += 1;
            match group {
                Ok(trace) => {
                    let numbers = index.rows_within(trace_hash(&trace), batch.numbers());
                    let rows = numbers.map(|number| (number - batch.rows_before) as u32);
                    found.rows.extend(rows.filter(|row| columns.group(*row as usize) == group));
                }
                Err(row) => found.rows.push(row as u32),
            }
        }
        found.rows.sort_unstable();
        found
    }

    fn index_of(&self, batch: &HeadBatch) -> Arc<TermIndex> {
        let shared = self.covering(batch).map(|at| Arc::clone(&self.indexes[at]));
        shared.unwrap_or_else(|| batch.own_index())
    }

    fn covering(&self, batch: &HeadBatch) -> Option<usize> {
        let at = self.indexes.partition_point(|index| index.rows().end <= batch.rows_before);
        let covers = self.indexes.get(at).is_some_and(|index| index.rows().contains(&batch.rows_before));
        (covers && !batch.is_reduced).then_some(at)
    }

    fn bare(&self) -> &[usize] {
        self.bare.get_or_init(|| {
            let is_bare = |at: &usize| self.covering(&self.batches[*at]).is_none();
            (0..self.batches.len()).filter(is_bare).collect()
        })
    }

    fn batch_with(&self, number: u64) -> Option<(&HeadBatch, TermColumns<'_>)> {
        let after = self.batches.partition_point(|batch| batch.rows_before <= number);
        let batch = self.batches.get(after.checked_sub(1)?)?;
        let columns = TermColumns::new(self.signal, &batch.rows)?;
        batch.numbers().contains(&number).then_some((batch, columns))
    }
}

#[cfg(test)]
mod tests;
