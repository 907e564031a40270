//! Two journeys side by side, as text.

use model::time::duration_text;
use query_api::diff::{Change, DiffRow, DiffSide, JourneyDiff};
use query_api::{RowKind, TimeClass};

use super::joined;
use crate::core::line::{Line, Role};

/// What differs in `b`. Rows that do not differ are shown when something below them does, or `is_all`.
pub fn diff(diff: &JourneyDiff, width: usize, is_all: bool, ascii: bool) -> String {
    let width = width.max(super::WIDTH_MIN);
    let mut out = vec![side("a", &diff.a, width), side("b", &diff.b, width), Line::new()];
    out.push(Line::of(Role::Dim, &format!("{:>width$}", "a        b  difference", width = width)));
    let shown = shown(&diff.rows, is_all);
    let hidden = diff.rows.len() - shown.len();
    out.extend(shown.into_iter().map(|row| line(row, width)));
    if hidden > 0 {
        let rows = if hidden == 1 { "1 row does" } else { &format!("{hidden} rows do") };
        out.push(Line::of(Role::Dim, &format!("   {rows} not differ: --all shows them")));
    }
    out.extend(section("where the time went", times(diff, width)));
    out.extend(section("logged by one only", templates(diff, width)));
    out.extend(section("attributes that differ", attributes(diff, width)));
    out.extend(diff.cuts.iter().map(|cut| Line::of(Role::Warn, &format!(" ! {}", cut.what)).fit(width)));
    joined(out, ascii)
}

fn section(title: &str, lines: Vec<Line>) -> Vec<Line> {
    if lines.is_empty() {
        return lines;
    }
    [Line::new(), Line::of(Role::Dim, &format!(" {title}"))].into_iter().chain(lines).collect()
}

fn side(name: &str, side: &DiffSide, width: usize) -> Line {
    let mut line = Line::of(Role::Dim, &format!(" {name} "));
    line.push(Role::Strong, side.baseline.as_ref().unwrap_or(&side.id));
    if side.baseline.is_some() {
        line.push(Role::Dim, &format!("  {}", side.id));
    }
    let (word, role) = crate::core::journey::timeline::status(side.status);
    let mut right =
        Line::of(Role::Text, &format!("{} spans · {} logs  ", side.counts.spans, side.counts.logs));
    right.push(Role::Strong, &duration_text(side.duration_nano));
    right.gap(2);
    right.push(role, word);
    right.gap(1);
    line.with_right(right, width)
}

/// Rows that differ, and the rows above them.
fn shown(rows: &[DiffRow], is_all: bool) -> Vec<&DiffRow> {
    let mut shown = Vec::new();
    let mut wanted_above = 0;
    for row in rows.iter().rev() {
        let differs = row.change != Change::Same || row.is_newly_failed;
        if is_all || differs || row.depth < wanted_above {
            wanted_above = row.depth;
            shown.push(row);
        }
    }
    shown.reverse();
    shown
}

fn line(row: &DiffRow, width: usize) -> Line {
    let (sign, role) = match row.change {
        Change::Same => (" ", Role::Text),
        Change::Slower => ("▲", Role::Warn),
        Change::Faster => ("▼", Role::Ok),
        Change::Missing => ("-", Role::Bad),
        Change::Extra => ("+", Role::Accent),
    };
    let mut line = Line::new();
    line.gap(1);
    line.push(role, sign);
    line.gap(1 + usize::from(row.depth.min(12)));
    line.push(Role::Strong, &row.service);
    let name = match row.kind {
        RowKind::QueueWait => waits(row),
        RowKind::BackOff => format!("back-off before {}", row.name),
        _ => row.name.clone(),
    };
    line.push(role, &format!(" {name}"));
    if row.is_newly_failed {
        line.push(Role::Bad, " ✖");
    }
    let duration = |nanos: Option<i64>| nanos.map_or_else(|| "–".to_owned(), duration_text);
    let mut right = Line::new();
    right.cell_right(Role::Text, &duration(row.a_nano), 9);
    right.cell_right(Role::Text, &duration(row.b_nano), 9);
    let difference = match (row.a_nano, row.b_nano) {
        (Some(a), Some(b)) if row.change != Change::Same => signed(b - a),
        _ => String::new(),
    };
    right.cell_right(role, &difference, 12);
    line.with_right(right, width)
}

/// For whom a message waits; the group when it is not called like its service.
fn waits(row: &DiffRow) -> String {
    match (row.consumer.as_str(), row.group.as_str()) {
        ("", _) => "not consumed".to_owned(),
        (consumer, group) if group.is_empty() || group == consumer => format!("waits for {consumer}"),
        (consumer, group) => format!("waits for {consumer} ({group})"),
    }
}

fn signed(nanos: i64) -> String {
    if nanos > 0 { format!("+{}", duration_text(nanos)) } else { duration_text(nanos) }
}

fn times(diff: &JourneyDiff, width: usize) -> Vec<Line> {
    let time = |time: &query_api::diff::DiffTime| {
        let what = match time.class {
            TimeClass::SelfTime => time.label.clone(),
            TimeClass::Inferred => format!("{} (inferred)", time.label),
            TimeClass::QueueWait => format!("wait {}", time.label),
            TimeClass::BackOff => format!("back-off {}", time.label),
            TimeClass::Gap => "gap".to_owned(),
        };
        let mut right = Line::new();
        let spent = |nanos: i64| if nanos == 0 { "–".to_owned() } else { duration_text(nanos) };
        right.cell_right(Role::Text, &spent(time.a_nano), 9);
        right.cell_right(Role::Text, &spent(time.b_nano), 9);
        right.cell_right(Role::Strong, &signed(time.b_nano - time.a_nano), 12);
        Line::of(Role::Text, &format!("   {what}")).with_right(right, width)
    };
    diff.time_spent.iter().filter(|time| time.a_nano != time.b_nano).take(10).map(time).collect()
}

fn templates(diff: &JourneyDiff, width: usize) -> Vec<Line> {
    let template = |template: &query_api::diff::DiffTemplate| {
        let (sign, role) = if template.a == 0 { ("+", Role::Accent) } else { ("-", Role::Dim) };
        let times = template.a.max(template.b);
        let mut line = Line::of(role, &format!("   {sign} "));
        line.push(Role::Strong, &template.service);
        line.push(role, &format!(" {} {}", template.label, template.template));
        if times > 1 {
            line.push(Role::Dim, &format!("  ×{times}"));
        }
        line.fit(width)
    };
    diff.log_templates.iter().map(template).collect()
}

fn attributes(diff: &JourneyDiff, width: usize) -> Vec<Line> {
    let attribute = |of: &query_api::diff::DiffAttribute| {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "–".to_owned());
        let mut line = Line::of(Role::Strong, &format!("   {}", of.key));
        line.push(Role::Text, &format!("  {} → {}", value(&of.a), value(&of.b)));
        let more = if of.spans > 1 { format!(" and {} more", of.spans - 1) } else { String::new() };
        line.push(Role::Dim, &format!("  {} {}{more}", of.service, of.name));
        line.fit(width)
    };
    diff.attributes.iter().map(attribute).collect()
}
