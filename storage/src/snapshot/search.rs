//! Rows of a snapshot that contain some text, with no more read of them than is asked for.
//!
//! Owns: the order of the parts, the numbers of rows. Does not own: which rows of a segment are read (`segment::search`),
//! whether a row matches (the caller).
//!
//! Invariants: a row is given at most once; no row within the range that contains the text is left out; a place is that of
//! a [`Finder`](super::Finder) of the same snapshot and range.

use std::ops::ControlFlow;

use arrow::array::{RecordBatch, UInt32Array};
use model::{Signal, TimeRange};

use super::{Part, Place, ScanOrder, ScanStats, Snapshot, missing, project, within};
use crate::error::Error;
use crate::schema::{text_column, time_column};
use crate::segment::search::{self, numbers, with_numbers};
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
        self.count_unreadable(signal, range, stats);
        let parts = self.parts(signal, range, ScanOrder::Newest, stats);
        for (part, found) in (0..).zip(parts) {
            let mut step = |rows: RecordBatch, is_sure, stats: &mut ScanStats| {
                stats.rows_scanned += rows.num_rows() as u64;
                // Where the time was not read, all rows lie within the range.
                let rows = match rows.column_by_name(time_column(signal)) {
                    Some(_) => within(signal, rows, range)?,
                    None => Some(rows),
                };
                let visit = |rows: RecordBatch| visit(&TextRows { rows: &rows, is_sure, part });
                Ok::<_, Error>(rows.map_or(ControlFlow::Continue(()), visit))
            };
            let flow = match found {
                Part::Head(batch) => {
                    stats.head_rows += batch.rows.num_rows() as u64;
                    let mut columns = columns.to_vec();
                    columns.push(time_column(signal));
                    columns.extend(text_column(signal));
                    columns.sort_unstable();
                    columns.dedup();
                    let numbers = UInt32Array::from_iter_values(0..batch.rows.num_rows() as u32);
                    step(with_numbers(Some(&project(&batch.rows, &columns)?), numbers)?, false, stats)?
                }
                Part::Segment(segment) => {
                    stats.segments_read += 1;
                    let visit: &mut search::Visit<'_> = &mut |rows, is_sure| step(rows, is_sure, stats);
                    match segment.search(range, columns, hint, visit) {
                        Ok(flow) => flow,
                        Err(error) => {
                            missing(&error, stats);
                            ControlFlow::Continue(())
                        }
                    }
                }
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }
}
