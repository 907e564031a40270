//! One row of `logs` as the API's record.

use model::Severity;
use query_api::LogRecord;
use storage::rows::LogRows;

use crate::search::severity_of;

/// The record of a row.
pub(super) fn record(rows: &LogRows<'_>, row: usize) -> LogRecord {
    let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    LogRecord {
        time: rows.time(row),
        service: rows.service(row).to_owned(),
        severity_number: rows.severity_number(row),
        severity: severity_name(rows.severity_number(row), rows.severity_text(row)).to_owned(),
        body: rows.body(row).to_owned(),
        trace_id: rows.trace_id(row),
        span_id: rows.span_id(row),
        ids: rows.ids(row).filter_map(|term| term.parse().ok()).collect(),
        attributes: rows.attributes(row).map(text).collect(),
        resource: rows.resource_attributes(row).map(text).collect(),
    }
}

/// The level as written, else the name of the number's range, else nothing.
pub(super) fn severity_name(number: i32, text: &str) -> &str {
    match text.is_empty() {
        false => text,
        true => Severity::from_number(number).map_or("", Severity::name),
    }
}

/// The level's common name, whatever it was written as; `UNSPECIFIED` when nothing is known.
pub(super) fn level(number: i32, text: &str) -> &'static str {
    let severity = severity_of(number, text).and_then(Severity::from_number);
    severity.map_or("UNSPECIFIED", Severity::name)
}

/// Bytes a record holds, roughly.
pub(super) fn bytes(record: &LogRecord) -> usize {
    let pairs = record.attributes.iter().chain(&record.resource);
    let pairs: usize = pairs.map(|(key, value)| key.len() + value.len() + 64).sum();
    let ids: usize = record.ids.iter().map(|id| id.kind.len() + id.value.len() + 48).sum();
    size_of::<LogRecord>() + record.body.len() + record.service.len() + record.severity.len() + pairs + ids
}
