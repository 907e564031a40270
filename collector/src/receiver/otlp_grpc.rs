//! OTLP over gRPC: three unary methods, taken as bytes.
//!
//! Source: gRPC over HTTP/2 (PROTOCOL-HTTP2.md), gRPC compression (compression.md). No message object is
//! built: what stands in the frame goes to the WAL as it is, compression included.
//!
//! ```text
//! body = compressed flag u8 │ length u32 BE │ message              one frame, as the methods are unary
//! answer: HTTP 200, one frame, trailers grpc-status: 0             refusal: HTTP 200, no frame,
//!                                                                  grpc-status, grpc-message,
//!                                                                  grpc-status-details-bin in the headers
//! ```

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Full};
use model::Signal;
use model::otlp::rpc::{self, FRAME_HEADER_BYTES};
use storage::{Compression, Origin};

use super::body::{BodyReader, too_long};
use super::{otlp_response, positions};
use crate::metrics::Source;
use crate::pipeline::{Encoding, Payload, Pipeline, Receipt};
use crate::settings::Connections;
use crate::status::{Reason, Refusal};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const ENCODINGS: HeaderValue = HeaderValue::from_static("identity,gzip,zstd");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC_ENCODING: &str = "grpc-encoding";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Bytes of `grpc-message` and, in base64, of the details: clients limit headers to 8 KiB.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// The methods of OTLP.
pub(crate) fn router(pipeline: &Arc<Pipeline>, limits: &Arc<Connections>) -> Router {
    let mut router = Router::new();
    for signal in Signal::ALL {
        let (pipeline, limits) = (Arc::clone(pipeline), Arc::clone(limits));
        let handler = move |request| export(pipeline, limits, signal, request);
        router = router.route(rpc::export_path(signal), post(handler));
    }
    let pipeline = Arc::clone(pipeline);
    router.fallback(move |request: Request| async move {
        let refusal = Refusal::new(Reason::NotFound, format!("no method `{}` here", request.uri().path()));
        refused(&pipeline, &refusal)
    })
}

async fn export(
    pipeline: Arc<Pipeline>,
    limits: Arc<Connections>,
    signal: Signal,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    if !is_grpc(&parts.headers) {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let began = pipeline.metrics.begin(Source::OtlpGrpc, signal);
    let mut reader = BodyReader::new(body, &limits);
    let result = receive(&pipeline, signal, &parts.headers, &mut reader).await;
    match result {
        Ok(receipt) => {
            began.stored();
            success(&receipt)
        }
        Err(refusal) => {
            began.refused(&refusal);
            reader.discard(&pipeline.tasks);
            refused(&pipeline, &refusal)
        }
    }
}

async fn receive(
    pipeline: &Arc<Pipeline>,
    signal: Signal,
    headers: &HeaderMap,
    reader: &mut BodyReader,
) -> Result<Receipt, Refusal> {
    let encoding = encoding(headers)?;
    let origin = positions::origin(headers)?.map(Origin::Agent);
    let mut ticket = pipeline.enter(reader.announced())?;
    if !reader.at_least(FRAME_HEADER_BYTES, &mut ticket).await? {
        return Err(Refusal::new(
            Reason::Malformed,
            "the body ends within the five bytes in front of a message",
        ));
    }
    let header = reader.held().first_chunk().expect("at least that many bytes are held");
    let (is_compressed, length) = rpc::frame_header(*header);
    let compression = if is_compressed { encoding } else { Compression::Identity };
    if is_compressed && compression == Compression::Identity {
        return Err(Refusal::new(
            Reason::Malformed,
            "the message is flagged as compressed, `grpc-encoding` is missing",
        ));
    }
    let bytes_max = pipeline.wire_bytes_max(compression);
    if length > bytes_max {
        return Err(too_long(bytes_max));
    }
    if reader.at_least(FRAME_HEADER_BYTES + length + 1, &mut ticket).await? {
        return Err(Refusal::new(
            Reason::Malformed,
            "there is more in the body than the one message of a unary call",
        ));
    }
    let bytes = reader.take();
    if bytes.len() < FRAME_HEADER_BYTES + length {
        let problem =
            format!("the message has {} bytes, {length} are announced", bytes.len() - FRAME_HEADER_BYTES);
        return Err(Refusal::new(Reason::Malformed, problem));
    }
    let (encoding, bytes) = (Encoding::Protobuf, bytes.slice(FRAME_HEADER_BYTES..));
    let payload = Payload { signal, encoding, compression, bytes, origin };
    pipeline.ingest(Source::OtlpGrpc, payload, ticket).await
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let rest = content_type.strip_prefix("application/grpc");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(';') || rest == "+proto")
}

fn encoding(headers: &HeaderMap) -> Result<Compression, Refusal> {
    match headers.get(GRPC_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(Compression::Identity),
        Some(b"gzip") => Ok(Compression::Gzip),
        Some(b"zstd") => Ok(Compression::Zstd),
        Some(other) => {
            let other = String::from_utf8_lossy(other).escape_default().to_string();
            Err(Refusal::new(
                Reason::Encoding,
                format!("`grpc-encoding: {other}` is not known: use identity, gzip or zstd"),
            ))
        }
    }
}

fn success(receipt: &Receipt) -> Response {
    let frame = rpc::frame(&otlp_response::protobuf(receipt));
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(frame)).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response.headers_mut().insert(GRPC_ACCEPT_ENCODING, ENCODINGS);
    positions::put_answer(receipt, response.headers_mut());
    response
}

fn refused(pipeline: &Pipeline, refusal: &Refusal) -> Response {
    let mut refusal = refusal.clone();
    refusal.message.truncate(refusal.message.floor_char_boundary(MESSAGE_BYTES_MAX));
    let details = STANDARD_NO_PAD.encode(refusal.protobuf(pipeline.limits.retry_after));
    let mut response = plain(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC);
    headers.insert(GRPC_ACCEPT_ENCODING, ENCODINGS);
    headers.insert(GRPC_STATUS, HeaderValue::from(refusal.reason.grpc()));
    if let Some(refusal) = &refusal.position {
        positions::put_refusal(refusal, headers);
    }
    for (name, value) in [(GRPC_MESSAGE, rpc::percent_encoded(&refusal.message)), (GRPC_DETAILS, details)] {
        headers.insert(name, HeaderValue::try_from(value).expect("both are printable ASCII"));
    }
    response
}

fn plain(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
