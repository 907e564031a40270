//! Where an id is: the messages it travelled in, and how far each consumer group is with them.
//!
//! Owns: `GET /api/v1/where`. Does not own: the header tap that records messages and offsets
//! (`collector::receiver::kafka_tap`), the ids in them (`model::ids`).
//!
//! ```text
//! id ─► log records of the tap, producer spans ─► messages: topic/partition@offset
//!       consumer spans of the same message      ─► consumed, at an instant
//!       kafka_consumer_group_offset over time   ─► passed between two looks, or not consumed with its lag
//! ```
//!
//! Invariant: a group is said to have passed a message only when it committed an offset beyond it; a span
//! that consumed it tells more and wins.

mod messages;
mod progress;
#[cfg(test)]
mod tests;

use model::{IdRules, TimeRange};
use query_api::{Cut, Text, WhereAnswer};
use storage::{Place, Snapshot};

use crate::journey::Error;
use crate::journey::records::{Records as _, StoreRecords};
use crate::limits::Cancel;
use crate::promql::PromqlError;
use crate::reads::{add_memory_cut, query_stats, read_cuts};

/// Messages of one answer; the newest are kept.
const MESSAGES_MAX: usize = 50;
/// Groups of records (a trace within a minute, or one record) that are read of one id.
const GROUPS_MAX: usize = 2_000;
/// Rows of either sort that are looked at.
const ROWS_MAX: usize = 50_000;

/// Where the messages of `id` are. Blocking: call off the async threads.
///
/// `stats.elapsed_nano` is left 0 for the caller, who holds the clock.
///
/// # Errors
/// [`Error::NotFound`] when nothing carries the id, [`Error::Store`] when reading fails.
pub fn find(
    snapshot: &Snapshot,
    ids: &IdRules,
    id: &str,
    range: TimeRange,
    cancel: &Cancel,
) -> Result<WhereAnswer, Error> {
    let asked = ids.candidates(id);
    let texts: Vec<String> = asked.iter().map(ToString::to_string).collect();
    let mut records = StoreRecords::new(snapshot, range).until(cancel);
    records.limit_groups(Some(GROUPS_MAX));
    let (mut logs, mut spans) = (First::default(), First::default());
    records.logs(&texts, &mut |place, _| logs.add(place)).map_err(Error::Store)?;
    records.spans(&texts, &mut |place, _| spans.add(place)).map_err(Error::Store)?;
    let left_out = records.limit_groups(None);
    let mut cuts = Vec::new();
    let (logs_cut, spans_cut) = (logs.is_cut, spans.is_cut);
    let logs = records.read_logs(&logs.places).map_err(Error::Store)?;
    let spans = records.read_spans(&spans.places).map_err(Error::Store)?;
    if left_out > 0 || logs_cut || spans_cut {
        cuts.push(Cut {
            what: format!("the newest {GROUPS_MAX} groups of records with this id were looked at"),
            limit: "groups".to_owned(),
            hint: Some(
                "ask for a shorter time range, or for one message: kafka_record=orders/3@88123".to_owned(),
            ),
        });
    }
    let names = |ids: &[Text], text: &str| ids.iter().any(|id| id == text);
    let carries = |ids: &[Text]| ids.iter().any(|id| texts.iter().any(|text| id == text));
    let matched = asked.into_iter().filter(|term| {
        let text = term.to_string();
        let is_trace = |trace: Option<model::TraceId>| trace.is_some() && trace == term.trace_id();
        spans.iter().any(|span| names(&span.ids, &text) || is_trace(Some(span.trace_id)))
            || logs.iter().any(|log| names(&log.ids, &text) || is_trace(log.trace_id))
    });
    let matched: Vec<_> = matched.collect();
    if matched.is_empty() {
        return Err(Error::nothing(records.refusal(), ids.candidates(id), range));
    }
    let traces: Vec<_> = matched.iter().filter_map(model::IdTerm::trace_id).collect();
    let mut messages = messages::of(&logs, &spans, &|ids, trace| {
        carries(ids) || trace.is_some_and(|trace| traces.contains(&trace))
    });
    if messages.len() > MESSAGES_MAX {
        let older = messages.len() - MESSAGES_MAX;
        messages.drain(..older);
        cuts.push(Cut {
            what: format!("the newest {MESSAGES_MAX} messages are shown, {older} older ones are not"),
            limit: "messages".to_owned(),
            hint: Some("ask for a shorter time range".to_owned()),
        });
    }
    messages::consume(&mut records, &mut messages).map_err(Error::Store)?;
    progress::add(snapshot, &mut messages, range, cancel).map_err(not_read)?;
    cuts.extend(read_cuts(records.stats()));
    add_memory_cut(&mut cuts, snapshot);
    let messages = messages.into_iter().map(|message| message.answer).collect();
    let stats = query_stats(records.stats());
    Ok(WhereAnswer { id: id.trim().to_owned(), matched, range, messages, cuts, stats })
}

/// The first rows of a lookup.
#[derive(Default)]
struct First {
    places: Vec<Place>,
    is_cut: bool,
}

impl First {
    fn add(&mut self, place: Place) {
        match self.places.len() < ROWS_MAX {
            true => self.places.push(place),
            false => self.is_cut = true,
        }
    }
}

fn not_read(error: PromqlError) -> Error {
    Error::Offsets(error.to_string())
}
