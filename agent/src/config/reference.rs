//! `docs/reference/agent-configuration.md`, from the settings types and their comments. A part of the tests, so that it
//! costs the program nothing; `make reference` writes the page.

use std::fmt::Write as _;

use serde_json::Value;

use super::Config;

const INTRODUCTION: &str = "\
# Configuration of the agent

Generated from the settings types by `make reference`; do not edit.

`silmari-agent run -c agent.toml` reads one TOML file and the `conf.d/*.toml` beside it. An unknown key is an error,
relative paths begin at the file's folder, `${NAME}`, `${NAME:-default}` and `${file:/path}` work in string values. Durations are texts
such as `200ms`, `15s`, `5m`; sizes such as `64KiB`, `16MiB`. How to use it: `docs/operating/agent.md`.
";
/// Set by `make reference`.
const WRITE: &str = "SILMARI_WRITE_REFERENCE";

fn page() -> String {
    let schema = serde_json::to_value(schemars::schema_for!(Config)).expect("a schema");
    let mut out = INTRODUCTION.to_owned();
    sections(&schema, &schema, "", &mut out);
    out
}

/// One heading and list of keys a settings type, its nested tables after it.
fn sections(root: &Value, table: &Value, path: &str, out: &mut String) {
    let Some(properties) = table["properties"].as_object() else { return };
    let mut tables = Vec::new();
    let mut keys = String::new();
    for (key, property) in properties {
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let meaning = one_line(property["description"].as_str().unwrap_or_default());
        let (one, member) = (resolve(root, property), resolve(root, &property["additionalProperties"]));
        if one["properties"].is_object() {
            tables.push((below, meaning, one));
        } else if member["properties"].is_object() {
            tables.push((format!("{below}.NAME"), meaning, member));
        } else {
            writeln!(keys, "| `{key}` | {meaning} |").expect("a text takes all");
        }
    }
    if !keys.is_empty() {
        write!(out, "| key | meaning |\n|---|---|\n{keys}").expect("a text takes all");
    }
    for (path, meaning, table) in tables {
        write!(out, "\n## `[{path}]`\n\n{meaning}\n\n").expect("a text takes all");
        sections(root, table, &path, out);
    }
}

/// Follows `$ref`, also the one inside an optional field.
fn resolve<'a>(root: &'a Value, property: &'a Value) -> &'a Value {
    let optional =
        property["anyOf"].as_array().and_then(|any| any.iter().find(|one| one["$ref"].is_string()));
    let property = optional.unwrap_or(property);
    let pointer = property["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| root.pointer(pointer)).unwrap_or(property)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[test]
fn the_page_in_docs_is_the_one_that_is_generated() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/agent-configuration.md");
    let page = page();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(file, &page).expect("written");
    }
    assert_eq!(std::fs::read_to_string(file).unwrap_or_default(), page, "run `make reference`");
}

#[test]
fn every_table_and_key_has_its_meaning() {
    let page = page();
    for part in [
        "## `[files.NAME]`",
        "## `[collector.tls]`",
        "## `[scrape.NAME]`",
        "| `start_at` |",
        "| `multiline` |",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let without: Vec<&str> = page.lines().filter(|line| line.ends_with("|  |")).collect();
    assert!(without.is_empty(), "{without:?}");
}
