//! The program itself: commands, exit codes, ends.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use agent::{Agent, Config, ErrorKind, exit_code};
use model::{Clock, SystemClock, UnixNano};
use tokio_util::sync::CancellationToken;

use crate::collector::Collector;
use crate::support::{Host, Program, assert_conserved, until};

fn silmari_agent(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_silmari-agent")).args(args).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn check_names_the_place_of_a_mistake_and_exits_2() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, "[files.shop]\ninclude = [\"logs/*.log\"]\nservise = \"shop\"\n").expect("written");
    let output = silmari_agent(&["check", "-c", path.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(exit_code::CONFIG.into()));
    let error = text(&output.stderr);
    assert!(error.contains("agent.toml:3:1: unknown key `servise`, did you mean `service`?"), "{error}");
}

#[test]
fn check_shows_what_matches_relative_to_the_configuration() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("agent.toml");
    std::fs::create_dir(folder.path().join("logs")).expect("folder");
    std::fs::write(folder.path().join("logs/a.log"), "1\n").expect("written");
    std::fs::write(folder.path().join("logs/a.log.zst"), "1\n").expect("written");
    std::fs::write(&path, "[files.shop]\ninclude = [\"logs/*.log*\"]\n").expect("written");
    let output = silmari_agent(&["check", "-c", path.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(
        shown.contains("logs/a.log\n") && shown.contains("logs/a.log.zst  not read: compressed; only gzip"),
        "{shown}"
    );
    let beside = Command::new(env!("CARGO_BIN_EXE_silmari-agent"))
        .args(["check", "-c", "agent.toml"])
        .current_dir(folder.path())
        .output()
        .expect("runs");
    let whole = format!("    {}/logs/a.log\n", folder.path().display());
    assert!(text(&beside.stdout).contains(&whole), "as from anywhere: {}", text(&beside.stdout));
}

#[test]
fn test_shows_how_lines_are_read_and_hides_control_characters() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.log");
    std::fs::write(&path, "level=warn msg=\"a \x1b[31mred one\" order_id=ORD-1\n").expect("written");
    let output = silmari_agent(&["test", path.to_str().expect("text")]);
    let shown = text(&output.stdout);
    assert!(shown.contains("order_id = ORD-1") && shown.contains("warn (13)"), "{shown}");
    assert!(shown.contains("\\u{1b}[31m") && !shown.contains('\x1b'), "{shown}");
    let output = silmari_agent(&["test", path.to_str().expect("text"), "--json"]);
    let record: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(record["attributes"]["order_id"], "ORD-1");
    let output = silmari_agent(&["test", path.to_str().expect("text"), "--dialect", "logfm"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean `logfmt`?"), "{}", text(&output.stderr));
}

#[test]
fn test_reads_what_container_runtimes_write_and_what_is_compressed() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("0.log.gz");
    let lines =
        "2026-11-24T10:00:00.5Z stderr P level=warn msg=\n2026-11-24T10:00:00.6Z stderr F slow id=7\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, lines.as_bytes()).expect("packed");
    std::fs::write(&path, gzip.finish().expect("packed")).expect("written");
    let output = silmari_agent(&["test", path.to_str().expect("text"), "--json"]);
    let record: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one record");
    assert_eq!((&record["body"], &record["severity_text"]), (&"slow".into(), &"warn".into()));
    assert_eq!(record["attributes"]["log.iostream"], "stderr");
    assert!(record["time"].to_string().contains("2026-11-24T10:00:00.5"), "{record}");
}

#[test]
fn files_and_check_say_which_table_reads_a_file_and_which_glob_finds_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("agent.toml");
    std::fs::create_dir(folder.path().join("logs")).expect("folder");
    std::fs::write(folder.path().join("logs/a.log"), "1\n").expect("written");
    std::os::unix::fs::symlink("nowhere", folder.path().join("logs/b.log")).expect("link");
    let settings =
        "[files.one]\ninclude = [\"logs/*.log\"]\n[files.two]\ninclude = [\"logs/a.*\", \"lgos/*.log\"]\n";
    std::fs::write(&path, settings).expect("written");
    let output = silmari_agent(&["files", "--json", "-c", path.to_str().expect("text")]);
    let files: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let said = |table: &str, name: &str| {
        let found = files.as_array().expect("a list").iter().find(|file| {
            file["input"] == table && file["path"].as_str().is_some_and(|path| path.ends_with(name))
        });
        found.map(|file| file["reason"].as_str().unwrap_or_default().to_owned()).expect("listed")
    };
    assert_eq!(said("one", "a.log"), "");
    assert_eq!(said("one", "b.log"), "a link whose target is not there");
    assert_eq!(said("two", "a.log"), "[files.one] reads it");
    assert!(said("two", "lgos/*.log").contains("did you mean `logs`?"), "{files}");
    assert!(text(&output.stderr).starts_with("no agent answers"), "{}", text(&output.stderr));
    let output = silmari_agent(&["check", "-c", path.to_str().expect("text")]);
    let shown = text(&output.stdout);
    assert!(
        shown.contains("files.one: 1 would be read now") && shown.contains("files.two: 0 would"),
        "{shown}"
    );
}

#[test]
fn doctor_names_what_would_keep_inputs_from_working() {
    let folder = tempfile::tempdir().expect("folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let taken = taken.local_addr().map(|address| (taken, address)).expect("address");
    let gone =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|gone| gone.local_addr()).expect("address");
    let settings = format!(
        "[agent]\ndata_dir = \"data\"\n[collector]\nendpoint = \"http://{gone}\"\n[spool]\nmax = \"1MiB\"\n\
         [files.a]\ninclude = [\"nothing/*.log\"]\n[syslog]\nlisten = [\"tcp://{}\", \"udp://127.0.0.1:0\"]\n\
         [scrape.s]\ntargets = [\"{gone}\"]\ntarget_files = [\"none.json\"]\n[report.r]\nfiles = [\"none.toml\"]\n\
         [journald]\ncommand = \"/none/journalctl\"\n[host]\n",
        taken.1
    );
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, settings).expect("written");
    let output = silmari_agent(&["doctor", "-c", path.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    let said = |start: &str, part: &str| {
        assert!(
            shown.lines().any(|line| line.starts_with(start) && line.contains(part)),
            "{start} {part}: {shown}"
        );
    };
    said("ok      data directory", "is not there yet and can be made");
    said("ok      spool", "0 of 1 MiB");
    said("PROBLEM files.a", "there is no folder");
    said("PROBLEM syslog", &format!("cannot listen on tcp://{}", taken.1));
    said("ok      syslog", "udp://127.0.0.1:0 is free");
    said("PROBLEM scrape.s", "does not answer");
    said("PROBLEM scrape.s", "none.json");
    said("PROBLEM report.r", "none.toml cannot be read");
    said("PROBLEM journald", "cannot run `/none/journalctl`");
    said("PROBLEM collector", "cannot be reached");
    said("ok      host", "control groups");
    assert!(!folder.path().join("data").exists(), "it only looks");
}

#[tokio::test]
async fn a_second_agent_on_one_data_directory_is_refused() {
    let host = Host::new();
    let settings = host.settings("http://127.0.0.1:9", "");
    let config = || Config::parse(&settings, "test.toml", |_| None).expect("valid");
    let _first = Agent::start(config(), SystemClock::shared()).await.expect("started");
    let error = Agent::start(config(), SystemClock::shared()).await.expect_err("held");
    assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Locked, exit_code::LOCKED));
}

