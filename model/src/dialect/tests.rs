//! Real lines of each dialect in, parts out; and any text at all, which must not panic.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parsed(dialect: Dialect, line: &str) -> ParsedLine {
    let mut out = ParsedLine::default();
    parse_line(dialect, line, &mut out);
    out
}

fn auto(line: &str) -> ParsedLine {
    parsed(Dialect::Auto, line)
}

fn time(text: &str) -> Option<UnixNano> {
    Some(text.parse().expect("a time"))
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

#[test]
fn a_json_line_fills_the_roles_and_flattens_the_rest() {
    let line = auto(
        r#"{"level":"info","time":1745532517537,"pid":17,"trace_id":"c759f29f5f1e2162be56f32dd1e77fce","span_id":"17c4a60ca4297cf1","service.name":"payment","request":{"amount":{"units":513},"card":[1,2]},"msg":"charge","gone":null}"#,
    );
    assert_eq!(line.time, time("2025-04-24T22:08:37.537Z"));
    assert_eq!((line.severity_number, line.severity_text.as_str()), (9, "info"));
    assert_eq!(line.body, "charge");
    assert_eq!(line.trace_id, TraceId::from_hex("c759f29f5f1e2162be56f32dd1e77fce"));
    assert_eq!(line.span_id, SpanId::from_hex("17c4a60ca4297cf1"));
    assert_eq!(line.named_service(), Some("payment"));
    assert_eq!(line.attribute("request.amount.units"), Some("513"));
    assert_eq!(line.attribute("request.card"), Some("[1,2]"));
    assert_eq!(line.attributes.len(), 3, "{line:?}");
}

#[test]
fn ecs_lines_with_dotted_and_nested_names_are_understood() {
    let line = auto(
        r#"{"@timestamp":"2025-01-13T09:58:13.633Z","log.level":"warning","message":"num=83","log":{"logger":"app"},"trace":{"id":"4bf92f3577b34da6a3ce929d0e0e4736"},"service":{"name":"cart"}}"#,
    );
    assert_eq!(line.time, time("2025-01-13T09:58:13.633Z"));
    assert_eq!(line.severity_number, 13);
    assert_eq!(line.body, "num=83");
    assert_eq!(line.trace_id, TraceId::from_hex(TRACE));
    assert_eq!(line.named_service(), Some("cart"));
    assert_eq!(line.attribute("log.logger"), Some("app"));
}

#[test]
fn the_better_known_name_wins_and_the_other_stays_an_attribute() {
    let line = auto(r#"{"log":"second","message":"first","level":"50","trace_id":"123","ts":"yesterday"}"#);
    assert_eq!(line.body, "first");
    assert_eq!(line.attribute("log"), Some("second"));
    assert_eq!(line.severity_number, 17);
    assert_eq!(line.attribute("trace_id"), Some("123"), "no W3C id, but not lost");
    assert_eq!((line.time, line.attribute("ts")), (None, Some("yesterday")));
}

#[test]
fn an_object_without_a_message_is_its_own_body() {
    let mut out = ParsedLine::default();
    let object = json!({"order_id": "ORD-1", "total": 12.5});
    parse_json_object(object.as_object().expect("object"), &mut out);
    assert_eq!(out.body, r#"{"order_id":"ORD-1","total":12.5}"#);
    assert_eq!(out.attribute("order_id"), Some("ORD-1"));
    assert_eq!(out.attribute("total"), Some("12.5"));
}

#[test]
fn limits_leave_a_marker() {
    let mut object = serde_json::Map::new();
    for at in 0..ATTRIBUTES_MAX + 5 {
        object.insert(format!("key{at:03}"), json!(at));
    }
    object.insert("a_long_value".to_owned(), json!("x".repeat(VALUE_BYTES_MAX + 1)));
    let mut out = ParsedLine::default();
    parse_json_object(&object, &mut out);
    assert_eq!(out.attribute("a_long_value").map(str::len), Some(VALUE_BYTES_MAX));
    assert_eq!(out.attribute(CUT_VALUES), Some("a_long_value"));
    assert_eq!(out.attributes.len(), ATTRIBUTES_MAX + 1);
    assert_eq!(out.attribute(DROPPED_ATTRIBUTES), Some("7"), "6 keys and the room the first marker took");
}

#[test]
fn objects_deeper_than_the_limit_stay_json_text() {
    let mut value = json!({"leaf": 1});
    for _ in 0..DEPTH_MAX {
        value = json!({ "a": value });
    }
    let mut out = ParsedLine::default();
    parse_json_object(value.as_object().expect("object"), &mut out);
    let path = vec!["a"; DEPTH_MAX].join(".");
    assert_eq!(out.attribute(&path), Some(r#"{"leaf":1}"#));
}

#[test]
fn unix_numbers_are_read_in_the_unit_their_size_tells() {
    for text in ["1745532517", "1745532517000", "1745532517000000", "1745532517000000000", "1745532517.0"] {
        assert_eq!(parse_time(text), time("2025-04-24T22:08:37Z"), "{text}");
    }
    assert_eq!(parse_time("1745532517.537000001"), time("2025-04-24T22:08:37.537000001Z"));
    for text in ["17", "", "1.2.3", "-1745532517", "99999999999999999999"] {
        assert_eq!(parse_time(text), None, "{text}");
    }
}

#[test]
fn logfmt_lines_with_quotes_and_escapes_are_understood() {
    let line = auto(
        r#"time="2021-09-15T21:17:11.674149Z" level=warning msg="Failed: \"x\"" reason= pod=fe-inc-1 done trace_id=4bf92f3577b34da6a3ce929d0e0e4736"#,
    );
    assert_eq!(line.time, time("2021-09-15T21:17:11.674149Z"));
    assert_eq!((line.severity_number, line.body.as_str()), (13, "Failed: \"x\""));
    assert_eq!(line.attribute("reason"), Some(""));
    assert_eq!(line.attribute("pod"), Some("fe-inc-1"));
    assert_eq!(line.attribute("done"), Some("true"));
    assert_eq!(line.trace_id, TraceId::from_hex(TRACE));
    let grafana =
        auto(r#"logger=settings t=2025-04-24T19:51:48.520963849Z level=info msg="Starting Grafana""#);
    assert_eq!((grafana.body.as_str(), grafana.attribute("logger")), ("Starting Grafana", Some("settings")));
}

#[test]
fn a_combined_access_line_gets_http_names() {
    let line = auto(
        r#"31.56.96.51 - ann [22/Jan/2019:03:56:16 +0330] "GET /image/60844?w=2 HTTP/1.1" 502 5667 "https://www.zanbil.ir/m" "Mozilla/5.0 (Linux; Android 6.0)" "-" request_time=0.012 correlation_id="c-17" trace_id="4bf92f3577b34da6a3ce929d0e0e4736""#,
    );
    assert_eq!(line.time, time("2019-01-22T00:26:16Z"));
    assert_eq!((line.severity_number, line.severity_text.as_str()), (17, "ERROR"));
    assert_eq!(line.body, "GET /image/60844?w=2 502");
    for (key, value) in [
        ("client.address", "31.56.96.51"),
        ("user.name", "ann"),
        ("http.request.method", "GET"),
        ("url.path", "/image/60844"),
        ("url.query", "w=2"),
        ("network.protocol.version", "1.1"),
        ("http.response.status_code", "502"),
        ("http.response.body.size", "5667"),
        ("http.request.header.referer", "https://www.zanbil.ir/m"),
        ("user_agent.original", "Mozilla/5.0 (Linux; Android 6.0)"),
        ("request_time", "0.012"),
        ("correlation_id", "c-17"),
    ] {
        assert_eq!(line.attribute(key), Some(value), "{key}");
    }
    assert_eq!(line.trace_id, TraceId::from_hex(TRACE));
}

#[test]
fn access_lines_without_a_request_or_without_a_user_are_still_read() {
    let empty = auto(r#"10.112.81.15 - - [15/Feb/2013:06:00:31 +0000] "-" 400 0 "-" "-""#);
    assert_eq!((empty.severity_number, empty.attribute("http.response.status_code")), (13, Some("400")));
    assert!(empty.body.starts_with("10.112.81.15"));
    let short = auto(
        r#"192.168.202.254 [20/Jul/2009:22:59:29 +0000] "GET /vmkboot.gz HTTP/1.0" 404 46210 "-" "gPXE/0.9.7""#,
    );
    assert_eq!(short.body, "GET /vmkboot.gz 404");
    assert_eq!(short.attribute("user_agent.original"), Some("gPXE/0.9.7"));
}

#[test]
fn plain_lines_give_up_time_level_service_and_pairs() {
    let line = auto(&format!(
        "2026-11-21 10:41:58,104 WARN [billing] [request_id=7f3a trace_id={TRACE} span_id={SPAN}] acquirer is slow"
    ));
    assert_eq!(line.time, time("2026-11-21T10:41:58.104Z"));
    assert_eq!((line.severity_number, line.severity_text.as_str()), (13, "WARN"));
    assert_eq!(line.named_service(), Some("billing"));
    assert_eq!(line.attribute("request_id"), Some("7f3a"));
    assert_eq!(line.trace_id, TraceId::from_hex(TRACE));
    assert_eq!(line.span_id, SpanId::from_hex(SPAN));
    assert_eq!(line.body, "acquirer is slow");
}

#[test]
fn plain_lines_of_many_programs_show_their_time_and_level() {
    for (line, at, severity, body) in [
        (
            "2025-01-24T07:00:30,139 INFO [main           ] Version : HV000001",
            "2025-01-24T07:00:30.139Z",
            9,
            "[main           ] Version : HV000001",
        ),
        (
            "2025-04-24T22:09:20.856Z\terror\tqueue.go:128\tfailed",
            "2025-04-24T22:09:20.856Z",
            17,
            "queue.go:128\tfailed",
        ),
        ("[2025-01-02 11:19:06] local.ERROR: no disk", "2025-01-02T11:19:06Z", 17, "local.ERROR: no disk"),
        ("[2025-01-02T11:19:06+02:00] [warn] - low", "2025-01-02T09:19:06Z", 13, "low"),
        ("2024/05/01 06:07:08 [error] 17#17: refused", "2024-05-01T06:07:08Z", 17, "17#17: refused"),
        ("2012-07-02 10:22:40,672:DEBUG:foo bar", "2012-07-02T10:22:40.672Z", 5, ":DEBUG:foo bar"),
        ("1428634687123 Hello, World!", "2015-04-10T02:58:07.123Z", 0, "Hello, World!"),
        (
            "2024-01-01T15:00:00Z INFO session_start=2024-01-01T10:30:00Z in",
            "2024-01-01T15:00:00Z",
            9,
            "session_start=2024-01-01T10:30:00Z in",
        ),
    ] {
        let found = auto(line);
        assert_eq!(found.time, time(at), "{line}");
        assert_eq!(found.severity_number, severity, "{line}");
        assert_eq!(found.body, body, "{line}");
    }
}

#[test]
fn words_in_prose_are_no_levels_and_no_fields() {
    for line in ["Information about a warning", "note=this is prose", "the error was fine", "{not json", ""] {
        let found = auto(line);
        assert_eq!(found.severity_number, 0, "{line}");
        assert_eq!(found.body, line);
        assert!(found.attributes.is_empty() && found.time.is_none(), "{found:?}");
    }
}

#[test]
fn ids_named_anywhere_in_the_text_are_found() {
    for text in [
        format!("done trace_id={TRACE} span_id={SPAN}"),
        format!("race trace: traceId: \"{TRACE}\", spanId='{SPAN}'"),
        format!("Trace-ID={} SPAN.ID={SPAN}", TRACE.to_uppercase()),
    ] {
        assert_eq!(ids_in_text(&text), (TraceId::from_hex(TRACE), SpanId::from_hex(SPAN)), "{text}");
    }
    assert_eq!(ids_in_text("trace_id=12 span_id= retrace id"), (None, None));
}

#[test]
fn what_a_fixed_dialect_does_not_understand_is_the_body() {
    for dialect in [Dialect::Json, Dialect::Logfmt, Dialect::Nginx] {
        let line = parsed(dialect, "2026-11-21T10:41:58Z ERROR just words");
        assert_eq!(line.body, "2026-11-21T10:41:58Z ERROR just words", "{dialect}");
        assert_eq!((line.time, line.attributes.len()), (None, 0), "{dialect}");
    }
}

#[test]
fn a_misspelt_dialect_names_the_nearest() {
    let error = "logfmr".parse::<Dialect>().expect_err("misspelt");
    assert!(error.contains("did you mean `logfmt`?"), "{error}");
    assert_eq!("nginx".parse(), Ok(Dialect::Nginx));
}

proptest! {
    #[test]
    fn any_text_ends_without_panic_and_within_the_limits(text in any::<String>(), at in 0usize..5) {
        let line = parsed(Dialect::ALL[at], &text);
        prop_assert!(line.attributes.len() <= ATTRIBUTES_MAX + 2);
    }

    #[test]
    fn lines_made_of_the_dialects_own_pieces_do_not_panic(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("["), Just("] \""), Just("\""), Just("\\"), Just("="), Just(" "), Just("{"), Just("}"), Just("é"),
                Just("trace_id="), Just("Span"), Just("ID"), Just("2026-11-21"), Just("T10:41:58"), Just(",1"), Just("+0"), Just(" ["),
                Just("22/Jan/2019:03:56:16 +0330"), Just("ERROR"), Just("200"), Just("level"), Just("4bf92f3577b34da6a3ce929d0e0e4736"),
            ],
            0..24,
        ),
        at in 0usize..5,
    ) {
        let text = pieces.concat();
        let line = parsed(Dialect::ALL[at], &text);
        prop_assert!(!line.body.is_empty() || text.trim().is_empty() || !line.attributes.is_empty() || line.time.is_some() || line.severity_number > 0);
    }
}
