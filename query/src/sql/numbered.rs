//! Grouping by texts that many rows share: the scan gives them as numbers in a dictionary, and groups are found by number.
//!
//! ```text
//! AggregateExec, partial: by service         NumberedAggregateExec: by service
//!   FilterExec: status = 'error'        ─►     FilterExec: status = 'error'      compared once for each text of a batch
//!     DataSourceExec: texts as views             DataSourceExec: texts as dictionaries
//! ```
//!
//! DataFusion takes up the text of every row to find its group. Here each text is taken up once for each dictionary of a row
//! group, and a row costs a look into a list.
//!
//! Owns: which plans are rewritten, and how. Does not own: the grouping ([`aggregate`]), which columns a file has (`stored`).
//!
//! Invariants: what is not understood stays as it was; the rewritten part has the schema, partitions and rows of the one before.

mod aggregate;

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::config::ConfigOptions;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource as _, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, DynamicFilterPhysicalExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode, Partitioning};
use storage::SegmentFile;

use super::table::cast_to;
use aggregate::NumberedAggregateExec;

/// Columns by their place in the output of a plan.
type Places = BTreeSet<usize>;

/// Rewrites aggregates over our tables.
#[derive(Debug)]
pub(super) struct GroupByNumber;

impl PhysicalOptimizerRule for GroupByNumber {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let numbered = match downcast::<AggregateExec>(&plan) {
                Some(aggregate) => numbered_aggregate(aggregate)?,
                None => None,
            };
            Ok(match numbered {
                Some(numbered) => Transformed::yes(numbered),
                None => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "group_by_number"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The type of a column of numbered texts.
fn numbered_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn downcast<T: Any>(plan: &Arc<dyn ExecutionPlan>) -> Option<&T> {
    (plan.as_ref() as &dyn Any).downcast_ref()
}

/// Whether an expression reads one of the columns.
fn reads(expr: &Arc<dyn PhysicalExpr>, columns: &Places) -> bool {
    collect_columns(expr).iter().any(|column| columns.contains(&column.index()))
}

/// The aggregate over numbers, if it groups by plain columns whose rows come from our tables.
fn numbered_aggregate(aggregate: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let is_plain = matches!(aggregate.mode(), AggregateMode::Partial | AggregateMode::Single)
        && aggregate.group_expr().is_single()
        && aggregate.limit_options().is_none()
        && aggregate.dynamic_expressions_produced().is_empty()
        && *aggregate.input_order_mode() == InputOrderMode::Linear;
    let has_groups = aggregate
        .aggr_expr()
        .iter()
        .all(|one| one.groups_accumulator_supported() && one.order_bys().is_empty());
    let input = aggregate.input();
    let by = aggregate.group_expr().expr().iter().map(|(expr, _)| text_column(expr, &input.schema()));
    let Some(by) = by.collect::<Option<Vec<usize>>>().filter(|by| !by.is_empty() && is_plain && has_groups)
    else {
        return Ok(None);
    };
    let columns: Places = by.iter().copied().collect();
    let arguments = aggregate.aggr_expr().iter().flat_map(|one| one.expressions());
    let mut others = arguments.chain(aggregate.filter_expr().iter().flatten().cloned());
    if others.any(|other| reads(&other, &columns)) {
        return Ok(None);
    }
    let Some(input) = numbered(input, &columns)? else { return Ok(None) };
    Ok(Some(Arc::new(NumberedAggregateExec::new(aggregate, by, input))))
}

/// The place of a column whose texts can be numbered, when the expression is nothing else.
fn text_column(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<usize> {
    let column = expr.downcast_ref::<Column>()?;
    let field = schema.field(column.index());
    (*field.data_type() == DataType::Utf8View).then_some(column.index())
}

/// The same plan with these columns of its output numbered.
fn numbered(plan: &Arc<dyn ExecutionPlan>, columns: &Places) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(filter) = downcast::<FilterExec>(plan) {
        return numbered_filter(filter, columns);
    }
    if let Some(scan) = downcast::<DataSourceExec>(plan) {
        return numbered_scan(plan, scan, columns);
    }
    // What deals the batches of a small scan out to several threads, and puts those of a filter together, which would keep a
    // dictionary of each.
    let deals_out = downcast::<RepartitionExec>(plan).is_some_and(|dealer| {
        matches!(dealer.partitioning(), Partitioning::RoundRobinBatch(_))
            && downcast::<DataSourceExec>(dealer.input()).is_some()
    });
    let is_transparent = downcast::<CooperativeExec>(plan).is_some() || downcast::<UnionExec>(plan).is_some();
    if !is_transparent && !deals_out {
        return Ok(None);
    }
    let children = plan.children().into_iter().map(|child| numbered(child, columns));
    let Some(children) = children.collect::<Result<Option<Vec<_>>>>()? else { return Ok(None) };
    Arc::clone(plan)
        .replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
        .map(Some)
}

/// A filter whose input has more columns numbered where that spares comparing texts.
fn numbered_filter(filter: &FilterExec, columns: &Places) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if filter.fetch().is_some() {
        return Ok(None);
    }
    let schema = filter.input().schema();
    let place =
        |column: &usize| filter.projection().as_ref().map_or(*column, |projection| projection[*column]);
    let wanted: Places = columns.iter().map(place).collect();
    // Columns that only the filter reads are not given out, so that their type is nobody else's.
    let places = 0..filter.schema().fields().len();
    let given_out: Places =
        places.filter(|column| !columns.contains(column)).map(|column| place(&column)).collect();
    if !wanted.is_disjoint(&given_out) {
        return Ok(None);
    }
    let compared = collect_columns(filter.predicate()).into_iter().filter_map(|column| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(column);
        text_column(&column, &schema)
    });
    let compared = compared.filter(|column| {
        !given_out.contains(column)
            && numbered_predicate(filter.predicate(), &Places::from([*column])).is_some()
    });
    let more: Places = compared.chain(wanted.iter().copied()).collect();
    match numbered_filter_of(filter, &more)? {
        None if more != wanted => numbered_filter_of(filter, &wanted),
        filter => Ok(filter),
    }
}

/// The filter over an input with these columns numbered.
fn numbered_filter_of(filter: &FilterExec, wanted: &Places) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(predicate) = numbered_predicate(filter.predicate(), wanted) else { return Ok(None) };
    let Some(input) = numbered(filter.input(), wanted)? else { return Ok(None) };
    let filter = FilterExecBuilder::new(predicate, input)
        .apply_projection_by_ref(filter.projection().as_ref())?
        .with_default_selectivity(filter.default_selectivity())
        // What is left of a batch is handed on: of rows put together each would bring its dictionary.
        .with_batch_size(1)
        .build()?;
    Ok(Some(Arc::new(filter)))
}

