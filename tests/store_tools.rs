//! `silmari store …` and `silmari import` as a person uses them: what they print, what they exit with.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{SILMARI, eventually, server, silmari, stderr, stdout};

fn run(arguments: &[&str]) -> Output {
    Command::new(SILMARI).args(arguments).output().expect("silmari runs")
}

fn store(command: &str, data_dir: &Path, more: &[&str]) -> Output {
    let data_dir = data_dir.to_str().expect("UTF-8");
    run(&[&["store", command, "--data-dir", data_dir], more].concat())
}

fn log_line(order: &str) -> String {
    format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"billing"}}}}]}},"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"1700000000000000000","severityNumber":9,"body":{{"stringValue":"charged {order}"}},"attributes":[{{"key":"order_id","value":{{"stringValue":"{order}"}}}}]}}]}}]}}]}}"#
    )
}

fn span_line(trace: &str) -> String {
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"billing"}}}}]}},"scopeSpans":[{{"spans":[{{"traceId":"{trace}","spanId":"eee19b7ec3c1b174","name":"POST /pay","kind":2,"startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000100000000"}}]}}]}}]}}"#
    )
}

const TRACE: &str = "5b8efff798038103d269b633813fc60c";

#[test]
fn files_are_imported_into_a_folder_that_the_tools_then_list_check_and_measure() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let file = folder.path().join("day.jsonl");
    let bad = span_line("not hex");
    let text = format!(
        "{}\n{}\n{bad}\n{{\"nonsense\":1}}\n{}\n",
        log_line("ORD-1"),
        span_line(TRACE),
        log_line("ORD-2")
    );
    std::fs::write(&file, text).expect("written");
    let (data_arg, file_arg) = (data.to_str().expect("UTF-8"), file.to_str().expect("UTF-8"));
    let output = run(&["import", "--data-dir", data_arg, file_arg]);
    assert_eq!(output.status.code(), Some(1), "two lines were bad");
    assert!(stdout(&output).contains("imported 1 spans, 2 log records"), "{}", stdout(&output));
    let said = stderr(&output);
    assert!(said.contains("day.jsonl:3:") && said.contains("traceId"), "{said}");
    assert!(said.contains("day.jsonl:4:") && said.contains("nonsense"), "{said}");

    let listed = store("ls", &data, &[]);
    assert!(listed.status.success(), "{}", stderr(&listed));
    assert!(stdout(&listed).contains("2023-11-14T22:13:20"), "{}", stdout(&listed));
    let json: Value = serde_json::from_slice(&store("ls", &data, &["--json"]).stdout).expect("JSON");
    assert_eq!(json["segments"].as_array().map(Vec::len), Some(2));

    let stats: Value = serde_json::from_slice(&store("stats", &data, &["--json"]).stdout).expect("JSON");
    let kinds = stats[1]["id_kinds"].as_array().expect("kinds");
    assert!(kinds.iter().any(|kind| kind["kind"] == "order_id" && kind["terms"] == 2), "{kinds:?}");
    assert!(stdout(&store("stats", &data, &[])).contains("order_id"));

    let verified = store("verify", &data, &[]);
    assert!(verified.status.success(), "{}{}", stdout(&verified), stderr(&verified));
    assert!(stdout(&verified).contains("read 2 segments (3 rows"), "{}", stdout(&verified));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_breaks_off_says_where_to_go_on_and_stores_nothing_twice_then() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path()).await;
    let fifo = folder.path().join("day.jsonl");
    let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs");
    assert!(made.success());
    let name = fifo.to_str().expect("UTF-8").to_owned();
    let import = Command::new(SILMARI)
        .args(["import", "--to", server.otlp_http(), &name])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("silmari runs");
    let mut feed = std::fs::OpenOptions::new().write(true).open(&fifo).expect("it reads");
    let lines: Vec<String> = (0..5).map(|at| log_line(&format!("ORD-{at}"))).collect();
    feed.write_all(format!("{}\n{}\n", lines[0], lines[1]).as_bytes()).expect("written");
    let count = || async {
        silmari(server.api(), &["sql", "select count(*) as n from logs", "--format", "csv"]).await
    };
    eventually(Duration::from_secs(20), || async {
        let found = stdout(&count().await);
        (found == "n\r\n2\r\n").then_some(()).ok_or(found)
    })
    .await;
    let interrupted =
        Command::new("kill").args(["-INT", &import.id().to_string()]).status().expect("kill runs");
    assert!(interrupted.success());
    // The file has no end yet: one that still waits for a line keeps nobody from leaving.
    let output = import.wait_with_output().expect("ends");
    drop(feed);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("day.jsonl:3 is stored") && said.contains("--from-line 3"), "{said}");

    std::fs::remove_file(&fifo).expect("removed");
    std::fs::write(&fifo, lines.join("\n")).expect("written");
    let output =
        silmari(server.api(), &["import", "--to", server.otlp_http(), "--from-line", "3", &name]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("3 log records"), "{}", stdout(&output));
    assert_eq!(stdout(&count().await), "n\r\n5\r\n");
    server.stop().await.expect("stops");
}

