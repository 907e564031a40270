//! `POST /api/v1/sql`: one read-only statement over `spans`, `logs` and `points`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Cut, QueryStats};

/// The statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SqlRequest {
    /// One `SELECT`, `WITH`, `VALUES` or `EXPLAIN`.
    pub query: String,
    /// Rows to return at most; 1,000 unless told, 100,000 at most.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// The rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SqlAnswer {
    /// The columns, in order.
    pub columns: Vec<SqlColumn>,
    /// Each row has one JSON value a column.
    pub rows: Vec<Vec<serde_json::Value>>,
    /// What was left out.
    pub cuts: Vec<Cut>,
    /// What it cost.
    pub stats: QueryStats,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SqlColumn {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    pub data_type: String,
}
