//! What statements answer, and each way in which one is refused.

mod distinct;
mod hostile;
mod numbered;
mod pruning;
mod stored;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;

use super::*;
use crate::testing::{MS, SECOND, TestLog, TestSpan, TestStore};

async fn filled() -> TestStore {
    let store = TestStore::open().await;
    let span = TestSpan {
        service: "checkout",
        name: "POST /pay",
        kind: SpanKind::Server,
        trace: 1,
        span: 1,
        start: -SECOND,
        duration: 100 * MS,
        attributes: &[("order_id", "ORD-1")],
        ..TestSpan::default()
    };
    store.spans(&[span.clone(), TestSpan { span: 2, service: "billing", ..span.clone() }]).await;
    store.store.seal().await.expect("sealed");
    store.spans(&[TestSpan { span: 3, service: "billing", is_error: true, ..span }]).await;
    let log = TestLog { service: "billing", body: "paid", time: -SECOND, ..TestLog::default() };
    store.logs(&[log]).await;
    store
}

async fn ask(store: &TestStore, query: &str, limit: Option<usize>) -> Result<SqlAnswer, SqlError> {
    let request = SqlRequest { query: query.to_owned(), limit };
    Runner::Thread.run(store.store.snapshot(), request, SqlLimits::default(), ()).await
}

async fn rows(store: &TestStore, query: &str) -> Vec<Vec<serde_json::Value>> {
    ask(store, query, None).await.unwrap_or_else(|error| panic!("{query}: {error:?}")).rows
}

#[tokio::test]
async fn statements_see_head_and_segments() {
    let store = filled().await;
    let statement = "select service, count(*) as n from spans group by 1 order by n desc";
    let answer = ask(&store, statement, None).await.expect("answered");
    assert_eq!(answer.rows, [[json!("billing"), json!(2)], [json!("checkout"), json!(1)]]);
    assert_eq!(answer.columns[1].name, "n");
    assert_eq!(answer.columns[1].data_type, "Int64");
    let stats = &answer.stats;
    assert_eq!((stats.rows_scanned, stats.head_rows, stats.segments_read), (3, 1, 1));
    assert_eq!(answer.cuts, []);
    assert_eq!(rows(&store, "select body from logs").await, [[json!("paid")]]);
    assert_eq!(rows(&store, "select count(*) from points;").await, [[json!(0)]]);
}

#[tokio::test]
async fn values_look_in_json_as_the_api_writes_them() {
    let store = filled().await;
    let statement = "select trace_id, start_time, attributes, ids, parent_span_id, attributes['order_id'] \
                     from spans where service = 'checkout'";
    let row = rows(&store, statement).await.remove(0);
    assert_eq!(row[0], "07070707070707070000000000000001");
    assert_eq!(row[1], "2027-01-15T07:59:59.000000000Z");
    assert_eq!(row[2], json!({ "order_id": "ORD-1" }));
    assert_eq!(row[3], json!(["order_id=ORD-1"]));
    assert_eq!(row[4], json!(null));
    assert_eq!(row[5].to_string().trim_matches(['[', ']']), "\"ORD-1\"");
    let values =
        rows(&store, "select 1.5e0, cast('NaN' as double), true, [1, 2], {a: 1}, date '2026-01-02'").await;
    assert_eq!(
        values[0],
        [json!(1.5), json!("NaN"), json!(true), json!([1, 2]), json!({"a": 1}), json!("2026-01-02")]
    );
}

#[tokio::test]
async fn ctes_unions_windows_and_explain_are_offered() {
    let store = filled().await;
    let cte = "with slow as (select service, duration_nano from spans) \
               select service, rank() over (order by service) from slow union all select 'x', 9 order by 1";
    assert_eq!(rows(&store, cte).await.len(), 4);
    assert_eq!(rows(&store, "values (1), (2)").await, [[json!(1)], [json!(2)]]);
    let found =
        rows(&store, "select count(*) from spans where trace_id = X'07070707070707070000000000000001'").await;
    assert_eq!(found, [[json!(3)]]);
    let each =
        rows(&store, "select id, count(*) from (select unnest(ids) as id from spans) group by id").await;
    assert_eq!(each, [[json!("order_id=ORD-1"), json!(3)]]);
    let plan = ask(&store, "explain select service from spans", None).await.expect("explained");
    assert!(
        plan.rows
            .iter()
            .any(|row| row[1].to_string().contains("Projection") || row[1].to_string().contains("service"))
    );
}

