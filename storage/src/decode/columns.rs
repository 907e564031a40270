//! Columns under construction: the shapes that the tables share, as plain buffers.
//!
//! ```text
//! Texts   text     GETPOST/api/cart…        offsets  0 3 7 16 …
//! Pairs   keys     Texts                    values   Texts          offsets  rows ─► pairs
//! Ids     bytes    16 or 8 a row            which rows have none
//! ```
//!
//! Values are written where they stay: nothing is built for a row, and what many rows share (a resource, the
//! labels of a series) is copied as one piece ([`Block`]).
//!
//! Invariant: offsets fit 32 bits. A value that would not fit is left empty; the limits on requests are far
//! below that.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, DictionaryArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder,
    Float64Builder, Int32Array, ListArray, ListBuilder, MapArray, MapBuilder, MapFieldNames, RecordBatch,
    StringArray, StringBuilder, StructArray, StructBuilder, TimestampNanosecondArray,
    TimestampNanosecondBuilder,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use model::Signal;
use model::ids::IdTerms;
use model::otlp::{AnyValue, EventView, ExemplarView, LinkView, attributes};
use model::wire::Repeated;

use super::{ATTRIBUTES_MAX, VALUE_BYTES_MAX};
use crate::limits::SHARED_BYTES_MAX;
use crate::schema;

/// Bytes kept of an attribute's key.
pub(super) const KEY_BYTES_MAX: usize = 256;

/// The finished columns as a batch that holds no more memory than its rows need.
pub(crate) fn batch(signal: Signal, mut columns: Vec<ArrayRef>) -> RecordBatch {
    columns.iter_mut().for_each(Array::shrink_to_fit);
    RecordBatch::try_new(schema::head_schema(signal), columns).expect("the columns are built to the schema")
}

/// A text column.
pub(crate) struct Texts {
    text: String,
    offsets: Vec<i32>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { text: String::new(), offsets: vec![0] }
    }
}

impl Texts {
    /// Makes room for values of so many bytes together.
    pub(crate) fn reserve(&mut self, values: usize, bytes: usize) {
        self.offsets.reserve(values);
        self.text.reserve(bytes);
    }

    /// Adds a value.
    #[inline]
    pub(crate) fn push(&mut self, value: &str) {
        self.text.push_str(value);
        self.end();
    }

    /// Adds a value of `bytes_max` at most that `write` appends to the text of all values before it.
    #[inline]
    pub(crate) fn push_with(&mut self, bytes_max: usize, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        write(&mut self.text);
        if self.text.len() - start > bytes_max {
            let kept = cut(&self.text[start..], bytes_max).len();
            self.text.truncate(start + kept);
        }
        self.end();
    }

    #[inline]
    fn end(&mut self) {
        match i32::try_from(self.text.len()) {
            Ok(end) => self.offsets.push(end),
            Err(_) => {
                let end = self.offsets[self.offsets.len() - 1];
                self.text.truncate(end as usize);
                self.offsets.push(end);
            }
        }
    }

    /// The last value.
    pub(crate) fn last(&self) -> &str {
        match *self.offsets.as_slice() {
            [.., start, end] => &self.text[start as usize..end as usize],
            _ => "",
        }
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Adds the values of another column, all of them or, if they do not fit, as many empty ones.
    fn extend(&mut self, other: &Self) {
        let base = self.text.len();
        match i32::try_from(base + other.text.len()) {
            Ok(_) => {
                self.text.push_str(&other.text);
                self.offsets.extend(other.offsets[1..].iter().map(|end| base as i32 + end));
            }
            Err(_) => self.offsets.extend(other.offsets[1..].iter().map(|_| base as i32)),
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.offsets.truncate(1);
    }

    pub(crate) fn array(self) -> StringArray {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        StringArray::try_new(offsets, Buffer::from_vec(self.text.into_bytes()), None)
            .expect("text that was cut at ends of values")
    }

    pub(crate) fn finish(self) -> ArrayRef {
        Arc::new(self.array())
    }
}

/// A column of maps from text to text.
pub(crate) struct Pairs {
    keys: Texts,
    values: Texts,
    offsets: Vec<i32>,
}

impl Default for Pairs {
    fn default() -> Self {
        Self { keys: Texts::default(), values: Texts::default(), offsets: vec![0] }
    }
}

/// Pairs that many rows share.
#[derive(Default)]
pub(crate) struct Block {
    keys: Texts,
    values: Texts,
}

impl Block {
    /// The attributes of a resource.
    pub(crate) fn of(repeated: Repeated<'_>) -> Self {
        let mut block = Self::default();
        for attribute in attributes(repeated).take(ATTRIBUTES_MAX) {
            block.push(cut(attribute.key, KEY_BYTES_MAX), &attribute.value);
        }
        block
    }

    fn push(&mut self, key: &str, value: &AnyValue<'_>) {
        self.keys.push(key);
        self.values.push_with(VALUE_BYTES_MAX, |out| value.push_text(out));
    }

    /// Adds a pair of texts.
    pub(crate) fn push_text(&mut self, key: &str, value: &str) {
        self.keys.push(key);
        self.values.push(value);
    }

    fn bytes(&self) -> usize {
        self.keys.text.len() + self.values.text.len()
    }

    /// Forgets the pairs.
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
    }
}

/// A column of blocks that rows share: each is there once, and rows have its number. One of more than [`SHARED_BYTES_MAX`] is there
/// for each row.
#[derive(Default)]
pub(crate) struct Blocks {
    maps: Pairs,
    numbers: Vec<i32>,
    block: Block,
    /// Of the block, once a row has it.
    number: Option<i32>,
}

impl Blocks {
    /// Makes room for rows.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.numbers.reserve(rows);
    }

