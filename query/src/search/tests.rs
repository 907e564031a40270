//! The syntax as a table of texts, and its meaning on rows of a real store.

use std::ops::ControlFlow;

use model::Signal;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use proptest::prelude::*;
use storage::{ScanOrder, ScanStats};

use super::*;
use crate::testing::{MS, TestLog, TestSpan, TestStore, last_15m};

/// `text` means what `expected` says in the printed form.
#[track_caller]
fn check(text: &str, expected: &str) {
    let query = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(query.to_string(), expected, "{text}");
    assert_eq!(parse(expected).expect(expected).expr(), query.expr(), "{text}");
}

#[track_caller]
fn check_error(text: &str, column: usize, part: &str) {
    let error = parse(text).map(|query| query.to_string()).expect_err(text);
    assert_eq!(error.column, column, "{text}: {error}");
    assert!(error.message.contains(part), "{text}: {error}");
}

#[test]
fn terms_read_as_written() {
    check("", "*");
    check("  *  ", "*");
    check("timeout", "timeout");
    check("\"acquirer timeout\"", "\"acquirer timeout\"");
    check("body:\"acquirer timeout\"", "\"acquirer timeout\"");
    check("name:GET*", "GET*");
    check("service:checkout", "service:checkout");
    check("service=checkout", "service:checkout");
    check("service!=checkout", "-service:checkout");
    check("severity>=WARNING", "level>=warn");
    check("level:17", "level:17");
    check("duration>200ms", "duration>200000000ns");
    check("duration<=1.5s", "duration<=1500000000ns");
    check("duration:>1h30m", "duration>5400000000000ns");
    check("http.response.status_code:5*", "http.response.status_code:5*");
    check("http.response.status_code>=500", "http.response.status_code>=500");
    check("resource.host.name:host-1", "resource.host.name:host-1");
    check("-path:/health", "-path:/health");
    check("url:http://x?a=b", "url:\"http://x?a=b\"");
    check("order_id:*", "order_id:*");
    check("order_id:**", "order_id:*");
    check(r"k8s\:pod:a\*b", "k8s\\:pod:\"a*b\"");
    check("trace_id:0AF7651916CD43DD8448EB211C80319C", "trace_id:0af7651916cd43dd8448eb211c80319c");
    check("trace_id:0af7*", "trace_id:0af7*");
}

#[test]
fn terms_combine_with_and_or_not_and_parentheses() {
    check("a b OR c d", "a b OR c d");
    check("a AND b", "a b");
    check("(a OR b) c", "(a OR b) c");
    check("NOT (a OR b)", "-(a OR b)");
    check("!a -b", "-a -b");
    check("--a", "--a");
    check("service:(a OR b)", "service:a OR service:b");
    check("service:(a OR b) level:error", "(service:a OR service:b) level:error");
    check("x:(a -b)", "x:a -x:b");
    check("((a))", "a");
    check("or and not", "or and not");
    check("\"OR\"", "\"OR\"");
}

#[test]
fn mistakes_are_named_with_their_column_and_what_would_be_right() {
    check_error("service:", 9, "a value of `service` is missing");
    check_error("a (b", 3, "has no `)`");
    check_error("a )", 3, "no `(`");
    check_error("\"abc", 1, "no second one");
    check_error("level=>warn", 6, "use `>=`");
    check_error("level=<warn", 6, "use `<=`");
    check_error("path=~x", 5, "wildcard");
    check_error("a <> b", 3, "");
    check_error("level:errer", 7, "did you mean `error`?");
    check_error("level:purple", 7, "use trace, debug");
    check_error("level:warn*", 7, "without wildcards");
    check_error("duration>5", 10, "write 5ms, 5s");
    check_error("duration>soon", 10, "is no duration");
    check_error("service>a", 8, "no order");
    check_error("http.status>=ok", 14, "neither a number nor a duration");
    check_error("trace_id:xyz", 10, "32 hex digits");
    check_error("ärger:ok trace_id:1", 19, "32 hex digits");
    check_error("OR a", 1, "a term is missing");
    check_error("a OR", 5, "a term is missing");
    check_error("a AND", 6, "a term is missing");
    check_error("AND a", 1, "before `AND`");
    check_error("- a", 2, "follow directly");
    check_error("\"\"", 1, "empty");
    check_error("a\\", 2, "nothing follows");
    check_error("se*vice:a", 1, "no wildcards");
    check_error(":a", 1, "a field name is missing");
}

