//! `silmari reference`: docs/reference/configuration.md, from the settings types and their comments.

use std::fmt::Write as _;

use serde_json::Value;

use crate::config::Config;
use crate::exit::Failure;
use crate::output;

const INTRODUCTION: &str = "\
# Configuration of the server

Generated from the settings types by `make reference`; do not edit.

`silmari serve --data-dir DIR --config silmari.toml` reads one TOML file. Every key has a default, an unknown
key is an error, relative paths begin at the file's folder. Durations are texts such as `200ms`, `15s`, `5m`; sizes
such as `64KiB`, `16MiB`. Flags of `silmari serve` win over the file. The agent's file is described in
`docs/operating/agent.md`.
";

pub(crate) fn run() -> Result<(), Failure> {
    let schema = serde_json::to_value(schemars::schema_for!(Config))
        .map_err(|error| Failure::runtime(format!("the settings' schema: {error}")))?;
    output::text(&page(&schema))
}

fn page(schema: &Value) -> String {
    let mut out = INTRODUCTION.to_owned();
    sections(schema, schema, "", &mut out);
    out
}

/// One heading and table a settings type, its nested tables after it.
fn sections(root: &Value, table: &Value, path: &str, out: &mut String) {
    let Some(properties) = table["properties"].as_object() else { return };
    let (tables, keys): (Vec<_>, Vec<_>) =
        properties.iter().partition(|(_, property)| resolve(root, property)["properties"].is_object());
    if !keys.is_empty() {
        write!(out, "\n## `[{path}]`\n\n").unwrap_or_default();
        if let Some(description) = table["description"].as_str() {
            write!(out, "{}\n\n", one_line(description)).unwrap_or_default();
        }
        out.push_str("| key | meaning |\n|---|---|\n");
        for (key, property) in keys {
            let meaning = property["description"].as_str().unwrap_or_default();
            writeln!(out, "| `{key}` | {} |", one_line(meaning)).unwrap_or_default();
        }
    }
    for (key, property) in tables {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        sections(root, resolve(root, property), &path, out);
    }
}

/// Follows `$ref`, also the one inside an optional field.
fn resolve<'a>(root: &'a Value, property: &'a Value) -> &'a Value {
    let optional =
        property["anyOf"].as_array().and_then(|any| any.iter().find(|one| one["$ref"].is_string()));
    let property = optional.unwrap_or(property);
    match property["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => root.pointer(pointer).unwrap_or(property),
        None => property,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_the_one_that_is_generated() {
        let schema = serde_json::to_value(schemars::schema_for!(Config)).expect("a schema");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/configuration.md");
        let found = std::fs::read_to_string(file).expect("docs/reference/configuration.md");
        assert_eq!(found, page(&schema), "run `make reference`");
    }
}