    /// The rows that follow have this block.
    pub(crate) fn begin(&mut self, block: Block) {
        self.block = block;
        self.number = None;
    }

    /// Adds a row.
    #[inline]
    pub(crate) fn push(&mut self) {
        let number = match self.number {
            Some(number) => number,
            None => self.add_block(),
        };
        self.numbers.push(number);
    }

    fn add_block(&mut self) -> i32 {
        let number = i32::try_from(self.maps.len()).unwrap_or(i32::MAX);
        self.maps.push_block(&self.block);
        self.maps.end();
        if self.block.bytes() <= SHARED_BYTES_MAX {
            self.number = Some(number);
        }
        number
    }

    pub(crate) fn finish(self) -> ArrayRef {
        Arc::new(DictionaryArray::new(Int32Array::from(self.numbers), self.maps.finish()))
    }
}

impl Pairs {
    /// Rows so far.
    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Makes room for rows with so many pairs, whose keys and values have so many bytes each, all together.
    pub(crate) fn reserve(&mut self, rows: usize, pairs: usize, bytes: usize) {
        self.offsets.reserve(rows);
        self.keys.reserve(pairs, bytes);
        self.values.reserve(pairs, bytes);
    }

    /// Adds an attribute to the row under way.
    #[inline]
    pub(crate) fn push(&mut self, key: &str, value: &AnyValue<'_>) {
        self.keys.push(cut(key, KEY_BYTES_MAX));
        self.values.push_with(VALUE_BYTES_MAX, |out| value.push_text(out));
    }

    /// Adds a pair of texts to the row under way.
    #[inline]
    pub(crate) fn push_text(&mut self, key: &str, value: &str) {
        self.keys.push(key);
        self.values.push(value);
    }

    /// Adds all pairs of a block to the row under way.
    #[inline]
    pub(crate) fn push_block(&mut self, block: &Block) {
        self.keys.extend(&block.keys);
        self.values.extend(&block.values);
    }

    /// Ends a row.
    #[inline]
    pub(crate) fn end(&mut self) {
        self.offsets.push(i32::try_from(self.keys.len()).unwrap_or(i32::MAX));
    }

    pub(crate) fn finish(self) -> ArrayRef {
        let DataType::Map(entries, _) = schema::text_map() else { unreachable!("a map is a map") };
        let DataType::Struct(fields) = entries.data_type().clone() else {
            unreachable!("the entries of a map are structs")
        };
        let pairs = StructArray::new(fields, vec![self.keys.finish(), self.values.finish()], None);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Arc::new(MapArray::new(entries, offsets, pairs, None, false))
    }
}

/// A column of lists of texts.
pub(crate) struct TextLists {
    items: Texts,
    offsets: Vec<i32>,
}

impl Default for TextLists {
    fn default() -> Self {
        Self { items: Texts::default(), offsets: vec![0] }
    }
}

impl TextLists {
    /// Makes room for rows.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.offsets.reserve(rows);
    }

    /// Adds an item to the row under way.
    #[inline]
    pub(crate) fn push(&mut self, item: &str) {
        self.items.push(item);
    }

    /// Ends a row.
    #[inline]
    pub(crate) fn end(&mut self) {
        self.offsets.push(i32::try_from(self.items.len()).unwrap_or(i32::MAX));
    }

    /// Adds a row of the terms found in a record.
    #[inline]
    pub(crate) fn push_ids(&mut self, found: &IdTerms) {
        found.iter().for_each(|term| self.push(term));
        self.end();
    }

    pub(crate) fn finish(self) -> ArrayRef {
        let item = Arc::new(Field::new("item", DataType::Utf8, false));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Arc::new(ListArray::new(item, offsets, self.items.finish(), None))
    }
}

/// A column of ids of `N` bytes.
#[derive(Default)]
pub(crate) struct Ids<const N: usize> {
    bytes: Vec<u8>,
    is_there: Vec<bool>,
}

impl<const N: usize> Ids<N> {
    /// Makes room for rows.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.bytes.reserve(rows * N);
        self.is_there.reserve(rows);
    }

    #[inline]
    pub(crate) fn push(&mut self, id: Option<&[u8; N]>) {
        self.bytes.extend_from_slice(id.unwrap_or(&[0; N]));
        self.is_there.push(id.is_some());
    }

    pub(crate) fn finish(self) -> ArrayRef {
        let nulls = Some(NullBuffer::from(self.is_there)).filter(|nulls| nulls.null_count() > 0);
        let bytes = Buffer::from_vec(self.bytes);
        Arc::new(FixedSizeBinaryArray::try_new(N as i32, bytes, nulls).expect("N bytes a row"))
    }
}

