//! What a case is made of, asked of the query API: the journey first, then what stood around it.
//!
//! Invariant: without the journey there is no case; any other part may be refused, and the case then says so.

use std::collections::BTreeSet;
use std::time::Duration;

use case::{About, Case, MetricWindow};
use model::{SystemClock, TimeRange, UnixNano};
use query_api::boards::{Board, NamedBoard, Panel, PanelKind, Row};
use query_api::{
    AlertState, AlertsAnswer, Client, ClientError, Cut, Journey, MetricsData, RowKind, ServicesAnswer,
};

use crate::exit::Failure;
use crate::ids::not_found;

/// How much before a journey the window begins.
const BEFORE: Duration = Duration::from_secs(10 * 60);
/// How much after its end the window ends.
const AFTER: Duration = Duration::from_secs(5 * 60);
/// Samples of a series.
const SAMPLES: i64 = 180;
/// Services that are named in an expression.
const SERVICES_MAX: usize = 100;
/// Labels that name the service of an alert.
const SERVICE_LABELS: [&str; 4] = ["service_name", "service", "job", "service.name"];

/// Asks for the parts of a case. `is_whole` is whether more than the journey is wanted.
pub(super) async fn gather(
    client: &Client,
    id: &str,
    range: TimeRange,
    is_whole: bool,
) -> Result<Case, Failure> {
    let journey = client.journey(id, range).await.map_err(|error| not_found(id, error))?;
    let now = SystemClock::shared().now();
    let window = window(&journey, now);
    let about = About {
        silmari_version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: now,
        id: id.trim().to_owned(),
        range: journey.range,
        window,
        redaction: None,
        left_out: Vec::new(),
    };
    let mut case = Case {
        about,
        journey,
        corrected: None,
        graph: None,
        whereabouts: None,
        services: None,
        alerts: None,
        board: None,
        metrics: Vec::new(),
    };
    if is_whole {
        around(client, &mut case, range).await?;
    }
    Ok(case)
}

async fn around(client: &Client, case: &mut Case, range: TimeRange) -> Result<(), Failure> {
    let id = case.about.id.clone();
    let left_out = &mut case.about.left_out;
    if case.journey.clock_skew_nano > 0 {
        let corrected = client.journey_with(&id, range, true, &[]).await;
        case.corrected = kept(corrected, "the journey with corrected clocks", left_out)?;
    }
    case.graph = kept(client.id_graph(&id, range, &[]).await, "the identity graph", left_out)?;
    case.whereabouts =
        kept(client.whereabouts(&id, range).await, "the offsets of consumer groups", left_out)?;
    let touched: BTreeSet<String> = case.journey.services.iter().cloned().collect();
    let services = kept(client.services(case.about.window).await, "the services", left_out)?;
    case.services = services.map(|answer| of_services(answer, &case.journey, &touched));
    let alerts = kept(client.alerts().await, "the alerts", left_out)?;
    case.alerts = alerts.map(|answer| of_alerts(answer, &touched));
    metrics(client, case).await
}

