//! Rows of the `spans` table.

use arrow::array::{
    Array as _, AsArray as _, FixedSizeBinaryArray, Int64Array, ListArray, MapArray, RecordBatch,
    StringArray, StructArray, TimestampNanosecondArray,
};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use model::{SpanId, TraceId, UnixNano};

use super::{MapColumn, binary, column, items, maps, pairs, range_of, span_at, text, times, trace_at};

/// One event of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// When.
    pub time: UnixNano,
    /// What.
    pub name: &'a str,
    /// Its attributes.
    pub attributes: Vec<(&'a str, &'a str)>,
}

/// Rows of `spans`.
#[derive(Debug)]
pub struct SpanRows<'a> {
    trace_id: &'a FixedSizeBinaryArray,
    span_id: &'a FixedSizeBinaryArray,
    parent_span_id: &'a FixedSizeBinaryArray,
    service: &'a StringArray,
    name: &'a StringArray,
    kind: &'a StringArray,
    start_time: &'a TimestampNanosecondArray,
    duration_nano: &'a Int64Array,
    status: &'a StringArray,
    status_message: &'a StringArray,
    ids: &'a ListArray,
    attributes: &'a MapArray,
    resource_attributes: MapColumn<'a>,
    scope: &'a StringArray,
    events: &'a ListArray,
    links: &'a ListArray,
}

impl<'a> SpanRows<'a> {
    /// Access to a batch with all columns.
    pub fn new(rows: &'a RecordBatch) -> Self {
        Self {
            trace_id: binary(rows, "trace_id"),
            span_id: binary(rows, "span_id"),
            parent_span_id: binary(rows, "parent_span_id"),
            service: text(rows, "service"),
            name: text(rows, "name"),
            kind: text(rows, "kind"),
            start_time: times(rows, "start_time"),
            duration_nano: column(rows, "duration_nano").as_primitive::<Int64Type>(),
            status: text(rows, "status"),
            status_message: text(rows, "status_message"),
            ids: column(rows, "ids").as_list(),
            attributes: column(rows, "attributes").as_map(),
            resource_attributes: maps(rows, "resource_attributes"),
            scope: text(rows, "scope"),
            events: column(rows, "events").as_list(),
            links: column(rows, "links").as_list(),
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.trace_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The trace.
    pub fn trace_id(&self, row: usize) -> TraceId {
        TraceId::from_bytes(self.trace_id.value(row)).unwrap_or(TraceId([0; 16]))
    }

    /// The span.
    pub fn span_id(&self, row: usize) -> SpanId {
        SpanId::from_bytes(self.span_id.value(row)).unwrap_or(SpanId([0; 8]))
    }

    /// The parent; `None` for a root.
    pub fn parent_span_id(&self, row: usize) -> Option<SpanId> {
        span_at(self.parent_span_id, row)
    }

    /// `service.name` of the resource.
    pub fn service(&self, row: usize) -> &'a str {
        self.service.value(row)
    }

    /// Operation name.
    pub fn name(&self, row: usize) -> &'a str {
        self.name.value(row)
    }

    /// `server`, `client`, `producer`, `consumer`, `internal` or `unspecified`.
    pub fn kind(&self, row: usize) -> &'a str {
        self.kind.value(row)
    }

    /// When the span began.
    pub fn start_time(&self, row: usize) -> UnixNano {
        UnixNano(self.start_time.value(row))
    }

    /// How long it took.
    pub fn duration_nano(&self, row: usize) -> i64 {
        self.duration_nano.value(row)
    }

    /// `unset`, `ok` or `error`.
    pub fn status(&self, row: usize) -> &'a str {
        self.status.value(row)
    }

    /// Message of the status, empty when there is none.
    pub fn status_message(&self, row: usize) -> &'a str {
        self.status_message.value(row)
    }

    /// Ids found in the span, as `kind=value`.
    pub fn ids(&self, row: usize) -> impl Iterator<Item = &'a str> + use<'a> {
        items(self.ids, row)
    }

    /// Attributes of the span.
    pub fn attributes(&self, row: usize) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        pairs(self.attributes, row)
    }

    /// Attributes of its resource.
    pub fn resource_attributes(
        &self,
        row: usize,
    ) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        self.resource_attributes.pairs(row)
    }

    /// Name of its instrumentation scope.
    pub fn scope(&self, row: usize) -> &'a str {
        self.scope.value(row)
    }

    /// Its events.
    pub fn events(&self, row: usize) -> Vec<Event<'a>> {
        let events: &'a StructArray = self.events.values().as_struct();
        let times = events.column(0).as_primitive::<TimestampNanosecondType>();
        let names: &'a StringArray = events.column(1).as_string();
        let attributes = events.column(2).as_map();
        range_of(self.events.offsets(), row)
            .map(|at| Event {
                time: UnixNano(times.value(at)),
                name: names.value(at),
                attributes: pairs(attributes, at).collect(),
            })
            .collect()
    }

    /// The spans it links to.
    pub fn links(&self, row: usize) -> impl Iterator<Item = (TraceId, SpanId)> + use<'a> {
        let links: &'a StructArray = self.links.values().as_struct();
        let traces = links.column(0).as_fixed_size_binary();
        let spans = links.column(1).as_fixed_size_binary();
        range_of(self.links.offsets(), row).filter_map(|at| trace_at(traces, at).zip(span_at(spans, at)))
    }
}
