//! OTLP/gRPC by hand: a unary call is a POST with one framed message and a status in the trailers, and
//! the message is only passed on.
//!
//! ```text
//! body = compressed u8 | length u32 big endian | message          trailers: grpc-status, grpc-message
//! ```

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http_body_util::{BodyExt, Full};
use model::Signal;
use model::otlp::rpc::{self, FRAME_HEADER_BYTES};

use super::{RETRY_SECONDS, Receiver, Refusal, answer, header};
use crate::queue::{Encoding, QueueError};

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

pub(super) fn routes() -> Router<Arc<Receiver>> {
    let mut router = Router::new();
    for signal in Signal::ALL {
        router = router.route(
            rpc::export_path(signal),
            post(async move |State(receiver): State<Arc<Receiver>>, request: Request| {
                handle(&receiver, signal, request).await
            }),
        );
    }
    router
}

async fn handle(receiver: &Arc<Receiver>, signal: Signal, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let compression = header(&parts.headers, GRPC_ENCODING).to_owned();
    let length = header(&parts.headers, CONTENT_LENGTH).parse().ok();
    let unframe = move |body: Bytes| unframe(&body, compression);
    match receiver.receive(signal, Encoding::Protobuf, length, body, unframe).await {
        Ok(not_kept) => success(&answer(&not_kept)),
        Err(refusal) => failure(&refusal),
    }
}

/// The one message of a unary call and its compression.
fn unframe(body: &Bytes, compression: String) -> Result<(Bytes, String), Refusal> {
    let malformed = |problem: &str| Refusal::Malformed(problem.to_owned());
    let Some((frame, message)) = body.split_first_chunk::<FRAME_HEADER_BYTES>() else {
        return Err(malformed("the gRPC frame is incomplete"));
    };
    let (_, length) = rpc::frame_header(*frame);
    if message.len() != length {
        return Err(malformed("the gRPC frame's length is not that of its message"));
    }
    let message = body.slice(FRAME_HEADER_BYTES..);
    match frame[0] {
        0 => Ok((message, String::new())),
        1 if !compression.is_empty() => Ok((message, compression)),
        _ => Err(malformed("the gRPC frame is marked as compressed, and no `grpc-encoding` says how")),
    }
}

/// The answer and status 0.
fn success(answer: &[u8]) -> Response {
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let mut frame = vec![0];
    frame.extend_from_slice(&(answer.len() as u32).to_be_bytes());
    frame.extend_from_slice(answer);
    let frame = Full::new(Bytes::from(frame));
    let mut response = Response::new(Body::new(frame.with_trailers(std::future::ready(Some(Ok(trailers))))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A failure without a message: the status stands in the headers.
fn failure(refusal: &Refusal) -> Response {
    let (code, is_retryable) = match refusal {
        Refusal::Malformed(_) | Refusal::BrokeOff(_) | Refusal::UnknownType(_) => (3, false),
        Refusal::UnknownEncoding(_) => (12, false),
        Refusal::TooLarge(_) | Refusal::Spool(QueueError::TooLarge { .. }) => (8, false),
        Refusal::Slow => (4, false),
        Refusal::Spool(QueueError::Full { .. }) => (8, true),
        Refusal::Spool(QueueError::Io(_)) | Refusal::Busy | Refusal::Closing => (14, true),
    };
    let message = refusal.to_string();
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip,zstd"));
    headers.insert(GRPC_STATUS, HeaderValue::from(code));
    if let Ok(text) = HeaderValue::from_str(&rpc::percent_encoded(&message)) {
        headers.insert(GRPC_MESSAGE, text);
    }
    if is_retryable {
        let details = STANDARD_NO_PAD.encode(rpc::status(code, &message, Some(RETRY_SECONDS)));
        if let Ok(details) = HeaderValue::from_str(&details) {
            headers.insert(GRPC_DETAILS, details);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_lie_are_refused() {
        for frame in [
            &b""[..],
            b"\0\0\0\0",
            b"\0\0\0\0\x02a",
            b"\0\0\0\0\x01ab",
            b"\x01\0\0\0\x01a",
            b"\x02\0\0\0\x01a",
        ] {
            let body = Bytes::copy_from_slice(frame);
            assert!(matches!(unframe(&body, String::new()), Err(Refusal::Malformed(_))), "{frame:?}");
        }
        let body = Bytes::from_static(b"\x01\0\0\0\x01a");
        assert_eq!(
            unframe(&body, "gzip".to_owned()).expect("whole"),
            (Bytes::from_static(b"a"), "gzip".to_owned())
        );
    }
}
