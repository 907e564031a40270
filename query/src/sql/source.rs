//! Where a statement's rows come from: the files of segments, and the head, which may be in another process.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::Result;
use model::{Signal, TimeRange, UnixNano};
use serde::{Deserialize, Serialize};
use storage::{Fetch, SegmentDescription, SegmentFile, Snapshot};

/// Which rows of the head are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeadWanted {
    pub(super) signal: Signal,
    /// Columns by their place in the table, `None` for all.
    pub(super) columns: Option<Vec<usize>>,
    /// Unix nanoseconds, both ends included.
    pub(super) time: (i64, i64),
}

/// The head of a snapshot.
pub(super) trait Head: Debug + Send + Sync {
    /// Batches that may have rows within the range, with the columns asked for; attributes of resources are numbers of maps that
    /// rows share.
    fn rows(&self, wanted: &HeadWanted) -> Result<Vec<RecordBatch>>;
}

impl Head for Snapshot {
    fn rows(&self, wanted: &HeadWanted) -> Result<Vec<RecordBatch>> {
        let (from, to) = wanted.time;
        let time = TimeRange { from: UnixNano(from), to: UnixNano(to) };
        let batches = self.head_rows_within(wanted.signal, time);
        let mut rows = Coalesced::default();
        for batch in batches {
            match &wanted.columns {
                None => rows.push(batch.clone())?,
                Some(columns) => rows.push(batch.project(columns)?)?,
            }
        }
        rows.finish()
    }
}

/// Rows of a batch that is large enough.
const BATCH_ROWS: usize = 8_192;
/// Bytes of a batch that is large enough.
const BATCH_BYTES: usize = 16 << 20;

/// Small batches made into larger ones: the head has one a request, and each costs as much as a hundred rows.
#[derive(Default)]
struct Coalesced {
    done: Vec<RecordBatch>,
    pending: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Coalesced {
    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.pending.push(batch);
        if self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES { self.end_batch() } else { Ok(()) }
    }

    fn end_batch(&mut self) -> Result<()> {
        if let Some(first) = self.pending.first() {
            self.done.push(concat_batches(&first.schema(), &self.pending)?);
        }
        self.pending.clear();
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<RecordBatch>> {
        self.end_batch()?;
        Ok(self.done)
    }
}

/// A segment that a table has.
#[derive(Debug)]
pub(super) enum Segment {
    Open(SegmentFile),
    /// To be opened when it turns out to be needed.
    Described(SegmentDescription, Arc<dyn Fetch>),
}

impl Segment {
    fn signal(&self) -> Signal {
        match self {
            Self::Open(file) => file.signal(),
            Self::Described(description, _) => description.signal(),
        }
    }

    pub(super) fn time(&self) -> TimeRange {
        match self {
            Self::Open(file) => file.time(),
            Self::Described(description, _) => description.time(),
        }
    }
}

/// Segments that were opened, by what they were described as.
pub(super) type Opened = HashMap<SegmentDescription, SegmentFile>;

/// The three tables.
#[derive(Debug)]
pub(super) struct Tables {
    head: Arc<dyn Head>,
    segments: Vec<Segment>,
    opened: Mutex<Opened>,
    /// Segments that cannot be read and are missing, by [`Signal::index`].
    unreadable: [AtomicUsize; 3],
    pub(super) cost: Arc<Cost>,
}

/// What reading files costs, and may cost.
#[derive(Debug, Default)]
pub(super) struct Cost {
    bytes: AtomicU64,
    bytes_max: u64,
    segments_pruned: AtomicU64,
}

impl Cost {
    pub(super) fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max, ..Self::default() })
    }

    /// Counts bytes that are about to be read; `false` when they are too many.
    pub(super) fn charge(&self, bytes: u64) -> bool {
        self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.bytes_max
    }

    /// Whether reading was ended by the limit.
    pub(super) fn is_exceeded(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.bytes_max
    }

    pub(super) fn pruned(&self) {
        self.segments_pruned.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn segments_pruned(&self) -> u64 {
        self.segments_pruned.load(Ordering::Relaxed)
    }
}

impl Tables {
    pub(super) fn new(
        head: Arc<dyn Head>,
        segments: Vec<Segment>,
        opened: Opened,
        unreadable: [usize; 3],
        scan_bytes_max: usize,
    ) -> Self {
        let unreadable = unreadable.map(AtomicUsize::new);
        let cost = Cost::new(scan_bytes_max as u64);
        Self { head, segments, opened: Mutex::new(opened), unreadable, cost }
    }

    /// The tables of a snapshot in this process.
    pub(super) fn of(snapshot: &Snapshot, scan_bytes_max: usize) -> Self {
        let mut unreadable = Signal::ALL.map(|signal| snapshot.unreadable_segments(signal));
        let mut segments = Vec::new();
        for signal in Signal::ALL {
            for file in snapshot.segment_files(signal) {
                match file {
                    Ok(file) => segments.push(Segment::Open(file)),
                    Err(error) => {
                        tracing::error!("{error}: its rows are missing from an answer");
                        unreadable[signal.index()] += 1;
                    }
                }
            }
        }
        Self::new(Arc::new(snapshot.clone()), segments, HashMap::new(), unreadable, scan_bytes_max)
    }

    pub(super) fn head(&self) -> &dyn Head {
        &*self.head
    }

    pub(super) fn segments(&self, signal: Signal) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(move |segment| segment.signal() == signal)
    }

    /// The segment's file, opened if it was not; `None` when it cannot be, which [`Tables::unreadable`] counts.
    pub(super) fn open(&self, segment: &Segment) -> Option<SegmentFile> {
        let (description, fetch) = match segment {
            Segment::Open(file) => return Some(file.clone()),
            Segment::Described(description, fetch) => (description, fetch),
        };
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = opened.get(description) {
            return Some(file.clone());
        }
        match description.open(fetch) {
            Ok(file) => {
                opened.insert(description.clone(), file.clone());
                Some(file)
            }
            Err(error) => {
                tracing::error!("{error}: its rows are missing from an answer");
                self.unreadable[description.signal().index()].fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// Segments of a signal whose rows are missing, as far as they were needed.
    pub(super) fn unreadable(&self, signal: Signal) -> usize {
        self.unreadable[signal.index()].load(Ordering::Relaxed)
    }

    /// What the segments are described as, for another process.
    pub(super) fn descriptions(&self) -> Vec<SegmentDescription> {
        let describe = |segment: &Segment| match segment {
            Segment::Open(file) => file.description(),
            Segment::Described(description, _) => description.clone(),
        };
        self.segments.iter().map(describe).collect()
    }

    /// The files that were opened, but for those of segments that are not in these tables any more.
    pub(super) fn take_opened(&self) -> Opened {
        let mut opened = std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        let live: HashSet<SegmentDescription> = self.descriptions().into_iter().collect();
        opened.retain(|description, _| live.contains(description));
        opened
    }
}
