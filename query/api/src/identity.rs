//! `GET /api/v1/ids`: the id kinds and how often they stand in the store. `GET /api/v1/ids/graph?id=…`: which
//! ids and traces hang together, and by what evidence.

use model::{IdTerm, SpanId, TimeRange, TraceId, UnixNano};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Cut, QueryStats, RangeSchema};

/// The id kinds of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IdKindsAnswer {
    /// The time range that was counted.
    #[schemars(with = "RangeSchema")]
    pub range: TimeRange,
    /// The kinds, in the order of `ids.yaml`.
    pub kinds: Vec<IdKindRow>,
    /// What was left out.
    pub cuts: Vec<Cut>,
    /// What it cost.
    pub stats: QueryStats,
}

/// One id kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IdKindRow {
    /// Its name.
    pub kind: String,
    /// Whether records that share a value belong to one journey.
    pub link: bool,
    /// Traces a value may hang on to be followed.
    pub max_fanout: usize,
    /// How far apart in time records may lie that share a value, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_nano: Option<i64>,
    /// The kind under which its values are recorded, when that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_as: Option<String>,
    /// Where its values stand, as written in `ids.yaml`.
    pub sources: Vec<String>,
    /// Values found in spans; a value that stands in several segments is counted in each.
    pub values_in_spans: u64,
    /// Values found in log records, counted in the same way.
    pub values_in_logs: u64,
    /// One of the values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub example: Option<IdTerm>,
}

/// What one id hangs together with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IdGraph {
    /// The id as it was asked for.
    pub id: String,
    /// The terms of that id that were found.
    #[schemars(with = "Vec<String>")]
    pub matched: Vec<IdTerm>,
    /// The time range that was searched.
    #[schemars(with = "RangeSchema")]
    pub range: TimeRange,
    /// Ids, messages, traces and linked spans; those that were asked for first.
    pub nodes: Vec<IdNode>,
    /// What joins them.
    pub edges: Vec<IdEdge>,
    /// What was left out, and which parameter or setting has it back.
    pub cuts: Vec<Cut>,
    /// What it cost.
    pub stats: QueryStats,
}

/// The sorts of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// An id of a configured kind.
    Id,
    /// An id that names one message.
    Message,
    /// A trace.
    Trace,
    /// A span that another trace links to.
    Span,
}

/// One node of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IdNode {
    /// What it is, as it can be asked for: `order_id=ORD-4711`, `trace_id=…`, `link=<trace>/<span>`.
    #[schemars(with = "String")]
    pub term: IdTerm,
    /// The sort of node.
    pub kind: NodeKind,
    /// Whether it was asked for.
    pub is_asked: bool,
    /// Edges from what was asked for.
    pub distance: usize,
    /// Why nothing was searched through it, when nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_expanded: Option<String>,
    /// Of a trace: service and name of its root span, or of its earliest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Services of the records that carry it or are in it, sorted.
    pub services: Vec<String>,
    /// Spans that carry it or are in it.
    pub spans: usize,
    /// Log records that carry it or are in it.
    pub logs: usize,
    /// Time of the first of these records.
    #[schemars(with = "String")]
    pub first_time: UnixNano,
    /// Time of the last of them.
    #[schemars(with = "String")]
    pub last_time: UnixNano,
}

/// How two nodes hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EdgeKind {
    /// Records of the trace carry the id.
    Carries,
    /// A span of the trace links to the span.
    Link,
    /// The span is in the trace.
    PartOf,
    /// Log records without a trace carry both ids.
    SameRecord,
}

/// One edge of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IdEdge {
    /// Index of a node: the trace, the linking trace, or the id that was followed.
    pub from: usize,
    /// Index of a node.
    pub to: usize,
    /// How they hang together.
    pub kind: EdgeKind,
    /// The records that say so, by service and field; most records first.
    pub evidence: Vec<EdgeEvidence>,
}

/// Records that say the same in the same field of the same service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EdgeEvidence {
    /// The service that recorded it.
    pub service: String,
    /// The source in `ids.yaml` that finds it, `attr:order.id`; `span link` for links; empty when the
    /// rules have changed since.
    pub field: String,
    /// `span` or `log`.
    pub signal: String,
    /// How many records.
    pub records: usize,
    /// Time of the first.
    #[schemars(with = "String")]
    pub first_time: UnixNano,
    /// Time of the last.
    #[schemars(with = "String")]
    pub last_time: UnixNano,
    /// The first of them.
    pub sample: RecordRef,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordRef {
    /// Its trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub trace_id: Option<TraceId>,
    /// Its span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub span_id: Option<SpanId>,
    /// When it began.
    #[schemars(with = "String")]
    pub time: UnixNano,
    /// Span name, or the beginning of the log body.
    pub name: String,
}
