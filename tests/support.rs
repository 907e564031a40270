//! What the tests share: running a command, waiting for a condition, a shop with its agent and server.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use fixtures::server::{ServerSettings, TestAgent, TestServer};
use fixtures::shop::agent_config;
use tokio::time::Instant;

/// The `silmari` binary of this build.
pub(crate) const SILMARI: &str = env!("CARGO_BIN_EXE_silmari");

/// Runs `silmari` against a server and gives what it printed.
pub(crate) async fn silmari(api: &str, arguments: &[&str]) -> Output {
    tokio::process::Command::new(SILMARI)
        .args(arguments)
        .env("SILMARI_SERVER", api)
        .env("COLUMNS", "120")
        .output()
        .await
        .expect("silmari runs")
}

/// What a command printed on standard output.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command printed on standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// How long one answer is waited for: longer than any limit of a server.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// What is waited for; panics when it does not come at all, so that a server that hangs is a failure and not a test without an end.
pub(crate) async fn answer<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(ANSWER_MAX, wait).await;
    answer.unwrap_or_else(|_| panic!("{what}: nothing within {ANSWER_MAX:?}"))
}

/// Asks `probe` again until it has an answer; panics with its last complaint after `deadline`.
pub(crate) async fn eventually<T, F>(deadline: Duration, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let end = Instant::now() + deadline;
    loop {
        match answer("a probe", probe()).await {
            Ok(answer) => return answer,
            Err(complaint) => assert!(Instant::now() < end, "not within {deadline:?}: {complaint}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The most memory a process has had.
pub(crate) fn peak_rss_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// A server that knows the shop's id kinds and seals only when it is told to or stops.
pub(crate) async fn server(folder: &Path) -> TestServer {
    let ids = folder.join("ids.yaml");
    std::fs::write(&ids, fixtures::shop::IDS_YAML).expect("written");
    TestServer::start_with(ServerSettings::new(folder.join("data")).ids(ids)).await.expect("a server")
}

/// An agent that tails the shop's log files in `folder/logs` and takes OTLP; and its gRPC endpoint.
pub(crate) async fn agent(folder: &Path, server: &TestServer) -> (TestAgent, String) {
    let config = agent_config(server.otlp_http(), &folder.join("agent"), &folder.join("logs"));
    let file = folder.join("agent.toml");
    std::fs::write(&file, config).expect("written");
    let mut agent = TestAgent::start(&file).expect("an agent");
    let ready = agent.process().wait_for("ready").await.expect("ready");
    let endpoint = ready["otlp_grpc"].as_str().expect("an endpoint").to_owned();
    (agent, endpoint)
}
