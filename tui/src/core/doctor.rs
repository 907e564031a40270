//! The correlation doctor: where an id is lost on its way, worst first, and how to mend each place.
//!
//! ```text
//!  ✖ context lost           order loses the context of calls from checkout       200 of 200
//!  ▲ logs without id        37.0 % of billing's log records carry no id        1,204 of 3,254
//!  ── service    coverage    spans  unreached    logs  unreached  orphans
//!  order             0 %      200          0      40         40        0
//! ```

use model::UnixNano;
use model::time::duration_text;
use query_api::doctor::{DoctorAnswer, DoctorService, Finding, FindingKind, Severity};

use super::line::{Line, Role, wrap};
use super::pane::Pane;
use super::{format, list};

/// State of the screen.
#[derive(Clone, Debug, Default)]
pub(crate) struct DoctorScreen {
    /// What is known.
    pub(crate) pane: Pane<DoctorAnswer>,
    /// The selected finding.
    pub(crate) selected: usize,
}

impl DoctorScreen {
    /// Takes an answer; the selection stays with its finding.
    pub(crate) fn take(&mut self, answer: DoctorAnswer, now: UnixNano) {
        let identity = |finding: &Finding| (finding.kind, finding.service.clone(), finding.other.clone());
        let selected = self.finding().map(identity);
        let found = answer.findings.iter().position(|finding| Some(identity(finding)) == selected);
        self.selected = found.unwrap_or(self.selected).min(answer.findings.len().saturating_sub(1));
        self.pane.succeed(answer, now);
    }

    /// The selected finding.
    pub(crate) fn finding(&self) -> Option<&Finding> {
        self.pane.answer.as_ref()?.findings.get(self.selected)
    }

    /// Moves the selection.
    pub(crate) fn move_by(&mut self, steps: isize) {
        let findings = self.pane.answer.as_ref().map_or(0, |answer| answer.findings.len());
        self.selected = list::moved(self.selected, steps, findings);
    }

    /// Moves to the next finding that is bad, around the end.
    pub(crate) fn move_to_bad(&mut self, is_forward: bool) -> bool {
        let Some(answer) = &self.pane.answer else { return false };
        let bad = (0..).zip(&answer.findings).filter(|(_, finding)| finding.severity == Severity::Bad);
        let next = list::next_of(&bad.map(|(at, _)| at).collect::<Vec<usize>>(), self.selected, is_forward);
        self.selected = next.unwrap_or(self.selected);
        next.is_some()
    }
}

/// Glyph and role of a severity.
const fn mark(severity: Severity) -> (&'static str, Role) {
    match severity {
        Severity::Bad => ("✖", Role::Bad),
        Severity::Warn => ("▲", Role::Warn),
        Severity::Note => ("·", Role::Dim),
    }
}

const KIND: usize = 25;
const SHARE: usize = 18;
const NUMBER: usize = 11;

/// How much was looked at, and how much needs mending.
pub(crate) fn summary(answer: &DoctorAnswer) -> Line {
    let count = |severity| answer.findings.iter().filter(|finding| finding.severity == severity).count();
    let mut line = Line::of(Role::Strong, &format::plural(answer.services.len(), "service"));
    for (severity, word) in [(Severity::Bad, "bad"), (Severity::Warn, "to look at")] {
        if count(severity) > 0 {
            line.push(Role::Dim, ", ");
            line.push(mark(severity).1, &format!("{} {word}", count(severity)));
        }
    }
    if answer.is_clean() && !answer.services.is_empty() {
        line.push(Role::Dim, ", ");
        line.push(Role::Ok, "nothing to mend");
    }
    line.push(Role::Dim, &format!(" · {} looked at", duration_text(answer.looked_at.nanos())));
    line
}

