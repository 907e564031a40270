//! The rows of a journey as lines: glyph, service, name, duration, and a bar on the time axis.
//!
//! ```text
//!  ▾ trace 7f3a9c12  web POST /checkout · asked order_id=A-77120   310ms ──
//!   ┃ ● api-gw     POST /checkout                                  310ms █▒
//!     ≡  WARN      stock low sku=991                                     ·
//!     ╌ orders     waits in orders/3@88121                         4.10s   ╌╌╌╌╌╌╌╌╌╌   49%
//!     ● payments   charge                                          820ms             ██      ✖
//! ```
//!
//! `┃` and `█` say that a row is on the critical path.
//!
//! Invariant: making one line looks at one row; a journey of any length draws at the cost of the rows
//! on the screen. What needs all rows is computed once, in [`Timeline::new`].
//!
//! Does not own: what is said of the journey as a whole, above its rows (`summary`).

mod summary;

use std::collections::BTreeSet;

use model::UnixNano;
use model::time::duration_text;
use query_api::{Journey, JourneyRow, JourneyStatus, RowKind, RowMark};

use crate::core::format::plural;
use crate::core::glyph;
use crate::core::line::{Line, Role, truncate, width_of};
use crate::widget::bar::{self, Axis};

pub(crate) use summary::{corrections, cuts, first_two, happenings, status, whole_cuts};

/// A journey and what is computed from all of its rows.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    /// The journey.
    pub(crate) journey: Journey,
    /// For each row, when it is on the critical path: sorted, disjoint.
    critical: Vec<Vec<(i64, i64)>>,
    /// For each row, the heading of its trace, if it stands under one.
    heading: Vec<Option<usize>>,
    /// Columns that the services need, indentation included.
    service_width: usize,
}

/// Deeper rows are not indented further.
const DEPTH_MAX: usize = 8;
/// Columns of a duration.
const DURATION: usize = 8;

/// Where the parts of a row stand, for one width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// All columns.
    pub(crate) width: usize,
    service: usize,
    name: usize,
    bar: usize,
    note: usize,
    axis: Axis,
}

impl Timeline {
    /// Looks at all rows once.
    pub(crate) fn new(journey: Journey) -> Self {
        let critical = critical(&journey);
        let mut heading = Vec::with_capacity(journey.rows.len());
        let mut current = None;
        for (index, row) in journey.rows.iter().enumerate() {
            current = match (row.kind, current) {
                (RowKind::Trace, _) => Some(index),
                // Messages and log records between the traces.
                (_, _) if row.depth == 0 => None,
                (_, current) => current,
            };
            heading.push(current);
        }
        let service_width = journey
            .rows
            .iter()
            .filter(|row| row.kind != RowKind::Trace)
            .map(|row| width_of(&row.service) + depth(row))
            .max()
            .unwrap_or(0)
            .clamp(8, 18);
        Self { journey, critical, heading, service_width }
    }

    /// Lets time pass, as [`Journey::advance`] does. Costs what the journey's rows cost only while a message is
    /// waited for.
    pub(crate) fn advance(&mut self, now: UnixNano) {
        let progress = self.journey.progress_at(now);
        self.journey.progress = Some(progress);
        if self.journey.status == JourneyStatus::Waiting || self.journey.rows.iter().any(|row| row.is_open) {
            self.journey.advance(now);
            self.critical = critical(&self.journey);
        }
    }

    /// Rows that are not inside a folded trace.
    pub(crate) fn visible(&self, folded: &BTreeSet<usize>) -> Vec<usize> {
        let is_hidden = |row: usize| self.heading[row].is_some_and(|at| at != row && folded.contains(&at));
        (0..self.journey.rows.len()).filter(|row| !is_hidden(*row)).collect()
    }

    /// Whether `row` is the heading of a trace.
    pub(crate) fn is_heading(&self, row: usize) -> bool {
        self.journey.rows.get(row).is_some_and(|row| row.kind == RowKind::Trace)
    }

