//! Which rows of the head make up which segment: by time window, bounded in number and size, in order.

use std::cmp::Reverse;
use std::collections::HashMap;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use model::{Signal, UnixNano};

use crate::order::{self, OrderKey};
use crate::schema::time_column;
use crate::window::Window;

/// Windows that get segments of their own; rows of further ones share one.
const WINDOWS_MAX: usize = 8;
/// Rows of one segment.
const ROWS_MAX: usize = 1 << 20;

/// A row of the head and its place in the order of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Placed {
    key: OrderKey,
    pub(super) batch: u32,
    pub(super) row: u32,
}

/// The rows of each segment, sorted; rows that compare equal as they were received.
pub(super) fn parts(signal: Signal, batches: &[&RecordBatch]) -> Vec<Vec<Placed>> {
    let own = windows(signal, batches);
    let mut parts: Vec<Vec<Placed>> = vec![Vec::new(); own.len() + 1];
    let (mut last, mut part) = (None, own.len());
    for (batch, rows) in batches.iter().enumerate() {
        for ((row, key), hour) in order::keys(signal, rows).into_iter().enumerate().zip(hours(signal, rows)) {
            if last != Some(hour) {
                (last, part) = (Some(hour), own.get(&hour).copied().unwrap_or(own.len()));
            }
            parts[part].push(Placed { key, batch: batch as u32, row: row as u32 });
        }
    }
    let mut bounded = Vec::new();
    for mut part in parts {
        part.sort_unstable();
        bounded.extend(chunks(&part, ROWS_MAX).map(<[Placed]>::to_vec));
    }
    bounded
}

/// Rows in pieces of at most `rows_max`. Rows of equal keys, points of one series at one time, stay together unless they
/// alone are more.
fn chunks(part: &[Placed], rows_max: usize) -> impl Iterator<Item = &[Placed]> {
    let mut left = part;
    std::iter::from_fn(move || {
        let mut end = rows_max.min(left.len());
        if let Some(next) = left.get(end) {
            let first = left[..end].partition_point(|placed| placed.key < next.key);
            end = if first == 0 { end } else { first };
        }
        let (chunk, rest) = left.split_at(end);
        left = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// The windows with most rows, numbered.
fn windows(signal: Signal, batches: &[&RecordBatch]) -> HashMap<i64, usize> {
    let mut counts: HashMap<i64, usize> = HashMap::new();
    for rows in batches {
        let mut left = hours(signal, rows).peekable();
        while let Some(hour) = left.next() {
            let like = std::iter::from_fn(|| left.next_if_eq(&hour)).count();
            *counts.entry(hour).or_default() += 1 + like;
        }
    }
    let mut counts: Vec<(i64, usize)> = counts.into_iter().collect();
    counts.sort_unstable_by_key(|(hour, count)| (Reverse(*count), *hour));
    counts.iter().take(WINDOWS_MAX).enumerate().map(|(at, (hour, _))| (*hour, at)).collect()
}

fn hours(signal: Signal, rows: &RecordBatch) -> impl Iterator<Item = i64> {
    let times = rows.column_by_name(time_column(signal)).expect("a column of the schema");
    let times = times.as_primitive::<TimestampNanosecondType>().values();
    times.iter().map(|time| Window::hour_of(UnixNano(*time)))
}

#[cfg(test)]
mod tests {
    use model::otlp::logs::{LogRecordParts, LogsWriter};
    use model::{IdRules, TraceId};

    use super::*;
    use crate::decode::decode;
    use crate::window::WINDOW_NANO;

    const NOW: UnixNano = UnixNano(500_000 * WINDOW_NANO);

    fn logs(times: &[(i64, u8)]) -> RecordBatch {
        let mut writer = LogsWriter::new([("service.name", "billing")]);
        for (time, trace) in times {
            let trace_id = TraceId::from_bytes(&[*trace; 16]);
            let time = UnixNano(NOW.0 + time);
            writer.push(&LogRecordParts { time, trace_id, ..LogRecordParts::default() }, [("a", "b")]);
        }
        decode(Signal::Logs, &writer.finish(), &IdRules::default(), NOW, 1_000).expect("decodable").rows
    }

    fn rows_of(part: &[Placed]) -> Vec<(u32, u32)> {
        part.iter().map(|placed| (placed.batch, placed.row)).collect()
    }

    #[test]
    fn rows_of_one_trace_are_neighbours_and_rows_of_different_hours_are_not_in_one_segment() {
        let first = logs(&[(3, 7), (1, 9), (-WINDOW_NANO, 9)]);
        let second = logs(&[(2, 7), (4, 9), (0, 0)]);
        let parts = parts(Signal::Logs, &[&first, &second]);
        assert_eq!(rows_of(&parts[0]), [(1, 0), (0, 0), (0, 1), (1, 1), (1, 2)]);
        assert_eq!(rows_of(&parts[1]), [(0, 2)]);
        assert_eq!(parts.len(), 2);
    }

    #[test]
    fn rows_of_equal_keys_are_not_cut_apart() {
        let rows = logs(&[(1, 1), (2, 1), (3, 1), (3, 1), (3, 1), (4, 1)]);
        let part = &parts(Signal::Logs, &[&rows])[0];
        let lengths = |rows_max| chunks(part, rows_max).map(<[Placed]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(6), [6]);
        assert_eq!(lengths(4), [2, 4]);
        assert_eq!(lengths(2), [2, 2, 2], "three that do not fit into two");
    }

    #[test]
    fn a_sender_of_old_data_does_not_make_a_segment_of_every_hour() {
        let times: Vec<(i64, u8)> = (0..100).map(|hour| (-hour * WINDOW_NANO, 1)).collect();
        let rows = logs(&times);
        let parts = parts(Signal::Logs, &[&rows]);
        assert_eq!(parts.len(), WINDOWS_MAX + 1);
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 100);
    }
}
