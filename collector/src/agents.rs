//! The inventory of agents: who sends signs of life, how they do, who fell silent.
//!
//! Owns: the list and the states. Does not own: what agents send (`receiver`), how a list is shown
//! (`query::http`). The list is of this process: after a restart of the server every agent is back within
//! one heartbeat, and one that never comes back is forgotten.
//!
//! ```text
//! beat ─► up ── silent 30 s ─► late ── silent 2 min, or said goodbye ─► gone ── 24 h ─► forgotten
//!          └── started 3 times within 10 min ─► flapping
//! ```
//!
//! Bounds: [`AGENTS_MAX`] agents; beyond it the one that is silent for longest goes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::agents::Heartbeat;
use model::time::SECOND;
use model::{Clock, UnixNano};

/// Agents that are remembered.
const AGENTS_MAX: usize = 10_000;
/// Silence after which an agent is late: three heartbeats.
const LATE: i64 = 30 * SECOND;
/// Silence after which it is gone.
const GONE: i64 = 120 * SECOND;
/// Silence after which it is forgotten.
const FORGOTTEN: i64 = 24 * 3600 * SECOND;
/// So many starts within [`FLAP_WINDOW`] are flapping.
const FLAP_STARTS: usize = 3;
const FLAP_WINDOW: i64 = 600 * SECOND;
/// Bytes kept of every text that an agent sends.
const TEXT_BYTES_MAX: usize = 512;
const LABELS_MAX: usize = 32;

/// How an agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentState {
    /// Heard of within three heartbeats.
    Up,
    /// Silent for longer.
    Late,
    /// Silent for two minutes, or it said goodbye.
    Gone,
    /// Up, but it started three times within ten minutes.
    Flapping,
}

impl AgentState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Up, Self::Late, Self::Gone, Self::Flapping];

    /// `up`, `late`, `gone` or `flapping`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Late => "late",
            Self::Gone => "gone",
            Self::Flapping => "flapping",
        }
    }
}

/// One agent as it is known.
#[derive(Clone, Debug)]
pub struct AgentEntry {
    /// What it told last.
    pub beat: Heartbeat,
    /// When.
    pub last_seen: UnixNano,
    /// When it was first heard of.
    pub first_seen: UnixNano,
    /// How it does.
    pub state: AgentState,
}

#[derive(Debug)]
struct Known {
    beat: Heartbeat,
    first_seen: UnixNano,
    last_seen: UnixNano,
    /// When it was seen to have started anew, the last ones.
    starts: Vec<UnixNano>,
}

/// All agents.
#[derive(Debug)]
pub struct Agents {
    clock: Arc<dyn Clock>,
    known: Mutex<BTreeMap<String, Known>>,
}

