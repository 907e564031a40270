//! Screen 2: one id on one time axis, and the selected row below.

use super::paint::{Area, Painter};
use crate::core::State;
use crate::core::journey::{Timeline, detail, timeline};
use crate::core::line::{Line, Role};
use crate::core::list::first_visible;

/// Draws the screen.
pub(crate) fn draw(state: &State, area: Area, painter: &mut Painter<'_>) {
    let Some(found) = &state.journey.pane.answer else {
        absent(state, area, painter);
        return;
    };
    let top = head(state, found, area.columns());
    let (head_area, rest) = area.split_top(top.len() as u16);
    painter.lines(head_area, &top);
    if state.journey.is_detailed && area.width < 60 {
        // On narrow terminals the details take the place of the rows.
        draw_detail(state, found, rest, painter);
        return;
    }
    let (rows, below) = rest.split_bottom(detail_height(state, rest.height));
    draw_rows(state, found, rows, painter);
    if below.height > 1 {
        painter.rule(below, 0);
        draw_detail(state, found, below.split_top(1).1, painter);
    }
}

fn head(state: &State, found: &Timeline, width: usize) -> Vec<Line> {
    let is_low = state.size.height < 16;
    let mut lines = vec![found.title(width)];
    lines.extend(found.failure(width));
    lines.extend(found.progress(width));
    if !is_low {
        lines.push(found.path(width));
        if state.size.height >= 24 {
            lines.push(found.time_spent(width));
        }
        lines.extend(timeline::first_two(timeline::happenings(&found.journey, width), "▲", width));
        lines.extend(timeline::first_two(timeline::cuts(&found.journey, width), "!", width));
    }
    let geometry = found.geometry(width);
    let mut ruler = found.ruler(&geometry, state.journey.zero);
    if state.journey.pane.failure.is_some() || state.journey.pane.asked.is_some() {
        let mut status = state.journey.pane.status(state.shown_now());
        status.gap(1);
        ruler = ruler.with_right(status, width);
    }
    lines.push(ruler);
    lines
}

fn detail_height(state: &State, height: u16) -> u16 {
    match (state.journey.is_detailed, height) {
        (_, 0..9) => 0,
        (true, _) => height / 2,
        (false, 9..14) => 4,
        (false, _) => 6,
    }
}

fn draw_rows(state: &State, found: &Timeline, area: Area, painter: &mut Painter<'_>) {
    let geometry = found.geometry(area.columns());
    let screen = &state.journey;
    let first = first_visible(screen.selected, screen.visible.len(), area.lines());
    for (row, (index, visible)) in
        (first..).zip(screen.visible.iter().skip(first)).take(area.lines()).enumerate()
    {
        let line = found.line(*visible, &geometry, screen.folded.contains(visible));
        if index == screen.selected {
            painter.selected(area, row, &line);
        } else {
            painter.line(area, row, &line);
        }
    }
}

fn draw_detail(state: &State, found: &Timeline, area: Area, painter: &mut Painter<'_>) {
    let Some(row) = state.journey.full_row() else { return };
    let zero = state.journey.zero.unwrap_or(found.journey.start_time);
    let trace = state.journey.trace_of(&row);
    let status = state.journey.detail_status(state.shown_now());
    let room = area.lines().saturating_sub(usize::from(status.is_some()));
    let mut lines = detail::lines(&row, trace, zero, area.columns(), room, state.journey.is_detailed);
    if let Some(status) = status {
        let mut line = Line::of(Role::Dim, " all attributes: ");
        line.append(status);
        lines.push(line.fit(area.columns()));
    }
    painter.lines(area, &lines);
}

/// No journey: none was asked for, it is under way, or nothing carries the id.
fn absent(state: &State, area: Area, painter: &mut Painter<'_>) {
    let mut lines = Vec::new();
    match &state.journey.id {
        None => {
            lines.push(Line::of(Role::Strong, " one id, everything it reaches"));
            lines.push(Line::new());
            let mut line = Line::of(Role::Accent, " c");
            line.push(Role::Text, "  type an order number, correlation id, trace id or message key");
            lines.push(line);
            if let Some(note) = &state.start_note {
                lines.push(Line::of(Role::Dim, &format!("    {note}")));
            }
        }
        Some(id) => {
            let mut title = Line::of(Role::Strong, &format!(" {id}"));
            title.gap(2);
            if state.journey.pane.failure.is_none() {
                title.append(state.journey.pane.status(state.shown_now()));
            }
            lines.push(title);
            lines.push(Line::new());
            let told = match &state.journey.pane.failure {
                Some(failure) => failure.wrapped(area.columns().saturating_sub(2)),
                None => state.journey.pane.absence(),
            };
            for line in told {
                let mut indented = Line::new();
                indented.gap(1);
                indented.append(line);
                lines.push(indented);
            }
            if state.journey.pane.failure.is_some() {
                lines.push(Line::new());
                let mut keys = Line::of(Role::Accent, " t");
                keys.push(Role::Dim, "  another time range   ");
                keys.push(Role::Accent, "c");
                keys.push(Role::Dim, "  another id   ");
                keys.push(Role::Accent, "r");
                keys.push(Role::Dim, "  again");
                lines.push(keys);
            }
        }
    }
    painter.lines(area, &lines);
}
