//! OTLP from services on this host: gRPC and HTTP, protobuf and JSON, gzip and zstd.
//!
//! Owns: the protocols' shells and the one path behind them. Does not own: the spool, the sending.
//!
//! ```text
//! request ─► permit ─► spool full? 429 / RESOURCE_EXHAUSTED before the body is read
//!         ─► body ─► decompress (bounded) ─► add resource attributes ─► zstd ─► spool ─► success, or
//!            `partial_success` when the policy of a full spool gave something up
//! ```
//!
//! Invariants: success leaves only after the spool has the request; a sender that is refused learns when
//! to come back; nothing is decoded into objects, a protobuf request is only walked.

mod grpc;
pub(crate) mod resource;

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use model::Signal;
use model::otlp::rpc;
use model::wire::{put_bytes, put_message, put_u64};
use thiserror::Error;
use tokio::sync::Semaphore;

use super::REQUESTS_MAX;
use super::intake::Intake;
use crate::queue::{Encoding, QueueError};

/// Bytes of a request, compressed or not.
const REQUEST_BYTES_MAX: usize = 16 << 20;
/// Largest zstd window, as a power of two: 8 MiB, what RFC 8878 recommends to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// How long a sender may take for the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// When a refused sender should come back, in seconds.
const RETRY_SECONDS: u64 = 5;

/// Why a request is not taken.
#[derive(Debug, Error)]
enum Refusal {
    #[error("no OTLP request: {0}")]
    Malformed(String),
    #[error("the request is larger than {REQUEST_BYTES_MAX} bytes")]
    TooLarge,
    #[error("unknown content encoding `{0}`: use identity, gzip or zstd")]
    UnknownEncoding(String),
    #[error("unknown content type `{0}`: use application/x-protobuf or application/json")]
    UnknownType(String),
    #[error("the body did not come within {BODY_TIMEOUT:?}")]
    Slow,
    #[error(transparent)]
    Spool(#[from] QueueError),
    #[error("the agent is shutting down")]
    Closing,
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Receiver {
    intake: Intake,
    permits: Semaphore,
}

impl Receiver {
    pub(crate) fn new(intake: Intake) -> Arc<Self> {
        Arc::new(Self { intake, permits: Semaphore::new(REQUESTS_MAX) })
    }

    /// The whole path of a request, whatever its protocol; how many of its items were not kept.
    async fn receive(
        self: &Arc<Self>,
        signal: Signal,
        encoding: Encoding,
        body: Body,
        unframe: impl FnOnce(Bytes) -> Result<(Bytes, String), Refusal> + Send + 'static,
    ) -> Result<u64, Refusal> {
        let _permit = self.permits.acquire().await.map_err(|_| Refusal::Closing)?;
        if self.intake.queue.is_full(signal) {
            return Err(self.intake.queue.full().into());
        }
        let body =
            match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, REQUEST_BYTES_MAX)).await {
                Ok(Ok(body)) => body,
                Ok(Err(_)) => return Err(Refusal::TooLarge),
                Err(_) => return Err(Refusal::Slow),
            };
        let receiver = Arc::clone(self);
        let accepting = tokio::task::spawn_blocking(move || {
            let (body, compression) = unframe(body)?;
            receiver.accept(signal, encoding, &decompress(&body, &compression)?)
        });
        accepting.await.unwrap_or(Err(Refusal::Closing))
    }

    fn accept(&self, signal: Signal, encoding: Encoding, raw: &[u8]) -> Result<u64, Refusal> {
        let (request, items) = match encoding {
            Encoding::Protobuf => resource::add_to_protobuf(raw, &self.intake.resource),
            Encoding::Json => resource::add_to_json(raw, signal, &self.intake.resource),
        }
        .map_err(Refusal::Malformed)?;
        if items == 0 {
            return Ok(0);
        }
        Ok(self.intake.offer(signal, encoding, &request, items as u64, raw.len() as u64)?)
    }
}

/// gRPC and HTTP on one listener; each is told by its path.
pub(crate) fn router(receiver: Arc<Receiver>) -> Router {
    let mut router = grpc::routes();
    for signal in Signal::ALL {
        router = router.route(
            &format!("/v1/{signal}"),
            post(async move |State(receiver): State<Arc<Receiver>>, request: Request| {
                handle(&receiver, signal, request).await
            }),
        );
    }
    router.with_state(receiver)
}

async fn handle(receiver: &Arc<Receiver>, signal: Signal, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let content_type = header(&parts.headers, CONTENT_TYPE);
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let encoding = match media_type {
        "application/x-protobuf" => Encoding::Protobuf,
        "application/json" => Encoding::Json,
        other => return refuse(Encoding::Json, &Refusal::UnknownType(other.to_owned())),
    };
    let compression = header(&parts.headers, CONTENT_ENCODING).to_owned();
    match receiver.receive(signal, encoding, body, move |body| Ok((body, compression))).await {
        Ok(not_kept) => {
            let answer = match encoding {
                Encoding::Json => answer_in_json(signal, not_kept).into_bytes(),
                Encoding::Protobuf => answer(not_kept),
            };
            ([(CONTENT_TYPE, encoding.content_type())], answer).into_response()
        }
        Err(refusal) => refuse(encoding, &refusal),
    }
}

