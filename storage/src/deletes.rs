//! Deleting by id: hidden at once, gone from the files at the next compaction, with a receipt.
//!
//! ```text
//! delete order_id=ORD-1
//!   1 find     rows of head and segments that carry the id themselves
//!   2 commit   the request, with the WAL sequence S up to which it holds, to the catalog
//!   3 hide     rows leave the head; segments get the rows that reads leave out       (one lock)
//!   4 rewrite  segments with hidden rows, first thing of compaction
//! ```
//!
//! After a restart the WAL's records up to S lose those rows again when they are replayed, and segments that
//! were written before the delete hide them again.
//!
//! Invariants: rows received after a delete are not touched by it; a receipt says that bytes are gone only
//! when no segment and no row of the head holds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use model::ids::{IdTerm, TRACE_ID};
use model::text::nearest;
use model::{IdRules, Signal, UnixNano};

use crate::error::{Context as _, Error, ErrorKind};
use crate::head::HeadBatch;
use crate::plant::Plant;
use crate::rows;
use crate::segment::RowRanges;
use crate::segment::reader::Segment;
use crate::store::Shared;

/// Deletes whose bytes are not gone yet. Each costs a look-up per segment when the store opens.
pub const DELETES_PENDING_MAX: usize = 1_000;

/// What was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteReceipt {
    /// Counts deletes of this store from 1.
    pub id: u64,
    /// What was asked, as `kind=value`.
    pub term: String,
    /// When.
    pub requested_at: UnixNano,
    /// Spans hidden.
    pub spans: u64,
    /// Log records hidden.
    pub log_records: u64,
    /// When no segment held them any more; `None` as long as one may. The WAL keeps the sender's request until
    /// its file is trimmed, some megabytes of telemetry later.
    pub gone_at: Option<UnixNano>,
}

/// A delete as the catalog keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tombstone {
    pub(crate) receipt: DeleteReceipt,
    /// The last WAL record it holds for.
    pub(crate) sequence: u64,
}

/// The rows that a delete hides.
struct Found {
    /// Place in the active head, and what is left of the batch.
    head: Vec<(usize, Arc<HeadBatch>)>,
    segments: Vec<(Arc<Segment>, RowRanges)>,
    /// Rows by `Signal::index`.
    rows: [u64; 3],
}

/// Checks that `text` names an id that rows can carry.
pub(crate) fn check_term(text: &str, ids: &IdRules) -> Result<String, Error> {
    let refuse = |message: String| Err(Error::new(ErrorKind::FixInput, message));
    let term: IdTerm = match text.trim().parse() {
        Ok(term) => term,
        Err(message) => return refuse(message),
    };
    if term.kind == TRACE_ID && term.trace_id().is_none() {
        return refuse(format!("`{}` is no trace id: 32 hex digits, not all zero", term.value));
    }
    if term.kind == TRACE_ID || ids.kind(&term.kind).is_some() {
        return Ok(term.to_string());
    }
    let kinds = || ids.kinds().iter().map(|kind| kind.kind.as_str()).chain([TRACE_ID]);
    let hint = match nearest(&term.kind, kinds()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the id kinds are {}", kinds().collect::<Vec<_>>().join(", ")),
    };
    refuse(format!("there is no id kind `{}`: {hint}", term.kind))
}

/// Hides all rows that carry `term`; with `is_dry` only counts them.
pub(crate) async fn delete(shared: Arc<Shared>, term: String, is_dry: bool) -> Result<DeleteReceipt, Error> {
    // No seal and no merge may carry rows from one place to another meanwhile. A merge gives way.
    let _yielded = Waiting::new(&shared.deletes_waiting);
    let _no_seal = shared.seal_lock.lock().await;
    let _no_merge = shared.maintenance_lock.lock().await;
    let (head, segments, sequence, id) = {
        let state = shared.state();
        if state.tombstones.len() >= DELETES_PENDING_MAX && !is_dry {
            return Err(Error::retry(format!("{DELETES_PENDING_MAX} deletes wait for compaction already")));
        }
        (state.active.clone(), state.segments.clone(), state.stats.wal_sequence, state.last_delete_id + 1)
    };
    let searched = term.clone();
    let found = tokio::task::spawn_blocking(move || find(&head, segments, &searched));
    let found = found.await.context(ErrorKind::Internal, || "finding rows to delete".to_owned())??;
    let tombstone = Tombstone {
        sequence,
        receipt: DeleteReceipt {
            id,
            term,
            requested_at: shared.clock.now(),
            spans: found.rows[Signal::Traces.index()],
            log_records: found.rows[Signal::Logs.index()],
            gone_at: None,
        },
    };
    let receipt = tombstone.receipt.clone();
    if !is_dry {
        if !shared.folder.planted.has(Plant::DeleteNotWritten) {
            shared.catalog.add_delete(&tombstone).await?;
        }
        hide(&shared, found, tombstone);
        shared.seal_wanted.notify_one();
    }
    // A merge may have given way.
    shared.maintenance_wanted.notify_one();
    Ok(receipt)
}