#[test]
fn a_damaged_segment_is_named_moved_away_and_the_store_is_sound_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut import = Command::new(SILMARI)
        .args(["import", "--data-dir", data.to_str().expect("UTF-8"), "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("silmari runs");
    let mut stdin = import.stdin.take().expect("piped");
    stdin.write_all(log_line("ORD-1").as_bytes()).expect("written");
    drop(stdin);
    assert!(import.wait().expect("ends").success());

    let table = data.join("segments/logs");
    let segment =
        std::fs::read_dir(&table).expect("a table").next().expect("a segment").expect("readable").path();
    std::fs::write(segment.join("data.parquet"), b"PAR1 no more").expect("written");
    let verified = store("verify", &data, &[]);
    assert_eq!(verified.status.code(), Some(1));
    assert!(stdout(&verified).contains("data.parquet (footer)"), "{}", stdout(&verified));
    let mended = store("fsck", &data, &["--repair"]);
    assert!(mended.status.success(), "{}{}", stdout(&mended), stderr(&mended));
    assert!(stdout(&mended).contains("quarantine/segments/logs/"), "{}", stdout(&mended));
    assert!(store("verify", &data, &[]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_takes_imports_and_lets_itself_be_listed_but_not_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path()).await;
    let data = folder.path().join("data");
    let file = folder.path().join("day.jsonl");
    std::fs::write(&file, format!("{}\n{}\n", log_line("ORD-1"), span_line(TRACE))).expect("written");
    let file = file.to_str().expect("UTF-8");
    let output = silmari(server.api(), &["import", "--to", server.otlp_http(), file]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let output = silmari(server.api(), &["sql", "select count(*) as n from logs", "--format", "csv"]).await;
    assert_eq!(stdout(&output), "n\r\n1\r\n");

    let listed = store("ls", &data, &[]);
    assert!(
        listed.status.success() && stdout(&listed).contains("a server uses this store"),
        "{}",
        stderr(&listed)
    );
    let refused = store("verify", &data, &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("stop it first"), "{}", stderr(&refused));
    let refused = run(&["import", "--data-dir", data.to_str().expect("UTF-8"), file]);
    assert!(stderr(&refused).contains("--to"), "{}", stderr(&refused));
    server.stop().await.expect("stops");

    let dumped = store("dump-wal", &data, &["--json"]);
    assert!(dumped.status.success(), "{}", stderr(&dumped));
    let unreachable = run(&["import", "--to", "http://127.0.0.1:1", file]);
    assert_eq!(unreachable.status.code(), Some(3));
    assert!(stderr(&unreachable).contains("silmari serve"), "{}", stderr(&unreachable));
}
