//! Agents and the instances of services: who is up, late, gone, flapping, and why an agent is not as it should be.
//!
//! ```text
//!  state       agent          seen      lag    spool  dropped  pushed
//!  ✖ gone      web-1            5m        —        —        —  v3
//!  ok          web-2            3s      0 B      0 B        0  v3 → v4
//!  ── state    service / instance       host      seen  sends
//!  ok          billing  2 instances
//!    ✖ gone    billing-7f3a             web-1       9m  traces logs
//! ```

use model::UnixNano;
use query_api::{AgentHealth, AgentRow, AgentsAnswer, InventoryAnswer, InventoryInstance};

use super::line::{Line, Role, wrap};
use super::pane::Pane;
use super::{format, list};

/// What the screen shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FleetAnswer {
    /// Agents.
    pub(crate) agents: AgentsAnswer,
    /// Services and their instances.
    pub(crate) inventory: InventoryAnswer,
}

/// The blocks of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Block {
    /// Agents.
    #[default]
    Agents,
    /// Services and their instances.
    Instances,
}

/// State of the screen.
#[derive(Clone, Debug, Default)]
pub(crate) struct FleetScreen {
    /// What is known.
    pub(crate) pane: Pane<FleetAnswer>,
    /// The block that keys go to.
    pub(crate) block: Block,
    /// The selected agent.
    pub(crate) agent: usize,
    /// The selected row of services and instances.
    pub(crate) instance: usize,
}

/// A row of the lower block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Row<'a> {
    /// A service, its state, and how many instances it has.
    Service(&'a str, AgentHealth, usize),
    /// One of its instances.
    Instance(&'a str, &'a InventoryInstance),
}

impl Row<'_> {
    /// The service it is about.
    pub(crate) fn service(&self) -> &str {
        match self {
            Self::Service(service, ..) | Self::Instance(service, _) => service,
        }
    }
}

/// Services, the graver states first, each with its instances.
pub(crate) fn rows(answer: &InventoryAnswer) -> Vec<Row<'_>> {
    let mut services: Vec<_> = answer.services.iter().collect();
    services.sort_by_key(|service| service.state);
    let rows = services.into_iter().flat_map(|service| {
        let name = service.service.as_str();
        let head = Row::Service(name, service.state, service.instances.len());
        let instances = service.instances.iter().map(move |instance| Row::Instance(name, instance));
        std::iter::once(head).chain(instances)
    });
    rows.collect()
}

impl FleetScreen {
    /// Takes an answer; the selection stays with its agent though the order changes.
    pub(crate) fn take(&mut self, answer: FleetAnswer, now: UnixNano) {
        let selected = self.agent().map(|agent| agent.agent_id.clone());
        let found = answer.agents.agents.iter().position(|agent| Some(&agent.agent_id) == selected.as_ref());
        self.agent = found.unwrap_or(self.agent).min(answer.agents.agents.len().saturating_sub(1));
        self.instance = self.instance.min(rows(&answer.inventory).len().saturating_sub(1));
        self.pane.succeed(answer, now);
    }

    /// The selected agent.
    pub(crate) fn agent(&self) -> Option<&AgentRow> {
        self.pane.answer.as_ref()?.agents.agents.get(self.agent)
    }

    /// The service of the selected row.
    pub(crate) fn service(&self) -> Option<String> {
        let rows = rows(&self.pane.answer.as_ref()?.inventory);
        rows.get(self.instance).map(|row| row.service().to_owned())
    }

    /// The other block.
    pub(crate) fn next_block(&mut self) {
        self.block = match self.block {
            Block::Agents => Block::Instances,
            Block::Instances => Block::Agents,
        };
    }

    /// Moves the selection of the block.
    pub(crate) fn move_by(&mut self, steps: isize) {
        let Some(answer) = &self.pane.answer else { return };
        match self.block {
            Block::Agents => self.agent = list::moved(self.agent, steps, answer.agents.agents.len()),
            Block::Instances => {
                self.instance = list::moved(self.instance, steps, rows(&answer.inventory).len());
            }
        }
    }

