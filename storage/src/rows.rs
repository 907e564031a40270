//! Typed access to the rows of a batch: one struct a table, one method a column.
//!
//! Invariant: a batch given here has the columns of [`crate::schema`]; one that has not is a defect of
//! ours and panics with the column's name.

use std::sync::Arc;

use arrow::array::{
    Array, AsArray, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array, ListArray, MapArray,
    RecordBatch, RecordBatchOptions, StringArray, StructArray, TimestampNanosecondArray, UInt64Array,
    new_null_array,
};
use arrow::datatypes::{
    Field, Float64Type, Int32Type, Int64Type, Schema, TimestampNanosecondType, UInt64Type,
};
use model::{Signal, SpanId, TimeRange, TraceId, UnixNano};

use crate::schema::{EXEMPLARS, schema, time_column};

mod terms;

pub(crate) use terms::{
    RowTerms, TermColumns, Wanted, carrying, has_exemplars, row_term_hashes, row_terms_max, term_hash,
    trace_hash,
};

pub use model::ids::LINK;

/// A batch with all columns of its table; those that were not read are empty. Others are left out.
pub fn completed(signal: Signal, rows: &RecordBatch) -> RecordBatch {
    let schema = schema(signal);
    let column = |field: &Arc<Field>| match rows.column_by_name(field.name()) {
        Some(column) => Arc::clone(column),
        None => new_null_array(field.data_type(), rows.num_rows()),
    };
    let columns = schema.fields().iter().map(column).collect();
    // Empty, which a column of the table may not be allowed to be.
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let count = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &count).expect("columns of the table")
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> &'a dyn Array {
    rows.column_by_name(name).unwrap_or_else(|| panic!("a batch without the column `{name}`")).as_ref()
}

fn text<'a>(rows: &'a RecordBatch, name: &str) -> &'a StringArray {
    column(rows, name).as_string()
}

fn times<'a>(rows: &'a RecordBatch, name: &str) -> &'a TimestampNanosecondArray {
    column(rows, name).as_primitive::<TimestampNanosecondType>()
}

fn binary<'a>(rows: &'a RecordBatch, name: &str) -> &'a FixedSizeBinaryArray {
    column(rows, name).as_fixed_size_binary()
}

fn trace_at(ids: &FixedSizeBinaryArray, row: usize) -> Option<TraceId> {
    ids.is_valid(row).then(|| TraceId::from_bytes(ids.value(row))).flatten()
}

fn span_at(ids: &FixedSizeBinaryArray, row: usize) -> Option<SpanId> {
    ids.is_valid(row).then(|| SpanId::from_bytes(ids.value(row))).flatten()
}

/// Where the items of one row of a list or map stand.
pub(crate) fn range_of(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

/// The pairs of one row of a text map.
fn pairs(map: &MapArray, row: usize) -> impl Iterator<Item = (&str, &str)> + Clone {
    let keys: &StringArray = map.keys().as_string();
    let values: &StringArray = map.values().as_string();
    range_of(map.offsets(), row).map(move |at| (keys.value(at), values.value(at)))
}

/// The strings of one row of a text list.
fn items(list: &ListArray, row: usize) -> impl Iterator<Item = &str> {
    let values: &StringArray = list.values().as_string();
    range_of(list.offsets(), row).map(move |at| values.value(at))
}

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

/// One measurement behind a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar<'a> {
    /// When it was taken.
    pub time: UnixNano,
    /// What was measured.
    pub value: f64,
    /// The trace in which it was taken.
    pub trace_id: Option<TraceId>,
    /// The span in which it was taken.
    pub span_id: Option<SpanId>,
    /// What its point's labels do not say.
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
    resource_attributes: &'a MapArray,
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
            resource_attributes: column(rows, "resource_attributes").as_map(),
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
        pairs(self.resource_attributes, row)
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

/// What decides whether a row is wanted: its trace, time, ids and links.
#[derive(Debug)]
pub struct RowHeads<'a> {
    trace_id: &'a FixedSizeBinaryArray,
    time: &'a TimestampNanosecondArray,
    ids: &'a ListArray,
    links: Option<&'a ListArray>,
}

