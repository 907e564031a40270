//! `silmari-agent run`: the agent, and newer configurations while it runs.
//!
//! ```text
//! SIGHUP, changed files ─► load and validate ─┬─ wrong ──────────────► noted in `status`, the old one stays
//!                                             ├─ inputs that push ───► exchanged while the others go on
//!                                             └─ all else ───────────► drained and started anew in this process
//! ```

use std::io::{self, IsTerminal as _, Read, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use agent::{Addresses, Agent, Config, Control, Error, exit_code};
use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::RunArgs;

/// How often `--watch` looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(args: &RunArgs) -> anyhow::Result<u8> {
    let filter = EnvFilter::try_from_env("SILMARI_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let config = Config::load(&args.config.config)?;
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
        keep_running(config, changes, shutdown).await
    });
    runtime.shutdown_background();
    ended.map(|()| exit_code::OK)
}

/// Runs agents one after the other, each with a newer configuration, until shutdown.
async fn keep_running(
    config: Config,
    mut changes: Changes,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut agent = Agent::start(config.clone(), model::SystemClock::shared()).await?;
    say_ready(agent.addresses())?;
    let mut current = config;
    loop {
        let (control, stop) = (agent.control(), shutdown.child_token());
        let mut working = tokio::spawn(agent.run(stop.clone()));
        let newer = loop {
            tokio::select! {
                ended = &mut working => return Ok(ended.context("the agent panicked")??),
                () = changes.next() => {}
            }
            if let Some(newer) = changes.load(&current, &control).await {
                if newer.needs_restart(&current).is_empty() {
                    current = newer;
                } else {
                    break newer;
                }
            }
        };
        tracing::info!(tables = ?newer.needs_restart(&current), "starting anew with a newer configuration");
        stop.cancel();
        working.await.context("the agent panicked")??;
        if shutdown.is_cancelled() {
            return Ok(());
        }
        (agent, current) = start_newer(newer, current).await?;
    }
}

/// An agent with the newer configuration, or with the old one when that does not start.
async fn start_newer(newer: Config, old: Config) -> Result<(Agent, Config), Error> {
    match Agent::start(newer.clone(), model::SystemClock::shared()).await {
        Ok(agent) => {
            agent.control().note_config(|status| status.reloads += 1);
            Ok((agent, newer))
        }
        Err(error) => {
            tracing::error!(%error, "the newer configuration does not start; the old one goes on");
            let agent = Agent::start(old.clone(), model::SystemClock::shared()).await?;
            agent.control().note_config(|status| {
                status.failures += 1;
                status.error = Some(error.to_string());
            });
            Ok((agent, old))
        }
    }
}

/// What may make a configuration newer.
struct Changes {
    path: PathBuf,
    hangup: Signal,
    is_watching: bool,
    seen: Vec<(PathBuf, Option<SystemTime>)>,
}

impl Changes {
    fn new(path: &Path, is_watching: bool) -> io::Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        Ok(Self { path: path.to_path_buf(), hangup, is_watching, seen: stamps(path) })
    }

    /// Waits for SIGHUP, or for changed files with `--watch`.
    async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => return,
                () = tokio::time::sleep(LOOK_EVERY), if self.is_watching => {
                    let now = stamps(&self.path);
                    if now != std::mem::replace(&mut self.seen, now.clone()) {
                        return;
                    }
                }
            }
        }
    }

    /// The newer configuration, when it is valid and differs; what can be exchanged at once was exchanged.
    async fn load(&self, current: &Config, control: &Control) -> Option<Config> {
        let loaded = Config::load(&self.path);
        let refuse = |error: &Error| {
            tracing::error!(%error, "the newer configuration is not used");
            control.note_config(|status| {
                status.failures += 1;
                status.error = Some(error.to_string());
            });
        };
        let newer = match loaded {
            Ok(newer) => newer,
            Err(error) => {
                refuse(&error);
                return None;
            }
        };
        if newer == *current {
            tracing::info!("the configuration is the same");
            control.note_config(|status| status.error = None);
            return None;
        }
        if !newer.needs_restart(current).is_empty() {
            return Some(newer);
        }
        match control.apply(newer.clone()).await {
            Ok(changed) => {
                tracing::info!(?changed, "a newer configuration is used");
                control.note_config(|status| {
                    status.version = newer.version();
                    status.reloads += 1;
                    status.error = None;
                    status.changed = changed;
                });
                Some(newer)
            }
            Err(error) => {
                refuse(&error);
                // What was exchanged goes back; the old one ran before.
                drop(control.apply(current.clone()).await);
                None
            }
        }
    }
}

/// The files of a configuration and when they were changed.
fn stamps(path: &Path) -> Vec<(PathBuf, Option<SystemTime>)> {
    let stamp = |path: PathBuf| {
        let changed = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        (path, changed)
    };
    agent::config::parts_of(path).into_iter().map(stamp).collect()
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