/// One finding.
pub(crate) fn finding(finding: &Finding, width: usize) -> Line {
    let (glyph, role) = mark(finding.severity);
    let mut line = Line::new();
    line.gap(1);
    line.push(role, glyph);
    line.gap(1);
    let is_wide = width >= 70;
    if is_wide {
        line.cell(role, finding.kind.title(), KIND);
    }
    let share = shares(finding);
    let room = width.saturating_sub(line.width() + 1 + if is_wide { SHARE } else { 0 });
    line.cell(Role::Text, &finding.what, room);
    if is_wide {
        line.cell_right(Role::Dim, &share, SHARE);
    }
    line.fit(width)
}

/// `1,204 of 3,254`; nothing where numbers say nothing.
fn shares(finding: &Finding) -> String {
    match finding.kind {
        FindingKind::ClockOffset => String::new(),
        _ if finding.of == 0 => String::new(),
        _ => format!("{} of {}", format::grouped(finding.affected), format::grouped(finding.of)),
    }
}

/// Everything about a finding.
pub(crate) fn detail(finding: &Finding, width: usize) -> Vec<Line> {
    let (glyph, role) = mark(finding.severity);
    let mut title = Line::new();
    title.gap(1);
    title.push(role, &format!("{glyph} {}", finding.kind.title()));
    let share = shares(finding);
    title.push(Role::Dim, &format!("  {share}"));
    let mut lines = vec![title.fit(width)];
    let mut told = |role: Role, text: &str, most: usize| {
        for part in wrap(text, width.saturating_sub(4), most) {
            let mut line = Line::new();
            line.gap(3);
            line.push(role, &part);
            lines.push(line);
        }
    };
    told(Role::Text, &finding.what, 3);
    told(Role::Ok, &finding.hint, 4);
    if let Some(follow) = &finding.follow {
        told(Role::Accent, follow, 1);
    }
    lines
}

/// The headings above the services.
pub(crate) fn service_heading(width: usize) -> Line {
    let mut line = Line::new();
    line.gap(1);
    line.cell(Role::Dim, "service", name_width(width));
    for (name, _) in columns(width) {
        line.cell_right(Role::Dim, name, NUMBER);
    }
    line.fit(width)
}

/// How well one service can be followed.
pub(crate) fn service(service: &DoctorService, width: usize) -> Line {
    let mut line = Line::new();
    line.gap(1);
    line.cell(Role::Strong, &service.service, name_width(width));
    for (name, value) in columns(width) {
        let text = value(service);
        let role = match *name {
            "coverage" if service.coverage < 0.5 => Role::Bad,
            "coverage" if service.coverage < 0.95 => Role::Warn,
            _ if text == "0" => Role::Dim,
            _ => Role::Text,
        };
        line.cell_right(role, &text, NUMBER);
    }
    line.fit(width)
}

type Column = (&'static str, fn(&DoctorService) -> String);

const COLUMNS: [Column; 7] = [
    ("coverage", |row| percent(row.coverage)),
    ("unreached", |row| format::grouped(row.spans_unreachable + row.logs_unreachable)),
    ("lost", |row| format::grouped(row.received_without_context)),
    ("spans", |row| format::grouped(row.spans)),
    ("logs", |row| format::grouped(row.logs)),
    ("received", |row| format::grouped(row.received)),
    ("orphans", |row| format::grouped(row.orphans)),
];

/// As many columns as there is room for.
fn columns(width: usize) -> &'static [Column] {
    let most = width.saturating_sub(14) / NUMBER;
    &COLUMNS[..most.min(COLUMNS.len())]
}

fn name_width(width: usize) -> usize {
    width.saturating_sub(columns(width).len() * NUMBER + 2).min(32)
}

/// A share, never rounded up to all of it.
fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent >= 100.0 => "100 %".to_owned(),
        percent if percent >= 10.0 => format!("{:.1} %", (percent * 10.0).floor() / 10.0),
        percent if percent > 0.0 => format!("{percent:.1} %"),
        _ => "0 %".to_owned(),
    }
}
