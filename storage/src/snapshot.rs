//! A snapshot: head and segments at one instant. Every query runs on one.
//!
//! Invariant: what was acknowledged before the snapshot was taken is in it, each row once; it stays as
//! it is while the store goes on. Reads block: call them off the async threads.

mod census;
mod finder;
mod search;
mod walk;

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{AsArray as _, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::TimestampNanosecondType;
use model::{Signal, TimeRange, UnixNano};

use crate::error::{Context as _, Error, ErrorKind};
use crate::head::{HeadBatch, HeadView};
use crate::memory::Reservation;
use crate::rows::{self, TermColumns, Wanted};
use crate::schema::time_column;
use crate::segment::SegmentMeta;
use crate::segment::file::SegmentFile;
use crate::segment::home::source::WantedFiles;
use crate::segment::reader::Segment;
use walk::{Reads, Walk};

pub use census::IdKindCount;
pub use finder::{Finder, Place, Rows};
pub use search::{TextRows, TextSearch};

/// In which order a scan visits the parts of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanOrder {
    /// Data points as they were received, within one hour of their time: of two at the same time the later one counts.
    /// Others as it is convenient.
    Any,
    /// Parts that end later come first; rows within a part are in no promised order.
    Newest,
}

/// What a read cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanStats {
    /// Rows looked at.
    pub rows_scanned: u64,
    /// Segments read from disk.
    pub segments_read: u64,
    /// Segments ruled out by time or index.
    pub segments_pruned: u64,
    /// Rows of the head looked at.
    pub head_rows: u64,
    /// Segments whose rows are missing because they cannot be read.
    pub segments_unreadable: u64,
    /// Whether a lookup ended early, at [`LOOKUP_ROWS_MAX`] rows.
    pub is_cut: bool,
    /// Whether rows are missing because the log was still being replayed.
    pub is_replaying: bool,
    /// Groups that carry a term and were not read, because no more were asked for.
    pub groups_left_out: u64,
}

/// Rows one lookup copies at most.
pub const LOOKUP_ROWS_MAX: usize = 500_000;

/// Head and segments at one instant. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    taken_at: UnixNano,
    /// By signal.
    head: Arc<[HeadView; 3]>,
    segments: Arc<[Arc<Segment>]>,
    unreadable: Arc<[SegmentMeta]>,
    is_partial: bool,
    held: Reservation,
}

/// How many groups may still be read.
struct GroupBudget {
    left: usize,
}