/// Says, while it lives, that a merge should give way.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn find(head: &[Arc<HeadBatch>], segments: Vec<Arc<Segment>>, term: &str) -> Result<Found, Error> {
    let mut found = Found { head: Vec::new(), segments: Vec::new(), rows: [0; 3] };
    for (at, batch) in head.iter().enumerate() {
        if let Some(left) = batch.without(term)? {
            found.rows[batch.signal.index()] += (batch.rows.num_rows() - left.rows.num_rows()) as u64;
            found.head.push((at, left));
        }
    }
    for segment in segments {
        let rows = segment.rows_with(term)?;
        let hidden = segment.hidden().union(&rows);
        let fresh = hidden.rows() - segment.hidden().rows();
        if fresh > 0 {
            found.rows[segment.signal().index()] += fresh as u64;
            found.segments.push((segment, hidden));
        }
    }
    Ok(found)
}

fn hide(shared: &Shared, found: Found, tombstone: Tombstone) {
    let mut state = shared.state();
    // The head has only grown at its end since it was searched: nobody seals.
    for (at, left) in found.head {
        let old = std::mem::replace(&mut state.active[at], left);
        let (rows, bytes) = (state.active[at].rows.num_rows(), state.active[at].bytes());
        state.stats.head_rows -= (old.rows.num_rows() - rows) as u64;
        state.stats.head_bytes = (state.stats.head_bytes + bytes as u64).saturating_sub(old.bytes() as u64);
    }
    shared.memory.set_head(state.stats.head_bytes);
    for (segment, hidden) in found.segments {
        let is_it = |live: &&mut Arc<Segment>| {
            live.signal() == segment.signal() && live.meta().name == segment.meta().name
        };
        if let Some(live) = state.segments.iter_mut().find(is_it) {
            *live = segment.with_hidden(hidden);
        }
    }
    state.last_delete_id = tombstone.receipt.id;
    state.tombstones = state.tombstones.iter().cloned().chain([tombstone]).collect();
}

/// The segment as deletes that came after it was written leave it.
pub(crate) fn hidden_in(segment: Arc<Segment>, tombstones: &[Tombstone]) -> Result<Arc<Segment>, Error> {
    let mut hidden = segment.hidden().clone();
    for tombstone in tombstones.iter().filter(|tombstone| tombstone.receipt.id > segment.meta().delete_id) {
        hidden = hidden.union(&segment.rows_with(&tombstone.receipt.term)?);
    }
    Ok(if hidden.is_empty() { segment } else { segment.with_hidden(hidden) })
}

/// What deletes leave of a batch that is replayed.
pub(crate) fn replayed(
    batch: Arc<HeadBatch>,
    sequence: u64,
    tombstones: &[Tombstone],
) -> Result<Arc<HeadBatch>, Error> {
    let mut batch = batch;
    for tombstone in tombstones.iter().filter(|tombstone| tombstone.sequence >= sequence) {
        if let Some(left) = batch.without(&tombstone.receipt.term)? {
            batch = left;
        }
    }
    Ok(batch)
}

/// The rows that do not carry `term`; `None` when all stay.
pub(crate) fn rows_without(rows: &RecordBatch, term: &str) -> Result<Option<RecordBatch>, Error> {
    let keep: BooleanArray = rows::carrying(rows, term).map(|carries| Some(!carries)).collect();
    if keep.true_count() == rows.num_rows() {
        return Ok(None);
    }
    filter_record_batch(rows, &keep).context(ErrorKind::Internal, || "deleting rows".to_owned()).map(Some)
}

/// Notes in receipts that bytes are gone: everything received before the last delete is in segments, none
/// of which has hidden rows.
pub(crate) async fn note_gone(shared: &Shared) -> Result<(), Error> {
    let last_id = {
        let state = shared.state();
        let is_clean = state.segments.iter().all(|segment| segment.hidden().is_empty());
        let done = |tombstone: &&Tombstone| tombstone.sequence <= state.sealed_sequence;
        match state.tombstones.iter().take_while(done).last() {
            Some(last) if is_clean && state.unreadable.is_empty() => last.receipt.id,
            _ => return Ok(()),
        }
    };
    shared.catalog.deletes_gone(last_id, shared.clock.now()).await?;
    let mut state = shared.state();
    state.tombstones = state.tombstones.iter().filter(|one| one.receipt.id > last_id).cloned().collect();
    Ok(())
}

#[cfg(test)]
mod tests;
