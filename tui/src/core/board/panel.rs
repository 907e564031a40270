//! One panel as lines: a stat, a chart, a table. What does not fit degrades: a chart without room is
//! a sparkline with its last value, a stat without room is its value.

use std::collections::BTreeMap;

use model::TimeRange;
use query_api::boards::{Panel, PanelKind};
use query_api::{LogsAnswer, MetricsData, Series, SqlAnswer};

use crate::core::format;
use crate::core::line::{Line, Role, truncate, width_of};
use crate::core::msg::Answer;
use crate::widget::chart::{self, Chart, Curve};
use crate::widget::sparkline::sparkline;
use crate::widget::table::{self, Column};

/// Where a panel is drawn, and over which time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Columns.
    pub(crate) width: usize,
    /// Lines.
    pub(crate) height: usize,
    /// Time from left to right.
    pub(crate) range: TimeRange,
    /// Rows of a table that are scrolled past.
    pub(crate) scroll: usize,
}

/// Series a chart draws unless the panel says.
const TOP: usize = 8;
/// Characters of a table cell that are looked at.
const CELL_MAX: usize = 120;

/// The lines of `answer` as `panel` draws it, at most `room.height` of them.
pub(crate) fn lines(panel: &Panel, answer: &Answer, room: Room) -> Vec<Line> {
    let mut lines = match (panel.kind, answer) {
        (PanelKind::Stat, answer) => stat(panel, answer, room),
        (PanelKind::Timeseries, Answer::Metrics(data)) => timeseries(panel, data, room),
        (PanelKind::Table, Answer::Metrics(data)) => vector_table(panel, data, room),
        (PanelKind::Table, Answer::Logs(logs)) => logs_table(panel, logs, room),
        (PanelKind::Table, Answer::Sql(rows)) => sql_table(panel, rows, room),
        _ => vec![Line::of(Role::Warn, "this answer is of another kind than the panel")],
    };
    lines.truncate(room.height);
    lines.into_iter().map(|line| line.fit(room.width)).collect()
}

fn stat(panel: &Panel, answer: &Answer, room: Room) -> Vec<Line> {
    let (value, history) = match answer {
        Answer::Metrics(data) => newest(data),
        Answer::Logs(logs) => (logs.matched as f64, log_history(panel, logs)),
        _ => (f64::NAN, Vec::new()),
    };
    let (word, role) = judged(panel, value);
    let mut line = Line::new();
    let text =
        if value.is_nan() { "no data".to_owned() } else { format::with_unit(value, panel.unit.as_deref()) };
    line.push(if value.is_nan() { Role::Dim } else { role }, &text);
    if !word.is_empty() {
        line.push(role, &format!(" {word}"));
    }
    let least = if panel.unit.as_deref() == Some("percent") { 0.01 } else { 0.0 };
    if panel.spark && room.height >= 2 {
        let role = if role == Role::Strong { Role::Accent } else { role };
        return vec![line, Line::of(role, &sparkline(&history, room.width, least))];
    }
    if panel.spark {
        line.gap(2);
        let width = room.width.saturating_sub(line.width());
        line.push(Role::Accent, &sparkline(&history, width, least));
    }
    vec![line]
}

fn log_history(panel: &Panel, logs: &LogsAnswer) -> Vec<f64> {
    if !panel.spark {
        return Vec::new();
    }
    logs.histogram.iter().map(|bucket| (bucket.errors + bucket.warnings + bucket.others) as f64).collect()
}

/// The newest value of the first series, and all of its values.
fn newest(data: &MetricsData) -> (f64, Vec<f64>) {
    match data {
        MetricsData::Scalar(sample) => (sample.number(), Vec::new()),
        MetricsData::String(_) => (f64::NAN, Vec::new()),
        MetricsData::Vector(series) | MetricsData::Matrix(series) => {
            let Some(first) = series.first() else { return (f64::NAN, Vec::new()) };
            let history: Vec<f64> = first.values.iter().map(query_api::Sample::number).collect();
            let value =
                first.value.as_ref().or(first.values.last()).map_or(f64::NAN, query_api::Sample::number);
            (value, history)
        }
    }
}

