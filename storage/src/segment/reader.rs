//! Reading a segment: by row ranges that an index names (`lookup`), or front to back.
//!
//! Invariants: footer and page index are parsed once, when the segment is opened, and shared by all
//! readers; no block of Parquet is given out whose checksum does not hold; files stay as long as anyone holds the segment; hidden rows are never given out; a batch is small
//! enough for Arrow's 32-bit offsets however large a row is.

use std::borrow::Cow;
use std::io;
use std::ops::{ControlFlow, Range};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{Fields, Schema};
use arrow::error::ArrowError;
use model::{Signal, TimeRange, UnixNano};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowSelection,
};
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::statistics::Statistics;

use super::beside::Beside;
use super::checksums::{CheckedFile, Checksums};
use super::home::source::{Index, SegmentSource, WantedFiles};
use super::layout::Layout;
use super::pages::{CachedGroups, FilePages, PageCache};
use super::ranges::within;
use super::{RowRanges, SegmentMeta, form, home, writer};
use crate::error::{Context as _, Error, ErrorKind};
use crate::folder::Folder;
use crate::index::{self, IdIndex, IdParts};
use crate::schema::{self, FORMAT_VERSION, time_column};
use crate::text::TextIndex;

const BATCH_ROWS: usize = 8_192;
/// Bytes a batch should stay below.
const BATCH_BYTES: u64 = 32 << 20;
/// With more rows wanted at once, pages are not kept: they would push out what look-ups use.
const KEPT_ROWS_MAX: usize = 262_144;

/// A segment that is open for reading. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    files: Arc<Files>,
    hidden: RowRanges,
}

/// The files of a segment, deleted with the last reader once they are dead.
#[derive(Debug)]
struct Files {
    meta: SegmentMeta,
    source: SegmentSource,
    data: PathBuf,
    data_bytes: u64,
    checksums: Option<Arc<Checksums>>,
    parquet: ArrowReaderMetadata,
    layout: Layout,
    /// The columns as look-ups read them.
    fields: Fields,
    /// What is read for all of them.
    levels: OnceLock<FieldLevels>,
    ids: Beside<IdIndex>,
    text: Beside<TextIndex>,
    batch_rows: usize,
    pages: FilePages,
    /// Set when the files are to go with their last reader.
    dead: OnceLock<Folder>,
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Some(folder) = self.dead.get() {
            home::remove_segment(folder, &self.meta);
        }
    }
}

impl Segment {
    /// Opens a segment of the data folder that the catalog describes.
    pub(crate) fn open_in(folder: &Folder, meta: SegmentMeta) -> Result<Arc<Self>, Error> {
        Self::open_with(home::source(folder), meta, &folder.pages)
    }

    /// Opens a segment to read it once: none of its pages are kept.
    pub(crate) fn open(source: impl Into<SegmentSource>, meta: SegmentMeta) -> Result<Arc<Self>, Error> {
        Self::open_with(source.into(), meta, &PageCache::new(0))
    }

    /// Opens a segment whose pages are kept in a cache.
    pub(super) fn open_with(
        source: SegmentSource,
        meta: SegmentMeta,
        pages: &PageCache,
    ) -> Result<Arc<Self>, Error> {
        let data = source.dir(&meta).join("data.parquet");
        let doing = || format!("opening `{}`", data.display());
        let checksums = source.checksums(&meta).context(ErrorKind::Damaged, doing)?;
        let file = source.open_data(&meta, checksums.clone()).context(ErrorKind::Damaged, doing)?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let parquet = metadata_of(&file, options).context(ErrorKind::Damaged, doing)?;
        check_version(&parquet, &data)?;
        let (ids, text) = (id_index(&source, &meta), text_index(&source, &meta));
        let data_bytes = file.bytes();
        let batch_rows = batch_rows(&parquet);
        let layout = Layout::of_file(meta.signal, parquet.schema()).with_id_keys(id_keys(&parquet));
        let (pages, fields) = (pages.of_file(), Layout::looked_up(parquet.schema()));
        let (levels, dead) = (OnceLock::new(), OnceLock::new());
        #[rustfmt::skip]
        let files = Files {
            meta, source, data, data_bytes, checksums, parquet, layout, fields, levels, ids, text, batch_rows,
            pages, dead,
        };
        Ok(Arc::new(Self { files: Arc::new(files), hidden: RowRanges::default() }))
    }

