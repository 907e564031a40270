//! The HTTP listener: its routes, and what its receivers share.
//!
//! ```text
//! POST /v1/traces  /v1/logs  /v1/metrics   otlp_http
//! POST /log                                log
//! POST /v1/agent/hello                     hello
//! POST /v1/agent/heartbeat                 heartbeat
//! OPTIONS on any of them                   cors
//! ```

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::routing::post;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};
use model::Signal;
use storage::Compression;

use super::body::{BodyReader, too_long};
use super::cors::{self, Origins};
use super::{heartbeat, hello, log, otlp_http, positions};
use crate::admission::Ticket;
use crate::agents::Agents;
use crate::pipeline::Pipeline;
use crate::settings::Connections;
use crate::status::{Reason, Refusal, whole_seconds};

/// What the receivers of this listener share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) connections: Arc<Connections>,
}

/// All routes of the listener.
pub(crate) fn router(
    pipeline: &Arc<Pipeline>,
    connections: &Arc<Connections>,
    agents: &Arc<Agents>,
    cors_origins: &[String],
) -> Router {
    let shared = Arc::new(Shared { pipeline: Arc::clone(pipeline), connections: Arc::clone(connections) });
    let mut router = Router::new();
    for signal in Signal::ALL {
        let shared = Arc::clone(&shared);
        let handler = move |request| otlp_http::export(shared, signal, request);
        router = router.route(&format!("/v1/{signal}"), post(handler));
    }
    let (to_log, to_hello) = (Arc::clone(&shared), Arc::clone(&shared));
    let agents = Arc::clone(agents);
    let (unknown_path, other_method) = (Arc::clone(&shared), shared);
    router
        .route("/log", post(move |request| log::receive(to_log, request)))
        .route("/v1/agent/hello", post(move |request| hello::receive(to_hello, request)))
        .route("/v1/agent/heartbeat", post(move |request| heartbeat::receive(agents, request)))
        .method_not_allowed_fallback(move |request| refuse(other_method, Reason::Method, request))
        .fallback(move |request| refuse(unknown_path, Reason::NotFound, request))
        .layer(middleware::from_fn_with_state(Arc::new(Origins::new(cors_origins)), cors::apply))
}

async fn refuse(shared: Arc<Shared>, reason: Reason, request: Request) -> axum::response::Response {
    let (method, path) = (request.method(), request.uri().path());
    let message = match reason {
        Reason::Method => format!("`{method} {path}`: use POST"),
        _ => format!("`{path}` is not known: POST to /v1/traces, /v1/logs, /v1/metrics or /log"),
    };
    let media = otlp_http::media(request.headers()).unwrap_or(otlp_http::Media::Json);
    otlp_http::refused(&shared, media, &Refusal::new(reason, message))
}

impl Shared {
    /// Admits a body and reads it.
    pub(super) async fn read(
        &self,
        reader: &mut BodyReader,
        compression: Compression,
    ) -> Result<(Bytes, Ticket), Refusal> {
        let bytes_max = self.pipeline.wire_bytes_max(compression);
        let announced = reader.announced();
        if announced.is_some_and(|bytes| bytes > bytes_max as u64) {
            return Err(too_long(bytes_max));
        }
        let mut ticket = self.pipeline.enter(announced)?;
        let bytes = reader.all(bytes_max, &mut ticket).await?;
        Ok((bytes, ticket))
    }
}

/// How a body is compressed.
pub(super) fn compression(headers: &HeaderMap) -> Result<Compression, Refusal> {
    let named = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes).unwrap_or_default();
    match named.to_ascii_lowercase().trim_ascii() {
        b"" | b"identity" => Ok(Compression::Identity),
        b"gzip" | b"x-gzip" => Ok(Compression::Gzip),
        b"zstd" => Ok(Compression::Zstd),
        other => {
            let other = String::from_utf8_lossy(other).escape_default().to_string();
            let problem = format!("`Content-Encoding: {other}` is not known: use gzip, zstd or identity");
            Err(Refusal::new(Reason::Encoding, problem))
        }
    }
}

/// The headers that go with a refusal.
pub(super) fn refusal_headers(refusal: &Refusal, retry_after: Duration, headers: &mut HeaderMap) {
    if refusal.reason.is_retryable() {
        headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after)));
    }
    if let Some(refusal) = &refusal.position {
        positions::put_refusal(refusal, headers);
    }
    match refusal.reason {
        Reason::Encoding => {
            drop(headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd, identity")))
        }
        Reason::Method => drop(headers.insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"))),
        _ => {}
    }
}
