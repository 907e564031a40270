//! Rows of a segment that contain some text: the text index says which, and of those it is sure of the text is not read.
//!
//! ```text
//! text/ ─► sure   ─► columns                    ┐  each batch with the numbers of its rows in `row`
//!       ─► maybe  ─► columns and the text       ┘
//! ```
//!
//! Owns: how chosen rows are read. Does not own: which rows the index chooses (`text`), whether they match (the caller).
//!
//! Invariants: a visible row is given at most once; no row that contains the text is left out.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use model::TimeRange;

use super::RowRanges;
use super::reader::Segment;
use crate::error::{Context as _, Error, ErrorKind};
use crate::schema::{text_column, time_column};
use crate::text::{Rows, TextHint};

/// The column with the number of each row in its part.
pub(crate) const ROW: &str = "row";
/// Passing over rows to the next range costs as much as reading so many.
const RANGE_ROWS: usize = 32;
/// Rows that stand closer than this are read with what is between them.
const NEAR_ROWS: usize = 16;
/// Rows of which one batch is made without reading, of twice as many at most.
const NUMBERS: usize = 65_536;

/// Gets each batch, and whether its rows contain the text for certain.
pub(crate) type Visit<'a> = dyn FnMut(RecordBatch, bool) -> Result<ControlFlow<()>, Error> + 'a;

impl Segment {
    /// The visible rows of the row groups that overlap the range, as far as they may contain the text. The time comes where not
    /// all of the segment lies within the range, and the text where the index is not sure.
    pub(crate) fn search(
        &self,
        range: &TimeRange,
        columns: &[&str],
        hint: &TextHint,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, Error> {
        let (signal, time) = (self.signal(), time_column(self.signal()));
        let mut columns = columns.to_vec();
        let is_within = range.contains(self.meta().time.from) && range.contains(self.meta().time.to);
        if !is_within && !columns.contains(&time) {
            columns.push(time);
        }
        let mut with_text = columns.clone();
        with_text.extend(text_column(signal).filter(|text| !columns.contains(text)));
        let visible = self.visible(range);
        let Some(found) = self.rows_with_text(hint) else {
            return self.visit_rows(visible.iter().collect(), &with_text, &mut |batch| visit(batch, false));
        };
        if self.visit_chosen(&found.sure, &visible, &columns, &mut |batch| visit(batch, true))?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.visit_chosen(&found.maybe, &visible, &with_text, &mut |batch| visit(batch, false))
    }

    /// Those of the visible rows that were chosen.
    fn visit_chosen(
        &self,
        chosen: &Rows,
        visible: &RowRanges,
        columns: &[&str],
        visit: &mut dyn FnMut(RecordBatch) -> Result<ControlFlow<()>, Error>,
    ) -> Result<ControlFlow<()>, Error> {
        if columns.is_empty() {
            return visit_numbers(chosen, visible, visit);
        }
        let mut ranges = visible.within(near(chosen).into_iter());
        if ranges.iter().map(|range| range.len() + RANGE_ROWS).sum::<usize>() > self.meta().rows as usize {
            ranges = visible.iter().collect();
        }
        self.visit_rows(ranges, columns, &mut |batch| {
            let rows = numbers(&batch).values();
            let is_chosen = BooleanBuffer::collect_bool(rows.len(), |at| chosen.contains(rows[at] as usize));
            let rows = filter_record_batch(&batch, &BooleanArray::new(is_chosen, None))
                .context(ErrorKind::Internal, || "picking chosen rows".to_owned())?;
            if rows.num_rows() == 0 { Ok(ControlFlow::Continue(())) } else { visit(rows) }
        })
    }

    /// Rows by their numbers, which come with them, with all columns when none is named.
    fn visit_rows(
        &self,
        ranges: Vec<Range<usize>>,
        columns: &[&str],
        visit: &mut dyn FnMut(RecordBatch) -> Result<ControlFlow<()>, Error>,
    ) -> Result<ControlFlow<()>, Error> {
        let mut rows = ranges.clone().into_iter().flatten().map(|row| row as u32);
        if ranges.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        for batch in self.read_ranges(ranges, columns)? {
            let batch = batch?;
            let rows = UInt32Array::from_iter_values(rows.by_ref().take(batch.num_rows()));
            if visit(with_numbers(Some(&batch), rows)?)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Chosen rows of which nothing but the number is wanted.
fn visit_numbers(
    chosen: &Rows,
    visible: &RowRanges,
    visit: &mut dyn FnMut(RecordBatch) -> Result<ControlFlow<()>, Error>,
) -> Result<ControlFlow<()>, Error> {
    let mut rows = Vec::new();
    for range in visible.iter() {
        for start in range.clone().step_by(NUMBERS) {
            chosen.each_within(start..range.end.min(start + NUMBERS), |row| rows.push(row as u32));
            if rows.len() >= NUMBERS
                && visit(with_numbers(None, std::mem::take(&mut rows).into())?)?.is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    if rows.is_empty() { Ok(ControlFlow::Continue(())) } else { visit(with_numbers(None, rows.into())?) }
}

/// The batch with the numbers of its rows in one more column.
pub(crate) fn with_numbers(batch: Option<&RecordBatch>, rows: UInt32Array) -> Result<RecordBatch, Error> {
    let count = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let number = Arc::new(Field::new(ROW, DataType::UInt32, false));
    let fields =
        batch.into_iter().flat_map(|batch| batch.schema_ref().fields().iter().cloned().collect::<Vec<_>>());
    let schema = Arc::new(Schema::new(fields.chain([number]).collect::<Vec<_>>()));
    let mut columns: Vec<ArrayRef> = batch.map(|batch| batch.columns().to_vec()).unwrap_or_default();
    columns.push(Arc::new(rows));
    RecordBatch::try_new_with_options(schema, columns, &count)
        .context(ErrorKind::Damaged, || "numbering rows".to_owned())
}

/// The numbers of the rows of a batch that came from a search.
pub(crate) fn numbers(batch: &RecordBatch) -> &UInt32Array {
    let column = batch.column_by_name(ROW).and_then(|column| column.as_any().downcast_ref());
    column.expect("a search numbers its rows")
}

/// The rows, and what stands between those that are close to one another.
fn near(rows: &Rows) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    rows.each(|row| match ranges.last_mut() {
        Some(last) if row - last.end < NEAR_ROWS => last.end = row + 1,
        _ => ranges.push(row..row + 1),
    });
    ranges
}