    /// The same segment with these rows hidden.
    pub(crate) fn with_hidden(&self, hidden: RowRanges) -> Arc<Self> {
        Arc::new(Self { files: Arc::clone(&self.files), hidden })
    }

    /// The files go when the last reader has gone. For segments that the catalog does not name any more.
    pub(crate) fn remove_when_unused(&self, folder: &Folder) {
        self.files.dead.get_or_init(|| folder.clone());
    }

    pub(crate) fn meta(&self) -> &SegmentMeta {
        &self.files.meta
    }

    pub(crate) fn signal(&self) -> Signal {
        self.files.meta.signal
    }

    pub(crate) fn data_path(&self) -> &Path {
        &self.files.data
    }

    /// Bytes of its Parquet file; an error when that is not there any more.
    pub(crate) fn data_bytes(&self) -> io::Result<u64> {
        match self.is_cached() {
            true => Ok(self.files.data_bytes),
            false => Ok(std::fs::metadata(&self.files.data)?.len()),
        }
    }

    /// Whether its files are copies of what an object store keeps.
    pub(crate) fn is_cached(&self) -> bool {
        matches!(self.files.source, SegmentSource::Cached(_))
    }

    /// Brings files of it to the local disk, if they are not there anyway.
    pub(crate) fn fetch(&self, wanted: &WantedFiles) -> io::Result<()> {
        match &self.files.source {
            SegmentSource::Folder(_) => Ok(()),
            SegmentSource::Cached(copies) => copies.fetch.fetch(wanted),
        }
    }

    /// Footer and page index, parsed when the segment was opened.
    pub(crate) fn parquet(&self) -> &ArrowReaderMetadata {
        &self.files.parquet
    }

    /// How its rows are laid out in the columns of its file.
    pub(crate) fn layout(&self) -> &Layout {
        &self.files.layout
    }

    /// The attributes that have a column of their own, in how many rows each stands, and whether its values vary.
    pub(crate) fn count_promoted(&self) -> Vec<(String, u64, bool)> {
        let metadata = self.files.parquet.metadata();
        let leaves = metadata.file_metadata().schema_descr().columns();
        let rows_with = |leaf: usize| -> u64 {
            let chunks = metadata.row_groups().iter().map(|group| (group.num_rows(), group.column(leaf)));
            let there = chunks.map(|(rows, chunk)| {
                let missing = chunk.statistics().and_then(Statistics::null_count_opt).unwrap_or(0);
                (rows.max(0) as u64).saturating_sub(missing)
            });
            there.sum()
        };
        let promoted = leaves.iter().enumerate().filter_map(|(leaf, column)| {
            let key = self.files.layout.promoted_key(column.name())?;
            let mut chunks = metadata.row_groups().iter().map(|group| group.column(leaf));
            let is_varied = chunks.any(|chunk| chunk.dictionary_page_offset().is_none());
            Some((key.to_owned(), rows_with(leaf), is_varied))
        });
        promoted.collect()
    }

    /// The row groups of each sorted run of rows.
    pub(crate) fn runs(&self) -> Vec<Range<usize>> {
        runs_of(self.files.parquet.metadata())
    }

    /// The rows of each sorted run of rows.
    pub(crate) fn run_rows(&self) -> Vec<Range<usize>> {
        let groups = self.group_rows(0..self.files.parquet.metadata().num_row_groups());
        let rows = |run: Range<usize>| groups[run.start].start..groups[run.end - 1].end;
        self.runs().into_iter().map(|run| if run.is_empty() { 0..0 } else { rows(run) }).collect()
    }

