//! Many sorted streams of rows into one, duplicates resolved, in memory that is bounded by the number of
//! streams and not by their length.
//!
//! ```text
//! reader ─► batch ─► keys ┐
//! reader ─► batch ─► keys ┼─► smallest key ─► (batch, row) … ─► interleave ─► batch of 8,192 rows
//! reader ─► batch ─► keys ┘         └─► many rows of one batch before all others ─► as they are
//! ```
//!
//! Segments of one window were mostly received one after the other: whole batches go through untouched.
//!
//! What counts as the same row twice:
//! - a span with the same content: a sender that repeated its request;
//! - a point of the same series at the same time: the one received later stays;
//! - of log records none: two that look alike may have happened.
//!
//! Memory: a batch a stream, [`HELD_BYTES_MAX`] besides, and the texts of numbered columns, whose dictionaries in all inputs are small
//! (`rewrite`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrow::array::{Array as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use model::Signal;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::numbers::{self, Numbers};
use crate::error::{Context as _, Error, ErrorKind};
use crate::order::{self, OrderKey};
use crate::plant::{Plant, Planted};
use crate::segment::layout::Layout;
use crate::segment::reader::next_batch;

/// Rows of a batch that is read.
pub(crate) const READ_ROWS: usize = 4_096;
/// Rows of a batch that is given out, or a few more.
const OUT_ROWS: usize = 8_192;
/// Bytes of batches read since rows were last given out.
const HELD_BYTES_MAX: usize = 64 << 20;
/// So many rows of one batch are given out without being put together with others.
const ALONE_MIN: usize = 512;
/// Rows of equal key that a further one is compared with.
const COMPARED_MAX: usize = 8;

/// Which rows of a batch to keep.
pub(crate) type Filter = dyn Fn(&RecordBatch) -> BooleanArray + Send + Sync;

/// One sorted stream.
pub(crate) struct Stream {
    /// Rows in the columns of their file. Texts may be numbered, and are in the same columns of all streams.
    pub(crate) reader: ParquetRecordBatchReader,
    /// The layout of the rows and the one to bring them into, when those are two.
    pub(crate) relaid: Option<(Layout, Layout)>,
    /// What to say when it cannot be read.
    pub(crate) doing: String,
}

/// What a merge did with its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Rows read.
    pub(crate) rows: u64,
    /// Rows the filter left out.
    pub(crate) filtered: u64,
    /// Rows left out because they are there already.
    pub(crate) duplicates: u64,
}

/// A merge under way.
pub(crate) struct Merger<'a> {
    signal: Signal,
    filter: Option<&'a Filter>,
    cursors: Vec<Option<Cursor>>,
    heap: BinaryHeap<Reverse<(OrderKey, usize)>>,
    numbers: Numbers,
    /// Batches that `pending` refers to; the current one of every cursor is among them.
    held: Vec<RecordBatch>,
    held_bytes: usize,
    /// (batch, row) in order.
    pending: Vec<(usize, usize)>,
    /// Where in `pending` the rows of the last key begin.
    run: Option<(OrderKey, usize)>,
    tally: Tally,
    planted: Planted,
}

struct Cursor {
    stream: Stream,
    keys: Vec<OrderKey>,
    batch: usize,
    row: usize,
}

impl<'a> Merger<'a> {
    /// Of streams in the order in which their rows were received.
    pub(crate) fn new(
        signal: Signal,
        streams: Vec<Stream>,
        filter: Option<&'a Filter>,
        planted: Planted,
    ) -> Result<Self, Error> {
        let mut merger = Self {
            signal,
            filter,
            cursors: Vec::new(),
            heap: BinaryHeap::new(),
            numbers: Numbers::default(),
            held: Vec::new(),
            held_bytes: 0,
            pending: Vec::new(),
            run: None,
            tally: Tally::default(),
            planted,
        };
        for stream in streams {
            let at = merger.cursors.len();
            merger.cursors.push(Some(Cursor { stream, keys: Vec::new(), batch: 0, row: 0 }));
            merger.load(at)?;
        }
        Ok(merger)
    }

    /// What was done so far.
    pub(crate) const fn tally(&self) -> Tally {
        self.tally
    }

