//! One walk over the parts of a snapshot, for everything that looks at all rows of a range.
//!
//! Owns: the order of the parts, what is counted, leaving out rows outside of the range, going on without a segment that cannot be
//! read. Does not own: which rows and columns of a part are read (the caller).
//!
//! Invariant: a batch is counted before it is filtered, so that `rows_scanned` says what was read.

use std::ops::ControlFlow;

use arrow::array::RecordBatch;
use model::{Signal, TimeRange};

use super::{Part, ScanOrder, ScanStats, Snapshot, missing, within};
use crate::error::Error;
use crate::head::HeadBatch;
use crate::schema::time_column;
use crate::segment::reader::Segment;
use crate::segment::search;

/// Rows of which signal and time are read, and in which order.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    pub(super) signal: Signal,
    pub(super) range: &'a TimeRange,
    pub(super) order: ScanOrder,
}

/// How a part is read.
pub(super) struct Reads<'a> {
    /// The rows of a batch of the head, with the time among the columns.
    pub(super) head: &'a dyn Fn(&HeadBatch) -> Result<RecordBatch, Error>,
    /// The rows of a segment, batch by batch; without a column of times only where all of it lies within the range.
    pub(super) segment: &'a ReadSegment<'a>,
}

/// Gives the rows of a segment to a visit, which can end it.
type ReadSegment<'a> = dyn Fn(&Segment, &mut search::Visit<'_>) -> Result<ControlFlow<()>, Error> + 'a;

/// Gets the rows of one part within the range, its number, and whether the rows are sure to be wanted.
pub(super) type Visit<'a> = dyn FnMut(u32, RecordBatch, bool) -> ControlFlow<()> + 'a;

impl Snapshot {
    /// Reads the parts one after the other. The visit can end the walk.
    ///
    /// # Errors
    /// For defects of ours only; `stats` counts segments that could not be read.
    pub(super) fn walk(
        &self,
        walk: Walk<'_>,
        reads: &Reads<'_>,
        stats: &mut ScanStats,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        let Walk { signal, range, order } = walk;
        self.count_unreadable(signal, range, stats);
        for (number, part) in (0..).zip(self.parts(signal, range, order, stats)) {
            let mut step = |rows: RecordBatch, is_sure, stats: &mut ScanStats| {
                stats.rows_scanned += rows.num_rows() as u64;
                let rows = match rows.column_by_name(time_column(signal)) {
                    Some(_) => within(signal, rows, range)?,
                    None => Some(rows),
                };
                let flow = rows.map(|rows| visit(number, rows, is_sure));
                Ok::<_, Error>(flow.unwrap_or(ControlFlow::Continue(())))
            };
            let flow = match part {
                Part::Head(batch) => {
                    stats.head_rows += batch.rows.num_rows() as u64;
                    step((reads.head)(batch)?, false, stats)?
                }
                Part::Segment(segment) => {
                    stats.segments_read += 1;
                    match (reads.segment)(segment, &mut |rows, is_sure| step(rows, is_sure, stats)) {
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
