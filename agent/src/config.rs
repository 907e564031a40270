//! The settings of `agent.toml`. The doc comments here are the reference page.
//!
//! Owns: names, defaults, units. Does not own: reading the file (`load`), texts with units (`model::units`).
//! Invariant: every value that can be wrong is checked while it is read, so that the error names its
//! line and column.

pub mod central;
pub mod inputs;
mod load;
pub mod process;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use model::dialect::Dialect;
use schemars::JsonSchema;
use serde::Deserialize;

pub use central::{CentralSettings, CentralTable};
pub use inputs::{
    HostSettings, JournaldSettings, Labels, Listen, OwnMetricsSettings, ReportSettings, ScrapeSettings,
    StatsdSettings, SyslogSettings,
};
pub use load::{ConfigError, Loaded, check_pushed, parts_of};

/// Everything in `agent.toml`.
#[derive(Clone, Debug, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The agent itself.
    pub agent: AgentSettings,
    /// Where data goes.
    pub collector: CollectorSettings,
    /// Log files, one table a group: `[files.checkout]`.
    pub files: BTreeMap<String, FileSettings>,
    /// Receives OTLP from services on this host. Off without the table.
    pub otlp: OtlpSettings,
    /// Receives syslog. Off without the table.
    pub syslog: Option<SyslogSettings>,
    /// Reads systemd's journal. Off without the table.
    pub journald: Option<JournaldSettings>,
    /// Receives StatsD and DogStatsD. Off without the table.
    pub statsd: Option<StatsdSettings>,
    /// Pages in Prometheus' text format, one table a group: `[scrape.shop]`.
    pub scrape: BTreeMap<String, ScrapeSettings>,
    /// Metrics of this host and of every service on it. Off without the table.
    pub host: Option<HostSettings>,
    /// The agent's own metrics, sent like those of a service. Off without the table.
    pub own_metrics: Option<OwnMetricsSettings>,
    /// Configuration files to report, one table a group: `[report.shop]`.
    pub report: BTreeMap<String, ReportSettings>,
    /// Where pushed data waits for the collector.
    pub spool: SpoolSettings,
    /// How much memory the agent may use.
    pub memory: MemorySettings,
    /// The agent's own pages. Off without the table.
    pub admin: AdminSettings,
    /// Configuration that the collector hands out. Not taken without the table.
    pub central: CentralSettings,
}

/// `[agent]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentSettings {
    /// Directory for positions, spool and identity; one agent at a time. Default `/var/lib/silmari-agent`.
    pub data_dir: PathBuf,
    /// A name for this agent in `status`. Default: the host's name.
    pub instance: Option<String>,
    /// Labels that the collector chooses agents by, as `service = "billing"`. Default none.
    pub labels: Labels,
    /// Resource attributes added to every signal where the key is missing. `host.name` is added by itself.
    pub resource: BTreeMap<String, String>,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/silmari-agent"),
            instance: None,
            labels: Labels::new(),
            resource: BTreeMap::new(),
        }
    }
}

/// `[collector]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CollectorSettings {
    /// OTLP/HTTP base URLs; the next one is tried when one fails. A single text is a list of one,
    /// and `endpoint` is another name for it. Default `http://127.0.0.1:4318`.
    #[serde(alias = "endpoint", deserialize_with = "load::endpoints")]
    pub endpoints: Vec<String>,
    /// Certificates for `https` endpoints. Without the table, the system's authorities are trusted.
    pub tls: Option<TlsSettings>,
    /// `zstd`, `gzip` or `none`. Default `zstd`.
    pub compression: Compression,
    /// How long a line waits for others before its batch leaves. Default `200ms`.
    #[serde(deserialize_with = "model::units::duration::deserialize")]
    #[schemars(with = "String")]
    pub flush: Duration,
    /// Size of a batch before compression. Default `1MiB`, at most `3MiB`.
    #[serde(deserialize_with = "load::batch_bytes")]
    #[schemars(with = "String")]
    pub batch: u64,
    /// How long one request may take. Default `10s`.
    #[serde(deserialize_with = "model::units::duration::deserialize")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// How often the collector is told that the agent lives; one that misses three is late. Default `10s`.
    #[serde(deserialize_with = "load::interval")]
    #[schemars(with = "String")]
    pub heartbeat: Duration,
}

