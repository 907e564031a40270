//! What was recorded, read directly: log records, services, what cannot be joined, SQL.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use futures_util::StreamExt as _;
use query_api::SqlRequest;

use super::{Answer, Sent, elapsed, place_for_stream, read, stream_response};
use crate::http::error::ApiError;
use crate::http::params::{Params, RANGE_DEFAULT};
use crate::http::{App, json_response, routes};
use crate::{doctor, logs, search, services};

/// How far back the doctor looks when `from` is not given.
const DOCTOR_RANGE_DEFAULT: Duration = Duration::from_secs(3600);

/// Log records returned when `limit` is not given.
const LOGS_DEFAULT: usize = 200;

pub(in crate::http) async fn logs(State(app): State<App>, params: Params) -> Answer {
    let params = params.only(routes::LOGS)?;
    let start = app.engine.clock.monotonic();
    let range = params.range(RANGE_DEFAULT, app.engine.clock.now())?;
    let limit = params.number("limit")?.unwrap_or(LOGS_DEFAULT);
    let limit_max = app.engine.limits.log_records_max;
    if limit > limit_max {
        return Err(ApiError::limit(format!("`limit` is {limit}, {limit_max} at most"))
            .with_hint("narrow the time range or the search"));
    }
    let query = search::parse_with_ids(params.get("query").unwrap_or_default(), &app.engine.ids)?;
    app.json(move |engine, cancel| {
        let mut answer = logs::search(&engine.snapshot(cancel), &query, range, limit, cancel)?;
        elapsed(&mut answer.stats, &*engine.clock, start);
        Ok(answer)
    })
    .await
}

pub(in crate::http) async fn logs_tail(State(app): State<App>, params: Params) -> Answer {
    let params = params.only(routes::LOGS_TAIL)?;
    let query = search::parse_with_ids(params.get("query").unwrap_or_default(), &app.engine.ids)?;
    let place = place_for_stream(&app)?;
    let lines = logs::tail(&app.engine.store, query).take_until(app.shutdown.clone().cancelled_owned());
    let lines = lines.map(move |chunk| {
        // The place is free again when the stream is dropped.
        let _held = &place;
        Ok::<_, Infallible>(chunk)
    });
    Ok(stream_response(Body::from_stream(lines)))
}

pub(in crate::http) async fn services(State(app): State<App>, params: Params) -> Answer {
    let params = params.only(routes::RANGE)?;
    let start = app.engine.clock.monotonic();
    let range = params.range(RANGE_DEFAULT, app.engine.clock.now())?;
    app.json(move |engine, cancel| {
        let mut answer = services::overview(&engine.snapshot(cancel), range, cancel)?;
        elapsed(&mut answer.stats, &*engine.clock, start);
        Ok(answer)
    })
    .await
}

pub(in crate::http) async fn doctor(State(app): State<App>, params: Params) -> Answer {
    let params = params.only(routes::DOCTOR)?;
    let start = app.engine.clock.monotonic();
    let range = params.range(DOCTOR_RANGE_DEFAULT, app.engine.clock.now())?;
    let service = params.get("service").map(str::to_owned);
    app.json(move |engine, cancel| {
        let request = doctor::Request { range, service: service.as_deref() };
        // What has been read until then is still worth an answer.
        let is_late = || engine.clock.monotonic().saturating_sub(start) > engine.limits.timeout / 2;
        let snapshot = engine.snapshot(cancel);
        let mut answer = doctor::examine(&snapshot, &request, &engine.limits.doctor, &is_late, cancel)?;
        elapsed(&mut answer.stats, &*engine.clock, start);
        Ok(answer)
    })
    .await
}

pub(in crate::http) async fn sql(State(app): State<App>, request: Sent<SqlRequest>) -> Answer {
    let request = read(request)?;
    let start = app.engine.clock.monotonic();
    let place = app.gate.enter().await?;
    let limits = app.engine.limits.sql.clone();
    let snapshot = app.engine.store.snapshot();
    let (is_partial, held) = (snapshot.is_partial(), snapshot.held().clone());
    let mut answer = app.engine.sql.run(snapshot, request, limits, place).await?;
    if is_partial {
        answer.cuts.push(crate::reads::replay_cut());
    }
    elapsed(&mut answer.stats, &*app.engine.clock, start);
    let body = tokio::task::spawn_blocking(move || serde_json::to_vec(&answer)).await;
    drop(held);
    body.map_err(ApiError::internal)?.map(json_response).map_err(ApiError::internal)
}
