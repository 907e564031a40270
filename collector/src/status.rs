//! Refusals, and how each protocol says them: HTTP status, gRPC status, `google.rpc.Status`.
//!
//! Source: OTLP specification, "Failures" and "Throttling"; google/rpc/status.proto and
//! error_details.proto. What a client does with a refusal decides whether data is lost, so every
//! reason says here whether the same request may be sent again.
//!
//! Invariants: what a later attempt can mend is retryable and says when to retry; what it cannot mend
//! is not retryable; too large is `RESOURCE_EXHAUSTED` without `RetryInfo`, as the specification asks.

use std::time::Duration;

use http::StatusCode;
use model::otlp::rpc;
use model::wire::{put_bytes, put_message};
use serde_json::{Value, json};
use storage::PositionRefusal;

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The bytes are not what they claim to be.
    Malformed,
    /// Larger than a limit, before or after decompression or when decoded.
    TooLarge,
    /// A `Content-Encoding` or `grpc-encoding` that is not known.
    Encoding,
    /// A `Content-Type` that is not known.
    MediaType,
    /// No such path or method.
    NotFound,
    /// The path takes other methods.
    Method,
    /// The bytes in flight have used up their budget.
    Overload,
    /// The store could not make it durable now.
    Storage,
    /// The body arrived more slowly than the limit.
    SlowBody,
    /// The client went away before its body was complete.
    Aborted,
    /// The positions of the request do not fit what is committed.
    Position,
    /// A defect of ours.
    Internal,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::TooLarge,
        Self::Encoding,
        Self::MediaType,
        Self::NotFound,
        Self::Method,
        Self::Overload,
        Self::Storage,
        Self::SlowBody,
        Self::Aborted,
        Self::Position,
        Self::Internal,
    ];

    /// The label in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Encoding => "encoding",
            Self::MediaType => "media_type",
            Self::NotFound => "not_found",
            Self::Method => "method",
            Self::Overload => "overload",
            Self::Storage => "storage",
            Self::SlowBody => "slow_body",
            Self::Aborted => "aborted",
            Self::Position => "position",
            Self::Internal => "internal",
        }
    }

    /// Whether the same request may succeed later.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Overload | Self::Storage | Self::SlowBody | Self::Aborted)
    }

    pub(crate) const fn http(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoding | Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Overload => StatusCode::TOO_MANY_REQUESTS,
            // 408 would tell OTLP clients to drop the data.
            Self::Storage | Self::SlowBody | Self::Aborted => StatusCode::SERVICE_UNAVAILABLE,
            // Final for a plain sender; an agent knows where to go on.
            Self::Position => StatusCode::CONFLICT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The gRPC status code.
    pub(crate) const fn grpc(self) -> u32 {
        match self {
            Self::Malformed | Self::MediaType => INVALID_ARGUMENT,
            Self::TooLarge => RESOURCE_EXHAUSTED,
            Self::Encoding | Self::NotFound | Self::Method => UNIMPLEMENTED,
            Self::Overload | Self::Storage => UNAVAILABLE,
            Self::SlowBody => DEADLINE_EXCEEDED,
            Self::Aborted => CANCELLED,
            Self::Position => FAILED_PRECONDITION,
            Self::Internal => INTERNAL,
        }
    }
}

const CANCELLED: u32 = 1;
const INVALID_ARGUMENT: u32 = 3;
const DEADLINE_EXCEEDED: u32 = 4;
const RESOURCE_EXHAUSTED: u32 = 8;
const FAILED_PRECONDITION: u32 = 9;
const UNIMPLEMENTED: u32 = 12;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// A request that was not taken, and why.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    /// The field of the request that is wrong, where one is to blame.
    field: Option<String>,
    /// Where an agent should go on.
    pub(crate) position: Option<PositionRefusal>,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), field: None, position: None }
    }

    pub(crate) fn position(refusal: PositionRefusal) -> Self {
        let message = refusal.to_string();
        Self { position: Some(refusal), ..Self::new(Reason::Position, message) }
    }

    pub(crate) fn too_large(bytes_max: usize) -> Self {
        Self::new(
            Reason::TooLarge,
            format!("the request is larger than {bytes_max} bytes after decompression: send smaller batches"),
        )
    }

    pub(crate) fn at(mut self, field: String) -> Self {
        self.field = (!field.is_empty()).then_some(field);
        self
    }

    /// `google.rpc.Status` as protobuf.
    pub(crate) fn protobuf(&self, retry_after: Duration) -> Vec<u8> {
        let retry_after = self.reason.is_retryable().then(|| whole_seconds(retry_after));
        let mut out = rpc::status(self.reason.grpc(), &self.message, retry_after);
        if self.reason == Reason::Malformed {
            rpc::put_detail(&mut out, BAD_REQUEST, |bad| {
                put_message(bad, 1, |violation| {
                    put_bytes(violation, 1, self.field.as_deref().unwrap_or_default().as_bytes());
                    put_bytes(violation, 2, self.message.as_bytes());
                });
            });
        }
        out
    }

    /// `google.rpc.Status` as JSON.
    pub(crate) fn json(&self, retry_after: Duration) -> Value {
        let mut details = Vec::new();
        if self.reason.is_retryable() {
            details
                .push(json!({"@type": RETRY_INFO, "retryDelay": format!("{}s", whole_seconds(retry_after))}));
        }
        if self.reason == Reason::Malformed {
            let field = self.field.as_deref().unwrap_or_default();
            let violation = json!({"field": field, "description": self.message});
            details.push(json!({"@type": BAD_REQUEST, "fieldViolations": [violation]}));
        }
        json!({"code": self.reason.grpc(), "message": self.message, "details": details})
    }
}

/// `Retry-After` counts whole seconds; never 0, which would ask for a busy loop.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1_000).clamp(1, 86_400) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retryable_reasons_use_only_codes_that_the_specification_calls_retryable() {
        for reason in Reason::ALL {
            let http_retries = [429, 502, 503, 504].contains(&reason.http().as_u16());
            // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
            let grpc_retries = [1, 4, 10, 11, 14, 15].contains(&reason.grpc());
            assert_eq!(http_retries, reason.is_retryable(), "{reason:?}");
            assert_eq!(grpc_retries, reason.is_retryable(), "{reason:?}");
        }
    }

    #[test]
    fn a_refusal_of_overload_carries_retry_info_and_too_large_carries_none() {
        let overload = Refusal::new(Reason::Overload, "busy").json(Duration::from_millis(1_500));
        assert_eq!(overload["details"][0]["retryDelay"], "2s");
        let large = Refusal::too_large(1).json(Duration::from_secs(1));
        assert_eq!(large["details"], json!([]));
    }
}
