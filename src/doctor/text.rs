//! The doctor's answer as text.
//!
//! ```text
//! 1h to 12:00:01 · 11 services · 41,200 spans · 18,004 log records
//!
//! ✖ context lost: order loses the context of calls from checkout: its spans begin traces of their own
//!     200 of 200 (100 %)
//!     let order take `traceparent` from its requests …
//!     silmari trace 0af7…
//!
//! service     coverage  spans  no id  unreached  logs  no id  unreached  received  lost  orphans
//! order           0 %     …
//! ```

use std::fmt::Write as _;

use model::time::duration_text;
use query_api::{DoctorAnswer, DoctorService, EdgePasses, Finding, FindingKind, Severity};

use crate::output::clean;

/// Edges that lose context are listed up to so many.
const EDGES_MAX: usize = 20;

/// Everything, for `width` columns.
pub(super) fn whole(answer: &DoctorAnswer, width: usize) -> String {
    let mut out = heading(answer);
    for finding in &answer.findings {
        out.push('\n');
        push_finding(&mut out, finding, width);
    }
    if answer.findings.is_empty() && !answer.services.is_empty() {
        out.push_str("\n✓ nothing to mend\n");
    }
    push_services(&mut out, &answer.services);
    push_edges(&mut out, answer);
    push_topics(&mut out, answer);
    for cut in &answer.cuts {
        let hint = cut.hint.as_ref().map(|hint| format!(" — {hint}")).unwrap_or_default();
        writeln!(out, "cut: {}{}", clean(&cut.what), clean(&hint)).unwrap_or_default();
    }
    out
}

fn heading(answer: &DoctorAnswer) -> String {
    let spans: u64 = answer.services.iter().map(|row| row.spans).sum();
    let logs: u64 = answer.services.iter().map(|row| row.logs).sum();
    format!(
        "{} to {} · {} services · {} spans · {} log records\n",
        duration_text(answer.looked_at.nanos()),
        answer.looked_at.to.clock_text(),
        answer.services.len(),
        grouped(spans),
        grouped(logs),
    )
}

fn push_finding(out: &mut String, finding: &Finding, width: usize) {
    let mark = match finding.severity {
        Severity::Bad => '✖',
        Severity::Warn => '▲',
        Severity::Note => '·',
    };
    let line = format!("{mark} {}: {}", finding.kind.title(), clean(&finding.what));
    push_wrapped(out, &line, "    ", width);
    if finding.severity != Severity::Note && finding.kind != FindingKind::ClockOffset {
        let share = percent(finding.affected as f64 / finding.of.max(1) as f64);
        let (affected, of) = (grouped(finding.affected), grouped(finding.of));
        writeln!(out, "    {affected} of {of} ({share})").unwrap_or_default();
    }
    push_wrapped(out, &format!("    {}", clean(&finding.hint)), "    ", width);
    if let Some(follow) = &finding.follow {
        writeln!(out, "    {}", clean(follow)).unwrap_or_default();
    }
}

