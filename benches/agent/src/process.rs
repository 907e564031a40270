//! The process that is measured: started on its core, asked for its time and memory.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bench_table::{Memory, Process};
use model::SystemClock;

use crate::options::Options;

/// Runs this process on one core, before it has threads.
pub(crate) fn pin_to(core: usize) -> anyhow::Result<()> {
    let mut command = Command::new("taskset");
    command.args(["-c", "-p", &core.to_string(), &std::process::id().to_string()]).stdout(Stdio::null());
    let status = command.status().context("cannot start `taskset` (util-linux)")?;
    ensure!(status.success(), "cannot run on core {core}: `taskset` ended with {status}");
    Ok(())
}

/// What the numbers were taken on.
pub(crate) fn machine() -> anyhow::Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
    Ok(format!("{cores} × {}, load {load}", model.trim_start_matches([' ', '\t', ':'])))
}

/// A running agent.
pub(crate) struct Agent {
    child: Child,
    /// From its start to its readiness.
    pub(crate) start: Duration,
    /// Where it takes OTLP over HTTP.
    pub(crate) otlp: Option<String>,
    /// Whether it ends only when it is killed.
    is_peer: bool,
}

impl Agent {
    /// Starts it with the configuration `text`, written into `folder`.
    pub(crate) fn start(options: &Options, folder: &Path, text: &str) -> anyhow::Result<Self> {
        let config = folder.join("agent.toml");
        fs::File::create(&config)?.write_all(text.as_bytes())?;
        ensure!(
            options.agent.exists(),
            "`{}` does not exist: cargo build --profile agent -p agent",
            options.agent.display()
        );
        let mut command = Command::new("taskset");
        command.arg("-c").arg(options.agent_core.to_string());
        command.args(options.wrap.split_whitespace());
        command.arg(&options.agent).arg("run").arg("-c").arg(&config).arg("--until-stdin-closes");
        command.env("SILMARI_LOG", "warn").stdin(Stdio::piped()).stdout(Stdio::piped());
        let clock = SystemClock::shared();
        let mut child = command.spawn().context("cannot start `taskset` (util-linux)")?;
        let mut line = String::new();
        let out = child.stdout.take().context("no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let start = clock.monotonic();
        let ready: serde_json::Value = serde_json::from_str(&line).context("the agent did not get ready")?;
        Ok(Self { child, start, otlp: ready["otlp_http"].as_str().map(str::to_owned), is_peer: false })
    }

    /// Starts rotel, passing OTLP on to `url`.
    pub(crate) fn start_rotel(options: &Options, rotel: &Path, url: &str) -> anyhow::Result<Self> {
        let free = || -> std::io::Result<SocketAddr> { TcpListener::bind("127.0.0.1:0")?.local_addr() };
        let (grpc, http) = (free()?, free()?);
        let mut command = Command::new("taskset");
        command.arg("-c").arg(options.agent_core.to_string()).arg(rotel).arg("start");
        command.args(["--otlp-grpc-endpoint", &grpc.to_string(), "--otlp-http-endpoint", &http.to_string()]);
        command.args([
            "--exporter",
            "otlp",
            "--otlp-exporter-endpoint",
            url,
            "--otlp-exporter-protocol",
            "http",
        ]);
        command.args(["--otlp-exporter-compression", "none"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self::start_peer(command, "rotel", http)
    }

    /// Starts vlagent, reading the files of `folder/logs` and shipping them to `url`. It keeps its state in `folder`.
    pub(crate) fn start_vlagent(
        options: &Options,
        vlagent: &Path,
        folder: &Path,
        url: &str,
    ) -> anyhow::Result<Self> {
        let http = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let folder = folder.display();
        let mut command = Command::new("taskset");
        command.arg("-c").arg(options.agent_core.to_string()).arg(vlagent).args([
            format!("-fileCollector.glob={folder}/logs/*.log"),
            format!("-tmpDataPath={folder}/vlagent"),
            format!("-remoteWrite.url={url}/insert/native"),
            format!("-httpListenAddr={http}"),
            "-loggerLevel=ERROR".to_owned(),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self::start_peer(command, "vlagent", http)
    }

    /// Starts a peer; it is ready when it listens on `http`.
    fn start_peer(mut command: Command, name: &str, http: SocketAddr) -> anyhow::Result<Self> {
        let clock = SystemClock::shared();
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        while TcpStream::connect(http).is_err() {
            ensure!(child.try_wait()?.is_none(), "{name} ended");
            ensure!(clock.monotonic() < Duration::from_secs(10), "{name} does not listen");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { child, start: clock.monotonic(), otlp: Some(format!("http://{http}")), is_peer: true })
    }

    /// Processor time it took so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(Process::new(self.child.id()).cpu_time()?)
    }

    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        Ok(Process::new(self.child.id()).memory()?)
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        if self.is_peer {
            // Dropping ends it.
            return Ok(());
        }
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "the agent ended with {status}");
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Already gone after `stop`.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
