//! The handlers of `/api/v1` and of what every server has.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use model::{Clock, SpanId, TraceId};
use query_api::boards::NamedBoard;
use query_api::journey::RowKey;
use query_api::{
    DeleteReceipt, DeleteRequest, DeletesAnswer, PushRequest, QueryStats, RollbackRequest, RowKind,
    SqlRequest,
};

use super::error::ApiError;
use super::params::{Params, RANGE_DEFAULT};
use super::{App, json_response, routes};
use crate::identity::{self, GraphLimits};
use crate::journey::follow::Follower;
use crate::limits::Cancel;
use crate::{doctor, journey, logs, search, services, whereabouts};
use model::text::nearest;

/// How far back a journey is looked for when `from` is not given.
const JOURNEY_RANGE_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// How far back the doctor looks when `from` is not given.
const DOCTOR_RANGE_DEFAULT: Duration = Duration::from_secs(3600);

/// Log records returned when `limit` is not given.
const LOGS_DEFAULT: usize = 200;

type Answer = Result<Response, ApiError>;

/// Fills in how long an answer took.
fn elapsed(stats: &mut QueryStats, clock: &dyn Clock, start: Duration) {
    let elapsed = clock.monotonic().saturating_sub(start);
    stats.elapsed_nano = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
}

pub(super) async fn ready(State(app): State<App>) -> Response {
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

pub(super) async fn metrics(State(app): State<App>) -> Response {
    let text = (app.engine.metrics_text)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

pub(super) async fn openapi(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.openapi).into_response()
}

pub(super) async fn journey(State(app): State<App>, params: Params) -> Answer {
    let params = params.only(routes::JOURNEY)?;
    let start = app.engine.clock.monotonic();
    let range = params.range(JOURNEY_RANGE_DEFAULT, app.engine.clock.now())?;
    let id = params.required("id")?.to_owned();
    let is_corrected = params.flag("correct_clocks")?;
    let limits = journey_limits(&params, &app.engine.limits.journey)?;
    app.json(move |engine, cancel| {
        let request = journey::Request { id: &id, range, is_corrected };
        find_journey(engine, &request, &limits, cancel, start)
    })
    .await
}

pub(super) async fn journey_row(State(app): State<App>, params: Params) -> Answer {
    let params = params.only(routes::JOURNEY_ROW)?;
    let key = row_key(&params, app.engine.clock.now())?;
    app.json(move |engine, cancel| {
        let snapshot = engine.snapshot(cancel);
        let found = journey::row(&snapshot, &key, cancel)?;
        found.ok_or_else(|| match snapshot.held().refusal() {
            Some(refusal) => refusal.into(),
            None => ApiError::not_found("there is no such row: it was deleted, or is too old".to_owned()),
        })
    })
    .await
}

fn row_key(params: &Params, now: model::UnixNano) -> Result<RowKey, ApiError> {
    let wrong = |name: &str, text: &str| ApiError::bad_query(format!("parameter `{name}`: `{text}` is none"));
    let kind = match params.required("kind")? {
        "span" => RowKind::Span,
        "log" => RowKind::Log,
        "event" => RowKind::Event,
        other => return Err(wrong("kind", other).with_hint("`span`, `log` or `event`".to_owned())),
    };
    params.required("time")?;
    let trace = |text: &str| TraceId::from_hex(text).ok_or_else(|| wrong("trace_id", text));
    let span = |text: &str| SpanId::from_hex(text).ok_or_else(|| wrong("span_id", text));
    Ok(RowKey {
        kind,
        trace_id: params.get("trace_id").map(trace).transpose()?,
        span_id: params.get("span_id").map(span).transpose()?,
        time: params.time("time", now)?.unwrap_or(now),
        service: params.get("service").unwrap_or_default().to_owned(),
        name: params.get("name").unwrap_or_default().to_owned(),
    })
}

/// How far past now a followed journey may lie: clocks of senders run ahead.
const FOLLOW_AHEAD: Duration = Duration::from_secs(60);

pub(super) async fn journey_follow(State(app): State<App>, params: Params) -> Answer {
    let params = params.only(routes::JOURNEY_FOLLOW)?;
    let now = app.engine.clock.now();
    let from = params.time("from", now)?.unwrap_or_else(|| now.minus(JOURNEY_RANGE_DEFAULT));
    let id = params.required("id")?.to_owned();
    let is_corrected = params.flag("correct_clocks")?;
    let limits = journey_limits(&params, &app.engine.limits.journey)?;
    let Ok(place) = Arc::clone(&app.tails).try_acquire_owned() else {
        let tails_max = app.engine.limits.tails_max;
        return Err(ApiError::unavailable(format!("{tails_max} tails are open already")));
    };
    let mut following = Following {
        follower: Follower::new(&app.engine.store),
        app: app.clone(),
        id,
        from,
        is_corrected,
        limits,
        first: None,
        place,
    };
    // The first one before the answer begins, so that an unknown id is a 404.
    following.first = following.compute().await?;
    let stop = app.shutdown.clone().cancelled_owned();
    let lines = futures_util::stream::unfold(following, |mut following| async move {
        let line = following.next().await?;
        Some((Ok::<_, std::convert::Infallible>(line), following))
    });
    let body = Body::from_stream(lines.take_until(stop));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")], body)
        .into_response())
}