/// A line broken between words; what follows is indented.
fn push_wrapped(out: &mut String, line: &str, indent: &str, width: usize) {
    let lead = &line[..line.len() - line.trim_start().len()];
    let mut column = 0;
    for word in line.split_whitespace() {
        let length = word.chars().count();
        if column == 0 {
            out.push_str(lead);
            column = lead.len();
        } else if column + 1 + length > width {
            out.push('\n');
            out.push_str(indent);
            column = indent.len();
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}

fn push_services(out: &mut String, services: &[DoctorService]) {
    if services.is_empty() {
        out.push_str("\nno spans and no log records in this time\n");
        return;
    }
    let headings = [
        "service",
        "coverage",
        "spans",
        "no id",
        "unreached",
        "logs",
        "no id",
        "unreached",
        "received",
        "lost",
        "orphans",
    ];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    for row in services {
        let numbers = [
            row.spans,
            row.spans_without_id,
            row.spans_unreachable,
            row.logs,
            row.logs_without_id,
            row.logs_unreachable,
            row.received,
            row.received_without_context,
            row.orphans,
        ];
        let mut cells = vec![clean(&row.service), percent(row.coverage)];
        cells.extend(numbers.map(grouped));
        rows.push(cells);
    }
    out.push('\n');
    push_table(out, &rows, 1);
}

fn push_edges(out: &mut String, answer: &DoctorAnswer) {
    let losing: Vec<_> = answer.edges.iter().filter(|edge| edge.lost > 0).collect();
    if losing.is_empty() {
        return;
    }
    let mut rows = vec![["from", "to", "", "count", "lost"].map(str::to_owned).to_vec()];
    for edge in losing.iter().take(EDGES_MAX) {
        let passes = match edge.kind {
            EdgePasses::Calls => "calls",
            EdgePasses::Messages => "messages",
        };
        let cells =
            [clean(&edge.from), clean(&edge.to), passes.to_owned(), grouped(edge.count), grouped(edge.lost)];
        rows.push(cells.to_vec());
    }
    out.push('\n');
    push_table(out, &rows, 3);
    if losing.len() > EDGES_MAX {
        writeln!(out, "{} more edges lose context; --json lists them", losing.len() - EDGES_MAX)
            .unwrap_or_default();
    }
}

fn push_topics(out: &mut String, answer: &DoctorAnswer) {
    let losing: Vec<_> = answer.topics.iter().filter(|topic| topic.without_context > 0).collect();
    if losing.is_empty() {
        return;
    }
    let mut rows = vec![["topic", "messages", "no traceparent", "no id"].map(str::to_owned).to_vec()];
    for topic in losing.iter().take(EDGES_MAX) {
        let mut cells = vec![clean(&topic.topic)];
        cells.extend([topic.messages, topic.without_context, topic.without_id].map(grouped));
        rows.push(cells);
    }
    out.push('\n');
    push_table(out, &rows, 1);
}

/// Columns apart by two; the first `left` are texts, the others numbers.
fn push_table(out: &mut String, rows: &[Vec<String>], left: usize) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[column] - cell.chars().count());
            let gap = if column == 0 { "" } else { "  " };
            match column < left {
                true => write!(line, "{gap}{cell}{pad}").unwrap_or_default(),
                false => write!(line, "{gap}{pad}{cell}").unwrap_or_default(),
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// A share, never rounded up to all of it.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        p if p >= 100.0 => "100 %".to_owned(),
        p if p >= 10.0 => format!("{:.1} %", (p * 10.0).floor() / 10.0),
        p if p > 0.0 => format!("{p:.1} %"),
        _ => "0 %".to_owned(),
    }
}

/// Thousands apart, as in 1,204.
fn grouped(number: u64) -> String {
    crate::whereabouts::grouped(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_wrapped_indented_and_free_of_control_characters() {
        let finding = Finding {
            severity: Severity::Bad,
            kind: FindingKind::ContextLost,
            service: "order".to_owned(),
            other: "checkout".to_owned(),
            what: "order\u{1b}[31m loses the context of calls from checkout".to_owned(),
            affected: 1_200,
            of: 1_200,
            hint: "let order take traceparent from its requests".to_owned(),
            example: None,
            follow: Some("silmari trace 0af7".to_owned()),
        };
        let mut out = String::new();
        push_finding(&mut out, &finding, 40);
        let expected = "✖ context lost: order�[31m loses the\n    context of calls from checkout\n    1,200 of 1,200 (100 %)\n    \
                        let order take traceparent from its\n    requests\n    silmari trace 0af7\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_share_is_never_rounded_up_to_the_whole() {
        for (share, expected) in
            [(1.0, "100 %"), (0.99996, "99.9 %"), (0.5, "50.0 %"), (0.012, "1.2 %"), (0.0, "0 %")]
        {
            assert_eq!(percent(share), expected);
        }
    }
}
