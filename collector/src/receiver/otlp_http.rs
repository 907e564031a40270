//! OTLP over HTTP: `POST /v1/{traces,logs,metrics}`, protobuf or JSON.
//!
//! Source: OTLP specification, "OTLP/HTTP Response": the answer is in the encoding of the request, and a
//! refusal's body is a `google.rpc.Status`.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use model::Signal;
use storage::Origin;

use super::body::BodyReader;
use super::http::{Shared, compression, refusal_headers};
use super::{otlp_response, positions};
use crate::metrics::Source;
use crate::pipeline::{Encoding, Payload, Receipt};
use crate::status::{Reason, Refusal};

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The two encodings of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Protobuf,
    Json,
}

pub(super) async fn export(shared: Arc<Shared>, signal: Signal, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let pipeline = &shared.pipeline;
    let began = pipeline.metrics.begin(Source::OtlpHttp, signal);
    let mut reader = BodyReader::new(body, &shared.connections);
    let media = media(&parts.headers);
    let result = match media {
        Some(media) => receive(&shared, signal, media, &parts.headers, &mut reader).await,
        None => Err(Refusal::new(
            Reason::MediaType,
            "`Content-Type` must be application/x-protobuf or application/json",
        )),
    };
    // Who sends neither encoding is told in the one that people can read.
    let media = media.unwrap_or(Media::Json);
    match result {
        Ok(receipt) => {
            began.stored();
            success(signal, media, &receipt)
        }
        Err(refusal) => {
            began.refused(&refusal);
            if !parts.headers.contains_key(http::header::EXPECT) {
                reader.discard(&pipeline.tasks);
            }
            refused(&shared, media, &refusal)
        }
    }
}

async fn receive(
    shared: &Shared,
    signal: Signal,
    media: Media,
    headers: &HeaderMap,
    reader: &mut BodyReader,
) -> Result<Receipt, Refusal> {
    let encoding = match media {
        Media::Protobuf => Encoding::Protobuf,
        Media::Json => Encoding::Json,
    };
    let compression = compression(headers)?;
    let origin = positions::origin(headers)?.map(Origin::Agent);
    let (bytes, ticket) = shared.read(reader, compression).await?;
    let payload = Payload { signal, encoding, compression, bytes, origin };
    shared.pipeline.ingest(Source::OtlpHttp, payload, ticket).await
}

pub(super) fn media(headers: &HeaderMap) -> Option<Media> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = text.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/x-protobuf") {
        return Some(Media::Protobuf);
    }
    essence.eq_ignore_ascii_case("application/json").then_some(Media::Json)
}

fn success(signal: Signal, media: Media, receipt: &Receipt) -> Response {
    let mut response = match media {
        Media::Protobuf => ([(CONTENT_TYPE, PROTOBUF)], otlp_response::protobuf(receipt)).into_response(),
        Media::Json => {
            ([(CONTENT_TYPE, JSON)], otlp_response::json(signal, receipt).to_string()).into_response()
        }
    };
    positions::put_answer(receipt, response.headers_mut());
    response
}

/// A refusal as a `google.rpc.Status`.
pub(super) fn refused(shared: &Shared, media: Media, refusal: &Refusal) -> Response {
    let retry_after = shared.pipeline.limits.retry_after;
    let mut response = match media {
        Media::Protobuf => ([(CONTENT_TYPE, PROTOBUF)], refusal.protobuf(retry_after)).into_response(),
        Media::Json => ([(CONTENT_TYPE, JSON)], refusal.json(retry_after).to_string()).into_response(),
    };
    *response.status_mut() = refusal.reason.http();
    refusal_headers(refusal, retry_after, response.headers_mut());
    response
}