/// The machine's clock, until it takes the thread that asks it down.
#[derive(Debug)]
struct FailingClock {
    clock: Arc<dyn Clock>,
    fails: AtomicBool,
}

impl Clock for FailingClock {
    fn now(&self) -> UnixNano {
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        assert!(!self.fails.load(Relaxed), "this clock fails on purpose");
        self.clock.monotonic()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_reader_that_dies_ends_the_agent_with_an_error() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let config = Config::parse(&host.settings(&collector.url(), ""), "test.toml", |_| None).expect("valid");
    let clock = Arc::new(FailingClock { clock: SystemClock::shared(), fails: AtomicBool::new(false) });
    let shared_clock: Arc<dyn Clock> = Arc::<FailingClock>::clone(&clock);
    let agent = Agent::start(config, shared_clock).await.expect("started");
    let shared = agent.shared();
    let shutdown = CancellationToken::new();
    let working = tokio::spawn(agent.run(shutdown.clone()));
    host.append("a.log", "1\n");
    until("the line", || collector.texts() == ["1"]).await;
    assert!(!working.is_finished());
    clock.fails.store(true, Relaxed);
    let ended = tokio::time::timeout(Duration::from_secs(30), working).await.expect("ends by itself");
    let error = ended.expect("no panic of its own").expect_err("the reader is gone");
    assert_eq!(error.exit_code(), exit_code::RUNTIME);
    assert!(error.to_string().contains("the file reader panicked"), "{error}");
    assert!(!shutdown.is_cancelled(), "nobody asked it to end");
    assert_conserved(&shared.status());
}

#[tokio::test]
async fn damaged_positions_are_named_and_nothing_is_overwritten() {
    let host = Host::new();
    let path = host.data.path().join("positions.json");
    std::fs::write(&path, "{").expect("written");
    let config =
        Config::parse(&host.settings("http://127.0.0.1:9", ""), "test.toml", |_| None).expect("valid");
    let error = Agent::start(config, SystemClock::shared()).await.expect_err("damaged");
    assert_eq!(error.exit_code(), exit_code::DAMAGED);
    assert!(error.to_string().contains("positions.json"), "{error}");
    assert_eq!(std::fs::read(&path).expect("still there"), b"{");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_ships_and_ends_when_its_input_is_closed() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let program = Program::start(&host, &host.settings(&collector.url(), ""));
    host.append("a.log", "1\n");
    until("the line", || collector.texts() == ["1"]).await;
    host.append("a.log", "2\n");
    assert_eq!(program.close().await, Some(0));
    assert_eq!(collector.texts(), ["1", "2"], "drained");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_lines_of_configuration_are_enough_to_ask_a_running_agent() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let program = Program::start(&host, &host.settings(&collector.url(), ""));
    let asked = host.path("agent.toml");
    std::fs::write(&asked, host.settings(&collector.url(), "")).expect("written");
    host.append("a.log", "1\n");
    until("the line", || collector.texts() == ["1"]).await;
    for (command, part) in [("status", "takes data"), ("files", "a.log")] {
        let ask = || silmari_agent(&[command, "-c", asked.to_str().expect("text")]);
        assert_eq!(ask().status.code(), Some(0), "{}", text(&ask().stderr));
        until(part, || text(&ask().stdout).contains(part)).await;
    }
    program.kill().await;
    let output = silmari_agent(&["status", "-c", asked.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(exit_code::RUNTIME.into()));
    assert!(text(&output.stderr).contains("no answer from an agent at"), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_killed_without_warning_loses_nothing() {
    let (host, mut collector) = (Host::new(), Collector::start().await);
    let settings = host.settings(&collector.url(), "");
    let program = Program::start(&host, &settings);
    host.append("a.log", "1\n");
    until("the first line", || collector.texts() == ["1"]).await;
    collector.go_away().await;
    host.append("a.log", "2\n");
    program.kill().await;
    host.append("a.log", "3\n");
    collector.come_back().await;
    let program = Program::start(&host, &settings);
    until("the rest", || collector.texts().ends_with(&["2".to_owned(), "3".to_owned()])).await;
    program.kill().await;
}
