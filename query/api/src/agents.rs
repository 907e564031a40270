//! `GET /api/v1/agents`: every agent that sends signs of life.

use std::collections::BTreeMap;

use model::UnixNano;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The inventory of agents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentsAnswer {
    /// When this was put together.
    #[schemars(with = "String")]
    pub time: UnixNano,
    /// Agents: gone and late first, then by name.
    pub agents: Vec<AgentRow>,
}

/// How an agent does; the graver state first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentHealth {
    /// Silent for two minutes, or it said goodbye.
    Gone,
    /// Silent for 30 seconds.
    Late,
    /// Up, but it started three times within ten minutes.
    Flapping,
    /// Heard of within 30 seconds.
    Up,
}

impl AgentHealth {
    /// `gone`, `late`, `flapping` or `up`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Late => "late",
            Self::Flapping => "flapping",
            Self::Up => "up",
        }
    }
}

/// One agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentRow {
    /// Identity of the agent, made once per data directory.
    pub agent_id: String,
    /// Its name.
    pub instance: String,
    /// How it does.
    pub state: AgentHealth,
    /// Version of the program.
    pub version: String,
    /// Fingerprint of the configuration it runs with.
    pub config_version: String,
    /// Why it refused a newer configuration.
    pub config_error: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it started.
    #[schemars(with = "String")]
    pub started: UnixNano,
    /// When it was last heard of.
    #[schemars(with = "String")]
    pub last_seen: UnixNano,
    /// Bytes written to its files and not acknowledged.
    pub lag_bytes: u64,
    /// Bytes in its spool.
    pub spool_bytes: u64,
    /// Records it sent since its start.
    pub sent_records: u64,
    /// Records it dropped since its start.
    pub dropped_records: u64,
}
