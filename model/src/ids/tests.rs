//! Rules on whole records, and files that are refused.

use super::*;
use crate::otlp::AnyValue;
use crate::wire::{put_bytes, put_message};

fn record(rules: &IdRules, place: Place, attributes: &[(&str, &str)], body: &str) -> Vec<String> {
    let mut terms = IdTerms::default();
    terms.begin(None);
    for (key, value) in attributes {
        rules.on_attribute(place, key, &AnyValue::Str(value), &mut terms);
    }
    rules.on_body(body, &mut terms);
    rules.finish(&mut terms);
    terms.iter().map(str::to_owned).collect()
}

fn found(rules: &IdRules, attributes: &[(&str, &str)], body: &str) -> Vec<String> {
    record(rules, Place::Log, attributes, body)
}

/// Rules of one kind `k`.
fn one(keys: &str) -> IdRules {
    IdRules::parse(&format!("kinds: [{{kind: k, {keys}}}]")).expect(keys)
}

#[test]
fn the_built_in_rules_find_correlation_ids_and_order_ids() {
    let rules = IdRules::default();
    let attributes = [("correlation_id", " c-1 "), ("order.id", "ORD-4711")];
    assert_eq!(found(&rules, &attributes, ""), ["correlation_id=c-1", "order_id=ORD-4711"]);
}

#[test]
fn keys_in_a_body_are_found_with_and_without_quotes() {
    let rules = IdRules::default();
    let body = "retry order_id=ORD-1, correlation_id=\"c 2\" other=3";
    assert_eq!(found(&rules, &[], body), ["order_id=ORD-1", "correlation_id=c 2"]);
}

#[test]
fn a_template_needs_every_attribute_of_one_record() {
    let rules = IdRules::default();
    let topic = ("messaging.destination.name", "orders");
    let partition = ("messaging.destination.partition.id", "3");
    let offset = ("messaging.kafka.offset", "88121");
    assert_eq!(found(&rules, &[topic, partition, offset], ""), ["kafka_record=orders/3@88121"]);

    let mut terms = IdTerms::default();
    terms.begin(None);
    rules.on_attribute(Place::Span, topic.0, &AnyValue::Str(topic.1), &mut terms);
    terms.begin(None);
    rules.on_attribute(Place::Span, partition.0, &AnyValue::Str("3"), &mut terms);
    rules.on_attribute(Place::Span, offset.0, &AnyValue::Int(88121), &mut terms);
    rules.finish(&mut terms);
    assert_eq!(terms.iter().count(), 0, "the topic of the record before must not leak in");
}

#[test]
fn a_pattern_takes_its_capture_and_a_value_is_kept_once() {
    let rules = one("sources: ['re:order (ORD-[0-9]+)']");
    assert_eq!(found(&rules, &[], "order ORD-7 again order ORD-7"), ["k=ORD-7"]);
}

#[test]
fn a_place_narrows_an_attribute() {
    let rules = one("sources: ['attr.resource:id', 'attr.event:event.id']");
    let both = [("id", "1"), ("event.id", "2")];
    assert_eq!(record(&rules, Place::Resource, &both, ""), ["k=1"]);
    assert_eq!(record(&rules, Place::Event, &both, ""), ["k=2"]);
    assert!(record(&rules, Place::Span, &both, "").is_empty());
}

#[test]
fn a_json_body_is_read_by_path_and_text_that_is_none_is_not() {
    let rules = one("sources: ['json:$.order.id', 'json:$.items[*].sku']");
    let body = r#"{"msg":"placed","order":{"id":"ORD-1"},"items":[{"sku":"a"},{"sku":"b"}]}"#;
    assert_eq!(found(&rules, &[], body), ["k=ORD-1", "k=a", "k=b"]);
    assert!(found(&rules, &[], "order.id ORD-1").is_empty());
}