    /// The same, sorted by the latest time of each.
    pub(crate) fn runs_by_time(&self) -> Vec<Range<usize>> {
        let latest =
            |run: Range<usize>| self.group_times(run).into_iter().flatten().map(|time| time.to).max();
        let mut runs: Vec<_> = self.runs().into_iter().map(latest).zip(self.run_rows()).collect();
        runs.sort_by_key(|(latest, _)| *latest);
        runs.into_iter().map(|(_, rows)| rows).collect()
    }

    /// Whether the columns of the file are these.
    pub(crate) fn has_columns(&self, columns: &Schema) -> bool {
        self.files.parquet.schema().fields() == columns.fields()
    }

    /// The attributes that are ids, as the file names them.
    pub(crate) fn id_keys(&self) -> Option<Vec<String>> {
        id_keys(&self.files.parquet)
    }

    /// The identity index taken apart; `None` when it cannot be used.
    pub(crate) fn id_parts(&self) -> Option<IdParts> {
        self.ids().ask(IdIndex::parts)
    }

    /// Whether what is read of its rows is held against checksums.
    pub(crate) fn has_checksums(&self) -> bool {
        self.files.checksums.is_some()
    }

    /// Rows of a batch that is not too large, of whatever rows.
    pub(crate) fn batch_rows(&self) -> usize {
        self.files.batch_rows
    }

    pub(crate) fn ids(&self) -> &Beside<IdIndex> {
        &self.files.ids
    }

    pub(super) fn text(&self) -> &Beside<TextIndex> {
        &self.files.text
    }

    /// Indexes that cannot be used: its rows are searched without them.
    pub(crate) fn damaged_indexes(&self) -> u64 {
        u64::from(self.files.ids.is_damaged()) + u64::from(self.files.text.is_damaged())
    }

    /// Rows that reads leave out.
    pub(crate) fn hidden(&self) -> &RowRanges {
        &self.hidden
    }

