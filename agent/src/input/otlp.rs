//! OTLP from services on this host: gRPC and HTTP, protobuf and JSON, gzip and zstd.
//!
//! Owns: the protocols' shells and the one path behind them. Does not own: the spool, the sending.
//!
//! ```text
//! request ─► spool full? no memory? 429 / UNAVAILABLE with the time to come back, before the body is read
//!         ─► body ─► decompress (bounded) ─► JSON to protobuf ─► hide secrets ─► add resource attributes
//!         ─► processors of log records ─► split, zstd ─► spool ─► success, or `partial_success` when a record had a wrong
//!            value or the policy of a full spool gave something up
//! ```
//!
//! Invariants: success leaves only after the spool has the request; a sender that is refused learns when
//! to come back; nothing is decoded into objects, requests are only walked; behind the edge there is one format.

mod grpc;
mod process;
pub(crate) mod resource;

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::BodyExt as _;
use model::Signal;
use model::otlp::json::{self, NotTranscoded};
use model::otlp::rpc;
use model::wire::{put_bytes, put_message, put_u64};
use thiserror::Error;
use tokio::sync::Semaphore;

use self::process::Processors;
use super::intake::{Incoming, Intake, Prepared};
use crate::config::OtlpSettings;
use crate::memory::{Budget, Taken};
use crate::queue::{Encoding, QueueError};
use crate::status::DropReason;

/// Bytes of a request, compressed or not.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// What a request uses while it is worked on: before and after a step, and compressed. One is worked on at a time.
pub(crate) const WORK_BYTES_MAX: usize = 16 << 20;
/// What a request of unknown size takes before its body is read, and then at a time.
const STEP_BYTES: usize = 64 << 10;
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
    #[error("the request is larger than {0} bytes: send smaller batches")]
    TooLarge(usize),
    #[error("the agent has no memory for the request now")]
    Busy,
    #[error("the body broke off: {0}")]
    BrokeOff(String),
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

impl From<NotTranscoded> for Refusal {
    fn from(problem: NotTranscoded) -> Self {
        match problem {
            NotTranscoded::TooLarge { bytes_max, .. } => Self::TooLarge(bytes_max),
            problem => Self::Malformed(problem.to_string()),
        }
    }
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Receiver {
    intake: Intake,
    processors: Processors,
    /// Bytes for bodies.
    room: Budget,
    work: Arc<Semaphore>,
}

/// What a sender is told of items that were not kept.
#[derive(Debug, Default)]
struct NotKept {
    items: u64,
    why: String,
}

impl Receiver {
    pub(crate) fn new(intake: Intake, settings: &OtlpSettings, room: Budget) -> Arc<Self> {
        let processors = Processors::new(settings);
        Arc::new(Self { intake, processors, room, work: Arc::new(Semaphore::new(1)) })
    }

    /// The whole path of a request, whatever its protocol.
    async fn receive(
        self: &Arc<Self>,
        signal: Signal,
        encoding: Encoding,
        length: Option<usize>,
        body: Body,
        unframe: impl FnOnce(Bytes) -> Result<(Bytes, String), Refusal> + Send + 'static,
    ) -> Result<NotKept, Refusal> {
        if self.intake.queue.is_full(signal) {
            return Err(self.intake.queue.full().into());
        }
        if length.is_some_and(|length| length > REQUEST_BYTES_MAX) {
            return Err(Refusal::TooLarge(REQUEST_BYTES_MAX));
        }
        let mut taken = self.room.take(length.unwrap_or(STEP_BYTES)).ok_or(Refusal::Busy)?;
        let reading = tokio::time::timeout(BODY_TIMEOUT, self.read(body, length, &mut taken));
        let body = reading.await.map_err(|_| Refusal::Slow)??;
        let work = Arc::clone(&self.work).acquire_owned().await.map_err(|_| Refusal::Closing)?;
        let receiver = Arc::clone(self);
        let accepting = tokio::task::spawn_blocking(move || {
            let (body, compression) = unframe(body)?;
            let raw = decompress(&body, &compression)?;
            drop(body);
            let (prepared, mut not_kept) = receiver.prepare(signal, encoding, raw)?;
            // Requests that wait for the disk together share its syncs.
            drop(work);
            let given_up = receiver.intake.commit(prepared)?;
            if given_up > 0 {
                not_kept.items += given_up;
                NOT_KEPT.clone_into(&mut not_kept.why);
            }
            Ok(not_kept)
        });
        let accepted = accepting.await.unwrap_or(Err(Refusal::Closing));
        drop(taken);
        accepted
    }

