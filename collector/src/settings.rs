//! Settings of the collector: the section `[collector]` of `silmari.toml`.
//!
//! Invariant: every field has a default that works; the reference page is generated from these types.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use model::pattern::Pattern;
use model::redact::RedactPreset;
use model::{Signal, units};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;

mod kafka_tap;

pub use kafka_tap::KafkaTap;
pub(crate) use kafka_tap::TapStart;

/// How the collector listens, and what it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address of OTLP over gRPC. Port 0 takes a free one. Default: `127.0.0.1:4317`.
    pub otlp_grpc: SocketAddr,
    /// Address of OTLP over HTTP and of `POST /log`. Port 0 takes a free one. Default: `127.0.0.1:4318`.
    pub otlp_http: SocketAddr,
    /// Allow addresses that other machines reach, although nothing is encrypted. Default: `false`.
    pub insecure_allow_plaintext: bool,
    /// Origins whose web pages may send over HTTP; `*` is every origin. Default: `["*"]`.
    pub cors_origins: Vec<String>,
    /// What one request may cost, and all of them together.
    pub limits: Limits,
    /// What one connection may do, and how slowly.
    pub connections: Connections,
    /// Take OTLP from Kafka. Default: not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka: Option<Kafka>,
    /// The header tap: a section of its own, `[kafka_tap]`.
    #[serde(skip)]
    pub kafka_tap: Option<KafkaTap>,
    /// What is hidden: a section of its own, `[redaction]`.
    #[serde(skip)]
    pub redaction: Redaction,
    /// Folder that keeps what is known of agents and instances; nothing is kept without it. The server's data folder.
    #[serde(skip)]
    pub state_folder: Option<PathBuf>,
}

/// What is replaced in everything that is received, before any of it reaches the disk. Default: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Redaction {
    /// Groups of secrets: `default` (tokens, keys, passwords), `tokens`, `passwords`, `email`, `cards` (numbers with a
    /// valid check digit). Default: none.
    pub presets: Vec<RedactPreset>,
    /// Patterns of your own, looked for in every text; with a group, only the group is replaced. Default: none.
    #[schemars(with = "Vec<String>")]
    pub patterns: Vec<Pattern>,
    /// Keys of attributes whose values are replaced as a whole. Default: none.
    pub attributes: Vec<String>,
}

/// What one request may cost, and all of them together. Sizes are texts such as `64MiB`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a compressed request as it arrives. Default: `16MiB`.
    #[serde(with = "units::size")]
    #[schemars(with = "String")]
    pub compressed_bytes_max: usize,
    /// Bytes of a request after decompression, or as it arrives when it is not compressed. The store's
    /// limit of the same name must not be lower. Default: `64MiB`, as OTLP recommends.
    #[serde(with = "units::size")]
    #[schemars(with = "String")]
    pub request_bytes_max: usize,
    /// Bytes the rows of one request may take in memory, estimated before it is decoded. Default: `128MiB`.
    #[serde(with = "units::size")]
    #[schemars(with = "String")]
    pub decoded_bytes_max: usize,
    /// Spans, log records or data points in one request. Default: 200000.
    pub request_records_max: usize,
    /// Bytes of all requests that are being received, decoded and written. Above it requests are refused
    /// with "try again later" before their body is read. Default: `256MiB`.
    #[serde(with = "units::size")]
    #[schemars(with = "String")]
    pub in_flight_bytes_max: usize,
    /// How long a refused sender is asked to wait; whole seconds are sent. Default: `1s`.
    #[serde(with = "units::duration")]
    #[schemars(with = "String")]
    pub retry_after: Duration,
}

/// What one connection may do, and how slowly. Durations are texts such as `10s`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Connections {
    /// Connections of each listener; further ones wait to be accepted. Default: 1024.
    pub connections_max: usize,
    /// HTTP/2 streams of one connection at a time. Default: 128.
    pub streams_max: u32,
    /// How long a client may take for its headers, and for its first request. Default: `10s`.
    #[serde(with = "units::duration")]
    #[schemars(with = "String")]
    pub header_timeout: Duration,
    /// How long a body may take before `body_bytes_per_second_min` holds. Default: `10s`.
    #[serde(with = "units::duration")]
    #[schemars(with = "String")]
    pub body_grace: Duration,
    /// The least mean speed of a body, in bytes per second. Default: 1024.
    pub body_bytes_per_second_min: u32,
    /// A connection without a request for so long is closed. Default: `5m`.
    #[serde(with = "units::duration")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// Interval of HTTP/2 pings to clients; one that does not answer within 20 s is gone. Default: `30s`.
    #[serde(with = "units::duration")]
    #[schemars(with = "String")]
    pub keepalive_interval: Duration,
}

