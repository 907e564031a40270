//! A server of others, sent the same requests: VictoriaTraces or VictoriaLogs, a process of its own with a new folder.
//!
//! ```text
//! program ─► answers /health ─► OTLP over HTTP ─► processor time, memory (/proc) ─► flushed, bytes of its folder ─► killed
//! ```

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bench_table::{Process, bytes_below};
use model::{Clock, Signal};
use tempfile::TempDir;

/// How long a server may take to answer.
const READY_MAX: Duration = Duration::from_secs(20);
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

/// What it cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Processor time, user and system, since it started.
    pub processor: Duration,
    /// Bytes that were resident at most.
    pub resident: u64,
}

impl Peer {
    /// Starts `program` with its data in a new folder below `dir` and waits until it answers.
    ///
    /// # Errors
    /// When it cannot be started or does not answer in time.
    pub async fn start(program: &Path, dir: &Path, clock: &dyn Clock) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("peer-").tempdir_in(dir).context("create a data folder")?;
        let address =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).context("a free port")?;
        let mut command = Command::new(program);
        command.arg(format!("-storageDataPath={}", dir.path().display()));
        command.args([format!("-httpListenAddr={address}"), "-retentionPeriod=100y".to_owned()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("start `{}`", program.display()))?;
        let mut peer = Self { child, address, dir };
        let deadline = clock.monotonic() + READY_MAX;
        while !peer.get("/health").await.is_ok_and(|answer| answer.status().is_success()) {
            if let Some(status) = peer.child.try_wait().context("look after a server")? {
                bail!("`{}` ended with {status}", program.display());
            }
            ensure!(clock.monotonic() < deadline, "`{}` does not answer at {address}", program.display());
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Ok(peer)
    }

    async fn get(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        reqwest::get(format!("http://{}{path}", self.address)).await
    }

    /// Where it takes OTLP.
    pub fn endpoint(&self, signal: Signal) -> String {
        format!("http://{}/insert/opentelemetry/v1/{signal}", self.address)
    }

    /// What it cost so far.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cost(&self) -> anyhow::Result<Cost> {
        let process = Process::new(self.child.id());
        Ok(Cost { processor: process.cpu_time()?, resident: process.memory()?.peak })
    }

    /// Bytes of its folder after it wrote what it held.
    ///
    /// # Errors
    /// When it cannot be asked, or the folder not be read.
    pub async fn bytes_on_disk(&self) -> anyhow::Result<u64> {
        self.get("/internal/force_flush").await.context("ask a server to flush")?;
        // Its merges remove files meanwhile.
        bytes_below(self.dir.path()).with_context(|| format!("read `{}`", self.dir.path().display()))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
