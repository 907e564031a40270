//! Screen 7: alerts, worst first, and everything about the selected one.

use super::paint::{Area, Painter};
use crate::core::State;
use crate::core::alerts;
use crate::core::line::{Line, Role};

/// Draws the screen.
pub(crate) fn draw(state: &State, area: Area, painter: &mut Painter<'_>) {
    let now = state.shown_now();
    let (title, rest) = area.split_top(1);
    let mut line = Line::new();
    line.gap(1);
    match &state.alerts.pane.answer {
        Some(answer) => line.append(alerts::summary(answer, now)),
        None => line.push(Role::Strong, "alerts"),
    }
    let is_absent = state.alerts.pane.answer.is_none() && state.alerts.pane.failure.is_some();
    let mut status = if is_absent { Line::new() } else { state.alerts.pane.status(now) };
    status.gap(1);
    painter.line(title, 0, &line.with_right(status, title.columns()));
    let Some(answer) = &state.alerts.pane.answer else {
        painter.absence(rest, state.alerts.pane.absence());
        return;
    };
    let errors: Vec<Line> =
        answer.file_errors.iter().take(3).map(|error| Line::of(Role::Bad, &format!(" ✖ {error}"))).collect();
    let (errors_area, rest) = rest.split_top(errors.len() as u16);
    painter.lines(errors_area, &errors);
    draw_list(state, rest, painter);
}

fn draw_list(state: &State, area: Area, painter: &mut Painter<'_>) {
    let Some(answer) = &state.alerts.pane.answer else { return };
    let now = state.shown_now();
    let rows = alerts::rows(answer);
    if rows.is_empty() {
        painter.line(area, 1, &Line::of(Role::Text, " no rules are loaded"));
        let hint = match state.offline {
            Some(_) => " the server had none when the case was made",
            None => " rules are YAML files in Prometheus' format, read from the server's rules folder",
        };
        painter.line(area, 2, &Line::of(Role::Dim, hint));
        return;
    }
    let detail: Vec<Line> =
        state.alerts.row().map(|row| alerts::detail(&row, now, area.columns())).unwrap_or_default();
    // The list has what it needs, the details what is left; half of it when both want more.
    let wanted = if area.height < 10 { 0 } else { detail.len() as u16 + 1 };
    let list_lines = (1 + rows.len() as u16).min(area.height.saturating_sub(wanted.min(area.height / 2)));
    let (list, rest) = area.split_top(list_lines);
    let (below, _) = rest.split_top(wanted);
    let (heading, list) = list.split_top(1);
    painter.line(heading, 0, &alerts::heading(heading.columns()));
    painter
        .list(list, &rows, (state.alerts.selected, true), |alert| alerts::line(alert, now, list.columns()));
    if below.height > 0 {
        painter.rule(below, 0);
        painter.lines(below.split_top(1).1, &detail);
    }
}
