//! Settings of the inputs other than files and OTLP.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use model::Severity;
use model::dialect::Dialect;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::process::with_processors;

/// Where an input listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `udp://IP:PORT`
    Udp(SocketAddr),
    /// `tcp://IP:PORT`
    Tcp(SocketAddr),
    /// `unix:///PATH`, datagrams.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no listener: write udp://IP:PORT, tcp://IP:PORT or unix:///PATH");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        match scheme {
            "udp" => rest.parse().map(Self::Udp).map_err(|_| wrong()),
            "tcp" => rest.parse().map(Self::Tcp).map_err(|_| wrong()),
            "unix" if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

with_processors! {
/// `[syslog]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyslogSettings {
    /// Listeners: `udp://IP:PORT`, `tcp://IP:PORT` (octet-counted or one message a line), `unix:///PATH`.
    #[schemars(with = "Vec<String>")]
    pub listen: Vec<Listen>,
    /// `service.name` of the records. Default: the application a message names.
    #[serde(default)]
    pub service: Option<String>,
    /// How the message itself is read: `auto`, `json`, `logfmt`, `nginx` or `plain`. Default `auto`.
    #[serde(default, deserialize_with = "super::load::dialect")]
    #[schemars(with = "String")]
    pub dialect: Dialect,
}
}

with_processors! {
/// `[journald]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournaldSettings {
    /// Units to read. Default: all.
    #[serde(default)]
    pub units: Vec<String>,
    /// The least grave level that is read: `debug`, `info`, `warn`, `error`, `fatal`. Default: all.
    #[serde(default, deserialize_with = "level")]
    #[schemars(with = "Option<String>")]
    pub min_level: Option<Severity>,
    /// The program that reads the journal. Default `journalctl`.
    #[serde(default = "journalctl")]
    pub command: PathBuf,
}
}

fn journalctl() -> PathBuf {
    PathBuf::from("journalctl")
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Severity>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(D::Error::custom)
}

/// `[statsd]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatsdSettings {
    /// Listeners: `udp://IP:PORT`, `unix:///PATH`.
    #[schemars(with = "Vec<String>")]
    pub listen: Vec<Listen>,
    /// How often what was counted is sent. Default `10s`.
    #[serde(default = "ten_seconds", deserialize_with = "super::load::interval")]
    #[schemars(with = "String")]
    pub interval: Duration,
    /// `service.name` of the metrics. Default `statsd`; a tag `service` wins.
    #[serde(default = "statsd")]
    pub service: String,
    /// Most series kept; samples of further ones are counted and left out. Default 20000.
    #[serde(default = "twenty_thousand")]
    pub max_series: usize,
}

fn statsd() -> String {
    "statsd".to_owned()
}

const fn twenty_thousand() -> usize {
    20_000
}

const fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

const fn fifteen_seconds() -> Duration {
    Duration::from_secs(15)
}

/// `[scrape.NAME]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScrapeSettings {
    /// Pages in Prometheus' text format, as `http://HOST:PORT/metrics`. Default none.
    #[serde(default, deserialize_with = "targets")]
    pub targets: Vec<String>,
    /// Files that list targets as Prometheus' `file_sd_configs` do (JSON), read again at every interval.
    /// Relative ones start at the configuration file's folder. Default none.
    #[serde(default)]
    pub target_files: Vec<PathBuf>,
    /// How often they are read. Default `15s`.
    #[serde(default = "fifteen_seconds", deserialize_with = "super::load::interval")]
    #[schemars(with = "String")]
    pub interval: Duration,
    /// How long a page may take. Default `10s`.
    #[serde(default = "ten_seconds", deserialize_with = "model::units::duration::deserialize")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// Most series of one target; further ones are counted and left out. Default 20000.
    #[serde(default = "twenty_thousand")]
    pub max_series: usize,
    /// `service.name` of the metrics. Default: the table's name.
    #[serde(default)]
    pub service: Option<String>,
    /// Sent as `Authorization: Bearer`; best as `${file:/run/secrets/x}`. Default none.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub bearer_token: Option<Secret>,
}

fn targets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let targets = Vec::<String>::deserialize(deserializer)?;
    for target in &targets {
        target_url(target).map_err(D::Error::custom)?;
    }
    Ok(targets)
}

/// The page of a target: `HOST:PORT` means `http://HOST:PORT/metrics`.
///
/// # Errors
/// When it is neither.
pub fn target_url(target: &str) -> Result<http::Uri, String> {
    let wrong = || format!("`{target}` is no target: write http://HOST:PORT/metrics or HOST:PORT");
    let url = match target.split_once("://") {
        Some(_) => target.to_owned(),
        None => format!("http://{target}"),
    };
    let uri: http::Uri = url.parse().map_err(|_| wrong())?;
    if uri.scheme_str() == Some("https") {
        return Err(format!("`{target}`: this build speaks http only; put a TLS proxy beside the agent"));
    }
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    if uri.path() == "/" && !target.ends_with('/') {
        return format!("{}/metrics", url.trim_end_matches('/')).parse().map_err(|_| wrong());
    }
    Ok(uri)
}

/// `[host]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostSettings {
    /// How often the host is looked at. Default `15s`.
    #[serde(default = "fifteen_seconds", deserialize_with = "super::load::interval")]
    #[schemars(with = "String")]
    pub interval: Duration,
    /// Services told apart, those that use the most processor time and memory first. Default 20.
    #[serde(default = "twenty")]
    pub services: usize,
    /// The folder of processes. Default `/proc`.
    #[serde(default = "proc")]
    pub proc: PathBuf,
    /// The folder of control groups (cgroup v2). Default `/sys/fs/cgroup`.
    #[serde(default = "cgroup")]
    pub cgroup: PathBuf,
}

const fn twenty() -> usize {
    20
}

fn proc() -> PathBuf {
    PathBuf::from("/proc")
}

fn cgroup() -> PathBuf {
    PathBuf::from("/sys/fs/cgroup")
}

/// `[own_metrics]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnMetricsSettings {
    /// How often they are sent. Default `15s`.
    #[serde(default = "fifteen_seconds", deserialize_with = "super::load::interval")]
    #[schemars(with = "String")]
    pub interval: Duration,
}

/// `[report.NAME]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportSettings {
    /// Configuration files whose content is sent as a log record at the start and when it changes, with
    /// secrets hidden. Relative ones start at the configuration file's folder.
    pub files: Vec<PathBuf>,
    /// `service.name` of the records. Default: the table's name.
    #[serde(default)]
    pub service: Option<String>,
}

/// Labels, as of `[agent.labels]`.
pub type Labels = BTreeMap<String, String>;
