//! `POST /v1/agent/heartbeat`: an agent tells that it lives.
//!
//! Heartbeats are small and take no part in admission: under overload it is the more of interest who lives.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use model::agents::{CONFIG_TEXT_BYTES_MAX, Heartbeat};

use crate::agents::Agents;

/// Bytes of a heartbeat: it may bring a configuration, in which quotes and line ends take two.
const BODY_BYTES_MAX: usize = 2 * CONFIG_TEXT_BYTES_MAX + (64 << 10);
/// How long its body may take.
const BODY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) async fn receive(agents: Arc<Agents>, request: Request) -> Response {
    let reading = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX);
    let Ok(Ok(body)) = tokio::time::timeout(BODY_TIMEOUT, reading).await else {
        let problem =
            format!("a heartbeat has at most {BODY_BYTES_MAX} bytes and comes within {BODY_TIMEOUT:?}\n");
        return (StatusCode::BAD_REQUEST, problem).into_response();
    };
    match serde_json::from_slice::<Heartbeat>(&body) {
        Ok(beat) if beat.agent_id.is_empty() => {
            (StatusCode::BAD_REQUEST, "a heartbeat names its `agent_id`\n").into_response()
        }
        Ok(beat) => {
            let answer = serde_json::to_vec(&agents.beat(beat)).unwrap_or_default();
            if agents.has_unsaved_stages() {
                // A stage that was stopped must not go on after a restart. The answer need not wait for it:
                // the agent tells its outcome with every heartbeat.
                tokio::task::spawn_blocking(move || agents.save());
            }
            ([(CONTENT_TYPE, "application/json")], answer).into_response()
        }
        Err(error) => {
            (StatusCode::BAD_REQUEST, format!("the heartbeat is not understood: {error}\n")).into_response()
        }
    }
}
