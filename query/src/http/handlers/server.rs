//! What every server has: whether it is ready, its metrics, the description of its API.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::http::App;

pub(in crate::http) async fn ready(State(app): State<App>) -> Response {
    let store = &app.engine.store;
    if let Some(progress) = store.replay_progress() {
        let storage::ReplayProgress { records, bytes, bytes_total } = progress;
        let text = format!(
            "the write-ahead log is being replayed: {records} records, {bytes} of at most {bytes_total} bytes\n"
        );
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    match store.is_ready() {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the disk is full or refuses the wal\n").into_response(),
    }
}

pub(in crate::http) async fn metrics(State(app): State<App>) -> Response {
    let text = (app.engine.metrics_text)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

pub(in crate::http) async fn openapi(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.openapi).into_response()
}
