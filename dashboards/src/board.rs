//! A board: rows of panels with weights, no coordinates, because a terminal has 40 to 300 columns.
//!
//! ```toml
//! schema  = 1
//! title   = "Shop"
//! range   = "15m"
//! refresh = "5s"
//!
//! [[row]]
//! height = 5
//! panel = [ { type = "stat", title = "req/s", promql = "…", spark = true } ]
//! ```

use serde::{Deserialize, Serialize};

/// A board as written in its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Version of this format: 1.
    pub schema: u32,
    /// Shown in the header.
    pub title: String,
    /// Time range when the board opens, for example `15m`; the global time picker wins.
    #[serde(default = "range_default")]
    pub range: String,
    /// How often panels are asked again, for example `5s`.
    #[serde(default = "refresh_default")]
    pub refresh: String,
    /// Rows from top to bottom.
    #[serde(rename = "row")]
    pub rows: Vec<Row>,
}

fn range_default() -> String {
    "15m".to_owned()
}

fn refresh_default() -> String {
    "10s".to_owned()
}

/// Panels side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Height in lines; without it the row shares what is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u16>,
    /// Panels from left to right.
    #[serde(rename = "panel")]
    pub panels: Vec<Panel>,
}

/// How a panel draws its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PanelKind {
    /// One number, with an optional sparkline.
    Stat,
    /// Lines over time.
    Timeseries,
    /// Rows and columns.
    Table,
}

/// One panel. Exactly one of `promql`, `logs`, `sql` says what it shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panel {
    /// How it draws.
    #[serde(rename = "type")]
    pub kind: PanelKind,
    /// Its heading.
    pub title: String,
    /// A PromQL expression; `$range` and `$step` are filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promql: Option<String>,
    /// A log search; a stat counts matches, a table lists the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<String>,
    /// A SQL statement, for tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// Unit of the values: `s`, `percent` (of 1), `bytes`, `reqps`, `short`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Name of each series, with `{{label}}` filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legend: Option<String>,
    /// Value from which it is a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn: Option<f64>,
    /// Value from which it is critical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crit: Option<f64>,
    /// A stat draws its history beside the number.
    #[serde(default)]
    pub spark: bool,
    /// Share of the row's width relative to its neighbours.
    #[serde(default = "weight_default")]
    pub weight: u16,
    /// Series or rows shown at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<usize>,
}

fn weight_default() -> u16 {
    1
}
