//! `GET /api/v1/journey?id=…`: all that one id reaches, on one time axis.

use std::collections::BTreeMap;

use model::{IdTerm, SpanId, TimeRange, TraceId, UnixNano};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Cut, QueryStats, RangeSchema};
use crate::text::{Attributes, Text};

pub mod progress;
pub mod record;

pub use progress::{Progress, ProgressState};
pub use record::{RowDetail, RowKey};

/// Everything one id reaches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Journey {
    /// The id as it was asked for.
    pub id: String,
    /// The terms of that id that were found (a bare id can be of several kinds).
    #[schemars(with = "Vec<String>")]
    pub matched: Vec<IdTerm>,
    /// The time range that was searched.
    #[schemars(with = "RangeSchema")]
    pub range: TimeRange,
    /// Start of the earliest row.
    #[schemars(with = "String")]
    pub start_time: UnixNano,
    /// From the start of the earliest row to the end of the latest.
    pub duration_nano: i64,
    /// How it went.
    pub status: JourneyStatus,
    /// How far it was when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The first error, if there is one.
    pub failure: Option<JourneyFailure>,
    /// How much there is.
    pub counts: JourneyCounts,
    /// Services touched, in the order they were first reached.
    pub services: Vec<String>,
    /// The traces, in order of their start.
    pub traces: Vec<JourneyTrace>,
    /// Every id that belongs to this journey, as `kind=value`, sorted.
    #[schemars(with = "Vec<String>")]
    pub ids: Vec<IdTerm>,
    /// The timeline, in drawing order.
    pub rows: Vec<JourneyRow>,
    /// Where the time of the critical path went; the durations sum exactly to `duration_nano`. Largest
    /// first.
    pub time_spent: Vec<TimeSpent>,
    /// The critical path: what the end of the journey hung on, from its start to its end, without a hole.
    pub critical_path: Vec<PathSegment>,
    /// What happened around the journey: alerts that fired, versions that changed. By time.
    #[serde(default)]
    pub marks: Vec<JourneyMark>,
    /// How far clocks must be apart at least, judged by children that begin before their parents.
    pub clock_skew_nano: i64,
    /// What was added to the times of a service, in nanoseconds, when correcting clocks was asked for and
    /// its clock was found to be off. Times are as they were recorded unless it is asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clock_offsets: BTreeMap<String, i64>,
    /// What was left out.
    pub cuts: Vec<Cut>,
    /// What it cost.
    pub stats: QueryStats,
}

/// How a journey went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JourneyStatus {
    /// No span failed and every message was consumed.
    Ok,
    /// A span ended with status `error`.
    Failed,
    /// A message was produced and nobody has consumed it.
    Waiting,
}

/// The first error of a journey.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JourneyFailure {
    /// Service that failed.
    pub service: String,
    /// Span name, or log body.
    pub name: String,
    /// Status message, exception message or log body.
    pub message: String,
    /// Index into [`Journey::rows`].
    pub row: usize,
}

/// How much a journey holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JourneyCounts {
    /// Traces joined.
    pub traces: usize,
    /// Spans.
    pub spans: usize,
    /// Log records.
    pub logs: usize,
    /// Messages sent through a broker.
    pub messages: usize,
    /// Services.
    pub services: usize,
    /// Spans with status `error`.
    pub errors: usize,
}

/// One trace of a journey.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JourneyTrace {
    /// Its id.
    #[schemars(with = "String")]
    pub trace_id: TraceId,
    /// Why it belongs: the surest evidence.
    pub evidence: Evidence,
    /// Whatever else says that it belongs, the surest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_evidence: Vec<Evidence>,
    /// Name of its root span, or of its earliest when the root was not received.
    pub name: String,
    /// Service of that span.
    pub service: String,
    /// Start of its earliest span.
    #[schemars(with = "String")]
    pub start_time: UnixNano,
    /// From its earliest start to its latest end.
    pub duration_nano: i64,
    /// Spans in it.
    pub spans: usize,
    /// Whether a span in it failed.
    pub is_failed: bool,
}

