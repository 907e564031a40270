//! Rows of the `spans` table.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Int64Builder, ListBuilder, RecordBatch, StringBuilder, StructBuilder,
    TimestampNanosecondBuilder,
};
use model::Signal;
use model::ids::{IdTerms, Place};
use model::otlp::{SpanView, attributes};

use super::columns::{self, TextMapBuilder, append_attributes, append_id, append_ids};
use super::{Context, Outcome, RowBuilder, believable};

/// Events and links kept per span.
const CHILDREN_MAX: usize = 128;

pub(super) struct SpanBuilder {
    trace_id: FixedSizeBinaryBuilder,
    span_id: FixedSizeBinaryBuilder,
    parent_span_id: FixedSizeBinaryBuilder,
    service: StringBuilder,
    name: StringBuilder,
    kind: StringBuilder,
    start_time: TimestampNanosecondBuilder,
    duration_nano: Int64Builder,
    status: StringBuilder,
    status_message: StringBuilder,
    ids: ListBuilder<StringBuilder>,
    attributes: TextMapBuilder,
    resource_attributes: TextMapBuilder,
    scope: StringBuilder,
    events: ListBuilder<StructBuilder>,
    links: ListBuilder<StructBuilder>,
    scratch: String,
}

impl Default for SpanBuilder {
    fn default() -> Self {
        Self {
            trace_id: FixedSizeBinaryBuilder::new(16),
            span_id: FixedSizeBinaryBuilder::new(8),
            parent_span_id: FixedSizeBinaryBuilder::new(8),
            service: StringBuilder::new(),
            name: StringBuilder::new(),
            kind: StringBuilder::new(),
            start_time: columns::timestamps(),
            duration_nano: Int64Builder::new(),
            status: StringBuilder::new(),
            status_message: StringBuilder::new(),
            ids: columns::id_list(),
            attributes: columns::text_map(),
            resource_attributes: columns::text_map(),
            scope: StringBuilder::new(),
            events: columns::event_list(),
            links: columns::link_list(),
            scratch: String::new(),
        }
    }
}

impl RowBuilder for SpanBuilder {
    fn push(&mut self, context: &Context<'_>, found: &mut IdTerms, leaf: &[u8]) -> Outcome {
        let span = match SpanView::parse(leaf) {
            Ok(span) => span,
            Err(error) => return Outcome::rejected(format!("a span is malformed: {error}")),
        };
        let (Some(trace_id), Some(span_id)) = (span.trace_id, span.span_id) else {
            return Outcome::rejected(format!(
                "span `{}` of service `{}` has no valid trace id and span id (16 and 8 bytes, not all zero)",
                span.name, context.service
            ));
        };
        let (start_time, clamped) = believable(span.start_time, context.received_at);
        find_ids(context, found, &span);
        append_id(&mut self.trace_id, Some(trace_id.as_bytes()));
        append_id(&mut self.span_id, Some(span_id.as_bytes()));
        append_id(&mut self.parent_span_id, span.parent_span_id.as_ref().map(|id| id.as_bytes()));
        self.service.append_value(context.service);
        self.name.append_value(span.name);
        self.kind.append_value(span.kind);
        self.start_time.append_value(start_time.0);
        self.duration_nano.append_value(span.end_time.since(span.start_time).max(0));
        self.status.append_value(span.status);
        self.status_message.append_value(span.status_message);
        append_ids(&mut self.ids, found);
        let clamped = clamped.map(|time| time.to_string());
        let extra = clamped.as_deref().map(|time| ("silmari.time_clamped", time));
        append_attributes(&mut self.attributes, span.attributes, extra.as_slice(), &mut self.scratch);
        append_attributes(&mut self.resource_attributes, context.resource.resource, &[], &mut self.scratch);
        self.scope.append_value(context.scope.name);
        for event in span.events().take(CHILDREN_MAX) {
            columns::append_event(&mut self.events, &event, &mut self.scratch);
        }
        self.events.append(true);
        for link in span.links().take(CHILDREN_MAX) {
            columns::append_link(&mut self.links, &link);
        }
        self.links.append(true);
        Outcome::ACCEPTED
    }

    fn finish(mut self: Box<Self>) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.trace_id.finish()),
            Arc::new(self.span_id.finish()),
            Arc::new(self.parent_span_id.finish()),
            Arc::new(self.service.finish()),
            Arc::new(self.name.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.start_time.finish()),
            Arc::new(self.duration_nano.finish()),
            Arc::new(self.status.finish()),
            Arc::new(self.status_message.finish()),
            Arc::new(self.ids.finish()),
            Arc::new(self.attributes.finish()),
            Arc::new(self.resource_attributes.finish()),
            Arc::new(self.scope.finish()),
            Arc::new(self.events.finish()),
            Arc::new(self.links.finish()),
        ];
        columns::batch(Signal::Traces, columns)
    }
}

fn find_ids(context: &Context<'_>, found: &mut IdTerms, span: &SpanView<'_>) {
    found.begin(span.trace_id);
    let mut look = |place, repeated| {
        for attribute in attributes(repeated) {
            context.ids.on_attribute(place, attribute.key, &attribute.value, found);
        }
    };
    look(Place::Resource, context.resource.resource);
    look(Place::Scope, context.scope.attributes);
    look(Place::Span, span.attributes);
    span.events().for_each(|event| look(Place::Event, event.attributes));
    span.links().for_each(|link| look(Place::Link, link.attributes));
    context.ids.finish(found);
}
