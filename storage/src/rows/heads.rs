//! What decides whether a row is wanted, of tables whose rows carry ids.

use arrow::array::{AsArray as _, FixedSizeBinaryArray, ListArray, RecordBatch, TimestampNanosecondArray};
use model::{Signal, TraceId, UnixNano};

use super::{binary, column, items, range_of, times, trace_at};
use crate::schema::time_column;

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
