//! Looking at records as they pass, sending a file again, and the memory budget as senders meet it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use model::otlp::logs::{LogRecordParts, LogsWriter};
use serde_json::Value;

use crate::collector::Collector;
use crate::pushed::LISTEN;
use crate::support::{Host, Running, until};

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";

fn silmari_agent(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_silmari-agent")).args(args).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn admin(agent: &Running) -> String {
    agent.addresses.admin.expect("admin is on").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_shows_records_after_the_processors_and_no_control_characters() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let agent = host.agent(&collector.url(), &format!("redact = ['email']\n{ADMIN}")).await;
    let mut tail = Command::new(env!("CARGO_BIN_EXE_silmari-agent"))
        .args(["tail", "-n", "2", "--source", "shop", "--level", "warn", "--admin", &admin(&agent)])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut number = 0;
    while tail.try_wait().expect("a child").is_none() {
        number += 1;
        assert!(number < 3_000, "tail never ended");
        host.append("a.log", "level=info msg=quiet\nlevel=warn msg=\"slow \u{1b}[31m\" to=ada@example.org\n");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut shown = String::new();
    tail.stdout.take().expect("piped").read_to_string(&mut shown).expect("text");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(lines[0].contains("WARN") && lines[0].contains("slow \\u{1b}[31m"), "{shown}");
    assert!(lines[0].contains("to=[redacted:email]") && !shown.contains("quiet"), "{shown}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_level_and_too_many_readers_are_told_so() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let agent = host.agent(&collector.url(), ADMIN).await;
    let output = silmari_agent(&["tail", "--level", "wran", "--admin", &admin(&agent)]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let look = || {
        let mut stream = TcpStream::connect(admin(&agent)).expect("connect");
        write!(stream, "GET /tail HTTP/1.0\r\n\r\n").expect("write");
        let mut line = String::new();
        BufReader::new(stream.try_clone().expect("a handle")).read_line(&mut line).expect("an answer");
        (line, stream)
    };
    let looking: Vec<_> = (0..4).map(|_| look()).collect();
    assert!(looking.iter().all(|(line, _)| line.contains("200")));
    let output = silmari_agent(&["tail", "--admin", &admin(&agent)]);
    assert!(text(&output.stderr).contains("4 readers look already"), "{}", text(&output.stderr));
    drop(looking);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_sent_again_beside_the_agent_that_reads_it() {
    let (host, collector) = (Host::new(), Collector::start_positioned().await);
    let lines =
        ["2026-11-26T10:00:00Z one", "2026-11-26T11:00:00Z two", "  of two", "2026-11-26T12:00:00Z three"];
    host.append("a.log", &lines.join("\n"));
    let more = "set = { \"read\" = \"anew\" }\n";
    let path = host.data.path().join("agent.toml");
    std::fs::write(&path, host.settings(&collector.url(), more)).expect("written");
    let agent = host.agent(&collector.url(), "").await;
    until("the whole lines", || collector.texts().len() == 3).await;

    let (file, path) = (host.path("a.log"), path.display().to_string());
    let replay = |more: &[&str]| {
        let mut args = vec!["replay", file.to_str().expect("text"), "-c", &path];
        args.extend(more);
        silmari_agent(&args)
    };
    let output = replay(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("sent 4 records of "), "{}", text(&output.stdout));
    let again: Vec<_> = collector.records().split_off(3);
    assert_eq!(
        again.iter().map(|record| record.text.as_str()).collect::<Vec<_>>(),
        ["one", "two", "of two", "three"]
    );
    assert!(again.iter().all(|record| record.attribute("read") == "anew"));

    let output = replay(&["--since", "2026-11-26T10:30:00Z", "--to", "2026-11-26T11:30:00Z"]);
    assert!(
        text(&output.stdout).contains("sent 2 records") && text(&output.stdout).contains("filtered 2"),
        "{}",
        text(&output.stdout)
    );
    assert_eq!(collector.texts().split_off(7), ["two", "of two"]);
    let output = replay(&["--source", "shp"]);
    assert!(text(&output.stderr).contains("no table [files.shp]: there is shop"), "{}", text(&output.stderr));

    for (name, content, why) in [
        ("a.zst.log", &b"\x28\xb5\x2f\xfd\0\0"[..], "binary: its content looks like"),
        ("b.zst", b"x\n", "only gzip is read"),
    ] {
        std::fs::write(host.path(name), content).expect("written");
        let file = host.path(name).display().to_string();
        let output = silmari_agent(&["replay", &file, "-c", &path, "--source", "shop"]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
        assert!(text(&output.stderr).contains(why), "{}", text(&output.stderr));
    }
    let output = silmari_agent(&["replay", &host.logs.path().display().to_string(), "-c", &path]);
    assert!(text(&output.stderr).contains("no regular file"), "{}", text(&output.stderr));

    host.append("a.log", " is whole\nand on\n");
    until("the agent to go on", || collector.texts().last().is_some_and(|last| last == "and on")).await;
    assert_eq!(collector.duplicates_and_gaps(), (0, 0));
    agent.stop().await;
    let mut agents = collector.agents();
    agents.sort_unstable();
    agents.dedup();
    assert!(agents.len() >= 3, "each replay has an identity of its own: {agents:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_file_is_sent_again_to_its_end() {
    let (host, collector) = (Host::new(), Collector::start_positioned().await);
    let path = host.data.path().join("agent.toml");
    std::fs::write(&path, host.settings(&collector.url(), "")).expect("written");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for number in 0..5_000 {
        writeln!(gzip, "line {number}").expect("packed");
    }
    std::fs::write(host.path("old.log.1.gz"), gzip.finish().expect("packed")).expect("written");
    let file = host.path("old.log.1.gz").display().to_string();
    let output = silmari_agent(&["replay", &file, "-c", &path.display().to_string(), "--source", "shop"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("sent 5000 records of "), "{}", text(&output.stdout));
    assert_eq!(collector.records().len(), 5_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_which_there_is_no_memory_is_sent_away_before_its_body_is_read() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let agent = host.agent(&collector.url(), &format!("{LISTEN}[memory]\nlimit = \"47MiB\"\n")).await;
    let mut writer = LogsWriter::new([]);
    writer.push(&LogRecordParts { body: &"x".repeat(3 << 20), ..Default::default() }, []);
    let body = writer.finish();
    let begin = || {
        let mut stream = TcpStream::connect(agent.addresses.otlp_http.expect("HTTP is on")).expect("connect");
        let length = body.len();
        write!(
            stream,
            "POST /v1/logs HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Content-Type: application/x-protobuf\r\nContent-Length: {length}\r\n\r\n"
        )
        .expect("write");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        stream
    };
    let read = |mut stream: TcpStream| {
        let mut answer = Vec::new();
        // A refused sender may find the connection reset behind the answer.
        while stream.read_to_end(&mut answer).is_ok_and(|read| read > 0) {}
        text(&answer)
    };
    let mut first = begin();
    until("its memory to be taken", || agent.status().memory.requests_bytes >= 3 << 20).await;
    let answer = read(begin());
    assert!(answer.contains(" 429 ") && answer.to_lowercase().contains("retry-after: 5"), "{answer}");
    first.write_all(&body).expect("write");
    assert!(read(first).contains(" 200 "), "the first one was not disturbed");
    until("its memory to be given back", || agent.status().memory.requests_bytes == 0).await;
    until("the record", || collector.records().len() == 1).await;
    let (_, status) = crate::pushed::get(&agent, "/status").await;
    let status: Value = serde_json::from_str(status.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    assert_eq!(status["memory"]["limit_bytes"], 47 << 20);
    let (_, metrics) = crate::pushed::get(&agent, "/metrics").await;
    assert!(metrics.contains("agent_memory_limit_bytes 49283072"), "{metrics}");
    agent.stop().await;
}
