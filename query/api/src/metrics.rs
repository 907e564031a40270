//! `GET|POST /prometheus/api/v1/query` and `/query_range`: the Prometheus HTTP API's shapes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The envelope of every Prometheus answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricsAnswer {
    /// `success` or `error`.
    pub status: String,
    /// The result of a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<MetricsData>,
    /// `bad_data`, `execution`, `timeout`, `internal` of an error.
    #[serde(default, rename = "errorType", skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the result leaves out or doubts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The result and its type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub enum MetricsData {
    /// One point in each series.
    Vector(Vec<Series>),
    /// Many points in each series.
    Matrix(Vec<Series>),
    /// One number.
    Scalar(Sample),
    /// One string.
    String(Sample),
}

/// What a client gets on success.
pub type MetricsResult = MetricsData;

/// One series: labels, and `value` in a vector or `values` in a matrix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// Labels; `__name__` is the metric's name.
    pub metric: BTreeMap<String, String>,
    /// The sample of a vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Sample>,
    /// The samples of a matrix, in order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Sample>,
}

/// Unix seconds and the value as text: `1.5`, `NaN`, `+Inf`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample(pub f64, pub String);

impl Sample {
    /// A sample of a number, written the way Prometheus writes it.
    pub fn new(seconds: f64, value: f64) -> Self {
        let text = match value {
            v if v.is_nan() => "NaN".to_owned(),
            f64::INFINITY => "+Inf".to_owned(),
            f64::NEG_INFINITY => "-Inf".to_owned(),
            v => v.to_string(),
        };
        Self(seconds, text)
    }

    /// The value as a number; NaN for text that is none.
    pub fn number(&self) -> f64 {
        match self.1.as_str() {
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            text => text.parse().unwrap_or(f64::NAN),
        }
    }
}
