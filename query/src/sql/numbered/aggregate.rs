//! An aggregate whose groups are found by the numbers of their texts.
//!
//! ```text
//! batch      dictionary   known numbers      groups
//! 0 0 1 0    checkout     0 ─► 0             checkout  count 3 …
//! │          billing      1 ─► 1             billing   count 1 …
//! └─ group 0 0 1 0 ─► accumulators
//! ```
//!
//! Several columns: the number of the first and that of the second make a pair, which is numbered in turn.
//!
//! Memory: groups and what accumulators hold, counted in the statement's pool; of a partial aggregate at most
//! [`PARTIAL_GROUPS_MAX`] groups and those of one more batch.
//!
//! Invariant: a text that a dictionary has and no row uses makes no group.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, DictionaryArray, RecordBatch, StringViewArray, UInt32Array,
};
use datafusion::arrow::compute::{cast, take};
use datafusion::arrow::datatypes::{Int32Type, SchemaRef};
use datafusion::common::HashMap;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, evaluate_many};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

/// What stands in for a text that has no number yet.
const UNKNOWN: u32 = u32::MAX;
/// Bytes of a group besides its text: places in tables, which may be half empty.
const GROUP_BYTES: usize = 128;
/// Groups that a partial aggregate keeps. When there are more it gives out what it has and begins anew: whoever puts the parts
/// together has to keep them all anyway.
const PARTIAL_GROUPS_MAX: usize = 65_536;

