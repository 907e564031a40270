//! Settings of the header tap on business topics: the section `[kafka_tap]` of `silmari.toml`.

use std::collections::BTreeMap;
use std::time::Duration;

use model::time::parse_duration;
use model::units;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A read-only tap on business topics: key, headers, partition, offset and time of every message become
/// log records, never the payload; the offsets that consumer groups commit become metrics. It joins no
/// group and commits nothing. It needs the rights to describe and read the topics, and to describe the
/// groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaTap {
    /// Brokers to begin with, `host:port` separated by commas.
    pub brokers: String,
    /// Topics to tap; `*` stands for any text. Topics that begin with `__` are never tapped.
    pub topics: Vec<String>,
    /// Consumer groups whose offsets are looked at; `*` stands for any text. Groups named without `*` need
    /// not be listed by the broker. Default: `["*"]`.
    #[serde(default = "everything")]
    pub groups: Vec<String>,
    /// Headers that are recorded; `*` stands for any text. Default: `["*"]`.
    #[serde(default = "everything")]
    pub headers: Vec<String>,
    /// Headers that are never recorded, whatever `headers` says. Compared without regard to case.
    /// Default: `["authorization", "cookie", "*token*", "*secret*", "*password*"]`.
    #[serde(default = "secrets")]
    pub hidden_headers: Vec<String>,
    /// Where to begin in a partition of which nothing is recorded yet: `latest`, `earliest`, or how far back
    /// in time. Default: `10m`.
    #[serde(default = "default_start")]
    pub start: String,
    /// How often offsets are looked at. Default: `5s`.
    #[serde(with = "units::duration", default = "default_offsets_interval")]
    #[schemars(with = "String")]
    pub offsets_interval: Duration,
    /// How often new topics, partitions and groups are looked for. Default: `1m`.
    #[serde(with = "units::duration", default = "default_discovery_interval")]
    #[schemars(with = "String")]
    pub discovery_interval: Duration,
    /// Further settings of librdkafka, for example `"security.protocol" = "ssl"`.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

fn secrets() -> Vec<String> {
    ["authorization", "cookie", "*token*", "*secret*", "*password*"].map(str::to_owned).into()
}

fn default_start() -> String {
    "10m".to_owned()
}

fn default_offsets_interval() -> Duration {
    Duration::from_secs(5)
}

fn default_discovery_interval() -> Duration {
    Duration::from_secs(60)
}

/// Where to begin in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TapStart {
    Latest,
    Earliest,
    Back(Duration),
}

impl KafkaTap {
    /// Taps `topics` of `brokers`, everything else by default.
    pub fn new(brokers: impl Into<String>, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            brokers: brokers.into(),
            topics: topics.into_iter().map(Into::into).collect(),
            groups: everything(),
            headers: everything(),
            hidden_headers: secrets(),
            start: default_start(),
            offsets_interval: default_offsets_interval(),
            discovery_interval: default_discovery_interval(),
            properties: BTreeMap::new(),
        }
    }

    /// The setting `start`, taken apart.
    pub(crate) fn begin_at(&self) -> Result<TapStart, String> {
        match self.start.as_str() {
            "latest" => Ok(TapStart::Latest),
            "earliest" => Ok(TapStart::Earliest),
            text => parse_duration(text).map(TapStart::Back).map_err(|_| {
                format!("`kafka_tap.start` is `{text}`: write latest, earliest, or a time such as 10m")
            }),
        }
    }

    /// Whether the settings can be used.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.topics.is_empty() {
            return Err(
                "`kafka_tap.topics` names no topic: write for example topics = [\"orders*\"]".to_owned()
            );
        }
        for (key, interval) in
            [("offsets_interval", self.offsets_interval), ("discovery_interval", self.discovery_interval)]
        {
            if interval < Duration::from_millis(100) {
                return Err(format!("`kafka_tap.{key}` must be 100ms at least"));
            }
        }
        self.begin_at().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_has_to_be_said_and_mistakes_are_named() {
        let tap: KafkaTap =
            serde_json::from_str(r#"{"brokers":"k:9092","topics":["orders*"]}"#).expect("reads");
        assert_eq!(tap, KafkaTap::new("k:9092", ["orders*"]));
        assert_eq!(tap.check(), Ok(()));
        assert_eq!(tap.begin_at(), Ok(TapStart::Back(Duration::from_secs(600))));
        let problem = KafkaTap { start: "soon".to_owned(), ..tap.clone() }.check().expect_err("no start");
        assert!(problem.contains("latest, earliest"), "{problem}");
        assert!(KafkaTap { topics: Vec::new(), ..tap }.check().is_err());
        assert!(serde_json::from_str::<KafkaTap>(r#"{"brokers":"k","topics":[],"payload":true}"#).is_err());
    }
}