    /// The next rows in order; `None` at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        while let Some(Reverse((key, at))) = self.heap.pop() {
            let is_new = self.run.is_none_or(|(last, _)| last != key);
            let is_full = self.pending.len() >= OUT_ROWS || self.held_bytes > HELD_BYTES_MAX;
            let alone = if is_new { self.alone(at) } else { 0 };
            if is_new && (is_full || alone > 0) && !self.pending.is_empty() {
                self.heap.push(Reverse((key, at)));
                return self.give_out().map(Some);
            }
            if alone > 0 {
                return self.pass_on(at, alone).map(Some);
            }
            if is_new {
                self.run = Some((key, self.pending.len()));
            }
            let cursor = self.cursors[at].as_mut().expect("a cursor in the heap has rows");
            let place = (cursor.batch, cursor.row);
            cursor.row += 1;
            match cursor.keys.get(cursor.row) {
                Some(next) => self.heap.push(Reverse((*next, at))),
                None => self.load(at)?,
            }
            self.add(place);
        }
        if self.pending.is_empty() { Ok(None) } else { self.give_out().map(Some) }
    }

    /// How many of a cursor's next rows can be given out as they are: they stand before those of all other streams, and none
    /// is there twice. 0 when they are few.
    fn alone(&self, at: usize) -> usize {
        let cursor = self.cursors[at].as_ref().expect("a cursor in the heap has rows");
        let left = &cursor.keys[cursor.row..];
        let before_others = match self.heap.peek() {
            Some(Reverse((other, _))) => left.partition_point(|key| key < other),
            None => left.len(),
        };
        if before_others < ALONE_MIN {
            return 0;
        }
        if self.signal == Signal::Logs {
            return before_others;
        }
        // A row may be there again, next to it or at the beginning of the next batch.
        let pairs = left[..before_others].windows(2);
        let distinct = pairs.take_while(|pair| pair[0] != pair[1]).count();
        if distinct < ALONE_MIN { 0 } else { distinct }
    }

    fn pass_on(&mut self, at: usize, rows: usize) -> Result<RecordBatch, Error> {
        let cursor = self.cursors[at].as_mut().expect("a cursor in the heap has rows");
        let batch = self.held[cursor.batch].slice(cursor.row, rows);
        cursor.row += rows;
        match cursor.keys.get(cursor.row) {
            Some(next) => self.heap.push(Reverse((*next, at))),
            None => self.load(at)?,
        }
        self.forget_held();
        Ok(batch)
    }

    /// Reads the next batch of a stream that has rows, or ends the stream.
    fn load(&mut self, at: usize) -> Result<(), Error> {
        let cursor = self.cursors[at].as_mut().expect("an ended stream is not loaded again");
        while let Some(batch) = next_batch(&mut cursor.stream.reader) {
            let batch = batch.context(ErrorKind::Damaged, || cursor.stream.doing.clone())?;
            let batch = match &cursor.stream.relaid {
                Some((from, to)) => to.store(&from.restore(&batch, &[])?)?,
                None => batch,
            };
            self.tally.rows += batch.num_rows() as u64;
            let read = batch.num_rows();
            let batch = match self.filter {
                Some(filter) => filter_record_batch(&batch, &filter(&batch))
                    .context(ErrorKind::Internal, || cursor.stream.doing.clone())?,
                None => batch,
            };
            self.tally.filtered += (read - batch.num_rows()) as u64;
            if batch.num_rows() == 0 {
                continue;
            }
            let batch = self
                .numbers
                .renumbered(batch)
                .context(ErrorKind::Internal, || cursor.stream.doing.clone())?;
            cursor.keys = order::keys(self.signal, &batch);
            (cursor.batch, cursor.row) = (self.held.len(), 0);
            self.heap.push(Reverse((cursor.keys[0], at)));
            self.held_bytes += numbers::bytes(&batch);
            self.held.push(batch);
            return Ok(());
        }
        self.cursors[at] = None;
        Ok(())
    }

    /// Takes a row unless it is there already. The run begins at or before the end of `pending`.
    fn add(&mut self, place: (usize, usize)) {
        let (_, start) = self.run.expect("set before rows are added");
        let run = start..self.pending.len();
        match self.signal {
            Signal::Logs => self.pending.push(place),
            _ if self.planted.has(Plant::DuplicatesKept) => self.pending.push(place),
            Signal::Traces => {
                let mut last = run.rev().take(COMPARED_MAX);
                if last.any(|at| self.is_same(self.pending[at], place, &[])) {
                    self.tally.duplicates += 1;
                } else {
                    self.pending.push(place);
                }
            }
            Signal::Metrics => {
                let mut last = run.rev().take(COMPARED_MAX);
                match last.find(|at| self.is_same(self.pending[*at], place, &["name", "labels"])) {
                    Some(at) => {
                        self.tally.duplicates += 1;
                        self.pending[at] = place;
                    }
                    None => self.pending.push(place),
                }
            }
        }
    }

    /// Whether two rows have the same values in the columns named, in all when none is.
    fn is_same(&self, a: (usize, usize), b: (usize, usize), columns: &[&str]) -> bool {
        let (left, right) = (&self.held[a.0], &self.held[b.0]);
        let schema = left.schema_ref();
        (0..left.num_columns())
            .filter(|at| columns.is_empty() || columns.contains(&schema.field(*at).name().as_str()))
            .all(|at| left.column(at).slice(a.1, 1) == right.column(at).slice(b.1, 1))
    }

    fn give_out(&mut self) -> Result<RecordBatch, Error> {
        let batch = self
            .numbers
            .interleaved(&self.held, &self.pending)
            .context(ErrorKind::Internal, || "merging rows".to_owned())?;
        self.forget_held();
        Ok(batch)
    }

    /// Keeps the batches that cursors are at.
    fn forget_held(&mut self) {
        let mut kept = Vec::with_capacity(self.cursors.len());
        for cursor in self.cursors.iter_mut().flatten() {
            kept.push(self.held[cursor.batch].clone());
            cursor.batch = kept.len() - 1;
        }
        self.held = kept;
        self.held_bytes = 0;
        self.pending.clear();
        self.run = None;
    }
}
