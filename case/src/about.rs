//! What a case says of itself.

use model::{TimeRange, UnixNano};
use query_api::{Cut, MetricsData};
use serde::{Deserialize, Serialize};

/// What a case says of itself: its first section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Version of the silmari that made it.
    pub silmari_version: String,
    /// When.
    pub made_at: UnixNano,
    /// The id that was asked for.
    pub id: String,
    /// Where it was searched.
    pub range: TimeRange,
    /// The time around the journey that services and metrics cover.
    pub window: TimeRange,
    /// What was redacted, if anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redaction>,
    /// What could not be put in, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Cut>,
}

/// What was redacted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redaction {
    /// Different values that were replaced.
    pub values: usize,
    /// The rules that found some, each with how many: `attribute enduser.*: 3`.
    pub rules: Vec<String>,
}

/// Series over the window of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricWindow {
    /// What it shows.
    pub title: String,
    /// The expression.
    pub promql: String,
    /// Distance between samples, in nanoseconds.
    pub step_nano: i64,
    /// The series.
    pub series: MetricsData,
}