/// What a sender is told of items that were not kept.
const NOT_KEPT: &str = "the spool of the agent is full";

/// An answer without `partial_success` (field 1) is an empty message.
fn answer(not_kept: u64) -> Vec<u8> {
    let mut out = Vec::new();
    if not_kept > 0 {
        put_message(&mut out, 1, |partial| {
            put_u64(partial, 1, not_kept);
            put_bytes(partial, 2, NOT_KEPT.as_bytes());
        });
    }
    out
}

fn answer_in_json(signal: Signal, not_kept: u64) -> String {
    let rejected = match signal {
        Signal::Traces => "rejectedSpans",
        Signal::Logs => "rejectedLogRecords",
        Signal::Metrics => "rejectedDataPoints",
    };
    match not_kept {
        0 => "{}".to_owned(),
        _ => serde_json::json!({ "partialSuccess": { rejected: not_kept.to_string(), "errorMessage": NOT_KEPT } })
            .to_string(),
    }
}

fn refuse(encoding: Encoding, refusal: &Refusal) -> Response {
    // Codes of google.rpc.Code beside the HTTP status.
    let (status, code) = match refusal {
        Refusal::Malformed(_) => (StatusCode::BAD_REQUEST, 3),
        Refusal::TooLarge | Refusal::Spool(QueueError::TooLarge { .. }) => (StatusCode::PAYLOAD_TOO_LARGE, 8),
        Refusal::UnknownEncoding(_) | Refusal::UnknownType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, 3),
        Refusal::Slow => (StatusCode::REQUEST_TIMEOUT, 4),
        Refusal::Spool(QueueError::Full { .. }) => (StatusCode::TOO_MANY_REQUESTS, 8),
        Refusal::Spool(QueueError::Io(_)) | Refusal::Closing => (StatusCode::SERVICE_UNAVAILABLE, 14),
    };
    let message = refusal.to_string();
    let body = match encoding {
        Encoding::Json => serde_json::json!({ "code": code, "message": message }).to_string().into_bytes(),
        Encoding::Protobuf => rpc::status(code, &message, None),
    };
    let mut response = (status, [(CONTENT_TYPE, encoding.content_type())], body).into_response();
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS.into());
    }
    response
}

fn header(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Undoes the compression, but never beyond the limit.
fn decompress(body: &Bytes, compression: &str) -> Result<Bytes, Refusal> {
    match compression {
        "" | "identity" | "none" => Ok(body.clone()),
        "gzip" => read_bounded(flate2::read::MultiGzDecoder::new(body.as_ref())),
        "zstd" => {
            let decoder = zstd::Decoder::new(body.as_ref()).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Ok(decoder)
            });
            read_bounded(decoder.map_err(|error| Refusal::Malformed(error.to_string()))?)
        }
        other => Err(Refusal::UnknownEncoding(other.to_owned())),
    }
}

fn read_bounded(reader: impl Read) -> Result<Bytes, Refusal> {
    let mut raw = Vec::new();
    let read = reader.take(REQUEST_BYTES_MAX as u64 + 1).read_to_end(&mut raw);
    read.map_err(|error| Refusal::Malformed(format!("cannot decompress: {error}")))?;
    if raw.len() > REQUEST_BYTES_MAX { Err(Refusal::TooLarge) } else { Ok(raw.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_refused_and_not_unpacked() {
        let zeros = vec![0u8; REQUEST_BYTES_MAX + 1];
        let bomb: Bytes = zstd::encode_all(zeros.as_slice(), 1).expect("packed").into();
        assert!(bomb.len() < 10_000);
        assert!(matches!(decompress(&bomb, "zstd"), Err(Refusal::TooLarge)));
    }

    #[test]
    fn a_zstd_window_above_8_mib_is_refused_and_one_of_8_mib_is_not() {
        let packed = |window_log| {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("encoder");
            encoder.window_log(window_log).expect("a window zstd knows");
            std::io::Write::write_all(&mut encoder, b"small").expect("packed");
            Bytes::from(encoder.finish().expect("packed"))
        };
        let largest = packed(ZSTD_WINDOW_LOG_MAX);
        assert_eq!(decompress(&largest, "zstd").expect("within the limit"), "small");
        let beyond = packed(ZSTD_WINDOW_LOG_MAX + 1);
        assert!(matches!(decompress(&beyond, "zstd"), Err(Refusal::Malformed(_))));
    }

    #[test]
    fn broken_and_unknown_compressions_are_told_apart() {
        let body = Bytes::from_static(b"not compressed");
        assert!(matches!(decompress(&body, "gzip"), Err(Refusal::Malformed(_))));
        assert!(matches!(decompress(&body, "zstd"), Err(Refusal::Malformed(_))));
        assert!(matches!(decompress(&body, "br"), Err(Refusal::UnknownEncoding(_))));
        assert_eq!(decompress(&body, "identity").expect("as it is"), body);
    }
}
