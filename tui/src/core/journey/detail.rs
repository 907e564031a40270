//! Everything about one row of a journey: what it is, its attributes, and why it is here.

use model::UnixNano;
use model::time::duration_text;
use query_api::{JourneyRow, JourneyTrace, RowKind, Text};

use super::evidence;
use super::timeline::position;
use crate::core::line::{Line, Role, width_of, wrap};

/// The row in at most `height` lines: all attributes one a line when `is_full`, else as many as fit
/// side by side.
pub(crate) fn lines(
    row: &JourneyRow,
    trace: Option<&JourneyTrace>,
    zero: UnixNano,
    width: usize,
    height: usize,
    is_full: bool,
) -> Vec<Line> {
    let mut lines = vec![heading(row, zero, width)];
    let message = if row.kind == RowKind::Log { &row.name } else { &row.message };
    let message_lines = if is_full { 8 } else { 1 };
    if !message.is_empty() && (is_full || row.is_error || row.kind == RowKind::Log) {
        let role = if row.is_error { Role::Bad } else { Role::Text };
        for part in wrap(message, width.saturating_sub(2), message_lines) {
            let mut line = Line::new();
            line.gap(1);
            line.push(role, &part);
            lines.push(line);
        }
    }
    let why = evidence::lines(row, trace, width, if is_full { 6 } else { 2 });
    let room = height.saturating_sub(lines.len() + why.len());
    lines.extend(if is_full { listed(row, width, room) } else { side_by_side(row, width, room.min(2)) });
    lines.extend(why);
    lines.truncate(height);
    lines.into_iter().map(|line| line.fit(width)).collect()
}

fn heading(row: &JourneyRow, zero: UnixNano, width: usize) -> Line {
    let mut line = Line::new();
    line.gap(1);
    line.push(Role::Strong, &row.service);
    if row.kind != RowKind::Log {
        line.push(Role::Text, &format!(" {}", row.name));
    }
    if let Some(span) = row.span_id {
        line.push(Role::Dim, "  span ");
        line.push(Role::Accent, &span.to_string());
    }
    let mut right = Line::of(Role::Dim, &position(row, zero));
    if row.duration_nano > 0 {
        right.push(Role::Strong, &format!("  {}", duration_text(row.duration_nano)));
    }
    let (word, role) = match row.kind {
        _ if row.is_error => ("ERROR", Role::Bad),
        RowKind::QueueWait if row.is_open => ("WAITING", Role::Wait),
        _ => (row.label.as_str(), Role::Dim),
    };
    if !word.is_empty() {
        right.push(role, &format!("  {word}"));
    }
    right.gap(1);
    line.with_right(right, width)
}

/// Attributes of the row, then those of its resource.
fn pairs(row: &JourneyRow) -> impl Iterator<Item = (&Text, &Text)> {
    row.attributes.iter().chain(&row.resource)
}

fn side_by_side(row: &JourneyRow, width: usize, lines_max: usize) -> Vec<Line> {
    let mut lines = vec![Line::new()];
    for (key, value) in pairs(row) {
        let needed = width_of(key) + 1 + width_of(value).min(40) + 2;
        let is_full = lines.last().is_some_and(|line| line.width() > 0 && line.width() + needed > width);
        if is_full && lines.len() == lines_max {
            break;
        }
        if is_full {
            lines.push(Line::new());
        }
        if let Some(line) = lines.last_mut() {
            line.gap(if line.width() == 0 { 1 } else { 2 });
            line.push(Role::Dim, key);
            line.gap(1);
            line.push(Role::Text, &crate::core::line::truncate(value, 40));
        }
    }
    lines.retain(|line| line.width() > 0);
    lines
}

fn listed(row: &JourneyRow, width: usize, lines_max: usize) -> Vec<Line> {
    let longest = pairs(row).map(|(key, _)| width_of(key)).max().unwrap_or(0).clamp(8, 32).min(width / 2);
    let mut lines = Vec::new();
    for (key, value) in pairs(row) {
        for (index, part) in wrap(value, width.saturating_sub(longest + 3), 6).into_iter().enumerate() {
            let mut line = Line::new();
            line.gap(1);
            line.cell(Role::Dim, if index == 0 { key } else { "" }, longest);
            line.gap(2);
            line.push(Role::Text, &part);
            lines.push(line);
        }
    }
    if lines.len() > lines_max && lines_max > 0 {
        let hidden = lines.len() - (lines_max - 1);
        lines.truncate(lines_max - 1);
        lines.push(Line::of(Role::Dim, &format!(" … {hidden} more lines")));
    }
    lines.truncate(lines_max);
    lines
}
