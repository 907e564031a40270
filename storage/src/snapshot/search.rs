//! Rows of a snapshot that contain some text, with no more read of them than is asked for.
//!
//! Owns: the numbers of rows. Does not own: the order of the parts (`walk`), which rows of a segment are read
//! (`segment::search`), whether a row matches (the caller).
//!
//! Invariants: a row is given at most once; no row within the range that contains the text is left out; a place is that of
//! a [`Finder`](super::Finder) of the same snapshot and range.

use std::ops::ControlFlow;

use arrow::array::{RecordBatch, UInt32Array};
use model::{Signal, TimeRange};

use super::walk::{Reads, Walk};
use super::{Place, ScanOrder, ScanStats, Snapshot, project};
use crate::error::Error;
use crate::schema::{text_column, time_column};
use crate::segment::search::{numbers, with_numbers};
use crate::text::TextHint;

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct TextSearch<'a> {
    /// Rows of which signal.
    pub signal: Signal,
    /// Rows of which time.
    pub range: &'a TimeRange,
    /// Text that the caller wants rows to contain.
    pub hint: &'a TextHint,
    /// Columns that are read of every row. The text (the body of a log record, the name of a span) is read
    /// besides where it is not certain that it contains what the hint says. Other columns may come too.
    pub columns: &'a [&'a str],
}

/// Rows of one part.
#[derive(Clone, Copy, Debug)]
pub struct TextRows<'a> {
    /// The rows, with the columns that were asked for.
    pub rows: &'a RecordBatch,
    /// Whether all of them contain what the hint says. Otherwise the caller asks of each.
    pub is_sure: bool,
    part: u32,
}

impl TextRows<'_> {
    /// Where a row is.
    pub fn place(&self, row: usize) -> Place {
        Place { part: self.part, row: numbers(self.rows).value(row) }
    }
}

impl Snapshot {
    /// The rows within the range that may contain the text, batch by batch; parts that end later come first. The visit
    /// can end the search.
    ///
    /// # Errors
    /// For defects of ours only; `stats` counts segments that could not be read.
    pub fn search(
        &self,
        wanted: &TextSearch<'_>,
        stats: &mut ScanStats,
        visit: &mut dyn FnMut(&TextRows<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let TextSearch { signal, range, hint, columns } = *wanted;
        // Of rows in the head nothing says whether they contain the text.
        let mut of_head = columns.to_vec();
        of_head.push(time_column(signal));
        of_head.extend(text_column(signal));
        of_head.sort_unstable();
        of_head.dedup();
        let reads = Reads {
            head: &|batch| {
                let numbers = UInt32Array::from_iter_values(0..batch.rows.num_rows() as u32);
                with_numbers(Some(&project(&batch.rows, &of_head)?), numbers)
            },
            segment: &|segment, visit| segment.search(range, columns, hint, visit),
        };
        let walk = Walk { signal, range, order: ScanOrder::Newest };
        self.walk(walk, &reads, stats, &mut |part, rows, is_sure| {
            visit(&TextRows { rows: &rows, is_sure, part })
        })
    }
}
