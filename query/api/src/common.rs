//! What every answer carries: cuts, costs, and the shape of an error.

use model::{IdTerm, TimeRange};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something the answer leaves out, and how to have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cut {
    /// What was left out, for people: `cut at 200 traces`.
    pub what: String,
    /// The limit that cut it: the parameter's or setting's name.
    pub limit: String,
    /// How to lift it, if it can be lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What an answer cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueryStats {
    /// Rows looked at.
    pub rows_scanned: u64,
    /// Segments read from disk.
    pub segments_read: u64,
    /// Segments that time, index or statistics ruled out.
    pub segments_pruned: u64,
    /// Rows of the head looked at.
    pub head_rows: u64,
    /// Time from request to answer, in nanoseconds.
    pub elapsed_nano: u64,
}

impl QueryStats {
    /// Adds what another part of the same answer cost.
    pub fn add(&mut self, other: &Self) {
        self.rows_scanned += other.rows_scanned;
        self.segments_read += other.segments_read;
        self.segments_pruned += other.segments_pruned;
        self.head_rows += other.head_rows;
    }
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorAnswer {
    /// The error.
    pub error: ErrorBody,
}

/// What went wrong and what to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// Stable word for programs: `not_found`, `bad_query`, `limit`, `unavailable`, `internal`.
    pub code: String,
    /// What happened, for people.
    pub message: String,
    /// What to try instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// `not_found` of a journey: the terms that were searched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub searched: Vec<IdTerm>,
    /// `not_found` of a journey: the time range that was searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<RangeSchema>")]
    pub range: Option<TimeRange>,
}

/// How a time range looks in JSON, for the schema.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the schema generator only")]
#[schemars(rename = "TimeRange")]
pub struct RangeSchema {
    /// First instant inside, RFC 3339.
    from: String,
    /// Last instant inside, RFC 3339.
    to: String,
}
