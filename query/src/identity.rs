//! The identity graph: which ids, traces and messages hang together, and by what evidence.
//!
//! Owns: the graph as an answer of its own, and the list of id kinds. Does not own: the bounded closure it
//! is drawn from (`journey::closure`), which a journey shares, so that both say the same.
//!
//! ```text
//! id ─► closure ─► spans + log records ─► nodes: ids, messages, traces, linked spans
//!        bounded by hops, degree,          edges: carries · link · part of · same record,
//!        nodes, rows, time                         each with service, field, count, times, a sample
//! ```
//!
//! Invariants: an id of a kind that does not join, or on more traces than allowed, is a node and nothing was
//! searched through it; nothing is left out silently: every limit is a `Cut` that names the parameter or
//! setting that lifts it.

pub(crate) mod fields;
mod graph;
mod kinds;
#[cfg(test)]
mod tests;

use model::{IdRules, TimeRange};
use query_api::{IdGraph, IdKindsAnswer};
use storage::Snapshot;

use crate::journey::closure::close;
use crate::journey::records::{Records as _, StoreRecords};
use crate::journey::{self, Error};
use crate::limits::Cancel;
use crate::reads::{add_memory_cut, query_stats, read_cuts};

/// How far a graph may grow. Each is a parameter of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphLimits {
    /// Steps from the id that was asked for. Default 8.
    pub hops: usize,
    /// Traces an id may hang on to be searched through, in place of `max_fanout` of its kind. Default: not set.
    pub degree: Option<usize>,
    /// Nodes; half of them may be traces. Default 400.
    pub nodes: usize,
    /// Spans, and log records, that are read. Default 20,000 each.
    pub rows: usize,
}

impl Default for GraphLimits {
    fn default() -> Self {
        Self { hops: 8, degree: None, nodes: 400, rows: 20_000 }
    }
}

impl GraphLimits {
    /// Largest number of nodes that may be asked for.
    pub const NODES_MAX: usize = 20_000;
    /// Largest number of rows that may be asked for.
    pub const ROWS_MAX: usize = 200_000;

    fn closure(&self) -> journey::Limits {
        journey::Limits {
            hops: self.hops,
            traces: (self.nodes / 2).max(1),
            spans: self.rows,
            logs: self.rows,
            degree: self.degree,
            ..journey::Limits::default()
        }
    }
}

/// What `id` hangs together with in `range`. Blocking: call off the async threads.
///
/// `stats.elapsed_nano` is left 0 for the caller, who holds the clock.
///
/// # Errors
/// [`Error::NotFound`] when nothing carries the id, [`Error::Store`] when reading fails.
pub fn graph(
    snapshot: &Snapshot,
    ids: &IdRules,
    id: &str,
    range: TimeRange,
    limits: &GraphLimits,
    cancel: &Cancel,
) -> Result<IdGraph, Error> {
    let mut records = StoreRecords::new(snapshot, range).until(cancel);
    let asked = ids.candidates(id);
    let found = close(&mut records, ids, &asked, &limits.closure()).map_err(Error::Store)?;
    if found.matched.is_empty() {
        return Err(Error::nothing(records.refusal(), asked, range));
    }
    let mut graph = graph::draw(found, ids, limits);
    graph.id = id.trim().to_owned();
    graph.range = range;
    graph.stats = query_stats(records.stats());
    graph.cuts.extend(read_cuts(records.stats()));
    add_memory_cut(&mut graph.cuts, snapshot);
    Ok(graph)
}

/// All id kinds, and how many values of each stand in `range`. Blocking: call off the async threads.
///
/// # Errors
/// When the store cannot be read.
pub fn kinds(
    snapshot: &Snapshot,
    ids: &IdRules,
    range: TimeRange,
    cancel: &Cancel,
) -> Result<IdKindsAnswer, storage::Error> {
    kinds::count(snapshot, ids, range, cancel)
}
