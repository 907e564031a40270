//! Rows of the `spans` table.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListBuilder, RecordBatch, StructBuilder};
use model::Signal;
use model::ids::{IdTerms, Place};
use model::otlp::{ResourceGroup, SpanView, attributes};

use super::columns::{self, Block, Blocks, Ids, Pairs, TextLists, Texts};
use super::{ATTRIBUTES_MAX, Context, Outcome, RowBuilder, believable};
use crate::limits::CHILDREN_MAX;

pub(super) struct SpanBuilder {
    trace_id: Ids<16>,
    span_id: Ids<8>,
    parent_span_id: Ids<8>,
    service: Texts,
    name: Texts,
    kind: Texts,
    start_time: Vec<i64>,
    duration_nano: Vec<i64>,
    status: Texts,
    status_message: Texts,
    ids: TextLists,
    attributes: Pairs,
    resource_attributes: Blocks,
    scope: Texts,
    events: ListBuilder<StructBuilder>,
    links: ListBuilder<StructBuilder>,
    scratch: String,
}

impl Default for SpanBuilder {
    fn default() -> Self {
        Self {
            trace_id: Ids::default(),
            span_id: Ids::default(),
            parent_span_id: Ids::default(),
            service: Texts::default(),
            name: Texts::default(),
            kind: Texts::default(),
            start_time: Vec::new(),
            duration_nano: Vec::new(),
            status: Texts::default(),
            status_message: Texts::default(),
            ids: TextLists::default(),
            attributes: Pairs::default(),
            resource_attributes: Blocks::default(),
            scope: Texts::default(),
            events: columns::event_list(),
            links: columns::link_list(),
            scratch: String::new(),
        }
    }
}

impl RowBuilder for SpanBuilder {
    fn reserve(&mut self, spans: usize, bytes: usize) {
        self.resource_attributes.reserve(spans);
        self.trace_id.reserve(spans);
        self.span_id.reserve(spans);
        self.parent_span_id.reserve(spans);
        self.start_time.reserve(spans);
        self.duration_nano.reserve(spans);
        self.ids.reserve(spans);
        for texts in [
            &mut self.service,
            &mut self.name,
            &mut self.kind,
            &mut self.status,
            &mut self.status_message,
            &mut self.scope,
        ] {
            texts.reserve(spans, 8 * spans);
        }
        // What ids, times and lengths leave of a span are keys and values.
        self.attributes.reserve(spans, 8 * spans, bytes / 3);
    }

    fn begin_resource(&mut self, _: &str, resource: ResourceGroup<'_>) {
        self.resource_attributes.begin(Block::of(resource.resource));
    }

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
        self.trace_id.push(Some(trace_id.as_bytes()));
        self.span_id.push(Some(span_id.as_bytes()));
        self.parent_span_id.push(span.parent_span_id.as_ref().map(|id| id.as_bytes()));
        self.service.push(context.service);
        self.name.push(span.name);
        self.kind.push(span.kind);
        self.start_time.push(start_time.0);
        self.duration_nano.push(span.end_time.since(span.start_time).max(0));
        self.status.push(span.status);
        self.status_message.push(span.status_message);
        self.scope.push(context.scope.name);
        found.begin(span.trace_id);
        context.find_ids_around(found);
        self.push_attributes(context, found, &span);
        if let Some(time) = clamped {
            self.attributes.push_text("silmari.time_clamped", &time.to_string());
        }
        self.attributes.end();
        self.push_children(context, found, &span);
        context.ids.finish(found);
        self.ids.push_ids(found);
        self.resource_attributes.push();
        Outcome::ACCEPTED
    }

    fn finish(mut self: Box<Self>) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            self.trace_id.finish(),
            self.span_id.finish(),
            self.parent_span_id.finish(),
            self.service.finish(),
            self.name.finish(),
            self.kind.finish(),
            columns::times(self.start_time),
            Arc::new(Int64Array::from(self.duration_nano)),
            self.status.finish(),
            self.status_message.finish(),
            self.ids.finish(),
            self.attributes.finish(),
            self.resource_attributes.finish(),
            self.scope.finish(),
            Arc::new(self.events.finish()),
            Arc::new(self.links.finish()),
        ];
        columns::batch(Signal::Traces, columns)
    }
}

impl SpanBuilder {
    /// Keeps the attributes and looks for ids in them, in one walk.
    fn push_attributes(&mut self, context: &Context<'_>, found: &mut IdTerms, span: &SpanView<'_>) {
        for (at, attribute) in attributes(span.attributes).enumerate() {
            if at < ATTRIBUTES_MAX {
                self.attributes.push(attribute.key, &attribute.value);
            }
            context.ids.on_attribute(Place::Span, attribute.key, &attribute.value, found);
        }
    }

    fn push_children(&mut self, context: &Context<'_>, found: &mut IdTerms, span: &SpanView<'_>) {
        for (at, event) in span.events().enumerate() {
            if at < CHILDREN_MAX {
                columns::append_event(&mut self.events, &event, &mut self.scratch);
            }
            for attribute in attributes(event.attributes) {
                context.ids.on_attribute(Place::Event, attribute.key, &attribute.value, found);
            }
        }
        self.events.append(true);
        for (at, link) in span.links().enumerate() {
            if at < CHILDREN_MAX {
                columns::append_link(&mut self.links, &link);
            }
            for attribute in attributes(link.attributes) {
                context.ids.on_attribute(Place::Link, attribute.key, &attribute.value, found);
            }
        }
        self.links.append(true);
    }
}
