//! A SQL worker: a process that runs statements for a server and can be ended at any moment.
//!
//! ```text
//! stdin ─► main thread: messages ─► statement thread (large stack): open segments, guard, plan ─► threads: run ─► stdout
//!          end of input: exit        rows of the head, and files of segments that are kept in an object store, are asked for
//!                                    over stdout; rows come over stdin, files are in the server's cache then
//! ```
//!
//! Owns: the process's own limits. Does not own: when it is ended (`pool`).
//!
//! Invariants: it has no listener, no environment and writes no file; its memory is bounded by the kernel; it ends
//! when the server that started it does, whatever it is doing.

use std::fmt;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use rustix::process::{Resource, Rlimit, setrlimit};
use storage::{Fetch, WantedFiles};
use tokio_util::sync::CancellationToken;

use super::source::{Head, HeadWanted, Opened, Segment, Tables};
use super::wire::{self, Kind, Outcome, Query};
use super::{SqlError, SqlLimits, run_here};

/// Memory beside what DataFusion accounts for: the program, footers, indexes, the answer.
const MEMORY_BESIDE_BYTES: u64 = 768 << 20;

/// Runs statements until standard input ends. `memory_bytes_max` is the limit of a statement; the kernel
/// refuses more than that, the stacks and [`MEMORY_BESIDE_BYTES`].
///
/// # Errors
/// When the limits cannot be set or the pipes break.
pub fn run(memory_bytes_max: usize, stack_bytes: usize) -> io::Result<()> {
    let stacks = stack_bytes + super::threads() * super::RUN_STACK_BYTES;
    let memory = memory_bytes_max as u64 + stacks as u64 + MEMORY_BESIDE_BYTES;
    // Private writable memory; files mapped for reading do not count.
    limit(Resource::Data, memory)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    serve(io::stdin().lock(), io::stdout(), stack_bytes)
}

fn limit(resource: Resource, to: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(to), maximum: Some(to) })?)
}

fn serve(mut input: impl Read, output: impl Write + Send + 'static, stack_bytes: usize) -> io::Result<()> {
    let (to_statements, messages) = sync_channel(1);
    let statements = std::thread::Builder::new().name("sql".to_owned()).stack_size(stack_bytes);
    statements.spawn(move || statements_of(messages, output))?;
    while let Some(message) = wire::read(&mut input)? {
        if to_statements.send(message).is_err() {
            break;
        }
    }
    // A statement that is running has nobody left to answer to.
    std::process::exit(0)
}

type Message = (Kind, Vec<u8>);

fn statements_of(messages: Receiver<Message>, output: impl Write + Send + 'static) {
    let server = Arc::new(Mutex::new(Server { messages, output: Box::new(output) }));
    let mut opened = Opened::new();
    loop {
        let next = locked(&server).messages.recv();
        let Ok((Kind::Query, body)) = next else { break };
        let outcome = catch_unwind(AssertUnwindSafe(|| answer(&body, &server, &mut opened)));
        let is_whole = outcome.is_ok();
        let outcome = outcome.unwrap_or_else(|_| {
            Err(SqlError::Internal("the statement ended in an internal error".to_owned()))
        });
        let body = serde_json::to_vec(&outcome).unwrap_or_default();
        if wire::write(&mut locked(&server).output, Kind::Answer, &body).is_err() || !is_whole {
            break;
        }
    }
    std::process::exit(1)
}

fn answer(body: &[u8], server: &Arc<Mutex<Server>>, opened: &mut Opened) -> Outcome {
    let query: Query = serde_json::from_slice(body).map_err(|error| SqlError::Internal(error.to_string()))?;
    let limits = SqlLimits::from(&query.limits);
    let fetch: Arc<dyn Fetch> = Arc::new(RemoteFiles(Arc::clone(server)));
    let tables = Arc::new(Tables::new(
        Arc::new(RemoteHead(Arc::clone(server))),
        query.segments.into_iter().map(|segment| Segment::Described(segment, Arc::clone(&fetch))).collect(),
        std::mem::take(opened),
        query.unreadable,
        limits.scan_bytes_max,
    ));
    let outcome = run_here(Arc::clone(&tables), &query.request, &limits, &CancellationToken::new());
    *opened = tables.take_opened();
    outcome
}

/// The other end of the pipes.
struct Server {
    messages: Receiver<Message>,
    output: Box<dyn Write + Send>,
}

fn locked(server: &Mutex<Server>) -> std::sync::MutexGuard<'_, Server> {
    server.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The head, which is in the server.
struct RemoteHead(Arc<Mutex<Server>>);

impl fmt::Debug for RemoteHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteHead")
    }
}

impl Head for RemoteHead {
    fn rows(&self, wanted: &HeadWanted) -> Result<Vec<RecordBatch>> {
        let failed = |error: &dyn fmt::Display| DataFusionError::Internal(format!("the head: {error}"));
        let mut server = locked(&self.0);
        let wish = serde_json::to_vec(wanted).map_err(|error| failed(&error))?;
        wire::write(&mut server.output, Kind::WantHead, &wish).map_err(|error| failed(&error))?;
        match server.messages.recv() {
            Ok((Kind::Head, body)) => Ok(wire::decode_rows(&body)?),
            _ => Err(failed(&"the server sent something else")),
        }
    }
}

/// Files of segments, which the server fetches.
struct RemoteFiles(Arc<Mutex<Server>>);

impl fmt::Debug for RemoteFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteFiles")
    }
}

impl Fetch for RemoteFiles {
    fn fetch(&self, wanted: &WantedFiles) -> io::Result<()> {
        let mut server = locked(&self.0);
        wire::write(&mut server.output, Kind::WantFiles, &serde_json::to_vec(wanted)?)?;
        match server.messages.recv() {
            Ok((Kind::Files, body)) => match serde_json::from_slice::<Option<wire::Refusal>>(&body)? {
                None => Ok(()),
                Some(refusal) => Err(refusal.into()),
            },
            _ => Err(io::Error::other("files of a segment: the server sent something else")),
        }
    }
}
