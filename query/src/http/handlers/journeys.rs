//! Journeys, the identity graph behind them, and where a message is.

use std::time::Duration;

use axum::extract::State;
use model::{SpanId, TraceId, UnixNano};
use query_api::journey::RowKey;
use query_api::{Journey, RowKind};

use super::{Answer, at_most, elapsed};
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::http::{App, routes};
use crate::identity::{self, GraphLimits};
use crate::limits::Cancel;
use crate::{Engine, journey, whereabouts};

/// How far back a journey is looked for when `from` is not given.
pub(super) const JOURNEY_RANGE_DEFAULT: Duration = Duration::from_secs(24 * 3600);

pub(in crate::http) async fn journey(State(app): State<App>, params: Params) -> Answer {
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

pub(in crate::http) async fn journey_row(State(app): State<App>, params: Params) -> Answer {
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

fn row_key(params: &Params, now: UnixNano) -> Result<RowKey, ApiError> {
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

/// The journey of a request as it is now, with the alerts and changes that stand around it.
pub(super) fn find_journey(
    engine: &Engine,
    request: &journey::Request<'_>,
    limits: &journey::Limits,
    cancel: &Cancel,
    start: Duration,
) -> Result<Journey, ApiError> {
    let snapshot = engine.snapshot(cancel);
    let mut found = journey::find_until(&snapshot, &engine.ids, request, limits, cancel)?;
    journey::mark_alerts(&mut found, &snapshot, &(engine.alerts)());
    journey::mark_config_changes(&mut found, &snapshot).map_err(journey::Error::Store)?;
    elapsed(&mut found.stats, &*engine.clock, start);
    Ok(found)
}

pub(in crate::http) async fn journey_diff(State(app): State<App>, params: Params) -> Answer {
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

pub(in crate::http) async fn ids(State(app): State<App>, params: Params) -> Answer {
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

pub(in crate::http) async fn ids_graph(State(app): State<App>, params: Params) -> Answer {
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

fn graph_limits(params: &Params) -> Result<GraphLimits, ApiError> {
    let default = GraphLimits::default();
    Ok(GraphLimits {
        hops: at_most(params, "hops", default.hops, journey::Limits::HOPS_MAX)?,
        degree: params.number("degree")?,
        nodes: at_most(params, "nodes", default.nodes, GraphLimits::NODES_MAX)?,
        rows: at_most(params, "rows", default.rows, GraphLimits::ROWS_MAX)?,
    })
}

/// The limits that a request asks for, within those of the server.
pub(super) fn journey_limits(
    params: &Params,
    default: &journey::Limits,
) -> Result<journey::Limits, ApiError> {
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

pub(in crate::http) async fn whereabouts(State(app): State<App>, params: Params) -> Answer {
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