impl Agents {
    /// An empty list.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, known: Mutex::default() }
    }

    /// Takes a sign of life.
    pub fn beat(&self, mut beat: Heartbeat) {
        bound(&mut beat);
        let now = self.clock.now();
        let mut known = self.lock();
        known.retain(|_, agent| now.since(agent.last_seen) < FORGOTTEN);
        if known.len() >= AGENTS_MAX && !known.contains_key(&beat.agent_id) {
            let silent = known.iter().min_by_key(|(_, agent)| agent.last_seen).map(|(id, _)| id.clone());
            if let Some(id) = silent {
                known.remove(&id);
            }
        }
        let agent = known.entry(beat.agent_id.clone()).or_insert_with(|| Known {
            beat: beat.clone(),
            first_seen: now,
            last_seen: now,
            starts: Vec::new(),
        });
        if agent.beat.start_unix_nano != beat.start_unix_nano {
            agent.starts.retain(|start| now.since(*start) < FLAP_WINDOW);
            if agent.starts.len() < FLAP_STARTS {
                agent.starts.push(now);
            }
        }
        (agent.beat, agent.last_seen) = (beat, now);
    }

    /// Every agent by its id.
    pub fn list(&self) -> Vec<AgentEntry> {
        let now = self.clock.now();
        let entry = |agent: &Known| AgentEntry {
            beat: agent.beat.clone(),
            last_seen: agent.last_seen,
            first_seen: agent.first_seen,
            state: agent.state(now),
        };
        self.lock().values().filter(|agent| now.since(agent.last_seen) < FORGOTTEN).map(entry).collect()
    }

    /// The numbers in Prometheus' text format.
    pub fn write_prometheus(&self, out: &mut String) {
        let list = self.list();
        out.push_str("# HELP silmari_agents Agents by state.\n# TYPE silmari_agents gauge\n");
        for state in AgentState::ALL {
            let count = list.iter().filter(|agent| agent.state == state).count();
            writeln!(out, "silmari_agents{{state=\"{}\"}} {count}", state.name()).unwrap_or_default();
        }
        let now = self.clock.now();
        for (name, help) in [
            ("silmari_agent_up", "Whether an agent was heard of within 30 s."),
            ("silmari_agent_last_seen_seconds", "Seconds since an agent was heard of."),
            ("silmari_agent_lag_bytes", "Bytes an agent has read or found and not sent."),
            ("silmari_agent_spool_bytes", "Bytes in an agent's spool."),
        ] {
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge").unwrap_or_default();
            for agent in &list {
                let value = match name {
                    "silmari_agent_up" => {
                        i64::from(matches!(agent.state, AgentState::Up | AgentState::Flapping))
                    }
                    "silmari_agent_last_seen_seconds" => now.since(agent.last_seen) / SECOND,
                    "silmari_agent_lag_bytes" => i64::try_from(agent.beat.lag_bytes).unwrap_or(i64::MAX),
                    _ => i64::try_from(agent.beat.spool_bytes).unwrap_or(i64::MAX),
                };
                let (id, instance) = (label(&agent.beat.agent_id), label(&agent.beat.instance));
                writeln!(out, "{name}{{agent_id=\"{id}\",instance=\"{instance}\"}} {value}")
                    .unwrap_or_default();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn state(&self, now: UnixNano) -> AgentState {
        let silence = now.since(self.last_seen);
        let starts = self.starts.iter().filter(|start| now.since(**start) < FLAP_WINDOW).count();
        match silence {
            _ if self.beat.is_leaving => AgentState::Gone,
            GONE.. => AgentState::Gone,
            LATE.. => AgentState::Late,
            _ if starts >= FLAP_STARTS => AgentState::Flapping,
            _ => AgentState::Up,
        }
    }
}

/// Cuts what an agent may send without end.
fn bound(beat: &mut Heartbeat) {
    let cut = |text: &mut String| text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    for text in [&mut beat.agent_id, &mut beat.instance, &mut beat.version, &mut beat.config_version] {
        cut(text);
    }
    if let Some(error) = &mut beat.config_error {
        cut(error);
    }
    let labels = std::mem::take(&mut beat.labels);
    beat.labels = labels
        .into_iter()
        .filter(|(key, value)| key.len() <= TEXT_BYTES_MAX && value.len() <= TEXT_BYTES_MAX)
        .take(LABELS_MAX)
        .collect();
}

/// A label value as the text format quotes it.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::ManualClock;

    use super::*;

    fn beat(id: &str, start: i64) -> Heartbeat {
        Heartbeat { agent_id: id.to_owned(), start_unix_nano: start, ..Heartbeat::default() }
    }

    fn agents() -> (Arc<ManualClock>, Agents) {
        let clock = ManualClock::at(UnixNano(1_795_000_000 * SECOND));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        (clock, Agents::new(shared))
    }

    #[track_caller]
    fn state(agents: &Agents, expected: AgentState) {
        assert_eq!(agents.list()[0].state, expected);
    }

    #[test]
    fn an_agent_that_falls_silent_is_late_then_gone_then_forgotten() {
        let (clock, agents) = agents();
        agents.beat(beat("a", 1));
        for (seconds, expected) in [(29, AgentState::Up), (1, AgentState::Late), (90, AgentState::Gone)] {
            clock.advance(Duration::from_secs(seconds));
            state(&agents, expected);
        }
        clock.advance(Duration::from_secs(24 * 3600));
        assert!(agents.list().is_empty());
    }

    #[test]
    fn one_that_says_goodbye_is_gone_at_once_and_up_when_it_comes_back() {
        let (_, agents) = agents();
        agents.beat(Heartbeat { is_leaving: true, ..beat("a", 1) });
        state(&agents, AgentState::Gone);
        agents.beat(beat("a", 2));
        state(&agents, AgentState::Up);
    }

    #[test]
    fn one_that_starts_again_and_again_is_flapping_until_it_settles() {
        let (clock, agents) = agents();
        for start in 0..4 {
            agents.beat(beat("a", start));
            clock.advance(Duration::from_secs(10));
        }
        state(&agents, AgentState::Flapping);
        clock.advance(Duration::from_secs(600));
        agents.beat(beat("a", 3));
        state(&agents, AgentState::Up);
    }

    #[test]
    fn endless_texts_are_cut_and_quoted_in_the_numbers() {
        let (_, agents) = agents();
        let instance = format!("x\"{}", "y".repeat(10_000));
        agents.beat(Heartbeat { instance, ..beat("a", 1) });
        assert_eq!(agents.list()[0].beat.instance.len(), TEXT_BYTES_MAX);
        let mut text = String::new();
        agents.write_prometheus(&mut text);
        assert!(text.contains("silmari_agents{state=\"up\"} 1\n"), "{text}");
        assert!(text.contains("silmari_agent_up{agent_id=\"a\",instance=\"x\\\"yyy"), "{text}");
    }
}
