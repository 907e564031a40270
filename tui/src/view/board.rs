//! Screen 8: a board. Panels stand side by side while each has room, else below each other.

use super::paint::{Area, Painter};
use crate::core::State;
use crate::core::board::{self, panel};
use crate::core::layout::Tier;
use crate::core::line::{Line, Role};

/// Panels narrower than this go below each other.
const PANEL_MIN: u16 = 18;

/// Draws the screen.
pub(crate) fn draw(state: &State, area: Area, painter: &mut Painter<'_>) {
    let (title, rest) = area.split_top(1);
    painter.line(title, 0, &title_line(state, title.columns()));
    let Some(found) = &state.board.pane.answer else {
        let mut lines = vec![Line::new()];
        for line in state.board.pane.absence() {
            let mut indented = Line::new();
            indented.gap(1);
            indented.append(line);
            lines.push(indented);
        }
        painter.lines(rest, &lines);
        return;
    };
    if state.board.is_maximised {
        draw_panel(state, state.board.focus, rest, painter);
        return;
    }
    // Tiers of a low terminal say XS; rows are hidden for width alone.
    let shown = board::shown(found, width_tier(area.width));
    let mut rest = rest;
    for (index, (row, height)) in board::heights(found, &shown, state.board.focus, rest.height).into_iter().enumerate() {
        if index > 0 && rest.height > 0 {
            painter.rule(rest, 0);
        }
        let (lines, below) = rest.split_top(height);
        let inner = if index > 0 { lines.split_top(1).1 } else { lines };
        draw_row(state, &shown[row].1, inner, painter);
        rest = below;
    }
}

fn width_tier(width: u16) -> Tier {
    crate::core::layout::Size { width, height: u16::MAX }.tier()
}

fn title_line(state: &State, width: usize) -> Line {
    let mut line = Line::new();
    line.gap(1);
    match &state.board.pane.answer {
        Some(board) => {
            line.push(Role::Strong, &board.title);
            line.push(Role::Dim, &format!("  {}.toml · every {}", state.board.name, board.refresh));
        }
        None => line.push(Role::Strong, &format!("board {}", state.board.name)),
    }
    let mut right = Line::new();
    if let Some(panel) = state.board.panels.get(state.board.focus) {
        right.append(panel.status(state.shown_now()));
    }
    right.gap(1);
    line.with_right(right, width)
}

fn draw_row(state: &State, panels: &[usize], area: Area, painter: &mut Painter<'_>) {
    let weight = |panel: &usize| state.board.panel(*panel).map_or(1, |panel| u32::from(panel.weight));
    let total: u32 = panels.iter().map(weight).sum::<u32>().max(1);
    let is_narrow = panels.iter().any(|panel| u32::from(area.width) * weight(panel) / total < u32::from(PANEL_MIN));
    if is_narrow && panels.len() > 1 {
        draw_stacked(state, panels, area, painter);
        return;
    }
    let mut rest = area;
    let mut weight_left = total;
    for (index, panel) in panels.iter().enumerate() {
        let width = u32::from(rest.width) * weight(panel) / weight_left.max(1);
        weight_left -= weight(panel);
        let (mut part, right) = rest.split_left(u16::try_from(width).unwrap_or(rest.width));
        if index > 0 {
            painter.bar(part);
            part = part.split_left(1).1;
        }
        draw_panel(state, *panel, part, painter);
        rest = right;
    }
}

/// Panels without room beside each other share the lines; the focused one is always among them.
fn draw_stacked(state: &State, panels: &[usize], area: Area, painter: &mut Painter<'_>) {
    let fitting = (area.lines() / 2).clamp(1, panels.len());
    let focused = panels.iter().position(|panel| *panel == state.board.focus).unwrap_or(0);
    let first = (focused + 1).saturating_sub(fitting);
    let mut rest = area;
    for (index, panel) in panels.iter().skip(first).take(fitting).enumerate() {
        let (part, below) = rest.split_top(rest.height / (fitting - index) as u16);
        draw_panel(state, *panel, part, painter);
        rest = below;
    }
}

fn draw_panel(state: &State, index: usize, area: Area, painter: &mut Painter<'_>) {
    let Some(spec) = state.board.panel(index) else { return };
    let is_focused = index == state.board.focus;
    let mut title = Line::new();
    title.push(Role::Accent, if is_focused { "▸" } else { " " });
    title.push(if is_focused { Role::Strong } else { Role::Dim }, &spec.title);
    if let Some(unit) = spec.unit.as_deref().filter(|unit| *unit != "short") {
        title.push(Role::Dim, &format!("  {unit}"));
    }
    painter.line(area, 0, &title.fit(area.columns()));
    let inner = area.split_top(1).1;
    let inner = if inner.width > 8 { inner.split_left(1).1 } else { inner };
    let Some(pane) = state.board.panels.get(index) else { return };
    let room = panel::Room {
        width: inner.columns().saturating_sub(1),
        height: inner.lines(),
        range: state.shown_range(),
        scroll: if is_focused { state.board.scroll } else { 0 },
    };
    let lines = match (&pane.answer, &pane.failure) {
        (Some(answer), _) => panel::lines(spec, answer, room),
        (None, Some(failure)) => failure.lines(),
        (None, None) => vec![Line::of(Role::Dim, "…")],
    };
    painter.lines(inner, &lines.into_iter().map(|line| line.fit(inner.columns())).collect::<Vec<_>>());
}
