//! The state machine, driven by hand.

use proptest::prelude::*;

use super::*;

/// Evaluates every 5 s with the value of `errors` at each; what is told, with its second.
fn run(engine: &mut Engine, from: i64, values: &[f64]) -> Vec<(i64, String)> {
    let source = Recorded::default();
    let mut all = Vec::new();
    for (step, value) in (0_i64..).zip(values) {
        let second = from + step * 5;
        source.set("errors", &[("service", "billing")], at(second), *value);
        let notices = engine.evaluate(at(second), &source);
        all.extend(told(&notices).into_iter().map(|text| (second, text)));
    }
    all
}

#[test]
fn an_alert_fires_after_its_for_and_is_resolved_when_it_no_longer_holds() {
    let mut engine = engine(&rules(ERRORS));
    let told = run(&mut engine, 0, &[0.0, 3.0, 2.0]);
    assert_eq!(told, []);
    let status = rule(&engine, "Errors");
    assert_eq!((status.state, status.alerts[0].active_at), (AlertState::Pending, at(5)));
    assert_eq!(status.history, [0.0, 3.0, 2.0]);
    let told = run(&mut engine, 15, &[7.0, 7.0, 0.0, 0.0]);
    assert_eq!(told, [(15, "Errors firing".to_owned()), (25, "Errors resolved".to_owned())]);
    assert_eq!(rule(&engine, "Errors").state, AlertState::Inactive);
}

#[test]
fn labels_and_annotations_are_filled_in_and_the_value_is_the_latest() {
    let mut engine = engine(&rules(ERRORS));
    run(&mut engine, 0, &[1.0, 2.0, 4.0]);
    let status = rule(&engine, "Errors");
    let alert = &status.alerts[0];
    let labels: Vec<(&str, &str)> = alert.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(labels, [("alertname", "Errors"), ("service", "billing"), ("severity", "page")]);
    assert_eq!(alert.annotations["summary"], "billing: 4");
    assert_eq!((alert.state, alert.fired_at, alert.value), (AlertState::Firing, Some(at(10)), 4.0));
    assert_eq!((status.file.as_str(), status.line, status.for_nano), ("r.yaml", 5, 10 * SECOND));
}

#[test]
fn an_expression_that_flaps_faster_than_for_never_fires() {
    let mut engine = engine(&rules(ERRORS));
    assert_eq!(run(&mut engine, 0, &[1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0]), []);
}

