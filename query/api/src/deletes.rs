//! `POST /api/v1/delete` and `GET /api/v1/deletes`: deleting by id, with receipts.

use model::UnixNano;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteRequest {
    /// The id as `kind=value`: every span and log record that carries it itself, for `trace_id=…` those of that trace.
    pub id: String,
    /// Only count what would be deleted.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was deleted, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeleteReceipt {
    /// Number of the delete in this store; the next one's after a dry run.
    pub number: u64,
    /// The id, as `kind=value`.
    pub id: String,
    /// When it was asked for, RFC 3339.
    #[schemars(with = "String")]
    pub requested_at: UnixNano,
    /// Spans that no query shows any more.
    pub spans: u64,
    /// Log records that no query shows any more.
    pub log_records: u64,
    /// When no segment held them any more, RFC 3339; absent as long as one may. The write-ahead log keeps the sender's
    /// request until its file is trimmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub gone_at: Option<UnixNano>,
    /// Whether nothing was deleted, because only counting was asked for.
    #[serde(default)]
    pub dry_run: bool,
}

/// All deletes, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeletesAnswer {
    /// Their receipts.
    pub deletes: Vec<DeleteReceipt>,
}
