//! What can go wrong with a query, and how the Prometheus API names it.

use storage::OutOfMemory;

use crate::reads::MEMORY_HINT;

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromqlError {
    /// The request itself is wrong: grammar, types, parameters.
    #[error("{0}")]
    BadData(String),
    /// Correct PromQL that is not evaluated here; the text names the nearest that is.
    #[error("{0}")]
    Unsupported(String),
    /// The samples do not allow the operation.
    #[error("{0}")]
    Execution(String),
    /// The query costs more than it may.
    #[error("{0}")]
    Limit(String),
    /// The query was ended from outside.
    #[error("query was canceled")]
    Cancelled,
    /// The samples could not be read.
    #[error("samples cannot be read: {0}")]
    Source(String),
}

impl PromqlError {
    /// `errorType` of the Prometheus API.
    pub const fn error_type(&self) -> &'static str {
        match self {
            Self::BadData(_) | Self::Unsupported(_) => "bad_data",
            Self::Execution(_) | Self::Limit(_) => "execution",
            Self::Cancelled => "canceled",
            Self::Source(_) => "internal",
        }
    }

    /// HTTP status of the Prometheus API.
    pub const fn status(&self) -> u16 {
        match self {
            Self::BadData(_) | Self::Unsupported(_) => 400,
            Self::Execution(_) | Self::Limit(_) => 422,
            Self::Cancelled => 503,
            Self::Source(_) => 500,
        }
    }

    pub(crate) fn out_of_memory(refusal: OutOfMemory) -> Self {
        Self::Limit(format!(
            "query processing would load too many samples into memory in query execution ({refusal}): add matchers, \
             or {MEMORY_HINT}"
        ))
    }

    pub(crate) fn same_labelset() -> Self {
        Self::Execution("vector cannot contain metrics with the same labelset".to_owned())
    }
}
