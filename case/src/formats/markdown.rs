//! A page for a ticket: how it went, the timeline as a code block, the records as a table.

use std::fmt::Write as _;

use model::time::duration_text;
use query_api::{JourneyStatus, RowKind};

use super::{is_record, why};
use crate::Case;

/// Rows of the table; a ticket with more is read by nobody.
const ROWS_MAX: usize = 500;
/// Characters of a cell.
const CELL_CHARS_MAX: usize = 300;

/// The case as Markdown. `timeline` is the drawn journey.
pub fn markdown(case: &Case, timeline: &str) -> String {
    let journey = &case.journey;
    let mut out = format!("# Journey of {}\n\n", cell(&case.about.id));
    head(case, &mut out);
    let fence = fence(timeline);
    write!(out, "\n{fence}text\n{}\n{fence}\n\n", plain(timeline.trim_end())).unwrap_or_default();
    out.push_str("| time | offset | duration | service | what | why here |\n|---|---:|---:|---|---|---|\n");
    let records = journey.rows.iter().filter(|row| is_record(row) || row.kind == RowKind::QueueWait);
    for row in records.clone().take(ROWS_MAX) {
        let offset = duration_text(row.start_time.since(journey.start_time));
        let duration = if row.duration_nano > 0 { duration_text(row.duration_nano) } else { String::new() };
        let error = if row.is_error { "**error** " } else { "" };
        let message = match row.message.as_str() {
            "" => String::new(),
            message => format!(": {}", cell(message)),
        };
        let wait = match (row.kind, row.is_open) {
            (RowKind::QueueWait, true) => "not consumed: ",
            (RowKind::QueueWait, false) => "waits in ",
            _ => "",
        };
        writeln!(
            out,
            "| {} | {offset} | {duration} | {} | {error}{wait}{}{message} | {} |",
            row.start_time.clock_text(),
            cell(&row.service),
            cell(&row.name),
            cell(&why(row)),
        )
        .unwrap_or_default();
    }
    let more = records.count().saturating_sub(ROWS_MAX);
    if more > 0 {
        write!(out, "\n{more} more rows: `--format csv` has them all.\n").unwrap_or_default();
    }
    foot(case, &mut out);
    out
}

fn head(case: &Case, out: &mut String) {
    let journey = &case.journey;
    let status = match journey.status {
        JourneyStatus::Ok => "ok",
        JourneyStatus::Failed => "**failed**",
        JourneyStatus::Waiting => "**waiting**",
    };
    let counts = &journey.counts;
    writeln!(
        out,
        "{status}, {} from {}: {} traces, {} spans, {} logs, {} messages over {}",
        duration_text(journey.duration_nano),
        journey.start_time,
        counts.traces,
        counts.spans,
        counts.logs,
        counts.messages,
        cell(&journey.services.join(", ")),
    )
    .unwrap_or_default();
    if let Some(failure) = &journey.failure {
        let (service, name) = (cell(&failure.service), cell(&failure.name));
        write!(out, "\n**{service}** {name}: {}\n", cell(&failure.message)).unwrap_or_default();
    }
    for mark in &journey.marks {
        write!(out, "\n- {} {} {}", mark.time.clock_text(), cell(&mark.service), cell(&mark.text))
            .unwrap_or_default();
    }
    if !journey.marks.is_empty() {
        out.push('\n');
    }
}

fn foot(case: &Case, out: &mut String) {
    for cut in case.journey.cuts.iter().chain(&case.about.left_out) {
        write!(out, "\nLeft out: {}\n", cell(&cut.what)).unwrap_or_default();
    }
    let about = &case.about;
    let redacted = match &about.redaction {
        Some(redaction) => format!(", {} values redacted", redaction.values),
        None => String::new(),
    };
    write!(out, "\nsilmari {}, {}{redacted}\n", cell(&about.silmari_version), about.made_at)
        .unwrap_or_default();
}

/// Text that is no markup, on one line.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in plain(text).chars().enumerate() {
        if at == CELL_CHARS_MAX {
            out.push('…');
            break;
        }
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '!' | '~' | '@' => {
                out.push('\\');
                out.push(c);
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c => out.push(c),
        }
    }
    out
}

/// Text without what a terminal or a reader's eye is misled by.
fn plain(text: &str) -> String {
    let is_acted_on = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_acted_on(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A fence longer than any in the text.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn text_from_outside_is_no_markup_and_leaves_no_cell() {
        let mut case = samples::case();
        case.journey.rows[1].name = "a|b `c` <img src=x> [x](javascript:1)\n# title".into();
        let page = markdown(&case, "drawn ```` fence\n");
        assert!(page.contains("a\\|b \\`c\\` &lt;img src=x&gt; \\[x\\](javascript:1) \\# title"), "{page}");
        assert!(page.contains("`````text\ndrawn ```` fence\n`````"), "{page}");
        let table: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
        assert!(table.len() > 3);
        for line in table {
            let bars = line.replace("\\|", "").matches('|').count();
            assert_eq!(bars, 7, "{line}");
        }
    }

    #[test]
    fn a_ticket_says_how_it_went_and_what_made_it() {
        let page = markdown(&samples::case(), "drawn\n");
        for part in ["# Journey of ORD-4711", "**failed**", "acquirer timeout", "certain", "silmari 0"] {
            assert!(page.contains(part), "`{part}` is missing in {page}");
        }
    }
}
