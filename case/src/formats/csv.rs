//! One line a row of the timeline, as RFC 4180 has it: CRLF, quotes doubled.
//!
//! A text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return would be run as a formula by a
//! spreadsheet; it gets a `'` in front, which spreadsheets take as "this is text".

use std::fmt::Write as _;

use query_api::{Attributes, Journey};

use super::{kind, why};

/// The columns, in order.
const COLUMNS: [&str; 21] = [
    "row",
    "kind",
    "depth",
    "start_time",
    "offset_nano",
    "duration_nano",
    "critical_nano",
    "trace_id",
    "span_id",
    "parent_span_id",
    "service",
    "name",
    "label",
    "is_error",
    "is_open",
    "marks",
    "message",
    "certainty",
    "why",
    "attributes",
    "resource",
];

/// The timeline as CSV, a header line first.
pub fn csv(journey: &Journey) -> String {
    let mut out = COLUMNS.join(",");
    out.push_str("\r\n");
    for (index, row) in journey.rows.iter().enumerate() {
        let marks: Vec<&str> = row.marks.iter().map(|mark| mark.text()).collect();
        let id = |id: Option<String>| id.unwrap_or_default();
        let offset = row.start_time.since(journey.start_time);
        write!(out, "{index},{},{},{},", kind(row), row.depth, row.start_time).unwrap_or_default();
        write!(out, "{offset},{},{},", row.duration_nano, row.critical_nano).unwrap_or_default();
        for id in [
            id(row.trace_id.map(|id| id.to_string())),
            id(row.span_id.map(|id| id.to_string())),
            id(row.parent_span_id.map(|id| id.to_string())),
        ] {
            out.push_str(&id);
            out.push(',');
        }
        for text in [&row.service, &row.name, &row.label] {
            push(text, &mut out);
            out.push(',');
        }
        write!(out, "{},{},", row.is_error, row.is_open).unwrap_or_default();
        let (attributes, resource) = (pairs(&row.attributes), pairs(&row.resource));
        let certainty = row.evidence.certainty.text();
        for text in [&marks.join("; "), row.message.as_str(), certainty, &why(row), &attributes, &resource] {
            push(text, &mut out);
            out.push(',');
        }
        out.pop();
        out.push_str("\r\n");
    }
    out
}

/// Attributes as JSON, which a script can read again.
fn pairs(attributes: &Attributes) -> String {
    if attributes.is_empty() { String::new() } else { serde_json::to_string(attributes).unwrap_or_default() }
}

/// A cell of text.
fn push(text: &str, out: &mut String) {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let is_quoted = is_formula || text.contains([',', '"', '\r', '\n']);
    if !is_quoted {
        out.push_str(text);
        return;
    }
    out.push('"');
    if is_formula {
        out.push('\'');
    }
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn cell(text: &str) -> String {
        let mut out = String::new();
        push(text, &mut out);
        out
    }

    #[test]
    fn a_cell_is_quoted_where_it_must_be_and_never_a_formula() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "\"'=1+1\""),
            ("+49 30", "\"'+49 30\""),
            ("-2", "\"'-2\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("a=1", "a=1"),
        ] {
            assert_eq!(cell(text), expected, "{text:?}");
        }
    }

    /// Reads RFC 4180 the way a spreadsheet does.
    fn parse(text: &str) -> Vec<Vec<String>> {
        let (mut rows, mut row, mut cell, mut is_quoted) = (Vec::new(), Vec::new(), String::new(), false);
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match (c, is_quoted) {
                ('"', true) if chars.peek() == Some(&'"') => cell.push(chars.next().expect("peeked")),
                ('"', _) => is_quoted = !is_quoted,
                (',', false) => row.push(std::mem::take(&mut cell)),
                ('\r', false) => {}
                ('\n', false) => {
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                }
                (c, _) => cell.push(c),
            }
        }
        rows
    }

    #[test]
    fn every_row_of_the_timeline_is_one_line_with_all_columns() {
        let mut journey = samples::case().journey;
        journey.rows[1].name = "=HYPERLINK(\"http://evil\",\"a\r\nb\")".into();
        let rows = parse(&csv(&journey));
        assert_eq!(rows.len(), journey.rows.len() + 1);
        assert!(rows.iter().all(|row| row.len() == COLUMNS.len()), "{rows:?}");
        assert_eq!(rows[2][11], "'=HYPERLINK(\"http://evil\",\"a\r\nb\")");
        for cell in rows.iter().flatten() {
            let is_number = cell.parse::<i64>().is_ok();
            assert!(is_number || !cell.starts_with(['=', '+', '-', '@']), "{cell}");
        }
    }
}
