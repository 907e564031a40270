//! Settings of the processors, the same in every table that reads log lines.
//!
//! Invariant: patterns and conditions are compiled while they are read, so that a mistake has its place.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use model::pattern::Pattern;
pub use model::redact::RedactPreset;
use model::text::nearest;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::process::condition::Condition;

/// Longest record that lines are joined to, in lines.
pub const JOINED_LINES_MAX: usize = 1000;

/// What happens to lines, collected from the keys of one table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessSettings {
    /// How lines are joined.
    pub multiline: Multiline,
    /// Presets of secrets.
    pub redact: Vec<RedactPreset>,
    /// Patterns of secrets.
    pub redact_patterns: Vec<Pattern>,
    /// What is dropped.
    pub drop: Vec<Condition>,
    /// What alone is kept, when there is any.
    pub keep: Vec<Condition>,
    /// Head sampling.
    pub sample: Option<Sample>,
    /// Most records a second.
    pub rate_limit: Option<RateLimit>,
    /// For how long the same record is suppressed.
    pub repeat_window: Option<Duration>,
    /// Attributes put on every record.
    pub set: BTreeMap<String, String>,
    /// Attributes that get other names.
    pub rename: BTreeMap<String, String>,
    /// Records of another time are left out.
    pub time: Option<model::TimeRange>,
}

/// Declares a table of settings with the processors' keys beside its own, and `process()` to collect them.
macro_rules! with_processors {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            /// How lines become records: `none`, `java`, `python`, `go`, `indent`, or `{ start = 'PATTERN',
            /// timeout = "1s" }` where a line that matches begins a record. Default `none`.
            #[serde(default)]
            #[schemars(with = "String")]
            pub multiline: $crate::config::process::Multiline,
            /// Secrets that are replaced before anything else: `default` (tokens, keys, passwords in
            /// `key=value` form), `tokens`, `passwords`, `email`, `cards` (numbers with a valid check digit).
            /// Default none.
            #[serde(default)]
            pub redact: Vec<$crate::config::process::RedactPreset>,
            /// Patterns of your own that are replaced; with a group, only the group. Default none.
            #[serde(default)]
            #[schemars(with = "Vec<String>")]
            pub redact_patterns: Vec<$crate::config::process::Pattern>,
            /// Conditions of records that are dropped: `level < info`, `url.path = "/health"`,
            /// `line ~ "PATTERN"`, joined by `and` and `or`. Default none.
            #[serde(default)]
            #[schemars(with = "Vec<String>")]
            pub drop: Vec<$crate::process::condition::Condition>,
            /// Conditions of which a record must meet one to be kept. Default: all are kept.
            #[serde(default)]
            #[schemars(with = "Vec<String>")]
            pub keep: Vec<$crate::process::condition::Condition>,
            /// Keeps a share of the records, the same share of traces: `{ keep = 0.1, unless = "level >= warn" }`.
            #[serde(default)]
            pub sample: Option<$crate::config::process::Sample>,
            /// Most records a second: `{ lines = 2000, burst = 4000, per = "stream" }`.
            #[serde(default)]
            pub rate_limit: Option<$crate::config::process::RateLimit>,
            /// For so long a record like the one before is left out; then one says how often it came, as in
            /// `10s`. Default: nothing is left out.
            #[serde(default, deserialize_with = "crate::config::process::some_duration")]
            #[schemars(with = "Option<String>")]
            pub repeat_window: Option<std::time::Duration>,
            /// Attributes put on every record, in place of what it says. Default none.
            #[serde(default)]
            pub set: std::collections::BTreeMap<String, String>,
            /// Attributes that get another name, `old = "new"`. Default none.
            #[serde(default)]
            pub rename: std::collections::BTreeMap<String, String>,
        }

        impl $name {
            /// The keys that say what happens to lines.
            pub fn process(&self) -> $crate::config::process::ProcessSettings {
                $crate::config::process::ProcessSettings {
                    multiline: self.multiline.clone(),
                    redact: self.redact.clone(),
                    redact_patterns: self.redact_patterns.clone(),
                    drop: self.drop.clone(),
                    keep: self.keep.clone(),
                    sample: self.sample.clone(),
                    rate_limit: self.rate_limit.clone(),
                    repeat_window: self.repeat_window,
                    set: self.set.clone(),
                    rename: self.rename.clone(),
                    time: None,
                }
            }
        }
    };
}
pub(crate) use with_processors;

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// How lines are joined to records.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Multiline {
    /// Every line is a record.
    #[default]
    None,
    /// Stack traces of the JVM.
    Java,
    /// Tracebacks of Python.
    Python,
    /// Panics of Go.
    Go,
    /// A line that begins with white space continues the one before.
    Indent,
    /// A line that matches begins a record.
    Start(CustomStart),
}

/// `{ start = 'PATTERN', timeout = "1s" }`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomStart {
    /// A line that matches begins a record.
    pub start: Pattern,
    /// How long a record waits for another line.
    #[serde(default = "one_second", deserialize_with = "model::units::duration::deserialize")]
    pub timeout: Duration,
}

const fn one_second() -> Duration {
    Duration::from_secs(1)
}

impl Multiline {
    const NAMES: [(&'static str, Self); 5] = [
        ("none", Self::None),
        ("java", Self::Java),
        ("python", Self::Python),
        ("go", Self::Go),
        ("indent", Self::Indent),
    ];

    /// How long a record waits for another line.
    pub const fn timeout(&self) -> Duration {
        match self {
            Self::Start(custom) => custom.timeout,
            _ => one_second(),
        }
    }
}

impl<'de> Deserialize<'de> for Multiline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PresetOrStart;
        impl<'de> Visitor<'de> for PresetOrStart {
            type Value = Multiline;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("none, java, python, go, indent, or { start = 'PATTERN' }")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Multiline, E> {
                let names = Multiline::NAMES.each_ref().map(|(name, _)| *name);
                let found = Multiline::NAMES.into_iter().find(|(name, _)| *name == text);
                found.map(|(_, preset)| preset).ok_or_else(|| {
                    let hint = nearest(text, names).map(|name| format!(", did you mean `{name}`?"));
                    let hint = hint.unwrap_or_default();
                    E::custom(format!("unknown value `{text}`{hint} (expected {})", names.join(", ")))
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Multiline, A::Error> {
                CustomStart::deserialize(MapAccessDeserializer::new(map)).map(Multiline::Start)
            }
        }
        deserializer.deserialize_any(PresetOrStart)
    }
}

/// Head sampling.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The share that is kept, 0 to 1.
    #[serde(deserialize_with = "share")]
    pub keep: f64,
    /// Records that are always kept.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub unless: Option<Condition>,
}

/// Most records a second.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Records a second.
    pub lines: u32,
    /// Records at once after a quiet time. Default: twice `lines`.
    #[serde(default)]
    pub burst: Option<u32>,
    /// `stream` (a file, a sender) or `input` (all of the table). Default `stream`.
    #[serde(default)]
    pub per: LimitPer,
}

/// What a rate limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LimitPer {
    /// A file, a sender.
    #[default]
    Stream,
    /// Everything the table reads.
    Input,
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let share = f64::deserialize(deserializer)?;
    let is_share = (0.0..=1.0).contains(&share);
    if is_share { Ok(share) } else { Err(D::Error::custom(format!("{share} is no share: write 0 to 1"))) }
}

/// A duration where nothing is a value of its own.
pub(super) fn some_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    model::units::duration::deserialize(deserializer).map(Some)
}
