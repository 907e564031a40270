//! A table for DataFusion: the head's batches and the segments' Parquet files in one plan, without what the
//! filters rule out.
//!
//! ```text
//! filters ─► prune ─┬─ time range ─► segments of that time, batches of the head of that time
//!                   └─ ids ─► identity index of each segment ─► row ranges ─► ParquetAccessPlan; none: not opened
//! ```
//!
//! Row groups and pages are ruled out further by DataFusion, with the statistics of the footers that the
//! store has parsed.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::parquet::ParquetAccessPlan;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use model::Signal;
use storage::SegmentFile;

use super::prune::Wanted;
use super::reader::SegmentReaders;
use super::source::{HeadWanted, Tables};
use super::stored::StoredColumns;

/// The URL under which DataFusion believes segment files to be. The store behind it is empty.
pub(super) const STORE_URL: &str = "silmari://segments/";

#[derive(Debug)]
pub(super) struct SegmentTable {
    tables: Arc<Tables>,
    signal: Signal,
    schema: SchemaRef,
}

impl SegmentTable {
    pub(super) fn new(tables: Arc<Tables>, signal: Signal) -> Self {
        Self { tables, signal, schema: shown_schema(&storage::schema::schema(signal)) }
    }

    fn head(&self, wanted: &Wanted, projection: Option<&Vec<usize>>) -> Result<Arc<dyn ExecutionPlan>> {
        let time = (wanted.time.from.0, wanted.time.to.0);
        let head = HeadWanted { signal: self.signal, columns: projection.cloned(), time };
        let batches = match wanted.is_nothing() {
            true => Vec::new(),
            false => self.tables.head().rows(&head)?,
        };
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let batches = batches.iter().map(|rows| shown(rows, &schema)).collect::<Result<Vec<_>>>()?;
        let shared = batches.first().map_or_else(|| Arc::clone(&schema), RecordBatch::schema);
        // Maps that rows share become each row's own as they pass: all at once they could take many times what the head does.
        cast_to(MemorySourceConfig::try_new_exec(&[batches], shared, None)?, &schema)
    }

    fn files(
        &self,
        wanted: &Wanted,
        filters: &[Expr],
        projection: Option<&Vec<usize>>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let mut files = Vec::new();
        let mut rows = 0;
        for segment in self.tables.segments(self.signal) {
            if wanted.is_nothing() || !segment.time().overlaps(&wanted.time) {
                self.tables.cost.pruned();
                continue;
            }
            let Some(segment) = self.tables.open(segment) else { continue };
            let Some(plan) = access_plan(&segment, &wanted.terms)? else {
                self.tables.cost.pruned();
                continue;
            };
            rows += segment.rows() as usize;
            let file = PartitionedFile::new(shown_path(&segment), segment.bytes());
            files.push(file.with_extension(segment).with_extension(plan));
        }
        if files.is_empty() {
            return Ok(None);
        }
        let readers = SegmentReaders { cost: Arc::clone(&self.tables.cost) };
        let source = ParquetSource::new(Arc::clone(&self.schema))
            .with_parquet_file_reader_factory(Arc::new(readers))
            .with_pushdown_filters(reads_wide(&self.schema, projection) && !filters.iter().any(reads_ids))
            .with_reorder_filters(true);
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows =
            if filters.is_empty() { Precision::Exact(rows) } else { Precision::Inexact(rows) };
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE_URL)?, Arc::new(source))
            .with_file_groups(vec![FileGroup::new(files)])
            .with_statistics(statistics)
            .with_expr_adapter(Some(Arc::new(StoredColumns(self.signal))))
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(Some(DataSourceExec::from_data_source(config)))
    }
}

/// The columns of a table, with texts as views: a file repeats few of them, and a view of one is sixteen bytes to hand on,
/// to compare and to group by, however long it is.
fn shown_schema(schema: &Schema) -> SchemaRef {
    let shown = |field: &FieldRef| match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(shown).collect::<Fields>()))
}