    /// The heading of the trace that `row` stands in, which may be `row` itself.
    pub(crate) fn heading_of(&self, row: usize) -> Option<usize> {
        self.heading.get(row).copied().flatten()
    }

    /// Where the parts of rows stand in `width` columns.
    pub(crate) fn geometry(&self, width: usize) -> Geometry {
        let note = if width >= 60 { 8 } else { 2 };
        let left_least = 5 + DURATION;
        let room = width.saturating_sub(left_least + note + 1);
        let bar = match width {
            0..60 => room * 2 / 5,
            60..100 => room * 9 / 20,
            _ => room / 2,
        };
        let text = room - bar;
        let service = self.service_width.min(text / 2);
        let axis = Axis {
            start: self.journey.start_time.0,
            length: self.journey.duration_nano.max(1),
            columns: bar,
        };
        Geometry { width, service, name: text - service, bar, note, axis }
    }

    /// The axis above the rows, counted from `zero`.
    pub(crate) fn ruler(&self, geometry: &Geometry, zero: Option<UnixNano>) -> Line {
        let from = zero.unwrap_or(self.journey.start_time);
        let mut left = Line::new();
        left.gap(1);
        left.push(Role::Dim, &format!("0s = {}", from.clock_text()));
        if !self.journey.clock_offsets.is_empty() {
            left.push(Role::Warn, &format!("  {}", corrections(&self.journey)));
        } else if self.journey.clock_skew_nano > 0 {
            let skew = duration_text(self.journey.clock_skew_nano);
            left.push(Role::Warn, &format!("  ±{skew} skew"));
        }
        let mut line = left.fit(geometry.bar_column().saturating_sub(1));
        line.pad_to(geometry.bar_column());
        line.push(Role::Dim, &bar::ruler(&geometry.axis, from.0));
        line.fit(geometry.width)
    }

    /// One row. `folded` is how many rows its heading hides, if it is one and does.
    pub(crate) fn line(&self, row: usize, geometry: &Geometry, is_folded: bool) -> Line {
        let Some(of) = self.journey.rows.get(row) else { return Line::new() };
        let mut line = match of.kind {
            RowKind::Trace => self.trace_left(row, of, geometry, is_folded),
            RowKind::Log | RowKind::Event | RowKind::Exemplar => point_left(of, geometry),
            RowKind::Span | RowKind::QueueWait | RowKind::BackOff | RowKind::Missing | RowKind::Inferred => {
                span_left(of, geometry)
            }
        };
        line.pad_to(geometry.bar_column());
        let mut line = line.fit(geometry.bar_column());
        let (bar, role) = self.bar(row, of, geometry, is_folded);
        line.push(role, &bar);
        let errors = if is_folded { self.inside(row).filter(|row| row.is_error).count() } else { 0 };
        self.note(of, errors, geometry, &mut line);
        line.fit(geometry.width)
    }

    fn trace_left(&self, index: usize, row: &JourneyRow, geometry: &Geometry, is_folded: bool) -> Line {
        let mut line = Line::new();
        line.push(Role::Dim, if is_folded { " ▸ " } else { " ▾ " });
        line.push(Role::Dim, "trace ");
        let id = row.trace_id.map(|id| id.to_string()).unwrap_or_default();
        line.push(Role::Accent, &truncate_id(&id));
        line.push(Role::Strong, &format!("  {}", row.service));
        if !is_folded {
            // The row below has name and duration; what only the heading can say is why it is here.
            let why: Vec<&str> = row.all_evidence().map(|evidence| evidence.text.as_str()).collect();
            line.push(Role::Dim, &format!(" · {}", why.join(" · ")));
            return line.fit(geometry.bar_column().saturating_sub(1));
        }
        line.push(Role::Warn, &format!("  {} folded", plural(self.inside(index).count(), "row")));
        let mut line = line.fit(geometry.bar_column().saturating_sub(DURATION + 1));
        line.pad_to(geometry.bar_column().saturating_sub(DURATION + 1));
        line.cell_right(Role::Dim, &duration_text(row.duration_nano), DURATION);
        line.gap(1);
        line
    }

