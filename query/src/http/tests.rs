//! The API through a real listener, asked by the client that the terminal uses.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use model::TimeRange;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use query_api::client::{Compared, TailItem};
use query_api::journey::RowKey;
use query_api::{Client, ClientError, DeleteRequest, ErrorAnswer, ErrorBody, MetricsData, SqlRequest};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::routes::ROUTES;
use super::*;
use crate::limits::Limits;
use crate::testing::{MS, NOW, SECOND, TestLog, TestSpan, TestStore, last_15m};

struct Server {
    store: TestStore,
    client: Client,
    base: String,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<io::Result<()>>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let store = TestStore::open().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let shutdown = CancellationToken::new();
        let clock: Arc<dyn model::Clock> = Arc::<model::ManualClock>::clone(&store.clock);
        let engine = Engine::new(Arc::clone(&store.store), clock)
            .with_limits(limits)
            .with_metrics(|| "silmari_up 1\n".to_owned());
        let serving = tokio::spawn(serve(engine, listener, shutdown.clone()));
        Self { store, client: Client::new(&base), base, shutdown, serving }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("{}{path}", self.base)).await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a body"))
    }

    async fn error(&self, path: &str) -> (u16, ErrorBody) {
        let (status, body) = self.get(path).await;
        let answer: ErrorAnswer =
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
        (status, answer.error)
    }
}

async fn filled() -> Server {
    let server = Server::start(Limits::default()).await;
    let span = TestSpan {
        service: "checkout",
        name: "POST /pay",
        kind: SpanKind::Server,
        trace: 1,
        span: 1,
        start: -2 * SECOND,
        duration: 100 * MS,
        attributes: &[("order_id", "ORD-4711")],
        ..TestSpan::default()
    };
    server.store.spans(&[span]).await;
    let log = TestLog {
        service: "checkout",
        severity: 17,
        body: "acquirer timeout",
        trace: Some(1),
        time: -2 * SECOND,
        ..TestLog::default()
    };
    server.store.logs(&[log]).await;
    for minute in 0..5 {
        server.store.counter("checkout", "orders", (minute - 4) * 60 * SECOND, minute * 6).await;
    }
    server
}

#[tokio::test]
async fn what_was_deleted_by_id_is_in_no_answer_and_the_receipt_says_so() {
    let server = filled().await;
    server.store.store.seal().await.expect("sealed");
    let client = &server.client;
    let request = |dry_run| DeleteRequest { id: "order_id=ORD-4711".to_owned(), dry_run };
    let counted = client.delete(&request(true)).await.expect("counted");
    assert_eq!((counted.spans, counted.log_records, counted.dry_run), (1, 0, true));
    let receipt = client.delete(&request(false)).await.expect("deleted");
    assert_eq!((receipt.number, receipt.spans, receipt.dry_run), (1, 1, false));
    assert_eq!(refused(client.journey("ORD-4711", last_15m()).await.expect_err("gone")).code, "not_found");
    // The file still holds the span, or is rewritten already: no engine may show it.
    let sql = SqlRequest { query: "select count(*), count(name) from spans".to_owned(), limit: None };
    let row = vec![serde_json::json!(0), serde_json::json!(0)];
    assert_eq!(client.sql(&sql).await.expect("answered").rows, [row]);
    assert_eq!(client.deletes().await.expect("answered").deletes[0].id, "order_id=ORD-4711");
    let unknown = DeleteRequest { id: "ordr_id=1".to_owned(), dry_run: false };
    let refusal = refused(client.delete(&unknown).await.expect_err("no such kind"));
    assert_eq!(refusal.code, "bad_query");
    assert!(refusal.message.contains("order_id"), "{}", refusal.message);
}