    /// Reads a body, taking memory as it arrives when its length is not known.
    async fn read(&self, body: Body, length: Option<usize>, taken: &mut Taken) -> Result<Bytes, Refusal> {
        let mut room = length.unwrap_or(STEP_BYTES);
        let (mut body, mut read) = (body, Vec::with_capacity(room));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Refusal::BrokeOff(error.to_string()))?;
            let Ok(bytes) = frame.into_data() else { continue };
            if read.len() + bytes.len() > REQUEST_BYTES_MAX {
                return Err(Refusal::TooLarge(REQUEST_BYTES_MAX));
            }
            if read.len() + bytes.len() > room {
                let more = (read.len() + bytes.len() - room).next_multiple_of(STEP_BYTES);
                if !taken.grow(&self.room, more) {
                    return Err(Refusal::Busy);
                }
                room += more;
                read.reserve_exact(room - read.len());
            }
            read.extend_from_slice(&bytes);
        }
        Ok(read.into())
    }

    /// What goes into the spool, and the records that are none.
    fn prepare(
        &self,
        signal: Signal,
        encoding: Encoding,
        raw: Bytes,
    ) -> Result<(Prepared, NotKept), Refusal> {
        let raw_bytes = raw.len() as u64;
        let (mut not_kept, mut malformed) = (NotKept::default(), 0);
        let request = match encoding {
            Encoding::Protobuf => raw,
            Encoding::Json => {
                let transcoded = json::transcode(signal, &raw, REQUEST_BYTES_MAX)?;
                malformed = transcoded.rejected as u64;
                not_kept = NotKept { items: malformed, why: transcoded.errors.join("; ") };
                transcoded.request.into()
            }
        };
        let redacted = self.processors.redact(signal, Cow::Borrowed(&request));
        let (complete, items) =
            resource::add_to_protobuf(&redacted, &self.intake.resource).map_err(Refusal::Malformed)?;
        drop(redacted);
        drop(request);
        let processed = self.processors.process(signal, complete, self.intake.shared.clock.monotonic());
        let items = (items as u64).saturating_sub(processed.records());
        let mut prepared = match items {
            0 => Prepared::nothing(signal, raw_bytes),
            _ => self.intake.prepare(Incoming {
                signal,
                request: &processed.request,
                items,
                raw_bytes,
                note: "",
            })?,
        };
        prepared.left_out.extend(processed.left_out);
        prepared.left_out.push((DropReason::Malformed, malformed));
        Ok((prepared, not_kept))
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
    let length = header(&parts.headers, CONTENT_LENGTH).parse().ok();
    match receiver.receive(signal, encoding, length, body, move |body| Ok((body, compression))).await {
        Ok(not_kept) => {
            let answer = match encoding {
                Encoding::Json => answer_in_json(signal, &not_kept).into_bytes(),
                Encoding::Protobuf => answer(&not_kept),
            };
            ([(CONTENT_TYPE, encoding.content_type())], answer).into_response()
        }
        Err(refusal) => refuse(encoding, &refusal),
    }
}

/// Why items were not kept that were all right.
const NOT_KEPT: &str = "the spool of the agent is full";

/// An answer without `partial_success` (field 1) is an empty message.
fn answer(not_kept: &NotKept) -> Vec<u8> {
    let mut out = Vec::new();
    if not_kept.items > 0 {
        put_message(&mut out, 1, |partial| {
            put_u64(partial, 1, not_kept.items);
            put_bytes(partial, 2, not_kept.why.as_bytes());
        });
    }
    out
}

fn answer_in_json(signal: Signal, not_kept: &NotKept) -> String {
    let rejected = match signal {
        Signal::Traces => "rejectedSpans",
        Signal::Logs => "rejectedLogRecords",
        Signal::Metrics => "rejectedDataPoints",
    };
    let NotKept { items, why } = not_kept;
    match items {
        0 => "{}".to_owned(),
        _ => serde_json::json!({ "partialSuccess": { rejected: items.to_string(), "errorMessage": why } })
            .to_string(),
    }
}

fn refuse(encoding: Encoding, refusal: &Refusal) -> Response {
    // Codes of google.rpc.Code beside the HTTP status.
    let (status, code) = match refusal {
        Refusal::Malformed(_) | Refusal::BrokeOff(_) => (StatusCode::BAD_REQUEST, 3),
        Refusal::Busy => (StatusCode::TOO_MANY_REQUESTS, 14),
        Refusal::TooLarge(_) | Refusal::Spool(QueueError::TooLarge { .. }) => {
            (StatusCode::PAYLOAD_TOO_LARGE, 8)
        }
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
    if raw.len() > REQUEST_BYTES_MAX { Err(Refusal::TooLarge(REQUEST_BYTES_MAX)) } else { Ok(raw.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_refused_and_not_unpacked() {
        let zeros = vec![0u8; REQUEST_BYTES_MAX + 1];
        let bomb: Bytes = zstd::encode_all(zeros.as_slice(), 1).expect("packed").into();
        assert!(bomb.len() < 10_000);
        assert!(matches!(decompress(&bomb, "zstd"), Err(Refusal::TooLarge(_))));
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
