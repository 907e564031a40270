//! The running service, with receivers that listen on real sockets.

use std::path::Path;

use axum::extract::State as Shared;
use axum::http::{StatusCode, Uri};
use axum::routing::post;
use axum::{Json, Router};
use model::SystemClock;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;

/// What a receiver got: path and body, with the state file as it was at that moment.
#[derive(Clone, Default)]
struct Got {
    requests: Arc<Mutex<Vec<(String, Value, String)>>>,
    state_file: Arc<Mutex<Option<PathBuf>>>,
    /// Answers to give before 200.
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Got {
    fn bodies(&self) -> Vec<(String, Value, String)> {
        self.requests.lock().expect("unpoisoned").clone()
    }

    /// `name status` of every alert, in order of arrival.
    fn alerts(&self) -> Vec<String> {
        let told = |body: &Value, alert: &Value| {
            let name = alert["labels"]["alertname"].as_str().unwrap_or("?").to_owned();
            let is_alertmanager = body.is_array();
            let status = if is_alertmanager {
                let ends: UnixNano =
                    alert["endsAt"].as_str().expect("endsAt is text").parse().expect("a time");
                if ends > SystemClock::shared().now() { "firing" } else { "resolved" }
            } else {
                alert["status"].as_str().unwrap_or("?")
            };
            format!("{name} {status}")
        };
        let mut all = Vec::new();
        for (_, body, _) in self.bodies() {
            let alerts = body.as_array().or_else(|| body["alerts"].as_array()).expect("alerts").clone();
            all.extend(alerts.iter().map(|alert| told(&body, alert)));
        }
        all
    }
}

async fn receive(Shared(got): Shared<Got>, uri: Uri, Json(body): Json<Value>) -> StatusCode {
    let answer = got.answers.lock().expect("unpoisoned").pop();
    if let Some(status) = answer {
        return StatusCode::from_u16(status).expect("a status");
    }
    let state_file = got.state_file.lock().expect("unpoisoned").clone();
    let state = state_file.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    got.requests.lock().expect("unpoisoned").push((uri.path().to_owned(), body, state));
    StatusCode::OK
}

/// A receiver on a port of its own; its root.
async fn listen(got: &Got) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let root = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new()
        .route("/hook", post(receive))
        .route("/api/v2/alerts", post(receive))
        .with_state(got.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    root
}

const NOW: &str = "groups:\n- name: g\n  interval: 20ms\n  rules:\n  - alert: Errors\n    expr: errors > 0\n    \
                   for: 100ms\n    labels: {severity: page}\n    annotations: {summary: 'value {{ $value }}'}\n";

struct Running {
    source: Arc<Recorded>,
    handle: Handle,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(folder: &Path, receivers: Vec<Receiver>) -> Self {
        let file = folder.join("rules.yaml");
        if !file.exists() {
            std::fs::write(&file, NOW).expect("the rules are written");
        }
        let settings = Settings {
            files: vec![folder.to_owned()],
            state_file: Some(folder.join("alerts.json")),
            reload_interval: Duration::from_millis(20),
            receivers,
            ..settings()
        };
        let source = Arc::new(Recorded::default());
        let shared: Arc<dyn EvalSource> = Arc::clone(&source) as Arc<dyn EvalSource>;
        let (service, handle) = Service::new(settings, SystemClock::shared(), shared).expect("it starts");
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(service.run(shutdown.clone()));
        Self { source, handle, shutdown, task }
    }

