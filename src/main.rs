//! The `silmari` command: parse, dispatch, exit code. One file a subcommand, nothing else lives here.

mod agents;
mod alerts;
mod cli;
mod config;
mod delete;
mod demo;
mod diff;
mod doctor;
mod exit;
mod export;
mod ids;
mod import;
mod inventory;
mod logs;
mod metrics;
mod open;
mod output;
mod reference;
mod remote;
mod reported;
mod serve;
mod services;
mod sql;
mod sql_worker;
mod store;
mod trace;
mod ui;
mod whereabouts;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::exit::Failure;

#[global_allocator]
static ALLOCATOR: allocator::Jemalloc = allocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::SqlWorker(arguments)) = cli.command {
        return sql_worker::run(&arguments);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&Failure::runtime(format!("starting threads: {error}"))),
    };
    let outcome = runtime.block_on(run(cli));
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => exit::report(&failure),
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let server = cli.server;
    match cli.command {
        None => ui::run(&server, ui::UiArgs::default()).await,
        Some(Command::Ui(arguments)) => ui::run(&server, arguments).await,
        Some(Command::Serve(arguments)) => serve::run(arguments).await,
        Some(Command::Demo(arguments)) => demo::run(arguments).await,
        Some(Command::Trace(arguments)) => trace::run(&server, arguments).await,
        Some(Command::Ids(arguments)) => ids::run(&server, arguments).await,
        Some(Command::Where(arguments)) => whereabouts::run(&server, arguments).await,
        Some(Command::Diff(arguments)) => diff::run(&server, arguments).await,
        Some(Command::Export(arguments)) => export::run(&server, arguments).await,
        Some(Command::Open(arguments)) => open::run(arguments).await,
        Some(Command::Logs(arguments)) => logs::run(&server, arguments).await,
        Some(Command::Doctor(arguments)) => doctor::run(&server, arguments).await,
        Some(Command::Services(arguments)) => services::run(&server, arguments).await,
        Some(Command::Metrics(arguments)) => metrics::run(&server, arguments).await,
        Some(Command::Sql(arguments)) => sql::run(&server, arguments).await,
        Some(Command::Agents(arguments)) => agents::run(&server, arguments).await,
        Some(Command::Config(arguments)) => reported::run(&server, arguments).await,
        Some(Command::Inventory(arguments)) => inventory::run(&server, arguments).await,
        Some(Command::Alerts(arguments)) => alerts::run(&server, arguments).await,
        Some(Command::Import(arguments)) => import::run(arguments).await,
        Some(Command::Store(command)) => store::run(command).await,
        Some(Command::Delete(arguments)) => delete::run(&server, arguments).await,
        Some(Command::Completions { shell }) => cli::completions(shell),
        Some(Command::Reference) => reference::run(),
        Some(Command::SqlWorker(_)) => {
            Err(Failure::runtime("the SQL worker is run before the threads start"))
        }
    }
}
