//! The fleet: configuration that the server hands out to agents, what it knows of those that fall silent, and rules on
//! both. Real agents, a real server, the shipped rule file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fixtures::server::{ServerSettings, TestAgent, TestServer};
use query_api::{AgentHealth, AgentRow, Client, StageHealth, StageRow};

use crate::support::{eventually, silmari, stderr, stdout};

const DEADLINE: Duration = Duration::from_secs(60);

/// Settings of an agent that beats quickly and takes configuration.
fn agent_settings(folder: &Path, name: &str, server: &TestServer, trial: &str) -> PathBuf {
    let text = format!(
        "[agent]\ndata_dir = '{folder}/{name}'\ninstance = '{name}'\nlabels = {{ service = \"billing\" }}\n\
         [collector]\nendpoint = '{}'\nflush = \"20ms\"\nheartbeat = \"200ms\"\n\
         [central]\naccept = true\nfolders = ['{folder}/logs']\ntrial = \"{trial}\"\n\
         tables = [\"files\", \"scrape\", \"syslog\"]\n\
         [files.own]\ninclude = ['{folder}/logs/{name}.log']\nstart_at = \"beginning\"\n",
        server.otlp_http(),
        folder = folder.display(),
    );
    let file = folder.join(format!("{name}.toml"));
    fs::write(&file, text).expect("written");
    file
}

async fn start_agent(settings: &Path) -> TestAgent {
    let mut agent = TestAgent::start(settings).expect("an agent");
    agent.process().wait_for("ready").await.expect("ready");
    agent
}

async fn agents(api: &str) -> Result<Vec<AgentRow>, String> {
    Client::new(api).agents().await.map(|answer| answer.agents).map_err(|error| error.to_string())
}

/// Waits until `holds` of every agent.
async fn all_agents(api: &str, count: usize, holds: impl Fn(&AgentRow) -> bool) {
    eventually(DEADLINE, async || {
        let agents = agents(api).await?;
        let is_so = agents.len() == count && agents.iter().all(&holds);
        if is_so { Ok(()) } else { Err(format!("{agents:?}")) }
    })
    .await;
}

