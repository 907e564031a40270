//! What survives a restart.

use super::*;

fn source() -> Recorded {
    let source = Recorded::default();
    source.set("errors", &[("service", "billing")], at(0), 1.0);
    source
}

/// Through the file, as a restart does.
fn restart(engine: &Engine, saved_at: UnixNano, now: UnixNano) -> Engine {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("alerts.json");
    engine.state(saved_at).save(&path).expect("the state is written");
    let state = State::load(&path).expect("the state is read").expect("the state is there");
    Engine::new(settings(), Some(&state), now)
}

#[test]
fn for_goes_on_over_a_restart() {
    let mut engine = engine(&rules(ERRORS));
    let source = source();
    engine.evaluate(at(0), &source);
    engine.evaluate(at(5), &source);
    let mut engine = restart(&engine, at(5), at(9));
    assert_eq!(engine.reload(&[file("r.yaml", &rules(ERRORS))], at(9)), []);
    assert_eq!(rule(&engine, "Errors").alerts[0].active_at, at(0));
    assert_eq!(told(&engine.evaluate(at(10), &source)), ["Errors firing"]);
}

#[test]
fn an_alert_that_ended_while_the_server_was_down_is_resolved_and_a_firing_one_is_not_told_twice() {
    let mut engine = engine(&rules(ERRORS));
    let source = source();
    for second in [0, 5, 10] {
        engine.evaluate(at(second), &source);
    }
    let mut engine = restart(&engine, at(10), at(20));
    engine.reload(&[file("r.yaml", &rules(ERRORS))], at(20));
    assert_eq!(engine.evaluate(at(20), &source), []);
    source.set("errors", &[("service", "billing")], at(25), 0.0);
    let notices = engine.evaluate(at(25), &source);
    assert_eq!(told(&notices), ["Errors resolved"]);
    assert_eq!((notices[0].starts_at, notices[0].ends_at), (at(10), Some(at(25))));
}

#[test]
fn after_a_long_outage_pending_starts_anew_and_firing_stays() {
    let text = rules(&format!("{ERRORS}  - alert: Now\n    expr: errors > 0\n"));
    let mut engine = engine(&text);
    engine.evaluate(at(0), &source());
    let mut engine = restart(&engine, at(0), at(7200));
    engine.reload(&[file("r.yaml", &text)], at(7200));
    assert_eq!(rule(&engine, "Errors").state, AlertState::Inactive);
    assert_eq!(rule(&engine, "Now").state, AlertState::Firing);
}

#[test]
fn missed_evaluations_are_noted_over_a_restart() {
    let mut engine = engine(&rules(ERRORS));
    engine.evaluate(at(0), &source());
    let mut engine = restart(&engine, at(0), at(61));
    engine.reload(&[file("r.yaml", &rules(ERRORS))], at(61));
    engine.evaluate(at(61), &Recorded::default());
    let error = rule(&engine, "Errors").error;
    assert!(error.as_ref().is_some_and(|error| error.starts_with("missed 11 evaluations")), "{error:?}");
}

#[test]
fn firing_alerts_of_a_removed_rule_are_resolved_and_those_of_a_broken_file_wait() {
    let mut engine = engine(&rules("  - alert: Now\n    expr: errors > 0\n"));
    engine.evaluate(at(0), &source());
    let mut broken = restart(&engine, at(0), at(5));
    assert_eq!(broken.reload(&[file("r.yaml", "groups: [")], at(5)), []);
    assert_eq!(broken.state(at(5)).rules.len(), 1, "kept for when the file is mended");
    assert_eq!(told(&broken.reload(&[], at(6))), ["Now resolved"]);
    assert_eq!(broken.reload(&[], at(7)), []);
}

#[test]
fn a_damaged_state_file_is_an_error_and_a_missing_one_is_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("alerts.json");
    assert!(State::load(&path).expect("no file is no error").is_none());
    for damaged in [
        "",
        "{",
        "[]",
        "{\"version\":9,\"saved_at\":\"2026-11-21T10:42:00Z\",\"rules\":[],\"groups\":[],\"outboxes\":{}}",
    ] {
        std::fs::write(&path, damaged).expect("the file is written");
        assert!(State::load(&path).is_err(), "{damaged}");
    }
}

#[test]
fn values_that_are_no_json_numbers_survive() {
    let mut engine = engine(&rules("  - alert: Inf\n    expr: vector(1) / 0\n"));
    engine.evaluate(at(0), &Recorded::default());
    let mut engine = restart(&engine, at(0), at(1));
    engine.reload(&[file("r.yaml", &rules("  - alert: Inf\n    expr: vector(1) / 0\n"))], at(1));
    assert_eq!(rule(&engine, "Inf").alerts[0].value, f64::INFINITY);
}
