//! Journeys: everything that one id reaches, on one time axis.
//!
//! Owns: the bounded closure over ids, traces, links and messages; its assembly into timeline rows;
//! where the time went; how it went. Does not own: how ids are found in records (`model::ids`), how
//! rows are read (`storage`), how a journey is drawn (`tui`), the JSON's shape (`query_api`).
//!
//! ```text
//! id ─► closure ─► spans + log records ─► forest ──► messages ─► retries ─► outcome
//!        │  ▲           (clocks)           (parents)  (waits)       │          │
//!        ▼  │ terms                          │          │           │          ▼
//!       records ◄── Snapshot                 └──────────┴─► critical ─► rows ─► Journey
//! ```
//!
//! Invariants: every span and every log record that was read is exactly one row; `time_spent` sums
//! exactly to the duration; what was left out stands in `cuts`; nothing recurses, so that no input
//! overflows the stack; the answer depends on the rows and the snapshot's time alone.

mod alerts;
mod assemble;
mod baseline;
mod changes;
mod clocks;
pub(crate) mod closure;
mod critical;
pub(crate) mod cuts;
mod diff;
mod evidence;
mod exemplars;
pub mod follow;
mod forest;
mod infer;
mod layout;
mod marks;
mod messages;
mod outcome;
mod record;
pub(crate) mod records;
mod retries;
mod rows;
mod shares;
mod survey;
mod traces;

#[cfg(test)]
mod tests;

use model::{IdRules, IdTerm, TimeRange, TraceId, UnixNano};
use query_api::Journey;
use storage::{OutOfMemory, Snapshot};
use thiserror::Error;

use crate::limits::Cancel;
use crate::reads::{add_memory_cut, query_stats, read_cuts};
pub use alerts::mark_alerts;
pub use baseline::{Baseline, BaselineError};
pub use changes::mark_config_changes;
pub use diff::diff;
pub use infer::Words as InferenceWords;
pub use record::row;
use records::{Records, StoreRecords};

/// How far a journey may grow. What a limit leaves out is named in [`Journey::cuts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Steps from the id that was asked for, each over an id, a link or a message. Default 8.
    pub hops: usize,
    /// Traces. The newest are kept. Default 200.
    pub traces: usize,
    /// Spans. The earliest of a trace are kept. Default 100,000.
    pub spans: usize,
    /// Log records. Default 20,000.
    pub logs: usize,
    /// Events of spans that become rows. Default 20,000.
    pub events: usize,
    /// Exemplars of metrics that become rows. Default 1,000.
    pub exemplars: usize,
    /// Ids that are followed, and ids that are listed. Default 10,000.
    pub ids: usize,
    /// How rows are inferred from log records of services that send no spans.
    pub inference: InferenceWords,
    /// Traces an id may hang on to be followed, in place of what `ids.yaml` says of its kind. Default: not set.
    pub degree: Option<usize>,
}

impl Limits {
    /// Largest number of hops that may be asked for.
    pub const HOPS_MAX: usize = 100;
    /// Largest number of traces that may be asked for.
    pub const TRACES_MAX: usize = 5_000;
    /// Largest number of spans, and of log records, that may be asked for.
    pub const ROWS_MAX: usize = 200_000;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hops: 8,
            traces: 200,
            spans: 100_000,
            logs: 20_000,
            events: 20_000,
            exemplars: 1_000,
            ids: 10_000,
            inference: InferenceWords::default(),
            degree: None,
        }
    }
}

