//! `POST /v1/agent/hello`: an agent gets a session and its committed positions.
//!
//! Source: `docs/formats/positions.md`. Invariant: the session is durable before it is answered.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use model::positions::{AgentId, STREAMS_MAX, StreamId};
use serde::Deserialize;
use serde_json::json;

use super::body::BodyReader;
use super::http::{Shared, refusal_headers};
use crate::status::{Reason, Refusal};

/// Bytes of a hello: room to forget all streams of an agent.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Bytes of a text for people.
const TEXT_BYTES_MAX: usize = 256;

#[derive(Deserialize)]
struct Hello {
    agent: String,
    #[serde(default)]
    host: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    forget: Vec<String>,
}

pub(super) async fn receive(shared: Arc<Shared>, request: Request) -> Response {
    let (_, body) = request.into_parts();
    let mut reader = BodyReader::new(body, &shared.connections);
    match answer(&shared, &mut reader).await {
        Ok(answer) => {
            ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], answer).into_response()
        }
        Err(refusal) => {
            reader.discard(&shared.pipeline.tasks);
            refused(&shared, &refusal)
        }
    }
}

async fn answer(shared: &Shared, reader: &mut BodyReader) -> Result<String, Refusal> {
    let mut ticket = shared.pipeline.enter(reader.announced())?;
    let body = reader.all(BODY_BYTES_MAX, &mut ticket).await?;
    let hello: Hello = serde_json::from_slice(&body)
        .map_err(|error| Refusal::new(Reason::Malformed, format!("the hello is not understood: {error}")))?;
    let agent = AgentId::parse(&hello.agent)
        .ok_or_else(|| Refusal::new(Reason::Malformed, "`agent` is not a UUID").at("agent".to_owned()))?;
    let (host, version) = (shown(&hello.host)?, shown(&hello.version)?);
    let forget = streams(&hello.forget)?;
    let answer = shared.pipeline.hello(agent, forget).await?;
    tracing::info!("agent {agent} on `{host}`, version `{version}`: session {}", answer.session);
    let streams: Vec<_> = answer
        .streams
        .iter()
        .map(|(stream, committed)| json!({"stream": stream.to_string(), "committed": committed}))
        .collect();
    Ok(json!({"store": answer.store, "session": answer.session, "streams": streams}).to_string())
}

/// A text that can stand in a log.
fn shown(text: &str) -> Result<String, Refusal> {
    if text.len() > TEXT_BYTES_MAX {
        let problem = format!("`host` and `version` may have {TEXT_BYTES_MAX} bytes");
        return Err(Refusal::new(Reason::Malformed, problem));
    }
    Ok(text.escape_default().to_string())
}

fn streams(texts: &[String]) -> Result<Vec<StreamId>, Refusal> {
    if texts.len() > STREAMS_MAX {
        let problem = format!("{} streams to forget, an agent has at most {STREAMS_MAX}", texts.len());
        return Err(Refusal::new(Reason::Malformed, problem));
    }
    let parsed = texts.iter().map(|text| StreamId::parse(text)).collect::<Option<Vec<_>>>();
    parsed.ok_or_else(|| {
        Refusal::new(Reason::Malformed, "`forget` holds what is not 32 hex digits").at("forget".to_owned())
    })
}

fn refused(shared: &Shared, refusal: &Refusal) -> Response {
    let retry_after = shared.pipeline.limits.retry_after;
    let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let mut response = (json, refusal.json(retry_after).to_string()).into_response();
    *response.status_mut() = refusal.reason.http();
    refusal_headers(refusal, retry_after, response.headers_mut());
    response
}