/// A word and a role by the panel's bounds. With `warn` above `crit`, less is worse.
fn judged(panel: &Panel, value: f64) -> (&'static str, Role) {
    let is_inverse = panel.warn.zip(panel.crit).is_some_and(|(warn, crit)| warn > crit);
    let reaches = |bound: Option<f64>| {
        bound.is_some_and(|bound| if is_inverse { value <= bound } else { value >= bound })
    };
    if reaches(panel.crit) {
        ("✖ crit", Role::Bad)
    } else if reaches(panel.warn) {
        ("! warn", Role::Warn)
    } else {
        ("", Role::Strong)
    }
}

fn timeseries(panel: &Panel, data: &MetricsData, room: Room) -> Vec<Line> {
    let curves = curves(panel, data);
    if curves.is_empty() {
        return vec![Line::of(Role::Dim, "no data in this range")];
    }
    if room.width < chart::WIDTH_MIN || room.height < chart::HEIGHT_MIN {
        return curves.iter().map(|curve| spark_row(curve, panel, room.width)).collect();
    }
    let unit = panel.unit.as_deref();
    Chart { curves: &curves, range: room.range, unit, width: room.width, height: room.height }.lines()
}

fn spark_row(curve: &Curve, panel: &Panel, width: usize) -> Line {
    let value = format::with_unit(curve.last(), panel.unit.as_deref());
    let values: Vec<f64> = curve.points.iter().map(|(_, value)| *value).collect();
    let mut line = Line::new();
    line.cell(Role::Text, &curve.label, (width / 3).max(6));
    line.gap(1);
    line.push(Role::Accent, &sparkline(&values, width.saturating_sub(line.width() + 9), 0.0));
    line.with_right(Line::of(Role::Strong, &value), width)
}

/// Series with the largest latest values, as many as the panel shows.
fn curves(panel: &Panel, data: &MetricsData) -> Vec<Curve> {
    let (MetricsData::Matrix(series) | MetricsData::Vector(series)) = data else { return Vec::new() };
    let mut curves: Vec<Curve> = series
        .iter()
        .map(|series| Curve {
            label: label(panel, &series.metric),
            points: series.values.iter().map(|sample| (sample.0, sample.number())).collect(),
        })
        .collect();
    curves.sort_by(|one, other| {
        let key =
            |curve: &Curve| Some(curve.last()).filter(|last| !last.is_nan()).unwrap_or(f64::NEG_INFINITY);
        key(other).total_cmp(&key(one)).then_with(|| one.label.cmp(&other.label))
    });
    curves.truncate(panel.top.unwrap_or(TOP));
    curves
}

