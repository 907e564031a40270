//! A segment as another engine reads it: its Parquet file, the footer already parsed, and which of its rows
//! to read.
//!
//! Does not own: the reading. A [`SegmentDescription`] goes to another process, which opens the same files.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use model::{Signal, TimeRange, UnixNano};
use parquet::arrow::arrow_reader::RowSelection;
use parquet::file::metadata::ParquetMetaData;
use serde::{Deserialize, Serialize};

use super::checksums::CheckedFile;
use super::home::source::{Copies, Fetch, SegmentSource};
use super::reader::Segment;
use super::{RowRanges, SegmentMeta};
use crate::error::{Context as _, Error, ErrorKind};
use crate::index::Sought;
use crate::schema;

/// A Parquet file with the rows of one segment. Cheap to clone; the file stays as long as it is held.
#[derive(Clone, Debug)]
pub struct SegmentFile {
    bytes: u64,
    segment: Arc<Segment>,
}

/// Enough to open the same segment in another process, while this one holds its [`SegmentFile`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SegmentDescription {
    data_dir: PathBuf,
    /// Whether its files are copies, and missing ones have to be fetched.
    is_cached: bool,
    signal: Signal,
    name: String,
    level: u32,
    sequences: (u64, u64),
    time: (i64, i64),
    rows: u64,
    bytes: u64,
    delete_id: u64,
    format_version: u32,
    hidden: Vec<Range<usize>>,
}

impl SegmentFile {
    pub(crate) fn of(segment: &Arc<Segment>) -> Result<Self, Error> {
        let bytes = segment.data_bytes().context(ErrorKind::Damaged, || segment.doing())?;
        Ok(Self { bytes, segment: Arc::clone(segment) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.segment.data_path()
    }

    /// Opens it; what is read is checked.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(&self) -> io::Result<CheckedFile> {
        self.segment.open_data()
    }

    /// What its rows are.
    pub fn signal(&self) -> Signal {
        self.segment.signal()
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its rows, without those that deletes hide.
    pub fn rows(&self) -> u64 {
        self.segment.meta().rows - self.segment.hidden().rows() as u64
    }

    /// Earliest and latest time of its rows.
    pub fn time(&self) -> TimeRange {
        self.segment.meta().time
    }

    /// Footer and page index, parsed when the segment was opened.
    pub fn metadata(&self) -> &Arc<ParquetMetaData> {
        self.segment.parquet().metadata()
    }

    /// Whether a text column of the file is nothing but numbers of texts, in every row group.
    pub fn is_numbered(&self, column: &str) -> bool {
        self.segment.is_numbered(column)
    }

    /// The columns of the file.
    pub fn schema(&self) -> &SchemaRef {
        self.segment.parquet().schema()
    }

    /// Which rows to read when of each list in `terms` a row has to carry one term (`kind=value`); `None` for
    /// all. Rows that deletes hide are never among them, rows that carry none of the terms can be. The
    /// identity index is asked, no row is read.
    ///
    /// # Errors
    /// `Damaged` when the index cannot be read.
    pub fn selection(&self, terms: &[Vec<String>]) -> Result<Option<RowSelection>, Error> {
        let meta = self.segment.meta();
        let hidden = self.segment.hidden();
        let all = meta.rows as usize;
        let has_ids = schema::group_column(meta.signal).is_some();
        let mut wanted: Option<RowSelection> = None;
        for either in terms.iter().filter(|_| has_ids) {
            let ranges = RowRanges::new(self.segment.groups_with(&Sought::all(either), usize::MAX)?.0);
            let these = RowSelection::from_consecutive_ranges(ranges.iter(), all);
            wanted = Some(match wanted {
                None => these,
                Some(those) => those.intersection(&these),
            });
        }
        if hidden.is_empty() {
            return Ok(wanted);
        }
        let visible = RowSelection::from_consecutive_ranges(hidden.outside(0..all).into_iter(), all);
        Ok(Some(wanted.map_or(visible.clone(), |wanted| wanted.intersection(&visible))))
    }

    /// What another process needs to open it.
    pub fn description(&self) -> SegmentDescription {
        let meta = self.segment.meta();
        // data.parquet < name < table < segments < the data folder
        let data_dir = self.path().ancestors().nth(4).unwrap_or(Path::new("."));
        SegmentDescription {
            is_cached: self.segment.is_cached(),
            data_dir: std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned()),
            signal: meta.signal,
            name: meta.name.clone(),
            level: meta.level,
            sequences: meta.sequences,
            time: (meta.time.from.0, meta.time.to.0),
            rows: meta.rows,
            bytes: meta.bytes,
            delete_id: meta.delete_id,
            format_version: meta.format_version,
            hidden: self.segment.hidden().iter().collect(),
        }
    }
}

impl SegmentDescription {
    /// What its rows are.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// Earliest and latest time of its rows.
    pub fn time(&self) -> TimeRange {
        TimeRange { from: UnixNano(self.time.0), to: UnixNano(self.time.1) }
    }

    /// Opens the files; those of an object store are fetched by `fetch` where there is no copy.
    ///
    /// # Errors
    /// `Damaged` when they are not there or cannot be read.
    pub fn open(&self, fetch: &Arc<dyn Fetch>) -> Result<SegmentFile, Error> {
        let meta = SegmentMeta {
            name: self.name.clone(),
            time: self.time(),
            rows: self.rows,
            bytes: self.bytes,
            delete_id: self.delete_id,
            format_version: self.format_version,
            ..SegmentMeta::named(self.signal, self.level, self.sequences, 0)
        };
        meta.check_version()?;
        let source = match self.is_cached {
            false => SegmentSource::from(&self.data_dir),
            true => {
                let (root, fetch) = (self.data_dir.as_path().into(), Arc::clone(fetch));
                SegmentSource::Cached(Copies { root, fetch, cache: None })
            }
        };
        let segment = Segment::open(source, meta)?;
        SegmentFile::of(&segment.with_hidden(RowRanges::new(self.hidden.clone())))
    }
}