#[test]
fn size_and_nesting_are_bounded() {
    check_error(&"a".repeat(TEXT_BYTES_MAX + 1), 1, "bytes at most");
    check_error(&"a".repeat(TERM_BYTES_MAX + 1), 1, "one term");
    check_error(&"a ".repeat(TERMS_MAX + 1), 2 * TERMS_MAX + 1, "terms at most");
    check_error(&"(".repeat(DEPTH_MAX + 1), DEPTH_MAX + 2, "nested deeper");
    check_error(&format!("{}a", "-".repeat(DEPTH_MAX + 1)), DEPTH_MAX + 2, "nested deeper");
    assert!(parse(&"*a".repeat(TERM_BYTES_MAX / 2)).is_ok());
}

fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "a",
        "b*",
        "\"x y\"",
        "\"q\\\"\"",
        "service",
        ":",
        ">",
        ">=",
        "<",
        "=",
        "!=",
        "(",
        ")",
        " ",
        " ",
        "OR",
        "AND",
        "NOT",
        "-",
        "!",
        "level",
        "warn",
        "duration",
        "5ms",
        "1.5s",
        "order_id",
        "ORD-1",
        "\\*",
        "*",
        "é",
        "한글",
        "resource.k",
        "0af7*",
        "trace_id",
        "500",
        "-3",
        "kind",
        "status",
        "~",
        "/",
    ]);
    prop::collection::vec(word, 0..16).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_the_same(text in words()) {
        if let Ok(query) = parse(&text) {
            let printed = query.to_string();
            let again = parse(&printed).map_err(|error| TestCaseError::fail(format!("{printed}: {error}")))?;
            prop_assert_eq!(query.expr(), again.expr(), "{}", printed);
        }
    }

    #[test]
    fn any_text_is_read_or_refused_with_a_column_inside_it(text in ".{0,60}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.column <= text.chars().count() + 1);
        }
    }
}

async fn filled() -> TestStore {
    let store = TestStore::open().await;
    let log = TestLog { service: "checkout", time: -1, ..TestLog::default() };
    store
        .logs(&[
            TestLog {
                severity: 17,
                body: "Acquirer Timeout after 3 s",
                attributes: &[("order_id", "ORD-1")],
                ..log.clone()
            },
            TestLog {
                severity: 9,
                body: "paid",
                attributes: &[("http.response.status_code", "503"), ("took", "250ms")],
                ..log.clone()
            },
            TestLog {
                severity: 13,
                body: "slow",
                trace: Some(5),
                attributes: &[("path", "/health")],
                ..log.clone()
            },
            TestLog { service: "billing", level: "WARN", body: "Straße gesperrt", ..log.clone() },
            TestLog {
                service: "billing",
                body: "nothing said",
                attributes: &[("path", "/pay"), ("status", "500")],
                ..log
            },
        ])
        .await;
    store
}

/// Bodies of the log records that match, sorted.
fn bodies(store: &TestStore, text: &str) -> Vec<String> {
    let query = parse_with_ids(text, store.store.ids()).expect(text);
    let mut found = Vec::new();
    let mut visit = |batch: &arrow::array::RecordBatch| {
        let rows = LogRows::new(batch);
        found.extend(
            (0..rows.len()).filter(|row| query.matches_log(&rows, *row)).map(|row| rows.body(row).to_owned()),
        );
        ControlFlow::Continue(())
    };
    let mut stats = ScanStats::default();
    let snapshot = store.store.snapshot();
    snapshot.scan(Signal::Logs, &last_15m(), &[], ScanOrder::Any, &mut stats, &mut visit).expect("readable");
    found.sort();
    found
}

