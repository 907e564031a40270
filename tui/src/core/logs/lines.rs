//! Log records, their histogram and their facets as lines.

use model::Severity;
use query_api::LogRecord;

use super::{LogsScreen, Summary, toggled};
use crate::core::format;
use crate::core::line::{Line, Role, width_of, wrap};
use crate::widget::sparkline::sparkline;

/// Values of a facet that are listed.
pub(crate) const FACET_VALUES_MAX: usize = 8;

/// The role of a severity number.
pub(crate) fn severity_role(number: i32) -> Role {
    match Severity::from_number(number) {
        Some(Severity::Error | Severity::Fatal) => Role::Bad,
        Some(Severity::Warn) => Role::Warn,
        Some(Severity::Info) => Role::Ok,
        _ => Role::Dim,
    }
}

/// Columns for the service of `records`.
pub(crate) fn service_width<'a>(records: impl IntoIterator<Item = &'a LogRecord>) -> usize {
    records.into_iter().map(|record| width_of(&record.service)).max().unwrap_or(0).clamp(6, 14)
}

/// One record on one line. Without a width it is as long as it must be.
pub(crate) fn record(record: &LogRecord, width: Option<usize>, service: usize) -> Line {
    let is_narrow = width.is_some_and(|width| width < 60);
    let time = record.time.clock_text();
    let mut line = Line::new();
    line.push(Role::Dim, if is_narrow { &time[..time.len().min(8)] } else { &time });
    line.gap(1);
    line.cell(severity_role(record.severity_number), &severity_word(record), 5);
    line.gap(1);
    line.cell(Role::Accent, &record.service, if is_narrow { service.min(8) } else { service });
    line.gap(1);
    line.push(if record.severity_number >= 17 { Role::Bad } else { Role::Text }, &record.body);
    for (key, value) in &record.attributes {
        if width.is_some_and(|width| line.width() > width) {
            break;
        }
        line.push(Role::Dim, &format!("  {key}="));
        line.push(Role::Text, value);
    }
    match width {
        Some(width) => line.fit(width),
        None => line,
    }
}

/// The severity in at most five letters.
fn severity_word(record: &LogRecord) -> String {
    match Severity::from_number(record.severity_number) {
        Some(severity) => severity.name().to_owned(),
        None => record.severity.to_uppercase(),
    }
}

/// What an opened record adds below its line: the whole body when it was cut, ids, attributes.
pub(crate) fn opened(record: &LogRecord, width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let inner = width.saturating_sub(4);
    if width_of(&record.body) + 30 > width || record.body.contains('\n') {
        for part in wrap(&record.body, inner, 12) {
            lines.push(indented(Role::Text, &part));
        }
    }
    let trace = record.trace_id.map(|id| ("trace".to_owned(), id.to_string()));
    let span = record.span_id.map(|id| ("span".to_owned(), id.to_string()));
    let ids = record.ids.iter().map(|term| (term.kind.clone(), term.value.clone()));
    let ids: Vec<(String, String, Role)> = trace
        .into_iter()
        .chain(span)
        .chain(ids.filter(|(kind, _)| kind != model::ids::TRACE_ID))
        .map(|(key, value)| (key, value, Role::Accent))
        .collect();
    let attributes = record
        .attributes
        .iter()
        .chain(&record.resource)
        .map(|(key, value)| (key.clone(), value.clone(), Role::Text));
    let all: Vec<(String, String, Role)> = ids.into_iter().chain(attributes).collect();
    let longest = all.iter().map(|(key, _, _)| width_of(key)).max().unwrap_or(0).clamp(8, 28).min(inner / 2);
    for (key, value, role) in &all {
        for (index, part) in wrap(value, inner.saturating_sub(longest + 2), 4).into_iter().enumerate() {
            let mut line = Line::new();
            line.gap(4);
            line.cell(Role::Dim, if index == 0 { key } else { "" }, longest);
            line.gap(2);
            line.push(*role, &part);
            lines.push(line.fit(width));
        }
    }
    if super::best_id(record).is_some() {
        lines.push(indented(Role::Dim, "o shows its journey"));
    }
    lines
}

fn indented(role: Role, text: &str) -> Line {
    let mut line = Line::new();
    line.gap(4);
    line.push(role, text);
    line
}

/// The histogram: all records over errors, each one line with its total.
pub(crate) fn histogram(summary: &Summary, width: usize) -> [Line; 2] {
    let all: Vec<f64> = summary
        .histogram
        .iter()
        .map(|bucket| (bucket.errors + bucket.warnings + bucket.others) as f64)
        .collect();
    let errors: Vec<f64> = summary.histogram.iter().map(|bucket| bucket.errors as f64).collect();
    let number_of_errors: u64 = summary.histogram.iter().map(|bucket| bucket.errors).sum();
    let stats = &summary.stats;
    let elapsed = i64::try_from(stats.elapsed_nano).unwrap_or(i64::MAX);
    let cost =
        format!("{} rows in {}", format::count(stats.rows_scanned), model::time::duration_text(elapsed));
    let text_width = if width >= 100 { 40 } else { 20 };
    let drawing = width.saturating_sub(6 + text_width).min(100);
    let row = |name: &str, role, values: &[f64], right: Line| {
        let mut line = Line::new();
        line.gap(1);
        line.cell(Role::Dim, name, 4);
        line.push(role, &sparkline(values, drawing, 1.0));
        line.with_right(right, width)
    };
    let mut lines = Line::of(Role::Text, &format!("{} lines", format::count(summary.matched)));
    let errors_word = if number_of_errors == 1 { "error" } else { "errors" };
    let mut errors_text = Line::of(Role::Text, &format!("{} {errors_word}", format::count(number_of_errors)));
    // A case has searched nothing.
    if width >= 100 && stats.elapsed_nano > 0 {
        lines.push(Role::Dim, &format!(" · {cost}"));
    }
    lines.gap(1);
    errors_text.gap(1);
    [row("all", Role::Accent, &all, lines), row("err", Role::Bad, &errors, errors_text)]
}

/// Facets, one line a value; `None` marks a line that cannot be selected.
pub(crate) fn facets(screen: &LogsScreen, width: usize) -> Vec<(Option<usize>, Line)> {
    let mut lines = Vec::new();
    let mut field = "";
    for (index, (name, value, count)) in screen.facet_values().into_iter().enumerate() {
        if name != field {
            field = name;
            lines.push((None, Line::of(Role::Dim, &format!(" {name}")).fit(width)));
        }
        let is_chosen = toggled(&screen.query, &super::term(name, value)).len() < screen.query.len();
        let number = format::count(count);
        let mut line = Line::new();
        line.push(if is_chosen { Role::Accent } else { Role::Dim }, if is_chosen { " ● " } else { "   " });
        line.cell(Role::Text, value, width.saturating_sub(5 + width_of(&number)));
        line.cell_right(Role::Dim, &number, width_of(&number) + 1);
        lines.push((Some(index), line.fit(width)));
    }
    lines
}