#[test]
fn keep_firing_for_bridges_gaps_shorter_than_itself() {
    let text = rules("  - alert: Errors\n    expr: errors > 0\n    keep_firing_for: 10s\n");
    let mut engine = engine(&text);
    let told = run(&mut engine, 0, &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(told, [(0, "Errors firing".to_owned()), (30, "Errors resolved".to_owned())]);
}

#[test]
fn each_label_set_is_an_alert_of_its_own() {
    let mut engine = engine(&rules("  - alert: Errors\n    expr: errors > 0\n"));
    let source = Recorded::default();
    source.set("errors", &[("service", "billing")], at(0), 1.0);
    source.set("errors", &[("service", "cart")], at(0), 2.0);
    let notices = engine.evaluate(at(0), &source);
    assert_eq!(told(&notices), ["Errors firing", "Errors firing"]);
    assert_ne!(notices[0].fingerprint(), notices[1].fingerprint());
    source.set("errors", &[("service", "cart")], at(5), 0.0);
    let notices = engine.evaluate(at(5), &source);
    assert_eq!(notices[0].labels["service"], "cart");
    assert_eq!(told(&notices), ["Errors resolved"]);
}

#[test]
fn a_failing_evaluation_says_so_and_leaves_alerts_as_they_are() {
    let text =
        rules("  - alert: Errors\n    expr: errors > 0\n  - alert: Clash\n    expr: errors >= on() errors\n");
    let mut engine = engine(&text);
    let source = Recorded::default();
    source.set("errors", &[("service", "billing")], at(0), 1.0);
    assert_eq!(told(&engine.evaluate(at(0), &source)), ["Errors firing", "Clash firing"]);
    source.set("errors", &[("service", "cart")], at(5), 1.0);
    assert_eq!(told(&engine.evaluate(at(5), &source)), ["Errors firing"]);
    let clash = rule(&engine, "Clash");
    assert!(clash.error.expect("an error").contains("many-to-many matching not allowed"));
    assert_eq!(clash.state, AlertState::Firing);
}

#[test]
fn a_template_that_cannot_be_filled_in_is_shown_in_its_place_and_in_the_status() {
    let text = rules(
        "  - alert: Errors\n    expr: errors > 0\n    annotations: {summary: 'a {{ query \"up\" }}', other: fine}\n",
    );
    let mut engine = engine(&text);
    run(&mut engine, 0, &[1.0]);
    let status = rule(&engine, "Errors");
    let summary = &status.alerts[0].annotations["summary"];
    assert!(
        summary.starts_with("<error expanding template `summary`: `query` is not supported"),
        "{summary}"
    );
    assert_eq!(status.alerts[0].annotations["other"], "fine");
    assert!(status.error.expect("an error").contains("`query` is not supported"));
    assert_eq!(status.state, AlertState::Firing, "people are told all the same");
}

#[test]
fn log_rules_count_over_their_window_and_compare() {
    let text = rules(
        "  - alert: Timeouts\n    lang: logs\n    expr: count(service:billing timeout) by (service) over 1m > 2\n",
    );
    let mut engine = engine(&text);
    let source = Recorded::default();
    let count = |service: &str, count| (Labels::from([("service".to_owned(), service.to_owned())]), count);
    *source.logs.lock().expect("unpoisoned") = vec![count("billing", 3), count("cart", 2)];
    let notices = engine.evaluate(at(100), &source);
    assert_eq!(told(&notices), ["Timeouts firing"]);
    assert_eq!(notices[0].labels["service"], "billing");
    let asked = source.asked.lock().expect("unpoisoned").clone();
    let range = TimeRange { from: at(40).plus(1), to: at(100) };
    assert_eq!(asked, [("service:billing timeout".to_owned(), range)]);
}

#[test]
fn a_log_rule_without_groups_sees_zero_and_shows_what_fails() {
    let text = rules(
        "  - alert: Silence\n    lang: logs\n    expr: count(service:billing) over 1m < 1\n  \
         - alert: Broken\n    lang: logs\n    expr: count(unreadable) over 1m > 0\n",
    );
    let mut engine = engine(&text);
    assert_eq!(told(&engine.evaluate(at(0), &Recorded::default())), ["Silence firing"]);
    assert_eq!(rule(&engine, "Broken").error.as_deref(), Some("the store is closed"));
}

#[test]
fn recording_rules_say_that_they_are_not_written_yet() {
    let mut engine = engine(&rules("  - record: job:errors:sum\n    expr: sum(errors)\n"));
    engine.evaluate(at(0), &Recorded::default());
    let error = rule(&engine, "job:errors:sum").error.expect("an error");
    assert_eq!(error, "recording rules are not supported yet: `job:errors:sum` is not written");
}

#[test]
fn groups_keep_their_rhythm_and_note_what_they_missed() {
    let mut engine = engine(&rules(ERRORS));
    let source = Recorded::default();
    engine.evaluate(at(0), &source);
    assert_eq!(engine.next_due(), Some(at(5)));
    engine.evaluate(at(3), &source);
    assert_eq!(rule(&engine, "Errors").last_evaluation, Some(at(0)), "not due, not evaluated");
    engine.evaluate(at(6), &source);
    assert_eq!(engine.next_due(), Some(at(10)));
    assert_eq!(rule(&engine, "Errors").error, None);
    engine.evaluate(at(27), &source);
    assert!(rule(&engine, "Errors").error.expect("an error").starts_with("missed 3 evaluations before"));
    assert_eq!(engine.next_due(), Some(at(30)));
    engine.evaluate(at(30), &source);
    assert_eq!(rule(&engine, "Errors").error, None);
}

#[test]
fn a_clock_that_is_set_back_does_not_stop_evaluation() {
    let mut engine = engine(&rules(ERRORS));
    engine.evaluate(at(1000), &Recorded::default());
    engine.evaluate(at(0), &Recorded::default());
    assert_eq!(rule(&engine, "Errors").last_evaluation, Some(at(0)));
}

#[test]
fn more_alerts_than_the_limit_are_an_error() {
    let text = "groups:\n- name: g\n  limit: 1\n  rules:\n  - alert: Errors\n    expr: errors > 0\n";
    let mut engine = engine(text);
    let source = Recorded::default();
    source.set("errors", &[("service", "billing")], at(0), 1.0);
    source.set("errors", &[("service", "cart")], at(0), 1.0);
    assert_eq!(engine.evaluate(at(0), &source), []);
    assert_eq!(rule(&engine, "Errors").error.as_deref(), Some("exceeded limit of 1 with 2 alerts"));
}

#[test]
fn history_keeps_the_last_sixty_values() {
    let mut engine = engine(&rules(ERRORS));
    let values: Vec<f64> = (0..70).map(f64::from).collect();
    run(&mut engine, 0, &values);
    let history = rule(&engine, "Errors").history;
    assert_eq!((history.len(), history[0], history[59]), (60, 10.0, 69.0));
}

#[test]
fn the_fingerprint_is_the_one_of_prometheus_tools() {
    let labels = [("alertname".to_owned(), "Errors".to_owned())].into();
    let notice =
        Notice { labels, annotations: BTreeMap::new(), starts_at: START, ends_at: None, rule: String::new() };
    assert_eq!(notice.fingerprint(), "647f0c91c393a299");
    let empty = Notice { labels: Labels::new(), ..notice };
    assert_eq!(empty.fingerprint(), "cbf29ce484222325");
}

proptest! {
    /// Whatever the values, gaps, restarts and reloads: when an alert fires, its expression has held at
    /// every evaluation of the last `for`, and firing and resolved take turns.
    #[test]
    fn firing_never_precedes_for(
        steps in prop::collection::vec((any::<bool>(), 1_i64..12, 0_u8..10), 1..80),
        hold in 0_i64..40,
    ) {
        let text = rules(&format!("  - alert: Errors\n    expr: errors > 0\n    for: {hold}s\n"));
        let text = text.replace("interval: 5s", "interval: 1s");
        let mut engine = engine(&text);
        let source = Recorded::default();
        let (mut now, mut held_since, mut is_firing) = (0, None, false);
        for (holds, pause, event) in steps {
            now += pause;
            if event == 0 {
                let state = engine.state(at(now));
                let state = serde_json::from_slice(&serde_json::to_vec(&state).expect("it is JSON")).expect("it is ours");
                engine = Engine::new(settings(), Some(&state), at(now));
                prop_assert_eq!(engine.reload(&[file("r.yaml", &text)], at(now)), []);
            }
            if event == 1 {
                prop_assert_eq!(engine.reload(&[file("r.yaml", &text)], at(now)), []);
            }
            source.set("errors", &[], at(now), f64::from(u8::from(holds)));
            held_since = if holds { held_since.or(Some(now)) } else { None };
            for notice in engine.evaluate(at(now), &source) {
                match notice.ends_at {
                    None => {
                        let held = held_since.map(|since| now - since);
                        prop_assert!(held.is_some_and(|held| held >= hold), "fires after {held:?} of {hold}");
                        prop_assert!(!std::mem::replace(&mut is_firing, true), "fires twice");
                    }
                    Some(_) => {
                        prop_assert!(!holds);
                        prop_assert!(std::mem::replace(&mut is_firing, false), "resolved without firing");
                    }
                }
            }
            let must_fire = held_since.is_some_and(|since| now - since >= hold);
            prop_assert_eq!(is_firing, must_fire);
        }
    }
}
