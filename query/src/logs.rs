//! Log search: the latest records that match, how many there are, over time and by value; counts for
//! alert rules; the live tail.
//!
//! Owns: reading records of a snapshot for a search, the shape of [`LogsAnswer`]. Does not own: what a
//! search means (`search`), HTTP.
//!
//! Invariants: every record that matches is counted, also those that are not returned; memory is
//! bounded by `limit` records and [`ANSWER_BYTES_MAX`], and what that leaves out is a [`Cut`].

mod collect;
mod count;
mod histogram;
mod record;
mod tail;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use arrow::array::RecordBatch;
use model::{Signal, TimeRange};
use query_api::LogsAnswer;
use storage::{Error, ScanOrder, ScanStats, Snapshot};

use crate::limits::Cancel;
use crate::reads::{query_stats, read_cuts};
use crate::search::Query;
use collect::Collector;

pub use count::{CountError, GROUPS_MAX, GroupCount, count};
pub use tail::{KEEP_ALIVE, tail};

/// Bytes of records one answer may hold.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The latest `limit` records within `range` that match, oldest first, with the number, the histogram
/// and the facets of all that match. Blocking. `stats.elapsed_nano` is left 0 for the caller, who holds
/// the clock.
///
/// # Errors
/// When the store cannot be read.
pub fn search(
    snapshot: &Snapshot,
    query: &Query,
    range: TimeRange,
    limit: usize,
    cancel: &Cancel,
) -> Result<LogsAnswer, Error> {
    let mut collector = Collector::new(range, limit);
    let stats = visit_candidates(snapshot, query, range, cancel, &mut |batch| {
        collector.add(batch, query);
        cancel.flow()
    })?;
    let mut answer = collector.finish(query_stats(&stats));
    answer.cuts.extend(read_cuts(&stats));
    Ok(answer)
}

/// Calls `visit` with the batches in which a match can stand: those that carry an id the search
/// demands, or all, later parts first.
fn visit_candidates(
    snapshot: &Snapshot,
    query: &Query,
    range: TimeRange,
    cancel: &Cancel,
    visit: &mut dyn FnMut(&RecordBatch) -> ControlFlow<()>,
) -> Result<ScanStats, Error> {
    let mut stats = ScanStats::default();
    match query.required_ids() {
        Some(terms) => {
            for batch in snapshot.lookup(Signal::Logs, &range, terms, &mut stats)? {
                if visit(&batch).is_break() || cancel.is_cancelled() {
                    break;
                }
            }
        }
        None => {
            let (hint, order) = (query.text_hint(), ScanOrder::Newest);
            snapshot.scan_with(Signal::Logs, &range, &[], hint, order, &mut stats, visit)?;
        }
    }
    Ok(stats)
}
