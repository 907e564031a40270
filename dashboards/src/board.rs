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
//!
//! Owns: the types of a board, what a valid one is, the board we ship. Does not own: asking its
//! questions and drawing its panels (`tui`).
//!
//! Invariants: what [`parse`] returns satisfies every rule in `board/check.rs`; every error names file,
//! line, column and, for a misspelt word, the nearest valid one.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

mod check;

/// The board of the example shop, `dashboards/boards/shop.toml`.
pub const SHOP: &str = include_str!("../boards/shop.toml");

/// All boards we ship, by name.
pub const SHIPPED: [(&str, &str); 3] = [
    ("fleet", include_str!("../boards/fleet.toml")),
    ("hosts", include_str!("../boards/hosts.toml")),
    ("shop", SHOP),
];

/// Units a panel or a column can have.
pub const UNITS: [&str; 7] = ["s", "ms", "ns", "percent", "bytes", "reqps", "short"];

/// Longer board files are refused unread.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

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
    /// Height in lines, heading included; without it the row shares what is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u16>,
    /// The row is left out on terminals narrower than this tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hide_below: Option<WidthTier>,
    /// Panels from left to right.
    #[serde(rename = "panel")]
    pub panels: Vec<Panel>,
}

/// How wide a terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WidthTier {
    /// Less than 60 columns.
    XS,
    /// 60 to 99 columns.
    S,
    /// 100 to 159 columns.
    M,
    /// 160 columns and more.
    L,
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
    /// A PromQL expression; `$range` and `$step` are filled in, as in `300s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promql: Option<String>,
    /// A log search; a stat counts matches, a table lists the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<String>,
    /// A SQL statement, for tables; `$from` and `$to` are filled in as RFC 3339 text without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// Unit of the values: `s`, `ms`, `ns`, `percent` (of 1), `bytes`, `reqps`, `short`.
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
    /// Columns of a table, in order, each `name` or `name:unit`; without it all that the answer has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

fn weight_default() -> u16 {
    1
}

/// Why a board file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardError {
    /// The file, as the caller names it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.problem)
    }
}

impl std::error::Error for BoardError {}

/// Reads a board. `file_name` is only what errors call it.
///
/// # Errors
/// The first thing that is wrong: syntax, an unknown key, a value of the wrong type, or a panel that
/// could not be drawn.
pub fn parse(file_name: &str, text: &str) -> Result<Board, BoardError> {
    check::parse(text).map_err(|(at, problem)| {
        let (line, column) = position(text, at);
        BoardError { file: file_name.to_owned(), line, column, problem }
    })
}

/// Reads every `*.toml` of a folder: the boards by file name without `.toml`, sorted, and one line of
/// text for each file that cannot be used.
pub fn load_dir(dir: &Path) -> (Vec<(String, Board)>, Vec<String>) {
    let mut boards = Vec::new();
    let mut errors = Vec::new();
    let mut paths = Vec::new();
    match std::fs::read_dir(dir) {
        Ok(entries) => paths.extend(entries.filter_map(|entry| entry.ok().map(|entry| entry.path()))),
        Err(error) => errors.push(format!("{}: {error}", dir.display())),
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match read(&path) {
            Ok(board) => boards.push((name, board)),
            Err(error) => errors.push(error),
        }
    }
    (boards, errors)
}

fn read(path: &Path) -> Result<Board, String> {
    let name = path.display().to_string();
    let bytes = std::fs::metadata(path).map_err(|error| format!("{name}: {error}"))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("{name}: {bytes} bytes, a board has {FILE_BYTES_MAX} at most"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    parse(&name, &text).map_err(|error| error.to_string())
}

/// Line and column, both from 1, of the byte at `at`.
fn position(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests;