/// The same predicate over numbered columns: they are compared with texts, or asked whether they are null, and nothing else.
fn numbered_predicate(predicate: &Arc<dyn PhysicalExpr>, columns: &Places) -> Option<Arc<dyn PhysicalExpr>> {
    if !reads(predicate, columns) {
        return Some(Arc::clone(predicate));
    }
    if let Some(not) = predicate.downcast_ref::<NotExpr>() {
        return Some(Arc::new(NotExpr::new(numbered_predicate(not.arg(), columns)?)));
    }
    if predicate.is::<IsNullExpr>() || predicate.is::<IsNotNullExpr>() {
        return predicate.children()[0].is::<Column>().then(|| Arc::clone(predicate));
    }
    let binary = predicate.downcast_ref::<BinaryExpr>()?;
    let (left, op, right) = (binary.left(), *binary.op(), binary.right());
    let (left, right) = match op {
        Operator::And | Operator::Or => {
            (numbered_predicate(left, columns)?, numbered_predicate(right, columns)?)
        }
        Operator::Eq | Operator::NotEq if left.is::<Column>() => (Arc::clone(left), numbered_literal(right)?),
        Operator::Eq | Operator::NotEq if right.is::<Column>() => {
            (numbered_literal(left)?, Arc::clone(right))
        }
        _ => return None,
    };
    Some(Arc::new(BinaryExpr::new(left, op, right)))
}

fn numbered_literal(expr: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    let text = expr.downcast_ref::<Literal>()?.value().try_as_str()?.map(str::to_owned);
    let value = ScalarValue::Dictionary(Box::new(DataType::Int32), Box::new(ScalarValue::Utf8(text)));
    Some(Arc::new(Literal::new(value)))
}

