//! Answers of a small shop on a bad morning, for tests. Deterministic; nothing here is random.

mod alerts;
mod board;
mod doctor;
mod fleet;
mod journey;
mod logs;
mod services;

use model::{TimeRange, UnixNano};
use query_api::QueryStats;

pub(crate) use alerts::alerts;
pub(crate) use board::{board, matrix, sql, vector};
pub(crate) use doctor::{doctor, row_detail};
pub(crate) use fleet::fleet;
pub(crate) use journey::{journey, rich_journey};
pub(crate) use logs::{logs, record};
pub(crate) use services::services;

const MS: i64 = 1_000_000;

pub(crate) fn now() -> UnixNano {
    "2026-11-20T10:42:07Z".parse().expect("a time")
}

pub(crate) fn range() -> TimeRange {
    TimeRange::last(std::time::Duration::from_secs(900), now())
}

fn stats() -> QueryStats {
    QueryStats {
        rows_scanned: 41_208,
        segments_read: 3,
        segments_pruned: 9,
        head_rows: 512,
        elapsed_nano: 12_400_000,
    }
}
