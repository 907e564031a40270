//! Screen 8: a board. Panels stand side by side while each has room, else below each other.

use super::paint::{Area, Painter};
use crate::core::State;
use crate::core::board::{self, panel};
use crate::core::layout::Tier;
use crate::core::line::{Line, Role};
use dashboards::board::PanelKind;

/// Draws the screen.
pub(crate) fn draw(state: &State, area: Area, painter: &mut Painter<'_>) {
    let (title, rest) = area.split_top(1);
    painter.line(title, 0, &title_line(state, title.columns()));
    let Some(found) = &state.board.pane.answer else {
        painter.absence(rest, state.board.pane.absence());
        return;
    };
    if state.board.is_maximised {
        draw_panel(state, state.board.focus, rest, painter);
        return;
    }
    // Tiers of a low terminal say XS; rows are hidden for width alone.
    let shown = board::shown(found, width_tier(area.width));
    let mut rest = rest;
    let heights = board::heights(found, &shown, state.board.focus, rest.width, rest.height);
    for (index, (row, height)) in heights.into_iter().enumerate() {
        if index > 0 {
            painter.rule(rest, 0);
            rest = rest.split_top(1).1;
        }
        let (lines, below) = rest.split_top(height);
        let (row, panels) = &shown[row];
        if board::is_stacked(&found.rows[*row], rest.width) {
            draw_stacked(state, panels, lines, painter);
        } else {
            draw_row(state, panels, lines, painter);
        }
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
            let source = match state.offline {
                // It is the one of the case, whatever it was asked for as, and nothing renews it.
                Some(_) => "  from the case".to_owned(),
                None => format!("  {}.toml · every {}", state.board.name, board.refresh),
            };
            line.push(Role::Dim, &source);
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

/// Panels without room beside each other; a stat takes one line. Those that do not fit are reached by
/// the focus: what is above it scrolls away.
fn draw_stacked(state: &State, panels: &[usize], area: Area, painter: &mut Painter<'_>) {
    let lines = |panel: &usize| state.board.panel(*panel).map_or(0, board::stacked_lines);
    let focused = panels.iter().position(|panel| *panel == state.board.focus).unwrap_or(0);
    let mut first = 0;
    while first < focused && panels[first..=focused].iter().map(lines).sum::<u16>() > area.height {
        first += 1;
    }
    let mut rest = area;
    for panel in &panels[first..] {
        let (part, below) = rest.split_top(lines(panel));
        match state.board.panel(*panel) {
            Some(spec) if spec.kind == PanelKind::Stat => draw_stat_line(state, *panel, part, painter),
            _ => draw_panel(state, *panel, part, painter),
        }
        rest = below;
    }
}

/// Title, value and history of a stat on one line.
fn draw_stat_line(state: &State, index: usize, area: Area, painter: &mut Painter<'_>) {
    let Some(spec) = state.board.panel(index) else { return };
    let is_focused = index == state.board.focus;
    let title_width = 14.min(area.width / 2);
    let (left, right) = area.split_left(title_width);
    let mut title = Line::of(Role::Accent, if is_focused { "▸" } else { " " });
    title.push(if is_focused { Role::Strong } else { Role::Text }, &spec.title);
    painter.line(left, 0, &title.fit(usize::from(title_width)));
    painter.lines(right, &panel_lines(state, index, right.columns().saturating_sub(1), right.lines()));
}

/// The lines of a panel's answer, or why there is none.
fn panel_lines(state: &State, index: usize, width: usize, height: usize) -> Vec<Line> {
    let (Some(spec), Some(pane)) = (state.board.panel(index), state.board.panels.get(index)) else {
        return Vec::new();
    };
    let scroll = if index == state.board.focus { state.board.scroll } else { 0 };
    let lines = match (&pane.answer, &pane.failure) {
        (Some(answer), _) => {
            panel::lines(spec, answer, panel::Room { width, height, range: state.shown_range(), scroll })
        }
        (None, Some(failure)) => failure.lines(),
        (None, None) => vec![Line::of(Role::Dim, "…")],
    };
    lines.into_iter().map(|line| line.fit(width)).collect()
}

fn draw_panel(state: &State, index: usize, area: Area, painter: &mut Painter<'_>) {
    let Some(spec) = state.board.panel(index) else { return };
    let is_focused = index == state.board.focus;
    let mut title = Line::new();
    title.push(Role::Accent, if is_focused { "▸" } else { " " });
    title.push(if is_focused { Role::Strong } else { Role::Text }, &spec.title);
    painter.line(area, 0, &title.fit(area.columns()));
    let inner = area.split_top(1).1;
    let inner = if inner.width > 8 { inner.split_left(1).1 } else { inner };
    let width = inner.columns().saturating_sub(1).max(1);
    painter.lines(inner, &panel_lines(state, index, width, inner.lines()));
}