#[tokio::test]
async fn log_records_match_what_the_search_says() {
    let store = filled().await;
    for (text, expected) in [
        ("*", &["Acquirer Timeout after 3 s", "Straße gesperrt", "nothing said", "paid", "slow"][..]),
        ("timeout", &["Acquirer Timeout after 3 s"]),
        ("\"acquirer timeout\"", &["Acquirer Timeout after 3 s"]),
        ("acq*3", &["Acquirer Timeout after 3 s"]),
        ("STRASSE", &[]),
        ("straße", &["Straße gesperrt"]),
        ("service:billing level:warn", &["Straße gesperrt"]),
        ("level>=warn", &["Acquirer Timeout after 3 s", "Straße gesperrt", "slow"]),
        ("level>warn", &["Acquirer Timeout after 3 s"]),
        ("level<warn", &["paid"]),
        ("-level:*", &["nothing said"]),
        ("order_id:ORD-1", &["Acquirer Timeout after 3 s"]),
        ("order_id:ORD-*", &["Acquirer Timeout after 3 s"]),
        ("order_id:ord-1", &[]),
        ("order_id:*", &["Acquirer Timeout after 3 s"]),
        ("http.response.status_code:5*", &["paid"]),
        ("http.response.status_code>=500 http.response.status_code<504", &["paid"]),
        ("http.response.status_code>503", &[]),
        ("took>200ms", &["paid"]),
        ("path:* -path:/health", &["nothing said"]),
        ("status:500", &["nothing said"]),
        ("trace_id:07070707070707070000000000000005", &["slow"]),
        ("trace_id:0707*", &["slow"]),
        ("resource.host.name:host-1 slow", &["slow"]),
        ("host.name:host-1 slow", &["slow"]),
        ("resource.host.name:other", &[]),
        ("slow OR paid", &["paid", "slow"]),
        ("service:(checkout OR shipping) -(slow OR paid)", &["Acquirer Timeout after 3 s"]),
    ] {
        assert_eq!(bodies(&store, text), expected, "{text}");
    }
}

#[tokio::test]
async fn spans_match_by_kind_status_duration_and_name() {
    let store = TestStore::open().await;
    let span = TestSpan { service: "checkout", start: -1, ..TestSpan::default() };
    store
        .spans(&[
            TestSpan {
                name: "POST /pay",
                kind: SpanKind::Server,
                duration: 300 * MS,
                is_error: true,
                span: 1,
                ..span.clone()
            },
            TestSpan { name: "GET /cart", kind: SpanKind::Client, duration: 200 * MS, span: 2, ..span },
        ])
        .await;
    let snapshot = store.store.snapshot();
    let names = |text: &str| {
        let query = parse(text).expect(text);
        let mut found = Vec::new();
        let mut visit = |batch: &arrow::array::RecordBatch| {
            let rows = SpanRows::new(batch);
            found.extend(
                (0..rows.len())
                    .filter(|row| query.matches_span(&rows, *row))
                    .map(|row| rows.name(row).to_owned()),
            );
            ControlFlow::Continue(())
        };
        let mut stats = ScanStats::default();
        snapshot
            .scan(Signal::Traces, &last_15m(), &[], ScanOrder::Any, &mut stats, &mut visit)
            .expect("readable");
        found
    };
    assert_eq!(names("duration>200ms"), ["POST /pay"]);
    assert_eq!(names("duration>=200ms").len(), 2);
    assert_eq!(names("duration:200ms"), ["GET /cart"]);
    assert_eq!(names("kind:SERVER status:error"), ["POST /pay"]);
    assert_eq!(names("-status:error"), ["GET /cart"]);
    assert_eq!(names("post"), ["POST /pay"]);
    assert_eq!(names("span_id:0000000000000003"), ["GET /cart"]);
    assert_eq!(names("level:*"), [""; 0]);
}

#[test]
fn the_ids_a_search_demands_are_those_of_every_match() {
    let ids = IdRules::default();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let required = |text: &str| {
        parse_with_ids(text, &ids).expect(text).required_ids().map(<[String]>::to_vec).unwrap_or_default()
    };
    assert_eq!(required("order_id:ORD-1 timeout"), ["order_id=ORD-1"]);
    assert_eq!(required(&format!("trace_id:{trace}")), [format!("trace_id={trace}")]);
    assert_eq!(required("order_id:(ORD-1 OR ORD-2)"), ["order_id=ORD-1", "order_id=ORD-2"]);
    for text in
        ["order_id:ORD-1 OR timeout", "-order_id:ORD-1", "order_id:ORD-*", "order_id:*", "path:/x", "*"]
    {
        assert_eq!(required(text), [""; 0], "{text}");
    }
    assert_eq!(parse("order_id:ORD-1").expect("valid").required_ids(), None, "kinds are not known here");
}
