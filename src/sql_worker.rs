//! The hidden `silmari sql-worker`: this program again, as a process that runs SQL for the server.
//!
//! Does not own: what a worker does (`query::sql::worker`).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use query::sql::{WorkerCommand, worker};

use crate::exit::{self, Failure};

/// What the server tells its worker.
#[derive(Args, Debug)]
pub(crate) struct SqlWorkerArgs {
    /// Bytes of memory a statement may take
    memory_bytes_max: usize,
    /// Bytes of stack a statement may take
    stack_bytes: usize,
}

/// How the server starts one: the file that is running now, even if another stands under its name by then.
pub(crate) fn command() -> WorkerCommand {
    WorkerCommand { program: PathBuf::from("/proc/self/exe"), arguments: vec!["sql-worker".to_owned()] }
}

/// Runs statements until the server closes the pipe.
pub(crate) fn run(arguments: &SqlWorkerArgs) -> ExitCode {
    match worker::run(arguments.memory_bytes_max, arguments.stack_bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&Failure::runtime(format!("SQL worker: {error}"))),
    }
}
