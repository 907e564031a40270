//! Rows of the `logs` table.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use model::ids::{IdTerms, Place};
use model::otlp::{AnyValue, LogRecordView, ResourceGroup, attributes};
use model::wire::Repeated;
use model::{Severity, Signal};

use super::columns::{self, Block, Blocks, Ids, Pairs, TextLists, Texts, cut};
use super::{ATTRIBUTES_MAX, Context, Outcome, RowBuilder, VALUE_BYTES_MAX, believable};

#[derive(Default)]
pub(super) struct LogBuilder {
    time: Vec<i64>,
    observed_time: Vec<i64>,
    service: Texts,
    severity_number: Vec<i32>,
    severity_text: Texts,
    body: Texts,
    trace_id: Ids<16>,
    span_id: Ids<8>,
    ids: TextLists,
    event_name: Texts,
    attributes: Pairs,
    resource_attributes: Blocks,
    scope: Texts,
}

impl RowBuilder for LogBuilder {
    fn reserve(&mut self, records: usize, bytes: usize) {
        self.resource_attributes.reserve(records);
        self.trace_id.reserve(records);
        self.span_id.reserve(records);
        self.time.reserve(records);
        self.observed_time.reserve(records);
        self.severity_number.reserve(records);
        self.ids.reserve(records);
        for texts in [&mut self.service, &mut self.severity_text, &mut self.event_name, &mut self.scope] {
            texts.reserve(records, 8 * records);
        }
        // Of a log record the body is about half.
        self.body.reserve(records, bytes / 2);
        self.attributes.reserve(records, 4 * records, bytes / 6);
    }

    fn begin_resource(&mut self, _: &str, resource: ResourceGroup<'_>) {
        self.resource_attributes.begin(Block::of(resource.resource));
    }

    fn push(&mut self, context: &Context<'_>, found: &mut IdTerms, leaf: &[u8]) -> Outcome {
        let record = match LogRecordView::parse(leaf) {
            Ok(record) => record,
            Err(error) => return Outcome::rejected(format!("a log record is malformed: {error}")),
        };
        let observed = if record.observed_time.0 > 0 { record.observed_time } else { context.received_at };
        let time = if record.time.0 > 0 { record.time } else { observed };
        let (time, clamped) = believable(time, context.received_at);
        self.time.push(time.0);
        self.observed_time.push(observed.0);
        self.service.push(context.service);
        self.severity_number.push(severity_number(&record));
        self.severity_text.push(cut(record.severity_text, 64));
        self.trace_id.push(record.trace_id.as_ref().map(|id| id.as_bytes()));
        self.span_id.push(record.span_id.as_ref().map(|id| id.as_bytes()));
        self.event_name.push(record.event_name);
        self.scope.push(context.scope.name);
        found.begin(record.trace_id);
        context.find_ids_around(found);
        self.push_attributes(context, found, &record);
        if let Some(time) = clamped {
            self.attributes.push_text("silmari.time_clamped", &time.to_string());
        }
        self.attributes.end();
        self.push_body(context, found, &record);
        context.ids.finish(found);
        self.ids.push_ids(found);
        self.resource_attributes.push();
        Outcome::ACCEPTED
    }

    fn finish(self: Box<Self>) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            columns::times(self.time),
            columns::times(self.observed_time),
            self.service.finish(),
            Arc::new(Int32Array::from(self.severity_number)),
            self.severity_text.finish(),
            self.body.finish(),
            self.trace_id.finish(),
            self.span_id.finish(),
            self.ids.finish(),
            self.event_name.finish(),
            self.attributes.finish(),
            self.resource_attributes.finish(),
            self.scope.finish(),
        ];
        columns::batch(Signal::Logs, columns)
    }
}

impl LogBuilder {
    /// Keeps the attributes and looks for ids in them, in one walk.
    fn push_attributes(&mut self, context: &Context<'_>, found: &mut IdTerms, record: &LogRecordView<'_>) {
        for (at, attribute) in attributes(record.attributes).enumerate() {
            if at < ATTRIBUTES_MAX {
                self.attributes.push(attribute.key, &attribute.value);
            }
            context.ids.on_attribute(Place::Log, attribute.key, &attribute.value, found);
        }
    }

    /// The body as text, with its ids: a map body counts as attributes, a text body is searched.
    fn push_body(&mut self, context: &Context<'_>, found: &mut IdTerms, record: &LogRecordView<'_>) {
        if let AnyValue::KvList(bytes) = record.body {
            for attribute in attributes(Repeated::new(bytes, 1)) {
                context.ids.on_attribute(Place::Log, attribute.key, &attribute.value, found);
            }
        }
        self.body.push_with(VALUE_BYTES_MAX, |out| record.body.push_text(out));
        context.ids.on_body(self.body.last(), found);
    }
}

/// The number, or what the level's word means when the sender set no number.
fn severity_number(record: &LogRecordView<'_>) -> i32 {
    match record.severity_number {
        1..=24 => record.severity_number,
        _ => Severity::from_word(record.severity_text).map_or(0, Severity::number),
    }
}
