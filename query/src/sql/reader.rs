//! How DataFusion reads segment files: footers as the store parsed them, bytes straight from the file and
//! counted against the statement's limit.
//!
//! Invariant: only files that a scan was given can be read; there is no path from a statement to a file name.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::error::{DataFusionError, Result};
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures_util::future::BoxFuture;
use storage::{CheckedFile, SegmentFile};

use super::source::Cost;

/// Makes readers of the segments that a scan names.
#[derive(Debug)]
pub(super) struct SegmentReaders {
    pub(super) cost: Arc<Cost>,
}

impl ParquetFileReaderFactory for SegmentReaders {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let Some(segment) = file.extension::<SegmentFile>() else {
            return Err(DataFusionError::Internal("a scan of a file that is no segment".to_owned()));
        };
        let metrics = ParquetFileMetrics::new(partition_index, file.path().as_ref(), metrics);
        let (segment, cost) = (segment.clone(), Arc::clone(&self.cost));
        Ok(Box::new(SegmentReader { segment, file: None, cost, metrics }))
    }
}

struct SegmentReader {
    segment: SegmentFile,
    file: Option<CheckedFile>,
    cost: Arc<Cost>,
    metrics: ParquetFileMetrics,
}

impl fmt::Debug for SegmentReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentReader").field("path", &self.segment.path()).finish_non_exhaustive()
    }
}

impl SegmentReader {
    fn read(&mut self, range: &Range<u64>) -> Result<Bytes, ParquetError> {
        let bytes = range.end.saturating_sub(range.start);
        if !self.cost.charge(bytes) {
            return Err(ParquetError::General("the statement reads too much".to_owned()));
        }
        self.metrics.bytes_scanned.add(usize::try_from(bytes).unwrap_or(usize::MAX));
        let file = match self.file.take() {
            Some(file) => file,
            None => self.segment.open()?,
        };
        let length = usize::try_from(bytes).map_err(|error| ParquetError::External(error.into()))?;
        let read = file.read_range(range.start, length)?;
        self.file = Some(file);
        Ok(read)
    }
}

impl AsyncFileReader for SegmentReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        // The statement's thread is its own: blocking hurts nobody.
        Box::pin(std::future::ready(self.read(&range)))
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        Box::pin(std::future::ready(ranges.iter().map(|range| self.read(range)).collect()))
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        Box::pin(std::future::ready(Ok(Arc::clone(self.segment.metadata()))))
    }
}
