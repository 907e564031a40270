//! Folders, a running agent, and waiting on conditions.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::status::{Shared, Status};
use agent::{Addresses, Agent, Config};
use model::SystemClock;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a condition may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds; `what` says what was waited for when it never does.
#[track_caller]
pub(crate) fn until<'a>(what: &'a str, condition: impl Fn() -> bool + 'a) -> impl Future<Output = ()> + 'a {
    let place = std::panic::Location::caller();
    async move {
        let end = tokio::time::Instant::now() + DEADLINE;
        while !condition() {
            assert!(tokio::time::Instant::now() < end, "{place}: waited {DEADLINE:?} for: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A folder of log files and a data directory that outlives the agents on it.
pub(crate) struct Host {
    pub(crate) logs: TempDir,
    pub(crate) data: TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self { logs: tempfile::tempdir().expect("folder"), data: tempfile::tempdir().expect("folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.logs.path().join(name)
    }

    pub(crate) fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text);
    }

    /// Settings for an agent that reads `*.log` and ships to `collector`.
    pub(crate) fn settings(&self, collector: &str, more: &str) -> String {
        format!(
            "[agent]\ndata_dir = '{}'\n[agent.resource]\n\"deployment.environment.name\" = \"test\"\n\
             [collector]\nendpoint = \"{collector}\"\nflush = \"10ms\"\n\
             [files.shop]\ninclude = ['{}/*.log']\nstart_at = \"beginning\"\n{more}\n",
            self.data.path().display(),
            self.logs.path().display(),
        )
    }

    pub(crate) async fn agent(&self, collector: &str, more: &str) -> Running {
        Running::start(&self.settings(collector, more)).await
    }
}

pub(crate) fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("open");
    file.write_all(text.as_bytes()).expect("write");
}

/// An agent at work.
pub(crate) struct Running {
    shutdown: CancellationToken,
    working: JoinHandle<Result<(), agent::Error>>,
    pub(crate) addresses: Addresses,
    shared: Arc<Shared>,
    pub(crate) control: agent::Control,
}

impl Running {
    pub(crate) async fn start(settings: &str) -> Self {
        let config = Config::parse(settings, "test.toml", |_| None).expect("valid settings");
        let agent = Agent::start(config, SystemClock::shared()).await.expect("started");
        let (addresses, shared, control) = (agent.addresses(), agent.shared(), agent.control());
        let shutdown = CancellationToken::new();
        let working = tokio::spawn(agent.run(shutdown.clone()));
        Self { shutdown, working, addresses, shared, control }
    }

    pub(crate) fn status(&self) -> Status {
        self.shared.status()
    }

    /// Ends it in order; every counter must add up.
    pub(crate) async fn stop(self) -> Status {
        self.shutdown.cancel();
        self.working.await.expect("no panic").expect("ended well");
        let status = self.shared.status();
        for flow in &status.flows {
            assert!(flow.is_conserved(), "{flow:?}");
        }
        status
    }
}