#[test]
fn headers_are_found_as_instrumentations_record_them() {
    let rules = one("sources: ['header:X-Order-Id', 'kafka.header:x-order-id']");
    for key in [
        "http.request.header.x-order-id",
        "http.response.header.x_order_id",
        "rpc.grpc.request.metadata.x-order-id",
        "messaging.header.x-order-id",
    ] {
        assert_eq!(found(&rules, &[(key, "ORD-1")], ""), ["k=ORD-1"], "{key}");
        assert_eq!(found(&rules, &[(key, "[\"ORD-1\",\"ORD-2\"]")], ""), ["k=ORD-1", "k=ORD-2"], "{key}");
    }
    let mut array = Vec::new();
    put_message(&mut array, 1, |item| put_bytes(item, 1, b"ORD-3"));
    let mut terms = IdTerms::default();
    terms.begin(None);
    rules.on_attribute(Place::Span, "http.request.header.x-order-id", &AnyValue::Array(&array), &mut terms);
    assert_eq!(terms.iter().collect::<Vec<_>>(), ["k=ORD-3"]);
}

#[test]
fn baggage_is_found_as_an_attribute_and_inside_the_list() {
    let rules = one("sources: ['baggage:order.id']");
    assert_eq!(found(&rules, &[("baggage.order.id", "ORD-1")], ""), ["k=ORD-1"]);
    let list = "user=7, order.id = ORD%2D2;ttl=3 ,order.idx=no";
    assert_eq!(found(&rules, &[("http.request.header.baggage", list)], ""), ["k=ORD-2"]);
    assert_eq!(found(&rules, &[("baggage", "order.id=100%")], ""), ["k=100%"], "malformed escapes stay");
}

#[test]
fn the_key_of_a_message_counts_on_the_topics_that_are_meant() {
    let rules = one("sources: ['kafka.key@orders-*']");
    let key = ("messaging.kafka.message.key", "ORD-1");
    let on = |topic| found(&rules, &[("messaging.destination.name", topic), key], "");
    assert_eq!(on("orders-v1"), ["k=ORD-1"]);
    assert!(on("mails").is_empty());
    assert!(found(&rules, &[key], "").is_empty(), "no topic");
}

