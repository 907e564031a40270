//! What agents tell the collector about themselves, and what it answers: the bodies of
//! `POST /v1/agent/heartbeat`, in JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Seconds between two heartbeats of an agent.
pub const HEARTBEAT_SECONDS: u64 = 10;
/// Bytes of a configuration that a collector hands out.
pub const PUSHED_TEXT_BYTES_MAX: usize = 256 << 10;
/// Bytes of what an agent tells of the configuration it runs with.
pub const CONFIG_TEXT_BYTES_MAX: usize = 256 << 10;

/// One sign of life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heartbeat {
    /// Identity of the agent, made once per data directory.
    pub agent_id: String,
    /// Its name.
    pub instance: String,
    /// Version of the program.
    pub version: String,
    /// Fingerprint of the configuration it runs with.
    pub config_version: String,
    /// Why it refused a newer configuration, if it did.
    pub config_error: Option<String>,
    /// Version of the pushed configuration it runs with, 0 for none.
    pub pushed_version: u64,
    /// Whether it is still finding out if it does well with it.
    pub is_trial: bool,
    /// Version of the pushed configuration that it tried last and gave up, 0 for none.
    pub refused_version: u64,
    /// Why it gave it up.
    pub refused_error: Option<String>,
    /// Whether it takes configurations that the collector hands out.
    pub accepts_configuration: bool,
    /// What it runs with, secrets hidden: sent when the collector asked for it.
    pub config_text: Option<String>,
    /// Labels that the collector chooses agents by.
    pub labels: BTreeMap<String, String>,
    /// Milliseconds between two of its heartbeats, 0 for [`HEARTBEAT_SECONDS`].
    pub interval_millis: u64,
    /// When it started, in nanoseconds since the Unix epoch: tells a restart from a pause.
    pub start_unix_nano: i64,
    /// Bytes written to its files and not acknowledged.
    pub lag_bytes: u64,
    /// Bytes in its spool.
    pub spool_bytes: u64,
    /// Records it sent since its start.
    pub sent_records: u64,
    /// Records it dropped since its start.
    pub dropped_records: u64,
    /// The same by reason, those that are not 0.
    pub dropped: BTreeMap<String, u64>,
    /// Whether it says goodbye: it was asked to end.
    pub is_leaving: bool,
}

/// What the collector answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeartbeatAnswer {
    /// The configuration that the agent should use, when it is another than the one it told of.
    pub configuration: Option<PushedConfiguration>,
    /// Whether the next heartbeat should bring `config_text`.
    pub wants_config_text: bool,
}

/// A configuration that the collector hands out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedConfiguration {
    /// Its number, from 1; 0 takes an earlier one back.
    pub version: u64,
    /// TOML tables, as of a file in `conf.d`.
    pub text: String,
}
