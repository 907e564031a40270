//! Rows of the `logs` table.

use arrow::array::{
    AsArray as _, FixedSizeBinaryArray, Int32Array, ListArray, MapArray, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::Int32Type;
use model::{SpanId, TraceId, UnixNano};

use super::{MapColumn, binary, column, items, maps, pairs, span_at, text, times, trace_at};

/// Rows of `logs`.
#[derive(Debug)]
pub struct LogRows<'a> {
    time: &'a TimestampNanosecondArray,
    service: &'a StringArray,
    severity_number: &'a Int32Array,
    severity_text: &'a StringArray,
    body: &'a StringArray,
    trace_id: &'a FixedSizeBinaryArray,
    span_id: &'a FixedSizeBinaryArray,
    ids: &'a ListArray,
    event_name: &'a StringArray,
    attributes: &'a MapArray,
    resource_attributes: MapColumn<'a>,
}

impl<'a> LogRows<'a> {
    /// Access to a batch with all columns.
    pub fn new(rows: &'a RecordBatch) -> Self {
        Self {
            time: times(rows, "time"),
            service: text(rows, "service"),
            severity_number: column(rows, "severity_number").as_primitive::<Int32Type>(),
            severity_text: text(rows, "severity_text"),
            body: text(rows, "body"),
            trace_id: binary(rows, "trace_id"),
            span_id: binary(rows, "span_id"),
            ids: column(rows, "ids").as_list(),
            event_name: text(rows, "event_name"),
            attributes: column(rows, "attributes").as_map(),
            resource_attributes: maps(rows, "resource_attributes"),
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.time.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When it happened, or was observed when the source did not say.
    pub fn time(&self, row: usize) -> UnixNano {
        UnixNano(self.time.value(row))
    }

    /// `service.name` of the resource.
    pub fn service(&self, row: usize) -> &'a str {
        self.service.value(row)
    }

    /// 1–24, 0 when unspecified.
    pub fn severity_number(&self, row: usize) -> i32 {
        self.severity_number.value(row)
    }

    /// The level as written.
    pub fn severity_text(&self, row: usize) -> &'a str {
        self.severity_text.value(row)
    }

    /// The body as text.
    pub fn body(&self, row: usize) -> &'a str {
        self.body.value(row)
    }

    /// The trace it belongs to.
    pub fn trace_id(&self, row: usize) -> Option<TraceId> {
        trace_at(self.trace_id, row)
    }

    /// The span it belongs to.
    pub fn span_id(&self, row: usize) -> Option<SpanId> {
        span_at(self.span_id, row)
    }

    /// Ids found in it, as `kind=value`.
    pub fn ids(&self, row: usize) -> impl Iterator<Item = &'a str> + use<'a> {
        items(self.ids, row)
    }

    /// Name of the event, empty for ordinary records.
    pub fn event_name(&self, row: usize) -> &'a str {
        self.event_name.value(row)
    }

    /// Attributes of the record.
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
}
