//! SQL over `spans`, `logs` and `points`: one read-only statement, fenced.
//!
//! ```text
//!             ┌ Runner::Workers ─ pool ═ pipes ═ worker process ─┐
//! statement ─►┤                                                  ├─► guard ─► plan ─► rows ─► JSON
//!             └ Runner::Thread ─── a thread of its own ──────────┘   (size, one statement, SELECT only,
//!                                                                     our tables, bounded shape)
//! ```
//!
//! Owns: what a statement may do and cost, where it runs, how Arrow values look in JSON. Does not own: SQL
//! itself (DataFusion), the rows (`storage`).
//!
//! Invariants: nothing but the snapshot's tables can be read and nothing can be written; a statement is
//! refused by its shape before DataFusion sees it, because planning cannot be interrupted; a statement
//! that never ends is killed with its worker. In a thread it holds that thread and its place in the gate.

mod functions;
mod guard;
mod numbered;
mod pool;
mod prune;
mod reader;
mod render;
mod session;
mod source;
mod stored;
mod table;
#[cfg(test)]
mod tests;
mod wire;
pub mod worker;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use datafusion::error::DataFusionError;
use futures_util::StreamExt as _;
use model::Signal;
use query_api::{Cut, SqlAnswer, SqlRequest};
use serde::{Deserialize, Serialize};
use storage::{OutOfMemory, Snapshot};
use thiserror::Error;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::reads::MEMORY_HINT;
pub use pool::{WorkerCommand, WorkerPool};
use source::Tables;

/// Rows returned when the request names no limit.
pub const ROWS_DEFAULT: usize = 1_000;

/// Threads that run the parts of one statement, if there are as many cores.
const THREADS_MAX: usize = 8;
/// Stack of each: a plan is run less deeply than it is made.
const RUN_STACK_BYTES: usize = 16 << 20;
/// A statement that would have less memory is not run.
const MEMORY_BYTES_LEAST: usize = 16 << 20;

/// What one statement may be and cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlLimits {
    /// Bytes of text. Default 16 KiB.
    pub text_bytes_max: usize,
    /// Expression nodes, items of `IN` lists not counted. Default 500.
    pub nodes_max: usize,
    /// How deep expressions and subqueries may nest. Default 64.
    pub depth_max: usize,
    /// `UNION`, `EXCEPT` and `INTERSECT`. Default 32.
    pub set_operations_max: usize,
    /// Items of all `IN` lists together. Default 1,000.
    pub in_items_max: usize,
    /// Rows an answer may have. Default 100,000.
    pub rows_max: usize,
    /// Bytes an answer may have, roughly. Default 32 MiB.
    pub answer_bytes_max: usize,
    /// Memory for sorting, grouping and joining; half of what is free for queries when that is less. Default 256 MiB.
    pub memory_bytes_max: usize,
    /// Bytes of segment files it may read, compressed as they are. Default 16 GiB.
    pub scan_bytes_max: usize,
    /// How long it may take. Default 30 s.
    pub timeout: Duration,
    /// Stack of the thread it is planned on. Default 64 MiB, of which only what is used is real.
    pub stack_bytes: usize,
}

impl Default for SqlLimits {
    fn default() -> Self {
        Self {
            text_bytes_max: 16 << 10,
            nodes_max: 500,
            depth_max: 64,
            set_operations_max: 32,
            in_items_max: 1_000,
            rows_max: 100_000,
            answer_bytes_max: 32 << 20,
            memory_bytes_max: 256 << 20,
            scan_bytes_max: 16 << 30,
            timeout: Duration::from_secs(30),
            stack_bytes: 64 << 20,
        }
    }
}

/// Threads of one statement.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX)
}

/// Why a statement has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum SqlError {
    /// The statement is wrong, or does what is not allowed.
    #[error("{message}")]
    Statement {
        /// What is wrong, with line and column where they are known.
        message: String,
        /// What would be right.
        hint: Option<String>,
    },
    /// The statement costs more than it may.
    #[error("{message}")]
    Limit {
        /// The limit and what was asked.
        message: String,
        /// What to try instead.
        hint: Option<String>,
    },
    /// Nobody waits for the answer any more.
    #[error("the statement was cancelled")]
    Cancelled,
    /// A defect of ours, or the store cannot be read.
    #[error("{0}")]
    Internal(String),
}

