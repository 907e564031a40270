//! The screens as plain text, for the command line: the same lines as in the terminal, without colour.
//!
//! Invariant: like the screens, nothing here lets control characters from outside through.

mod diff;
mod follow;

use model::UnixNano;
use query_api::{AlertsAnswer, Journey, JourneyRow, LogRecord, MetricsData, Series, ServicesAnswer};

use crate::core::format;
use crate::core::glyph;
use crate::core::journey::{Timeline, detail, evidence as why, timeline};
use crate::core::line::{Line, Role, wrap};
use crate::core::logs::lines;
use crate::core::{alerts as alert_lines, range, services as service_lines};
use crate::widget::table::{self, Column};

/// Narrower text is made this wide: narrower than this nothing aligns.
const WIDTH_MIN: usize = 40;
/// Lines that one row with all its attributes is told in.
const ROW_LINES_MAX: usize = 2_000;

pub use diff::diff;
pub use follow::{NewRows, followed_journey};

/// Services and queues, worst first.
pub fn services(answer: &ServicesAnswer, width: usize, ascii: bool) -> String {
    let width = width.max(WIDTH_MIN);
    let columns = service_lines::Columns::new(&answer.services, width);
    let length = std::time::Duration::from_nanos(u64::try_from(answer.range.nanos()).unwrap_or(0));
    let now = answer.range.to;
    let mut out =
        vec![title(&format::plural(answer.services.len(), "service"), service_lines::totals(answer), width)];
    if answer.services.is_empty() {
        out.push(Line::of(Role::Text, &format!(" no spans in the last {}", range::short(length))));
    } else {
        out.push(columns.heading(&range::short(length)));
        out.extend(answer.services.iter().map(|row| columns.service(row, now)));
    }
    if !answer.queues.is_empty() {
        out.push(Line::new());
        out.push(service_lines::queue_heading(width.min(80)));
        out.extend(answer.queues.iter().map(|row| service_lines::queue(row, width.min(80))));
    }
    joined(out, ascii)
}

fn title(name: &str, rest: Line, width: usize) -> Line {
    let mut line = Line::new();
    line.gap(1);
    line.push(Role::Strong, name);
    line.push(Role::Dim, ", worst first · ");
    line.append(rest);
    line.fit(width)
}

/// One row of a journey with everything that is said of it.
pub fn journey_row(journey: &Journey, row: &JourneyRow, width: usize, ascii: bool) -> String {
    let width = width.max(WIDTH_MIN);
    let trace = journey.traces.iter().find(|trace| Some(trace.trace_id) == row.trace_id);
    joined(detail::lines(row, trace, journey.start_time, width, ROW_LINES_MAX, true), ascii)
}

/// A journey: how it went, where the time went, the timeline, why each trace belongs, what was cut.
pub fn journey(journey: &Journey, width: usize, ascii: bool) -> String {
    let width = width.max(WIDTH_MIN);
    let timeline = Timeline::new(journey.clone());
    let geometry = timeline.geometry(width);
    let mut out = vec![timeline.title(width)];
    out.extend(timeline.failure(width));
    out.extend(timeline.progress(width));
    out.push(timeline.path(width));
    out.push(timeline.time_spent(width));
    out.extend(timeline::happenings(journey, width));
    out.push(timeline.ruler(&geometry, None));
    out.extend((0..journey.rows.len()).map(|row| timeline.line(row, &geometry, false)));
    if !journey.traces.is_empty() {
        out.push(Line::new());
        out.push(Line::of(Role::Dim, " why these traces"));
        out.extend(journey.traces.iter().map(|trace| evidence(trace, width)));
    }
    let others: Vec<String> =
        journey.ids.iter().filter(|id| !journey.matched.contains(id)).map(ToString::to_string).collect();
    if !others.is_empty() {
        out.push(Line::of(Role::Dim, " also known as"));
        let lines = wrap(&others.join("  "), width.saturating_sub(3), 4);
        out.extend(lines.iter().map(|line| Line::of(Role::Text, &format!("   {line}"))));
    }
    out.extend(timeline::whole_cuts(journey, width));
    joined(out, ascii)
}

