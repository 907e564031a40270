//! A DataFusion session that can read three tables and nothing else.

use std::any::Any;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::dataframe::DataFrame;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, TrackConsumersPool};
use datafusion::execution::object_store::{
    DefaultObjectStoreRegistry, ObjectStoreRegistry as _, ObjectStoreUrl,
};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::object_store::memory::InMemory;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement;
use model::Signal;
use query_api::QueryStats;

use super::SqlLimits;
use super::functions::scalar_functions;
use super::guard::Checked;
use super::numbered::GroupByNumber;
use super::source::Tables;
use super::table::{STORE_URL, SegmentTable};

/// A session over three tables: the offered functions, bounded memory, no files but the tables', nothing
/// spilled to disk.
pub(super) fn context(tables: &Arc<Tables>, limits: &SqlLimits) -> Result<SessionContext> {
    let mut config =
        SessionConfig::new().with_target_partitions(super::threads()).with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.execution.enable_recursive_ctes = false;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime_env(limits)?)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(scalar_functions())
        .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .with_physical_optimizer_rule(Arc::new(GroupByNumber))
        .build();
    let context = SessionContext::new_with_state(state);
    for signal in Signal::ALL {
        context.register_table(signal.table(), Arc::new(SegmentTable::new(Arc::clone(tables), signal)))?;
    }
    Ok(context)
}

fn runtime_env(limits: &SqlLimits) -> Result<Arc<RuntimeEnv>> {
    // The default registry knows `file://`: that goes. A scan wants a store to be there, so there is one, and it
    // is empty: segments are read by `reader`, which no URL leads to.
    let stores = DefaultObjectStoreRegistry::new();
    stores.deregister_store(ObjectStoreUrl::local_filesystem().as_ref())?;
    stores.register_store(ObjectStoreUrl::parse(STORE_URL)?.as_ref(), Arc::new(InMemory::new()));
    let named_consumers = NonZeroUsize::new(3).expect("3 is not 0");
    let pool = TrackConsumersPool::new(GreedyMemoryPool::new(limits.memory_bytes_max), named_consumers);
    RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::new(stores))
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()
}

/// Plans a checked statement. The plan is checked once more, by DataFusion.
pub(super) async fn plan(context: &SessionContext, checked: Checked) -> Result<DataFrame> {
    let plan = context.state().statement_to_plan(Statement::Statement(Box::new(checked.statement))).await?;
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(&plan)?;
    context.execute_logical_plan(plan).await
}

/// What the scans of a plan that has run cost. Rows that statistics or filters ruled out inside a segment
/// are not counted.
pub(super) fn scan_cost(plan: &dyn ExecutionPlan) -> QueryStats {
    let mut cost = QueryStats::default();
    if let Some(scan) = (plan as &dyn Any).downcast_ref::<DataSourceExec>() {
        let source: &dyn Any = scan.data_source().as_ref();
        if let Some(head) = source.downcast_ref::<MemorySourceConfig>() {
            cost.head_rows = head.partitions().iter().flatten().map(|batch| batch.num_rows() as u64).sum();
            cost.rows_scanned = cost.head_rows;
        } else if let Some(files) = source.downcast_ref::<FileScanConfig>() {
            // Parts of one file can be in several groups.
            let files: HashSet<_> =
                files.file_groups.iter().flat_map(|group| group.iter()).map(|file| file.path()).collect();
            cost.segments_read = files.len() as u64;
            cost.rows_scanned = plan.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0) as u64;
        }
    }
    for child in plan.children() {
        cost.add(&scan_cost(child.as_ref()));
    }
    cost
}
