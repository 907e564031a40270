//! SQL against the real server: statements run in worker processes, and whatever a statement does, the server and
//! the next statement do not notice.

use std::path::Path;
use std::time::Duration;

use fixtures::server::{ServerSettings, TestServer};
use query_api::{Client, ClientError, SqlAnswer, SqlRequest};
use serde_json::json;

use crate::support::eventually;

async fn start(folder: &Path) -> TestServer {
    let config = folder.join("silmari.toml");
    let text = "[sql]\ntimeout = \"1s\"\nmemory_bytes_max = \"64MiB\"\n[store]\nseal_rows = 5\n";
    std::fs::write(&config, text).expect("written");
    let settings = ServerSettings::new(folder.join("data")).config(config);
    TestServer::start_with(settings).await.expect("a server")
}

async fn ask(server: &TestServer, query: &str) -> Result<SqlAnswer, ClientError> {
    Client::new(server.api()).sql(&SqlRequest { query: query.to_owned(), limit: None }).await
}

async fn post_logs(server: &TestServer, service: &str, count: usize) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let lines: Vec<_> =
        (0..count).map(|at| json!({ "service": service, "message": format!("m{at}") })).collect();
    let sent = client.post(format!("{}/log", server.otlp_http())).json(&lines).send().await.expect("sent");
    assert!(sent.status().is_success(), "{}", sent.status());
}

/// A text of ten million letters, made step by step so that no function is asked for too much.
fn long_text(then: &str) -> String {
    let ten = "concat(x, x, x, x, x, x, x, x, x, x)";
    let mut query = "with t0 as (select 'aaaaaaaaaa' as x)".to_owned();
    for step in 1..=6 {
        query += &format!(", t{step} as (select {ten} as x from t{})", step - 1);
    }
    query + " " + then
}

async fn is_answered(server: &TestServer) {
    let answer = ask(server, "select count(*) from logs where service = 'a'").await.expect("answered");
    assert_eq!(answer.rows, [[json!(7)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_sees_head_and_segments_as_the_server_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path()).await;
    post_logs(&server, "a", 7).await;
    // Sealed because there are more than five rows.
    eventually(Duration::from_secs(20), || async {
        let answer =
            ask(&server, "select count(service) from logs").await.map_err(|error| error.to_string())?;
        let stats = &answer.stats;
        (stats.segments_read == 1).then_some(()).ok_or_else(|| format!("{stats:?}"))
    })
    .await;
    post_logs(&server, "b", 2).await;
    let statement = "select service, count(*) as n, min(body) from logs group by 1 order by 1";
    let answer = ask(&server, statement).await.expect("answered");
    assert_eq!(answer.rows, [[json!("a"), json!(7), json!("m0")], [json!("b"), json!(2), json!("m0")]]);
    assert_eq!((answer.stats.segments_read, answer.stats.head_rows), (1, 2));
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn runaways_are_ended_and_the_next_statement_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path()).await;
    post_logs(&server, "a", 7).await;
    is_answered(&server).await;

    // One call that takes days, within planning: nothing in the process can interrupt it.
    let forever = long_text("select levenshtein(x, concat(x, 'b')) from t6");
    let start = tokio::time::Instant::now();
    let error = ask(&server, &forever).await.expect_err("ended");
    assert!(error.to_string().contains("no answer within 1s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    is_answered(&server).await;

    // More memory than the process may have.
    let ten = "concat(x, x, x, x, x, x, x, x, x, x)";
    let large =
        long_text(&format!("select length({ten}), length(concat({ten}, {ten})) from t6, (select 1) as u"))
            .replacen(
                " select length",
                &format!(
                    ", t7 as (select {ten} as x from t6), t8 as (select {ten} as x from t7) select length"
                ),
                1,
            )
            .replace("from t6, (select 1) as u", "from t8");
    let error = ask(&server, &large).await.expect_err("too large");
    assert!(!error.to_string().is_empty());
    is_answered(&server).await;
    server.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_is_a_clean_error_of_its_own_statement_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path()).await;
    post_logs(&server, "a", 7).await;
    is_answered(&server).await;
    let forever = long_text("select levenshtein(x, concat(x, 'b')) from t6");
    let asking = ask(&server, &forever);
    let killing = async {
        let kill = || async { kill_workers(&server).ok_or_else(|| "no worker yet".to_owned()) };
        eventually(Duration::from_secs(10), kill).await;
    };
    let (answer, ()) = tokio::join!(asking, killing);
    let error = answer.expect_err("its worker is gone").to_string();
    assert!(error.contains("ended from outside") || error.contains("no answer within"), "{error}");
    is_answered(&server).await;
    server.stop().await.expect("stops");
}

/// SIGKILL to the children of the server that are SQL workers.
fn kill_workers(server: &TestServer) -> Option<()> {
    let parent = server.process().id()?;
    let mut killed = None;
    for entry in std::fs::read_dir("/proc").ok()?.filter_map(Result::ok) {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
        let is_child = fields.is_some_and(|fields| fields.get(1) == Some(&&*parent.to_string()));
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if is_child && String::from_utf8_lossy(&command).contains("sql-worker") {
            let pid = entry.file_name().to_string_lossy().into_owned();
            let status = std::process::Command::new("kill").args(["-9", &pid]).status().ok()?;
            killed = status.success().then_some(()).or(killed);
        }
    }
    killed
}
