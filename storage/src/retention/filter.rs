//! Which rows of a segment outlive an age.
//!
//! Owns: how long one row lives, by what it is. Does not own: when a segment is looked at (`plan`).

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::Int32Type;
use memchr::memmem::Finder;
use model::otlp::value::push_json_string;
use model::{Signal, TimeRange};

use super::Keep;
use crate::compaction::merge::Filter;
use crate::error::{Context as _, Error, ErrorKind};
use crate::segment::SegmentMeta;
use crate::snapshot::{ScanOrder, ScanStats};
use crate::store::Store;
use crate::window::WINDOW_NANO;

/// The lowest severity number of OpenTelemetry's level `ERROR`.
const ERROR_SEVERITY: i32 = 17;

/// The columns, as segments store them, that say how long a row lives.
pub(super) const fn columns(signal: Signal) -> &'static [&'static str] {
    match signal {
        Signal::Traces => &["trace_id", "resource_attributes"],
        Signal::Logs => &["severity_number", "resource_attributes"],
        Signal::Metrics => &["labels"],
    }
}

/// Rows that live longer than `past`, of stored rows in the layout of a new segment.
pub(super) async fn living_past(
    store: &Arc<Store>,
    segment: &SegmentMeta,
    past: Duration,
) -> Result<Arc<Filter>, Error> {
    let signal = segment.signal;
    let keep = store.shared().settings.retention.of(signal);
    let failed = match signal {
        Signal::Traces if keep.errors_age.is_some() => failed_traces(store, segment).await?,
        Signal::Traces | Signal::Logs | Signal::Metrics => HashSet::new(),
    };
    let rules =
        keep.rules.iter().map(|rule| (member(&rule.attribute, &rule.value), outlives(rule.age, past)));
    let rules: Vec<(Vec<u8>, bool)> = rules.collect();
    let (others_stay, errors_stay) = (outlives(keep.age, past), keep.errors_stay(past));
    Ok(Arc::new(move |rows: &RecordBatch| {
        let mut stays = stays_by_rule(signal, rows, &rules, others_stay);
        if errors_stay {
            let is_error = errors(signal, rows, &failed);
            stays.iter_mut().zip(is_error).for_each(|(stays, is_error)| *stays |= is_error);
        }
        stays.into()
    }))
}

fn outlives(age: Option<Duration>, past: Duration) -> bool {
    age.is_none_or(|age| age > past)
}

impl Keep {
    fn errors_stay(&self, past: Duration) -> bool {
        self.errors_age.is_some_and(|age| age > past)
    }
}

/// A pair as it stands in an object of texts: a quote within a text has a backslash before it, so that this stands
/// nowhere else.
fn member(key: &str, value: &str) -> Vec<u8> {
    let mut text = String::new();
    push_json_string(key, &mut text);
    text.push(':');
    push_json_string(value, &mut text);
    text.into_bytes()
}

/// By the first rule whose pair the resource (of points, the labels) has, else as others.
fn stays_by_rule(
    signal: Signal,
    rows: &RecordBatch,
    rules: &[(Vec<u8>, bool)],
    others_stay: bool,
) -> Vec<bool> {
    if rules.is_empty() {
        return vec![others_stay; rows.num_rows()];
    }
    let name = if signal == Signal::Metrics { "labels" } else { "resource_attributes" };
    let objects = rows.column_by_name(name).expect("a column of the layout").as_string::<i32>();
    let rules: Vec<(Finder<'_>, bool)> =
        rules.iter().map(|(pair, stays)| (Finder::new(pair), *stays)).collect();
    // Neighbours have mostly the same.
    let mut last: Option<(&str, bool)> = None;
    (0..objects.len())
        .map(|row| {
            let object = objects.value(row);
            if let Some((_, stays)) = last.filter(|(known, _)| *known == object) {
                return stays;
            }
            let rule = rules.iter().find(|(pair, _)| pair.find(object.as_bytes()).is_some());
            let stays = rule.map_or(others_stay, |(_, stays)| *stays);
            last = Some((object, stays));
            stays
        })
        .collect()
}

fn errors(signal: Signal, rows: &RecordBatch, failed: &HashSet<[u8; 16]>) -> Vec<bool> {
    let column = |name: &str| rows.column_by_name(name).expect("a column of the layout");
    match signal {
        Signal::Traces => {
            let ids = column("trace_id").as_fixed_size_binary();
            (0..ids.len()).map(|row| failed.contains(ids.value(row))).collect()
        }
        Signal::Logs => {
            let severity = column("severity_number").as_primitive::<Int32Type>();
            severity.values().iter().map(|number| *number >= ERROR_SEVERITY).collect()
        }
        Signal::Metrics => vec![false; rows.num_rows()],
    }
}

/// Traces in which a span has failed, of those that have spans in the segment.
async fn failed_traces(store: &Arc<Store>, segment: &SegmentMeta) -> Result<HashSet<[u8; 16]>, Error> {
    let snapshot = store.snapshot();
    // A trace may have begun in the window before or end in the one after.
    let range =
        TimeRange { from: segment.time.from.plus(-WINDOW_NANO), to: segment.time.to.plus(WINDOW_NANO) };
    let traces = tokio::task::spawn_blocking(move || {
        let mut traces: HashSet<[u8; 16]> = HashSet::new();
        let mut stats = ScanStats::default();
        let mut visit = |rows: &RecordBatch| {
            let ids = rows.column_by_name("trace_id").expect("asked for").as_fixed_size_binary();
            let status = rows.column_by_name("status").expect("asked for").as_string::<i32>();
            for row in (0..rows.num_rows()).filter(|row| status.value(*row) == "error") {
                traces.extend(<[u8; 16]>::try_from(ids.value(row)));
            }
            ControlFlow::Continue(())
        };
        let columns = ["trace_id", "status"];
        snapshot.scan(Signal::Traces, &range, &columns, ScanOrder::Any, &mut stats, &mut visit)?;
        if stats.segments_unreadable > 0 {
            return Err(Error::damaged("retention waits: a segment that may tell of errors cannot be read"));
        }
        Ok(traces)
    });
    traces.await.context(ErrorKind::Internal, || "finding failed traces".to_owned())?
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, StringArray};

    use super::*;

    #[test]
    fn a_pair_is_found_as_a_pair_only() {
        let objects = [
            r#"{"tenant.id":"acme"}"#,
            r#"{"a":"1","tenant.id":"acme","b":"2"}"#,
            r#"{"tenant.id":"acme2"}"#,
            r#"{"my.tenant.id":"acme"}"#,
            r#"{"a":"tenant.id","b":"acme"}"#,
            r#"{"a":"\"tenant.id\":\"acme\""}"#,
            r#"{}"#,
        ];
        let column: ArrayRef = Arc::new(StringArray::from_iter_values(objects));
        let rows = RecordBatch::try_from_iter([("resource_attributes", column)]).expect("one column");
        let stays = stays_by_rule(Signal::Logs, &rows, &[(member("tenant.id", "acme"), true)], false);
        assert_eq!(stays, [true, true, false, false, false, false, false]);
    }
}