fn refused(error: ClientError) -> ErrorBody {
    match error {
        ClientError::Refused(body) => *body,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_client_gets_journeys_logs_services_sql_boards_and_alerts() {
    let server = filled().await;
    let client = &server.client;
    assert!(client.is_ready().await);

    let journey = client.journey("ORD-4711", last_15m()).await.expect("found");
    assert_eq!((journey.counts.spans, journey.counts.logs), (1, 1));
    let logs = client.logs("level:error timeout", last_15m(), 10).await.expect("answered");
    assert_eq!((logs.matched, &*logs.records[0].body), (1, "acquirer timeout"));
    let services = client.services(last_15m()).await.expect("answered");
    assert_eq!(services.services[0].service, "checkout");
    let sql = SqlRequest { query: "select count(*) from spans".to_owned(), limit: None };
    assert_eq!(client.sql(&sql).await.expect("answered").rows, [[serde_json::json!(1)]]);
    assert!(client.alerts().await.expect("answered").rules.is_empty());
    let boards = client.boards().await.expect("answered").boards;
    assert!(boards.iter().any(|board| board.name == "shop"));
    assert_eq!(client.board("shop").await.expect("found").name, "shop");
    assert_eq!(server.get("/metrics").await, (200, "silmari_up 1\n".to_owned()));
}

#[tokio::test]
async fn what_a_journeys_limit_leaves_out_is_had_by_raising_it() {
    let server = filled().await;
    let trace = |number| TestSpan {
        trace: number,
        span: number,
        start: -SECOND,
        duration: MS,
        attributes: &[("user_id", "u-7")],
        ..TestSpan::default()
    };
    server.store.spans(&[trace(10), trace(11), trace(12)]).await;
    let ask = |limits: &'static [(&'static str, usize)]| {
        server.client.journey_with("u-7", last_15m(), false, limits)
    };
    let journey = ask(&[("traces", 2)]).await.expect("found");
    assert_eq!(journey.counts.traces, 2);
    let cut = journey.cuts.iter().find(|cut| cut.limit == "traces").expect("a cut");
    assert!(cut.hint.as_ref().is_some_and(|hint| hint.contains("--traces")), "{cut:?}");
    let journey = ask(&[("traces", 4)]).await.expect("found");
    assert_eq!((journey.counts.traces, journey.cuts.len()), (3, 0), "{:?}", journey.cuts);
    let (status, error) = server.error("/api/v1/journey?id=u-7&spans=1000000").await;
    assert_eq!((status, error.message.as_str()), (422, "`spans` is 1000000, 200000 at most"));
    let (status, error) = server.error("/api/v1/where?id=u-7&traces=3").await;
    assert_eq!((status, error.code.as_str()), (400, "bad_query"));
}

#[tokio::test]
async fn a_difference_says_which_id_nothing_carries() {
    let server = filled().await;
    let compared = server.client.journey_diff(Compared::Id("ORD-4711"), "ORD-404", last_15m()).await;
    let refusal = refused(compared.expect_err("unknown"));
    assert_eq!(refusal.code, "not_found");
    assert!(refusal.message.starts_with("ORD-404: "), "{}", refusal.message);
}

