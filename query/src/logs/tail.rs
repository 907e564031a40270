//! The live tail: matching records as they become visible, as lines of JSON.
//!
//! ```text
//! Store ─► broadcast (1,024 batches) ─► match, at most CHUNK_ROWS rows or CHUNK_BYTES at a time ─► lines ─► HTTP body
//! ```
//!
//! When the reader is slow the broadcast drops the oldest batches. The rows of each signal are numbered,
//! so the tail knows how many it has not seen and says so in a line `{"skipped":N}` before the next
//! record. N counts log records, matching or not. An idle tail sends an empty line every
//! [`KEEP_ALIVE`], so that a reader who has gone is noticed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use model::Signal;
use query_api::client::tail_line;
use serde::Serialize;
use storage::rows::LogRows;
use storage::{HeadBatch, Store};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::record::record;
use crate::search::Query;

/// How often an idle tail sends an empty line.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Rows that are matched before the lines so far are handed on.
const CHUNK_ROWS: usize = 1_024;
/// Bytes of lines after which they are handed on.
const CHUNK_BYTES: usize = 1 << 20;

#[derive(Serialize)]
struct Skipped {
    skipped: u64,
}

struct Tail {
    batches: Receiver<Arc<HeadBatch>>,
    query: Arc<Query>,
    /// Number of the next log record, counted since the store was opened.
    next: u64,
    /// The batch being read and the first row not yet looked at.
    current: Option<(Arc<HeadBatch>, usize)>,
}

/// Lines of JSON for the log records that become visible from now on. Ends when the store is dropped.
pub fn tail(store: &Store, query: Query) -> impl Stream<Item = Bytes> + Send + use<> {
    // Subscribed first: a batch in between is then read, and not counted as skipped.
    let batches = store.subscribe();
    let next = store.stats().rows_appended[Signal::Logs.index()];
    let tail = Tail { batches, query: Arc::new(query), next, current: None };
    futures_util::stream::unfold(tail, |mut tail| async move {
        let lines = tail.next_lines().await?;
        Some((Bytes::from(lines), tail))
    })
}

impl Tail {
    /// `None` at the end.
    async fn next_lines(&mut self) -> Option<Vec<u8>> {
        loop {
            let Some((batch, row)) = self.current.take() else {
                let received = tokio::time::timeout(KEEP_ALIVE, self.batches.recv()).await;
                match received {
                    Err(_) => return Some(b"\n".to_vec()),
                    Ok(Err(RecvError::Closed)) => return None,
                    // How much was missed is seen from the next batch.
                    Ok(Err(RecvError::Lagged(_))) => {}
                    Ok(Ok(batch)) if batch.signal == Signal::Logs => {
                        let skipped = batch.rows_before.saturating_sub(self.next);
                        self.next = batch.rows_before + batch.rows.num_rows() as u64;
                        self.current = Some((batch, 0));
                        if skipped > 0 {
                            return Some(tail_line(&Skipped { skipped }).unwrap_or_default());
                        }
                    }
                    Ok(Ok(_)) => {}
                }
                continue;
            };
            let end = (row + CHUNK_ROWS).min(batch.rows.num_rows());
            let (lines, end) = self.match_rows(Arc::clone(&batch), row, end).await;
            if end < batch.rows.num_rows() {
                self.current = Some((batch, end));
            }
            if !lines.is_empty() {
                return Some(lines);
            }
        }
    }

    /// The lines of some rows, and the row after the last that was looked at.
    async fn match_rows(&self, batch: Arc<HeadBatch>, from: usize, to: usize) -> (Vec<u8>, usize) {
        let query = Arc::clone(&self.query);
        let work = move || {
            let rows = LogRows::new(&batch.rows);
            let mut lines = Vec::new();
            for row in from..to {
                if query.matches_log(&rows, row) {
                    lines.extend(tail_line(&record(&rows, row)).unwrap_or_default());
                }
                if lines.len() > CHUNK_BYTES {
                    return (lines, row + 1);
                }
            }
            (lines, to)
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| (Vec::new(), to))
    }
}
