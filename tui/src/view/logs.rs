//! Screen 3: a search, its histogram and facets, and the records as they arrive.

use super::paint::{Area, Painter};
use crate::core::State;
use crate::core::format;
use crate::core::glyph;
use crate::core::layout::Tier;
use crate::core::line::{Line, Role};
use crate::core::list::first_visible;
use crate::core::logs::lines;

/// Columns of the facets.
const FACETS: u16 = 20;
const FACETS_WIDE: u16 = 28;

/// Draws the screen.
pub(crate) fn draw(state: &State, area: Area, painter: &mut Painter<'_>) {
    let (title, rest) = area.split_top(1);
    painter.line(title, 0, &title_line(state, title.columns()));
    let Some(summary) = &state.logs.pane.answer else {
        draw_absent(state, rest, painter);
        return;
    };
    let is_low = state.size.height < 15;
    let (histogram, rest) = rest.split_top(if is_low { 0 } else { 2 });
    painter.lines(histogram, &lines::histogram(summary, area.columns()));
    let cuts: Vec<Line> =
        summary.cuts.iter().take(1).map(|cut| Line::of(Role::Warn, &format!(" ! {}", cut.what))).collect();
    let (cut_area, rest) = rest.split_top(cuts.len() as u16);
    painter.lines(cut_area, &cuts);
    let rest = if is_low {
        rest
    } else {
        painter.rule(rest, 0);
        rest.split_top(1).1
    };
    match state.size.tier() {
        Tier::L => draw_with_facets(state, rest, FACETS_WIDE, painter),
        Tier::M => draw_with_facets(state, rest, FACETS, painter),
        // On narrow terminals the facets take the place of the records while they have the keys.
        Tier::S | Tier::XS if state.logs.is_in_facets => draw_facets(state, rest, painter),
        Tier::S | Tier::XS => draw_records(state, rest, painter),
    }
}

fn draw_absent(state: &State, area: Area, painter: &mut Painter<'_>) {
    let mut all = vec![Line::new()];
    for line in state.logs.pane.absence() {
        let mut indented = Line::new();
        indented.gap(1);
        indented.append(line);
        all.push(indented);
    }
    painter.lines(area, &all);
    // The tail may be quicker than the search.
    let (_, rest) = area.split_top(all.len() as u16 + 1);
    if !state.logs.records.is_empty() {
        draw_records(state, rest, painter);
    }
}

fn title_line(state: &State, width: usize) -> Line {
    let logs = &state.logs;
    let mut line = Line::of(Role::Accent, " /");
    if logs.query.is_empty() {
        line.push(Role::Dim, " everything");
    } else {
        line.push(Role::Strong, &format!(" {}", logs.query));
    }
    let mut right = Line::new();
    if logs.skipped > 0 {
        right.push(Role::Warn, &format!("skipped {} · ", format::count(logs.skipped)));
    }
    if let Some(failure) = &logs.tail_failure {
        right.push(Role::Warn, &format!("! not live: {} ", failure.message));
    } else if state.paused_at.is_none() && logs.tail.is_some() && logs.pane.answer.is_some() {
        if logs.is_following {
            right.push(Role::Ok, "following");
            right.push(Role::Dim, " · ");
        } else {
            right.push(Role::Warn, &format!("+{} new · G follows ", format::count(logs.new)));
        }
    }
    if logs.pane.failure.is_none() || logs.pane.answer.is_some() {
        right.append(logs.pane.status(state.shown_now()));
    }
    right.gap(1);
    line.with_right(right, width)
}

fn draw_with_facets(state: &State, area: Area, columns: u16, painter: &mut Painter<'_>) {
    let (left, right) = area.split_left(columns);
    draw_facets(state, left, painter);
    painter.bar(right);
    draw_records(state, right.split_left(1).1, painter);
}

fn draw_facets(state: &State, area: Area, painter: &mut Painter<'_>) {
    let lines = lines::facets(&state.logs, area.columns());
    let selected = lines.iter().position(|(index, _)| *index == Some(state.logs.facet)).unwrap_or(0);
    let first = if state.logs.is_in_facets { first_visible(selected, lines.len(), area.lines()) } else { 0 };
    for (row, (index, line)) in lines.iter().skip(first).take(area.lines()).enumerate() {
        if state.logs.is_in_facets && *index == Some(state.logs.facet) {
            painter.selected(area, row, line);
        } else {
            painter.line(area, row, line);
        }
    }
}

fn draw_records(state: &State, area: Area, painter: &mut Painter<'_>) {
    let logs = &state.logs;
    if logs.records.is_empty() {
        let text = format!(" no record matches {}", state.range.within());
        painter.line(area, 0, &Line::of(Role::Text, &text));
        painter.line(area, 1, &Line::of(Role::Dim, " / changes the search · t the range"));
        return;
    }
    let width = area.columns().saturating_sub(1);
    let opened = match logs.record() {
        Some(record) if logs.is_open => lines::opened(record, width),
        _ => Vec::new(),
    };
    // The opened record must fit with its line; the list gives way.
    let opened_height = opened.len().min(area.lines().saturating_sub(2));
    let list_height = area.lines() - opened_height;
    let first = first_visible_from_end(state, list_height);
    let shown = logs.records.iter().skip(first).take(list_height);
    // Of all records, so that columns stay where they are while the list moves.
    let service = lines::service_width(&logs.records);
    let mut row = 0;
    for (index, record) in (first..).zip(shown) {
        let mut line = Line::new();
        line.gap(1);
        line.append(lines::record(record, Some(width), service));
        if index == logs.selected && !logs.is_in_facets {
            painter.selected(area, row, &line);
        } else {
            painter.line(area, row, &line);
        }
        row += 1;
        if index == logs.selected {
            for line in opened.iter().take(opened_height) {
                let mut marked = Line::of(Role::Rule, " │");
                marked.append(line.clone());
                painter.line(area, row, &marked);
                row += 1;
            }
        }
    }
    if let Some(hidden) = opened.len().checked_sub(opened_height + 1) {
        let text = format!("   {} {} more lines", glyph::LOG, hidden + 1);
        painter.line(area, area.lines().saturating_sub(1), &Line::of(Role::Dim, &text));
    }
}

/// While following, the newest record is at the bottom; else the selection is near the middle.
fn first_visible_from_end(state: &State, height: usize) -> usize {
    first_visible(state.logs.selected, state.logs.records.len(), height.max(1))
}
