//! `silmari-agent run`: arguments, signals, the line that says that it is ready. Which configurations it runs with one
//! after the other is the business of `runner`.

mod changes;
mod runner;

use std::io::{self, IsTerminal as _, Read, Write as _};
use std::net::SocketAddr;

use agent::{Addresses, exit_code};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use self::changes::Changes;
use self::runner::Runner;
use super::RunArgs;

pub(super) fn run(args: &RunArgs) -> anyhow::Result<u8> {
    let filter = EnvFilter::try_from_env("SILMARI_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let runner = Runner::new(&args.config.config)?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let shutdown = CancellationToken::new();
    if args.until_stdin_closes {
        cancel_when_stdin_closes(shutdown.clone())?;
    }
    let ended = runtime.block_on(async {
        cancel_on_signals(shutdown.clone()).context("cannot listen for signals")?;
        let changes = Changes::new(&args.config.config, args.watch).context("cannot listen for SIGHUP")?;
        runner.run(changes, shutdown).await
    });
    runtime.shutdown_background();
    ended.map(|()| exit_code::OK)
}

/// Every file that is followed is held open, so the soft limit, often 1024, is raised to the hard one.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// One JSON line on standard output, for whatever started the agent.
fn say_ready(addresses: Addresses) -> io::Result<()> {
    let url = |address: Option<SocketAddr>| address.map(|address| format!("http://{address}"));
    let line = serde_json::json!({
        "ready": true,
        "otlp_grpc": url(addresses.otlp_grpc),
        "otlp_http": url(addresses.otlp_http),
        "admin": url(addresses.admin),
    });
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

pub(super) fn cancel_on_signals(shutdown: CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    });
    Ok(())
}

/// A thread of its own: a blocked read of standard input must not hold up the end of the process.
fn cancel_when_stdin_closes(shutdown: CancellationToken) -> anyhow::Result<()> {
    let watching = std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut room = [0; 256];
        while matches!(io::stdin().lock().read(&mut room), Ok(read) if read > 0) {}
        shutdown.cancel();
    });
    watching.map(drop).context("cannot watch standard input")
}
