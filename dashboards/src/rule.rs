//! Alert rules in Prometheus' file format, with `lang: logs` beside PromQL.
//!
//! ```yaml
//! groups:
//! - name: shop
//!   interval: 5s
//!   rules:
//!   - alert: BillingErrors
//!     expr: count(service:billing level>=error) by (service) over 1m > 0
//!     lang: logs                  # default promql
//!     for: 10s
//!     labels: {severity: page}
//!     annotations: {summary: "{{ $labels.service }}: {{ $value }} errors"}
//! ```
//!
//! Owns: the shape of a file, where in it each rule stands, what an error says. Does not own: whether an
//! expression is PromQL or a search (`query` checks both), evaluation.
//!
//! Invariant: a file is taken whole or not at all; an unknown key, a value of the wrong kind or a rule
//! without a name is an error with line and column.

mod file;
mod log_expr;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use log_expr::{Comparison, LogExpr};

/// Rules on agents, instances of services and the server itself, `dashboards/rules/fleet.yaml`.
pub const FLEET: (&str, &str) = ("fleet.yaml", include_str!("../rules/fleet.yaml"));

/// The alert rules of the shop, as file name and text.
pub const SHOP: [(&str, &str); 2] = [
    ("shop.yaml", include_str!("../rules/shop.yaml")),
    ("shop-logs.yaml", include_str!("../rules/shop-logs.yaml")),
];

/// Largest rule file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// The rules of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleFile {
    /// The file, as configured.
    pub path: String,
    /// Its groups, in order.
    pub groups: Vec<RuleGroup>,
}

/// Rules that are evaluated together, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleGroup {
    /// The group's name, unique in its file.
    pub name: String,
    /// How often it is evaluated; `None` for the configured default.
    pub interval: Option<Duration>,
    /// How far in the past expressions are evaluated.
    pub query_offset: Option<Duration>,
    /// Most alerts that one of its rules may have; 0 for any number.
    pub limit: usize,
    /// Labels added to the alerts of every rule; a rule's own win.
    pub labels: BTreeMap<String, String>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// What a rule makes of its expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Alerts.
    Alert,
    /// A new series.
    Record,
}

/// The language of a rule's expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lang {
    /// PromQL.
    Promql,
    /// [`LogExpr`] over the search syntax.
    Logs,
}

impl Lang {
    /// As it is written in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Promql => "promql",
            Self::Logs => "logs",
        }
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What it makes.
    pub kind: RuleKind,
    /// Name of the alert or of the recorded series.
    pub name: String,
    /// Its expression.
    pub expr: String,
    /// The language of `expr`.
    pub lang: Lang,
    /// How long the expression must hold before the alert fires.
    pub hold: Duration,
    /// How long the alert keeps firing after the expression last held.
    pub keep_firing_for: Duration,
    /// Labels of its alerts, templates.
    pub labels: BTreeMap<String, String>,
    /// Annotations of its alerts, templates.
    pub annotations: BTreeMap<String, String>,
    /// The line where it begins, from 1.
    pub line: u64,
    /// The line where its expression begins, from 1.
    pub expr_line: u64,
}

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The file, as configured.
    pub path: String,
    /// The line, from 1; 0 when the error is of the whole file.
    pub line: u64,
    /// The column, from 1; 0 when the error is of the whole line.
    pub column: u64,
    /// What is wrong, and the nearest valid choice.
    pub message: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path)?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        if self.column > 0 {
            write!(f, "{}:", self.column)?;
        }
        write!(f, " {}", self.message)
    }
}

impl std::error::Error for RuleError {}

/// Reads a rule file. `path` is kept for errors and alerts, nothing is opened.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse(path: &str, text: &str) -> Result<RuleFile, RuleError> {
    file::parse(path, text)
}

/// Reads a duration as Prometheus writes it: `5m`, `1h30m`, `0`, with the units `ms s m h d w y` from
/// large to small.
///
/// # Errors
/// Says what is no duration and shows one that is.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 31_536_000_000),
        ("w", 604_800_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let wrong = || format!("`{text}` is no duration: write a number and a unit, as in 30s, 5m or 1h30m");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut total, mut next_unit) = (text, 0u64, 0);
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = UNITS.iter().position(|(name, _)| *name == &rest[..end]).ok_or_else(wrong)?;
        if unit < next_unit {
            return Err(wrong());
        }
        next_unit = unit + 1;
        let millis = number.checked_mul(UNITS[unit].1).ok_or_else(wrong)?;
        total = total.checked_add(millis).ok_or_else(wrong)?;
        rest = &rest[end..];
    }
    Ok(Duration::from_millis(total))
}