impl Default for CollectorSettings {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:4318".to_owned()],
            tls: None,
            compression: Compression::Zstd,
            flush: Duration::from_millis(200),
            batch: 1 << 20,
            timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(model::agents::HEARTBEAT_SECONDS),
        }
    }
}

/// `[collector] tls`: PEM files, read when the agent starts. Relative paths start at the configuration file's folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// Certificates of the authorities that the collector's certificate may come from. Default: the system's.
    pub ca: Option<PathBuf>,
    /// The certificate that the agent shows, with those between it and its authority. Default none.
    pub cert: Option<PathBuf>,
    /// The private key of `cert`.
    pub key: Option<PathBuf>,
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Zstandard, level 1.
    #[default]
    Zstd,
    /// gzip, fastest level.
    Gzip,
    /// As it is.
    None,
}

process::with_processors! {
/// `[files.NAME]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    /// Globs of the files to read: `*` within one folder, `**` across folders. Relative ones start at
    /// the configuration file's folder.
    #[serde(deserialize_with = "load::globs")]
    pub include: Vec<String>,
    /// Globs of files to leave out, matched with the whole path and with the name alone. Default none.
    #[serde(default, deserialize_with = "load::globs")]
    pub exclude: Vec<String>,
    /// `service.name` of the records. Default: the service a line names, then `service.name` of
    /// `[agent.resource]`, then the file's name without its ending.
    #[serde(default)]
    pub service: Option<String>,
    /// `auto`, `json`, `logfmt`, `nginx` or `plain`. Default `auto`: decided line by line.
    #[serde(default, deserialize_with = "load::dialect")]
    #[schemars(with = "String")]
    pub dialect: Dialect,
    /// What stands around each line: `plain` (nothing), `cri` (containerd, CRI-O), `docker` (`json-file`), or
    /// `auto`, which tells line by line. Default `auto`.
    #[serde(default)]
    pub format: Format,
    /// Where files that are there at the very first start are read from: `beginning`, `end`, or `auto`
    /// (the end, but the beginning of files younger than 5 minutes). Files that appear later are always
    /// read from their beginning. Default `auto`.
    #[serde(default)]
    pub start_at: StartAt,
    /// Reads what is there now, its last line without a line end too: a replay.
    #[serde(skip)]
    pub is_read_once: bool,
    /// Leaves out records of another time: a replay.
    #[serde(skip)]
    pub time: Option<model::TimeRange>,
}
}

/// What a container runtime puts around a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Told line by line.
    #[default]
    Auto,
    /// Nothing.
    Plain,
    /// Docker's `json-file`.
    Docker,
    /// The Kubernetes container runtime interface.
    Cri,
}

/// Where the first reading of a file begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StartAt {
    /// The end, but the beginning of files younger than 5 minutes.
    #[default]
    Auto,
    /// The first line.
    Beginning,
    /// Behind the last complete line.
    End,
}

/// `[otlp]`. What it says of secrets holds for spans, log records and metrics, the rest for log records; a service is
/// a stream.
#[derive(Clone, Debug, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpSettings {
    /// Address for OTLP/gRPC, for example `127.0.0.1:4317`. Default off.
    #[serde(deserialize_with = "load::address")]
    #[schemars(with = "Option<String>")]
    pub grpc: Option<SocketAddr>,
    /// Address for OTLP/HTTP (protobuf and JSON), for example `127.0.0.1:4318`. Default off.
    #[serde(deserialize_with = "load::address")]
    #[schemars(with = "Option<String>")]
    pub http: Option<SocketAddr>,
    /// Path of a unix socket for both, for example `/run/silmari-agent/otlp.sock`. Default off.
    pub unix: Option<PathBuf>,
    /// Secrets that are replaced in every text and attribute before anything else: `default` (tokens, keys, passwords
    /// in `key=value` form), `tokens`, `passwords`, `email`, `cards` (numbers with a valid check digit). Default none.
    pub redact: Vec<process::RedactPreset>,
    /// Patterns of your own that are replaced; with a group, only the group. Default none.
    #[schemars(with = "Vec<String>")]
    pub redact_patterns: Vec<process::Pattern>,
    /// Conditions of log records that are dropped: `level < info`, `url.path = "/health"`, `line ~ "PATTERN"` (the
    /// body), joined by `and` and `or`. Default none.
    #[schemars(with = "Vec<String>")]
    pub drop: Vec<crate::process::condition::Condition>,
    /// Conditions of which a log record must meet one to be kept. Default: all are kept.
    #[schemars(with = "Vec<String>")]
    pub keep: Vec<crate::process::condition::Condition>,
    /// Keeps a share of the log records, the same share of traces: `{ keep = 0.1, unless = "level >= warn" }`.
    pub sample: Option<process::Sample>,
    /// Most log records a second: `{ lines = 2000, burst = 4000, per = "stream" }`.
    pub rate_limit: Option<process::RateLimit>,
    /// Attributes put on every log record, in place of what it says. Default none.
    pub set: BTreeMap<String, String>,
    /// Attributes of log records that get another name, `old = "new"`. Default none.
    pub rename: BTreeMap<String, String>,
}

