//! Shapes of `POST /log` bodies.

use model::otlp::json::Transcoded;
use model::otlp::{self, AnyValue, LogRecordView};
use model::{TraceId, UnixNano};

use super::read_objects;
use crate::status::Reason;

const NOW: UnixNano = UnixNano(1_795_000_000_000_000_000);

fn read(text: &str) -> Transcoded {
    read_objects(text.as_bytes(), "fallback", NOW, 1 << 20)
        .unwrap_or_else(|refusal| panic!("{}", refusal.message))
}

/// Service and body of each record.
fn records(done: &Transcoded) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for group in otlp::resources(&done.request).expect("protobuf") {
        let group = group.expect("well formed");
        let Some(AnyValue::Str(service)) = otlp::value::find(group.resource, "service.name") else {
            panic!("a resource has no service")
        };
        for scope in group.scopes() {
            for item in scope.expect("well formed").items() {
                let record = LogRecordView::parse(item).expect("well formed");
                assert_eq!(record.observed_time, NOW);
                found.push((service.to_owned(), record.body.as_str().expect("text").to_owned()));
            }
        }
    }
    found
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(service, body)| ((*service).to_owned(), (*body).to_owned())).collect()
}

#[test]
fn one_object_an_array_and_objects_in_a_row_are_all_read() {
    let expected = pairs(&[("fallback", "a"), ("fallback", "b")]);
    for text in [
        r#"[{"message":"a"},{"message":"b"}]"#,
        "{\"message\":\"a\"}\n{\"message\":\"b\"}\n",
        "\r\n{\"message\":\"a\"}\r\n\r\n{\"message\":\"b\"}",
        r#"{"message":"a"}{"message":"b"}"#,
        "{\n  \"message\": \"a\"\n}\n{\n  \"message\": \"b\"\n}",
    ] {
        assert_eq!(records(&read(text)), expected, "{text}");
    }
    assert_eq!(records(&read(r#"{"message":"alone"}"#)), pairs(&[("fallback", "alone")]));
}

#[test]
fn records_go_to_the_service_they_name() {
    let text = r#"[{"service":"billing","message":"1"},{"message":"2"},{"service":"billing","message":"3"}]"#;
    let expected = pairs(&[("billing", "1"), ("billing", "3"), ("fallback", "2")]);
    let mut found = records(&read(text));
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn ids_and_levels_reach_the_record() {
    let done = read(
        r#"{"level":"error","trace_id":"0af7651916cd43dd8448eb211c80319c","message":"m","order_id":"ORD-1"}"#,
    );
    let group = otlp::resources(&done.request).expect("protobuf").next().expect("one").expect("well formed");
    let scope = group.scopes().next().expect("one").expect("well formed");
    let record = LogRecordView::parse(scope.items().next().expect("one")).expect("well formed");
    assert_eq!(record.severity_number, 17);
    assert_eq!(record.trace_id, TraceId::from_hex("0af7651916cd43dd8448eb211c80319c"));
    assert_eq!(otlp::value::find(record.attributes, "order_id"), Some(AnyValue::Str("ORD-1")));
}

#[test]
fn what_is_no_object_is_counted_with_its_place_and_the_rest_is_kept() {
    let done = read(r#"[{"message":"a"}, 5, "text", {"message":"b"}]"#);
    assert_eq!(records(&done).len(), 2);
    assert_eq!(done.rejected, 2);
    assert_eq!(done.errors, ["[1]: a number, expected an object", "[2]: a string, expected an object"]);

    let done = read("{\"message\":\"a\"}\n{\"message\": oops}\n{\"message\":\"b\"}\n");
    assert_eq!(records(&done).len(), 2);
    assert_eq!((done.rejected, done.errors.len()), (1, 1));
    assert!(done.errors[0].starts_with("line 2, column 13: "), "{:?}", done.errors);
}

#[test]
fn an_object_that_is_too_large_is_left_out() {
    let text = format!("[{{\"message\":\"a\"}},{{\"message\":\"{}\"}}]", "x".repeat(2 << 20));
    let done = read_objects(text.as_bytes(), "s", NOW, 8 << 20).expect("the array is fine");
    assert_eq!((records(&done).len(), done.rejected), (1, 1));
}

#[test]
fn bodies_without_json_are_refused() {
    for text in ["", "  \n", "[{\"message\":\"a\"}", "[1,]"] {
        let refusal = read_objects(text.as_bytes(), "s", NOW, 1 << 20).expect_err(text);
        assert_eq!(refusal.reason, Reason::Malformed, "{text}");
    }
    let done = read("just text, no JSON\n");
    assert_eq!((done.request.len(), done.rejected), (0, 1));
}
