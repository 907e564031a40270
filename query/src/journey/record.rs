//! One recorded row with all its attributes.
//!
//! Owns: finding it again by what a journey shows of it. Invariant: what is read depends on the trace or the
//! instant, not on the journey.

use model::{Signal, TimeRange, UnixNano};
use query_api::journey::{RowDetail, RowKey};
use query_api::{Attributes, RowKind};
use storage::rows::{LogRows, SpanRows};
use storage::{Finder, Place, ScanOrder, ScanStats, Snapshot};

use super::survey::trace_term;
use crate::limits::Cancel;

/// An event stands at most so long after the start of its span.
const EVENT_DELAY_NANO: i64 = 24 * 3600 * 1_000_000_000;

/// The row that `key` names; `None` when there is no such.
///
/// # Errors
/// When the store cannot be read.
pub fn row(snapshot: &Snapshot, key: &RowKey, cancel: &Cancel) -> Result<Option<RowDetail>, storage::Error> {
    match key.kind {
        RowKind::Log => log(snapshot, key, cancel),
        RowKind::Event => span(snapshot, key, key.time.plus(-EVENT_DELAY_NANO)),
        _ => span(snapshot, key, key.time),
    }
}

fn span(snapshot: &Snapshot, key: &RowKey, from: UnixNano) -> Result<Option<RowDetail>, storage::Error> {
    for part in of_trace(snapshot, Signal::Traces, key, TimeRange { from, to: key.time })? {
        let rows = SpanRows::new(&part.batch);
        let here = part.rows.iter().map(|row| *row as usize);
        for row in here.filter(|row| Some(rows.span_id(*row)) == key.span_id) {
            let attributes = match key.kind {
                RowKind::Event => {
                    let is_it = |event: &storage::rows::Event<'_>| {
                        event.time == key.time && event.name.starts_with(&key.name)
                    };
                    let Some(event) = rows.events(row).into_iter().find(is_it) else { continue };
                    owned(event.attributes.into_iter())
                }
                _ => owned(rows.attributes(row)),
            };
            let ids = rows.ids(row).filter_map(|id| id.parse().ok()).collect();
            return Ok(Some(RowDetail { attributes, resource: owned(rows.resource_attributes(row)), ids }));
        }
    }
    Ok(None)
}

fn log(snapshot: &Snapshot, key: &RowKey, cancel: &Cancel) -> Result<Option<RowDetail>, storage::Error> {
    let range = TimeRange { from: key.time, to: key.time };
    if key.trace_id.is_some() {
        let parts = of_trace(snapshot, Signal::Logs, key, range)?;
        let found = parts.iter().find_map(|part| {
            let rows = LogRows::new(&part.batch);
            part.rows.iter().find_map(|row| detail_of_log(&rows, *row as usize, key))
        });
        return Ok(found);
    }
    let (mut found, mut stats) = (None, ScanStats::default());
    snapshot.scan(Signal::Logs, &range, &[], ScanOrder::Any, &mut stats, &mut |batch| {
        let rows = LogRows::new(batch);
        found = (0..rows.len()).find_map(|row| detail_of_log(&rows, row, key));
        if found.is_some() { std::ops::ControlFlow::Break(()) } else { cancel.flow() }
    })?;
    Ok(found)
}

fn detail_of_log(rows: &LogRows<'_>, row: usize, key: &RowKey) -> Option<RowDetail> {
    let name = if rows.body(row).is_empty() { rows.event_name(row) } else { rows.body(row) };
    let is_it = rows.time(row) == key.time
        && rows.service(row) == key.service
        && rows.trace_id(row) == key.trace_id
        && (key.span_id.is_none() || rows.span_id(row) == key.span_id)
        && name.starts_with(&key.name);
    is_it.then(|| RowDetail {
        attributes: owned(rows.attributes(row)),
        resource: owned(rows.resource_attributes(row)),
        ids: rows.ids(row).filter_map(|id| id.parse().ok()).collect(),
    })
}

/// The rows of the key's trace within a range.
fn of_trace(
    snapshot: &Snapshot,
    signal: Signal,
    key: &RowKey,
    range: TimeRange,
) -> Result<Vec<storage::Rows>, storage::Error> {
    let Some(trace) = key.trace_id else { return Ok(Vec::new()) };
    let mut finder = Finder::new(snapshot, range);
    let mut places: Vec<Place> = Vec::new();
    finder.find(signal, &[trace_term(trace)], &mut |place, heads, row| {
        places.extend((heads.trace_id(row) == Some(trace)).then_some(place));
    })?;
    finder.read(signal, &places, &[])
}

fn owned<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Attributes {
    pairs.collect()
}
