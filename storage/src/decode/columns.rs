//! Builders for the column shapes that the tables share: text maps, id lists, lists of structs.

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, FixedSizeBinaryBuilder, ListBuilder, MapBuilder, MapFieldNames,
    RecordBatch, StringBuilder, StructBuilder, TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields};
use model::Signal;
use model::ids::IdTerms;
use model::otlp::{EventView, LinkView, attributes};
use model::wire::Repeated;

use super::{ATTRIBUTES_MAX, VALUE_BYTES_MAX};
use crate::schema;

/// The finished columns as a batch that holds no more memory than its rows need: builders begin with room
/// for a thousand values.
pub(crate) fn batch(signal: Signal, mut columns: Vec<ArrayRef>) -> RecordBatch {
    columns.iter_mut().for_each(Array::shrink_to_fit);
    RecordBatch::try_new(schema::schema(signal), columns).expect("the columns are built to the schema")
}

pub(crate) type TextMapBuilder = MapBuilder<StringBuilder, StringBuilder>;

pub(crate) fn text_map() -> TextMapBuilder {
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
}

pub(crate) fn timestamps() -> TimestampNanosecondBuilder {
    TimestampNanosecondBuilder::new().with_timezone("UTC")
}

/// Appends one map of attributes as text. Returns how many were left out by the limit.
pub(crate) fn append_attributes(
    map: &mut TextMapBuilder,
    repeated: Repeated<'_>,
    extra: &[(&str, &str)],
    scratch: &mut String,
) {
    for attribute in attributes(repeated).take(ATTRIBUTES_MAX) {
        scratch.clear();
        attribute.value.push_text(scratch);
        map.keys().append_value(cut(attribute.key, 256));
        map.values().append_value(cut(scratch, VALUE_BYTES_MAX));
    }
    for (key, value) in extra {
        map.keys().append_value(key);
        map.values().append_value(value);
    }
    map.append(true).expect("keys and values are appended in pairs");
}

/// The longest beginning of `text` within `bytes` that ends at a character.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes { text } else { &text[..text.floor_char_boundary(bytes)] }
}

pub(crate) fn id_list() -> ListBuilder<StringBuilder> {
    ListBuilder::new(StringBuilder::new()).with_field(Field::new("item", DataType::Utf8, false))
}

pub(crate) fn append_ids(list: &mut ListBuilder<StringBuilder>, found: &IdTerms) {
    for term in found.iter() {
        list.values().append_value(term);
    }
    list.append(true);
}

/// List of `{time, name, attributes}`.
pub(crate) fn event_list() -> ListBuilder<StructBuilder> {
    let builders: Vec<Box<dyn ArrayBuilder>> =
        vec![Box::new(timestamps()), Box::new(StringBuilder::new()), Box::new(text_map())];
    struct_list(schema::event_fields(), builders)
}

pub(crate) fn append_event(
    list: &mut ListBuilder<StructBuilder>,
    event: &EventView<'_>,
    scratch: &mut String,
) {
    let row = list.values();
    field::<TimestampNanosecondBuilder>(row, 0).append_value(event.time.0);
    field::<StringBuilder>(row, 1).append_value(event.name);
    append_attributes(field::<TextMapBuilder>(row, 2), event.attributes, &[], scratch);
    row.append(true);
}

/// List of `{trace_id, span_id}`.
pub(crate) fn link_list() -> ListBuilder<StructBuilder> {
    let builders: Vec<Box<dyn ArrayBuilder>> =
        vec![Box::new(FixedSizeBinaryBuilder::new(16)), Box::new(FixedSizeBinaryBuilder::new(8))];
    struct_list(schema::link_fields(), builders)
}

pub(crate) fn append_link(list: &mut ListBuilder<StructBuilder>, link: &LinkView<'_>) {
    let row = list.values();
    append_id(field::<FixedSizeBinaryBuilder>(row, 0), Some(link.trace_id.as_bytes()));
    append_id(field::<FixedSizeBinaryBuilder>(row, 1), Some(link.span_id.as_bytes()));
    row.append(true);
}

pub(crate) fn append_id<const N: usize>(builder: &mut FixedSizeBinaryBuilder, id: Option<&[u8; N]>) {
    match id {
        Some(id) => builder.append_value(id).expect("the builder has the width of the id"),
        None => builder.append_null(),
    }
}

fn struct_list(fields: Fields, builders: Vec<Box<dyn ArrayBuilder>>) -> ListBuilder<StructBuilder> {
    let item = Field::new("item", DataType::Struct(fields.clone()), false);
    ListBuilder::new(StructBuilder::new(fields, builders)).with_field(item)
}

fn field<T: ArrayBuilder>(row: &mut StructBuilder, at: usize) -> &mut T {
    row.field_builder(at).expect("the builders are made above in this order")
}
