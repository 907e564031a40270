//! The columns that overviews read batch by batch (services, doctor); the wide ones stay on disk.

use arrow::array::{
    Array, AsArray, FixedSizeBinaryArray, Int32Array, Int64Array, ListArray, MapArray, RecordBatch,
    StringArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType};
use model::UnixNano;

fn column<'a>(rows: &'a RecordBatch, name: &str) -> &'a dyn Array {
    rows.column_by_name(name)
        .unwrap_or_else(|| panic!("a scan without the column `{name}` it asked for"))
        .as_ref()
}

fn text<'a>(rows: &'a RecordBatch, name: &str) -> &'a StringArray {
    column(rows, name).as_string()
}

fn times<'a>(rows: &'a RecordBatch, name: &str) -> &'a [i64] {
    column(rows, name).as_primitive::<TimestampNanosecondType>().values()
}

fn row_range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

/// Columns of `spans`.
pub(crate) struct SpanColumns<'a> {
    trace_id: &'a FixedSizeBinaryArray,
    span_id: &'a FixedSizeBinaryArray,
    parent_span_id: &'a FixedSizeBinaryArray,
    service: &'a StringArray,
    kind: &'a StringArray,
    start_time: &'a [i64],
    duration_nano: &'a Int64Array,
    status: &'a StringArray,
    ids: &'a ListArray,
    attributes: &'a MapArray,
    links: &'a ListArray,
}

impl<'a> SpanColumns<'a> {
    pub(crate) const NAMES: &'static [&'static str] = &[
        "trace_id",
        "span_id",
        "parent_span_id",
        "service",
        "kind",
        "start_time",
        "duration_nano",
        "status",
        "ids",
        "attributes",
        "links",
    ];

    pub(crate) fn new(rows: &'a RecordBatch) -> Self {
        Self {
            trace_id: column(rows, "trace_id").as_fixed_size_binary(),
            span_id: column(rows, "span_id").as_fixed_size_binary(),
            parent_span_id: column(rows, "parent_span_id").as_fixed_size_binary(),
            service: text(rows, "service"),
            kind: text(rows, "kind"),
            start_time: times(rows, "start_time"),
            duration_nano: column(rows, "duration_nano").as_primitive::<Int64Type>(),
            status: text(rows, "status"),
            ids: column(rows, "ids").as_list(),
            attributes: column(rows, "attributes").as_map(),
            links: column(rows, "links").as_list(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.start_time.len()
    }

    pub(crate) fn service(&self, row: usize) -> &'a str {
        self.service.value(row)
    }

    pub(crate) fn kind(&self, row: usize) -> &'a str {
        self.kind.value(row)
    }

    pub(crate) fn start_time(&self, row: usize) -> UnixNano {
        UnixNano(self.start_time[row])
    }

    pub(crate) fn duration_nano(&self, row: usize) -> i64 {
        self.duration_nano.value(row)
    }

    pub(crate) fn is_error(&self, row: usize) -> bool {
        self.status.value(row) == "error"
    }

    /// Trace and span id of the span.
    pub(crate) fn own_id(&self, row: usize) -> (&'a [u8], &'a [u8]) {
        (self.trace_id.value(row), self.span_id.value(row))
    }

    /// Trace and span id of the parent.
    pub(crate) fn parent_id(&self, row: usize) -> Option<(&'a [u8], &'a [u8])> {
        let has_parent = self.parent_span_id.is_valid(row);
        has_parent.then(|| (self.trace_id.value(row), self.parent_span_id.value(row)))
    }

    /// Trace and span ids of the spans it links to.
    pub(crate) fn links(&self, row: usize) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let links = self.links.values().as_struct();
        let traces: &'a FixedSizeBinaryArray = links.column(0).as_fixed_size_binary();
        let spans: &'a FixedSizeBinaryArray = links.column(1).as_fixed_size_binary();
        row_range(self.links.offsets(), row).map(|at| (traces.value(at), spans.value(at)))
    }

    /// Its ids, as `kind=value`.
    pub(crate) fn ids(&self, row: usize) -> impl Iterator<Item = &'a str> + use<'a> {
        let ids: &'a StringArray = self.ids.values().as_string();
        row_range(self.ids.offsets(), row).map(|at| ids.value(at))
    }

    /// The first of several attributes that is there and not empty.
    pub(crate) fn first(&self, row: usize, keys: &[&str]) -> Option<&'a str> {
        keys.iter().find_map(|key| self.attribute(row, key)).filter(|value| !value.is_empty())
    }

    /// The value of an attribute.
    pub(crate) fn attribute(&self, row: usize, key: &str) -> Option<&'a str> {
        let keys: &'a StringArray = self.attributes.keys().as_string();
        let values: &'a StringArray = self.attributes.values().as_string();
        row_range(self.attributes.offsets(), row).find(|at| keys.value(*at) == key).map(|at| values.value(at))
    }
}

/// Columns of `logs`.
pub(crate) struct LogColumns<'a> {
    time: &'a [i64],
    service: &'a StringArray,
    severity_number: &'a Int32Array,
    severity_text: &'a StringArray,
}

impl<'a> LogColumns<'a> {
    pub(crate) const NAMES: &'static [&'static str] =
        &["time", "service", "severity_number", "severity_text"];

    pub(crate) fn new(rows: &'a RecordBatch) -> Self {
        Self {
            time: times(rows, "time"),
            service: text(rows, "service"),
            severity_number: column(rows, "severity_number").as_primitive::<Int32Type>(),
            severity_text: text(rows, "severity_text"),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.time.len()
    }

    pub(crate) fn time(&self, row: usize) -> UnixNano {
        UnixNano(self.time[row])
    }

    pub(crate) fn service(&self, row: usize) -> &'a str {
        self.service.value(row)
    }

    /// Severity ERROR and above.
    pub(crate) fn is_error(&self, row: usize) -> bool {
        let (number, text) = (self.severity_number.value(row), self.severity_text.value(row));
        crate::search::severity_of(number, text).is_some_and(|severity| severity >= 17)
    }
}