impl GroupBudget {
    fn spend(&mut self, signal: Signal, rows: &RecordBatch) {
        if self.left == usize::MAX {
            return;
        }
        let Some(columns) = TermColumns::new(signal, rows) else { return };
        let groups: HashSet<_> = (0..rows.num_rows()).map(|row| columns.group(row)).collect();
        self.left = self.left.saturating_sub(groups.len());
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    Head(&'a HeadBatch),
    Segment(&'a Segment),
}

impl Part<'_> {
    fn time(&self) -> &TimeRange {
        match self {
            Self::Head(batch) => &batch.time,
            Self::Segment(segment) => &segment.meta().time,
        }
    }
}

impl Snapshot {
    pub(crate) fn new(
        taken_at: UnixNano,
        head: [HeadView; 3],
        segments: Vec<Arc<Segment>>,
        unreadable: Arc<[SegmentMeta]>,
        is_partial: bool,
        held: Reservation,
    ) -> Self {
        Self { taken_at, head: Arc::new(head), segments: segments.into(), unreadable, is_partial, held }
    }

    /// Counts the segments of a signal that should have been read and could not be opened.
    fn count_unreadable(&self, signal: Signal, range: &TimeRange, stats: &mut ScanStats) {
        let missing =
            self.unreadable.iter().filter(|meta| meta.signal == signal && meta.time.overlaps(range));
        stats.segments_unreadable += missing.count() as u64;
        stats.is_replaying |= self.is_partial;
    }

    /// Whether rows are missing because the log was still being replayed.
    pub const fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// The memory that the query holds which this snapshot is for. What is read of the snapshot and kept is reserved
    /// there; whoever keeps more adds to it.
    pub const fn held(&self) -> &Reservation {
        &self.held
    }

    /// When it was taken.
    pub const fn taken_at(&self) -> UnixNano {
        self.taken_at
    }

    /// Rows of a signal in the head and in segments.
    pub fn row_counts(&self, signal: Signal) -> (u64, u64) {
        let head = self.head(signal);
        let segments = self.segments.iter().filter(|segment| segment.signal() == signal);
        (
            head.map(|batch| batch.rows.num_rows() as u64).sum(),
            segments.map(|segment| segment.meta().rows - segment.hidden().rows() as u64).sum(),
        )
    }

    pub(crate) fn head(&self, signal: Signal) -> impl Iterator<Item = &HeadBatch> {
        self.head_view(signal).batches().iter().map(Arc::as_ref)
    }

    pub(crate) fn head_view(&self, signal: Signal) -> &HeadView {
        &self.head[signal.index()]
    }

    pub(crate) fn segments(&self, signal: Signal) -> impl Iterator<Item = &Segment> {
        self.segments.iter().map(Arc::as_ref).filter(move |segment| segment.signal() == signal)
    }

    /// Full rows, within `range`, of every group that carries any of the terms (`kind=value`).
    ///
    /// A group is a trace's rows within one part of the store, or a single record without a trace:
    /// other rows of the same trace are found by asking for `trace_id=…`. `trace_id=<hex>` finds a
    /// trace, `link=<hex>` the spans that link to it, `link=<hex>/<hex>` those that link to one of its spans. `points` carry no ids and are never found.
    ///
    /// At most [`LOOKUP_ROWS_MAX`] rows or a few more; `stats` says when there were others, and how many
    /// segments could not be read. The rows are reserved in [`Snapshot::held`]; those that do not fit are left out.
    ///
    /// # Errors
    /// For defects of ours only.
    pub fn lookup(
        &self,
        signal: Signal,
        range: &TimeRange,
        terms: &[String],
        stats: &mut ScanStats,
    ) -> Result<Vec<RecordBatch>, Error> {
        self.lookup_newest(signal, range, terms, usize::MAX, stats)
    }

    /// As [`Snapshot::lookup`], but no more than `groups_max` groups: those of the parts that end last, and
    /// within a part the last ones. What is left out is not read, however much it is; `stats` counts it.
    ///
    /// # Errors
    /// For defects of ours only.
    pub fn lookup_newest(
        &self,
        signal: Signal,
        range: &TimeRange,
        terms: &[String],
        groups_max: usize,
        stats: &mut ScanStats,
    ) -> Result<Vec<RecordBatch>, Error> {
        let mut groups = GroupBudget { left: groups_max };
        let mut found = Vec::new();
        let mut left = LOOKUP_ROWS_MAX;
        let mut keep = |batch: RecordBatch, left: &mut usize, stats: &mut ScanStats| -> Result<(), Error> {
            stats.rows_scanned += batch.num_rows() as u64;
            stats.is_cut |= *left == 0;
            if let Some(rows) = within(signal, batch, range)?.filter(|_| *left > 0) {
                *left = left.saturating_sub(rows.num_rows());
                found.push(rows);
            }
            Ok(())
        };
        self.count_unreadable(signal, range, stats);
        let head = self.head_view(signal);
        let carriers = head.carriers(&Wanted::new(terms.iter().map(String::as_str)));
        for part in self.parts(signal, range, ScanOrder::Newest, stats) {
            if self.held.refusal().is_some() {
                break;
            }
            match part {
                Part::Head(batch) => {
                    let Some(carriers) = carriers.get(&batch.rows_before) else { continue };
                    let found = head.groups_of(batch, carriers, groups.left);
                    stats.head_rows += found.rows.len() as u64;
                    stats.groups_left_out += found.left_out as u64;
                    if !found.rows.is_empty() {
                        let rows = take_record_batch(&batch.rows, &UInt32Array::from(found.rows))
                            .context(ErrorKind::Internal, || "picking rows of the head".to_owned())?;
                        groups.spend(signal, &rows);
                        if self.held.grow_by(&rows).is_ok() {
                            keep(rows, &mut left, stats)?;
                        }
                    }
                }
                Part::Segment(segment) => match segment.lookup(terms, left, groups.left, &[], &self.held) {
                    Ok((batches, left_out)) => {
                        stats.groups_left_out += left_out as u64;
                        match batches.is_empty() {
                            true => stats.segments_pruned += 1,
                            false => stats.segments_read += 1,
                        }
                        for batch in batches {
                            groups.spend(signal, &batch);
                            keep(batch, &mut left, stats)?;
                        }
                    }
                    Err(error) => missing(&error, stats),
                },
            }
        }
        Ok(found)
    }

    /// All rows within `range`, batch by batch, with the columns named (all when empty; the time
    /// column comes always). The visit can end the scan.
    ///
    /// # Errors
    /// For defects of ours only; `stats` counts segments that could not be read.
    pub fn scan(
        &self,
        signal: Signal,
        range: &TimeRange,
        columns: &[&str],
        order: ScanOrder,
        stats: &mut ScanStats,
        visit: &mut dyn FnMut(&RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut columns = columns.to_vec();
        if !columns.is_empty() && !columns.contains(&time_column(signal)) {
            columns.push(time_column(signal));
        }
        let reads = Reads {
            head: &|batch| project(&batch.rows, &columns),
            segment: &|segment, visit| segment.scan(range, &columns, &mut |batch| visit(batch, false)),
        };
        self.walk(Walk { signal, range, order }, &reads, stats, &mut |_, rows, _| visit(&rows))
    }

    pub(crate) fn parts(
        &self,
        signal: Signal,
        range: &TimeRange,
        order: ScanOrder,
        stats: &mut ScanStats,
    ) -> Vec<Part<'_>> {
        let mut segments: Vec<&Segment> = self.segments(signal).collect();
        if signal == Signal::Metrics {
            segments.sort_unstable_by_key(|segment| segment.meta().received_order());
        }
        let segments = segments.into_iter().map(Part::Segment);
        let head = self.head(signal).map(Part::Head);
        let (mut parts, others): (Vec<_>, Vec<_>) =
            segments.chain(head).partition(|part| part.time().overlaps(range));
        stats.segments_pruned += others.iter().filter(|part| matches!(part, Part::Segment(_))).count() as u64;
        if order == ScanOrder::Newest {
            parts.sort_by_key(|part| std::cmp::Reverse(part.time().to));
        }
        parts
    }

    /// The rows of a signal that are in the head, batch by batch.
    pub fn head_rows(&self, signal: Signal) -> impl Iterator<Item = &RecordBatch> {
        self.head(signal).map(|batch| &batch.rows)
    }

    /// The batches of a signal in the head that may have rows within `range`.
    pub fn head_rows_within(&self, signal: Signal, range: TimeRange) -> impl Iterator<Item = &RecordBatch> {
        let batches = self.head(signal).filter(move |batch| batch.time.overlaps(&range));
        batches.map(|batch| &batch.rows)
    }

    /// The Parquet files of a signal's segments, for engines that read them by themselves.
    ///
    /// # Errors
    /// `Damaged` for a file that is not there any more.
    pub fn segment_files(&self, signal: Signal) -> impl Iterator<Item = Result<SegmentFile, Error>> {
        let segments = self.segments.iter().filter(move |segment| segment.signal() == signal);
        segments.map(SegmentFile::of)
    }

    /// Brings files of one of its segments to the local disk, for another process that reads it. Blocking.
    ///
    /// # Errors
    /// When it is no segment of this snapshot, or the object store that keeps it does not answer.
    pub fn fetch(&self, wanted: &WantedFiles) -> io::Result<()> {
        let mut segments = self.segments(wanted.signal);
        match segments.find(|segment| segment.meta().name == wanted.name) {
            Some(segment) => segment.fetch(wanted),
            None => Err(io::Error::other("no segment of the snapshot")),
        }
    }

    /// Segments of a signal that the catalog names and that cannot be opened: their rows are missing from
    /// every answer.
    pub fn unreadable_segments(&self, signal: Signal) -> usize {
        self.unreadable.iter().filter(|meta| meta.signal == signal).count()
    }
}

/// A segment that went bad while the store is open: its rows are missing from the answer, which says so.
fn missing(error: &Error, stats: &mut ScanStats) {
    tracing::error!("{error}: its rows are missing from an answer");
    stats.segments_unreadable += 1;
}

fn project(rows: &RecordBatch, columns: &[&str]) -> Result<RecordBatch, Error> {
    if columns.is_empty() {
        return Ok(rows.clone());
    }
    let mut indices = Vec::with_capacity(columns.len());
    for name in columns {
        indices
            .push(rows.schema().index_of(name).context(ErrorKind::Internal, || format!("column `{name}`"))?);
    }
    indices.sort_unstable();
    rows.project(&indices).context(ErrorKind::Internal, || "picking columns".to_owned())
}

/// The rows whose time lies in `range`; `None` when there are none.
fn within(signal: Signal, rows: RecordBatch, range: &TimeRange) -> Result<Option<RecordBatch>, Error> {
    if rows.num_rows() == 0 {
        return Ok(None);
    }
    let span = rows::time_range(signal, &rows);
    if range.from <= span.from && span.to <= range.to {
        return Ok(Some(rows));
    }
    if !span.overlaps(range) {
        return Ok(None);
    }
    let times = rows.column_by_name(time_column(signal)).expect("the time column comes always");
    let times = times.as_primitive::<TimestampNanosecondType>();
    let keep: BooleanArray =
        times.values().iter().map(|time| Some(range.contains(UnixNano(*time)))).collect();
    let kept =
        filter_record_batch(&rows, &keep).context(ErrorKind::Internal, || "filtering by time".to_owned())?;
    Ok((kept.num_rows() > 0).then_some(kept))
}