/// One follower of a journey.
struct Following {
    follower: Follower,
    app: App,
    id: String,
    from: model::UnixNano,
    is_corrected: bool,
    limits: journey::Limits,
    first: Option<Vec<u8>>,
    /// Free again when the stream is dropped.
    #[expect(dead_code, reason = "held, not read")]
    place: tokio::sync::OwnedSemaphorePermit,
}

impl Following {
    /// The next line; `None` at the end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            match self.follower.wait().await {
                journey::follow::Arrival::End => return None,
                journey::follow::Arrival::Nothing => return Some(b"\n".to_vec()),
                journey::follow::Arrival::Concerns => {}
            }
            match self.compute().await {
                Ok(Some(line)) => return Some(line),
                Ok(None) => {}
                // Whoever follows asks again and is told why.
                Err(_) => return None,
            }
        }
    }

    /// The journey as it is now as a line; `None` when that is what was sent last.
    async fn compute(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        let engine = Arc::clone(&self.app.engine);
        let (id, from, is_corrected) = (self.id.clone(), self.from, self.is_corrected);
        let limits = self.limits.clone();
        let start = engine.clock.monotonic();
        let clock = Arc::clone(&engine.clock);
        let found = self.app.gate.run(move |cancel| {
            let range = model::TimeRange { from, to: engine.clock.now().plus(nanos(FOLLOW_AHEAD)) };
            let request = journey::Request { id: &id, range, is_corrected };
            find_journey(&engine, &request, &limits, cancel, start)
        });
        let found = found.await??;
        let took = clock.monotonic().saturating_sub(start);
        if !self.follower.take(&found, took) {
            return Ok(None);
        }
        let line = tokio::task::spawn_blocking(move || query_api::client::tail_line(&found)).await;
        line.map_err(ApiError::internal)?.map(Some).map_err(ApiError::internal)
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn find_journey(
    engine: &crate::Engine,
    request: &journey::Request<'_>,
    limits: &journey::Limits,
    cancel: &Cancel,
    start: Duration,
) -> Result<query_api::Journey, ApiError> {
    let snapshot = engine.snapshot(cancel);
    let mut found = journey::find_until(&snapshot, &engine.ids, request, limits, cancel)?;
    journey::mark_alerts(&mut found, &snapshot, &(engine.alerts)());
    journey::mark_config_changes(&mut found, &snapshot).map_err(journey::Error::Store)?;
    elapsed(&mut found.stats, &*engine.clock, start);
    Ok(found)
}

pub(super) async fn ids(State(app): State<App>, params: Params) -> Answer {
    let params = params.only(routes::RANGE)?;
    let start = app.engine.clock.monotonic();
    let range = params.range(JOURNEY_RANGE_DEFAULT, app.engine.clock.now())?;
    app.json(move |engine, cancel| {
        let mut answer = identity::kinds(&engine.snapshot(cancel), &engine.ids, range, cancel)?;
        elapsed(&mut answer.stats, &*engine.clock, start);
        Ok(answer)
    })
    .await
}

pub(super) async fn ids_graph(State(app): State<App>, params: Params) -> Answer {
    let params = params.only(routes::IDS_GRAPH)?;
    let start = app.engine.clock.monotonic();
    let range = params.range(JOURNEY_RANGE_DEFAULT, app.engine.clock.now())?;
    let id = params.required("id")?.to_owned();
    let limits = graph_limits(&params)?;
    app.json(move |engine, cancel| {
        let snapshot = engine.snapshot(cancel);
        let mut graph = identity::graph(&snapshot, &engine.ids, &id, range, &limits, cancel)?;
        elapsed(&mut graph.stats, &*engine.clock, start);
        Ok(graph)
    })
    .await
}

/// A number that may be `most` at most, `default` when it is not given.
fn at_most(params: &Params, name: &str, default: usize, most: usize) -> Result<usize, ApiError> {
    match params.number(name)?.unwrap_or(default) {
        given if given > most => Err(ApiError::limit(format!("`{name}` is {given}, {most} at most"))),
        given => Ok(given.max(1)),
    }
}

fn graph_limits(params: &Params) -> Result<GraphLimits, ApiError> {
    let default = GraphLimits::default();
    Ok(GraphLimits {
        hops: at_most(params, "hops", default.hops, journey::Limits::HOPS_MAX)?,
        degree: params.number("degree")?,
        nodes: at_most(params, "nodes", default.nodes, GraphLimits::NODES_MAX)?,
        rows: at_most(params, "rows", default.rows, GraphLimits::ROWS_MAX)?,
    })
}

fn journey_limits(params: &Params, default: &journey::Limits) -> Result<journey::Limits, ApiError> {
    use journey::Limits;
    Ok(Limits {
        hops: at_most(params, "hops", default.hops, Limits::HOPS_MAX)?,
        degree: params.number("degree")?.or(default.degree),
        traces: at_most(params, "traces", default.traces, Limits::TRACES_MAX)?,
        spans: at_most(params, "spans", default.spans, Limits::ROWS_MAX)?,
        logs: at_most(params, "logs", default.logs, Limits::ROWS_MAX)?,
        ..default.clone()
    })
}

pub(super) async fn whereabouts(State(app): State<App>, params: Params) -> Answer {
    let params = params.only(routes::WHERE)?;
    let start = app.engine.clock.monotonic();
    let range = params.range(JOURNEY_RANGE_DEFAULT, app.engine.clock.now())?;
    let id = params.required("id")?.to_owned();
    app.json(move |engine, cancel| {
        let mut answer = whereabouts::find(&engine.snapshot(cancel), &engine.ids, &id, range, cancel)?;
        elapsed(&mut answer.stats, &*engine.clock, start);
        Ok(answer)
    })
    .await
}

pub(super) async fn journey_diff(State(app): State<App>, params: Params) -> Answer {
    let params = params.only(routes::JOURNEY_DIFF)?;
    let start = app.engine.clock.monotonic();
    let range = params.range(JOURNEY_RANGE_DEFAULT, app.engine.clock.now())?;
    let b = params.required("b")?.to_owned();
    let a = params.get("a").map(str::to_owned);
    let baseline = params.get("baseline").map(str::parse::<journey::Baseline>).transpose();
    let baseline = baseline.map_err(|error| ApiError::bad_query(error.to_string()))?;
    if a.is_some() == baseline.is_some() {
        return Err(ApiError::bad_query("either `a` or `baseline` says what to compare with"));
    }
    app.json(move |engine, cancel| {
        let snapshot = engine.snapshot(cancel);
        let find = |id: &str| {
            let request = journey::Request { id, range, is_corrected: false };
            journey::find_until(&snapshot, &engine.ids, &request, &engine.limits.journey, cancel)
                .map_err(|error| ApiError::from(error).about(id))
        };
        let (a, text) = match (a, baseline) {
            (Some(a), _) => (a, None),
            (None, Some(baseline)) => {
                let chosen = baseline.choose(&snapshot, range, cancel)?;
                let hint = "a route is a span's http.route, url.path, http.target or rpc.method, or the path in its \
                            name; or ask for a longer time range";
                let chosen =
                    chosen.map_err(|error| ApiError::not_found(error.to_string()).with_hint(hint))?;
                (chosen.trace_id.to_string(), Some(chosen.text))
            }
            (None, None) => return Err(ApiError::bad_query("parameter `a` is missing")),
        };
        let mut diff = journey::diff(&find(&a)?, &find(&b)?, text);
        elapsed(&mut diff.stats, &*engine.clock, start);
        Ok(diff)
    })
    .await
}

pub(super) async fn logs(State(app): State<App>, params: Params) -> Answer {
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

pub(super) async fn logs_tail(State(app): State<App>, params: Params) -> Answer {
    let params = params.only(routes::LOGS_TAIL)?;
    let query = search::parse_with_ids(params.get("query").unwrap_or_default(), &app.engine.ids)?;
    let Ok(place) = Arc::clone(&app.tails).try_acquire_owned() else {
        let tails_max = app.engine.limits.tails_max;
        return Err(ApiError::unavailable(format!("{tails_max} tails are open already")));
    };
    let lines = logs::tail(&app.engine.store, query).take_until(app.shutdown.clone().cancelled_owned());
    let lines = lines.map(move |chunk| {
        // The place is free again when the stream is dropped.
        let _held = &place;
        Ok::<_, std::convert::Infallible>(chunk)
    });
    let body = Body::from_stream(lines);
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")], body)
        .into_response())
}

pub(super) async fn services(State(app): State<App>, params: Params) -> Answer {
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

pub(super) async fn doctor(State(app): State<App>, params: Params) -> Answer {
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

pub(super) async fn sql(State(app): State<App>, request: Result<Json<SqlRequest>, JsonRejection>) -> Answer {
    let Json(request) =
        request.map_err(|rejection| ApiError::unreadable(rejection.status(), rejection.body_text()))?;
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

pub(super) async fn agents(State(app): State<App>, params: Params) -> Answer {
    params.only(&[])?;
    app.json(|engine, _| Ok(engine.fleet.agents())).await
}

pub(super) async fn inventory(State(app): State<App>, params: Params) -> Answer {
    params.only(&[])?;
    app.json(|engine, _| Ok(engine.fleet.inventory())).await
}

pub(super) async fn agent_stages(State(app): State<App>, params: Params) -> Answer {
    params.only(&[])?;
    app.json(|engine, _| Ok(engine.fleet.stages())).await
}

pub(super) async fn agent_config(State(app): State<App>, params: Params) -> Answer {
    let params = params.only(routes::AGENT)?;
    let agent = params.required("agent")?.to_owned();
    app.json(move |engine, _| Ok(engine.fleet.config(&agent)?)).await
}

pub(super) async fn push_agents(
    State(app): State<App>,
    request: Result<Json<PushRequest>, JsonRejection>,
) -> Answer {
    let Json(request) =
        request.map_err(|rejection| ApiError::unreadable(rejection.status(), rejection.body_text()))?;
    app.json(move |engine, _| Ok(engine.fleet.push(request)?)).await
}

pub(super) async fn rollback_agents(
    State(app): State<App>,
    request: Result<Json<RollbackRequest>, JsonRejection>,
) -> Answer {
    let Json(request) =
        request.map_err(|rejection| ApiError::unreadable(rejection.status(), rejection.body_text()))?;
    app.json(move |engine, _| Ok(engine.fleet.rollback(request)?)).await
}

pub(super) async fn delete(
    State(app): State<App>,
    request: Result<Json<DeleteRequest>, JsonRejection>,
) -> Answer {
    let Json(request) =
        request.map_err(|rejection| ApiError::unreadable(rejection.status(), rejection.body_text()))?;
    let store = &app.engine.store;
    let receipt = match request.dry_run {
        true => store.count_deletable(&request.id).await?,
        false => store.delete(&request.id).await?,
    };
    let receipt = receipt_of(receipt, request.dry_run);
    serde_json::to_vec(&receipt).map(json_response).map_err(ApiError::internal)
}

pub(super) async fn deletes(State(app): State<App>, params: Params) -> Answer {
    params.only(&[])?;
    let deletes = app.engine.store.deletes().await?;
    let deletes = deletes.into_iter().map(|receipt| receipt_of(receipt, false)).collect();
    serde_json::to_vec(&DeletesAnswer { deletes }).map(json_response).map_err(ApiError::internal)
}

fn receipt_of(receipt: storage::DeleteReceipt, dry_run: bool) -> DeleteReceipt {
    DeleteReceipt {
        number: receipt.id,
        id: receipt.term,
        requested_at: receipt.requested_at,
        spans: receipt.spans,
        log_records: receipt.log_records,
        gone_at: receipt.gone_at,
        dry_run,
    }
}

pub(super) async fn alerts(State(app): State<App>, params: Params) -> Answer {
    params.only(&[])?;
    app.json(|engine, _| Ok((engine.alerts)())).await
}

pub(super) async fn boards(State(app): State<App>, params: Params) -> Answer {
    params.only(&[])?;
    app.json(|engine, _| Ok(engine.boards.all())).await
}

pub(super) async fn board(State(app): State<App>, Path(name): Path<String>, params: Params) -> Answer {
    params.only(&[])?;
    app.json(move |engine, _| {
        let boards = engine.boards.all().boards;
        let names: Vec<String> = boards.iter().map(|board| board.name.clone()).collect();
        let board: Option<NamedBoard> = boards.into_iter().find(|board| board.name == name);
        board.ok_or_else(|| {
            let names = names.iter().map(String::as_str);
            let hint = match nearest(&name, names.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the boards are {}", names.collect::<Vec<_>>().join(", ")),
            };
            ApiError::not_found(format!("there is no board `{name}`")).with_hint(hint)
        })
    })
    .await
}
