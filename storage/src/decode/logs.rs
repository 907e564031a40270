//! Rows of the `logs` table.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Int32Builder, ListBuilder, RecordBatch, StringBuilder,
    TimestampNanosecondBuilder,
};
use model::ids::{IdTerms, Place};
use model::otlp::{AnyValue, LogRecordView, attributes};
use model::wire::Repeated;
use model::{Severity, Signal, UnixNano};

use super::columns::{self, TextMapBuilder, append_attributes, append_id, append_ids, cut};
use super::{Context, Outcome, RowBuilder, VALUE_BYTES_MAX, believable};

pub(super) struct LogBuilder {
    time: TimestampNanosecondBuilder,
    observed_time: TimestampNanosecondBuilder,
    service: StringBuilder,
    severity_number: Int32Builder,
    severity_text: StringBuilder,
    body: StringBuilder,
    trace_id: FixedSizeBinaryBuilder,
    span_id: FixedSizeBinaryBuilder,
    ids: ListBuilder<StringBuilder>,
    event_name: StringBuilder,
    attributes: TextMapBuilder,
    resource_attributes: TextMapBuilder,
    scope: StringBuilder,
    scratch: String,
}

impl Default for LogBuilder {
    fn default() -> Self {
        Self {
            time: columns::timestamps(),
            observed_time: columns::timestamps(),
            service: StringBuilder::new(),
            severity_number: Int32Builder::new(),
            severity_text: StringBuilder::new(),
            body: StringBuilder::new(),
            trace_id: FixedSizeBinaryBuilder::new(16),
            span_id: FixedSizeBinaryBuilder::new(8),
            ids: columns::id_list(),
            event_name: StringBuilder::new(),
            attributes: columns::text_map(),
            resource_attributes: columns::text_map(),
            scope: StringBuilder::new(),
            scratch: String::new(),
        }
    }
}

impl RowBuilder for LogBuilder {
    fn push(&mut self, context: &Context<'_>, found: &mut IdTerms, leaf: &[u8]) -> Outcome {
        let record = match LogRecordView::parse(leaf) {
            Ok(record) => record,
            Err(error) => return Outcome::rejected(format!("a log record is malformed: {error}")),
        };
        let observed = if record.observed_time.0 > 0 { record.observed_time } else { context.received_at };
        let time = if record.time.0 > 0 { record.time } else { observed };
        let (time, clamped) = believable(time, context.received_at);
        self.append_body(&record, context, found);
        self.time.append_value(time.0);
        self.observed_time.append_value(observed.0);
        self.service.append_value(context.service);
        self.severity_number.append_value(severity_number(&record));
        self.severity_text.append_value(cut(record.severity_text, 64));
        append_id(&mut self.trace_id, record.trace_id.as_ref().map(|id| id.as_bytes()));
        append_id(&mut self.span_id, record.span_id.as_ref().map(|id| id.as_bytes()));
        append_ids(&mut self.ids, found);
        self.event_name.append_value(record.event_name);
        self.append_attributes(&record, context, clamped);
        self.scope.append_value(context.scope.name);
        Outcome::ACCEPTED
    }

    fn finish(mut self: Box<Self>) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.time.finish()),
            Arc::new(self.observed_time.finish()),
            Arc::new(self.service.finish()),
            Arc::new(self.severity_number.finish()),
            Arc::new(self.severity_text.finish()),
            Arc::new(self.body.finish()),
            Arc::new(self.trace_id.finish()),
            Arc::new(self.span_id.finish()),
            Arc::new(self.ids.finish()),
            Arc::new(self.event_name.finish()),
            Arc::new(self.attributes.finish()),
            Arc::new(self.resource_attributes.finish()),
            Arc::new(self.scope.finish()),
        ];
        columns::batch(Signal::Logs, columns)
    }
}

impl LogBuilder {
    /// The body as text, with its ids: a map body counts as attributes, a text body is searched.
    fn append_body(&mut self, record: &LogRecordView<'_>, context: &Context<'_>, found: &mut IdTerms) {
        found.begin(record.trace_id);
        self.scratch.clear();
        record.body.push_text(&mut self.scratch);
        let body = cut(&self.scratch, VALUE_BYTES_MAX);
        let mapped = match record.body {
            AnyValue::KvList(bytes) => Repeated::new(bytes, 1),
            _ => Repeated::new(&[], 1),
        };
        let mut look = |place, repeated| {
            for attribute in attributes(repeated) {
                context.ids.on_attribute(place, attribute.key, &attribute.value, found);
            }
        };
        look(Place::Resource, context.resource.resource);
        look(Place::Scope, context.scope.attributes);
        look(Place::Log, record.attributes);
        look(Place::Log, mapped);
        context.ids.on_body(body, found);
        context.ids.finish(found);
        self.body.append_value(body);
    }

    fn append_attributes(
        &mut self,
        record: &LogRecordView<'_>,
        context: &Context<'_>,
        clamped: Option<UnixNano>,
    ) {
        let clamped = clamped.map(|time| time.to_string());
        let extra = clamped.as_deref().map(|time| ("silmari.time_clamped", time));
        append_attributes(&mut self.attributes, record.attributes, extra.as_slice(), &mut self.scratch);
        append_attributes(&mut self.resource_attributes, context.resource.resource, &[], &mut self.scratch);
    }
}

/// The number, or what the level's word means when the sender set no number.
fn severity_number(record: &LogRecordView<'_>) -> i32 {
    match record.severity_number {
        1..=24 => record.severity_number,
        _ => Severity::from_word(record.severity_text).map_or(0, Severity::number),
    }
}
