//! The part of Prometheus' HTTP API that Grafana and promtool need: queries, labels, series.
//!
//! Unknown parameters are let pass, as Prometheus does: clients send many.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Response;
use model::{Signal, TimeRange};
use promql_parser::label::MatchOp as ParsedOp;
use promql_parser::parser::{self, Expr};
use query_api::{MetricsAnswer, MetricsData};
use serde::Serialize;
use storage::{ScanOrder, ScanStats, Snapshot};

use super::error::{ApiError, PrometheusError};
use super::params::Params;
use super::{App, json_response};
use crate::Engine;
use crate::limits::Cancel;
use crate::promql::{
    self, Labels, METRIC_NAME, MatchOp, Matcher, Options, PromqlError, SnapshotSource, labels_bytes,
};
use crate::reads::MEMORY_HINT;

pub(super) type Answer = Result<Response, PrometheusError>;
pub(super) type Form = Result<Params, ApiError>;

/// How far back labels and series are looked for when `start` is not given.
const METADATA_RANGE_DEFAULT: Duration = Duration::from_secs(3600);

/// Series that the metadata endpoints look at.
const SERIES_MAX: usize = 100_000;

/// Bytes that are remembered of a series beside its labels.
const SERIES_BYTES: usize = 64;

/// Bytes of one selector.
const SELECTOR_BYTES_MAX: usize = 16 << 10;

/// A success in Prometheus' envelope.
#[derive(Serialize)]
pub(super) struct Success<T> {
    pub(super) status: &'static str,
    pub(super) data: T,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<String>,
}

impl<T> Success<T> {
    pub(super) fn new(data: T) -> Self {
        Self { status: "success", data, warnings: Vec::new() }
    }
}

impl App {
    pub(super) async fn prometheus<T, W>(&self, work: W) -> Answer
    where
        T: Serialize,
        W: FnOnce(&Engine, &Cancel) -> Result<T, PrometheusError> + Send + 'static,
    {
        let engine = std::sync::Arc::clone(&self.engine);
        let body = self.gate.run(move |cancel| {
            let answer = work(&engine, cancel)?;
            serde_json::to_vec(&answer).map_err(|error| ApiError::internal(error).into())
        });
        body.await?.map(json_response)
    }
}

fn success(data: MetricsData) -> MetricsAnswer {
    MetricsAnswer {
        status: "success".to_owned(),
        data: Some(data),
        error_type: None,
        error: None,
        warnings: Vec::new(),
    }
}

fn source(engine: &Engine, cancel: &Cancel) -> (SnapshotSource, Options) {
    let options = Options { cancelled: Some(cancel.flag()), ..Options::default() };
    (SnapshotSource::new(engine.snapshot(cancel), &options), options)
}

pub(super) async fn query(State(app): State<App>, form: Form) -> Answer {
    let params = form?;
    let now = app.engine.clock.now();
    let time = params.time("time", now)?.unwrap_or(now);
    let expr = params.required("query")?.to_owned();
    app.prometheus(move |engine, cancel| {
        let (source, options) = source(engine, cancel);
        Ok(success(promql::instant(&source, &expr, time, &options)?))
    })
    .await
}

pub(super) async fn query_range(State(app): State<App>, form: Form) -> Answer {
    let params = form?;
    let now = app.engine.clock.now();
    params.required("start")?;
    params.required("end")?;
    let range = params.range_of(["start", "end"], METADATA_RANGE_DEFAULT, now)?;
    let step = params.duration("step")?;
    let expr = params.required("query")?.to_owned();
    app.prometheus(move |engine, cancel| {
        let (source, options) = source(engine, cancel);
        Ok(success(promql::range(&source, &expr, range, step, &options)?))
    })
    .await
}

pub(super) async fn labels(State(app): State<App>, form: Form) -> Answer {
    let (selectors, range) = metadata(&app, &form?)?;
    app.prometheus(move |engine, cancel| {
        let found = series_of(&engine.snapshot(cancel), &selectors, range, cancel)?;
        let names: BTreeSet<String> = found.series.into_iter().flat_map(BTreeMap::into_keys).collect();
        Ok(Success { warnings: found.warnings, ..Success::new(names) })
    })
    .await
}

pub(super) async fn label_values(State(app): State<App>, Path(name): Path<String>, form: Form) -> Answer {
    let (selectors, range) = metadata(&app, &form?)?;
    app.prometheus(move |engine, cancel| {
        let found = series_of(&engine.snapshot(cancel), &selectors, range, cancel)?;
        let values = found.series.into_iter().filter_map(|mut labels| labels.remove(&name));
        let values: BTreeSet<String> = values.collect();
        Ok(Success { warnings: found.warnings, ..Success::new(values) })
    })
    .await
}