#[tokio::test]
async fn promql_answers_as_prometheus_does() {
    let server = filled().await;
    let instant = server.client.metrics_instant("orders_total", NOW).await.expect("answered");
    let MetricsData::Vector(series) = instant else { panic!("{instant:?}") };
    assert_eq!(series[0].value.as_ref().map(query_api::Sample::number), Some(24.0));
    let range = TimeRange { from: NOW.plus(-120 * SECOND), to: NOW };
    let step = Duration::from_secs(60);
    let matrix = server.client.metrics_range("rate(orders_total[2m])", range, step).await.expect("answered");
    let MetricsData::Matrix(series) = matrix else { panic!("{matrix:?}") };
    assert!((series[0].values.last().expect("a value").number() - 0.1).abs() < 0.02, "{series:?}");

    let seconds = NOW.0 / SECOND;
    let (status, body) =
        server.get(&format!("/prometheus/api/v1/query?query=orders_total&time={seconds}")).await;
    assert_eq!(status, 200, "{body}");
    let (status, body) = server.get("/prometheus/api/v1/query?query=sum(").await;
    assert!(status == 400 && body.contains(r#""errorType":"bad_data""#), "{body}");
    let (status, body) = server.get("/prometheus/api/v1/query").await;
    assert!(status == 400 && body.contains("`query` is missing"), "{body}");
    let error = refused(server.client.metrics_instant("sum(", NOW).await.expect_err("broken"));
    assert_eq!(error.code, "bad_query");

    let (_, names) = server.get("/prometheus/api/v1/label/__name__/values").await;
    assert!(names.contains("orders_total"), "{names}");
    let (_, labels) = server.get("/prometheus/api/v1/labels?match[]=orders_total").await;
    assert!(labels.contains("__name__"), "{labels}");
    let (_, none) = server.get("/prometheus/api/v1/labels?match[]=other").await;
    assert_eq!(none, r#"{"status":"success","data":[]}"#);
    let (_, series) = server.get("/prometheus/api/v1/series?match[]=%7B__name__=~%22ord.*%22%7D").await;
    assert!(series.contains("orders_total"), "{series}");
    assert_eq!(server.get("/prometheus/api/v1/series?match[]=sum(x)").await.0, 400);
    assert_eq!(server.get("/prometheus/api/v1/series").await.0, 400);
    assert_eq!(server.get("/prometheus/api/v1/status/buildinfo").await.0, 200);
}

#[tokio::test]
async fn errors_say_what_is_wrong_and_what_would_be_right() {
    let server = filled().await;
    let missing = refused(server.client.journey("ORD-1", last_15m()).await.expect_err("unknown"));
    assert_eq!(missing.code, "not_found");
    assert!(missing.searched.iter().any(|term| term.kind == "order_id") && missing.range.is_some());
    let search = refused(server.client.logs("level=>warn", last_15m(), 1).await.expect_err("broken"));
    assert_eq!((&*search.code, search.message.contains("column 6")), ("bad_query", true));
    let limit = refused(server.client.logs("*", last_15m(), 10_001).await.expect_err("too many"));
    assert_eq!(limit.code, "limit");
    let sql = SqlRequest { query: "select servce from spans".to_owned(), limit: None };
    let sql = refused(server.client.sql(&sql).await.expect_err("misspelt"));
    assert_eq!(sql.hint.as_deref(), Some("did you mean `service`?"));
    let board = refused(server.client.board("shpo").await.expect_err("misspelt"));
    assert_eq!(board.hint.as_deref(), Some("did you mean `shop`?"));

    for (path, status, part) in [
        ("/api/v1/log", 404, "/api/v1/logs"),
        ("/api/v1/journey", 400, "`id` is missing"),
        ("/api/v1/logs?qery=x", 400, "did you mean `query`?"),
        ("/api/v1/logs?limit=many", 400, "no whole number"),
        ("/api/v1/services?from=yesterday", 400, "RFC 3339"),
        ("/api/v1/services?from=now&to=now-1h", 400, "lies after"),
        ("/api/v1/alerts?x=1", 400, "takes no parameters"),
        ("/api/v1/sql", 405, "takes POST"),
    ] {
        let (found, error) = server.error(path).await;
        assert_eq!(found, status, "{path}: {error:?}");
        let text = format!("{} {}", error.message, error.hint.unwrap_or_default());
        assert!(text.contains(part), "{path}: {text}");
    }
    let long = format!("/api/v1/logs?query={}", "a".repeat(33_000));
    assert_eq!(server.error(&long).await.0, 414);
    let body = format!("{{\"query\":\"{}\"}}", "a".repeat(2 << 20));
    let http = reqwest::Client::new();
    let post = |body: String| {
        http.post(format!("{}/api/v1/sql", server.base)).header("content-type", "application/json").body(body)
    };
    assert_eq!(post(body).send().await.expect("an answer").status(), 413);
    assert_eq!(post("{".to_owned()).send().await.expect("an answer").status(), 400);
}

#[tokio::test]
async fn ranges_are_relative_to_now_and_journeys_reach_back_a_day() {
    let server = filled().await;
    let (_, body) = server.get("/api/v1/logs?from=now-1s").await;
    assert!(body.contains(r#""matched":0"#), "{body}");
    let (_, body) = server.get("/api/v1/logs").await;
    assert!(body.contains(r#""matched":1"#), "{body}");
    server.store.clock.advance(Duration::from_secs(3600));
    assert_eq!(server.get("/api/v1/journey?id=ORD-4711").await.0, 200);
    assert_eq!(server.get("/api/v1/journey?id=ORD-4711&from=now-15m").await.0, 404);
    assert_eq!(server.get("/api/v1/journey?id=order_id%3DORD-4711").await.0, 200);
}

#[tokio::test]
async fn a_tail_delivers_until_the_server_stops() {
    let server = filled().await;
    let mut tail = Box::pin(server.client.tail("service:checkout").await.expect("a stream"));
    let log = TestLog { service: "checkout", body: "live", ..TestLog::default() };
    server.store.logs(&[TestLog { service: "other", ..log.clone() }, log]).await;
    let deadline = Duration::from_secs(20);
    let item = tokio::time::timeout(deadline, tail.next())
        .await
        .expect("in time")
        .expect("an item")
        .expect("readable");
    let TailItem::Record(record) = item else { panic!("{item:?}") };
    assert_eq!(record.body, "live");
    server.shutdown.cancel();
    let end = tokio::time::timeout(deadline, tail.next()).await.expect("in time");
    assert!(end.is_none(), "{end:?}");
    let served = tokio::time::timeout(deadline, server.serving).await.expect("in time");
    served.expect("no panic").expect("no error");
}

#[tokio::test]
async fn tails_beyond_the_limit_are_refused_with_retry_after() {
    let server = Server::start(Limits { tails_max: 1, ..Limits::default() }).await;
    let first = server.client.tail("*").await.expect("a stream");
    let second = reqwest::get(format!("{}/api/v1/logs/tail", server.base)).await.expect("an answer");
    assert_eq!(second.status(), 503);
    assert_eq!(second.headers()["retry-after"], "1");
    drop(first);
}

#[tokio::test]
async fn the_document_lists_exactly_the_routes_that_are_served() {
    let server = Server::start(Limits::default()).await;
    let (_, body) = server.get("/openapi.json").await;
    let document: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().expect("paths");
    let documented: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    assert_eq!(documented, ROUTES.iter().map(|route| route.path).collect());

    let http = reqwest::Client::new();
    for route in ROUTES {
        let url = format!("{}{}", server.base, route.path.replace("{name}", "shop"));
        for method in ["GET", "POST", "PUT"] {
            let request = http.request(method.parse().expect("a method"), &url);
            let status = request.send().await.expect("an answer").status().as_u16();
            let is_documented = document["paths"][route.path].get(method.to_lowercase()).is_some();
            assert_eq!(is_documented, status != 405, "{method} {}: {status}", route.path);
            assert_ne!(status, 404, "{method} {}", route.path);
        }
    }
}

#[test]
fn every_schema_that_the_document_names_is_in_it() {
    let document = openapi::document();
    let text = document.to_string();
    let mut names =
        text.split("\"#/components/schemas/").skip(1).map(|rest| rest.split('"').next().expect("an end"));
    assert!(names.clone().count() > 10);
    assert!(names.all(|name| document["components"]["schemas"].get(name).is_some()), "{text}");
    for name in ["Journey", "LogsAnswer", "ServicesAnswer", "SqlAnswer", "AlertsAnswer", "ErrorAnswer"] {
        assert!(document["components"]["schemas"][name]["properties"].is_object(), "{name}");
    }
}

#[tokio::test]
async fn one_row_is_found_again_by_what_a_journey_shows_of_it() {
    let server = filled().await;
    let untraced = TestLog {
        service: "billing",
        body: "order_id=ORD-4711 charged",
        time: -SECOND,
        ..TestLog::default()
    };
    server.store.logs(&[untraced]).await;
    for place in ["head", "segments"] {
        let journey = server.client.journey("ORD-4711", last_15m()).await.expect("found");
        let mut asked = 0;
        for row in &journey.rows {
            let Some(key) = RowKey::of(&journey, row) else { continue };
            let detail = server.client.journey_row(&key).await.expect(place);
            assert_eq!((&detail.attributes, &detail.resource), (&row.attributes, &row.resource), "{place}");
            asked += 1;
        }
        assert_eq!(asked, 3, "a span and two log records");
        server.store.store.seal().await.expect("sealed");
    }
    let journey = server.client.journey("ORD-4711", last_15m()).await.expect("found");
    let span = journey.rows.iter().find_map(|row| RowKey::of(&journey, row)).expect("a row");
    let other = RowKey { time: span.time.plus(1), ..span };
    let refusal = refused(server.client.journey_row(&other).await.expect_err("no such row"));
    assert_eq!(refusal.code, "not_found");
}
