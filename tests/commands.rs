//! The commands as a person types them: output, exit codes, what an error says.

use std::process::Stdio;
use std::time::Duration;

use fixtures::server::TestServer;
use query_api::{Client, Journey};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::{SILMARI, eventually, server, silmari, stderr, stdout};

async fn post_log(server: &TestServer, body: &str) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let sent = client
        .post(format!("{}/log", server.otlp_http()))
        .header("content-type", "application/json")
        .body(body.to_owned())
        .send()
        .await
        .expect("sent");
    assert!(sent.status().is_success(), "{}: {}", sent.status(), sent.text().await.unwrap_or_default());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_id_says_what_was_searched_and_exits_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path()).await;
    let output = silmari(server.api(), &["trace", "ORD-404"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    for part in ["ORD-404", "order_id", "correlation_id", "from 20", "--since"] {
        assert!(said.contains(part), "`{part}` is missing in: {said}");
    }
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_the_commands_say_so_and_exit_3() {
    let output = silmari("http://127.0.0.1:1", &["services"]).await;
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("silmari serve"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_posted_json_line_is_found_by_id_by_search_by_sql_and_while_following() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path()).await;
    let mut follow = tokio::process::Command::new(SILMARI)
        .args(["logs", "service:legacy level>=warn", "-f", "--json", "--server", server.api()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("silmari runs");
    let mut followed = BufReader::new(follow.stdout.take().expect("piped")).lines();

    let record = r#"{"service":"legacy","level":"warn","message":"stock low","order_id":"ORD-7","sku":991}"#;
    post_log(&server, record).await;
    let line = tokio::time::timeout(Duration::from_secs(20), followed.next_line()).await;
    let line = line.expect("in time").expect("readable").expect("a line");
    assert!(line.contains("stock low") && line.contains("order_id=ORD-7"), "{line}");

    let output = silmari(server.api(), &["logs", "sku:991 stock"]).await;
    assert!(stdout(&output).contains("stock low"), "{}{}", stdout(&output), stderr(&output));
    let output = silmari(server.api(), &["logs", "ORD-7"]).await;
    let said = stderr(&output);
    assert!(
        said.contains("no log record") && said.contains("an id (order_id): silmari trace ORD-7"),
        "{said}"
    );
    let output = silmari(server.api(), &["logs", "ORD-7", "--since", "2h"]).await;
    assert!(stderr(&output).contains("silmari trace ORD-7 --since 2h"), "{}", stderr(&output));
    let output = silmari(server.api(), &["logs", "stork"]).await;
    assert!(!stderr(&output).contains("silmari trace"), "{}", stderr(&output));
    let output = silmari(server.api(), &["trace", "ORD-7"]).await;
    assert!(output.status.success() && stdout(&output).contains("stock low"), "{}", stdout(&output));
    let output = silmari(server.api(), &["trace", "ORD-7", "--json"]).await;
    let journey: Journey = serde_json::from_slice(&output.stdout).expect("a journey");
    assert_eq!(journey.counts.logs, 1);
    let statement = "select service, count(*) as n from logs group by 1";
    let output = silmari(server.api(), &["sql", statement, "--format", "csv"]).await;
    assert_eq!(stdout(&output), "service,n\r\nlegacy,1\r\n");
    follow.kill().await.expect("killed");
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_cannot_be_read_names_its_place_and_exits_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path()).await;
    for (arguments, part) in [
        (["logs", "(service:a"], "column"),
        (["metrics", "rate(x)"], "matrix"),
        (["sql", "select nothing_here from spans"], "nothing_here"),
        (["sql", "copy spans to '/tmp/x'"], "SELECT"),
    ] {
        let output = silmari(server.api(), &arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        let said = stderr(&output);
        assert!(said.to_lowercase().contains(&part.to_lowercase()), "{arguments:?}: {said}");
    }
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_file_mistake_leaves_the_server_running_and_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules");
    std::fs::create_dir_all(&rules).expect("made");
    std::fs::write(rules.join("bad.yaml"), "groups:\n- name: a\n  rules:\n  - alrt: X\n    expr: up\n")
        .expect("written");
    let settings = fixtures::server::ServerSettings::new(folder.path().join("data")).rules(&rules);
    let server = TestServer::start_with(settings).await.expect("starts all the same");
    let client = Client::new(server.api());
    let told = || async {
        let alerts = client.alerts().await.map_err(|error| error.to_string())?;
        alerts.file_errors.first().cloned().ok_or_else(|| "no file error yet".to_owned())
    };
    let error = eventually(Duration::from_secs(20), told).await;
    assert!(error.contains("bad.yaml") && error.contains('4') && error.contains("alert"), "{error}");
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_of_id_kinds_is_refused_with_its_place_by_check_and_by_serve() {
    let folder = tempfile::tempdir().expect("a folder");
    let circle = "kinds:\n  - kind: a\n    as: b\n    sources: [attr:a]\n  - kind: b\n    as: a\n    sources: [attr:b]\n";
    for (text, place, part) in [
        (
            "kinds:\n  - kind: order_id\n    sources:\n      - 're:ORD-('\n",
            "ids.yaml:4:9: ",
            "unclosed group",
        ),
        (
            "kinds:\n  - kind: order_id\n    sources: [atr:order.id]\n",
            "ids.yaml:3:15: ",
            "did you mean `attr:`?",
        ),
        (circle, "ids.yaml:3:9: ", "renames go in a circle, a → b → a"),
    ] {
        let file = folder.path().join("ids.yaml");
        std::fs::write(&file, text).expect("written");
        let path = file.display().to_string();
        let config = folder.path().join("silmari.toml");
        std::fs::write(&config, "[ids]\nfile = \"ids.yaml\"\n").expect("written");
        let (data, config) = (folder.path().join("data").display().to_string(), config.display().to_string());
        let check = ["ids", "check", path.as_str()];
        let serve = ["serve", "--data-dir", &data, "--config", &config, "--api", "127.0.0.1:0"];
        for arguments in [&check[..], &serve[..]] {
            let output = silmari("http://127.0.0.1:1", arguments).await;
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains(place) && said.contains(part), "{said}");
        }
    }
}
