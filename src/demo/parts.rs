//! The demo's child processes and its folder.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::{DemoArgs, FAULTS};
use crate::exit::Failure;

const READY_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(8);

/// One child. It ends when its standard input closes.
struct Part {
    name: &'static str,
    child: Child,
    /// Held apart from the child, because waiting for a child closes its standard input.
    stdin: Option<ChildStdin>,
    ready: Value,
    log: PathBuf,
}

/// Everything the demo runs on.
pub(super) struct Parts {
    folder: TempDir,
    /// In the order they are stopped.
    shop: Part,
    agent: Part,
    server: Part,
    api: String,
}

impl Parts {
    /// Starts server, agent and shop, each when the one before it is ready.
    pub(super) async fn start(arguments: &DemoArgs) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("silmari-demo-").tempdir()?;
        let at = folder.path();
        let server = build_server(at).await?;
        let api = text_of(&server, "api")?;
        let agent = build_agent(at, &text_of(&server, "otlp_http")?).await?;
        let shop = build_shop(at, &text_of(&agent, "otlp_grpc")?, arguments).await?;
        Ok(Self { folder, shop, agent, server, api })
    }

    /// The query API.
    pub(super) fn api(&self) -> &str {
        &self.api
    }

    /// Waits until a part ends that should not.
    pub(super) async fn any_ended(&mut self) -> Failure {
        let (shop, agent, server) = (&mut self.shop, &mut self.agent, &mut self.server);
        tokio::select! {
            _ = shop.child.wait() => shop.ended(),
            _ = agent.child.wait() => agent.ended(),
            _ = server.child.wait() => server.ended(),
        }
    }

    /// Ends all parts and removes the folder.
    pub(super) async fn stop(self) {
        for part in [self.shop, self.agent, self.server] {
            part.stop().await;
        }
        if let Err(error) = self.folder.close() {
            tracing::warn!("the demo's folder could not be removed: {error}");
        }
    }
}

impl Part {
    /// Starts `binary` beside this one and waits until it says that it is ready.
    async fn start(at: &Path, name: &'static str, arguments: &[String]) -> Result<Self, Failure> {
        let binary = beside(name)?;
        let log = at.join(format!("{name}.stderr"));
        let mut child = Command::new(&binary)
            .args(arguments)
            .arg("--until-stdin-closes")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::runtime(format!("starting {}: {error}", binary.display())))?;
        let stdout =
            child.stdout.take().ok_or_else(|| Failure::runtime("a child without standard output"))?;
        let stdin = child.stdin.take();
        let mut part = Self { name, child, stdin, ready: Value::Null, log };
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(said) = serde_json::from_str::<Value>(&line)
                    && said["ready"] == Value::Bool(true)
                {
                    return Some(said);
                }
            }
            None
        };
        match tokio::time::timeout(READY_MAX, ready).await {
            Ok(Some(said)) => part.ready = said,
            Ok(None) => return Err(part.ended()),
            Err(_) => return Err(Failure::runtime(format!("{name} was not ready in {READY_MAX:?}"))),
        }
        // Whatever else it says must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(part)
    }

    /// The failure of a part that ended by itself, with the end of what it wrote.
    fn ended(&self) -> Failure {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let mut message = format!("{} ended unexpectedly", self.name);
        let lines: Vec<&str> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(10)..] {
            write!(message, "\n  {line}").unwrap_or_default();
        }
        Failure::runtime(message)
    }

    async fn stop(mut self) {
        drop(self.stdin.take());
        if tokio::time::timeout(STOP_MAX, self.child.wait()).await.is_err() {
            tracing::warn!("{} did not end in {STOP_MAX:?} and is killed", self.name);
            drop(self.child.kill().await);
        }
    }
}

fn beside(name: &str) -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    let binary = own.with_file_name(name);
    if binary.is_file() {
        return Ok(binary);
    }
    Err(Failure::runtime(format!("no `{name}` beside {}: run `make build`", own.display())))
}

fn text_of(part: &Part, key: &str) -> Result<String, Failure> {
    let text = part.ready[key].as_str().map(str::to_owned);
    text.ok_or_else(|| Failure::runtime(format!("{} did not say its `{key}`", part.name)))
}

async fn build_server(at: &Path) -> Result<Part, Failure> {
    let rules = at.join("rules");
    std::fs::create_dir_all(&rules)?;
    for (name, text) in dashboards::rule::SHOP {
        std::fs::write(rules.join(name), text)?;
    }
    let ids = at.join("ids.yaml");
    std::fs::write(&ids, include_str!("../../fixtures/shop/ids.yaml"))?;
    let free = "127.0.0.1:0".to_owned();
    let mut arguments = vec!["serve".to_owned()];
    for (flag, value) in [
        ("--data-dir", at.join("data").display().to_string()),
        ("--api", free.clone()),
        ("--otlp-grpc", free.clone()),
        ("--otlp-http", free),
        ("--ids", ids.display().to_string()),
        ("--rules", rules.display().to_string()),
    ] {
        arguments.extend([flag.to_owned(), value]);
    }
    Part::start(at, "silmari", &arguments).await
}

async fn build_agent(at: &Path, endpoint: &str) -> Result<Part, Failure> {
    let logs = at.join("logs");
    std::fs::create_dir_all(&logs)?;
    let shop = beside("silmari-shop")?;
    let output = Command::new(&shop)
        .args(["--print-agent-config", endpoint, "--log-dir"])
        .arg(&logs)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| Failure::runtime(format!("starting {}: {error}", shop.display())))?;
    if !output.status.success() {
        let problem = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::runtime(format!("silmari-shop printed no agent configuration: {problem}")));
    }
    let file = at.join("agent.toml");
    std::fs::write(&file, output.stdout)?;
    let arguments = ["run".to_owned(), "-c".to_owned(), file.display().to_string()];
    Part::start(at, "silmari-agent", &arguments).await
}

async fn build_shop(at: &Path, otlp: &str, arguments: &DemoArgs) -> Result<Part, Failure> {
    let mut flags = Vec::new();
    for (flag, value) in [
        ("--otlp", otlp.to_owned()),
        ("--log-dir", at.join("logs").display().to_string()),
        ("--purchases", arguments.purchases.to_string()),
        ("--rate", arguments.rate.to_string()),
        ("--seed", arguments.seed.to_string()),
    ] {
        flags.extend([flag.to_owned(), value]);
    }
    if let Some(kafka) = &arguments.kafka {
        flags.extend(["--kafka".to_owned(), kafka.clone()]);
    }
    let faults = match arguments.faults.is_empty() {
        true => FAULTS.map(str::to_owned).to_vec(),
        false => arguments.faults.clone(),
    };
    for fault in faults {
        flags.extend(["--fault".to_owned(), fault]);
    }
    Part::start(at, "silmari-shop", &flags).await
}
