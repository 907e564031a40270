//! `GET /api/v1/journey/diff?a=…&b=…`: two journeys side by side.

use model::UnixNano;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Cut, QueryStats};
use crate::journey::{JourneyCounts, JourneyStatus, RowKind, TimeClass};

/// What differs between journey `a`, by which it is judged, and journey `b`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JourneyDiff {
    /// The one that is taken as given.
    pub a: DiffSide,
    /// The one that is judged.
    pub b: DiffSide,
    /// Rows of both, aligned, in drawing order: spans, queue waits, pauses, missing spans.
    pub rows: Vec<DiffRow>,
    /// Where the time of the critical paths went, the largest difference first.
    pub time_spent: Vec<DiffTime>,
    /// Log templates that only one of the two has.
    pub log_templates: Vec<DiffTemplate>,
    /// Attributes of aligned spans whose values differ.
    pub attributes: Vec<DiffAttribute>,
    /// What was left out.
    pub cuts: Vec<Cut>,
    /// What it cost.
    pub stats: QueryStats,
}

/// One of two journeys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiffSide {
    /// The id as it was asked for.
    pub id: String,
    /// How it was chosen, when it was not asked for: `p50 of 312 traces of route /checkout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// When it began.
    #[schemars(with = "String")]
    pub start_time: UnixNano,
    /// How long it took.
    pub duration_nano: i64,
    /// How it went.
    pub status: JourneyStatus,
    /// How much there is.
    pub counts: JourneyCounts,
}

/// How a row of `b` compares with that of `a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// In both, and about as long.
    Same,
    /// In both; longer in `b` by a tenth and a millisecond at least.
    Slower,
    /// In both; shorter in `b` by as much.
    Faster,
    /// Only in `a`.
    Missing,
    /// Only in `b`.
    Extra,
}

/// A row of one or both journeys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiffRow {
    /// How it compares.
    pub change: Change,
    /// What it is.
    pub kind: RowKind,
    /// Nesting, 0 at the left.
    pub depth: u16,
    /// Service, or destination of a queue wait.
    pub service: String,
    /// Name, in `b` if it is there.
    pub name: String,
    /// Of a queue wait: the service that the message waited for; empty while none has consumed it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub consumer: String,
    /// Of a queue wait: the consumer group, as far as it is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Duration in `a`.
    pub a_nano: Option<i64>,
    /// Duration in `b`.
    pub b_nano: Option<i64>,
    /// It failed in `b` and not in `a`.
    #[serde(default)]
    pub is_newly_failed: bool,
}

/// A share of time of both journeys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiffTime {
    /// The class.
    pub class: TimeClass,
    /// Service, or destination.
    pub label: String,
    /// In `a`.
    pub a_nano: i64,
    /// In `b`.
    pub b_nano: i64,
}

/// Log records that differ only in their variable parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiffTemplate {
    /// Who wrote them.
    pub service: String,
    /// Their severity.
    pub label: String,
    /// The text, `*` for variable parts.
    pub template: String,
    /// How often in `a`.
    pub a: usize,
    /// How often in `b`.
    pub b: usize,
}

/// An attribute of aligned spans.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiffAttribute {
    /// Service of the first span it differs in.
    pub service: String,
    /// Name of that span.
    pub name: String,
    /// The attribute.
    pub key: String,
    /// Its value in `a`.
    pub a: Option<String>,
    /// Its value in `b`.
    pub b: Option<String>,
    /// In how many spans it differs in this way.
    pub spans: usize,
}