/// A column of times.
pub(crate) fn times(nanos: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from(nanos).with_timezone("UTC"))
}

/// The longest beginning of `text` within `bytes` that ends at a character.
#[inline]
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes { text } else { &text[..text.floor_char_boundary(bytes)] }
}

type TextMapBuilder = MapBuilder<StringBuilder, StringBuilder>;

fn text_map_builder() -> TextMapBuilder {
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
}

/// List of `{time, name, attributes}`.
pub(crate) fn event_list() -> ListBuilder<StructBuilder> {
    let map = text_map_builder();
    let times = TimestampNanosecondBuilder::new().with_timezone("UTC");
    let builders: Vec<Box<dyn ArrayBuilder>> =
        vec![Box::new(times), Box::new(StringBuilder::new()), Box::new(map)];
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
    append_pairs(field::<TextMapBuilder>(row, 2), event.attributes, scratch);
    row.append(true);
}

fn append_pairs(map: &mut TextMapBuilder, pairs: Repeated<'_>, scratch: &mut String) {
    for attribute in attributes(pairs).take(ATTRIBUTES_MAX) {
        scratch.clear();
        attribute.value.push_text(scratch);
        map.keys().append_value(cut(attribute.key, KEY_BYTES_MAX));
        map.values().append_value(cut(scratch, VALUE_BYTES_MAX));
    }
    map.append(true).expect("keys and values are appended in pairs");
}

/// List of `{time, value, trace_id, span_id, attributes}`.
pub(crate) fn exemplar_list() -> ListBuilder<StructBuilder> {
    let builders: Vec<Box<dyn ArrayBuilder>> = vec![
        Box::new(TimestampNanosecondBuilder::new().with_timezone("UTC")),
        Box::new(Float64Builder::new()),
        Box::new(FixedSizeBinaryBuilder::new(16)),
        Box::new(FixedSizeBinaryBuilder::new(8)),
        Box::new(text_map_builder()),
    ];
    struct_list(schema::exemplar_fields(), builders)
}

pub(crate) fn append_exemplar(
    list: &mut ListBuilder<StructBuilder>,
    exemplar: &ExemplarView<'_>,
    scratch: &mut String,
) {
    let row = list.values();
    let width = "the builder has the width of the id";
    field::<TimestampNanosecondBuilder>(row, 0).append_value(exemplar.time.0);
    field::<Float64Builder>(row, 1).append_value(exemplar.value);
    let trace = field::<FixedSizeBinaryBuilder>(row, 2);
    match exemplar.trace_id {
        Some(id) => trace.append_value(id.as_bytes()).expect(width),
        None => trace.append_null(),
    }
    let span = field::<FixedSizeBinaryBuilder>(row, 3);
    match exemplar.span_id {
        Some(id) => span.append_value(id.as_bytes()).expect(width),
        None => span.append_null(),
    }
    append_pairs(field::<TextMapBuilder>(row, 4), exemplar.attributes, scratch);
    row.append(true);
}

/// As many points without exemplars.
pub(crate) fn no_exemplars(rows: usize) -> ArrayRef {
    let item = Arc::new(Field::new("item", DataType::Struct(schema::exemplar_fields()), false));
    let items = arrow::array::new_empty_array(item.data_type());
    Arc::new(ListArray::new(item, OffsetBuffer::new_zeroed(rows), items, None))
}

/// List of `{trace_id, span_id}`.
pub(crate) fn link_list() -> ListBuilder<StructBuilder> {
    let builders: Vec<Box<dyn ArrayBuilder>> =
        vec![Box::new(FixedSizeBinaryBuilder::new(16)), Box::new(FixedSizeBinaryBuilder::new(8))];
    struct_list(schema::link_fields(), builders)
}

pub(crate) fn append_link(list: &mut ListBuilder<StructBuilder>, link: &LinkView<'_>) {
    let row = list.values();
    let width = "the builder has the width of the id";
    field::<FixedSizeBinaryBuilder>(row, 0).append_value(link.trace_id.as_bytes()).expect(width);
    field::<FixedSizeBinaryBuilder>(row, 1).append_value(link.span_id.as_bytes()).expect(width);
    row.append(true);
}

fn struct_list(fields: Fields, builders: Vec<Box<dyn ArrayBuilder>>) -> ListBuilder<StructBuilder> {
    let item = Field::new("item", DataType::Struct(fields.clone()), false);
    ListBuilder::new(StructBuilder::new(fields, builders)).with_field(item)
}

fn field<T: ArrayBuilder>(row: &mut StructBuilder, at: usize) -> &mut T {
    row.field_builder(at).expect("the builders are made above in this order")
}
