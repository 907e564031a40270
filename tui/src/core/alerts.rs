//! Alert rules and their alerts, flattened to one list: what fires first, then what is about to.

use model::{TimeRange, UnixNano};
use query_api::{Alert, AlertState, AlertsAnswer, RuleStatus};

use super::line::{Line, Role, wrap};
use super::pane::Pane;
use super::{format, list};
use crate::widget::sparkline::sparkline;

/// State of the screen.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlertsScreen {
    /// What is known.
    pub(crate) pane: Pane<AlertsAnswer>,
    /// The selected row.
    pub(crate) selected: usize,
}

/// A row: a rule, and one of its alerts if it has any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AlertRow<'a> {
    /// The rule.
    pub(crate) rule: &'a RuleStatus,
    /// The alert.
    pub(crate) alert: Option<&'a Alert>,
}

/// Labels that may name the service of an alert, the best first.
const SERVICE_LABELS: [&str; 4] = ["service_name", "service", "service.name", "job"];
/// Labels and annotations that may name a journey.
const JOURNEY_LABELS: [&str; 5] = ["order_id", "correlation_id", "trace_id", "journey", "exemplar"];
/// An alert's evidence begins this long before it.
const EVIDENCE_BEFORE_NANO: i64 = 120 * model::time::SECOND;

impl<'a> AlertRow<'a> {
    /// Firing, pending or inactive.
    pub(crate) fn state(&self) -> AlertState {
        self.alert.map_or(self.rule.state, |alert| alert.state)
    }

    /// The service it is about, if its labels say.
    pub(crate) fn service(&self) -> Option<&'a str> {
        let labels = &self.alert?.labels;
        SERVICE_LABELS.iter().find_map(|label| labels.get(*label)).map(String::as_str)
    }

    /// An id that its labels or annotations name.
    pub(crate) fn journey(&self) -> Option<String> {
        let alert = self.alert?;
        JOURNEY_LABELS.iter().find_map(|label| {
            let value = alert.labels.get(*label).or_else(|| alert.annotations.get(*label))?;
            Some(value.split([' ', ',']).next().unwrap_or_default().to_owned())
        })
    }

    /// When its evidence lies.
    pub(crate) fn window(&self, now: UnixNano) -> Option<TimeRange> {
        let alert = self.alert?;
        Some(TimeRange { from: alert.active_at.plus(-EVIDENCE_BEFORE_NANO), to: now })
    }
}

/// All rows: firing, pending, failing rules, then the quiet ones; the server's order within each.
pub(crate) fn rows(answer: &AlertsAnswer) -> Vec<AlertRow<'_>> {
    let mut rows: Vec<AlertRow<'_>> = answer
        .rules
        .iter()
        .flat_map(|rule| {
            let alerts = rule.alerts.iter().map(move |alert| AlertRow { rule, alert: Some(alert) });
            alerts.chain(rule.alerts.is_empty().then_some(AlertRow { rule, alert: None }))
        })
        .collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.state()), row.rule.error.is_none()));
    rows
}

/// Rows that fire or are about to.
pub(crate) fn active(answer: &AlertsAnswer) -> Vec<AlertRow<'_>> {
    rows(answer).into_iter().filter(|row| row.alert.is_some()).collect()
}

/// Alerts that fire.
pub(crate) fn firing(answer: &AlertsAnswer) -> usize {
    answer
        .rules
        .iter()
        .flat_map(|rule| &rule.alerts)
        .filter(|alert| alert.state == AlertState::Firing)
        .count()
}

impl AlertsScreen {
    /// The selected row.
    pub(crate) fn row(&self) -> Option<AlertRow<'_>> {
        rows(self.pane.answer.as_ref()?).get(self.selected).copied()
    }

    /// Takes an answer; the selection stays with its alert.
    pub(crate) fn take(&mut self, answer: AlertsAnswer, now: UnixNano) {
        let identity = self.row().map(identity);
        let rows = rows(&answer);
        let found = rows.iter().position(|row| Some(self::identity(*row)) == identity);
        self.selected = found.unwrap_or(self.selected).min(rows.len().saturating_sub(1));
        drop(rows);
        self.pane.succeed(answer, now);
    }

    /// Moves the selection.
    pub(crate) fn move_by(&mut self, steps: isize) {
        let rows = self.pane.answer.as_ref().map_or(0, |answer| rows(answer).len());
        self.selected = list::moved(self.selected, steps, rows);
    }

    /// Moves to the next row that fires, around the end.
    pub(crate) fn move_to_firing(&mut self, is_forward: bool) -> bool {
        let Some(answer) = &self.pane.answer else { return false };
        let firing: Vec<usize> = (0..)
            .zip(rows(answer))
            .filter(|(_, row)| row.state() == AlertState::Firing)
            .map(|(index, _)| index)
            .collect();
        let next = list::next_of(&firing, self.selected, is_forward);
        self.selected = next.unwrap_or(self.selected);
        next.is_some()
    }
}

