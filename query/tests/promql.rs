//! Runs PromQL test scripts: our own in `tests/promql/*.test`, and those of the Prometheus project where
//! the shared test data stands beside the checkout (`../shared/data/promqltest`).
//!
//! The format is Prometheus' own (`load`, `clear`, `eval instant`, `eval range`, `expect`). Every instant
//! query without an order is also asked as a range query, which must give the same at that instant.
//!
//! `tests/promql/skipped.txt` names the assertions of Prometheus' scripts that do not hold here, each with
//! its reason. They run like the others, and one that holds although it is listed fails the test: the
//! list can only shrink.

#[path = "promql/script.rs"]
mod script;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use script::{Case, Script};

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promql")
}

fn scripts(folder: &Path) -> Vec<(String, Script)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("an entry can be read").path();
        if path.extension().is_some_and(|extension| extension == "test") {
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("a script can be read");
            found.push((name, Script::parse(&text)));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// `file:line` and reason. A line of the list reads `file: reason: line line …`.
fn skipped() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(here().join("skipped.txt")).expect("the list can be read");
    let mut skipped = BTreeMap::new();
    for entry in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut parts = entry.splitn(3, ": ");
        let (Some(file), Some(reason), Some(lines)) = (parts.next(), parts.next(), parts.next()) else {
            panic!("`{entry}` does not read `file: reason: lines`");
        };
        for line in lines.split_whitespace() {
            skipped.insert(format!("{file}:{line}"), reason.to_owned());
        }
    }
    skipped
}

#[test]
fn our_own_scripts_hold() {
    let scripts = scripts(&here());
    assert!(!scripts.is_empty());
    for (name, script) in scripts {
        let failures = script.run();
        assert!(script.cases() > 0, "{name} asserts nothing");
        assert!(failures.is_empty(), "{name}: {failures:#?}");
    }
}

#[test]
fn the_scripts_of_prometheus_hold_but_for_those_listed_with_a_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/promqltest/testdata");
    if !folder.is_dir() {
        eprintln!("skipped: shared data not present");
        return;
    }
    let mut skipped = skipped();
    let (mut asserted, mut failed, mut unexpected) = (0, 0, Vec::new());
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for (name, script) in scripts(&folder) {
        asserted += script.cases();
        for Case { line, text, failure } in script.run() {
            failed += 1;
            match skipped.remove(&format!("{name}:{line}")) {
                Some(reason) => *reasons.entry(reason).or_default() += 1,
                None => unexpected.push(format!("{name}:{line} {text}\n    {failure}")),
            }
        }
    }
    eprintln!("{} of {asserted} assertions hold; not supported: {reasons:#?}", asserted - failed);
    assert!(unexpected.is_empty(), "{} unexpected failures:\n{}", unexpected.len(), unexpected.join("\n"));
    assert!(skipped.is_empty(), "listed as skipped, but they hold: {skipped:#?}");
}
