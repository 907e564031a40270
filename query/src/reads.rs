//! What reading a snapshot cost and left out, as answers say it.

use query_api::{Cut, QueryStats};
use storage::{LOOKUP_ROWS_MAX, ScanStats};

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