#[tokio::test]
async fn the_statements_of_the_board_we_ship_have_answers() {
    let store = filled().await;
    let board = dashboards::board::parse("shop.toml", dashboards::board::SHOP).expect("valid");
    let statements = board.rows.iter().flat_map(|row| &row.panels).filter_map(|panel| panel.sql.as_ref());
    let mut count = 0;
    for statement in statements {
        let statement = statement
            .replace("$from", "2027-01-15T07:00:00.000000000Z")
            .replace("$to", "2027-01-15T08:00:00.000000000Z");
        assert!(!rows(&store, &statement).await.is_empty(), "{statement}");
        count += 1;
    }
    assert!(count > 0);
}

#[tokio::test]
async fn an_answer_with_more_rows_than_wanted_says_so() {
    let store = filled().await;
    let answer = ask(&store, "select * from spans", Some(2)).await.expect("answered");
    assert_eq!((answer.rows.len(), &*answer.cuts[0].limit), (2, "limit"));
    assert_eq!(ask(&store, "select * from spans", Some(3)).await.expect("answered").cuts, []);
    let limits = SqlLimits { answer_bytes_max: 100, ..SqlLimits::default() };
    let request = SqlRequest { query: "select * from spans".to_owned(), limit: None };
    let answer = Runner::Thread.run(store.store.snapshot(), request, limits, ()).await.expect("answered");
    assert_eq!((answer.rows.len(), &*answer.cuts[0].limit), (1, "answer_bytes_max"));
}

#[track_caller]
fn refused(query: &str, part: &str) -> SqlError {
    match guard::check(query, &SqlLimits::default()) {
        Ok(_) => panic!("`{query}` was let through"),
        Err(error) => {
            let text = format!("{error:?}");
            assert!(text.contains(part), "{query}: {text}");
            error
        }
    }
}

#[test]
fn everything_but_reading_our_tables_is_refused_before_planning() {
    for (query, part) in [
        ("", "no statement"),
        ("select 1; select 2", "one statement at a time"),
        ("insert into logs values (1)", "`INSERT` is not allowed"),
        ("create table t (a int)", "`CREATE` is not allowed"),
        ("create external table t stored as csv location '/etc/passwd'", "Expected"),
        ("copy spans to '/tmp/x'", ""),
        ("drop table spans", "`DROP` is not allowed"),
        ("set datafusion.execution.batch_size = 1", "`SET` is not allowed"),
        ("show tables", "`SHOW` is not allowed"),
        ("prepare p as select 1", "`PREPARE` is not allowed"),
        ("explain analyze select 1", "`EXPLAIN` is not allowed"),
        ("explain insert into logs values (1)", "`EXPLAIN` is not allowed"),
        ("select * into t from spans", "SELECT INTO"),
        ("select * from '/etc/passwd'", "there is no table `/etc/passwd`"),
        ("select * from \"file:///etc/passwd\"", "there is no table"),
        ("select * from information_schema.tables", "there is no table"),
        ("select * from datafusion.public.spans", "there is no table"),
        ("select * from span", "did you mean `spans`?"),
        ("select 1 where exists (select 1 from secrets)", "there is no table `secrets`"),
        ("with t as (select 1) select * from u", "there is no table `u`"),
        ("with recursive t as (select 1 union all select * from t) select * from t", "RECURSIVE"),
        ("select * from generate_series(1, 400000000)", "table functions"),
        ("select * from read_csv('/etc/passwd')", "table functions"),
        ("select length(repeat('a', 2000000000))", "`repeat` is not offered"),
        ("select LPAD('a', 2000000000)", "`lpad` is not offered"),
        ("select generate_series(1, 400000000)", "`generate_series` is not offered"),
        (
            "select service from spans where name in (select replace(name, 'a', 'aaaa') from spans)",
            "`replace`",
        ),
        ("table spans", ""),
    ] {
        refused(query, part);
    }
}

#[test]
fn the_place_of_an_unknown_table_is_named() {
    let error = refused("select *\nfrom   log", "did you mean `logs`?");
    assert_eq!(error.to_string(), "line 2, column 8: there is no table `log`");
}

