//! What is redacted stands nowhere, equal values stay equal, and the rest stays as it was.

use super::*;
use crate::samples::{self, SECRETS};
use crate::{file, formats};

const KEY: Key = Key::fixed([7; 32]);

fn redacted(rules: &str) -> Case {
    let rules = Rules::parse(rules).expect("rules");
    redact(&samples::case(), &rules, &KEY).expect("redacted")
}

/// All that a case becomes, as one small text.
fn everything(case: &Case) -> String {
    let bytes = file::write(case).expect("written");
    let mut all = String::new();
    for (name, raw) in file::raw_sections(&bytes).expect("read") {
        all += &name;
        all += str::from_utf8(&raw).expect("JSON is text");
    }
    all += &formats::csv(&case.journey);
    all += &formats::markdown(case, "timeline");
    all += &formats::otlp_json(&case.journey);
    all.to_lowercase()
}

#[test]
fn no_redacted_value_is_anywhere_in_what_is_written() {
    let before = everything(&samples::case());
    let after = everything(&redact(&samples::case(), &Rules::default(), &KEY).expect("redacted"));
    for secret in SECRETS {
        let secret = secret.to_lowercase();
        assert!(before.contains(&secret), "{secret} is in the sample");
        assert!(!after.contains(&secret), "{secret} is left");
    }
    assert!(before.contains("ann.smith%40example.org") && !after.contains("ann.smith%40example.org"));
    for kept in ["ord-4711", "post /checkout", "acquirer timeout for card", "orders/3@88121", "billing"] {
        assert!(after.contains(kept), "{kept} is no secret");
    }
}

#[test]
fn equal_values_have_equal_pseudonyms_wherever_they_stand() {
    let case = redact(&samples::case(), &Rules::default(), &KEY).expect("redacted");
    let mail = &case.journey.rows[1].attributes["user.email"];
    assert!(mail.starts_with("redacted-"), "{mail}");
    assert!(case.journey.rows[1].name.ends_with(mail.as_str()), "{}", case.journey.rows[1].name);
    assert!(case.journey.rows[2].name.contains(mail.as_str()), "whatever its case");
    let alert = &case.alerts.as_ref().expect("alerts").rules[0].alerts[0];
    assert_eq!(alert.annotations["summary"], format!("write to {mail}"));
    assert_eq!(alert.labels["client_address"], case.journey.rows[1].attributes["client.address"]);
    let user = case.journey.ids.iter().find(|id| id.kind == "user_id").expect("an id");
    assert_eq!(case.graph.expect("a graph").nodes[1].term, *user);
    assert_eq!(case.journey.rows[2].evidence.text, user.to_string());

    let other = redact(&samples::case(), &Rules::default(), &Key::fixed([8; 32])).expect("redacted");
    assert_ne!(other.journey.rows[1].attributes["user.email"], *mail, "another key, another pseudonym");
}

#[test]
fn the_case_says_what_was_redacted_and_not_the_values() {
    let redaction = redacted("patterns: [{name: port, re: '\\b8080\\b'}]").about.redaction.expect("said");
    assert!(redaction.rules.contains(&"attribute user.*: 1".to_owned()), "{:?}", redaction.rules);
    assert!(redaction.rules.contains(&"pattern port: 1".to_owned()), "{:?}", redaction.rules);
    assert!(redaction.values >= SECRETS.len());
}

#[test]
fn the_asked_id_and_trace_ids_can_be_redacted_and_the_case_still_opens() {
    let case = redacted("{defaults: false, id_kinds: [order_id], attributes: [order_id]}");
    let all = everything(&case);
    assert!(!all.contains("ord-4711"), "{all}");
    assert!(case.is_about(&case.journey.matched[0].value.clone()));
    let bytes = file::write(&case).expect("written");
    assert_eq!(file::read(&bytes).expect("read"), case);
    assert!(all.contains("ann.smith@example.org"), "only what the rules name");

    let trace = samples::case().journey.traces[0].trace_id.to_string();
    let mut case = samples::case();
    case.journey.ids.push(format!("trace_id={trace}").parse().expect("a term"));
    case.journey.rows[0].evidence.text = format!("trace {}", &trace[..8]).into();
    let rules = Rules::parse("{defaults: false, id_kinds: [trace_id]}").expect("rules");
    let case = redact(&case, &rules, &KEY).expect("redacted");
    let all = everything(&case);
    assert!(!all.contains(&trace) && !all.contains(&trace[..8]), "{all}");
    let renamed = case.journey.traces[0].trace_id.to_string();
    assert_eq!(case.journey.rows[0].trace_id.expect("a trace").to_string(), renamed, "still one trace");
}

#[test]
fn a_short_value_goes_as_a_word_and_stays_inside_of_words() {
    let mut case = samples::case();
    case.journey.rows[1].attributes.insert("user.id", "42");
    case.journey.rows[1].name = "user 42 at 1042ms".into();
    let case = redact(&case, &Rules::default(), &KEY).expect("redacted");
    let name = &case.journey.rows[1].name;
    assert!(name.starts_with("user redacted-") && name.ends_with(" at 1042ms"), "{name}");
    assert_ne!(case.journey.rows[1].attributes["user.id"], "42");
}

#[test]
fn ids_that_are_not_all_known_are_not_redacted_by_half() {
    let mut case = samples::case();
    case.journey.cuts.push(query_api::Cut {
        what: "10,000 of 12,000 ids are listed".to_owned(),
        limit: "ids".to_owned(),
        hint: None,
    });
    let error = redact(&case, &Rules::default(), &KEY).expect_err("not all ids");
    assert!(error.to_string().contains("narrow the time range"), "{error}");
    let rules = Rules::parse("{defaults: false, patterns: [email]}").expect("rules");
    assert!(redact(&case, &rules, &KEY).is_ok(), "without id kinds it does not matter");
}

#[test]
fn a_mistake_in_the_rules_is_told_with_its_place_and_what_would_be_right() {
    for (text, expected) in [
        ("attribtes: [x]", "1:1: unknown key `attribtes`: did you mean `attributes`?"),
        ("attributes:\n  - '*'", "2:5: `*` names every attribute: name a part of the key"),
        ("patterns:\n  - emial", "2:5: there is no pattern `emial`: did you mean `email`?"),
        ("patterns:\n  - name: a\n    re: '('", "2:5: `a`: the pattern cannot be read: unclosed group"),
        (
            "patterns:\n  - name: a\n    re: 'x*'",
            "2:5: `a`: the pattern matches an empty text, and so every place of every text",
        ),
    ] {
        let error = Rules::parse(text).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text}");
    }
}
