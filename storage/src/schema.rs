//! The columns of the three tables, and the order their rows are kept in on disk.
//!
//! The three signals differ here and in `decode`, nowhere else: head, segment, index and snapshot are
//! generic over [`Signal`]. `docs/formats/segment.md` draws the same columns for outside readers; a test
//! compares the two.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use model::Signal;

/// Version of the segment format: the columns of a file ([`crate::Layout`]), their order on disk and the indexes
/// beside them. Version 1 has the columns below as they are; versions 1 and 2 have no exemplars.
pub const FORMAT_VERSION: u32 = 4;

/// Rows of one minute stay together, so that a trace's rows are neighbours within it.
pub(crate) const TIME_BUCKET_NANO: i64 = 60_000_000_000;

/// `Timestamp(ns, UTC)`.
pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

fn map_entries() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)])
}

/// `Map<Utf8, Utf8>`, the form of all attributes.
pub(crate) fn text_map() -> DataType {
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(map_entries()), false)), false)
}

fn text_list() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Utf8, false)))
}

/// The fields of one span event.
pub(crate) fn event_fields() -> Fields {
    Fields::from(vec![
        Field::new("time", timestamp(), false),
        Field::new("name", DataType::Utf8, false),
        Field::new("attributes", text_map(), false),
    ])
}

/// The fields of one span link.
pub(crate) fn link_fields() -> Fields {
    Fields::from(vec![
        Field::new("trace_id", DataType::FixedSizeBinary(16), false),
        Field::new("span_id", DataType::FixedSizeBinary(8), false),
    ])
}

/// The fields of one exemplar of a point.
pub(crate) fn exemplar_fields() -> Fields {
    Fields::from(vec![
        Field::new("time", timestamp(), false),
        Field::new("value", DataType::Float64, false),
        Field::new("trace_id", DataType::FixedSizeBinary(16), true),
        Field::new("span_id", DataType::FixedSizeBinary(8), true),
        Field::new("attributes", text_map(), false),
    ])
}

fn struct_list(fields: Fields) -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Struct(fields), false)))
}

fn schema_of(fields: Vec<(&str, DataType, bool)>) -> SchemaRef {
    let fields: Vec<Field> =
        fields.into_iter().map(|(name, data_type, nullable)| Field::new(name, data_type, nullable)).collect();
    Arc::new(Schema::new(fields))
}

static SPANS: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema_of(vec![
        ("trace_id", DataType::FixedSizeBinary(16), false),
        ("span_id", DataType::FixedSizeBinary(8), false),
        ("parent_span_id", DataType::FixedSizeBinary(8), true),
        ("service", DataType::Utf8, false),
        ("name", DataType::Utf8, false),
        ("kind", DataType::Utf8, false),
        ("start_time", timestamp(), false),
        ("duration_nano", DataType::Int64, false),
        ("status", DataType::Utf8, false),
        ("status_message", DataType::Utf8, false),
        ("ids", text_list(), false),
        ("attributes", text_map(), false),
        ("resource_attributes", text_map(), false),
        ("scope", DataType::Utf8, false),
        ("events", struct_list(event_fields()), false),
        ("links", struct_list(link_fields()), false),
    ])
});

static LOGS: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema_of(vec![
        ("time", timestamp(), false),
        ("observed_time", timestamp(), false),
        ("service", DataType::Utf8, false),
        ("severity_number", DataType::Int32, false),
        ("severity_text", DataType::Utf8, false),
        ("body", DataType::Utf8, false),
        ("trace_id", DataType::FixedSizeBinary(16), true),
        ("span_id", DataType::FixedSizeBinary(8), true),
        ("ids", text_list(), false),
        ("event_name", DataType::Utf8, false),
        ("attributes", text_map(), false),
        ("resource_attributes", text_map(), false),
        ("scope", DataType::Utf8, false),
    ])
});

static POINTS: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema_of(vec![
        ("time", timestamp(), false),
        ("service", DataType::Utf8, false),
        ("metric", DataType::Utf8, false),
        ("name", DataType::Utf8, false),
        ("kind", DataType::Utf8, false),
        ("unit", DataType::Utf8, false),
        ("labels", text_map(), false),
        ("series_id", DataType::UInt64, false),
        ("value", DataType::Float64, false),
        (EXEMPLARS, struct_list(exemplar_fields()), false),
    ])
});

/// Whether rows of the head have numbers in this column, of maps that they share.
fn is_shared(name: &str) -> bool {
    name == "resource_attributes"
}

static HEAD: LazyLock<[SchemaRef; 3]> = LazyLock::new(|| {
    Signal::ALL.map(|signal| {
        let numbers = |of: &DataType| DataType::Dictionary(Box::new(DataType::Int32), Box::new(of.clone()));
        let schema = schema(signal);
        let fields = schema.fields().iter().map(|field| match is_shared(field.name()) {
            true => Arc::new(field.as_ref().clone().with_data_type(numbers(field.data_type()))),
            false => Arc::clone(field),
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    })
});

/// The same columns as rows that were decoded have them: attributes of resources are numbers of maps, each of which a batch
/// has once.
pub(crate) fn head_schema(signal: Signal) -> SchemaRef {
    Arc::clone(&HEAD[signal.index()])
}

/// The column of a point's exemplars. Files of formats 1 and 2 have none.
pub(crate) const EXEMPLARS: &str = "exemplars";

/// The columns of a signal's table.
pub fn schema(signal: Signal) -> SchemaRef {
    match signal {
        Signal::Traces => Arc::clone(&SPANS),
        Signal::Logs => Arc::clone(&LOGS),
        Signal::Metrics => Arc::clone(&POINTS),
    }
}

/// The column that says when a row happened.
pub const fn time_column(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "start_time",
        Signal::Logs | Signal::Metrics => "time",
    }
}

/// The column that the text index is made of.
pub(crate) const fn text_column(signal: Signal) -> Option<&'static str> {
    match signal {
        Signal::Traces => Some("name"),
        Signal::Logs => Some("body"),
        Signal::Metrics => None,
    }
}

/// Rows that one document of the text index is for: names of spans are few, bodies are not.
pub(crate) const fn text_rows_per_document(signal: Signal) -> usize {
    match signal {
        Signal::Traces => crate::text::ROWS_PER_DOCUMENT,
        Signal::Logs | Signal::Metrics => 1,
    }
}

/// The column by whose equal values rows are grouped on disk and in the identity index; rows of
/// signals without one are not indexed by id.
pub(crate) const fn group_column(signal: Signal) -> Option<&'static str> {
    match signal {
        Signal::Traces | Signal::Logs => Some("trace_id"),
        Signal::Metrics => None,
    }
}
