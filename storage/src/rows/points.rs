//! Rows of the `points` table.

use arrow::array::{
    AsArray as _, Float64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{Float64Type, TimestampNanosecondType, UInt64Type};
use model::{SpanId, TraceId, UnixNano};

use super::{column, pairs, range_of, span_at, text, times, trace_at};
use crate::schema::EXEMPLARS;

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