    /// Compares what the file says of itself with what the catalog is to be told.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        let meta = self.meta();
        let metadata = self.files.parquet.metadata();
        let rows = metadata.file_metadata().num_rows().max(0) as u64;
        let times = self.group_times(0..metadata.num_row_groups());
        let from = times.iter().flatten().map(|time| time.from).min();
        let to = times.iter().flatten().map(|time| time.to).max();
        let time = from.zip(to).map(|(from, to)| TimeRange { from, to });
        if rows == meta.rows && time.is_none_or(|time| time == meta.time) {
            return Ok(());
        }
        Err(Error::damaged(format!(
            "`{}` holds {rows} rows within {time:?}, {} within {:?} were written",
            self.files.data.display(),
            meta.rows,
            meta.time
        )))
    }

    /// What the file says of itself, for a catalog that was lost.
    pub(crate) fn described(&self) -> SegmentMeta {
        let metadata = self.files.parquet.metadata();
        let times = self.group_times(0..metadata.num_row_groups());
        let from = times.iter().flatten().map(|time| time.from).min();
        let to = times.iter().flatten().map(|time| time.to).max();
        let time = from.zip(to).map_or(TimeRange::ALL, |(from, to)| TimeRange { from, to });
        let rows = metadata.file_metadata().num_rows().max(0) as u64;
        let meta = self.meta().clone();
        let format_version = version_of(metadata).unwrap_or(meta.format_version);
        SegmentMeta { rows, time, format_version, ..meta }
    }

    /// As [`Segment::read_ranges`], at once.
    #[cfg(test)]
    pub(crate) fn read(&self, rows: Vec<Range<usize>>, columns: &[&str]) -> Result<Vec<RecordBatch>, Error> {
        self.read_ranges(rows, columns)?.collect()
    }

    /// Sorted ranges of rows, apart by the row group that they stand in.
    pub(crate) fn by_group(&self, ranges: &[Range<usize>]) -> Vec<Vec<Range<usize>>> {
        let groups = self.group_rows(0..self.files.parquet.metadata().num_row_groups());
        let within = groups.into_iter().map(|group| within(ranges, group).collect::<Vec<_>>());
        within.filter(|ranges| !ranges.is_empty()).collect()
    }

    /// Sorted ranges of rows, none of them cut, apart by the row group that they begin in.
    pub(crate) fn chunks(&self, ranges: &[Range<usize>]) -> Vec<Vec<Range<usize>>> {
        if ranges.is_empty() {
            return Vec::new();
        }
        let groups = self.group_rows(0..self.files.parquet.metadata().num_row_groups());
        let group_of = |range: &Range<usize>| groups.partition_point(|group| group.end <= range.start);
        ranges.chunk_by(|a, b| group_of(a) == group_of(b)).map(<[Range<usize>]>::to_vec).collect()
    }

    /// Rows of the file, hidden ones too, with the columns named (all when empty), batch by batch.
    pub(crate) fn read_ranges(
        &self,
        ranges: Vec<Range<usize>>,
        columns: &[&str],
    ) -> Result<RowReader<'_>, Error> {
        let rows = ranges.iter().map(Range::len).sum();
        self.read_some(ranges, columns, rows)
    }

    /// As [`Segment::read_ranges`], where these are some of so many rows that are read of the file.
    pub(crate) fn read_some(
        &self,
        ranges: Vec<Range<usize>>,
        columns: &[&str],
        rows_read: usize,
    ) -> Result<RowReader<'_>, Error> {
        // A reader decodes the dictionaries of row groups that it passes over, so it gets none to pass over.
        let (mut groups, mut selected, mut rows) = (Vec::new(), Vec::new(), 0);
        let all = 0..self.files.parquet.metadata().num_row_groups();
        for (group, span) in self.group_rows(all).into_iter().enumerate() {
            let before = selected.len();
            let here = within(&ranges, span.clone());
            selected.extend(here.map(|range| rows + range.start - span.start..rows + range.end - span.start));
            if selected.len() > before {
                groups.push(group);
                rows += span.len();
            }
        }
        // Rows behind the last one are not passed over.
        let end = selected.last().map_or(0, |last| last.end);
        let wanted = selected.iter().map(Range::len).sum();
        let selection = RowSelection::from_consecutive_ranges(selected.iter().cloned(), end);
        let doing = || self.doing();
        let Files { meta, source, checksums, parquet, pages, batch_rows, .. } = &*self.files;
        let open = {
            let (source, meta, checksums) = (source.clone(), meta.clone(), checksums.clone());
            move || source.open_data(&meta, checksums.clone())
        };
        let kept = (rows_read <= KEPT_ROWS_MAX)
            .then(|| CachedGroups::new(parquet.metadata(), groups.clone(), pages, open));
        let stored = match kept.flatten() {
            Some(groups) => {
                let ahead = groups.fetch_ahead(&selected, &self.projection(columns));
                ahead.context(ErrorKind::Damaged, doing)?;
                let levels = self.levels(columns)?;
                ParquetRecordBatchReader::try_new_with_row_groups(
                    &levels,
                    &groups,
                    *batch_rows,
                    Some(selection),
                )
            }
            None => self.builder(columns)?.with_row_groups(groups).with_row_selection(selection).build(),
        };
        let rows = self.restoring(stored.context(ErrorKind::Damaged, doing)?, columns);
        Ok(RowReader { left: wanted, ..rows })
    }

    /// What is read for columns that are named, all when none is; for all it is found out once.
    fn levels(&self, columns: &[&str]) -> Result<Cow<'_, FieldLevels>, Error> {
        let Files { parquet, fields, levels, .. } = &*self.files;
        let (is_all, doing) = (columns.is_empty(), || self.doing());
        if let Some(levels) = levels.get().filter(|_| is_all) {
            return Ok(Cow::Borrowed(levels));
        }
        let (stored, hint) = (parquet.parquet_schema(), Some(fields));
        let found = parquet_to_arrow_field_levels(stored, self.projection(columns), hint);
        let found = found.context(ErrorKind::Damaged, doing)?;
        Ok(if is_all { Cow::Borrowed(levels.get_or_init(|| found)) } else { Cow::Owned(found) })
    }

    /// Rows of the file as rows of the table.
    pub(super) fn restoring(&self, stored: ParquetRecordBatchReader, columns: &[&str]) -> RowReader<'_> {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        RowReader { segment: self, stored, columns, left: usize::MAX }
    }

    /// All visible rows of the row groups that overlap `range`, with the columns named (all when empty).
    pub(crate) fn scan(
        &self,
        range: &TimeRange,
        columns: &[&str],
        visit: &mut dyn FnMut(RecordBatch) -> Result<ControlFlow<()>, Error>,
    ) -> Result<ControlFlow<()>, Error> {
        for batch in self.reader(range, columns, BATCH_ROWS)? {
            if visit(batch?)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The visible rows of the row groups that overlap `range`.
    pub(super) fn visible(&self, range: &TimeRange) -> RowRanges {
        let groups = RowRanges::new(self.group_rows(self.row_groups(range).into_iter()));
        RowRanges::new(groups.iter().flat_map(|group| self.hidden.outside(group)).collect())
    }

    /// The batches that [`Segment::scan`] would visit, in the order of the file, of `batch_rows` at most.
    pub(crate) fn reader(
        &self,
        range: &TimeRange,
        columns: &[&str],
        batch_rows: usize,
    ) -> Result<RowReader<'_>, Error> {
        Ok(self.restoring(self.stored_reader(range, columns, batch_rows)?, columns))
    }

    /// The same in the columns of the file.
    pub(crate) fn stored_reader(
        &self,
        range: &TimeRange,
        columns: &[&str],
        batch_rows: usize,
    ) -> Result<ParquetRecordBatchReader, Error> {
        self.stored_reader_as(self.files.parquet.clone(), self.row_groups(range), columns, batch_rows)
    }

    /// The same of these row groups, with the types of `parquet`, which is the file's.
    pub(super) fn stored_reader_as(
        &self,
        parquet: ArrowReaderMetadata,
        groups: Vec<usize>,
        columns: &[&str],
        batch_rows: usize,
    ) -> Result<ParquetRecordBatchReader, Error> {
        let batch_rows = self.files.batch_rows.min(batch_rows);
        let mut builder = self.builder_as(parquet, columns)?.with_batch_size(batch_rows);
        if !self.hidden.is_empty() {
            let rows = self.group_rows(groups.iter().copied());
            builder = builder.with_row_selection(self.hidden.selection_outside(&rows));
        }
        builder.with_row_groups(groups).build().context(ErrorKind::Damaged, || self.doing())
    }

    /// The Parquet file, every block checked.
    pub(crate) fn open_data(&self) -> io::Result<CheckedFile> {
        self.files.source.open_data(&self.files.meta, self.files.checksums.clone())
    }

    /// What to say of an error while reading.
    pub(crate) fn doing(&self) -> String {
        format!("reading `{}`", self.files.data.display())
    }

    /// A reader of all rows, hidden ones too, with the columns of the file that these of the table are made of.
    pub(super) fn builder(
        &self,
        columns: &[&str],
    ) -> Result<ParquetRecordBatchReaderBuilder<CheckedFile>, Error> {
        self.builder_as(self.files.parquet.clone(), columns)
    }

    fn builder_as(
        &self,
        parquet: ArrowReaderMetadata,
        columns: &[&str],
    ) -> Result<ParquetRecordBatchReaderBuilder<CheckedFile>, Error> {
        let file = self.open_data().context(ErrorKind::Damaged, || self.doing())?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, parquet)
            .with_batch_size(self.files.batch_rows);
        Ok(builder.with_projection(self.projection(columns)))
    }

    /// The columns of the file that these of the table are made of; all when there are none.
    fn projection(&self, columns: &[&str]) -> ProjectionMask {
        if columns.is_empty() {
            return ProjectionMask::all();
        }
        let Files { parquet, layout, .. } = &*self.files;
        let stored: Vec<String> = columns.iter().flat_map(|name| layout.columns_of(name)).collect();
        let fields = parquet.schema().fields().iter().enumerate();
        let roots = fields.filter(|(_, field)| stored.contains(field.name())).map(|(root, _)| root);
        ProjectionMask::roots(parquet.parquet_schema(), roots)
    }

    /// The rows of row groups, counted from the start of the file.
    fn group_rows(&self, groups: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
        let metadata = self.files.parquet.metadata();
        let mut starts = vec![0];
        for group in metadata.row_groups() {
            starts.push(starts[starts.len() - 1] + group.num_rows() as usize);
        }
        groups.map(|group| starts[group]..starts[group + 1]).collect()
    }

    /// Row groups that may have rows within `range`.
    fn row_groups(&self, range: &TimeRange) -> Vec<usize> {
        let groups = 0..self.files.parquet.metadata().num_row_groups();
        let times = self.group_times(groups.clone());
        groups
            .zip(times)
            .filter(|(_, time)| time.is_none_or(|time| time.overlaps(range)))
            .map(|of| of.0)
            .collect()
    }

    /// Earliest and latest time of row groups, as far as the file says.
    fn group_times(&self, groups: Range<usize>) -> Vec<Option<TimeRange>> {
        let name = time_column(self.files.meta.signal);
        let metadata = self.files.parquet.metadata();
        let leaves = metadata.file_metadata().schema_descr().columns();
        let leaf = leaves.iter().position(|column| column.path().string() == name);
        let time = |group: usize| match metadata.row_group(group).column(leaf?).statistics()? {
            Statistics::Int64(times) => {
                let (from, to) = (*times.min_opt()?, *times.max_opt()?);
                Some(TimeRange { from: UnixNano(from), to: UnixNano(to) })
            }
            _ => None,
        };
        groups.map(time).collect()
    }
}

