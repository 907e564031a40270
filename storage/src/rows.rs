//! Typed access to the rows of a batch: one struct a table, one method a column.
//!
//! Invariant: a batch given here has the columns of [`crate::schema`]; one that has not is a defect of
//! ours and panics with the column's name.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, ListArray, MapArray, RecordBatch, RecordBatchOptions,
    StringArray, TimestampNanosecondArray, new_null_array,
};
use arrow::datatypes::{Field, Schema, TimestampNanosecondType};
use model::{Signal, SpanId, TimeRange, TraceId, UnixNano};

use crate::schema::{schema, time_column};

mod heads;
mod logs;
mod maps;
mod points;
mod spans;
mod terms;
mod texts;

pub use heads::RowHeads;
pub use logs::LogRows;
pub use points::{Exemplar, PointRows};
pub use spans::{Event, SpanRows};

pub(crate) use maps::MapColumn;
#[cfg(test)]
pub(crate) use maps::unshared;
pub(crate) use terms::{
    RowTerms, TermColumns, Wanted, carrying, has_exemplars, row_term_hashes, row_terms_max, term_hash,
    trace_hash,
};
pub(crate) use texts::TextColumn;

pub use model::ids::LINK;

/// A batch with all columns of its table; those that were not read are empty. Others are left out.
pub fn completed(signal: Signal, rows: &RecordBatch) -> RecordBatch {
    let schema = schema(signal);
    let column = |field: &Arc<Field>| match rows.column_by_name(field.name()) {
        Some(column) => Arc::clone(column),
        None => new_null_array(field.data_type(), rows.num_rows()),
    };
    let columns: Vec<ArrayRef> = schema.fields().iter().map(column).collect();
    // Empty, which a column of the table may not be allowed to be; or numbers, as the head has some.
    let fields = schema.fields().iter().zip(&columns).map(|(field, column)| {
        field.as_ref().clone().with_nullable(true).with_data_type(column.data_type().clone())
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let count = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &count).expect("columns of the table")
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> &'a dyn Array {
    rows.column_by_name(name).unwrap_or_else(|| panic!("a batch without the column `{name}`")).as_ref()
}

fn maps<'a>(rows: &'a RecordBatch, name: &str) -> MapColumn<'a> {
    MapColumn::of(column(rows, name)).unwrap_or_else(|| panic!("the column `{name}` has no maps"))
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
    MapColumn::Maps(map).pairs(row)
}

/// The strings of one row of a text list.
fn items(list: &ListArray, row: usize) -> impl Iterator<Item = &str> {
    let values: &StringArray = list.values().as_string();
    range_of(list.offsets(), row).map(move |at| values.value(at))
}

/// Earliest and latest time of the rows; an empty range at 0 when there are none.
pub(crate) fn time_range(signal: Signal, rows: &RecordBatch) -> TimeRange {
    let times = times(rows, time_column(signal)).values();
    let from = times.iter().copied().min().unwrap_or(0);
    let to = times.iter().copied().max().unwrap_or(0);
    TimeRange { from: UnixNano(from), to: UnixNano(to) }
}
