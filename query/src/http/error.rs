//! Errors as HTTP answers.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use query_api::{ErrorAnswer, ErrorBody};

use crate::fleet::FleetError;
use crate::limits::Refusal;
use crate::reads::MEMORY_HINT;
use crate::search::SearchError;
use crate::sql::SqlError;
use crate::{journey, promql};

/// An answer that is not a success.
#[derive(Debug)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) body: Box<ErrorBody>,
}

impl ApiError {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let body = ErrorBody {
            code: code.to_owned(),
            message: message.into(),
            hint: None,
            searched: Vec::new(),
            range: None,
        };
        Self { status, body: Box::new(body) }
    }

    pub(super) fn bad_query(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_query", message)
    }

    pub(super) fn limit(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "limit", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// A defect of ours, or a damaged store. It is logged here; the asker learns only that it happened.
    pub(super) fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!("a query failed: {error}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
    }

    pub(super) fn method_not_allowed(message: String) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "bad_query", message)
    }

    pub(super) fn uri_too_long(bytes: usize, bytes_max: usize) -> Self {
        let message = format!("the path and its parameters have {bytes} bytes, {bytes_max} at most");
        Self::new(StatusCode::URI_TOO_LONG, "limit", message)
    }

    /// The status and text axum gives for a body or a form it cannot read.
    pub(super) fn unreadable(status: StatusCode, text: String) -> Self {
        let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "limit" } else { "bad_query" };
        Self::new(status, code, text)
    }

    /// Says which of several ids it is about.
    pub(super) fn about(mut self, id: &str) -> Self {
        self.body.message = format!("{id}: {}", self.body.message);
        self
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.body.hint = Some(hint.into());
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&ErrorAnswer { error: *self.body }).unwrap_or_default();
        let json = (header::CONTENT_TYPE, "application/json");
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                (self.status, [json, (header::RETRY_AFTER, "1")], body).into_response()
            }
            status => (status, [json], body).into_response(),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy { .. } => Self::unavailable(refusal.to_string()).with_hint("try again in a moment"),
            Refusal::Timeout(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "limit", refusal.to_string())
                .with_hint("ask for a shorter time range"),
            Refusal::Failed => Self::internal(refusal),
        }
    }
}

impl From<storage::Error> for ApiError {
    fn from(error: storage::Error) -> Self {
        match error.kind() {
            storage::ErrorKind::Retry => Self::unavailable(error.to_string()),
            storage::ErrorKind::FixInput => Self::bad_query(error.to_string()),
            _ => Self::internal(error),
        }
    }
}

impl From<storage::OutOfMemory> for ApiError {
    fn from(refusal: storage::OutOfMemory) -> Self {
        Self::limit(refusal.to_string()).with_hint(MEMORY_HINT)
    }
}

impl From<FleetError> for ApiError {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::Wrong(message) => Self::bad_query(message),
            FleetError::Unknown(message) => Self::not_found(message),
            FleetError::Failed(message) => Self::internal(message),
        }
    }
}

impl From<SearchError> for ApiError {
    fn from(error: SearchError) -> Self {
        Self::bad_query(error.to_string())
    }
}

impl From<journey::Error> for ApiError {
    fn from(error: journey::Error) -> Self {
        match error {
            journey::Error::NotFound { ref searched, range } => {
                let mut answer = Self::not_found(error.to_string());
                answer.body.searched.clone_from(searched);
                answer.body.range = Some(range);
                answer
                    .with_hint("ask for a longer time range with `from`, or name the kind: order_id=ORD-4711")
            }
            journey::Error::Store(error) => error.into(),
            journey::Error::Memory(refusal) => refusal.into(),
            journey::Error::Offsets(_) => Self::internal(error),
        }
    }
}

impl From<SqlError> for ApiError {
    fn from(error: SqlError) -> Self {
        let (mut answer, hint) = match error {
            SqlError::Statement { message, hint } => (Self::bad_query(message), hint),
            SqlError::Limit { message, hint } => (Self::limit(message), hint),
            SqlError::Cancelled => (Self::unavailable(error.to_string()), None),
            SqlError::Internal(message) => (Self::internal(message), None),
        };
        answer.body.hint = hint;
        answer
    }
}

impl From<promql::PromqlError> for PrometheusError {
    fn from(error: promql::PromqlError) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, error_type: error.error_type(), message: error.to_string() }
    }
}

/// An error in the shape of Prometheus' API.
#[derive(Debug)]
pub(super) struct PrometheusError {
    pub(super) status: StatusCode,
    pub(super) error_type: &'static str,
    pub(super) message: String,
}

impl From<ApiError> for PrometheusError {
    fn from(error: ApiError) -> Self {
        let error_type = match (error.status, &*error.body.code) {
            (StatusCode::SERVICE_UNAVAILABLE, "limit") => "timeout",
            (StatusCode::SERVICE_UNAVAILABLE, _) => "unavailable",
            (StatusCode::INTERNAL_SERVER_ERROR, _) => "internal",
            (StatusCode::UNPROCESSABLE_ENTITY, _) => "execution",
            (StatusCode::NOT_FOUND, _) => "not_found",
            _ => "bad_data",
        };
        Self { status: error.status, error_type, message: error.body.message }
    }
}

impl From<Refusal> for PrometheusError {
    fn from(refusal: Refusal) -> Self {
        ApiError::from(refusal).into()
    }
}

impl From<storage::Error> for PrometheusError {
    fn from(error: storage::Error) -> Self {
        ApiError::from(error).into()
    }
}

impl IntoResponse for PrometheusError {
    fn into_response(self) -> Response {
        let answer = query_api::MetricsAnswer {
            status: "error".to_owned(),
            data: None,
            error_type: Some(self.error_type.to_owned()),
            error: Some(self.message),
            warnings: Vec::new(),
        };
        let body = serde_json::to_vec(&answer).unwrap_or_default();
        (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}