    /// Rows that stand under a heading.
    fn inside(&self, heading: usize) -> impl Iterator<Item = &JourneyRow> {
        let inside =
            (heading + 1..self.journey.rows.len()).take_while(move |row| self.heading[*row] == Some(heading));
        inside.map(|row| &self.journey.rows[row])
    }

    fn bar(&self, index: usize, row: &JourneyRow, geometry: &Geometry, is_folded: bool) -> (String, Role) {
        let (start, end) = (row.start_time.0, row.start_time.plus(row.duration_nano).0);
        let axis = &geometry.axis;
        let bad = |role| if row.is_error { Role::Bad } else { role };
        match row.kind {
            RowKind::Trace if is_folded => (bar::span(axis, start, end, &[]), bad(Role::Accent)),
            RowKind::Trace => (bar::extent(axis, start, end), Role::Rule),
            RowKind::QueueWait | RowKind::BackOff => (bar::wait(axis, start, end), Role::Wait),
            RowKind::Log | RowKind::Event if row.is_error => (bar::mark(axis, start, '✖'), Role::Bad),
            RowKind::Log | RowKind::Event => (bar::mark(axis, start, '·'), point_role(row)),
            RowKind::Exemplar => (bar::mark(axis, start, glyph::EXEMPLAR_MARK), Role::Accent),
            RowKind::Missing => (bar::extent(axis, start, end), Role::Dim),
            RowKind::Inferred => (bar::wait(axis, start, end), bad(Role::Accent)),
            RowKind::Span => (bar::span(axis, start, end, &self.critical[index]), bad(Role::Accent)),
        }
    }

    /// At the right: the share of the whole that the critical path spent in this row, and a mark for an error. A fold
    /// never hides that something failed: it has a mark and the number of errors inside.
    fn note(&self, row: &JourneyRow, folded_errors: usize, geometry: &Geometry, line: &mut Line) {
        let share = row.critical_nano as f64 / self.journey.duration_nano.max(1) as f64;
        if geometry.note > 2 {
            let (text, role) = match folded_errors {
                0 if share >= 0.01 => (format!("{:.0}%", share * 100.0), Role::Dim),
                0 => (String::new(), Role::Dim),
                errors => (errors.to_string(), Role::Bad),
            };
            line.cell_right(role, &text, geometry.note - 2);
        }
        line.gap(1);
        let is_marked = folded_errors > 0 || (row.is_error && row.kind == RowKind::Span);
        line.cell(Role::Bad, if is_marked { glyph::ERROR } else { "" }, 1);
    }
}

impl Geometry {
    /// Column at which bars begin.
    pub(crate) fn bar_column(&self) -> usize {
        self.width.saturating_sub(self.bar + self.note)
    }
}

/// Eight digits are enough to tell the traces of a journey apart.
fn truncate_id(id: &str) -> String {
    id.chars().take(8).collect()
}

fn depth(row: &JourneyRow) -> usize {
    // The heading of the trace is depth 0; what stands under it is not indented for that.
    usize::from(row.depth).saturating_sub(1).min(DEPTH_MAX)
}

