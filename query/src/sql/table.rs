//! A snapshot's table for DataFusion: the head's batches and the segments' Parquet files in one plan.
//!
//! Files are read through the `object_store` crate under the URL [`STORE_URL`], which a session has to
//! be given with [`Snapshot::object_store`]; no other store needs to be registered.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use model::Signal;
use storage::Snapshot;

/// The URL under which DataFusion finds segment files.
pub(super) const STORE_URL: &str = "silmari://segments/";

#[derive(Debug)]
pub(super) struct SnapshotTable {
    snapshot: Snapshot,
    signal: Signal,
    schema: SchemaRef,
}

impl SnapshotTable {
    pub(super) fn new(snapshot: Snapshot, signal: Signal) -> Self {
        Self { snapshot, signal, schema: storage::schema::schema(signal) }
    }

    fn head(&self, projection: Option<&Vec<usize>>) -> Result<Arc<dyn ExecutionPlan>> {
        let batches = self.snapshot.head_rows(self.signal).cloned().collect();
        let plan =
            MemorySourceConfig::try_new_exec(&[batches], Arc::clone(&self.schema), projection.cloned())?;
        Ok(plan)
    }

    fn files(
        &self,
        partitions: usize,
        projection: Option<&Vec<usize>>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let mut groups = vec![Vec::new(); partitions.max(1)];
        for (at, file) in self.snapshot.segment_files(self.signal).enumerate() {
            let file = file.map_err(|error| DataFusionError::External(error.into()))?;
            let slot = at % groups.len();
            groups[slot].push(PartitionedFile::new(file.path.as_ref(), file.bytes));
        }
        groups.retain(|group| !group.is_empty());
        if groups.is_empty() {
            return Ok(None);
        }
        let source = Arc::new(ParquetSource::new(Arc::clone(&self.schema)).with_pushdown_filters(true));
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE_URL)?, source)
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(Some(DataSourceExec::from_data_source(config)))
    }
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let head = self.head(projection)?;
        match self.files(state.config().target_partitions(), projection)? {
            Some(files) => UnionExec::try_new(vec![files, head]),
            None => Ok(head),
        }
    }
}
