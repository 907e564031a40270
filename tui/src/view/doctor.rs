//! Screen 0: what stands in the way of following an id, worst first, all of the selected finding, and how well each
//! service can be followed.

use query_api::doctor::DoctorAnswer;

use super::paint::{Area, Painter};
use crate::core::State;
use crate::core::doctor;
use crate::core::line::{Line, Role};

/// Draws the screen.
pub(crate) fn draw(state: &State, area: Area, painter: &mut Painter<'_>) {
    let pane = &state.doctor.pane;
    let (title, rest) = area.split_top(1);
    let mut line = Line::new();
    line.gap(1);
    match &pane.answer {
        Some(answer) => line.append(doctor::summary(answer)),
        None => line.push(Role::Strong, "doctor"),
    }
    let is_absent = pane.answer.is_none() && pane.failure.is_some();
    let mut status = if is_absent { Line::new() } else { pane.status(state.shown_now()) };
    status.gap(1);
    painter.line(title, 0, &line.with_right(status, title.columns()));
    let Some(answer) = &pane.answer else {
        painter.absence(rest, pane.absence());
        return;
    };
    let (findings, services) = split(state, answer, rest);
    draw_findings(state, answer, findings, painter);
    if services.height > 1 {
        painter.rule(services, 0);
        draw_services(answer, services.split_top(1).1, painter);
    }
}

/// Findings and the details of one have what they need, services the rest, and a third of it at least where there is
/// room for both.
fn split(state: &State, answer: &DoctorAnswer, area: Area) -> (Area, Area) {
    if area.height < 10 {
        return area.split_top(area.height);
    }
    let detail =
        state.doctor.finding().map_or(0, |finding| doctor::detail(finding, area.columns()).len() + 1);
    let wanted = (answer.findings.len().max(2) + detail + cuts(answer).len()) as u16;
    let services = (2 + answer.services.len()) as u16;
    let room = area.height.saturating_sub(services.min(area.height / 3));
    area.split_top(wanted.min(room))
}

fn cuts(answer: &DoctorAnswer) -> Vec<Line> {
    let cut = |cut: &query_api::Cut| Line::of(Role::Warn, &format!(" cut: {}", cut.what));
    answer.cuts.iter().take(2).map(cut).collect()
}

fn draw_findings(state: &State, answer: &DoctorAnswer, area: Area, painter: &mut Painter<'_>) {
    let cuts = cuts(answer);
    let (cut_area, area) = area.split_top(cuts.len() as u16);
    painter.lines(cut_area, &cuts);
    if answer.findings.is_empty() {
        let text = match answer.services.is_empty() {
            true => " no spans and no log records in this time",
            false => " nothing was found: every call, message and log record can be followed",
        };
        painter.line(area, 1, &Line::of(Role::Text, text));
        return;
    }
    let detail = state.doctor.finding().map(|finding| doctor::detail(finding, area.columns()));
    let detail = detail.unwrap_or_default();
    // What the list leaves, half of it at least; low terminals show the list alone.
    let left = area.height.saturating_sub(answer.findings.len() as u16).max(area.height / 2);
    let below = if area.height < 6 { 0 } else { (detail.len() as u16 + 1).min(left) };
    let (list, below) = area.split_bottom(below);
    painter.list(list, &answer.findings, (state.doctor.selected, true), |finding| {
        doctor::finding(finding, list.columns())
    });
    if below.height > 1 {
        painter.rule(below, 0);
        painter.lines(below.split_top(1).1, &detail);
    }
}

fn draw_services(answer: &DoctorAnswer, area: Area, painter: &mut Painter<'_>) {
    let (heading, rest) = area.split_top(1);
    painter.line(heading, 0, &doctor::service_heading(heading.columns()));
    for (row, service) in answer.services.iter().take(rest.lines()).enumerate() {
        painter.line(rest, row, &doctor::service(service, rest.columns()));
    }
}