/// Rows of a segment as rows of the table, batch by batch.
pub(crate) struct RowReader<'a> {
    segment: &'a Segment,
    stored: ParquetRecordBatchReader,
    /// Columns of the table to make; all when there are none.
    columns: Vec<String>,
    /// Rows still to come, or more than there are.
    left: usize,
}

impl Iterator for RowReader<'_> {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let stored = next_batch(&mut self.stored)?;
        self.left = stored.as_ref().map_or(0, |stored| self.left.saturating_sub(stored.num_rows()));
        let columns: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        let stored = stored.context(ErrorKind::Damaged, || self.segment.doing());
        Some(stored.and_then(|stored| self.segment.layout().restore(&stored, &columns)))
    }
}

/// Footer and page index of a file, read with as much care as [`next_batch`].
pub(crate) fn metadata_of(
    file: &CheckedFile,
    options: ArrowReaderOptions,
) -> ParquetResult<ArrowReaderMetadata> {
    let load = std::panic::catch_unwind(AssertUnwindSafe(|| ArrowReaderMetadata::load(file, options)));
    load.unwrap_or_else(|_| Err(ParquetError::General("its footer is damaged".to_owned())))
}

/// The next batch of a file. The library takes pages apart as if they were sound, and panics over some that are not: those of
/// files without checksums.
pub(crate) fn next_batch(reader: &mut ParquetRecordBatchReader) -> Option<Result<RecordBatch, ArrowError>> {
    let next = std::panic::catch_unwind(AssertUnwindSafe(|| reader.next()));
    next.unwrap_or_else(|_| Some(Err(ArrowError::ParquetError("its pages are damaged".to_owned()))))
}

