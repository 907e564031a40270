//! JSON lines, and the objects of `POST /log`: nested objects are flattened with dots, arrays stay
//! JSON text, null is left out.

use serde_json::{Map, Value};

use super::role::Roles;
use super::{DEPTH_MAX, ParsedLine, scan};

/// Reads a line that is one JSON object; `false` when it is none.
pub(super) fn parse(line: &str, out: &mut ParsedLine) -> bool {
    let mut roles = Roles::default();
    if scan::object(line, &mut roles, out).is_err() {
        return false;
    }
    if !roles.settle(out) {
        out.set_body(line);
    }
    true
}

/// Reads a JSON object of any shape into `out`, which is cleared first. An object without a message
/// becomes its own JSON text as the body.
pub fn parse_json_object(object: &Map<String, Value>, out: &mut ParsedLine) {
    out.clear();
    if !read(object, out) {
        out.set_body(&serde_json::to_string(object).unwrap_or_default());
    }
}

fn read(object: &Map<String, Value>, out: &mut ParsedLine) -> bool {
    let mut roles = Roles::default();
    let mut path = String::new();
    flatten(object, &mut path, 1, &mut roles, out);
    roles.settle(out)
}

fn flatten(
    object: &Map<String, Value>,
    path: &mut String,
    depth: usize,
    roles: &mut Roles,
    out: &mut ParsedLine,
) {
    for (key, value) in object {
        let parent = path.len();
        // Not by the path: a key may be empty.
        if depth > 1 {
            path.push('.');
        }
        path.push_str(key);
        match value {
            Value::Object(inner) if depth < DEPTH_MAX && !inner.is_empty() => {
                flatten(inner, path, depth + 1, roles, out);
            }
            Value::Null => {}
            Value::String(text) => roles.offer(path, text, out),
            // A list is no message, time or level, whatever its name.
            Value::Array(_) | Value::Object(_) => out.push_attribute(path, &value.to_string()),
            Value::Bool(_) | Value::Number(_) => roles.offer(path, &value.to_string(), out),
        }
        path.truncate(parent);
    }
}
