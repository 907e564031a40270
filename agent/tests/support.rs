//! Folders, a running agent, and waiting on conditions.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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
        assert_conserved(&status);
        status
    }
}

/// The law that every test of the whole agent ends with: `in = out + dropped(reason) + buffered`.
#[track_caller]
pub(crate) fn assert_conserved(status: &Status) {
    for flow in &status.flows {
        assert!(flow.is_conserved(), "{} unaccounted for: {flow:?}", flow.unaccounted());
    }
}

/// The program itself at work, with a page to ask.
pub(crate) struct Program {
    child: Child,
    admin: SocketAddr,
}

impl Program {
    /// Runs `silmari-agent run` with these settings, which have no [admin] table, and waits until it is ready.
    pub(crate) fn start(host: &Host, settings: &str) -> Self {
        let path = host.data.path().join("agent.toml");
        std::fs::write(&path, format!("{settings}[admin]\nlisten = \"127.0.0.1:0\"\n")).expect("written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_silmari-agent"))
            .args(["run", "--until-stdin-closes", "-c"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line when ready");
        let ready: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let admin = ready["admin"].as_str().and_then(|url| url.strip_prefix("http://")).expect("an address");
        Self { child, admin: admin.parse().expect("an address") }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What its page says.
    pub(crate) fn status(&self) -> Status {
        let mut stream = TcpStream::connect(self.admin).expect("connect");
        write!(stream, "GET /status HTTP/1.0\r\n\r\n").expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("a status")
    }

    /// Waits until nothing is under way between two counters: then the law holds.
    pub(crate) async fn conserved(&self) -> Status {
        until("every record to be accounted for", || {
            self.status().flows.iter().all(|flow| flow.is_conserved())
        })
        .await;
        self.status()
    }

    /// `kill -9`, once the law held.
    pub(crate) async fn kill(mut self) -> Status {
        let status = self.conserved().await;
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        status
    }

    /// Closes its input and waits for its end.
    pub(crate) async fn close(mut self) -> Option<i32> {
        self.conserved().await;
        drop(self.child.stdin.take());
        let ended = tokio::task::spawn_blocking(move || self.child.wait()).await;
        ended.expect("no panic").expect("ended").code()
    }
}