async fn push(api: &str, file: &Path, more: &[&str]) -> (Option<i32>, String, Option<StageRow>) {
    let file = file.to_string_lossy();
    let mut arguments = vec!["agents", "push", &file, "--select", "service=billing", "--json"];
    arguments.extend(more);
    let output = silmari(api, &arguments).await;
    (output.status.code(), stderr(&output), serde_json::from_str(&stdout(&output)).ok())
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, text).expect("written");
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_staged_promoted_stopped_when_it_does_not_do_well_and_taken_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    fs::create_dir(at.join("logs")).expect("a folder");
    let settings = ServerSettings::new(at.join("data"));
    let server = TestServer::start_with(settings.clone()).await.expect("a server");
    let api = server.api().to_owned();
    let mut running = Vec::new();
    for name in ["one", "two", "three"] {
        running.push(start_agent(&agent_settings(at, name, &server, "1s")).await);
    }
    all_agents(&api, 3, |agent| agent.state == AgentHealth::Up && agent.accepts_configuration).await;

    // A few percent: the agent whose place is the first.
    let extra = at.join("logs/extra.log");
    fs::write(&extra, "level=info msg=\"from the pushed input\"\n").expect("written");
    let text = format!("[files.extra]\ninclude = ['{}']\nservice = \"extra\"\n", extra.display());
    let good = write(at, "good.toml", &text);
    let (code, said, stage) = push(&api, &good, &["--percent", "0", "--dry-run"]).await;
    let stage = stage.unwrap_or_else(|| panic!("{code:?} {said}"));
    assert_eq!((code, stage.matching, stage.chosen), (Some(0), 3, 0));
    let percent = stage.percent_min.expect("agents to reach").to_string();
    let (code, said, stage) = push(&api, &good, &["--percent", &percent, "--wait", "40s"]).await;
    assert_eq!(code, Some(0), "{said}");
    let first = stage.expect("a stage");
    assert_eq!((first.chosen, first.running, first.state), (1, 1, StageHealth::Live));
    let is_on = |agent: &&AgentRow| agent.pushed_version == first.version && !agent.is_trial;
    assert_eq!(agents(&api).await.expect("agents").iter().filter(is_on).count(), 1);

    // What it changed is at work.
    eventually(DEADLINE, async || {
        let output = silmari(&api, &["logs", "service:extra"]).await;
        let text = stdout(&output);
        if text.contains("from the pushed input") { Ok(()) } else { Err(text) }
    })
    .await;

    let (code, said, _) = push(&api, &good, &["--percent", "100", "--wait", "40s"]).await;
    assert_eq!(code, Some(0), "{said}");
    all_agents(&api, 3, |agent| agent.pushed_version == first.version && !agent.is_trial).await;
    eventually(DEADLINE, async || {
        let text = stdout(&silmari(&api, &["agents", "config", "two"]).await);
        let parts = ["pushed v1", "[files.own]", "# pushed version 1", "[files.extra]"];
        if parts.iter().all(|part| text.contains(part)) { Ok(()) } else { Err(text) }
    })
    .await;

    // Wrong here, wrong on the host, wrong when it starts, wrong when it has run for a while.
    let misspelt = write(at, "misspelt.toml", "[files.a]\ninclude = []\nexlude = []\n");
    let (code, said, _) = push(&api, &misspelt, &["--percent", "100"]).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("misspelt.toml:3:1: unknown key `exlude`, did you mean `exclude`?"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|address| (taken, address)).expect("bound");
    for (name, text, part) in [
        ("outside", "[files.a]\ninclude = ['/etc/passwd']\n".to_owned(), ":2:12: `/etc/passwd` lies outside"),
        ("port", format!("[syslog]\nlisten = ['tcp://{}']\n", taken.1), "cannot listen on tcp://"),
        (
            "down",
            "[scrape.x]\ntargets = ['127.0.0.1:1']\ninterval = '100ms'\n".to_owned(),
            "not ready at the end of its trial: [scrape.x] none of 1 targets answers",
        ),
    ] {
        let file = write(at, &format!("{name}.toml"), &text);
        let (code, said, stage) = push(&api, &file, &["--percent", &percent, "--wait", "40s"]).await;
        assert_eq!(code, Some(1), "{name}: {said}");
        let stage = stage.unwrap_or_else(|| panic!("{name}: {said}"));
        assert_eq!((stage.state, stage.refused_by.len()), (StageHealth::Stopped, 1), "{name}: {stage:?}");
        assert!(said.contains(part), "{name}: `{part}` is missing in {said}");
        all_agents(&api, 3, |agent| agent.pushed_version == first.version && !agent.is_trial).await;
    }

    // All of it is there after a restart of the server.
    let mut old = server;
    old.kill9().await.expect("killed");
    let server = TestServer::start_with(settings.listen_like(&old)).await.expect("a server");
    let stages = Client::new(server.api()).agent_stages().await.expect("stages").stages;
    let states: Vec<StageHealth> = stages.iter().map(|stage| stage.state).collect();
    assert_eq!(states, [StageHealth::Stopped, StageHealth::Stopped, StageHealth::Stopped, StageHealth::Live]);
    all_agents(&api, 3, |agent| agent.state == AgentHealth::Up && agent.pushed_version == first.version)
        .await;

    let version = first.version.to_string();
    let output = silmari(&api, &["agents", "rollback", "--version", &version]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    all_agents(&api, 3, |agent| agent.pushed_version == 0 && agent.target_version == 0).await;
    for agent in running {
        agent.stop().await.expect("stops");
    }
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_the_agent_dies_of_is_not_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    fs::create_dir(at.join("logs")).expect("a folder");
    let server = TestServer::start_with(ServerSettings::new(at.join("data"))).await.expect("a server");
    let api = server.api().to_owned();
    let settings = agent_settings(at, "one", &server, "10m");
    let mut agent = start_agent(&settings).await;
    all_agents(&api, 1, |agent| agent.accepts_configuration).await;
    let text = format!("[files.extra]\ninclude = ['{}/logs/extra.log']\n", at.display());
    let (code, said, _) = push(&api, &write(at, "new.toml", &text), &["--percent", "100"]).await;
    assert_eq!(code, Some(0), "{said}");
    all_agents(&api, 1, |agent| agent.pushed_version == 1 && agent.is_trial).await;
    agent.kill9().await.expect("killed");
    let agent = start_agent(&settings).await;
    all_agents(&api, 1, |agent| agent.pushed_version == 0 && agent.refused_version == 1).await;
    let stage = Client::new(&api).agent_stages().await.expect("stages").stages.remove(0);
    assert_eq!(stage.state, StageHealth::Stopped);
    assert!(
        stage.reason.as_ref().is_some_and(|reason| reason.contains("ended while it tried it")),
        "{stage:?}"
    );
    agent.stop().await.expect("stops");
    server.stop().await.expect("stops");
}

