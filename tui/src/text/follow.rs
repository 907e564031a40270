//! A journey that is followed, as text: drawn again as a whole, or line by line.

use std::collections::HashMap;

use model::time::duration_text;
use model::{SpanId, TraceId, UnixNano};
use query_api::{Journey, JourneyRow, RowKind};

use super::{WIDTH_MIN, joined};
use crate::core::glyph;
use crate::core::journey::timeline::position;
use crate::core::journey::{Timeline, timeline};
use crate::core::line::{Line, Role};

/// A journey while it goes on: how it goes and the timeline, without what stands below it.
pub fn followed_journey(journey: &Journey, width: usize, ascii: bool) -> String {
    let width = width.max(WIDTH_MIN);
    let timeline = Timeline::new(journey.clone());
    let geometry = timeline.geometry(width);
    let mut out = vec![timeline.title(width)];
    out.extend(timeline.failure(width));
    out.push(timeline.progress(width).unwrap_or_else(|| Line::of(Role::Ok, " done")));
    out.push(timeline.path(width));
    out.extend(timeline::happenings(journey, width));
    out.push(timeline.ruler(&geometry, None));
    out.extend((0..journey.rows.len()).map(|row| timeline.line(row, &geometry, false)));
    out.extend(timeline::whole_cuts(journey, width));
    joined(out, ascii)
}

/// Which rows of a journey were shown already.
#[derive(Debug, Default)]
pub struct NewRows {
    shown: HashMap<Key, usize>,
}

/// What tells one row from another; equal rows are counted.
type Key = (u8, bool, Option<TraceId>, Option<SpanId>, UnixNano, String, String);

impl NewRows {
    /// The rows that were not there before, by time, one a line: `10:36:15.811  +4.61s  ✖ billing  charge #1  820ms`.
    pub fn lines(&mut self, journey: &Journey) -> String {
        let mut counts: HashMap<Key, usize> = HashMap::new();
        let mut new: Vec<&JourneyRow> = Vec::new();
        let is_lasting = |row: &&JourneyRow| !matches!(row.kind, RowKind::Trace | RowKind::Missing);
        for row in journey.rows.iter().filter(is_lasting) {
            let key = key(row);
            let count = counts.entry(key.clone()).or_default();
            *count += 1;
            if *count > self.shown.get(&key).copied().unwrap_or(0) {
                new.push(row);
            }
        }
        self.shown = counts;
        new.sort_by_key(|row| row.start_time);
        joined(new.into_iter().map(|row| line(row, journey.start_time)).collect(), false)
    }
}

fn key(row: &JourneyRow) -> Key {
    (
        row.kind as u8,
        row.is_open,
        row.trace_id,
        row.span_id,
        row.start_time,
        row.service.to_string(),
        row.name.to_string(),
    )
}

fn line(row: &JourneyRow, zero: UnixNano) -> Line {
    let (glyph, name) = match row.kind {
        RowKind::QueueWait if row.is_open => (glyph::WAIT, format!("not consumed: {}", row.name)),
        RowKind::QueueWait => (glyph::WAIT, format!("waited in {}", row.name)),
        RowKind::BackOff => (glyph::WAIT, format!("back-off before {}", row.name)),
        RowKind::Log => (glyph::LOG, format!("{} {}", row.label, row.name)),
        RowKind::Event => ("·", row.name.to_string()),
        RowKind::Exemplar => (glyph::EXEMPLAR, row.name.to_string()),
        _ if row.is_error => (glyph::ERROR, row.name.to_string()),
        _ => (glyph::SPAN, row.name.to_string()),
    };
    let role = if row.is_error { Role::Bad } else { Role::Text };
    let mut line = Line::new();
    line.cell(Role::Dim, &position(row, zero), 24);
    line.push(role, glyph);
    line.gap(1);
    line.cell(Role::Strong, &row.service, 12);
    line.gap(1);
    line.push(role, &name);
    if row.duration_nano > 0 && !row.is_open {
        line.push(Role::Text, &format!("  {}", duration_text(row.duration_nano)));
    }
    if row.is_error && !row.message.is_empty() {
        line.push(Role::Bad, &format!("  {}", row.message));
    }
    line
}
