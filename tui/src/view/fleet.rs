//! Screen 9: agents with everything about the selected one, and the instances of services.

use super::paint::{Area, Painter};
use crate::core::State;
use crate::core::fleet::{self, Block, FleetAnswer};
use crate::core::line::{Line, Role};

/// Draws the screen.
pub(crate) fn draw(state: &State, area: Area, painter: &mut Painter<'_>) {
    let pane = &state.fleet.pane;
    let (title, rest) = area.split_top(1);
    let mut line = Line::new();
    line.gap(1);
    match &pane.answer {
        Some(answer) => line.append(fleet::summary(answer)),
        None => line.push(Role::Strong, "fleet"),
    }
    let is_absent = pane.answer.is_none() && pane.failure.is_some();
    let mut status = if is_absent { Line::new() } else { pane.status(state.shown_now()) };
    status.gap(1);
    painter.line(title, 0, &line.with_right(status, title.columns()));
    let Some(answer) = &pane.answer else {
        painter.absence(rest, pane.absence());
        return;
    };
    let (agents, instances) = split(state, answer, rest);
    draw_agents(state, answer, agents, painter);
    if instances.height > 1 {
        painter.rule(instances, 0);
        draw_instances(state, answer, instances.split_top(1).1, painter);
    }
}

/// Room for agents and for instances: each what it needs, half for each when both want more; low terminals show the
/// block that keys go to.
fn split(state: &State, answer: &FleetAnswer, area: Area) -> (Area, Area) {
    if area.height < 10 {
        let agents = if state.fleet.block == Block::Agents { area.height } else { 0 };
        return area.split_top(agents);
    }
    let detail = state.fleet.agent().map_or(0, |agent| fleet::detail(agent, area.columns()).len());
    let agents = (1 + answer.agents.agents.len().max(2) + detail) as u16;
    let instances = (2 + fleet::rows(&answer.inventory).len().max(1)) as u16;
    let room = area.height.saturating_sub(instances.min(area.height / 2));
    area.split_top(agents.min(room))
}

fn draw_agents(state: &State, answer: &FleetAnswer, area: Area, painter: &mut Painter<'_>) {
    let (heading, rest) = area.split_top(1);
    painter.line(heading, 0, &fleet::agent_heading(heading.columns()));
    if answer.agents.agents.is_empty() {
        painter.line(rest, 0, &Line::of(Role::Text, " no agent was heard of"));
        let hint =
            " start one beside your services: `silmari-agent run`, its [collector] endpoint this server";
        painter.line(rest, 1, &Line::of(Role::Dim, hint));
        return;
    }
    let detail = state.fleet.agent().map(|agent| fleet::detail(agent, area.columns())).unwrap_or_default();
    // Where agents leave room, and half of it at most where they do not.
    let room = rest.height.saturating_sub(answer.agents.agents.len() as u16);
    let room = if rest.height > 6 { room.max(rest.height / 2) } else { room };
    let below = (detail.len() as u16).min(room);
    let (list, below) = rest.split_top(rest.height.saturating_sub(below));
    let agents = &answer.agents.agents;
    let has_keys = state.fleet.block == Block::Agents;
    painter.list(list, agents, (state.fleet.agent, has_keys), |agent| {
        fleet::agent(agent, state.shown_now(), list.columns())
    });
    painter.lines(below, &detail);
}

fn draw_instances(state: &State, answer: &FleetAnswer, area: Area, painter: &mut Painter<'_>) {
    let (heading, list) = area.split_top(1);
    painter.line(heading, 0, &fleet::instance_heading(heading.columns()));
    let rows = fleet::rows(&answer.inventory);
    if rows.is_empty() {
        painter.line(list, 0, &Line::of(Role::Dim, " no telemetry was received yet"));
    }
    let has_keys = state.fleet.block == Block::Instances;
    painter.list(list, &rows, (state.fleet.instance, has_keys), |row| {
        fleet::instance(row, state.shown_now(), list.columns())
    });
}