fn numbered_scan(
    plan: &Arc<dyn ExecutionPlan>,
    scan: &DataSourceExec,
    columns: &Places,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let source: &dyn Any = scan.data_source().as_ref();
    if source.is::<MemorySourceConfig>() {
        return numbered_head(plan, columns).map(Some);
    }
    let Some(config) = source.downcast_ref::<FileScanConfig>() else { return Ok(None) };
    numbered_files(config, columns)
}

/// Rows of the head, their texts numbered as they pass.
fn numbered_head(plan: &Arc<dyn ExecutionPlan>, columns: &Places) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = plan.schema();
    let names: BTreeSet<&str> = columns.iter().map(|column| schema.field(*column).name().as_str()).collect();
    cast_to(Arc::clone(plan), &numbered_schema(&schema, &names))
}

/// Files, read as their pages have them: a dictionary, and numbers of its texts.
fn numbered_files(config: &FileScanConfig, columns: &Places) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let source: &dyn Any = config.file_source().as_ref();
    let Some(source) = source.downcast_ref::<ParquetSource>() else { return Ok(None) };
    let Some(projection) = config.file_source().projection() else { return Ok(None) };
    let Some(stored) = stored_columns(projection, columns) else { return Ok(None) };
    let table = config.file_source().table_schema().table_schema();
    let names: BTreeSet<&str> = stored.iter().map(|column| table.field(*column).name().as_str()).collect();
    let mut numbering = ParquetSource::new(numbered_schema(table, &names))
        .with_table_parquet_options(source.table_parquet_options().clone());
    if let Some(readers) = source.parquet_file_reader_factory() {
        numbering = numbering.with_parquet_file_reader_factory(Arc::clone(readers));
    }
    if let Some(predicate) = source.filter() {
        let Some(predicate) = numbered_pruning(&predicate, &stored) else { return Ok(None) };
        numbering = numbering.with_predicate(predicate);
    }
    let Some(numbering) = numbering.try_pushdown_projection(projection)? else { return Ok(None) };
    let Some(groups) = config.file_groups.iter().map(|group| numbered_group(group, &names)).collect() else {
        return Ok(None);
    };
    let config =
        FileScanConfigBuilder::from(config.clone()).with_source(numbering).with_file_groups(groups).build();
    Ok(Some(DataSourceExec::from_data_source(config)))
}

/// The same predicate for a scan, without what a sort above may find out meanwhile about these columns: it spares reading rows
/// and decides nothing.
fn numbered_pruning(predicate: &Arc<dyn PhysicalExpr>, columns: &Places) -> Option<Arc<dyn PhysicalExpr>> {
    let parts = split_conjunction(predicate).into_iter();
    let parts = parts.filter(|part| !(part.is::<DynamicFilterPhysicalExpr>() && reads(part, columns)));
    parts.map(|part| numbered_predicate(part, columns)).collect::<Option<Vec<_>>>().map(conjunction)
}

/// The columns of the table behind columns of a projection; none when it makes something else of one.
fn stored_columns(projection: &ProjectionExprs, columns: &Places) -> Option<Places> {
    let exprs: Vec<_> = projection.expr_iter().collect();
    let place = |column: &usize| exprs[*column].downcast_ref::<Column>().map(Column::index);
    let stored: Places = columns.iter().map(place).collect::<Option<_>>()?;
    let mut others = exprs.iter().enumerate().filter(|(place, _)| !columns.contains(place));
    (!others.any(|(_, expr)| reads(expr, &stored))).then_some(stored)
}

fn numbered_schema(schema: &Schema, names: &BTreeSet<&str>) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match names.contains(field.name().as_str()) {
        true => Arc::new(field.as_ref().clone().with_data_type(numbered_type())),
        false => Arc::clone(field),
    });
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

/// Files whose readers are told to number these columns, if each file has nothing but numbers in them.
fn numbered_group(group: &FileGroup, names: &BTreeSet<&str>) -> Option<FileGroup> {
    let files = group.files().iter().map(|file| {
        let segment = file.extension::<SegmentFile>()?;
        let is_numbered = names.iter().all(|name| segment.is_numbered(name));
        let schema = numbered_schema(segment.schema(), names);
        is_numbered.then(|| file.clone().with_arrow_schema(schema))
    });
    files.collect::<Option<Vec<_>>>().map(FileGroup::new)
}
