//! `/api/v1/agents`: every agent that sends signs of life, and the configurations that are handed out to them.
//! `/api/v1/inventory`: the instances of services, as their telemetry shows them.

use std::collections::BTreeMap;

use model::{Signal, UnixNano};
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

/// How an agent, an instance or a service does; the graver state first. Times are those of agents.
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
    /// The same by reason, those that are not 0.
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
    /// Whether it takes configurations from its collector.
    #[serde(default)]
    pub accepts_configuration: bool,
    /// Version of the configuration from its collector that it uses, 0 for none.
    #[serde(default)]
    pub pushed_version: u64,
    /// Whether it is still trying it.
    #[serde(default)]
    pub is_trial: bool,
    /// Version that it should use, 0 for its own files.
    #[serde(default)]
    pub target_version: u64,
    /// Version that it gave up last, 0 for none.
    #[serde(default)]
    pub refused_version: u64,
    /// Why it gave it up.
    #[serde(default)]
    pub refused_error: Option<String>,
}

/// A configuration to be handed out: the body of `POST /api/v1/agents/push`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushRequest {
    /// The name of its file, for people.
    #[serde(default)]
    pub name: String,
    /// TOML tables, as of a file in an agent's `conf.d`.
    pub text: String,
    /// Labels that an agent must have; none is every agent.
    #[serde(default)]
    pub select: BTreeMap<String, String>,
    /// How many of them, by a place that their id fixes: 0 to 100.
    pub percent: f64,
    /// Only say how far it would reach.
    #[serde(default)]
    pub dry_run: bool,
}

/// What is to be taken back: the body of `POST /api/v1/agents/rollback`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The version; the newest one unless told.
    #[serde(default)]
    pub version: Option<u64>,
}

/// What became of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StageHealth {
    /// It is handed out.
    Live,
    /// It is handed out no more, because an agent gave it up or fell silent; agents that use it keep it.
    Stopped,
    /// It was taken back.
    Withdrawn,
}

impl StageHealth {
    /// `live`, `stopped` or `withdrawn`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stopped => "stopped",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// A configuration that is handed out, and how far it got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageRow {
    /// Its number, from 1.
    pub version: u64,
    /// The name of the file it came from.
    pub name: String,
    /// Labels that an agent must have.
    pub select: BTreeMap<String, String>,
    /// How many of them, 0 to 100.
    pub percent: f64,
    /// When it was staged first.
    #[schemars(with = "String")]
    pub staged_at: UnixNano,
    /// What became of it.
    pub state: StageHealth,
    /// Why it was stopped or withdrawn.
    pub reason: Option<String>,
    /// Agents that are not gone and have the labels.
    pub matching: usize,
    /// Those of them that take no configuration from their collector.
    pub not_accepting: usize,
    /// Those of them within the percentage that take one.
    pub chosen: usize,
    /// Agents that use it.
    pub running: usize,
    /// Agents that are trying it.
    pub trying: usize,
    /// Agents that gave it up, by id, and why.
    pub refused_by: BTreeMap<String, String>,
    /// The smallest percentage that reaches an agent; `None` when there is none to reach.
    pub percent_min: Option<f64>,
    /// The configuration.
    pub text: String,
}

/// All stages, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StagesAnswer {
    /// When this was put together.
    #[schemars(with = "String")]
    pub time: UnixNano,
    /// Stages.
    pub stages: Vec<StageRow>,
}

/// What one agent runs with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentConfigAnswer {
    /// The agent.
    pub agent: AgentRow,
    /// Its files and what its collector handed out, secrets hidden; `None` until it told.
    pub text: Option<String>,
    /// Whether the text is of the configuration it runs with now.
    pub is_current: bool,
}

/// The instances of services, as their telemetry shows them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InventoryAnswer {
    /// When this was put together.
    #[schemars(with = "String")]
    pub time: UnixNano,
    /// Services by name.
    pub services: Vec<InventoryService>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InventoryService {
    /// `service.name`.
    pub service: String,
    /// How it does: as its best instance, or flapping when instances begin and end again and again.
    pub state: AgentHealth,
    /// Its instances, the graver states first.
    pub instances: Vec<InventoryInstance>,
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InventoryInstance {
    /// `service.instance.id`, or `host.name` without one.
    pub instance: String,
    /// `host.name`, empty when it is not told.
    pub host: String,
    /// How it does, by the pauses between its telemetry.
    pub state: AgentHealth,
    /// What it sends.
    #[schemars(with = "Vec<String>")]
    pub signals: Vec<Signal>,
    /// When it was first heard of.
    #[schemars(with = "String")]
    pub first_seen: UnixNano,
    /// When it was last heard of.
    #[schemars(with = "String")]
    pub last_seen: UnixNano,
}
