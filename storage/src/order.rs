//! The order of rows on disk, as keys that are compared without looking at columns again.
//!
//! ```text
//! spans, logs   minute │ with a trace first │ trace id, or xxh3 of the service │ time │ span id
//! points        first 16 bytes of the name │ xxh3 of the name │ series │ time
//! ```
//!
//! Owns: the order (`docs/formats/segment.md`). Does not own: sorting and merging (`seal`, `compaction`).
//!
//! Invariant: rows with equal content have equal keys, so that duplicates are neighbours.

use arrow::array::{Array as _, AsArray as _, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::{TimestampNanosecondType, UInt64Type};
use model::Signal;
use xxhash_rust::xxh3::xxh3_64;

use crate::rows::TextColumn;
use crate::schema::{TIME_BUCKET_NANO, time_column};

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OrderKey {
    bucket: i64,
    group: u128,
    series: (u64, u64),
    time: i64,
    span: u64,
}

/// The keys of all rows, in row order.
pub(crate) fn keys(signal: Signal, rows: &RecordBatch) -> Vec<OrderKey> {
    match signal {
        Signal::Metrics => point_keys(rows),
        Signal::Traces | Signal::Logs => record_keys(signal, rows),
    }
}

fn record_keys(signal: Signal, rows: &RecordBatch) -> Vec<OrderKey> {
    let times = column(rows, time_column(signal)).as_primitive::<TimestampNanosecondType>().values();
    let traces = column(rows, "trace_id").as_fixed_size_binary();
    let spans = column(rows, "span_id").as_fixed_size_binary();
    let services = texts(rows, "service");
    let key = |row: usize| {
        let time = times[row];
        let trace = bytes::<16>(traces, row).map(u128::from_be_bytes);
        OrderKey {
            bucket: time.div_euclid(TIME_BUCKET_NANO) * 2 + i64::from(trace.is_none()),
            group: trace
                .unwrap_or_else(|| u128::from(xxh3_64(services.get(row).unwrap_or_default().as_bytes()))),
            series: (0, 0),
            time,
            span: bytes::<8>(spans, row).map_or(u64::MAX, u64::from_be_bytes),
        }
    };
    (0..rows.num_rows()).map(key).collect()
}

fn point_keys(rows: &RecordBatch) -> Vec<OrderKey> {
    let times = column(rows, "time").as_primitive::<TimestampNanosecondType>().values();
    let names = texts(rows, "name");
    let series = column(rows, "series_id").as_primitive::<UInt64Type>().values();
    let key = |row: usize| {
        let name = names.get(row).unwrap_or_default().as_bytes();
        let mut prefix = [0; 16];
        let length = name.len().min(16);
        prefix[..length].copy_from_slice(&name[..length]);
        OrderKey {
            bucket: 0,
            group: u128::from_be_bytes(prefix),
            series: (xxh3_64(name), series[row]),
            time: times[row],
            span: 0,
        }
    };
    (0..rows.num_rows()).map(key).collect()
}

fn texts<'a>(rows: &'a RecordBatch, name: &str) -> TextColumn<'a> {
    let column = rows.column_by_name(name).expect("a column of the schema");
    TextColumn::of(column).expect("a column of texts")
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> &'a dyn arrow::array::Array {
    rows.column_by_name(name).expect("a column of the schema").as_ref()
}

fn bytes<const N: usize>(ids: &FixedSizeBinaryArray, row: usize) -> Option<[u8; N]> {
    ids.is_valid(row).then(|| ids.value(row).try_into().ok()).flatten()
}