#[test]
fn values_are_normalised_when_they_are_found_and_when_they_are_asked_for() {
    let rules = one("sources: [kv:id], normalise: [trim, uuid, upper]");
    let body = "id=<0af7651916cd43dd8448eb211c80319c>";
    let expected = "k=0AF76519-16CD-43DD-8448-EB211C80319C";
    assert_eq!(found(&rules, &[], body), [expected]);
    let asked = rules.candidates("k=0AF7651916CD43DD8448EB211C80319C");
    assert_eq!(asked.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
}

#[test]
fn a_renamed_kind_is_recorded_and_asked_for_under_the_other_name() {
    let text = "kinds: [{kind: legacy, as: order, sources: [kv:ord], normalise: [upper]}, {kind: order, sources: []}]";
    let rules = IdRules::parse(text).expect("valid");
    assert_eq!(found(&rules, &[], "ord=o-1"), ["order=O-1"]);
    assert_eq!(rules.candidates("legacy=o-1"), [IdTerm::new("order", "O-1")]);
    assert_eq!(rules.candidates("x"), [IdTerm::new("order", "x")]);
}

#[test]
fn a_trace_named_in_a_record_is_a_trace_and_its_own_trace_is_no_find() {
    let rules = IdRules::default();
    let hex = "0af7651916cd43dd8448eb211c80319c";
    let body = "trace_id=0AF7651916CD43DD8448EB211C80319C";
    assert_eq!(found(&rules, &[], body), [format!("trace_id={hex}")]);
    assert!(found(&rules, &[], "trace_id=none").is_empty());

    let mut terms = IdTerms::default();
    terms.begin(TraceId::from_hex(hex));
    rules.on_body(body, &mut terms);
    assert_eq!(terms.iter().count(), 0);
}

#[test]
fn each_term_says_by_which_source_it_was_found() {
    let rules = IdRules::default();
    let mut terms = IdTerms::default();
    terms.begin(None);
    rules.on_attribute(Place::Span, "order.id", &AnyValue::Str("ORD-1"), &mut terms);
    rules.on_body("order_id=ORD-1 cart_id=C-1", &mut terms);
    let with: Vec<_> = terms.with_sources().map(|(term, at)| (term, &*rules.sources()[at].text)).collect();
    assert_eq!(with, [("order_id=ORD-1", "attr:order.id"), ("cart_id=C-1", "kv:cart_id")]);
}

#[test]
fn a_record_yields_no_more_terms_than_allowed() {
    let rules = one("sources: ['re:[0-9]+']");
    let body: String = (0..1_000).map(|number| format!("{number} ")).collect();
    assert_eq!(found(&rules, &[], &body).len(), TERMS_MAX);
    assert!(found(&rules, &[], &"1".repeat(VALUE_BYTES_MAX + 1)).is_empty());
}

#[test]
fn bare_text_is_tried_as_every_kind_and_hex_as_a_trace_too() {
    let rules = IdRules::default();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    for form in [
        trace,
        "0AF76519-16CD-43DD-8448-EB211C80319C",
        "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
    ] {
        assert_eq!(rules.candidates(form)[0], IdTerm::new(TRACE_ID, trace), "{form}");
    }
    assert_eq!(rules.candidates("order_id=ORD-1"), [IdTerm::new("order_id", "ORD-1")]);
    let own = rules.kinds().iter().filter(|kind| kind.recorded_as.is_none());
    assert_eq!(rules.candidates("ORD-1").len(), own.count());
}

#[test]
fn a_link_term_names_a_trace_or_a_span_of_it() {
    let rules = IdRules::default();
    let term = rules.candidates("link=0AF7651916CD43DD8448EB211C80319C/00F067AA0BA902B7").remove(0);
    assert_eq!(term.to_string(), "link=0af7651916cd43dd8448eb211c80319c/00f067aa0ba902b7");
    let (trace, span) = term.link_target().expect("a target");
    assert_eq!(IdTerm::link(trace, span.expect("a span")), term);
    assert_eq!(IdTerm::new(LINK, "nonsense").link_target(), None);
}

#[test]
fn mistakes_in_the_file_are_named_with_their_place_and_what_would_be_right() {
    for (text, place, part) in [
        ("kinds:\n  - kind: a\n    sources: [atr:x]", "3:15", "did you mean `attr:`?"),
        ("kinds:\n  - kind: a\n    sources:\n      - 're:ORD-('", "4:9", "unclosed group"),
        ("kinds:\n  - kind: a\n    sources: ['re:(a)(b)']", "3:15", "one (capture)"),
        ("kinds:\n  - kind: a\n    sources: ['json:order.id']", "3:15", "begin with $"),
        ("kinds:\n  - kind: trace_id\n    sources: []", "2:11", "always known"),
        ("kinds:\n  - kind: a\n  - kind: a", "3:11", "already defined"),
        ("kinds:\n  - kind: A-1", "2:11", "a-z, 0-9"),
        ("kinds:\n  - kind: a\n    source: []", "3:5", "did you mean `sources`?"),
        ("kinds:\n  - kind: a\n    max_age: 5", "3:14", "as in 500ms"),
        ("kinds:\n  - kind: a\n    normalise: [lowr]", "3:17", "did you mean `lower`?"),
        (
            "kinds:\n  - kind: a\n    as: b\n  - kind: b\n    as: c\n  - kind: c\n    as: a",
            "3:9",
            "a → b → c → a",
        ),
        ("kinds:\n  - kind: a\n    as: a", "3:9", "renamed to itself"),
        ("kinds:\n  - kind: alpha\n    as: alhpa", "3:9", "did you mean `alpha`?"),
        ("kinds:\n  - kind: a\n    as: trace_id\n    link: false", "4:11", "no meaning"),
        ("kinds:\n  - kind: a\n    sources: 5", "3:14", ""),
        ("[", "", ""),
    ] {
        let error = IdRules::parse(text).expect_err(text).to_string();
        assert!(error.starts_with(place) && error.contains(part), "{text}:\n{error}");
    }
}