fn evidence(trace: &query_api::JourneyTrace, width: usize) -> Line {
    let mut line = Line::new();
    line.gap(3);
    let id = trace.trace_id.to_string();
    line.push(Role::Accent, if width < 80 { &id[..8] } else { &id });
    line.gap(2);
    line.push(Role::Text, &why::of_trace(trace));
    let mut right = Line::of(Role::Dim, &format::plural(trace.spans, "span"));
    right.cell_right(Role::Text, &model::time::duration_text(trace.duration_nano), 9);
    line.with_right(right, width)
}

/// Alert rules and their alerts, what fires first.
pub fn alerts(answer: &AlertsAnswer, width: usize) -> String {
    let width = width.max(WIDTH_MIN);
    let now = answer.time;
    let mut summary = Line::new();
    summary.gap(1);
    summary.append(alert_lines::summary(answer, now));
    let mut out = vec![summary.fit(width)];
    for error in &answer.file_errors {
        // Never cut: the end says what would be right.
        let lines = wrap(&format!("{} {error}", glyph::ERROR), width.saturating_sub(2), 4);
        out.extend(lines.iter().map(|line| Line::of(Role::Bad, &format!(" {line}"))));
    }
    let rows = alert_lines::rows(answer);
    if rows.is_empty() {
        out.push(Line::of(Role::Text, " no rules are loaded"));
    } else {
        out.push(alert_lines::heading(width));
    }
    for row in &rows {
        out.push(alert_lines::line(row, now, width));
        let summary = row.alert.and_then(|alert| alert.annotations.get("summary"));
        if let Some(summary) = summary {
            let mut line = Line::new();
            line.gap(12);
            line.push(Role::Dim, summary);
            out.push(line.fit(width));
        }
        if let Some(error) = &row.rule.error {
            let mut line = Line::new();
            line.gap(12);
            line.push(Role::Bad, error);
            out.push(line.fit(width));
        }
    }
    joined(out, false)
}

/// One log record on one line: time, level, service, body, attributes. Without a width nothing is cut.
pub fn log_line(record: &LogRecord, width: Option<usize>) -> String {
    lines::record(record, width, lines::service_width([record]).max(10)).plain()
}

/// Rows under their headings; columns that hold only numbers stand at the right.
pub fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let is_number = |index: usize| {
        !rows.is_empty() && rows.iter().all(|row| row.get(index).is_none_or(|cell| is_number_or_empty(cell)))
    };
    let columns: Vec<Column> = headers
        .iter()
        .enumerate()
        .map(|(index, name)| Column { name: (*name).to_owned(), is_number: is_number(index) })
        .collect();
    joined(table::lines(&columns, rows, usize::MAX), false)
}

fn is_number_or_empty(cell: &str) -> bool {
    cell.is_empty() || cell.parse::<f64>().is_ok()
}

/// The answer of a metrics query: a line a series, and below it its samples when there are many.
pub fn series(answer: &MetricsData) -> String {
    match answer {
        MetricsData::Scalar(sample) | MetricsData::String(sample) => {
            joined(vec![Line::of(Role::Text, &sample.1)], false)
        }
        MetricsData::Vector(series) | MetricsData::Matrix(series) if series.is_empty() => {
            "no series match\n".to_owned()
        }
        MetricsData::Vector(series) => {
            let rows: Vec<Vec<String>> = series
                .iter()
                .map(|series| {
                    vec![series_name(series), series.value.as_ref().map(|s| s.1.clone()).unwrap_or_default()]
                })
                .collect();
            table(&["series", "value"], &rows)
        }
        MetricsData::Matrix(series) => {
            let mut out = Vec::new();
            for series in series {
                out.push(Line::of(Role::Strong, &series_name(series)));
                for sample in &series.values {
                    let time = UnixNano::from_seconds(sample.0);
                    out.push(Line::of(Role::Text, &format!("  {}  {}", range::clock(time), sample.1)));
                }
            }
            joined(out, false)
        }
    }
}

/// `name{label="value"}`, as PromQL writes it.
fn series_name(series: &Series) -> String {
    let name = series.metric.get("__name__").cloned().unwrap_or_default();
    let labels: Vec<String> = series
        .metric
        .iter()
        .filter(|(name, _)| *name != "__name__")
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    if labels.is_empty() && !name.is_empty() { name } else { format!("{name}{{{}}}", labels.join(", ")) }
}

fn joined(lines: Vec<Line>, ascii: bool) -> String {
    let mut out = String::new();
    for line in lines {
        let text = line.plain();
        out.push_str(&if ascii { glyph::ascii(&text) } else { text });
        out.push('\n');
    }
    out
}