pub(super) async fn series(State(app): State<App>, form: Form) -> Answer {
    let (selectors, range) = metadata(&app, &form?)?;
    if selectors.is_empty() {
        return Err(ApiError::bad_query("parameter `match[]` is missing").into());
    }
    app.prometheus(move |engine, cancel| {
        let found = series_of(&engine.snapshot(cancel), &selectors, range, cancel)?;
        let series: BTreeSet<Labels> = found.series.into_iter().collect();
        Ok(Success { warnings: found.warnings, ..Success::new(series) })
    })
    .await
}

pub(super) async fn build_info() -> Response {
    let version = env!("CARGO_PKG_VERSION");
    let data = serde_json::json!({ "version": version, "application": "silmari" });
    let body = serde_json::to_vec(&Success::new(data)).unwrap_or_default();
    json_response(body)
}

/// Each selector's conditions, and the time range.
fn metadata(app: &App, params: &Params) -> Result<(Vec<Vec<Matcher>>, TimeRange), PrometheusError> {
    let range = params.range_of(["start", "end"], METADATA_RANGE_DEFAULT, app.engine.clock.now())?;
    let selectors = params.all("match[]").map(matchers).collect::<Result<_, _>>()?;
    Ok((selectors, range))
}

fn matchers(selector: &str) -> Result<Vec<Matcher>, PromqlError> {
    let wrong = |problem: String| PromqlError::BadData(format!("invalid parameter \"match[]\": {problem}"));
    if selector.len() > SELECTOR_BYTES_MAX || selector.contains('(') && !selector.contains('"') {
        return Err(wrong("a series selector was expected".to_owned()));
    }
    promql::check(selector)?;
    let Expr::VectorSelector(parsed) = parser::parse(selector).map_err(wrong)? else {
        return Err(wrong("a series selector was expected".to_owned()));
    };
    let name = parsed.name.iter().map(|name| Matcher::new(METRIC_NAME, MatchOp::Equal, name));
    let others = parsed.matchers.matchers.iter().map(|matcher| {
        let op = match matcher.op {
            ParsedOp::Equal => MatchOp::Equal,
            ParsedOp::NotEqual => MatchOp::NotEqual,
            ParsedOp::Re(_) => MatchOp::Regex,
            ParsedOp::NotRe(_) => MatchOp::NotRegex,
        };
        Matcher::new(&matcher.name, op, &matcher.value)
    });
    name.chain(others).collect()
}

/// Says that there was not enough memory for all of an answer.
pub(super) fn memory_warning(snapshot: &Snapshot) -> Vec<String> {
    let refusal = snapshot.held().refusal();
    refusal.map(|refusal| format!("cut because there is {refusal}: {MEMORY_HINT}")).into_iter().collect()
}

struct Found {
    series: Vec<Labels>,
    warnings: Vec<String>,
}

/// The labels of every series with a point in `range` that passes one of the selectors, or of all when
/// there is none.
fn series_of(
    snapshot: &Snapshot,
    selectors: &[Vec<Matcher>],
    range: TimeRange,
    cancel: &Cancel,
) -> Result<Found, storage::Error> {
    let mut seen: HashMap<u64, Option<Labels>> = HashMap::new();
    let mut is_cut = false;
    let mut stats = ScanStats::default();
    snapshot.scan(Signal::Metrics, &range, &[], ScanOrder::Newest, &mut stats, &mut |batch| {
        let rows = storage::rows::PointRows::new(batch);
        for row in 0..rows.len() {
            if seen.contains_key(&rows.series_id(row)) {
                continue;
            }
            if seen.len() == SERIES_MAX {
                is_cut = true;
                return std::ops::ControlFlow::Break(());
            }
            let pairs = rows.labels(row).filter(|(_, value)| !value.is_empty());
            let mut labels: Labels = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            labels.insert(METRIC_NAME.to_owned(), rows.name(row).to_owned());
            let passes = |matchers: &Vec<Matcher>| {
                let value =
                    |matcher: &Matcher| labels.get(&matcher.name).map_or("", String::as_str).to_owned();
                matchers.iter().all(|matcher| matcher.is_match(&value(matcher)))
            };
            // Once here, once in the answer or its JSON.
            if snapshot.held().grow(2 * labels_bytes(&labels) + SERIES_BYTES).is_err() {
                return std::ops::ControlFlow::Break(());
            }
            let is_wanted = selectors.is_empty() || selectors.iter().any(passes);
            seen.insert(rows.series_id(row), is_wanted.then_some(labels));
        }
        cancel.flow()
    })?;
    let warnings = match is_cut {
        true => vec![format!("cut at {SERIES_MAX} series: narrow the time range")],
        false => memory_warning(snapshot),
    };
    Ok(Found { series: seen.into_values().flatten().collect(), warnings })
}
