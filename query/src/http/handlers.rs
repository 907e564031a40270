//! The handlers of `/api/v1` and of what every server has: what all of them share.
//!
//! Owns: how an answer is timed and how a number is bounded. Each file below it is one part of the API; what is
//! computed stands outside `http`.

mod boards;
mod deletes;
mod fleet;
mod follow;
mod journeys;
mod server;
mod telemetry;

pub(super) use boards::{alerts, board, boards};
pub(super) use deletes::{delete, deletes};
pub(super) use fleet::{agent_config, agent_stages, agents, inventory, push_agents, rollback_agents};
pub(super) use follow::journey_follow;
pub(super) use journeys::{ids, ids_graph, journey, journey_diff, journey_row, whereabouts};
pub(super) use server::{metrics, openapi, ready};
pub(super) use telemetry::{doctor, logs, logs_tail, services, sql};

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use model::Clock;
use query_api::QueryStats;
use tokio::sync::OwnedSemaphorePermit;

use super::App;
use super::error::ApiError;
use super::params::Params;

type Answer = Result<Response, ApiError>;

/// A JSON body as axum read it, or why it could not.
type Sent<T> = Result<Json<T>, JsonRejection>;

/// Fills in how long an answer took.
fn elapsed(stats: &mut QueryStats, clock: &dyn Clock, start: Duration) {
    let elapsed = clock.monotonic().saturating_sub(start);
    stats.elapsed_nano = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
}

/// A number that may be `most` at most, `default` when it is not given.
fn at_most(params: &Params, name: &str, default: usize, most: usize) -> Result<usize, ApiError> {
    match params.number(name)?.unwrap_or(default) {
        given if given > most => Err(ApiError::limit(format!("`{name}` is {given}, {most} at most"))),
        given => Ok(given.max(1)),
    }
}

/// What was sent, or a refusal that says what is wrong with it.
fn read<T>(sent: Sent<T>) -> Result<T, ApiError> {
    let Json(request) =
        sent.map_err(|rejection| ApiError::unreadable(rejection.status(), rejection.body_text()))?;
    Ok(request)
}

/// A place among the streams that may be open at once; free again when it is dropped.
fn place_for_stream(app: &App) -> Result<OwnedSemaphorePermit, ApiError> {
    Arc::clone(&app.tails).try_acquire_owned().map_err(|_| {
        let tails_max = app.engine.limits.tails_max;
        ApiError::unavailable(format!("{tails_max} tails are open already"))
    })
}

/// A stream of JSON, one item a line.
fn stream_response(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")], body)
        .into_response()
}