    /// Moves to the next agent, or row, that is not up, around the end.
    pub(crate) fn move_to_trouble(&mut self, is_forward: bool) -> bool {
        let Some(answer) = &self.pane.answer else { return false };
        let agents: Vec<AgentHealth> = answer.agents.agents.iter().map(|agent| agent.state).collect();
        let instances = rows(&answer.inventory).into_iter().map(|row| match row {
            Row::Service(_, state, _) => state,
            Row::Instance(_, instance) => instance.state,
        });
        let (states, selected) = match self.block {
            Block::Agents => (agents, &mut self.agent),
            Block::Instances => (instances.collect(), &mut self.instance),
        };
        let ill = (0..).zip(states).filter(|(_, state)| *state != AgentHealth::Up).map(|(index, _)| index);
        let next = list::next_of(&ill.collect::<Vec<usize>>(), *selected, is_forward);
        *selected = next.unwrap_or(*selected);
        next.is_some()
    }
}

/// Glyph, word and role of a state.
pub(crate) fn state(health: AgentHealth) -> (&'static str, Role) {
    match health {
        AgentHealth::Up => ("ok", Role::Ok),
        AgentHealth::Late => ("! late", Role::Warn),
        AgentHealth::Flapping => ("! flapping", Role::Warn),
        AgentHealth::Gone => ("✖ gone", Role::Bad),
    }
}

const STATE: usize = 11;
const SEEN: usize = 6;
const BYTES: usize = 9;
const PUSHED: usize = 12;

/// How many there are of each state, in words.
pub(crate) fn summary(answer: &FleetAnswer) -> Line {
    let agents = answer.agents.agents.iter().map(|agent| agent.state);
    let instances = answer.inventory.services.iter().flat_map(|service| &service.instances);
    let mut line = Line::new();
    line.append(counts("agent", agents.collect()));
    line.push(Role::Dim, " · ");
    line.push(Role::Strong, &format::plural(answer.inventory.services.len(), "service"));
    line.push(Role::Dim, ", ");
    line.append(counts("instance", instances.map(|instance| instance.state).collect()));
    line
}

fn counts(word: &str, states: Vec<AgentHealth>) -> Line {
    let mut line = Line::of(Role::Strong, &format::plural(states.len(), word));
    for health in [AgentHealth::Gone, AgentHealth::Late, AgentHealth::Flapping] {
        let count = states.iter().filter(|state| **state == health).count();
        if count > 0 {
            line.push(Role::Dim, ", ");
            line.push(state(health).1, &format!("{count} {}", health.name()));
        }
    }
    line
}

/// The headings above the agents.
pub(crate) fn agent_heading(width: usize) -> Line {
    let mut line = Line::new();
    line.gap(1);
    line.cell(Role::Dim, "state", STATE);
    line.cell(Role::Dim, "agent", name_width(width));
    line.cell_right(Role::Dim, "seen", SEEN);
    for (name, columns) in agent_columns(width) {
        line.cell_right(Role::Dim, name, *columns);
    }
    line.gap(2);
    line.push(Role::Dim, "pushed");
    line.fit(width)
}

/// Columns between `seen` and `pushed`, as far as there is room.
fn agent_columns(width: usize) -> &'static [(&'static str, usize)] {
    let all = &[("lag", BYTES), ("spool", BYTES), ("dropped", BYTES), ("sent", BYTES + 3)];
    match width {
        0..60 => &[],
        60..80 => &all[..1],
        80..96 => &all[..3],
        _ => all,
    }
}

fn name_width(width: usize) -> usize {
    let taken = 1 + STATE + SEEN + agent_columns(width).iter().map(|(_, columns)| columns).sum::<usize>();
    width.saturating_sub(taken + 2 + PUSHED).clamp(8, 40)
}

/// One agent.
pub(crate) fn agent(row: &AgentRow, now: UnixNano, width: usize) -> Line {
    let (word, role) = state(row.state);
    let mut line = Line::new();
    line.gap(1);
    line.cell(role, word, STATE);
    line.cell(Role::Strong, &row.instance, name_width(width));
    line.cell_right(Role::Text, &format::elapsed_coarse(now.since(row.last_seen)), SEEN);
    for (name, columns) in agent_columns(width) {
        let (value, text) = match *name {
            "lag" => (row.lag_bytes, bytes(row.lag_bytes)),
            "spool" => (row.spool_bytes, bytes(row.spool_bytes)),
            "dropped" => (row.dropped_records, format::count(row.dropped_records)),
            _ => (0, format::count(row.sent_records)),
        };
        let role = if value > 0 { Role::Text } else { Role::Dim };
        line.cell_right(role, &text, *columns);
    }
    line.gap(2);
    let (text, role) = pushed(row);
    line.push(role, &text);
    line.fit(width)
}

