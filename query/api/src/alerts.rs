//! `GET /api/v1/alerts`: every alert rule with its state and its alerts.

use std::collections::BTreeMap;

use model::UnixNano;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// All rules and their alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertsAnswer {
    /// When this was put together.
    #[schemars(with = "String")]
    pub time: UnixNano,
    /// Rules: firing first, then pending, then the rest by name.
    pub rules: Vec<RuleStatus>,
    /// Rule files that could not be read; the rules they held before are still in force.
    pub file_errors: Vec<String>,
}

/// The state of a rule or of one of its alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// The expression holds nothing.
    Inactive,
    /// The expression holds, but not yet for as long as `for` demands.
    Pending,
    /// Firing.
    Firing,
}

/// One alert rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuleStatus {
    /// The alert's name.
    pub name: String,
    /// The group it stands in.
    pub group: String,
    /// The file it stands in, as configured.
    pub file: String,
    /// The line of the file where it begins, from 1.
    pub line: u64,
    /// `promql` or `logs`.
    pub lang: String,
    /// The expression.
    pub expr: String,
    /// How long the expression must hold before it fires.
    pub for_nano: i64,
    /// Highest state of its alerts.
    pub state: AlertState,
    /// When it was last evaluated; `None` before the first time.
    #[schemars(with = "Option<String>")]
    pub last_evaluation: Option<UnixNano>,
    /// What went wrong at the last evaluation.
    pub error: Option<String>,
    /// Value of the expression over the last evaluations, oldest first: the largest of its series, 0 for none.
    pub history: Vec<f64>,
    /// Alerts that are pending or firing.
    pub alerts: Vec<Alert>,
}

/// One alert: a label set for which the rule's expression holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// Labels, `alertname` among them.
    pub labels: BTreeMap<String, String>,
    /// Annotations, templates filled in.
    pub annotations: BTreeMap<String, String>,
    /// Pending or firing.
    pub state: AlertState,
    /// Since when the expression holds.
    #[schemars(with = "String")]
    pub active_at: UnixNano,
    /// Since when it fires.
    #[schemars(with = "Option<String>")]
    pub fired_at: Option<UnixNano>,
    /// The latest value.
    pub value: f64,
}
