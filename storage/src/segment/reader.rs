//! Reading a segment: by row ranges that the index names, or front to back.
//!
//! Invariant: footer and page index are parsed once, when the segment is opened, and shared by all
//! readers.

use std::fs::File;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use model::{Signal, TimeRange};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::statistics::Statistics;

use super::SegmentMeta;
use crate::error::{Context as _, Error, ErrorKind};
use crate::index::IdIndex;
use crate::schema::{self, time_column};

const BATCH_ROWS: usize = 8_192;

/// A segment that is open for reading.
#[derive(Debug)]
pub(crate) struct Segment {
    meta: SegmentMeta,
    data: PathBuf,
    parquet: ArrowReaderMetadata,
    index: Option<IdIndex>,
}

impl Segment {
    /// Opens the segment that the catalog describes.
    pub(crate) fn open(data_dir: &Path, meta: SegmentMeta) -> Result<Arc<Self>, Error> {
        let dir = data_dir.join(meta.path());
        let data = dir.join("data.parquet");
        let doing = || format!("opening `{}`", data.display());
        let file = File::open(&data).context(ErrorKind::Damaged, doing)?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let parquet = ArrowReaderMetadata::load(&file, options).context(ErrorKind::Damaged, doing)?;
        let has_index = schema::group_column(meta.signal).is_some();
        let index = has_index.then(|| IdIndex::open(&dir.join("ids"))).transpose()?;
        Ok(Arc::new(Self { meta, data, parquet, index }))
    }

    pub(crate) fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    pub(crate) fn signal(&self) -> Signal {
        self.meta.signal
    }

    pub(crate) fn data_path(&self) -> &Path {
        &self.data
    }

    /// The rows of every group that carries one of the terms, empty when none does. Reading ends after
    /// the batch with which there are more than `rows_max`.
    pub(crate) fn lookup(&self, terms: &[String], rows_max: usize) -> Result<Vec<RecordBatch>, Error> {
        let Some(index) = &self.index else { return Ok(Vec::new()) };
        let ranges = index.lookup(terms)?;
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let (mut found, mut rows) = (Vec::new(), 0);
        let selection = RowSelection::from_consecutive_ranges(ranges.into_iter(), self.meta.rows as usize);
        let reader = self.builder()?.with_row_selection(selection).build();
        for batch in reader.context(ErrorKind::Damaged, || self.doing())? {
            let batch = batch.context(ErrorKind::Damaged, || self.doing())?;
            rows += batch.num_rows();
            found.push(batch);
            if rows > rows_max {
                break;
            }
        }
        Ok(found)
    }

    /// All rows of the row groups that overlap `range`, with the columns named (all when empty).
    pub(crate) fn scan(
        &self,
        range: &TimeRange,
        columns: &[&str],
        visit: &mut dyn FnMut(RecordBatch) -> Result<ControlFlow<()>, Error>,
    ) -> Result<ControlFlow<()>, Error> {
        let mut builder = self.builder()?.with_row_groups(self.row_groups(range));
        if !columns.is_empty() {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder = builder.with_projection(mask);
        }
        for batch in builder.build().context(ErrorKind::Damaged, || self.doing())? {
            if visit(batch.context(ErrorKind::Damaged, || self.doing())?)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn doing(&self) -> String {
        format!("reading `{}`", self.data.display())
    }

    fn builder(&self) -> Result<ParquetRecordBatchReaderBuilder<File>, Error> {
        let file = File::open(&self.data).context(ErrorKind::Damaged, || self.doing())?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.parquet.clone());
        Ok(builder.with_batch_size(BATCH_ROWS))
    }

    fn row_groups(&self, range: &TimeRange) -> Vec<usize> {
        let schema: &SchemaRef = self.parquet.schema();
        let name = time_column(self.meta.signal);
        let metadata = self.parquet.metadata();
        let leaf = metadata
            .file_metadata()
            .schema_descr()
            .columns()
            .iter()
            .position(|column| column.path().string() == name);
        debug_assert!(schema.index_of(name).is_ok());
        let overlaps = |group: &usize| {
            let times = leaf.and_then(|leaf| metadata.row_group(*group).column(leaf).statistics());
            match times {
                Some(Statistics::Int64(times)) => match (times.min_opt(), times.max_opt()) {
                    (Some(min), Some(max)) => *min <= range.to.0 && range.from.0 <= *max,
                    _ => true,
                },
                _ => true,
            }
        };
        Range { start: 0, end: metadata.num_row_groups() }.filter(overlaps).collect()
    }
}