/// The plan with its columns as a schema has them, cast batch by batch as they pass.
pub(super) fn cast_to(plan: Arc<dyn ExecutionPlan>, schema: &Schema) -> Result<Arc<dyn ExecutionPlan>> {
    let types = plan.schema();
    let is_as_wanted = |place: usize| types.field(place).data_type() == schema.field(place).data_type();
    if (0..types.fields().len()).all(is_as_wanted) {
        return Ok(plan);
    }
    let exprs = schema.fields().iter().enumerate().map(|(place, field)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), place));
        let expr = match is_as_wanted(place) {
            true => column,
            false => Arc::new(CastExpr::new(column, field.data_type().clone(), None)),
        };
        (expr, field.name().clone())
    });
    Ok(Arc::new(ProjectionExec::try_new(exprs.collect::<Vec<_>>(), plan)?))
}

/// Rows of the head as rows of the table, but for maps that rows share.
fn shown(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let (mut columns, mut fields) = (Vec::new(), Vec::new());
    for (column, field) in rows.columns().iter().zip(schema.fields()) {
        let column = match field.data_type() {
            DataType::Utf8View => cast(column, field.data_type())?,
            _ => Arc::clone(column),
        };
        fields.push(field.as_ref().clone().with_data_type(column.data_type().clone()));
        columns.push(column);
    }
    let count = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &count)?)
}

/// Whether a column is read that takes much: then rows that a filter rules out are not read of it. Of narrow columns it takes
/// less to read all rows and then filter them: three times less for one column of numbers.
fn reads_wide(schema: &Schema, projection: Option<&Vec<usize>>) -> bool {
    let is_wide = |field: &FieldRef| field.data_type().is_nested() || field.name() == "body";
    match projection {
        Some(columns) => columns.iter().any(|column| is_wide(&schema.fields()[*column])),
        None => schema.fields().iter().any(is_wide),
    }
}

/// Whether a filter is on `ids`. DataFusion hands such a filter to the scan, because it can apply it to a list, and
/// the scan drops it, because it cannot apply it to the map that ids are partly made of.
fn reads_ids(filter: &Expr) -> bool {
    filter.column_refs().iter().any(|column| column.name == "ids")
}

/// What `EXPLAIN` calls a segment's file: table, segment, file, and not where the data folder is.
fn shown_path(segment: &SegmentFile) -> String {
    let parts: Vec<_> = segment.path().iter().map(|part| part.to_string_lossy()).collect();
    parts[parts.len().saturating_sub(3)..].join("/")
}

/// Which rows of a segment to read; `None` when there are none to be read.
fn access_plan(segment: &SegmentFile, terms: &[Vec<String>]) -> Result<Option<ParquetAccessPlan>> {
    let groups = segment.metadata().row_groups();
    let selection = segment.selection(terms).map_err(|error| DataFusionError::External(error.into()))?;
    match selection {
        None => Ok(Some(ParquetAccessPlan::new_all(groups.len()))),
        Some(rows) if !rows.selects_any() => Ok(None),
        Some(rows) => ParquetAccessPlan::try_new_from_overall_row_selection(rows, groups).map(Some),
    }
}

#[async_trait]
impl TableProvider for SegmentTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Filters rule files and rows out; DataFusion applies them once more to what is read.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = Wanted::of(self.signal, filters);
        let head = self.head(&wanted, projection)?;
        match self.files(&wanted, filters, projection)? {
            Some(files) => UnionExec::try_new(vec![files, head]),
            None => Ok(head),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_a_filter_rules_out_are_left_unread_of_wide_columns_only() {
        let logs = shown_schema(&storage::schema::schema(Signal::Logs));
        let reads = |names: &[&str]| {
            let at = |name: &&str| logs.index_of(name).expect("a column of logs");
            reads_wide(&logs, Some(&names.iter().map(at).collect()))
        };
        assert!(!reads(&["service", "time", "severity_number"]), "numbers and texts that repeat");
        assert!(reads(&["service", "body"]) && reads(&["attributes"]) && reads(&["ids"]));
        assert!(reads_wide(&logs, None), "all columns");
    }
}