/// The legend with its labels filled in, or all labels.
pub(crate) fn label(panel: &Panel, metric: &BTreeMap<String, String>) -> String {
    let Some(legend) = &panel.legend else {
        let labels = metric.iter().filter(|(name, _)| *name != "__name__");
        let text = labels.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ");
        return if text.is_empty() {
            metric.get("__name__").cloned().unwrap_or_else(|| "value".to_owned())
        } else {
            text
        };
    };
    let mut out = String::new();
    let mut rest = legend.as_str();
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((name, after)) = after.split_once("}}") else {
            out.push_str("{{");
            rest = after;
            break;
        };
        out.push_str(metric.get(name.trim()).map_or("—", String::as_str));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A table of a vector: a column for each label, and `value`.
fn vector_table(panel: &Panel, data: &MetricsData, room: Room) -> Vec<Line> {
    let (MetricsData::Vector(series) | MetricsData::Matrix(series)) = data else {
        return vec![Line::of(Role::Warn, "a table needs a vector")];
    };
    let mut names: Vec<&str> =
        series.iter().flat_map(|series| series.metric.keys().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| *name != "__name__");
    names.push("value");
    let mut series: Vec<&Series> = series.iter().collect();
    series.sort_by(|one, other| value_of(other).total_cmp(&value_of(one)));
    let columns = chosen(panel, &names);
    let rows: Vec<Vec<String>> = series
        .iter()
        .map(|series| {
            let cell = |(name, unit): &(&str, Option<&str>)| match *name {
                "value" => format::with_unit(value_of(series), unit.or(panel.unit.as_deref())),
                name => series.metric.get(name).cloned().unwrap_or_default(),
            };
            columns.iter().map(cell).collect()
        })
        .collect();
    finish(panel, &columns, rows, |name| name == "value", room)
}

fn value_of(series: &Series) -> f64 {
    let value = series.value.as_ref().or(series.values.last()).map_or(f64::NAN, query_api::Sample::number);
    if value.is_nan() { f64::NEG_INFINITY } else { value }
}

fn logs_table(panel: &Panel, logs: &LogsAnswer, room: Room) -> Vec<Line> {
    let columns = chosen(panel, &["time", "service", "severity", "body"]);
    let rows = logs
        .records
        .iter()
        .rev()
        .map(|record| {
            let cell = |(name, _): &(&str, Option<&str>)| match *name {
                "time" => crate::core::range::clock(record.time),
                "service" => record.service.clone(),
                "severity" | "level" => record.severity.clone(),
                "body" => record.body.clone(),
                name => record
                    .attributes
                    .get(name)
                    .or_else(|| record.resource.get(name))
                    .cloned()
                    .unwrap_or_default(),
            };
            columns.iter().map(cell).collect()
        })
        .collect();
    finish(panel, &columns, rows, |_| false, room)
}

fn sql_table(panel: &Panel, answer: &SqlAnswer, room: Room) -> Vec<Line> {
    let names: Vec<&str> = answer.columns.iter().map(|column| column.name.as_str()).collect();
    let columns = chosen(panel, &names);
    let rows = answer
        .rows
        .iter()
        .map(|row| {
            let cell = |(name, unit): &(&str, Option<&str>)| {
                let value = names.iter().position(|known| known == name).and_then(|index| row.get(index));
                json_text(value, *unit)
            };
            columns.iter().map(cell).collect()
        })
        .collect();
    let is_number = |name: &str| {
        let column = answer.columns.iter().find(|column| column.name == name);
        column.is_some_and(|column| {
            ["Int", "UInt", "Float", "Decimal"].iter().any(|t| column.data_type.starts_with(t))
        })
    };
    finish(panel, &columns, rows, is_number, room)
}

fn json_text(value: Option<&serde_json::Value>, unit: Option<&str>) -> String {
    match (value, unit) {
        (None | Some(serde_json::Value::Null), _) => "—".to_owned(),
        (Some(serde_json::Value::Number(number)), unit) => match (number.as_f64(), unit) {
            (Some(number), Some(unit)) => format::with_unit(number, Some(unit)),
            (Some(float), None) if number.is_f64() => format::number(float),
            _ => number.to_string(),
        },
        (Some(serde_json::Value::String(text)), _) => text.clone(),
        (Some(other), _) => other.to_string(),
    }
}

/// Columns as the panel wants them, each with its unit, or all that there are.
fn chosen<'a>(panel: &'a Panel, all: &[&'a str]) -> Vec<(&'a str, Option<&'a str>)> {
    if panel.columns.is_empty() {
        return all.iter().map(|name| (*name, None)).collect();
    }
    let wanted = panel.columns.iter().map(|column| match column.split_once(':') {
        Some((name, unit)) => (name, Some(unit)),
        None => (column.as_str(), None),
    });
    wanted.collect()
}

fn finish(
    panel: &Panel,
    columns: &[(&str, Option<&str>)],
    mut rows: Vec<Vec<String>>,
    is_number: impl Fn(&str) -> bool,
    room: Room,
) -> Vec<Line> {
    rows.truncate(panel.top.unwrap_or(usize::MAX));
    if rows.is_empty() {
        return vec![Line::of(Role::Dim, "nothing in this range")];
    }
    for cell in rows.iter_mut().flatten() {
        if width_of(cell) > CELL_MAX {
            *cell = truncate(cell, CELL_MAX);
        }
    }
    let columns: Vec<Column> = columns
        .iter()
        .map(|(name, unit)| Column { name: (*name).to_owned(), is_number: unit.is_some() || is_number(name) })
        .collect();
    let mut lines = table::lines(&columns, &rows, room.width);
    let scroll = room.scroll.min(rows.len().saturating_sub(room.height.saturating_sub(1).max(1)));
    lines.drain(1..=scroll);
    lines
}