#[test]
fn the_shape_of_a_statement_is_bounded() {
    let limits = SqlLimits::default();
    let many = |count: usize, part: &str, joint: &str| vec![part; count].join(joint);
    for (query, part) in [
        (format!("select '{}'", "a".repeat(limits.text_bytes_max)), "bytes"),
        (format!("select {}", many(501, "1", ", ")), "500 expressions"),
        (format!("select {}", many(70, "1", " + ")), "64 levels"),
        (format!("select 1 where {}", many(2_000, "1=1", " or ")), "Limit"),
        (format!("select {}1{}", "(".repeat(4_000), ")".repeat(4_000)), "nests deeper"),
        (format!("select {}1", "- ".repeat(4_000)), "Limit"),
        (many(34, "select 1", " union all "), "32 set operations"),
        (many(1_000, "select 1", " union "), "32 set operations"),
        (format!("select 1 where 1 in ({})", many(1_001, "1", ",")), "1000 items"),
    ] {
        let error = refused(&query, part);
        assert!(matches!(error, SqlError::Limit { .. }), "{error:?}");
    }
    refused(&format!("select {}true", "not ".repeat(3_000)), "");
    assert!(guard::check(&format!("select 1 where 1 in ({})", many(1_000, "1", ",")), &limits).is_ok());
    assert!(guard::check(&many(33, "select 1", " union all "), &limits).is_ok());
}

#[tokio::test]
async fn a_hostile_text_is_refused_on_its_own_stack() {
    let store = filled().await;
    // Parsing, walking and dropping these recurses thousands deep.
    for query in [
        format!("select 1 where {}", vec!["1"; 3_500].join(" or ")),
        vec!["select 1"; 1_000].join(" union all "),
        format!("select {}", vec!["'a'"; 3_000].join("||")),
    ] {
        let error = ask(&store, &query, None).await.expect_err("refused");
        assert!(matches!(error, SqlError::Limit { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn mistakes_name_place_and_nearest_choice() {
    let store = filled().await;
    for (query, message, hint) in [
        ("select servce from spans", "there is no column `servce`", "did you mean `service`?"),
        ("select spans.nme from spans", "there is no column `nme`", "did you mean `name`?"),
        ("select lenght(name) from spans", "lenght", ""),
        ("select from where", "", ""),
        ("select arrow_cast(1, 'Int8')", "arrow_cast", ""),
    ] {
        match ask(&store, query, None).await.expect_err(query) {
            SqlError::Statement { message: text, hint: said } => {
                assert!(text.contains(message), "{query}: {text}");
                assert!(said.unwrap_or_default().contains(hint), "{query}");
            }
            other => panic!("{query}: {other:?}"),
        }
    }
    let place = ask(&store, "select servce from spans", None).await.expect_err("misspelt").to_string();
    assert_eq!(place, "line 1, column 8: there is no column `servce`");
}

#[tokio::test]
async fn time_memory_and_rows_are_bounded() {
    let store = filled().await;
    let limits = SqlLimits { timeout: Duration::from_millis(50), ..SqlLimits::default() };
    // Three rows joined with themselves sixteen times: 43 million rows.
    let joins: Vec<String> = (0..16).map(|at| format!("spans s{at}")).collect();
    let query = format!("select count(*), min(s0.name), min(s15.name) from {}", joins.join(", "));
    let request = SqlRequest { query, limit: None };
    let error = Runner::Thread.run(store.store.snapshot(), request, limits, ()).await.expect_err("too long");
    assert!(matches!(error, SqlError::Limit { .. }), "{error:?}");

    let limits = SqlLimits { memory_bytes_max: 1_000, ..SqlLimits::default() };
    let request = SqlRequest {
        query: "select name, count(*) from spans group by name order by 2".to_owned(),
        limit: None,
    };
    let error = Runner::Thread.run(store.store.snapshot(), request, limits, ()).await.expect_err("too much");
    assert!(error.to_string().contains("not enough memory"), "{error:?}");

    let error = ask(&store, "select 1", Some(100_001)).await.expect_err("too many");
    assert!(error.to_string().contains("100000 at most"), "{error}");
}

#[tokio::test]
async fn the_place_is_given_back_when_the_statement_ends() {
    let store = filled().await;
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
    let place = std::sync::Arc::clone(&gate).acquire_owned().await.expect("open");
    let request = SqlRequest { query: "select 1".to_owned(), limit: None };
    Runner::Thread.run(store.store.snapshot(), request, SqlLimits::default(), place).await.expect("answered");
    let again = tokio::time::timeout(Duration::from_secs(10), gate.acquire()).await;
    assert!(again.is_ok(), "the thread still holds its place");
}
