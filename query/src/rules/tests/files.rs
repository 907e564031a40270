//! Reload: what a broken, changed or removed file does to its rules.

use super::*;

#[test]
fn a_broken_file_keeps_its_old_rules_and_says_so() {
    let mut engine = engine(&rules(ERRORS));
    let source = Recorded::default();
    source.set("errors", &[("service", "billing")], at(0), 1.0);
    engine.evaluate(at(0), &source);
    for (text, expected) in [
        (
            rules("  - alert: Errors\n    exprr: up\n"),
            "r.yaml:6:5: unknown key `exprr`: did you mean `expr`?",
        ),
        (rules("  - alert: A\n    expr: sum(\n"), "r.yaml:6: alert `A`: parse error"),
        (
            rules("  - alert: A\n    expr: info(up)\n"),
            "r.yaml:6: alert `A`: function `info` is not supported",
        ),
        (
            rules("  - alert: A\n    lang: logs\n    expr: count(nonsense) over 5m > 0\n"),
            "r.yaml:7: alert `A`: no search",
        ),
    ] {
        let notices = engine.reload(&[file("r.yaml", &text)], at(1));
        assert_eq!(notices, []);
        let status = engine.status(at(1));
        assert!(status.file_errors[0].starts_with(expected), "{:?}", status.file_errors);
        assert_eq!(rule(&engine, "Errors").state, AlertState::Pending, "the old rule runs on");
    }
}

#[test]
fn a_file_that_cannot_be_read_keeps_its_rules_too() {
    let mut engine = engine(&rules(ERRORS));
    let gone = SourceFile { path: "r.yaml".to_owned(), text: Err("permission denied".to_owned()) };
    engine.reload(&[gone], at(0));
    assert_eq!(engine.status(at(0)).file_errors, ["r.yaml: permission denied"]);
    assert_eq!(engine.status(at(0)).rules.len(), 1);
}

#[test]
fn a_rule_that_changes_keeps_its_alerts_and_one_that_goes_resolves_them() {
    let mut engine = engine(&rules(&format!("{ERRORS}  - alert: Other\n    expr: errors > 0\n")));
    let source = Recorded::default();
    source.set("errors", &[("service", "billing")], at(0), 1.0);
    engine.evaluate(at(0), &source);
    let changed = rules(&ERRORS.replace("errors > 0", "errors >= 1"));
    let notices = engine.reload(&[file("r.yaml", &changed)], at(4));
    assert_eq!(told(&notices), ["Other resolved"]);
    assert_eq!(rule(&engine, "Errors").alerts[0].active_at, at(0), "`for` goes on");
    engine.evaluate(at(5), &source);
    assert_eq!(told(&engine.evaluate(at(10), &source)), ["Errors firing"]);
    assert_eq!(told(&engine.reload(&[], at(11))), ["Errors resolved"]);
    assert_eq!(engine.status(at(11)).rules, []);
}

#[test]
fn rules_are_answered_firing_first() {
    let text = rules(
        "  - alert: B\n    expr: vector(0) > 0\n  - alert: A\n    expr: vector(0) > 0\n  \
         - alert: Z\n    expr: vector(1)\n  - alert: Y\n    expr: vector(1)\n    for: 1h\n",
    );
    let mut engine = engine(&text);
    engine.evaluate(at(0), &Recorded::default());
    let names: Vec<String> = engine.status(at(0)).rules.into_iter().map(|rule| rule.name).collect();
    assert_eq!(names, ["Z", "Y", "A", "B"]);
}