impl SqlError {
    fn statement(message: impl Into<String>) -> Self {
        Self::Statement { message: message.into(), hint: None }
    }

    fn limit(message: impl Into<String>, hint: &str) -> Self {
        Self::Limit { message: message.into(), hint: Some(hint.to_owned()) }
    }

    /// Says that the statement had less memory than its limit.
    fn with_share(self, share: usize) -> Self {
        match self {
            Self::Limit { message, hint } => {
                let share = share >> 20;
                let message =
                    format!("{message}; only {share} MiB were free for it (`[store] memory_bytes_max`)");
                Self::Limit { message, hint }
            }
            other => other,
        }
    }

    fn timeout(limits: &SqlLimits) -> Self {
        Self::limit(
            format!("no answer within {:?} (`timeout`)", limits.timeout),
            "ask for a shorter time range or fewer columns",
        )
    }
}

impl From<OutOfMemory> for SqlError {
    fn from(refusal: OutOfMemory) -> Self {
        Self::limit(refusal.to_string(), MEMORY_HINT)
    }
}

/// Where statements run.
#[derive(Clone, Debug, Default)]
pub enum Runner {
    /// In threads of this process. What never ends cannot be ended, and what overflows its stack takes the
    /// process with it: for tests and programs that trust their statements.
    #[default]
    Thread,
    /// In processes of their own, which are killed when they will not end.
    Workers(WorkerPool),
}

impl Runner {
    /// Runs one statement. `place` is dropped when nothing of it runs any more; dropping the future cancels the
    /// statement. `stats.elapsed_nano` is left 0 for the caller, who holds the clock.
    ///
    /// # Errors
    /// See [`SqlError`].
    pub async fn run(
        &self,
        snapshot: Snapshot,
        request: SqlRequest,
        limits: SqlLimits,
        place: impl Send + 'static,
    ) -> Result<SqlAnswer, SqlError> {
        let most = limits.memory_bytes_max;
        let share = snapshot.held().grow_up_to(most, most.min(MEMORY_BYTES_LEAST))?;
        let answer = match self {
            Self::Thread => {
                let limits = SqlLimits { memory_bytes_max: share, ..limits };
                run_in_thread(snapshot, request, limits, place).await
            }
            Self::Workers(pool) => {
                let answer = pool.run(snapshot, request, &limits, share).await;
                drop(place);
                answer
            }
        };
        answer.map_err(|error| if share < most { error.with_share(share) } else { error })
    }
}

async fn run_in_thread(
    snapshot: Snapshot,
    request: SqlRequest,
    limits: SqlLimits,
    place: impl Send + 'static,
) -> Result<SqlAnswer, SqlError> {
    let cancel = CancellationToken::new();
    let _guard: DropGuard = cancel.clone().drop_guard();
    let (sender, answer) = tokio::sync::oneshot::channel();
    let patience = limits.timeout + Duration::from_secs(1);
    let (timeout, stack_bytes) = (SqlError::timeout(&limits), limits.stack_bytes);
    let work = move || {
        let _place = place;
        let tables = Arc::new(Tables::of(&snapshot, limits.scan_bytes_max));
        let answer = run_here(tables, &request, &limits, &cancel);
        // The asker may have gone.
        drop(sender.send(answer));
    };
    spawn(work, stack_bytes)?;
    match tokio::time::timeout(patience, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(SqlError::Internal("the statement ended in an internal error".to_owned())),
        Err(_) => Err(timeout),
    }
}

fn spawn(work: impl FnOnce() + Send + 'static, stack_bytes: usize) -> Result<(), SqlError> {
    let thread = std::thread::Builder::new().name("sql".to_owned()).stack_size(stack_bytes);
    match thread.spawn(work) {
        Ok(_) => Ok(()),
        Err(error) => Err(SqlError::Internal(format!("starting a thread: {error}"))),
    }
}