/// As the `AggregateExec` that it was made of, over an input whose grouped columns are dictionaries.
#[derive(Debug, Clone)]
pub(super) struct NumberedAggregateExec {
    mode: AggregateMode,
    /// Grouped columns by their place in the input.
    by: Vec<usize>,
    aggregates: Arc<[Arc<AggregateFunctionExpr>]>,
    filters: Arc<[Option<Arc<dyn PhysicalExpr>>]>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl NumberedAggregateExec {
    /// Of an aggregate of mode `Partial` or `Single`, grouped by columns at these places.
    pub(super) fn new(of: &AggregateExec, by: Vec<usize>, input: Arc<dyn ExecutionPlan>) -> Self {
        Self {
            mode: *of.mode(),
            by,
            aggregates: of.aggr_expr().to_vec().into(),
            filters: of.filter_expr().to_vec().into(),
            input,
            properties: Arc::clone(of.properties()),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for NumberedAggregateExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.input.schema();
        let by: Vec<_> = self.by.iter().map(|column| schema.field(*column).name().as_str()).collect();
        let aggregates: Vec<_> = self.aggregates.iter().map(|one| one.name()).collect();
        let (mode, by, aggregates) = (self.mode, by.join(", "), aggregates.join(", "));
        write!(f, "NumberedAggregateExec: mode={mode:?}, gby=[{by}], aggr=[{aggregates}]")
    }
}

impl ExecutionPlan for NumberedAggregateExec {
    fn name(&self) -> &'static str {
        "NumberedAggregateExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut recursion = TreeNodeRecursion::Continue;
        let arguments = self.aggregates.iter().flat_map(|one| one.expressions());
        for expr in arguments.chain(self.filters.iter().flatten().cloned()) {
            recursion = recursion.visit_sibling(|| f(&expr))?;
        }
        Ok(recursion)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Arc::new(Self { input: children.swap_remove(0), metrics, ..Self::clone(&self) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let run = Run {
            exec: self.clone(),
            batch_rows: context.session_config().batch_size().max(1),
            metrics: BaselineMetrics::new(&self.metrics, partition),
            memory: MemoryConsumer::new("grouping").register(context.memory_pool()),
            input: self.input.execute(partition, context)?,
        };
        let parts = stream::try_unfold(run, |mut run| async move {
            let batches = run.next_part().await?;
            Ok::<_, DataFusionError>(batches.map(|batches| (batches, run)))
        });
        let batches = parts.map_ok(|batches| stream::iter(batches.into_iter().map(Ok))).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One partition under way.
struct Run {
    exec: NumberedAggregateExec,
    batch_rows: usize,
    metrics: BaselineMetrics,
    memory: MemoryReservation,
    input: SendableRecordBatchStream,
}

impl Run {
    /// Takes rows in, and gives out their groups in batches; `None` when there are no rows left.
    async fn next_part(&mut self) -> Result<Option<Vec<RecordBatch>>> {
        let mut groups = Groups::new(&self.exec)?;
        while let Some(batch) = self.input.next().await {
            let batch = batch?;
            let _timer = self.metrics.elapsed_compute().timer();
            groups.add(&batch)?;
            let is_held = self.memory.try_resize(groups.bytes());
            if self.exec.mode == AggregateMode::Partial {
                if is_held.is_err() || groups.len() > PARTIAL_GROUPS_MAX {
                    break;
                }
            } else {
                is_held?;
            }
        }
        let _timer = self.metrics.elapsed_compute().timer();
        if groups.len() == 0 {
            self.memory.free();
            return Ok(None);
        }
        let rows = groups.finish()?;
        self.metrics.record_output(rows.num_rows());
        let starts = (0..rows.num_rows()).step_by(self.batch_rows);
        Ok(Some(
            starts.map(|start| rows.slice(start, self.batch_rows.min(rows.num_rows() - start))).collect(),
        ))
    }
}

/// The groups so far.
struct Groups {
    mode: AggregateMode,
    schema: SchemaRef,
    columns: Vec<(usize, Texts)>,
    /// Of each column but the first: the group of the columns before it and its own number, as a group.
    pairs: Vec<Pairs>,
    arguments: Vec<Vec<Arc<dyn PhysicalExpr>>>,
    filters: Arc<[Option<Arc<dyn PhysicalExpr>>]>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    /// The group of each row of the batch at hand.
    rows: Vec<usize>,
}

impl Groups {
    fn new(of: &NumberedAggregateExec) -> Result<Self> {
        let accumulators = of.aggregates.iter().map(|one| one.create_groups_accumulator());
        Ok(Self {
            mode: of.mode,
            schema: of.schema(),
            columns: of.by.iter().map(|column| (*column, Texts::default())).collect(),
            pairs: of.by.iter().skip(1).map(|_| Pairs::default()).collect(),
            arguments: of.aggregates.iter().map(|one| one.expressions()).collect(),
            filters: Arc::clone(&of.filters),
            accumulators: accumulators.collect::<Result<_>>()?,
            rows: Vec::new(),
        })
    }

    fn len(&self) -> usize {
        match self.pairs.last() {
            Some(pairs) => pairs.known.len(),
            None => self.columns[0].1.known.len(),
        }
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        for (at, (column, texts)) in self.columns.iter_mut().enumerate() {
            let column = batch.column(*column).as_dictionary_opt::<Int32Type>();
            let column = column.ok_or_else(|| internal("a grouped column is not numbered"))?;
            match at {
                0 => {
                    self.rows.clear();
                    texts.number(column, |number| self.rows.push(number as usize));
                }
                _ => {
                    let (pairs, mut rows) = (&mut self.pairs[at - 1], self.rows.iter_mut());
                    texts.number(column, |number| {
                        let row = rows.next().expect("columns of a batch are as long");
                        *row = pairs.number(*row as u32, number) as usize;
                    });
                }
            }
        }
        let groups = self.len();
        let arguments = evaluate_many(&self.arguments, batch)?;
        for ((accumulator, arguments), filter) in
            self.accumulators.iter_mut().zip(&arguments).zip(&*self.filters)
        {
            let filter = filter.as_ref().map(|filter| filter.evaluate(batch)?.into_array(batch.num_rows()));
            let filter = filter.transpose()?;
            let filter: Option<&BooleanArray> = filter.as_ref().map(|filter| filter.as_boolean());
            accumulator.update_batch(arguments, &self.rows, filter, groups)?;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let texts: usize = self.columns.iter().map(|(_, texts)| texts.bytes).sum();
        let accumulators: usize = self.accumulators.iter().map(|accumulator| accumulator.size()).sum();
        texts + accumulators + self.len() * (1 + self.pairs.len()) * GROUP_BYTES
    }

    fn finish(mut self) -> Result<RecordBatch> {
        let mut numbers: Vec<Vec<u32>> = Vec::new();
        let mut groups: Vec<u32> = (0..self.len() as u32).collect();
        for pairs in self.pairs.iter().rev() {
            numbers.push(groups.iter().map(|group| pairs.known[*group as usize].1).collect());
            groups = groups.iter().map(|group| pairs.known[*group as usize].0).collect();
        }
        numbers.push(groups);
        numbers.reverse();
        let mut arrays = Vec::with_capacity(self.schema.fields().len());
        for ((_, texts), numbers) in self.columns.iter().zip(numbers) {
            // Groups share the bytes of a text.
            let texts: StringViewArray = texts.known.iter().map(Option::as_deref).collect();
            let texts = take(&texts, &UInt32Array::from(numbers), None)?;
            arrays.push(cast(&texts, self.schema.field(arrays.len()).data_type())?);
        }
        for accumulator in &mut self.accumulators {
            match self.mode {
                AggregateMode::Partial => arrays.extend(accumulator.state(EmitTo::All)?),
                _ => arrays.push(accumulator.evaluate(EmitTo::All)?),
            }
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)
    }
}

fn internal(problem: &str) -> DataFusionError {
    DataFusionError::Internal(problem.to_owned())
}

/// The texts of a column, in the order in which they came.
#[derive(Default)]
struct Texts {
    numbers: HashMap<Box<str>, u32>,
    /// By number; null is one.
    known: Vec<Option<Box<str>>>,
    null: Option<u32>,
    bytes: usize,
    /// The dictionary that was at hand last, and the numbers of its texts and of null, as far as they are known.
    last: Option<(ArrayRef, Vec<u32>)>,
}

impl Texts {
    /// Gives the number of each row's text.
    fn number(&mut self, rows: &DictionaryArray<Int32Type>, mut give: impl FnMut(u32)) {
        let values = rows.values();
        let mut known = match self.last.take() {
            Some((last, known)) if is_same(&last, values) => known,
            _ => vec![UNKNOWN; values.len() + 1],
        };
        let texts = values.as_string::<i32>();
        let mut number = |key: usize| {
            if known[key] == UNKNOWN {
                known[key] =
                    self.number_of((key < texts.len() && texts.is_valid(key)).then(|| texts.value(key)));
            }
            give(known[key]);
        };
        let keys = rows.keys();
        if keys.null_count() == 0 {
            keys.values().iter().for_each(|key| number(*key as usize));
        } else {
            // Of a null key the dictionary has no text: it stands behind all of them.
            keys.iter().for_each(|key| number(key.map_or(values.len(), |key| key as usize)));
        }
        self.last = Some((Arc::clone(values), known));
    }

    fn number_of(&mut self, text: Option<&str>) -> u32 {
        let known = match text {
            Some(text) => self.numbers.get(text).copied(),
            None => self.null,
        };
        if let Some(number) = known {
            return number;
        }
        let number = u32::try_from(self.known.len()).expect("memory has no room for so many texts");
        match text {
            Some(text) => {
                self.bytes += 2 * text.len();
                self.numbers.insert(text.into(), number);
            }
            None => self.null = Some(number),
        }
        self.known.push(text.map(Into::into));
        number
    }
}

/// Whether two dictionaries are one: filters and slices pass their texts on.
fn is_same(left: &ArrayRef, right: &ArrayRef) -> bool {
    let (left, right) = (left.as_string::<i32>(), right.as_string::<i32>());
    left.len() == right.len()
        && left.value_data().as_ptr() == right.value_data().as_ptr()
        && left.value_offsets().as_ptr() == right.value_offsets().as_ptr()
}

/// Pairs of numbers, in the order in which they came.
#[derive(Default)]
struct Pairs {
    numbers: HashMap<(u32, u32), u32>,
    known: Vec<(u32, u32)>,
}

impl Pairs {
    fn number(&mut self, left: u32, right: u32) -> u32 {
        *self.numbers.entry((left, right)).or_insert_with(|| {
            self.known.push((left, right));
            u32::try_from(self.known.len() - 1).expect("memory has no room for so many groups")
        })
    }
}
