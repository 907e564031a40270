//! The HTTP server of the query API.
//!
//! Owns: routes, parameters, statuses, the OpenAPI document, limits of a request. Does not own: answers
//! (the modules beside this one), their JSON (`query_api`).
//!
//! ```text
//! connection ─► URI and body limits ─► route ─► Gate ─► blocking thread ─► JSON
//!                                        └► tail: a stream until the reader or the server goes
//! ```
//!
//! Invariants: [`routes::ROUTES`] is the only list of routes; router and document are made from it. No
//! query runs on an async thread. Every answer that is not a success is an `ErrorAnswer`, under
//! `/prometheus` a Prometheus error.

mod error;
mod exemplars;
mod handlers;
mod openapi;
mod params;
mod prometheus;
mod routes;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::Engine;
use crate::limits::{Cancel, Gate};
use error::ApiError;
use model::text::nearest;

/// How long open requests may take to end when the server stops.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);

/// What every handler holds.
#[derive(Clone)]
struct App {
    engine: Arc<Engine>,
    gate: Gate,
    tails: Arc<Semaphore>,
    shutdown: CancellationToken,
    openapi: Bytes,
}

impl App {
    /// Runs blocking work through the gate and writes its answer as JSON, also off the async threads.
    async fn json<T, W>(&self, work: W) -> Result<Response, ApiError>
    where
        T: Serialize,
        W: FnOnce(&Engine, &Cancel) -> Result<T, ApiError> + Send + 'static,
    {
        let engine = Arc::clone(&self.engine);
        let body = self.gate.run(move |cancel| {
            let answer = work(&engine, cancel)?;
            serde_json::to_vec(&answer).map_err(ApiError::internal)
        });
        Ok(json_response(body.await??))
    }
}

fn json_response(body: Vec<u8>) -> Response {
    ([(axum::http::header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// The API of `engine`. Tails end when `shutdown` is cancelled.
///
/// # Panics
/// Never: the routes are fixed.
pub fn router(engine: Engine, shutdown: CancellationToken) -> Router {
    let limits = engine.limits.clone();
    let app = App {
        gate: Gate::new(&limits),
        tails: Arc::new(Semaphore::new(limits.tails_max)),
        engine: Arc::new(engine),
        shutdown,
        openapi: Bytes::from(openapi::document().to_string()),
    };
    let mut router = Router::new();
    for route in routes::ROUTES {
        router = router.route(route.path, (route.handlers)());
    }
    router
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(limits.body_bytes_max))
        .layer(middleware::from_fn_with_state(limits.uri_bytes_max, limit_uri))
        .with_state(app)
}

/// Serves the API of `engine` on `listener` until `shutdown` is cancelled; open requests may then take
/// [`DRAIN_MAX`] to end.
///
/// # Errors
/// When the listener fails.
pub async fn serve(engine: Engine, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
    let router = router(engine, shutdown.clone());
    let stop = shutdown.clone().cancelled_owned();
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop);
    let too_long = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN_MAX).await;
    };
    tokio::select! {
        served = serving => served,
        () = too_long => Ok(()),
    }
}

async fn limit_uri(State(bytes_max): State<usize>, request: Request, next: Next) -> Response {
    let length = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    match length > bytes_max {
        true => ApiError::uri_too_long(length, bytes_max).into_response(),
        false => next.run(request).await,
    }
}

async fn no_such_path(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    let near = nearest(&path, routes::ROUTES.iter().map(|route| route.path));
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "/openapi.json lists all paths".to_owned(),
    };
    ApiError::not_found(format!("there is no `{path}`")).with_hint(hint)
}

async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    let route = routes::ROUTES.iter().find(|route| route.path == uri.path());
    let methods = route.map_or(String::new(), |route| route.methods.join(" and "));
    ApiError::method_not_allowed(format!("`{}` takes {methods}, not {method}", uri.path()))
}