    fn set(&self, value: f64) {
        self.source.set("errors", &[("service", "billing")], SystemClock::shared().now(), value);
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("the service ends");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_and_alertmanager_both_get_firing_and_resolved() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (hook, manager) = (Got::default(), Got::default());
    *hook.state_file.lock().expect("unpoisoned") = Some(folder.path().join("alerts.json"));
    let receivers = vec![
        Receiver::webhook("pager", &format!("{}/hook", listen(&hook).await)).expect("a webhook"),
        Receiver::alertmanager("am", &listen(&manager).await).expect("an Alertmanager"),
    ];
    let running = Running::start(folder.path(), receivers);
    running.set(3.0);
    eventually("both are told that it fires", || !hook.bodies().is_empty() && !manager.bodies().is_empty())
        .await;
    let status = running.handle.status();
    assert_eq!(status.rules[0].state, AlertState::Firing);
    running.set(0.0);
    eventually("both are told that it is resolved", || hook.bodies().len() > 1 && manager.bodies().len() > 1)
        .await;
    assert_eq!(hook.alerts(), ["Errors firing", "Errors resolved"]);
    assert_eq!(manager.alerts().last().map(String::as_str), Some("Errors resolved"));

    let (path, body, state_when_told) = &hook.bodies()[0];
    assert_eq!(path, "/hook");
    assert_eq!((body["version"].as_str(), body["status"].as_str()), (Some("4"), Some("firing")));
    assert_eq!(
        (body["receiver"].as_str(), body["groupLabels"]["alertname"].as_str()),
        (Some("pager"), Some("Errors"))
    );
    let alert = &body["alerts"][0];
    assert_eq!(alert["labels"]["service"], "billing");
    assert_eq!(alert["annotations"]["summary"], "value 3");
    assert_eq!(alert["endsAt"], "0001-01-01T00:00:00Z");
    assert_eq!(alert["fingerprint"].as_str().map(str::len), Some(16));
    assert!(state_when_told.contains("\"fired_at\":\""), "the state was on disk before: {state_when_told}");

    let (path, body, _) = &manager.bodies()[0];
    assert_eq!(path, "/api/v2/alerts");
    let alert = &body[0];
    assert_eq!(alert["labels"]["severity"], "page");
    let time = |key: &str| alert[key].as_str().expect("text").parse::<UnixNano>().expect("a time");
    assert!(
        time("endsAt").since(time("startsAt")) > 60 * SECOND,
        "it lives longer than until it is told again"
    );
    assert!(alert["generatorURL"].as_str().is_some_and(|url| url.contains("rules.yaml")));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_away_is_told_after_a_restart_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // A port that nobody listens on.
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    let away = Receiver::webhook("pager", &format!("http://{address}/hook")).expect("a webhook");
    let running = Running::start(folder.path(), vec![away.clone()]);
    running.set(1.0);
    eventually("an attempt fails", || running.handle.receivers()[0].error.is_some()).await;
    let shown = running.handle.status().file_errors;
    assert!(shown[0].starts_with("receiver `pager`: 1 alerts wait, 0 dropped, last attempt:"), "{shown:?}");
    running.set(0.0);
    eventually("resolved waits too", || running.handle.receivers()[0].queued == 2).await;
    running.stop().await;

    let hook = Got::default();
    let back = Receiver { url: format!("{}/hook", listen(&hook).await), ..away };
    let running = Running::start(folder.path(), vec![back]);
    eventually("both notices arrive", || hook.alerts().len() == 2).await;
    assert_eq!(hook.alerts(), ["Errors firing", "Errors resolved"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_answers_503_is_asked_again_and_one_that_refuses_is_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (busy, strict) = (Got::default(), Got::default());
    *busy.answers.lock().expect("unpoisoned") = vec![503];
    *strict.answers.lock().expect("unpoisoned") = vec![400];
    let receivers = vec![
        Receiver::webhook("busy", &format!("{}/hook", listen(&busy).await)).expect("a webhook"),
        Receiver::webhook("strict", &format!("{}/hook", listen(&strict).await)).expect("a webhook"),
    ];
    let running = Running::start(folder.path(), receivers);
    running.set(1.0);
    eventually("the busy one is told at last", || running.handle.receivers()[0].delivered == 1).await;
    assert_eq!(busy.alerts(), ["Errors firing"]);
    let status = running.handle.receivers();
    assert_eq!((status[0].name.as_str(), status[0].delivered, status[0].error.clone()), ("busy", 1, None));
    assert_eq!((status[1].name.as_str(), status[1].dropped, status[1].queued), ("strict", 1, 0));
    assert_eq!(status[1].error.as_deref(), Some("answers 400 Bad Request"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_taken_and_a_broken_one_is_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running = Running::start(folder.path(), Vec::new());
    let file = folder.path().join("rules.yaml");
    eventually("the rules are read", || running.handle.status().rules.len() == 1).await;
    std::fs::write(&file, NOW.replace("alert: Errors", "alert: Renamed")).expect("written");
    eventually("the new rule runs", || running.handle.status().rules[0].name == "Renamed").await;
    std::fs::write(&file, "groups: {").expect("written");
    eventually("the error is shown", || !running.handle.status().file_errors.is_empty()).await;
    assert_eq!(running.handle.status().rules[0].name, "Renamed");
    running.handle.reload();
    running.stop().await;
}

#[test]
fn receivers_that_cannot_be_posted_to_are_refused() {
    assert!(Receiver::webhook("a", "https://example.org/hook").expect_err("TLS").contains("only http://"));
    assert!(Receiver::webhook("a", "not a url").is_err());
    let manager = Receiver::alertmanager("a", "http://127.0.0.1:9093/").expect("an Alertmanager");
    assert_eq!(manager.url, "http://127.0.0.1:9093/api/v2/alerts");
}

/// Keeps what it is given.
#[derive(Default)]
struct Written(Mutex<Vec<Vec<u8>>>);

impl SeriesSink for Written {
    fn write(&self, request: Vec<u8>) -> futures_util::future::BoxFuture<'_, Result<(), String>> {
        self.0.lock().expect("unpoisoned").push(request);
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_are_written_as_series_when_they_fire_and_when_they_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("rules.yaml"), NOW).expect("the rules are written");
    let settings = Settings { files: vec![folder.path().to_owned()], ..settings() };
    let (source, written) = (Arc::new(Recorded::default()), Arc::new(Written::default()));
    let shared: Arc<dyn EvalSource> = Arc::clone(&source) as Arc<dyn EvalSource>;
    let (service, _handle) = Service::new(settings, SystemClock::shared(), shared).expect("it starts");
    let shutdown = CancellationToken::new();
    let sink = Arc::clone(&written) as Arc<dyn SeriesSink>;
    let task = tokio::spawn(service.with_series(sink).run(shutdown.clone()));
    let has = |word: &str| {
        let written = written.0.lock().expect("unpoisoned");
        written.last().is_some_and(|request| String::from_utf8_lossy(request).contains(word))
    };
    source.set("errors", &[("service", "billing")], SystemClock::shared().now(), 3.0);
    eventually("it is written that it fires", || has("firing")).await;
    source.set("errors", &[("service", "billing")], SystemClock::shared().now(), 0.0);
    let stale = model::otlp::gauges::STALE_BITS.to_le_bytes();
    let is_stale = || {
        let written = written.0.lock().expect("unpoisoned");
        written.last().is_some_and(|request| request.windows(8).any(|bytes| bytes == stale))
    };
    eventually("it is written that it has ended", is_stale).await;
    shutdown.cancel();
    task.await.expect("the service ends");
}