fn span_left(row: &JourneyRow, geometry: &Geometry) -> Line {
    let (glyph, glyph_role, name_role) = match row.kind {
        RowKind::QueueWait | RowKind::BackOff => (glyph::WAIT, Role::Wait, Role::Wait),
        RowKind::Missing => ("?", Role::Warn, Role::Dim),
        RowKind::Inferred => ("┄", Role::Accent, Role::Text),
        _ if row.is_error => (glyph::ERROR, Role::Bad, Role::Text),
        _ => (glyph::SPAN, Role::Accent, Role::Text),
    };
    let name = match row.kind {
        RowKind::QueueWait if row.is_open => format!("not consumed: {}", row.name),
        RowKind::QueueWait => format!("waits in {}", row.name),
        RowKind::BackOff => format!("back-off before {}", row.name),
        RowKind::Missing => row.name.to_string(),
        RowKind::Inferred => format!("{} (inferred)", row.name),
        _ => format!("{}{}", row.name, marks(row)),
    };
    let mut line = Line::new();
    line.gap(1);
    line.cell(Role::Dim, if row.critical_nano > 0 { glyph::CRITICAL } else { "" }, 1);
    line.gap(1);
    line.push(glyph_role, glyph);
    line.gap(1);
    let service = format!("{}{}", " ".repeat(depth(row)), row.service);
    line.cell(Role::Strong, &service, geometry.service);
    line.gap(1);
    line.cell(name_role, &name, geometry.name.saturating_sub(1));
    let duration = match row.kind {
        RowKind::Missing => String::new(),
        _ if row.is_open => format!("{}+", duration_text(row.duration_nano)),
        _ => duration_text(row.duration_nano),
    };
    line.cell_right(
        if matches!(row.kind, RowKind::QueueWait | RowKind::BackOff) { Role::Wait } else { Role::Text },
        &duration,
        DURATION - 1,
    );
    line.gap(1);
    line
}

/// A log record or an event: it has no duration, so its text takes that room.
fn point_left(row: &JourneyRow, geometry: &Geometry) -> Line {
    let role = point_role(row);
    let mut line = Line::new();
    line.gap(3);
    let glyph = match row.kind {
        RowKind::Log => glyph::LOG,
        RowKind::Exemplar => glyph::EXEMPLAR,
        _ => "·",
    };
    line.push(role, glyph);
    line.gap(1);
    let label = match row.kind {
        RowKind::Log if row.label.is_empty() => "log",
        RowKind::Log => &row.label,
        RowKind::Exemplar => "metric",
        _ => "event",
    };
    let label = format!("{}{label}", " ".repeat(depth(row).min(geometry.service.saturating_sub(6))));
    line.cell(role, &label, geometry.service);
    line.gap(1);
    // Beside the traces no row above says whose it is.
    let service = if row.trace_id.is_none() { format!("{} ", row.service) } else { String::new() };
    let text = format!("{service}{}{}", row.name, marks(row));
    let text = truncate(&crate::core::sanitize::sanitize(&text), geometry.name + DURATION - 2);
    line.push(if row.is_error { Role::Bad } else { Role::Text }, &text);
    line
}

fn point_role(row: &JourneyRow) -> Role {
    match row.label.as_str() {
        _ if row.is_error => Role::Bad,
        "WARN" | "WARNING" => Role::Warn,
        _ => Role::Dim,
    }
}

/// When each row is on the critical path.
fn critical(journey: &Journey) -> Vec<Vec<(i64, i64)>> {
    let mut critical = vec![Vec::new(); journey.rows.len()];
    for segment in &journey.critical_path {
        if let Some(of_row) = segment.row.and_then(|row| critical.get_mut(row)) {
            of_row.push((segment.start_time.0, segment.start_time.plus(segment.duration_nano).0));
        }
    }
    critical
}

/// What to know of a row at a glance, after its name.
fn marks(row: &JourneyRow) -> String {
    // A retry is plain from the pause above it, a corrected clock from the ruler.
    let shown = row.marks.iter().filter(|mark| !matches!(mark, RowMark::Retry | RowMark::ClockCorrected));
    let text = |mark: &RowMark| match (mark, row.batch) {
        (RowMark::Batch, Some(messages)) => format!(" · batch ×{messages}"),
        _ => format!(" · {}", mark.text()),
    };
    shown.map(text).collect()
}

/// Where a row stands on the clock and on the axis: `10:36:15.811  +4.61s`.
pub(crate) fn position(row: &JourneyRow, zero: UnixNano) -> String {
    let offset = row.start_time.since(zero);
    let offset = match offset {
        0 => "+0s".to_owned(),
        ..0 => duration_text(offset),
        1.. => format!("+{}", duration_text(offset)),
    };
    format!("{}  {offset}", row.start_time.clock_text())
}