fn identity(row: AlertRow<'_>) -> (String, String, Option<Vec<(String, String)>>) {
    let labels = row.alert.map(|alert| alert.labels.clone().into_iter().collect());
    (row.rule.file.clone(), row.rule.name.clone(), labels)
}

/// Glyph, word and role of a row's state.
pub(crate) fn state(row: &AlertRow<'_>) -> (&'static str, Role) {
    match row.state() {
        AlertState::Firing => ("✖ firing", Role::Bad),
        AlertState::Pending => ("! pending", Role::Warn),
        AlertState::Inactive if row.rule.error.is_some() => ("? error", Role::Warn),
        AlertState::Inactive => ("ok", Role::Ok),
    }
}

/// One row in `width` columns, newest value and history included.
pub(crate) fn line(row: &AlertRow<'_>, now: UnixNano, width: usize) -> Line {
    let (word, role) = state(row);
    let is_quiet = row.state() == AlertState::Inactive;
    let spark = if width >= 96 {
        16
    } else if width >= 76 {
        10
    } else {
        0
    };
    let fixed = 1 + 11 + 9 + 10 + if spark > 0 { spark + 2 } else { 0 };
    let about = if width >= 60 { (width.saturating_sub(fixed) / 3).min(30) } else { 0 };
    let name = width.saturating_sub(fixed + about);
    let mut line = Line::new();
    line.gap(1);
    line.cell(role, word, 11);
    line.cell(if is_quiet { Role::Text } else { Role::Strong }, &row.rule.name, name.saturating_sub(1));
    line.gap(1);
    line.cell(Role::Accent, &about_text(row), about);
    let since = row.alert.map(|alert| format::elapsed(now.since(alert.fired_at.unwrap_or(alert.active_at))));
    line.cell_right(Role::Text, &since.unwrap_or_default(), 9);
    line.cell_right(
        Role::Strong,
        &row.alert.map(|alert| format::number(alert.value)).unwrap_or_default(),
        10,
    );
    if spark > 0 {
        line.gap(2);
        line.cell(role_of_history(role), &sparkline(&row.rule.history, spark, 0.0), spark);
    }
    line.fit(width)
}

fn role_of_history(role: Role) -> Role {
    if role == Role::Ok { Role::Dim } else { role }
}

/// The headings above [`line`].
pub(crate) fn heading(width: usize) -> Line {
    let spark = if width >= 96 {
        16
    } else if width >= 76 {
        10
    } else {
        0
    };
    let mut line = Line::new();
    line.gap(1);
    line.cell(Role::Dim, "state", 11);
    line.push(Role::Dim, "alert");
    let right = if spark > 0 { spark + 2 } else { 0 };
    line.pad_to(width.saturating_sub(right + 19));
    line.cell_right(Role::Dim, "since", 9);
    line.cell_right(Role::Dim, "value", 10);
    if spark > 0 {
        line.gap(2);
        line.cell(Role::Dim, "history", spark);
    }
    line.fit(width)
}

