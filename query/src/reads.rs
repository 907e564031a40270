//! What reading a snapshot cost and left out, as answers say it.

use std::ops::ControlFlow;

use query_api::{Cut, QueryStats};
use storage::{LOOKUP_ROWS_MAX, Reservation, ScanStats, Snapshot};

/// What may be done about a query that there is not enough memory for.
pub(crate) const MEMORY_HINT: &str = "ask for a shorter time range, ask again when other queries have ended, or raise `[store] memory_bytes_max`";
/// The limit of a query that there is not enough memory for.
pub(crate) const MEMORY_LIMIT: &str = "memory_bytes_max";

/// What a read cost.
pub(crate) fn query_stats(stats: &ScanStats) -> QueryStats {
    QueryStats {
        rows_scanned: stats.rows_scanned,
        segments_read: stats.segments_read,
        segments_pruned: stats.segments_pruned,
        head_rows: stats.head_rows,
        elapsed_nano: 0,
    }
}

/// What is missing while the log is replayed.
pub(crate) fn replay_cut() -> Cut {
    Cut {
        what: "the server has just started: its log is still being replayed, and rows are missing".to_owned(),
        limit: "replay".to_owned(),
        hint: Some("ask again when GET /ready answers 200; it says how far the replay is".to_owned()),
    }
}

/// What a read left out.
pub(crate) fn read_cuts(stats: &ScanStats) -> Vec<Cut> {
    let mut cuts = Vec::new();
    if stats.segments_unreadable > 0 {
        cuts.push(Cut {
            what: format!("{} segments cannot be read and are missing", stats.segments_unreadable),
            limit: "unreadable_segments".to_owned(),
            hint: Some("the server's log names the files".to_owned()),
        });
    }
    if stats.is_replaying {
        cuts.push(replay_cut());
    }
    if stats.is_cut {
        cuts.push(Cut {
            what: format!("cut at {LOOKUP_ROWS_MAX} rows of one id"),
            limit: "lookup_rows".to_owned(),
            hint: Some("ask for a shorter time range".to_owned()),
        });
    }
    cuts
}

/// Says what there was no memory for, unless `cuts` say it already.
pub(crate) fn add_memory_cut(cuts: &mut Vec<Cut>, snapshot: &Snapshot) {
    let Some(refusal) = snapshot.held().refusal() else { return };
    if !cuts.iter().any(|cut| cut.limit == MEMORY_LIMIT) {
        let (limit, hint) = (MEMORY_LIMIT.to_owned(), Some(MEMORY_HINT.to_owned()));
        cuts.push(Cut { what: format!("{refusal}: rows are missing"), limit, hint });
    }
}

/// Reserves memory for what grows while rows go by.
pub(crate) struct Growth<'a> {
    held: &'a Reservation,
    bytes: usize,
}

impl<'a> Growth<'a> {
    /// Nothing yet.
    pub(crate) const fn new(snapshot: &'a Snapshot) -> Self {
        Self { held: snapshot.held(), bytes: 0 }
    }

    /// Reserves up to `bytes` in all; `Break` when there are not so many.
    pub(crate) fn to(&mut self, bytes: usize) -> ControlFlow<()> {
        if bytes > self.bytes {
            if self.held.grow(bytes - self.bytes).is_err() {
                return ControlFlow::Break(());
            }
            self.bytes = bytes;
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