/// Why there is no journey.
#[derive(Debug, Error)]
pub enum Error {
    /// No span and no log record carries the id.
    #[error("no span and no log record from {} to {} carries this id", .range.from, .range.to)]
    NotFound {
        /// The terms that were looked for.
        searched: Vec<IdTerm>,
        /// Where.
        range: TimeRange,
    },
    /// The store could not be read.
    #[error("the store could not be read")]
    Store(#[source] storage::Error),
    /// There is not enough memory for any of it.
    #[error(transparent)]
    Memory(OutOfMemory),
    /// The offsets of consumer groups could not be read.
    #[error("the offsets of consumer groups could not be read: {0}")]
    Offsets(String),
}

impl Error {
    /// Why nothing was found: there is nothing, or there was no memory to look.
    pub(crate) fn nothing(refusal: Option<OutOfMemory>, searched: Vec<IdTerm>, range: TimeRange) -> Self {
        refusal.map_or(Self::NotFound { searched, range }, Self::Memory)
    }
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// An id of any kind, bare or as `kind=value`.
    pub id: &'a str,
    /// When.
    pub range: TimeRange,
    /// Whether times are corrected for clocks that disagree. They are as recorded unless it is asked for.
    pub is_corrected: bool,
}

/// Everything that an id reaches. Blocking: call off the async threads.
///
/// `stats.elapsed_nano` is left 0 for the caller, who holds the clock.
///
/// # Errors
/// [`Error::NotFound`] when nothing carries the id, [`Error::Memory`] when there is no memory to look, [`Error::Store`] when
/// reading fails.
pub fn find(
    snapshot: &Snapshot,
    ids: &IdRules,
    request: &Request<'_>,
    limits: &Limits,
) -> Result<Journey, Error> {
    find_until(snapshot, ids, request, limits, &Cancel::default())
}

/// As [`find`], and given up between two steps of the search when nobody waits for it any more: what was found up to
/// then is the answer, and a cut says so.
///
/// # Errors
/// As [`find`].
pub fn find_until(
    snapshot: &Snapshot,
    ids: &IdRules,
    request: &Request<'_>,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<Journey, Error> {
    let mut records = StoreRecords::new(snapshot, request.range).until(cancel);
    let mut journey = find_in(&mut records, ids, request, snapshot.taken_at(), limits)?;
    journey.stats = query_stats(records.stats());
    journey.cuts.extend(read_cuts(records.stats()));
    journey.cuts.extend(cuts::brief_cut(records.brief()));
    journey.cuts.extend(cuts::points_cut(records.points_left_out()));
    add_memory_cut(&mut journey.cuts, snapshot);
    Ok(journey)
}

/// The critical path of spans (start, end, parent) alone, for benchmarks: how many stretches it has.
pub fn critical_path_segments(spans: &[(i64, i64, Option<u32>)]) -> usize {
    let nodes = spans.iter().map(|(start, end, _)| critical::Interval {
        start: *start,
        end: *end,
        is_received: true,
    });
    let parent = spans.iter().map(|(_, _, parent)| *parent).collect();
    let graph = critical::Graph { nodes: nodes.collect(), parent, ..critical::Graph::default() };
    let start = spans.iter().map(|(start, ..)| *start).min().unwrap_or(0);
    let end = spans.iter().map(|(_, end, _)| *end).max().unwrap_or(0);
    critical::path(&graph, start, end).len()
}

/// The same over any source of records; `now` is the time up to which nothing more is known.
fn find_in<R: Records>(
    records: &mut R,
    ids: &IdRules,
    request: &Request<'_>,
    now: UnixNano,
    limits: &Limits,
) -> Result<Journey, Error> {
    let Request { id, range, is_corrected } = *request;
    let asked = ids.candidates(id);
    let found = closure::close(records, ids, &asked, limits).map_err(Error::Store)?;
    let is_empty = found.spans.is_empty() && found.logs.is_empty();
    if found.matched.is_empty() || (is_empty && records.refusal().is_some()) {
        return Err(Error::nothing(records.refusal(), asked, range));
    }
    let traces: Vec<TraceId> = found.traces.keys().copied().collect();
    let exemplars = records.exemplars(&traces).map_err(Error::Store)?;
    records.finish();
    let until = now.min(range.to);
    let question = assemble::Question { id: id.trim().to_owned(), range, until, is_corrected };
    Ok(assemble::assemble(found, exemplars, question, ids, limits))
}