/// Why something belongs to a journey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The sort of evidence.
    pub kind: EvidenceKind,
    /// How certain it is.
    #[serde(default)]
    pub certainty: Certainty,
    /// For people: `order_id=ORD-4711`, `span link from orders/3@88121`.
    pub text: Text,
    /// Of an id: where in the record it stands, as written in `ids.yaml` (`attr:order.id`); empty when that is
    /// not known.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub source: Text,
}

impl Evidence {
    /// Evidence that is no id, or whose source is not known.
    pub fn new(kind: EvidenceKind, certainty: Certainty, text: impl Into<Text>) -> Self {
        Self { kind, certainty, text: text.into(), source: Text::default() }
    }

    /// Where it stands among the evidence for one thing: the surest first.
    pub fn rank(&self) -> (bool, Certainty, EvidenceKind) {
        // That a record is in its trace is the least that can be said of it.
        (self.kind == EvidenceKind::SameTrace, self.certainty, self.kind)
    }
}

/// How certain a piece of evidence is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// The record says so in a field that is made for it: its trace id, a span link, topic, partition and
    /// offset, an attribute, a header, the key of a message, a value of a JSON body.
    #[default]
    Certain,
    /// The record says so where it can mean something else: in the text of a log body, in baggage that it
    /// was handed, by a message id that only its sender keeps unique.
    Likely,
    /// No record says so; it follows from what records say together.
    Inferred,
}

impl Certainty {
    /// The word for it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Inferred => "inferred",
        }
    }
}

/// The sorts of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// It carries the id that was asked for.
    Asked,
    /// A span link points from or to it.
    Link,
    /// It sent or received a message that belongs.
    Message,
    /// It shares an id that joins.
    SharedId,
    /// Baggage that it was handed holds the id that was asked for, or one that joins.
    Baggage,
    /// It is in a trace that belongs.
    SameTrace,
}

/// What a row of the timeline is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// Heading of a trace.
    Trace,
    /// A span.
    Span,
    /// A log record.
    Log,
    /// An event of a span.
    Event,
    /// A measurement of a metric that names the span in which it was taken.
    Exemplar,
    /// The time a message waited between producer and consumer.
    QueueWait,
    /// The pause between a try that failed and the next one.
    BackOff,
    /// A span others name as parent and that was not received.
    Missing,
    /// Work of a service that sends no spans, from the log records of its start and its finish.
    Inferred,
}

/// The attribute of an exemplar's row that names its metric.
pub const METRIC_NAME: &str = "metric.name";
/// The attribute that names the Prometheus series.
pub const METRIC_SERIES: &str = "metric.series";
/// The attribute with the unit.
pub const METRIC_UNIT: &str = "metric.unit";
/// The attribute with what was measured.
pub const METRIC_VALUE: &str = "metric.value";

/// One row of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JourneyRow {
    /// What it is.
    pub kind: RowKind,
    /// Nesting, 0 at the left.
    pub depth: u16,
    /// The trace it belongs to.
    #[schemars(with = "Option<String>")]
    pub trace_id: Option<TraceId>,
    /// The span it is, or belongs to.
    #[schemars(with = "Option<String>")]
    pub span_id: Option<SpanId>,
    /// The parent span.
    #[schemars(with = "Option<String>")]
    pub parent_span_id: Option<SpanId>,
    /// Service, or broker destination for a queue wait.
    pub service: Text,
    /// Span name, log body, event name, `topic/partition@offset`, `metric = value`.
    pub name: Text,
    /// `server`, `client`, `producer`, `consumer`, `internal` for spans, severity (`ERROR`) for logs.
    pub label: Text,
    /// When it began.
    #[schemars(with = "String")]
    pub start_time: UnixNano,
    /// How long it took; 0 for logs and events.
    pub duration_nano: i64,
    /// A span with status error, or a log of severity ERROR and above.
    pub is_error: bool,
    /// A queue wait whose message nobody has consumed yet; its duration ends at the query's time.
    #[serde(default)]
    pub is_open: bool,
    /// Nanoseconds of the critical path that this row itself took.
    pub critical_nano: i64,
    /// What to know at a glance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<RowMark>,
    /// Status message of a failed span.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub message: Text,
    /// Why it is here: the surest evidence.
    pub evidence: Evidence,
    /// Whatever else says that it belongs, the surest first. That a row with a `trace_id` is in its trace is
    /// said only when nothing else is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_evidence: Vec<Evidence>,
    /// Of a consumer: how many messages it took at once, when there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Of a span: the spans it links to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<SpanLink>,
    /// Attributes of the span, log record or event.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    /// Attributes of the resource.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub resource: Attributes,
}

