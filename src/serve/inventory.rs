//! From the collector's list of agents to the query API's.

use collector::{AgentEntry, AgentState, Agents};
use model::{Clock, UnixNano};
use query_api::{AgentHealth, AgentRow, AgentsAnswer};

/// All agents as they are now.
pub(super) fn answer(agents: &Agents, clock: &dyn Clock) -> AgentsAnswer {
    let mut rows: Vec<AgentRow> = agents.list().into_iter().map(row).collect();
    rows.sort_by(|one, other| (one.state, &one.instance).cmp(&(other.state, &other.instance)));
    AgentsAnswer { time: clock.now(), agents: rows }
}

fn row(entry: AgentEntry) -> AgentRow {
    let beat = entry.beat;
    AgentRow {
        agent_id: beat.agent_id,
        instance: beat.instance,
        state: match entry.state {
            AgentState::Up => AgentHealth::Up,
            AgentState::Late => AgentHealth::Late,
            AgentState::Gone => AgentHealth::Gone,
            AgentState::Flapping => AgentHealth::Flapping,
        },
        version: beat.version,
        config_version: beat.config_version,
        config_error: beat.config_error,
        labels: beat.labels,
        started: UnixNano(beat.start_unix_nano),
        last_seen: entry.last_seen,
        lag_bytes: beat.lag_bytes,
        spool_bytes: beat.spool_bytes,
        sent_records: beat.sent_records,
        dropped_records: beat.dropped_records,
    }
}
