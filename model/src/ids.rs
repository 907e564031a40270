//! Id kinds: what counts as an identifier of a request, where it is found, and whether it joins.
//!
//! Owns: the rules (`ids.yaml`), their compilation, and finding ids in one record. Does not own: the
//! storage of what is found, the identity graph built from it.
//!
//! ```text
//! attribute ─► key filter ─► table of keys ─► values, slots of templates, baggage, Kafka keys ┐
//! body ─► `=` ─► table of keys │ JSON paths, one walk │ patterns behind their literals        ┼─► normalise ─► kind=value
//! ```
//!
//! Invariants: rules run once, at ingest, on spans and log records alike. Matching is linear in the
//! record's bytes; what one record can yield is bounded by [`TERMS_MAX`] and [`VALUE_BYTES_MAX`]; buffers
//! are kept between records, so that a record costs no allocation.

mod file;
mod glob;
mod json_path;
mod normalise;
mod pattern;
mod rules;
mod source;
mod terms;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{SpanId, TraceId};

pub use normalise::Normalise;
pub use rules::{IdRules, IdSource};
pub use source::Place;
pub use terms::IdTerms;

pub use glob::is_match as is_glob_match;

/// The kind of W3C trace ids; always known. Kinds can be recorded as it (`as: trace_id`).
pub const TRACE_ID: &str = "trace_id";
/// The term under which spans are found that link to a trace, `link=<trace>`, or to one span of it,
/// `link=<trace>/<span>`. Always known, never configured.
pub const LINK: &str = "link";
/// The kind of a Kafka record's coordinates, `topic/partition@offset`.
pub const KAFKA_RECORD: &str = "kafka_record";
/// Kinds whose values name one message.
pub const MESSAGE_KINDS: [&str; 2] = ["message_id", KAFKA_RECORD];
/// Terms one record can yield; further ones are dropped.
pub const TERMS_MAX: usize = 64;
/// Longer values are no identifiers.
pub const VALUE_BYTES_MAX: usize = 256;

/// One identifier of a known kind. Text form `kind=value`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdTerm {
    /// The id kind, for example `order_id`.
    pub kind: String,
    /// The identifier itself.
    pub value: String,
}

impl IdTerm {
    /// A term of `kind`.
    pub fn new(kind: impl Into<String>, value: impl Into<String>) -> Self {
        Self { kind: kind.into(), value: value.into() }
    }

    /// The term of a trace.
    pub fn trace(id: TraceId) -> Self {
        Self::new(TRACE_ID, id.to_string())
    }

    /// The trace this term names, if it names one.
    pub fn trace_id(&self) -> Option<TraceId> {
        (self.kind == TRACE_ID).then(|| TraceId::from_hex(&self.value)).flatten()
    }

    /// The term of the spans that link to a span.
    pub fn link(trace: TraceId, span: SpanId) -> Self {
        Self::new(LINK, format!("{trace}/{span}"))
    }

    /// What a `link=…` term points to: a trace, or one span of it.
    pub fn link_target(&self) -> Option<(TraceId, Option<SpanId>)> {
        if self.kind != LINK {
            return None;
        }
        match self.value.split_once('/') {
            Some((trace, span)) => Some((TraceId::from_hex(trace)?, Some(SpanId::from_hex(span)?))),
            None => Some((TraceId::from_hex(&self.value)?, None)),
        }
    }
}

impl fmt::Display for IdTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.value)
    }
}

impl FromStr for IdTerm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((kind, value)) if !kind.is_empty() && !value.is_empty() => Ok(Self::new(kind, value)),
            _ => Err(format!("`{text}` is no id term: write kind=value, as in order_id=ORD-4711")),
        }
    }
}

impl Serialize for IdTerm {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IdTerm {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One id kind as `ids.yaml` defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdKind {
    /// Name of the kind, `[a-z][a-z0-9_]*`.
    pub kind: String,
    /// Where its values stand, as written: `attr:order.id`, `json:$.orderId` … (docs/reference/ids.md).
    pub sources: Vec<String>,
    /// Whether two records that share a value belong together: whether the kind *joins*. A kind that does
    /// not can be searched for, and no journey grows through it.
    pub link: bool,
    /// A value that hangs on more traces than this is shown and not followed.
    pub max_fanout: usize,
    /// Records that share a value and lie further apart in time than this do not belong together.
    pub max_age: Option<Duration>,
    /// What is done to a value before it is recorded, in order.
    pub normalise: Vec<Normalise>,
    /// The kind under which values are recorded, when that is another one (`as`).
    pub recorded_as: Option<String>,
}

/// `link` unless told.
pub(crate) const LINK_DEFAULT: bool = true;
/// `max_fanout` unless told.
pub(crate) const FANOUT_DEFAULT: usize = 50;