impl JourneyRow {
    /// All that says why the row is here, the surest first.
    pub fn all_evidence(&self) -> impl Iterator<Item = &Evidence> {
        std::iter::once(&self.evidence).chain(&self.more_evidence)
    }
}

impl JourneyTrace {
    /// All that says why the trace belongs, the surest first.
    pub fn all_evidence(&self) -> impl Iterator<Item = &Evidence> {
        std::iter::once(&self.evidence).chain(&self.more_evidence)
    }
}

/// A span that a span links to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpanLink {
    /// Its trace.
    #[schemars(with = "String")]
    pub trace_id: TraceId,
    /// The span.
    #[schemars(with = "String")]
    pub span_id: SpanId,
}

/// What to know of a row at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowMark {
    /// A circuit breaker refused the call.
    CircuitOpen,
    /// A rate limit refused the call.
    RateLimited,
    /// It repeats what failed before.
    Retry,
    /// It consumed several messages at once.
    Batch,
    /// Its time was corrected, see [`Journey::clock_offsets`].
    ClockCorrected,
}

impl RowMark {
    /// The mark in words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::CircuitOpen => "circuit open",
            Self::RateLimited => "rate limited",
            Self::Retry => "retry",
            Self::Batch => "batch",
            Self::ClockCorrected => "clock corrected",
        }
    }
}

/// A stretch of the critical path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PathSegment {
    /// When it begins.
    #[schemars(with = "String")]
    pub start_time: UnixNano,
    /// How long it is; the next one begins at its end.
    pub duration_nano: i64,
    /// What the time went into.
    pub class: TimeClass,
    /// Service for `self`, `inferred` and `back_off`, destination for `queue_wait`, empty for `gap`.
    pub label: String,
    /// The row, as an index into [`Journey::rows`]; `None` for a gap.
    pub row: Option<usize>,
}

/// Something that happened around a journey.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JourneyMark {
    /// When.
    #[schemars(with = "String")]
    pub time: UnixNano,
    /// What sort of thing.
    pub kind: MarkKind,
    /// The service it happened to.
    pub service: String,
    /// For people: `ShopErrorsHigh fires since 10:36`, `version 1.4.1 → 1.4.2`.
    pub text: String,
}

/// The sorts of marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// An alert of a service that the journey touched was firing.
    Alert,
    /// A service changed its version within the journey.
    Deploy,
    /// A configuration file of a service was changed.
    Config,
}

/// A share of a journey's time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimeSpent {
    /// The class.
    pub class: TimeClass,
    /// Service for `self`, `inferred` and `back_off`, destination for `queue_wait`, empty for `gap`.
    pub label: String,
    /// How long.
    pub duration_nano: i64,
}

/// Where time can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeClass {
    /// A span was at work and waited for none of its children.
    #[serde(rename = "self")]
    SelfTime,
    /// A message waited for its consumer.
    QueueWait,
    /// A call that had failed waited for its next try.
    BackOff,
    /// A service that sends no spans was at work, as its log says.
    Inferred,
    /// Nothing that was recorded explains it.
    Gap,
}
