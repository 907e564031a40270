//! Rule files: ours, those of kube-prometheus where the shared data is present, and broken ones.

use std::path::Path;
use std::time::Duration;

use super::*;

fn group(rules: &str) -> String {
    format!("groups:\n- name: g\n  interval: 5s\n  rules:\n{rules}")
}

fn error(text: &str) -> String {
    parse("r.yaml", text).expect_err("the file is refused").to_string()
}

#[test]
fn a_rule_keeps_its_line_durations_labels_and_language() {
    let text = group(
        "  - alert: Slow\n    expr: up == 0\n    for: 1m30s\n    labels: {severity: page, tier: 1.10, on: true}\n\
         \x20 - alert: Timeouts\n    lang: logs\n    expr: count(service:billing \"acquirer timeout\") by (service) over 1m > 0\n",
    );
    let file = parse("r.yaml", &text).expect("the file is right");
    let [slow, timeouts] = file.groups[0].rules.as_slice() else { panic!("two rules") };
    assert_eq!((slow.line, slow.expr_line, slow.hold), (5, 6, Duration::from_secs(90)));
    assert_eq!((slow.labels["tier"].as_str(), slow.labels["on"].as_str()), ("1.10", "true"));
    assert_eq!((timeouts.line, timeouts.lang), (9, Lang::Logs));
    assert_eq!(file.groups[0].interval, Some(Duration::from_secs(5)));
}

#[test]
fn the_rules_on_the_fleet_are_valid() {
    let (name, text) = FLEET;
    let file = parse(name, text).expect("the file is right");
    let names = file.groups.iter().flat_map(|group| &group.rules).map(|rule| rule.name.as_str());
    assert!(names.clone().any(|name| name == "AgentDown"), "{:?}", names.collect::<Vec<_>>());
}

#[test]
fn unknown_keys_are_errors_with_place_and_nearest_key() {
    let found = error(&group("  - alert: A\n    exprr: up\n"));
    assert_eq!(found, "r.yaml:6:5: unknown key `exprr`: did you mean `expr`?");
    let found = error("groups:\n- name: g\n  intervall: 5s\n");
    assert_eq!(found, "r.yaml:3:3: unknown key `intervall`: did you mean `interval`?");
}

#[test]
fn wrong_values_are_errors_that_say_what_is_right() {
    for (rules, expected) in [
        ("  - alert: A\n    expr: up\n    for: 5 minutes\n", "r.yaml:7:10: `5 minutes` is no duration"),
        ("  - alert: A\n", "r.yaml:5:5: field `expr` must be set"),
        ("  - expr: up\n", "r.yaml:5:5: one of `record` or `alert` must be set"),
        ("  - alert: A\n    record: b\n    expr: up\n", "only one of `record` and `alert`"),
        ("  - record: b\n    expr: up\n    for: 5m\n", "r.yaml:7:10: invalid field `for` in recording rule"),
        (
            "  - alert: A\n    expr: up\n    lang: logql\n",
            "r.yaml:7:11: unknown lang `logql`: valid are promql, logs",
        ),
        ("  - alert: A\n    expr: up\n    labels: {9a: x}\n", "invalid label name: `9a`"),
        (
            "  - alert: A\n    lang: logs\n    expr: count(a) > 1\n",
            "r.yaml:7:11: expected `over` and a duration at character 10",
        ),
        ("  - alert: A\n    expr: up\n    expr: down\n", "r.yaml:7:5"),
    ] {
        let found = error(&group(rules));
        assert!(found.contains(expected), "{found:?} lacks {expected:?}");
    }
}

#[test]
fn two_groups_of_one_name_are_refused() {
    let found = error("groups:\n- name: g\n- name: g\n");
    assert_eq!(found, "r.yaml:3:9: group `g` stands twice in this file");
}

#[test]
fn text_that_is_no_yaml_is_an_error_with_a_line() {
    for text in ["groups: [", "groups:\n\t- a", "- a\n- b\n", "groups: 5", "\u{0}", "a: &a [*a, *a]\n"] {
        let found = parse("r.yaml", text).expect_err("the file is refused");
        assert!(found.line > 0, "{found}");
        assert!(!found.message.is_empty() && !found.message.contains('\n'), "{found:?}");
    }
}

#[test]
fn an_empty_file_has_no_rules() {
    assert_eq!(parse("r.yaml", "# nothing\n").map(|file| file.groups.len()), Ok(0));
    assert_eq!(parse("r.yaml", "groups: []\n").map(|file| file.groups.len()), Ok(0));
}

#[test]
fn log_expressions_keep_quotes_and_parentheses_of_the_search() {
    let expr =
        LogExpr::parse("count((level>=error or \"a) b\") service:x) by (service, region) over 1h30m >= 2.5");
    let expr = expr.expect("the expression is right");
    assert_eq!(expr.search, "(level>=error or \"a) b\") service:x");
    assert_eq!(expr.by, ["service", "region"]);
    assert_eq!(expr.over, Duration::from_secs(5400));
    assert_eq!((expr.comparison, expr.threshold), (Comparison::GreaterOrEqual, 2.5));
    for wrong in [
        "",
        "sum(a) over 5m > 1",
        "count(a over 5m > 1",
        "count(a) by () over 5m > 1",
        "count(a) over 0 > 1",
        "count(a) over 5m",
        "count(a) over 5m > x",
        "count(a) over 5m > 1 or 2",
        "count(a) by (x over 5m > 1",
    ] {
        assert!(LogExpr::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn durations_follow_prometheus() {
    for (text, millis) in [
        ("0", 0),
        ("30s", 30_000),
        ("1h30m", 5_400_000),
        ("1d", 86_400_000),
        ("250ms", 250),
        ("1y", 31_536_000_000),
    ] {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "5", "m", "1m1h", "1s1s", "-5m", "5 m", "99999999999999999999s"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn the_rules_we_ship_are_right() {
    for name in ["shop.yaml", "shop-logs.yaml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules").join(name);
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        let file = parse(name, &text).expect("the file is right");
        let rules: Vec<&Rule> = file.groups.iter().flat_map(|group| &group.rules).collect();
        assert!(!rules.is_empty());
        for rule in rules {
            assert!(matches!(rule.labels["severity"].as_str(), "page" | "ticket"), "{}", rule.name);
            assert!(rule.annotations.contains_key("summary"), "{}", rule.name);
        }
    }
}

#[test]
fn real_rule_files_are_taken_as_they_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/rules/kube-prometheus");
    if !folder.is_dir() {
        eprintln!("skipped: shared data not present");
        return;
    }
    let mut rules = 0;
    for entry in std::fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("an entry can be read").path();
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        let file = parse(&path.to_string_lossy(), &text).unwrap_or_else(|error| panic!("{error}"));
        let lines: Vec<&str> = text.lines().collect();
        for rule in file.groups.iter().flat_map(|group| &group.rules) {
            let line = usize::try_from(rule.line).expect("a line number");
            assert!(lines[line - 1].trim_start().starts_with("- "), "{}: line {line}", rule.name);
            rules += 1;
        }
    }
    assert!(rules > 150, "only {rules} rules");
}