impl<'a> RowHeads<'a> {
    /// The columns it is made of.
    pub(crate) const fn columns(signal: Signal) -> &'static [&'static str] {
        match signal {
            Signal::Traces => &["trace_id", "start_time", "ids", "links"],
            Signal::Logs | Signal::Metrics => &["trace_id", "time", "ids"],
        }
    }

    /// `None` for signals whose rows carry no ids.
    pub(crate) fn new(signal: Signal, rows: &'a RecordBatch) -> Option<Self> {
        if signal == Signal::Metrics {
            return None;
        }
        let links = (signal == Signal::Traces).then(|| column(rows, "links").as_list());
        let (trace_id, ids) = (binary(rows, "trace_id"), column(rows, "ids").as_list());
        Some(Self { trace_id, time: times(rows, time_column(signal)), ids, links })
    }

    /// The trace it belongs to.
    pub fn trace_id(&self, row: usize) -> Option<TraceId> {
        trace_at(self.trace_id, row)
    }

    /// When it began or happened.
    pub fn time(&self, row: usize) -> UnixNano {
        UnixNano(self.time.value(row))
    }

    /// Ids found in it, as `kind=value`.
    pub fn ids(&self, row: usize) -> impl Iterator<Item = &'a str> + use<'a> {
        items(self.ids, row)
    }

    /// The traces it links to.
    pub fn links(&self, row: usize) -> impl Iterator<Item = TraceId> + use<'a> {
        self.links.into_iter().flat_map(move |list| {
            let traces = list.values().as_struct().column(0).as_fixed_size_binary();
            range_of(list.offsets(), row).filter_map(|at| trace_at(traces, at))
        })
    }
}

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
    resource_attributes: &'a MapArray,
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
            resource_attributes: column(rows, "resource_attributes").as_map(),
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
        pairs(self.resource_attributes, row)
    }
}

/// Rows of `points`.
#[derive(Debug)]
pub struct PointRows<'a> {
    time: &'a TimestampNanosecondArray,
    service: &'a StringArray,
    metric: &'a StringArray,
    name: &'a StringArray,
    kind: &'a StringArray,
    unit: &'a StringArray,
    labels: &'a MapArray,
    series_id: &'a UInt64Array,
    value: &'a Float64Array,
    exemplars: &'a ListArray,
}

impl<'a> PointRows<'a> {
    /// Access to a batch with all columns.
    pub fn new(rows: &'a RecordBatch) -> Self {
        Self {
            time: times(rows, "time"),
            service: text(rows, "service"),
            metric: text(rows, "metric"),
            name: text(rows, "name"),
            kind: text(rows, "kind"),
            unit: text(rows, "unit"),
            labels: column(rows, "labels").as_map(),
            series_id: column(rows, "series_id").as_primitive::<UInt64Type>(),
            value: column(rows, "value").as_primitive::<Float64Type>(),
            exemplars: column(rows, EXEMPLARS).as_list(),
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

    /// When the value was true.
    pub fn time(&self, row: usize) -> UnixNano {
        UnixNano(self.time.value(row))
    }

    /// `service.name` of the resource.
    pub fn service(&self, row: usize) -> &'a str {
        self.service.value(row)
    }

    /// OpenTelemetry name of the metric.
    pub fn metric(&self, row: usize) -> &'a str {
        self.metric.value(row)
    }

    /// Prometheus name of the series.
    pub fn name(&self, row: usize) -> &'a str {
        self.name.value(row)
    }

    /// `gauge`, `sum`, `histogram`, `exponential_histogram` or `summary`.
    pub fn kind(&self, row: usize) -> &'a str {
        self.kind.value(row)
    }

    /// UCUM unit.
    pub fn unit(&self, row: usize) -> &'a str {
        self.unit.value(row)
    }

    /// Prometheus labels, sorted but for `le` and `quantile`, which stand last.
    pub fn labels(&self, row: usize) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        pairs(self.labels, row)
    }

    /// Hash of name and labels.
    pub fn series_id(&self, row: usize) -> u64 {
        self.series_id.value(row)
    }

    /// The value.
    pub fn value(&self, row: usize) -> f64 {
        self.value.value(row)
    }

    /// Whether there are any exemplars of it.
    pub fn has_exemplars(&self, row: usize) -> bool {
        !range_of(self.exemplars.offsets(), row).is_empty()
    }

    /// Measurements it is made of.
    pub fn exemplars(&self, row: usize) -> impl Iterator<Item = Exemplar<'a>> + use<'a> {
        let exemplars: &'a StructArray = self.exemplars.values().as_struct();
        let times = exemplars.column(0).as_primitive::<TimestampNanosecondType>();
        let values = exemplars.column(1).as_primitive::<Float64Type>();
        let traces = exemplars.column(2).as_fixed_size_binary();
        let spans = exemplars.column(3).as_fixed_size_binary();
        let attributes = exemplars.column(4).as_map();
        range_of(self.exemplars.offsets(), row).map(move |at| Exemplar {
            time: UnixNano(times.value(at)),
            value: values.value(at),
            trace_id: trace_at(traces, at),
            span_id: span_at(spans, at),
            attributes: pairs(attributes, at).collect(),
        })
    }
}

/// Earliest and latest time of the rows; an empty range at 0 when there are none.
pub(crate) fn time_range(signal: Signal, rows: &RecordBatch) -> TimeRange {
    let times = times(rows, time_column(signal)).values();
    let from = times.iter().copied().min().unwrap_or(0);
    let to = times.iter().copied().max().unwrap_or(0);
    TimeRange { from: UnixNano(from), to: UnixNano(to) }
}
