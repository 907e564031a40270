//! The shape of `/status`: what `silmari-agent status` and others read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use model::UnixNano;
use serde::{Deserialize, Serialize};

use super::FlowStatus;
pub use crate::export::breaker::BreakerState;
use crate::memory::Bound;

/// How the collector answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CollectorStatus {
    /// Where data goes.
    pub endpoints: Vec<String>,
    /// Failed attempts since the last success.
    pub consecutive_failures: u64,
    /// The last failure or refusal.
    pub last_error: Option<String>,
    /// When a request was last acknowledged.
    pub last_success: Option<UnixNano>,
    /// `exactly once`, `at least once: WHY`, or that no collector answered yet.
    #[serde(default)]
    pub delivery: String,
    /// The session the collector handed out.
    #[serde(default)]
    pub session: Option<u64>,
    /// Times the collector missed something before a request; the source was read again.
    #[serde(default)]
    pub gaps: u64,
    /// Bytes of files that a gap asked for and that could not be read any more.
    #[serde(default)]
    pub gap_lost_bytes: u64,
    /// Times another agent with the same identity took over.
    #[serde(default)]
    pub fenced: u64,
    /// Requests that were sent and are not answered yet.
    #[serde(default)]
    pub in_flight: u64,
    /// Whether requests leave, or wait for one of them to be answered.
    #[serde(default)]
    pub breaker: BreakerState,
    /// Records that the collector had already: their answer was lost once, and they were not stored twice.
    #[serde(default)]
    pub duplicates: u64,
}

/// One matching file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FileStatus {
    /// Name of its `[files.NAME]` table.
    pub input: String,
    /// Where it was last seen.
    pub path: String,
    /// Inode number, 0 for a file that is not read.
    pub inode: u64,
    /// How often it was truncated while known.
    pub generation: u32,
    /// Its size.
    pub size: u64,
    /// Bytes read.
    pub offset: u64,
    /// Bytes acknowledged.
    pub acked: u64,
    /// Bytes written and not acknowledged.
    pub lag_bytes: u64,
    /// `reading`, `rotated`, `waiting` or `not_read`.
    pub state: Cow<'static, str>,
    /// Why it is not read, or waits.
    pub reason: Option<String>,
}

/// Whether a reason not to read a file is one that a person has to do something about.
pub fn is_problem(reason: &str) -> bool {
    ["cannot ", "no permission ", "too many open files"].iter().any(|start| reason.starts_with(start))
}

/// The spool.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SpoolStatus {
    /// Bytes on disk.
    pub bytes: u64,
    /// Most bytes allowed.
    pub bytes_max: u64,
    /// Requests that wait.
    pub requests: u64,
    /// Its lanes: one a signal, and `files`.
    #[serde(default)]
    pub lanes: Vec<LaneStatus>,
    /// Whether the disk was full when it was last written to.
    #[serde(default)]
    pub is_disk_full: bool,
    /// Why it cannot be read at the moment; reading is tried again.
    #[serde(default)]
    pub read_error: Option<String>,
}

/// Memory: what may be used and what is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MemoryStatus {
    /// `[memory] limit`.
    pub limit_bytes: u64,
    /// What all components may use at most.
    pub bound_bytes: u64,
    /// What OTLP requests that are being received hold now.
    pub requests_bytes: u64,
    /// What of the process is in memory now.
    pub resident_bytes: u64,
    /// The bound of every component.
    pub bounds: Vec<Bound>,
}

/// One lane of the spool.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LaneStatus {
    /// `traces`, `logs`, `metrics` or `files`.
    pub lane: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Requests that wait.
    pub requests: u64,
    /// Spans, records or metrics in them.
    pub records: u64,
    /// How long the oldest of them waits.
    #[serde(default)]
    pub oldest_seconds: u64,
}

/// All of it at one moment; what `/status` serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Identity of the agent, made once per data directory.
    pub agent_id: String,
    /// Its name.
    pub instance: String,
    /// Version of the program.
    pub version: String,
    /// When it started.
    pub started: UnixNano,
    /// How the collector answers.
    pub collector: CollectorStatus,
    /// Counters.
    pub flows: Vec<FlowStatus>,
    /// Files, read or not.
    pub files: Vec<FileStatus>,
    /// Bytes written to all files and not acknowledged.
    #[serde(default)]
    pub file_lag_bytes: u64,
    /// How long the file that waits longest made no progress although there is something to send.
    #[serde(default)]
    pub file_lag_seconds: u64,
    /// Times a file was found truncated.
    pub truncations: u64,
    /// How often the queue of file events was full, and folders were looked through instead.
    #[serde(default)]
    pub watch_overflows: u64,
    /// Folders without file events; they are looked at every second.
    #[serde(default)]
    pub unwatched_folders: u64,
    /// Files with a saved position that could not be found again.
    pub files_missing: u64,
    /// What keeps an input from working, by table.
    #[serde(default)]
    pub problems: BTreeMap<String, String>,
    /// The spool.
    pub spool: SpoolStatus,
    /// Memory.
    #[serde(default)]
    pub memory: MemoryStatus,
    /// The configuration in use.
    #[serde(default)]
    pub config: ConfigStatus,
}

/// The configuration in use, and what became of newer ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// A fingerprint of the configuration in use.
    pub version: String,
    /// Times a newer one was put to use.
    pub reloads: u64,
    /// Times a newer one was refused.
    pub failures: u64,
    /// Why the last one was refused; the one in use is older then.
    pub error: Option<String>,
    /// The tables that the last one changed.
    pub changed: Vec<String>,
    /// What the collector handed out.
    #[serde(default)]
    pub central: CentralStatus,
}

/// What became of configurations that the collector handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CentralStatus {
    /// Whether they are taken.
    pub is_accepted: bool,
    /// Version of the one in use, 0 for none.
    pub version: u64,
    /// Whether it is still being tried.
    pub is_trial: bool,
    /// Version of the last one that was given up, 0 for none.
    pub given_up: u64,
    /// Why.
    pub error: Option<String>,
}