/// Runs one statement on this thread, whose stack should be as large as the limits say.
fn run_here(
    tables: Arc<Tables>,
    request: &SqlRequest,
    limits: &SqlLimits,
    cancel: &CancellationToken,
) -> Result<SqlAnswer, SqlError> {
    let rows_wanted = request.limit.unwrap_or(ROWS_DEFAULT);
    if rows_wanted > limits.rows_max {
        let message = format!("`limit` is {rows_wanted}, {} at most", limits.rows_max);
        return Err(SqlError::limit(message, "aggregate, or ask in parts"));
    }
    let statement = guard::check(&request.query, limits)?;
    let mut runtime = match threads() {
        1 => tokio::runtime::Builder::new_current_thread(),
        // This thread waits for them.
        threads => {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(threads).thread_stack_size(RUN_STACK_BYTES).thread_name("sql-part");
            runtime
        }
    };
    let runtime = runtime.enable_time().max_blocking_threads(2).build();
    let runtime = runtime.map_err(|error| SqlError::Internal(format!("starting a runtime: {error}")))?;
    let answer = runtime.block_on(async {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(SqlError::Cancelled),
            () = tokio::time::sleep(limits.timeout) => Err(SqlError::timeout(limits)),
            answer = execute(&tables, statement, rows_wanted, limits) => answer,
        }
    });
    // Waits for what runs: what never ends must not look as if it had.
    drop(runtime);
    if answer.is_err() && tables.cost.is_exceeded() {
        let message =
            format!("the statement reads more than {} bytes (`scan_bytes_max`)", limits.scan_bytes_max);
        return Err(SqlError::limit(message, "ask for a shorter time range or fewer columns"));
    }
    answer
}

async fn execute(
    tables: &Arc<Tables>,
    statement: guard::Checked,
    rows_wanted: usize,
    limits: &SqlLimits,
) -> Result<SqlAnswer, SqlError> {
    let explain = |error: DataFusionError| guard::explain(&error);
    let context = session::context(tables, limits).map_err(explain)?;
    let is_query = statement.is_query;
    let names = statement.tables.clone();
    let mut frame = session::plan(&context, statement).await.map_err(explain)?;
    if is_query {
        frame = frame.limit(0, Some(rows_wanted + 1)).map_err(explain)?;
    }
    let task = std::sync::Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await.map_err(explain)?;
    let scanned = std::sync::Arc::clone(&plan);
    let mut stream = datafusion::physical_plan::execute_stream(plan, task).map_err(explain)?;
    let mut answer = render::Answer::new(&stream.schema(), rows_wanted, limits.answer_bytes_max);
    while let Some(batch) = stream.next().await {
        if answer.add(&batch.map_err(explain)?)?.is_break() {
            break;
        }
    }
    drop(stream);
    let mut answer = answer.finish();
    answer.stats = session::scan_cost(scanned.as_ref());
    answer.stats.segments_pruned = tables.cost.segments_pruned();
    answer.cuts.extend(unreadable_cut(tables, &names));
    Ok(answer)
}

/// The cut of an answer that lacks the rows of segments that cannot be read.
fn unreadable_cut(tables: &Tables, names: &HashSet<String>) -> Option<Cut> {
    let signals = Signal::ALL.into_iter().filter(|signal| names.contains(signal.table()));
    let segments: usize = signals.map(|signal| tables.unreadable(signal)).sum();
    (segments > 0).then(|| Cut {
        what: format!("the rows of {segments} segments, which cannot be read"),
        limit: "unreadable segments".to_owned(),
        hint: Some("stop the server and run `silmari store verify`".to_owned()),
    })
}

/// The cut of an answer that has more rows than were wanted.
fn rows_cut(rows: usize) -> Cut {
    Cut {
        what: format!("the first {rows} rows; there are more"),
        limit: "limit".to_owned(),
        hint: Some("raise `limit`, or aggregate".to_owned()),
    }
}
