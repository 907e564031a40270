//! `/metrics`, `/status`, `/healthz` and `/readyz`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

use super::{Shared, metrics};
use crate::tap::{LOOKERS_MAX, Wanted};

/// The admin pages.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(page))
        .route("/status", get(async |State(shared): State<Arc<Shared>>| Json(shared.status())))
        .route("/tail", get(tail))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(shared)
}

/// What of `/tail?source=NAME&level=warn` is understood.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TailQuery {
    source: Option<String>,
    level: Option<String>,
}

/// Records as they pass, a JSON object a line, until the reader goes.
async fn tail(State(shared): State<Arc<Shared>>, Query(query): Query<TailQuery>) -> Response {
    let level = match query.level.as_deref().map(str::parse).transpose() {
        Ok(level) => level,
        Err(error) => {
            let error: String = error;
            return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response();
        }
    };
    match shared.tap.look(Wanted { source: query.source, level }) {
        Some(lines) => ([(CONTENT_TYPE, "application/x-ndjson")], Body::new(lines)).into_response(),
        None => (StatusCode::TOO_MANY_REQUESTS, format!("{LOOKERS_MAX} readers look already: end one\n"))
            .into_response(),
    }
}

async fn page(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::families(&shared.summary()).text())
}

/// Whether files were looked at since the start; inputs that do not work are named, they are no reason to be taken out.
async fn readyz(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    if !shared.has_looked() {
        return (StatusCode::SERVICE_UNAVAILABLE, "files were not looked at yet\n".to_owned());
    }
    let problems = shared.problems().into_iter().map(|(table, problem)| format!("[{table}] {problem}\n"));
    (StatusCode::OK, std::iter::once("ready\n".to_owned()).chain(problems).collect())
}