/// Refuses files that a newer program has written.
fn check_version(parquet: &ArrowReaderMetadata, data: &Path) -> Result<(), Error> {
    match version_of(parquet.metadata()) {
        Some(version) if version <= FORMAT_VERSION => Ok(()),
        Some(version) => Err(Error::damaged(format!(
            "`{}` has format {version}, this program reads up to {FORMAT_VERSION}: use a newer silmari",
            data.display()
        ))),
        None => Err(Error::damaged(format!("`{}` does not say its format version", data.display()))),
    }
}

/// What a file says of itself under a key.
fn said<'m>(metadata: &'m ParquetMetaData, key: &str) -> Option<&'m str> {
    let pairs = metadata.file_metadata().key_value_metadata()?;
    pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
}

/// The format of a file, if it says it.
pub(crate) fn version_of(metadata: &ParquetMetaData) -> Option<u32> {
    said(metadata, form::VERSION_KEY)?.parse().ok()
}

/// The row groups of each sorted run of rows: the file names the first of each where there are several.
pub(crate) fn runs_of(metadata: &ParquetMetaData) -> Vec<Range<usize>> {
    let named = said(metadata, form::RUNS_KEY);
    let groups = metadata.num_row_groups();
    let is_sound = |starts: &Vec<usize>| {
        starts.first() == Some(&0)
            && starts.windows(2).all(|pair| pair[0] < pair[1])
            && starts.last() < Some(&groups)
    };
    // Whatever a list means that cannot be: no run is smaller than a row group.
    let read = |list: &str| serde_json::from_str(list).ok().filter(is_sound);
    let starts = named.map_or_else(|| vec![0], |list| read(list).unwrap_or((0..groups.max(1)).collect()));
    let ends = starts.iter().skip(1).copied().chain([groups]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

/// The attributes that are ids, as the file names them.
fn id_keys(parquet: &ArrowReaderMetadata) -> Option<Vec<String>> {
    serde_json::from_str(said(parquet.metadata(), form::ID_KEYS_KEY)?).ok()
}

/// The identity index. Points have one when one of them has an exemplar.
fn id_index(source: &SegmentSource, meta: &SegmentMeta) -> Beside<IdIndex> {
    let dir = source.dir(meta).join(Index::Ids.folder());
    match source {
        SegmentSource::Cached(_) if meta.format_version < index::FORMAT_MIN => Beside::outdated(),
        SegmentSource::Folder(_) if index::is_outdated(meta.format_version, &dir) => Beside::outdated(),
        SegmentSource::Cached(copies) => Beside::fetched(copies, meta, Index::Ids, IdIndex::open),
        SegmentSource::Folder(_) if schema::group_column(meta.signal).is_some() || dir.is_dir() => {
            Beside::opened(IdIndex::open(&dir))
        }
        SegmentSource::Folder(_) => Beside::none(),
    }
}

/// The text index, where there is one.
fn text_index(source: &SegmentSource, meta: &SegmentMeta) -> Beside<TextIndex> {
    let (dir, rows) = (source.dir(meta).join(Index::Text.folder()), meta.rows as usize);
    match source {
        SegmentSource::Cached(copies) if writer::may_have_text_index(meta) => {
            Beside::fetched(copies, meta, Index::Text, move |dir| TextIndex::open(dir, rows))
        }
        SegmentSource::Folder(_) if dir.is_dir() => Beside::opened(TextIndex::open(&dir, rows)),
        _ => Beside::none(),
    }
}
/// Rows of a batch that is likely below [`BATCH_BYTES`].
fn batch_rows(parquet: &ArrowReaderMetadata) -> usize {
    let groups = parquet.metadata().row_groups().iter().filter(|group| group.num_rows() > 0);
    let row_bytes = groups.map(|group| group.total_byte_size().max(0) as u64 / group.num_rows() as u64);
    let row_bytes = row_bytes.max().unwrap_or(0).max(1);
    usize::try_from(BATCH_BYTES / row_bytes).unwrap_or(BATCH_ROWS).clamp(1, BATCH_ROWS)
}
