//! The overview: rate, errors and duration of every service, and the state of every queue.
//!
//! Owns: what counts as a request, as an error, as a message that waits, and how a service or a queue
//! is judged. Does not own: drawing, alerting.
//!
//! Requests are server and consumer spans; a request failed when its span's status is `error`.
//! Durations are kept in a sketch with a relative error of 1.6 % at most ([`sketch`]). A message is a
//! producer span that names a destination; it is consumed when a consumer span of the same destination
//! links to it, is its child, or carries its message id or Kafka coordinates. Consumers whose spans
//! point to no producer are judged by the number of messages alone.
//!
//! Invariant: memory is bounded by [`SERVICES_MAX`], [`QUEUES_MAX`], [`MESSAGES_MAX`] and what is free for queries; what
//! they leave out is a [`Cut`].

mod queues;
mod red;
mod sketch;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use model::{Signal, TimeRange};
use query_api::{Cut, ServicesAnswer};
use storage::{Error, ScanOrder, ScanStats, Snapshot};

use crate::columns::{LogColumns, SpanColumns};
use crate::limits::Cancel;
use crate::reads::{Growth, add_memory_cut, query_stats, read_cuts};
use queues::Queues;
use red::Services;

/// Services that are told apart.
pub const SERVICES_MAX: usize = 2_000;
/// Queues that are told apart.
pub const QUEUES_MAX: usize = 2_000;
/// Messages that are followed from producer to consumer.
pub const MESSAGES_MAX: usize = 1_000_000;
/// Columns of a sparkline.
pub const STEPS: usize = 24;

/// The overview of `range`. Blocking. `stats.elapsed_nano` is left 0 for the caller, who holds the
/// clock.
///
/// # Errors
/// When the store cannot be read.
pub fn overview(snapshot: &Snapshot, range: TimeRange, cancel: &Cancel) -> Result<ServicesAnswer, Error> {
    let mut stats = ScanStats::default();
    let mut services = Services::new(range);
    let mut queues = Queues::default();
    let mut held = Growth::new(snapshot);
    snapshot.scan(Signal::Traces, &range, SpanColumns::NAMES, ScanOrder::Any, &mut stats, &mut |batch| {
        let rows = SpanColumns::new(batch);
        for row in 0..rows.len() {
            services.add_span(&rows, row);
            queues.add_span(&rows, row);
        }
        held.to(services.bytes() + queues.bytes())?;
        cancel.flow()
    })?;
    snapshot.scan(Signal::Logs, &range, LogColumns::NAMES, ScanOrder::Any, &mut stats, &mut |batch| {
        let rows = LogColumns::new(batch);
        (0..rows.len()).for_each(|row| services.add_log(&rows, row));
        held.to(services.bytes() + queues.bytes())?;
        cancel.flow()
    })?;

    let now = snapshot.taken_at().min(range.to);
    let mut cuts = read_cuts(&stats);
    add_memory_cut(&mut cuts, snapshot);
    cuts.extend(cut(
        services.left_out,
        "spans and log records of further services",
        "services_max",
        SERVICES_MAX,
    ));
    cuts.extend(cut(queues.left_out, "messages of further queues", "queues_max", QUEUES_MAX));
    cuts.extend(cut(
        queues.not_followed,
        "messages not followed to their consumers",
        "messages_max",
        MESSAGES_MAX,
    ));
    let step_nano = services.step_nano();
    let mut services = services.finish(now);
    services.sort_by(|a, b| {
        let key = |row: &query_api::ServiceRow| {
            (Reverse(row.health), Reverse(Total(row.error_ratio)), Reverse(Total(row.rate)))
        };
        key(a).cmp(&key(b)).then_with(|| a.service.cmp(&b.service))
    });
    let mut queues = queues.finish(range, now);
    queues.sort_by(|a, b| {
        let key = |row: &query_api::QueueRow| (Reverse(row.health), Reverse(row.pending));
        key(a).cmp(&key(b)).then_with(|| a.destination.cmp(&b.destination))
    });
    Ok(ServicesAnswer { range, step_nano, services, queues, cuts, stats: query_stats(&stats) })
}

fn cut(count: u64, what: &str, limit: &str, maximum: usize) -> Option<Cut> {
    (count > 0).then(|| Cut {
        what: format!("{count} {what} (the limit is {maximum})"),
        limit: limit.to_owned(),
        hint: Some("narrow the time range".to_owned()),
    })
}

/// Numbers in their total order.
#[derive(PartialEq)]
struct Total(f64);

impl Eq for Total {}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
