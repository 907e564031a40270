//! `GET /api/v1/logs?query=…` and `GET /api/v1/logs/tail?query=…`.
//!
//! The tail answers with one [`LogRecord`] as JSON per line (`application/x-ndjson`) as records are
//! acknowledged; a line `{"skipped":N}` says that N records were dropped because the reader was slow.

use std::collections::BTreeMap;

use model::{IdTerm, SpanId, TimeRange, TraceId, UnixNano};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Cut, QueryStats, RangeSchema};

/// Log records that match a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogsAnswer {
    /// The time range that was searched.
    #[schemars(with = "RangeSchema")]
    pub range: TimeRange,
    /// The latest matching records, oldest first.
    pub records: Vec<LogRecord>,
    /// How many records match, those not returned included.
    pub matched: u64,
    /// Matching records over time, by severity.
    pub histogram: Vec<LogBucket>,
    /// Values of service and severity among the matching records, most frequent first.
    pub facets: Vec<Facet>,
    /// What was left out.
    pub cuts: Vec<Cut>,
    /// What it cost.
    pub stats: QueryStats,
}

/// One log record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogRecord {
    /// When it happened (when it was observed, if the source did not say).
    #[schemars(with = "String")]
    pub time: UnixNano,
    /// `service.name` of its resource.
    pub service: String,
    /// 1–24, 0 when unspecified.
    pub severity_number: i32,
    /// The level: as written, else the name of the number's range.
    pub severity: String,
    /// The body as text.
    pub body: String,
    /// The trace it belongs to.
    #[schemars(with = "Option<String>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// The span it belongs to.
    #[schemars(with = "Option<String>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<SpanId>,
    /// Ids found in it.
    #[schemars(with = "Vec<String>")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<IdTerm>,
    /// Its attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Attributes of its resource.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resource: BTreeMap<String, String>,
}

/// One column of the histogram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogBucket {
    /// Start of the bucket.
    #[schemars(with = "String")]
    pub time: UnixNano,
    /// Records of severity ERROR and above.
    pub errors: u64,
    /// Records of severity WARN.
    pub warnings: u64,
    /// All others.
    pub others: u64,
}

/// The values a field has among the matching records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Facet {
    /// The field, as a search would name it.
    pub field: String,
    /// Values, most frequent first.
    pub values: Vec<FacetValue>,
}

/// One value of a facet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FacetValue {
    /// The value.
    pub value: String,
    /// Records that have it.
    pub count: u64,
}