/// Alerts that fire, as `NAME INSTANCE`.
async fn firing(api: &str) -> Result<Vec<String>, String> {
    let answer = Client::new(api).alerts().await.map_err(|error| error.to_string())?;
    let errors: Vec<_> = answer.rules.iter().filter_map(|rule| rule.error.as_ref()).collect();
    assert!(errors.is_empty() && answer.file_errors.is_empty(), "{errors:?} {:?}", answer.file_errors);
    let alerts = answer.rules.iter().flat_map(|rule| rule.alerts.iter().map(move |alert| (rule, alert)));
    let firing = alerts.filter(|(_, alert)| alert.state == query_api::AlertState::Firing);
    let label = |alert: &query_api::Alert| alert.labels.get("instance").cloned().unwrap_or_default();
    Ok(firing.map(|(rule, alert)| format!("{} {}", rule.name, label(alert))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_fires_the_shipped_rule_and_one_that_is_stopped_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    for name in ["logs", "rules"] {
        fs::create_dir(at.join(name)).expect("a folder");
    }
    // The expressions are the shipped ones; only the waiting is shorter.
    let (name, text) = dashboards::rule::FLEET;
    let text = text.replace("interval: 15s", "interval: 200ms").replace("for: 1m", "for: 300ms");
    fs::write(at.join("rules").join(name), text).expect("written");
    let config = write(at, "silmari.toml", "[own_metrics]\ninterval = \"200ms\"\n");
    let settings = ServerSettings::new(at.join("data")).config(config).rules(at.join("rules"));
    let server = TestServer::start_with(settings).await.expect("a server");
    let api = server.api().to_owned();
    let dying = agent_settings(at, "dying", &server, "1s");
    let mut victim = start_agent(&dying).await;
    let other = start_agent(&agent_settings(at, "stopped", &server, "1s")).await;
    all_agents(&api, 2, |agent| agent.state == AgentHealth::Up).await;
    eventually(DEADLINE, async || {
        let output = silmari(&api, &["metrics", "silmari_agent_up"]).await;
        let text = stdout(&output);
        if text.contains("dying") && text.contains("stopped") { Ok(()) } else { Err(text) }
    })
    .await;
    assert_eq!(firing(&api).await, Ok(Vec::new()));

    other.stop().await.expect("stops");
    victim.kill9().await.expect("killed");
    eventually(DEADLINE, async || {
        let firing = firing(&api).await?;
        if firing == ["AgentDown dying"] { Ok(()) } else { Err(format!("{firing:?}")) }
    })
    .await;
    let states = agents(&api).await.expect("agents");
    assert!(states.iter().all(|agent| agent.state != AgentHealth::Up), "{states:?}");

    let back = start_agent(&dying).await;
    eventually(DEADLINE, async || {
        let firing = firing(&api).await?;
        if firing.is_empty() { Ok(()) } else { Err(format!("{firing:?}")) }
    })
    .await;
    back.stop().await.expect("stops");
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inventory_has_the_instances_of_services_by_what_they_send() {
    let folder = tempfile::tempdir().expect("a folder");
    let server =
        TestServer::start_with(ServerSettings::new(folder.path().join("data"))).await.expect("a server");
    let body = r#"{"resourceLogs":[{"resource":{"attributes":[
        {"key":"service.name","value":{"stringValue":"billing"}},
        {"key":"service.instance.id","value":{"stringValue":"billing-7f3a"}},
        {"key":"host.name","value":{"stringValue":"web-1"}}]},
        "scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}"#;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("{}/v1/logs", server.otlp_http());
    let sent = client.post(url).header("content-type", "application/json").body(body).send().await;
    assert!(sent.expect("sent").status().is_success());
    let output = silmari(server.api(), &["inventory"]).await;
    let text = stdout(&output);
    for part in ["up        billing  1 instance", "billing-7f3a", "web-1", "logs"] {
        assert!(text.contains(part), "`{part}` is missing in {text}{}", stderr(&output));
    }
    assert_eq!(
        stdout(&silmari(server.api(), &["inventory", "--down"]).await),
        "no instance of a service to show\n"
    );
    server.stop().await.expect("stops");
}