fn bytes(value: u64) -> String {
    format::with_unit(value as f64, Some("bytes"))
}

/// Where an agent stands with what its collector hands out.
fn pushed(row: &AgentRow) -> (String, Role) {
    let name = |version: u64| if version == 0 { "own".to_owned() } else { format!("v{version}") };
    let has_refused = row.refused_version > row.pushed_version;
    let text = match row {
        AgentRow { accepts_configuration: false, .. } => return ("—".to_owned(), Role::Dim),
        AgentRow { is_trial: true, .. } => {
            return (format!("{} trial", name(row.pushed_version)), Role::Accent);
        }
        AgentRow { target_version, pushed_version, .. }
            if target_version != pushed_version && !has_refused =>
        {
            format!("{} → {}", name(*pushed_version), name(*target_version))
        }
        _ => name(row.pushed_version),
    };
    if has_refused {
        return (format!("{text} not v{}", row.refused_version), Role::Bad);
    }
    (text, Role::Text)
}

/// Everything about one agent, a line each.
pub(crate) fn detail(row: &AgentRow, width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut say = |role: Role, text: String| {
        let wrapped = wrap(&text, width.saturating_sub(2), 3);
        lines.extend(wrapped.iter().map(|text| Line::of(role, &format!(" {text}"))));
    };
    let labels = row.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ");
    let version = &row.version;
    say(
        Role::Text,
        format!("{}  version {version}  configuration {}  {labels}", row.agent_id, row.config_version),
    );
    if !row.dropped.is_empty() {
        let dropped = row.dropped.iter().map(|(reason, count)| format!("{reason} {}", format::count(*count)));
        say(Role::Text, format!("dropped: {}", dropped.collect::<Vec<_>>().join(", ")));
    }
    if let Some(error) = &row.config_error {
        say(Role::Bad, format!("its own newer files are not used: {error}"));
    }
    if let (Some(error), 1..) = (&row.refused_error, row.refused_version) {
        say(Role::Bad, format!("gave up version {}: {error}", row.refused_version));
    }
    lines
}

/// The headings above services and instances.
pub(crate) fn instance_heading(width: usize) -> Line {
    let mut line = Line::new();
    line.gap(1);
    line.cell(Role::Dim, "state", STATE + 2);
    line.cell(Role::Dim, "service / instance", instance_width(width));
    line.cell(Role::Dim, "host", host_width(width));
    line.cell_right(Role::Dim, "seen", SEEN);
    line.gap(2);
    line.push(Role::Dim, "sends");
    line.fit(width)
}

fn host_width(width: usize) -> usize {
    if width >= 80 { 18 } else { 0 }
}

fn instance_width(width: usize) -> usize {
    width.saturating_sub(1 + STATE + 2 + host_width(width) + SEEN + 2 + 19).clamp(8, 44)
}

/// One service or instance.
pub(crate) fn instance(row: &Row<'_>, now: UnixNano, width: usize) -> Line {
    let mut line = Line::new();
    match row {
        Row::Service(name, health, count) => {
            let (word, role) = state(*health);
            line.gap(1);
            line.cell(role, word, STATE + 2);
            line.push(Role::Strong, name);
            line.push(Role::Dim, &format!("  {}", format::plural(*count, "instance")));
        }
        Row::Instance(_, found) => {
            let (word, role) = state(found.state);
            let name = if found.instance.is_empty() { "(no id)" } else { &found.instance };
            line.gap(3);
            line.cell(role, word, STATE);
            line.cell(Role::Text, name, instance_width(width));
            line.cell(Role::Dim, &found.host, host_width(width));
            line.cell_right(Role::Text, &format::elapsed_coarse(now.since(found.last_seen)), SEEN);
            line.gap(2);
            let signals: Vec<&str> = found.signals.iter().map(|signal| signal.name()).collect();
            line.push(Role::Dim, &signals.join(" "));
        }
    }
    line.fit(width)
}
