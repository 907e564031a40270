//! The workers of a server: started when they are needed, kept warm, ended when a statement will not.
//!
//! ```text
//! statement ─► an idle worker, else a new one ─► query ─┬─ wants rows of the head ─► rows ─┐
//!                  ▲                                    │◄─────────────────────────────────┘
//!                  └── idle again ◄── answer ◄──────────┤
//!                                                       └─ no answer at timeout + 1 s, or asker gone ─► SIGKILL
//! ```
//!
//! Invariants: a worker runs one statement at a time; one that was given up on is killed, never used again;
//! the snapshot is held until the worker is done with its files.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::Signal;
use query_api::{SqlAnswer, SqlRequest};
use storage::Snapshot;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::source::{Head as _, HeadWanted};
use super::wire::{self, HEADER_BYTES, Kind, Outcome, Query, WireLimits};
use super::{SqlError, SqlLimits, Tables};

/// Workers kept while there is nothing to do.
const IDLE_MAX: usize = 2;
/// How long an idle one is kept.
const IDLE_TIME: Duration = Duration::from_secs(300);
/// Statements after which a worker is replaced by a new one.
const STATEMENTS_MAX: u32 = 1_000;
/// How long a worker may be late with its own timeout before it is killed.
const GRACE: Duration = Duration::from_secs(1);

/// How workers are started.
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// What makes it [`super::worker::run`]; the limits of memory and stack are added, in bytes.
    pub arguments: Vec<String>,
}

/// Workers that wait. Cheap to clone.
#[derive(Clone)]
pub struct WorkerPool {
    command: Arc<WorkerCommand>,
    idle: Arc<Mutex<Vec<Worker>>>,
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool").field("command", &self.command).finish_non_exhaustive()
    }
}

/// A running worker. Dropping it kills it.
struct Worker {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    statements: u32,
    /// The limits it was started with.
    limits: (usize, usize),
}

impl WorkerPool {
    /// A pool without workers.
    pub fn new(command: WorkerCommand) -> Self {
        Self { command: Arc::new(command), idle: Arc::new(Mutex::new(Vec::new())) }
    }

    /// Runs one statement with `memory_bytes` for sorting, grouping and joining. Dropping the future kills the worker.
    pub(super) async fn run(
        &self,
        snapshot: Snapshot,
        request: SqlRequest,
        limits: &SqlLimits,
        memory_bytes: usize,
    ) -> Result<SqlAnswer, SqlError> {
        let tables = Tables::of(&snapshot, limits.scan_bytes_max);
        let query = Query {
            request,
            // Workers are started with the limit itself, so that those that wait fit every statement.
            limits: WireLimits::from(&SqlLimits { memory_bytes_max: memory_bytes, ..limits.clone() }),
            segments: tables.descriptions(),
            unreadable: Signal::ALL.map(|signal| tables.unreadable(signal)),
        };
        let query = serde_json::to_vec(&query).map_err(|error| SqlError::Internal(error.to_string()))?;
        match tokio::time::timeout(limits.timeout + GRACE, self.ask(&snapshot, &query, limits)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(SqlError::timeout(limits)),
        }
    }

    async fn ask(&self, snapshot: &Snapshot, query: &[u8], limits: &SqlLimits) -> Outcome {
        let mut worker = match self.take_idle(limits) {
            Some(worker) => worker,
            None => self.start(limits)?,
        };
        if worker.send(Kind::Query, query).await.is_err() {
            // It died while it was idle.
            worker = self.start(limits)?;
            if worker.send(Kind::Query, query).await.is_err() {
                return Err(worker.died(limits).await);
            }
        }
        // JSON of an answer is at most a few times larger than what is counted for it.
        let answer_bytes_max = limits.answer_bytes_max.saturating_mul(8).saturating_add(16 << 20);
        loop {
            match worker.receive(answer_bytes_max).await {
                Ok((Kind::Answer, body)) => {
                    let outcome: Outcome = serde_json::from_slice(&body)
                        .map_err(|error| SqlError::Internal(format!("the worker's answer: {error}")))?;
                    if !matches!(outcome, Err(SqlError::Internal(_))) {
                        self.give_back(worker);
                    }
                    return outcome;
                }
                Ok((Kind::WantHead, body)) => {
                    let rows = head_rows(snapshot, body).await?;
                    if worker.send(Kind::Head, &rows).await.is_err() {
                        return Err(worker.died(limits).await);
                    }
                }
                Ok((Kind::WantFiles, body)) => {
                    let fetched = fetch(snapshot, body).await?;
                    if worker.send(Kind::Files, &fetched).await.is_err() {
                        return Err(worker.died(limits).await);
                    }
                }
                Ok(_) => return Err(SqlError::Internal("the worker sent something unexpected".to_owned())),
                Err(_) => return Err(worker.died(limits).await),
            }
        }
    }

