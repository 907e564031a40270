//! `GET /api/v1/doctor`: where records cannot be joined, per service and edge, and how to mend each place.

use std::collections::BTreeMap;

use model::TimeRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Cut, QueryStats, RangeSchema};

/// What stands in the way of following an id, worst first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorAnswer {
    /// The time range that was asked for.
    #[schemars(with = "RangeSchema")]
    pub range: TimeRange,
    /// The part of it that was looked at: the newest, when a limit cut.
    #[schemars(with = "RangeSchema")]
    pub looked_at: TimeRange,
    /// Defects and remarks, worst first.
    pub findings: Vec<Finding>,
    /// Services, least covered first.
    pub services: Vec<DoctorService>,
    /// Calls and messages between services, those that lose most first.
    pub edges: Vec<DoctorEdge>,
    /// Topics that the header tap records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<DoctorTopic>,
    /// Nanoseconds to add to the times of each service whose clock is off.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clock_offsets: BTreeMap<String, i64>,
    /// What was left out.
    pub cuts: Vec<Cut>,
    /// What it cost.
    pub stats: QueryStats,
}

impl DoctorAnswer {
    /// Whether nothing needs mending: there is no finding but notes.
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note)
    }
}

/// One defect or remark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, for programs.
    pub kind: FindingKind,
    /// The service to change.
    pub service: String,
    /// The other party: a calling service, a topic. Empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub other: String,
    /// What it is, for people.
    pub what: String,
    /// Records, calls, messages that are affected.
    pub affected: u64,
    /// Out of so many.
    pub of: u64,
    /// How to mend it.
    pub hint: String,
    /// An id of one that is affected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
    /// The command that shows one that is affected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know; nothing needs to be done.
    Note,
    /// Some requests cannot be followed.
    Warn,
    /// Most requests cannot be followed here.
    Bad,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A service that is called and sends no spans.
    NotInstrumented,
    /// Requests that arrive and begin a trace of their own, without their caller's context.
    ContextLost,
    /// Consumers that have neither a link to a producer nor a parent.
    ConsumerUnlinked,
    /// Messages to which no consumer's span links.
    MessageUnlinked,
    /// Messages without a `traceparent` header.
    TopicWithoutHeaders,
    /// Log records that no id reaches.
    LogsWithoutId,
    /// Spans that no id reaches.
    SpansWithoutId,
    /// Spans whose parent was not received.
    Orphans,
    /// Calls that were answered, while the server span was not received.
    ServerSpansMissing,
    /// A clock that disagrees with others.
    ClockOffset,
    /// A service that writes logs and sends no spans, and that no span is known to call.
    LogsOnly,
}

impl FindingKind {
    /// The kind in words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::NotInstrumented => "not instrumented",
            Self::ContextLost => "context lost",
            Self::ConsumerUnlinked => "consumer without link",
            Self::MessageUnlinked => "message without consumer",
            Self::TopicWithoutHeaders => "topic without headers",
            Self::LogsWithoutId => "logs without id",
            Self::SpansWithoutId => "spans without id",
            Self::Orphans => "missing parents",
            Self::ServerSpansMissing => "server spans missing",
            Self::ClockOffset => "clock",
            Self::LogsOnly => "logs only",
        }
    }
}

/// How well the records of one service can be followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorService {
    /// `service.name`.
    pub service: String,
    /// The smaller of two shares, 0 to 1: of its spans and log records, those that an id reaches; of the requests
    /// and messages it received, those that arrived with the sender's context.
    pub coverage: f64,
    /// Spans.
    pub spans: u64,
    /// Spans that carry no id of any kind themselves.
    pub spans_without_id: u64,
    /// Spans in traces of which no record carries an id.
    pub spans_unreachable: u64,
    /// Log records.
    pub logs: u64,
    /// Log records that carry no id of any kind themselves.
    pub logs_without_id: u64,
    /// Of these, log records without a trace id, or of a trace of which no record carries an id.
    pub logs_unreachable: u64,
    /// Log records without a trace id.
    pub logs_without_trace: u64,
    /// Requests and messages that it received.
    pub received: u64,
    /// Of these, those without the sender's context.
    pub received_without_context: u64,
    /// Spans whose parent was not received.
    pub orphans: u64,
}

/// Calls from a service to another, or messages from a topic to a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorEdge {
    /// The caller, or the topic.
    pub from: String,
    /// The service that is called or consumes; the address where no service is known behind it.
    pub to: String,
    /// What passes.
    pub kind: EdgePasses,
    /// How many.
    pub count: u64,
    /// How many arrived without context.
    pub lost: u64,
    /// Nothing that sends telemetry is known at the other end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_external: bool,
}

/// What passes along an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EdgePasses {
    /// Requests.
    Calls,
    /// Messages.
    Messages,
}

/// A topic as the header tap sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorTopic {
    /// The topic.
    pub topic: String,
    /// Its messages.
    pub messages: u64,
    /// Messages without a `traceparent` header.
    pub without_context: u64,
    /// Messages that carry no id of any kind, in headers or key.
    pub without_id: u64,
}
