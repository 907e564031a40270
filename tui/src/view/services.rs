//! Screen 1: services worst first, queues and alerts below.

use super::paint::{Area, Painter};
use crate::core::State;
use crate::core::alerts;
use crate::core::layout::Size;
use crate::core::line::{Line, Role};
use crate::core::services::{self, Block, Columns};

/// Draws the screen.
pub(crate) fn draw(state: &State, area: Area, painter: &mut Painter<'_>) {
    let (title, rest) = area.split_top(1);
    painter.line(title, 0, &title_line(state, title.columns()));
    let Some(answer) = &state.services.pane.answer else {
        let (_, rest) = rest.split_top(1);
        let lines: Vec<Line> = state.services.pane.absence().into_iter().map(indented).collect();
        painter.lines(rest, &lines);
        return;
    };
    let below = below_height(state, answer, rest);
    let table_lines = 1 + answer.services.len().max(2) as u16;
    let (table, rest) = rest.split_top(table_lines.min(rest.height.saturating_sub(below)));
    let (below, _) = rest.split_top(below);
    draw_table(state, table, painter);
    if below.height > 0 {
        painter.rule(below, 0);
        let (_, below) = below.split_top(1);
        draw_below(state, below, painter);
    }
}

fn indented(line: Line) -> Line {
    let mut out = Line::new();
    out.gap(1);
    out.append(line);
    out
}

fn title_line(state: &State, width: usize) -> Line {
    let now = state.shown_now();
    let mut line = Line::new();
    line.gap(1);
    if let Some(answer) = &state.services.pane.answer {
        line.push(Role::Strong, &crate::core::format::plural(answer.services.len(), "service"));
        line.push(Role::Dim, ", worst first · ");
        line.append(services::totals(answer));
    } else {
        line.push(Role::Strong, "services");
    }
    // Without an answer the failure has the whole pane.
    let is_absent = state.services.pane.answer.is_none() && state.services.pane.failure.is_some();
    let mut right = if is_absent { Line::new() } else { state.services.pane.status(now) };
    right.gap(1);
    line.with_right(right, width)
}

/// Lines for queues and alerts, the rule included; none when the table needs them all.
fn below_height(state: &State, answer: &query_api::ServicesAnswer, area: Area) -> u16 {
    let alerts = state.alerts.pane.answer.as_ref().map_or(0, |answer| alerts::active(answer).len());
    let is_beside = area.width >= 100;
    let (queues, alerts) = (answer.queues.len().max(1) as u16, alerts.max(1) as u16);
    let size = Size { width: area.width, height: area.height };
    if size.height < 10 || area.width < 60 {
        // Low and narrow terminals keep the table; alerts are counted in the header.
        return if state.services.block == Block::Services { 0 } else { area.height };
    }
    let wanted = if is_beside { 2 + queues.max(alerts) } else { 3 + queues + alerts };
    let table = 1 + answer.services.len() as u16;
    wanted.min(area.height.saturating_sub(table.min(area.height / 2))).max(3)
}

fn draw_table(state: &State, area: Area, painter: &mut Painter<'_>) {
    let Some(answer) = &state.services.pane.answer else { return };
    let columns = Columns::new(&answer.services, area.columns());
    let (heading, rows) = area.split_top(1);
    painter.line(heading, 0, &columns.heading(&state.range.label()));
    if answer.services.is_empty() {
        painter.lines(rows, &empty(state));
        return;
    }
    let has_keys = state.services.block == Block::Services;
    painter.list(rows, &answer.services, (state.services.service, has_keys), |service| {
        columns.service(service, state.shown_now())
    });
}

fn empty(state: &State) -> [Line; 2] {
    [
        Line::of(Role::Text, &format!(" no spans {}", state.range.within())),
        Line::of(Role::Dim, " t widens the range · services send OTLP to port 4317 (gRPC) or 4318 (HTTP)"),
    ]
}

fn draw_below(state: &State, area: Area, painter: &mut Painter<'_>) {
    let queues = state.services.pane.answer.as_ref().map_or(0, |answer| answer.queues.len());
    if area.width >= 100 {
        let (left, right) = area.split_left(area.width / 2 + 2);
        painter.bar(right);
        let (_, right) = right.split_left(1);
        draw_queues(state, left, painter);
        draw_alerts(state, right, painter);
    } else {
        let alerts = state.alerts.pane.answer.as_ref().map_or(0, |answer| alerts::active(answer).len());
        // Both keep at least their heading and one row.
        let for_alerts = (1 + alerts.max(1) as u16).min(area.height.saturating_sub(2).max(area.height / 2));
        let wanted =
            (1 + queues.max(1) as u16).min(area.height.saturating_sub(for_alerts.min(area.height / 2)));
        let (top, bottom) = area.split_top(wanted);
        draw_queues(state, top, painter);
        draw_alerts(state, bottom, painter);
    }
}

fn draw_queues(state: &State, area: Area, painter: &mut Painter<'_>) {
    let Some(answer) = &state.services.pane.answer else { return };
    let width = area.columns().saturating_sub(1);
    painter.line(area, 0, &services::queue_heading(width));
    let (_, rows) = area.split_top(1);
    if answer.queues.is_empty() {
        painter.line(rows, 0, &Line::of(Role::Dim, " no messages in this range"));
    }
    let has_keys = state.services.block == Block::Queues;
    painter
        .list(rows, &answer.queues, (state.services.queue, has_keys), |queue| services::queue(queue, width));
}

fn draw_alerts(state: &State, area: Area, painter: &mut Painter<'_>) {
    let mut heading = Line::new();
    heading.gap(1);
    heading.push(Role::Dim, "alerts");
    heading.pad_to(area.columns().saturating_sub(16));
    heading.cell_right(Role::Dim, "since", 8);
    heading.cell_right(Role::Dim, "value", 8);
    painter.line(area, 0, &heading);
    let (_, rows) = area.split_top(1);
    let Some(answer) = &state.alerts.pane.answer else {
        let mut status = Line::new();
        status.gap(1);
        status.append(state.alerts.pane.status(state.shown_now()));
        painter.line(rows, 0, &status);
        return;
    };
    let active = alerts::active(answer);
    if active.is_empty() {
        let text = format!(" none of {} fires", crate::core::format::plural(answer.rules.len(), "rule"));
        painter.line(rows, 0, &Line::of(Role::Dim, &text));
    }
    let has_keys = state.services.block == Block::Alerts;
    painter.list(rows, &active, (state.services.alert, has_keys), |alert| {
        alerts::short_line(alert, state.shown_now(), area.columns())
    });
}