/// The answer, or a note that it could not be had. A server that is gone ends the export.
fn kept<T>(
    answer: Result<T, ClientError>,
    what: &str,
    left_out: &mut Vec<Cut>,
) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(ClientError::Refused(body)) => {
            let what = format!("{what}: {}", body.message);
            left_out.push(Cut { what, limit: body.code, hint: body.hint });
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn window(journey: &Journey, now: UnixNano) -> TimeRange {
    let end = journey.start_time.plus(journey.duration_nano);
    let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    let from = journey.start_time.plus(-nanos(BEFORE));
    TimeRange { from, to: end.plus(nanos(AFTER)).min(now).max(from) }
}

/// The services the journey touched, and the queues its messages waited in.
fn of_services(mut answer: ServicesAnswer, journey: &Journey, touched: &BTreeSet<String>) -> ServicesAnswer {
    let waits = journey.rows.iter().filter(|row| row.kind == RowKind::QueueWait);
    let queues: BTreeSet<&str> = waits.map(|row| row.service.as_str()).collect();
    answer.services.retain(|row| touched.contains(&row.service));
    answer.queues.retain(|row| queues.contains(row.destination.as_str()));
    answer
}

/// All rules, with the alerts of the touched services and those that name no service.
fn of_alerts(mut answer: AlertsAnswer, touched: &BTreeSet<String>) -> AlertsAnswer {
    for rule in &mut answer.rules {
        rule.alerts.retain(|alert| {
            let service = SERVICE_LABELS.iter().find_map(|label| alert.labels.get(*label));
            service.is_none_or(|service| touched.contains(service))
        });
        let states = rule.alerts.iter().map(|alert| alert.state);
        rule.state = states.max().unwrap_or(AlertState::Inactive);
    }
    answer.file_errors.clear();
    answer
}

async fn metrics(client: &Client, case: &mut Case) -> Result<(), Failure> {
    let window = case.about.window;
    let step = Duration::from_secs(
        u64::try_from(window.nanos() / model::time::SECOND / SAMPLES).unwrap_or(1).max(5),
    );
    let mut panels = Vec::new();
    for (title, unit, promql) in expressions(&case.journey.services) {
        let answer = client.metrics_range(&promql, window, step).await;
        let Some(series) = kept(answer, title, &mut case.about.left_out)? else { continue };
        // A panel that says nothing but that there is nothing would only take the room of the others.
        if is_empty(&series) {
            continue;
        }
        panels.push(panel(title, unit, &promql));
        let step_nano = i64::try_from(step.as_nanos()).unwrap_or(i64::MAX);
        case.metrics.push(MetricWindow { title: title.to_owned(), promql, step_nano, series });
    }
    if panels.is_empty() {
        let what = "metrics: these services sent no http.server.request.duration in that time".to_owned();
        case.about.left_out.push(Cut { what, limit: "case".to_owned(), hint: None });
        return Ok(());
    }
    let rows = panels.into_iter().map(|panel| Row { height: None, hide_below: None, panels: vec![panel] });
    let board = Board {
        schema: 1,
        title: format!("Around {}", case.about.id),
        range: "15m".to_owned(),
        refresh: "1h".to_owned(),
        rows: rows.collect(),
    };
    case.board = Some(NamedBoard { name: "case".to_owned(), board });
    Ok(())
}

fn is_empty(data: &MetricsData) -> bool {
    match data {
        MetricsData::Matrix(series) | MetricsData::Vector(series) => series.is_empty(),
        _ => false,
    }
}

/// Rate, errors and duration of the services, from the metrics that OpenTelemetry's HTTP servers have.
fn expressions(services: &[String]) -> [(&'static str, &'static str, String); 3] {
    let names: Vec<String> = services.iter().take(SERVICES_MAX).map(|name| literal(name)).collect();
    let of = format!("service_name=~\"{}\"", names.join("|"));
    let count = "http_server_request_duration_seconds_count";
    let bucket = "http_server_request_duration_seconds_bucket";
    let rate = format!("sum by (service_name) (rate({count}{{{of}}}[1m]))");
    let bad = format!("sum by (service_name) (rate({count}{{{of},http_response_status_code=~\"5..\"}}[1m]))");
    [
        ("requests/s", "reqps", rate.clone()),
        ("errors", "percent", format!("{bad} / {rate}")),
        (
            "p95",
            "s",
            format!("histogram_quantile(0.95, sum by (le, service_name) (rate({bucket}{{{of}}}[1m])))"),
        ),
    ]
}

/// A name as a regular expression inside of quotes: what could mean something else stands in a class.
fn literal(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        match c {
            '.' | '*' | '+' | '?' | '(' | ')' | '{' | '}' | '|' | '$' | '[' => {
                out.push('[');
                out.push(c);
                out.push(']');
            }
            '\\' | '"' | ']' | '^' | '\n' => out.push('.'),
            c => out.push(c),
        }
    }
    out
}

fn panel(title: &str, unit: &str, promql: &str) -> Panel {
    Panel {
        kind: PanelKind::Timeseries,
        title: title.to_owned(),
        promql: Some(promql.to_owned()),
        logs: None,
        sql: None,
        unit: Some(unit.to_owned()),
        legend: Some("{{service_name}}".to_owned()),
        warn: None,
        crit: None,
        spark: false,
        weight: 1,
        top: None,
        columns: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_services_are_literal_in_expressions() {
        let [(_, _, rate), ..] = expressions(&["a.b".to_owned(), "c|d\"}".to_owned()]);
        assert_eq!(
            rate,
            "sum by (service_name) (rate(http_server_request_duration_seconds_count{service_name=~\"a[.]b|c[|]d.[}]\"}[1m]))"
        );
    }
}