    fn take_idle(&self, limits: &SqlLimits) -> Option<Worker> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|worker| worker.limits == (limits.memory_bytes_max, limits.stack_bytes));
        idle.pop()
    }

    fn give_back(&self, mut worker: Worker) {
        worker.statements += 1;
        if worker.statements >= STATEMENTS_MAX {
            return;
        }
        let id = worker.child.id();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let statements = worker.statements;
        if idle.len() < IDLE_MAX {
            idle.push(worker);
            drop(idle);
            let idle = Arc::downgrade(&self.idle);
            tokio::spawn(async move {
                tokio::time::sleep(IDLE_TIME).await;
                if let Some(idle) = idle.upgrade() {
                    let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
                    idle.retain(|worker| worker.child.id() != id || worker.statements != statements);
                }
            });
        }
    }

    fn start(&self, limits: &SqlLimits) -> Result<Worker, SqlError> {
        let failed = |error: &dyn fmt::Display| SqlError::Internal(format!("starting a SQL worker: {error}"));
        let mut child = Command::new(&self.command.program)
            .arg0("silmari")
            .args(&self.command.arguments)
            .args([limits.memory_bytes_max.to_string(), limits.stack_bytes.to_string()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(&error))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.ok_or_else(|| failed(&"it has no pipes"))?;
        let limits = (limits.memory_bytes_max, limits.stack_bytes);
        Ok(Worker { child, stdin, stdout, statements: 0, limits })
    }
}

/// Brings files of a segment to the local disk; what the worker is told of it.
async fn fetch(snapshot: &Snapshot, wish: Vec<u8>) -> Result<Vec<u8>, SqlError> {
    let snapshot = snapshot.clone();
    let fetch = move || -> Result<Vec<u8>, String> {
        let wanted = serde_json::from_slice(&wish).map_err(|error| error.to_string())?;
        let refusal = snapshot.fetch(&wanted).err().map(wire::Refusal::from);
        serde_json::to_vec(&refusal).map_err(|error| error.to_string())
    };
    let fetched =
        tokio::task::spawn_blocking(fetch).await.map_err(|error| SqlError::Internal(error.to_string()))?;
    fetched.map_err(|error| SqlError::Internal(format!("files of a segment: {error}")))
}

async fn head_rows(snapshot: &Snapshot, wish: Vec<u8>) -> Result<Vec<u8>, SqlError> {
    let snapshot = snapshot.clone();
    let rows = move || -> Result<Vec<u8>, String> {
        let wanted: HeadWanted = serde_json::from_slice(&wish).map_err(|error| error.to_string())?;
        let rows = snapshot.rows(&wanted).map_err(|error| error.to_string())?;
        wire::encode_rows(&rows).map_err(|error| error.to_string())
    };
    let rows =
        tokio::task::spawn_blocking(rows).await.map_err(|error| SqlError::Internal(error.to_string()))?;
    rows.map_err(|error| SqlError::Internal(format!("rows of the head: {error}")))
}

impl Worker {
    async fn send(&mut self, kind: Kind, body: &[u8]) -> std::io::Result<()> {
        self.stdin.write_all(&wire::header(kind, body.len())?).await?;
        self.stdin.write_all(body).await?;
        self.stdin.flush().await
    }

    async fn receive(&mut self, bytes_max: usize) -> std::io::Result<(Kind, Vec<u8>)> {
        let mut header = [0; HEADER_BYTES];
        self.stdout.read_exact(&mut header).await?;
        let (kind, length) = wire::parse_header(header, bytes_max)?;
        let mut body = vec![0; length];
        self.stdout.read_exact(&mut body).await?;
        Ok((kind, body))
    }

    /// Why it went away in the middle of a statement.
    async fn died(mut self, limits: &SqlLimits) -> SqlError {
        // Whatever broke the pipe: it is of no use any more.
        drop(self.child.start_kill());
        let status = self.child.wait().await;
        tracing::warn!("a SQL worker ended in the middle of a statement: {status:?}");
        let memory = limits.memory_bytes_max >> 20;
        match status.as_ref().ok().and_then(ExitStatus::signal) {
            // abort: memory that the kernel refused, or a stack that overflowed
            Some(SIGABRT | SIGSEGV | SIGBUS) => SqlError::limit(
                format!(
                    "the statement needed more memory than it may have ({memory} MiB, `memory_bytes_max`), or nests too deep"
                ),
                "group or sort fewer rows, select fewer columns, or split the statement",
            ),
            _ => SqlError::Internal("the process that ran the statement was ended from outside".to_owned()),
        }
    }
}

const SIGABRT: i32 = 6;
const SIGBUS: i32 = 7;
const SIGSEGV: i32 = 11;