/// What tells this alert from others of its rule: its service, else its other labels.
fn about_text(row: &AlertRow<'_>) -> String {
    if let Some(service) = row.service() {
        return service.to_owned();
    }
    let Some(alert) = row.alert else { return String::new() };
    let labels = alert.labels.iter().filter(|(name, _)| !["alertname", "severity"].contains(&name.as_str()));
    labels.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// A shorter row for the block on the services screen.
pub(crate) fn short_line(row: &AlertRow<'_>, now: UnixNano, width: usize) -> Line {
    let (word, role) = state(row);
    let since = row.alert.map(|alert| format::elapsed(now.since(alert.fired_at.unwrap_or(alert.active_at))));
    let mut line = Line::new();
    line.gap(1);
    line.cell(role, word, 10);
    line.cell(Role::Strong, &row.rule.name, width.saturating_sub(1 + 10 + 8 + 8));
    line.cell_right(Role::Text, &since.unwrap_or_default(), 8);
    line.cell_right(Role::Text, &row.alert.map(|alert| format::number(alert.value)).unwrap_or_default(), 8);
    line.fit(width)
}

/// How many of each, and when rules were last evaluated.
pub(crate) fn summary(answer: &AlertsAnswer, now: UnixNano) -> Line {
    let count = |state| answer.rules.iter().filter(|rule| rule.state == state).count();
    let alerts = |state| {
        answer.rules.iter().flat_map(|rule| &rule.alerts).filter(|alert| alert.state == state).count()
    };
    let (firing, pending) = (alerts(AlertState::Firing), alerts(AlertState::Pending));
    let mut line = Line::new();
    line.push(if firing > 0 { Role::Bad } else { Role::Dim }, &format!("firing {firing}"));
    line.push(Role::Dim, " · ");
    line.push(if pending > 0 { Role::Warn } else { Role::Dim }, &format!("pending {pending}"));
    line.push(Role::Dim, &format!(" · ok {}", count(AlertState::Inactive)));
    let failing = answer.rules.iter().filter(|rule| rule.error.is_some()).count();
    if failing > 0 {
        line.push(Role::Warn, &format!(" · {failing} cannot be evaluated"));
    }
    let latest = answer.rules.iter().filter_map(|rule| rule.last_evaluation).max();
    if let Some(latest) = latest {
        line.push(Role::Dim, &format!(" · evaluated {} ago", format::elapsed(now.since(latest))));
    }
    line
}

/// Everything about a row, in lines of at most `width`.
pub(crate) fn detail(row: &AlertRow<'_>, now: UnixNano, width: usize) -> Vec<Line> {
    let rule = row.rule;
    let mut lines = Vec::new();
    let mut expr = wrap(&rule.expr, width.saturating_sub(11), 4).into_iter();
    let mut first = field("expr", &expr.next().unwrap_or_default());
    let holds = std::time::Duration::from_nanos(u64::try_from(rule.for_nano).unwrap_or(0));
    let place = format!("for {}  {}:{}", super::range::short(holds), rule.file, rule.line);
    if expr.len() == 0 && first.width() + place.len() + 4 <= width {
        first = first.with_right(Line::of(Role::Dim, &place), width.saturating_sub(1));
        lines.push(first);
    } else {
        lines.push(first);
        lines.extend(expr.map(|part| field("", &part)));
        lines.push(field("rule", &place));
    }
    if let Some(error) = &rule.error {
        let mut line = field("error", "");
        line.push(Role::Bad, error);
        lines.push(line);
    }
    if let Some(alert) = row.alert {
        lines.extend(alert_detail(alert, now, width));
    } else {
        let mut line = field("history", "");
        line.push(Role::Dim, &sparkline(&rule.history, width.saturating_sub(12).min(60), 0.0));
        lines.push(line);
    }
    lines.into_iter().map(|line| line.fit(width)).collect()
}

fn alert_detail(alert: &Alert, now: UnixNano, width: usize) -> Vec<Line> {
    let ago = |at: UnixNano| format!("{}  {} ago", super::range::clock(at), format::elapsed(now.since(at)));
    let mut lines = vec![match alert.fired_at {
        Some(fired) => {
            field("fired", &format!("{}   first bad {}", ago(fired), super::range::clock(alert.active_at)))
        }
        None => field("holds", &format!("since {}, does not fire yet", ago(alert.active_at))),
    }];
    let labels: Vec<String> = alert
        .labels
        .iter()
        .filter(|(name, _)| *name != "alertname")
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if !labels.is_empty() {
        for (index, part) in wrap(&labels.join("  "), width.saturating_sub(11), 3).into_iter().enumerate() {
            lines.push(field(if index == 0 { "labels" } else { "" }, &part));
        }
    }
    // What people read first comes first.
    const FIRST: [&str; 2] = ["summary", "description"];
    let mut annotations: Vec<(&String, &String)> = alert.annotations.iter().collect();
    annotations.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    for (name, value) in annotations {
        for (index, part) in wrap(value, width.saturating_sub(11), 3).into_iter().enumerate() {
            lines.push(field(if index == 0 { name } else { "" }, &part));
        }
    }
    lines
}

fn field(name: &str, value: &str) -> Line {
    let mut line = Line::new();
    line.gap(1);
    line.cell(Role::Dim, name, 9);
    line.gap(1);
    line.push(Role::Text, value);
    line
}