impl OtlpSettings {
    /// Whether log records are chosen or changed beyond their secrets.
    pub fn changes_records(&self) -> bool {
        self.process() != process::ProcessSettings::default()
    }

    /// What happens to log records whose secrets are hidden.
    pub fn process(&self) -> process::ProcessSettings {
        process::ProcessSettings {
            drop: self.drop.clone(),
            keep: self.keep.clone(),
            sample: self.sample.clone(),
            rate_limit: self.rate_limit.clone(),
            set: self.set.clone(),
            rename: self.rename.clone(),
            ..process::ProcessSettings::default()
        }
    }
}

/// `[spool]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolSettings {
    /// Most bytes the spool takes on disk, at least `1MiB`. Default `1GiB` or a tenth of the free disk,
    /// whichever is less, but not below `64MiB`.
    #[serde(deserialize_with = "load::spool_bytes")]
    #[schemars(with = "Option<String>")]
    pub max: Option<u64>,
    /// What an acknowledged request survives: `process` (a kill) or `power` (every request is synced first).
    /// Default `process`.
    pub durability: Durability,
    /// What happens to a signal for which there is no room.
    pub when_full: WhenFullSettings,
    /// Disk that log files may take which were deleted while the collector is away and are held open; beyond it
    /// their unread rest moves into the spool, compressed. Default `256MiB`.
    #[serde(deserialize_with = "model::units::size::deserialize")]
    #[schemars(with = "String")]
    pub max_held_deleted: u64,
    /// How long one is held open before that. Default `10m`.
    #[serde(deserialize_with = "model::units::duration::deserialize")]
    #[schemars(with = "String")]
    pub max_held_age: Duration,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self {
            max: None,
            durability: Durability::default(),
            when_full: WhenFullSettings::default(),
            max_held_deleted: 256 << 20,
            max_held_age: Duration::from_secs(600),
        }
    }
}

/// What an acknowledged request survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The end of the process.
    #[default]
    Process,
    /// The loss of power.
    Power,
}

/// `[spool] when_full`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WhenFullSettings {
    /// Of log records: `block`, `drop_oldest` or `drop_new`. Default `block`.
    pub logs: WhenFull,
    /// Of spans. Default `drop_oldest`.
    pub traces: WhenFull,
    /// Of metrics. Default `drop_oldest`.
    pub metrics: WhenFull,
}

impl Default for WhenFullSettings {
    fn default() -> Self {
        Self { logs: WhenFull::Block, traces: WhenFull::DropOldest, metrics: WhenFull::DropOldest }
    }
}

/// What happens to what comes while the spool has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Senders are asked to come back later; those that cannot wait are dropped and counted.
    Block,
    /// The oldest of its signal is given up for it, and counted.
    DropOldest,
    /// It is given up, and counted.
    DropNew,
}

/// `[memory]`
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemorySettings {
    /// Most memory of all components together, as in `48MiB`; an agent whose components may need more does not
    /// start. Default `48MiB`, or what the configured inputs need.
    #[serde(deserialize_with = "load::memory_bytes")]
    #[schemars(with = "Option<String>")]
    pub limit: Option<u64>,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// Address for `/metrics`, `/status`, `/tail` and `/healthz`, for example `127.0.0.1:9099`. Default off.
    #[serde(deserialize_with = "load::address")]
    #[schemars(with = "Option<String>")]
    pub listen: Option<SocketAddr>,
}