/// OTLP from Kafka: the value of each message is one protobuf `Export…ServiceRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// Brokers to begin with, `host:port` separated by commas.
    pub brokers: String,
    /// Topics to read, by signal.
    pub topics: Topics,
    /// Consumer group. Its members share the partitions. Default: `silmari`.
    #[serde(default = "default_group_id")]
    pub group_id: String,
    /// Messages that are decoded and written together. Default: 500.
    #[serde(default = "default_batch_messages_max")]
    pub batch_messages_max: usize,
    /// Further settings of librdkafka, for example `"security.protocol" = "ssl"`.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

/// The topic of each signal; one that is not set is not read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Topics {
    /// Topic of spans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<String>,
    /// Topic of log records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<String>,
    /// Topic of metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
}

fn default_group_id() -> String {
    "silmari".to_owned()
}

fn default_batch_messages_max() -> usize {
    500
}

impl Kafka {
    /// Reads `topics` of `brokers`, everything else by default.
    pub fn new(brokers: impl Into<String>, topics: Topics) -> Self {
        Self {
            brokers: brokers.into(),
            topics,
            group_id: default_group_id(),
            batch_messages_max: default_batch_messages_max(),
            properties: BTreeMap::new(),
        }
    }
}

impl Topics {
    /// Each topic that is set, with its signal.
    pub fn by_signal(&self) -> impl Iterator<Item = (Signal, &str)> {
        let all =
            [(Signal::Traces, &self.traces), (Signal::Logs, &self.logs), (Signal::Metrics, &self.metrics)];
        all.into_iter().filter_map(|(signal, topic)| Some((signal, topic.as_deref()?)))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            otlp_grpc: SocketAddr::from((Ipv4Addr::LOCALHOST, 4317)),
            otlp_http: SocketAddr::from((Ipv4Addr::LOCALHOST, 4318)),
            insecure_allow_plaintext: false,
            cors_origins: vec!["*".to_owned()],
            limits: Limits::default(),
            connections: Connections::default(),
            kafka: None,
            kafka_tap: None,
            redaction: Redaction::default(),
            state_folder: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            compressed_bytes_max: 16 << 20,
            request_bytes_max: 64 << 20,
            decoded_bytes_max: 128 << 20,
            request_records_max: 200_000,
            in_flight_bytes_max: 256 << 20,
            retry_after: Duration::from_secs(1),
        }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            streams_max: 128,
            header_timeout: Duration::from_secs(10),
            body_grace: Duration::from_secs(10),
            body_bytes_per_second_min: 1_024,
            idle_timeout: Duration::from_secs(300),
            keepalive_interval: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// The defaults on free ports of 127.0.0.1, for tests and for several collectors on one machine.
    pub fn on_free_ports() -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { otlp_grpc: free, otlp_http: free, ..Self::default() }
    }

    /// Whether limits fit together: a request that is allowed must be able to pass.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let limits = &self.limits;
        let largest = limits.request_bytes_max.max(limits.compressed_bytes_max) + limits.request_bytes_max;
        let largest = largest.max(limits.request_bytes_max + limits.decoded_bytes_max);
        if limits.in_flight_bytes_max < largest {
            return Err(Error::Limits(format!(
                "`limits.in_flight_bytes_max` is {}, the largest request that the other limits allow needs {largest}: \
                 raise it or lower them",
                limits.in_flight_bytes_max
            )));
        }
        for (what, address) in [("otlp_grpc", self.otlp_grpc), ("otlp_http", self.otlp_http)] {
            if !address.ip().is_loopback() && !self.insecure_allow_plaintext {
                return Err(Error::Plaintext { what, address });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_their_own_text_and_unknown_keys_are_named() {
        let settings =
            Settings { kafka: Some(Kafka::new("k:9092", Topics::default())), ..Settings::default() };
        let text = serde_json::to_string(&settings).expect("serialises");
        assert!(text.contains("\"in_flight_bytes_max\":\"256MiB\""), "{text}");
        assert!(text.contains("\"idle_timeout\":\"5m\""), "{text}");
        assert_eq!(serde_json::from_str::<Settings>(&text).expect("reads"), settings);
        let error = serde_json::from_str::<Settings>(r#"{"otlp_grcp":"127.0.0.1:1"}"#).expect_err("unknown");
        assert!(error.to_string().contains("otlp_grpc"), "{error}");
    }

    #[test]
    fn an_address_that_others_reach_needs_consent() {
        let mut settings =
            Settings { otlp_http: SocketAddr::from(([0, 0, 0, 0], 4318)), ..Settings::default() };
        let error = settings.check().expect_err("plaintext");
        assert!(error.to_string().contains("insecure_allow_plaintext = true"), "{error}");
        settings.insecure_allow_plaintext = true;
        settings.check().expect("consent given");
    }

    #[test]
    fn a_budget_below_one_request_is_refused_at_the_start() {
        let mut settings = Settings::default();
        settings.check().expect("the defaults fit together");
        settings.limits.in_flight_bytes_max = 100 << 20;
        assert!(settings.check().is_err());
    }
}
