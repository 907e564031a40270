//! The journey: one id, everything it reaches, on one time axis.
//!
//! Owns: which rows are shown (folds), which one is selected, where time is counted from. The lines
//! themselves are made in `timeline.rs` and `detail.rs`, for the screen and for plain text alike.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{TraceId, UnixNano};
use query_api::journey::{RowDetail, RowKey};
use query_api::{Journey, JourneyRow, JourneyTrace, RowKind};

use super::line::Line;
use super::list;
use super::pane::Pane;

pub(crate) mod detail;
pub(crate) mod evidence;
pub(crate) mod timeline;

pub(crate) use timeline::Timeline;

/// State of the screen.
#[derive(Clone, Debug, Default)]
pub(crate) struct JourneyScreen {
    /// The id that was asked for.
    pub(crate) id: Option<String>,
    /// What is known about it.
    pub(crate) pane: Pane<Arc<Timeline>>,
    /// The selected row, an index into `visible`.
    pub(crate) selected: usize,
    /// Rows shown, as indices into the journey's rows.
    pub(crate) visible: Vec<usize>,
    /// Headings of traces that are folded, as indices into the journey's rows.
    pub(crate) folded: BTreeSet<usize>,
    /// Time is counted from here; `None` is the journey's start.
    pub(crate) zero: Option<UnixNano>,
    /// All details of the selected row are shown.
    pub(crate) is_detailed: bool,
    /// Times are corrected for clocks that are off.
    pub(crate) is_corrected: bool,
    /// All attributes of one row, when the journey has but a few of them.
    pub(crate) detail: Pane<RowDetail>,
    /// The row they are asked of.
    pub(crate) detail_of: Option<RowKey>,
    /// The text last looked for.
    pub(crate) find: String,
    /// The follower that runs.
    pub(crate) follow: Option<u64>,
    /// A follower ran, and ended though nobody wanted that.
    pub(crate) has_lost_follow: bool,
}

impl JourneyScreen {
    /// Turns to another id.
    pub(crate) fn ask_for(&mut self, id: &str) {
        *self = Self { id: Some(id.to_owned()), find: std::mem::take(&mut self.find), ..Self::default() };
    }

    /// Takes an answer. A first answer selects the failure; a later one keeps the selected row.
    pub(crate) fn take(&mut self, journey: Journey, now: UnixNano) {
        let kept = self.row().map(|row| (row.kind, row.span_id, row.start_time));
        let is_first = self.pane.answer.is_none();
        let failure = journey.failure.as_ref().map(|failure| failure.row);
        let folded: BTreeSet<TraceId> =
            self.folded.iter().filter_map(|row| self.journey()?.rows.get(*row)?.trace_id).collect();
        let timeline = Arc::new(Timeline::new(journey));
        // Rows that have come since move the headings.
        let trace = |row: usize| timeline.journey.rows[row].trace_id;
        let is_folded = |row: &usize| {
            timeline.is_heading(*row) && trace(*row).is_some_and(|trace| folded.contains(&trace))
        };
        self.folded = (0..timeline.journey.rows.len()).filter(is_folded).collect();
        self.visible = timeline.visible(&self.folded);
        let rows = &timeline.journey.rows;
        let wanted = self.visible.iter().position(|row| {
            if is_first {
                Some(*row) == failure
            } else {
                rows.get(*row).is_some_and(|row| Some((row.kind, row.span_id, row.start_time)) == kept)
            }
        });
        self.selected = wanted.unwrap_or(self.selected).min(self.visible.len().saturating_sub(1));
        self.pane.succeed(timeline, now);
    }

    /// Lets time pass: messages that nobody has consumed wait longer, and a quiet journey is done or silent.
    pub(crate) fn advance(&mut self, now: UnixNano) {
        if self.follow.is_none() {
            return;
        }
        if let Some(timeline) = &mut self.pane.answer {
            Arc::make_mut(timeline).advance(now);
        }
    }

    /// The journey, if there is one.
    pub(crate) fn journey(&self) -> Option<&Journey> {
        self.pane.answer.as_ref().map(|timeline| &timeline.journey)
    }

    /// The selected row.
    pub(crate) fn row(&self) -> Option<&JourneyRow> {
        self.journey()?.rows.get(*self.visible.get(self.selected)?)
    }

    /// What names the selected row, when the journey lacks attributes of it.
    pub(crate) fn brief_key(&self) -> Option<RowKey> {
        let journey = self.journey().filter(|journey| journey.is_brief())?;
        RowKey::of(journey, self.row()?)
    }

    /// The selected row with all its attributes, as far as they are known.
    pub(crate) fn full_row(&self) -> Option<JourneyRow> {
        let row = self.row()?.clone();
        let is_known = self.detail_of.is_some() && self.detail_of == self.brief_key();
        let detail = self.detail.answer.as_ref().filter(|_| is_known);
        Some(match detail.cloned() {
            Some(RowDetail { attributes, resource, .. }) => JourneyRow { attributes, resource, ..row },
            None => row,
        })
    }

    /// What to say of attributes that are not there.
    pub(crate) fn detail_status(&self, now: UnixNano) -> Option<Line> {
        let is_asked = self.is_detailed && self.detail_of.is_some() && self.detail.answer.is_none();
        is_asked.then(|| self.detail.status(now))
    }

    /// The trace of a row.
    pub(crate) fn trace_of(&self, row: &JourneyRow) -> Option<&JourneyTrace> {
        self.journey()?.traces.iter().find(|trace| Some(trace.trace_id) == row.trace_id)
    }

    /// Moves the selection.
    pub(crate) fn move_by(&mut self, steps: isize) {
        self.selected = list::moved(self.selected, steps, self.visible.len());
    }

    /// Moves to the next row that `wanted` picks, unfolding what hides it; around the end.
    pub(crate) fn move_to(&mut self, is_forward: bool, wanted: impl Fn(&JourneyRow) -> bool) -> bool {
        let Some(timeline) = self.pane.answer.clone() else { return false };
        let rows = &timeline.journey.rows;
        let places: Vec<usize> = (0..rows.len()).filter(|row| wanted(&rows[*row])).collect();
        let here = self.visible.get(self.selected).copied().unwrap_or(0);
        let Some(row) = list::next_of(&places, here, is_forward) else { return false };
        if let Some(heading) = timeline.heading_of(row)
            && heading != row
            && self.folded.remove(&heading)
        {
            self.visible = timeline.visible(&self.folded);
        }
        self.selected = self.visible.iter().position(|visible| *visible == row).unwrap_or(self.selected);
        true
    }

    /// Whether a row holds the text that is looked for.
    pub(crate) fn is_found(row: &JourneyRow, find: &str) -> bool {
        let find = find.to_lowercase();
        let holds = |text: &str| text.to_lowercase().contains(&find);
        !find.is_empty()
            && (holds(&row.service)
                || holds(&row.name)
                || holds(&row.message)
                || row.attributes.iter().any(|(key, value)| holds(key) || holds(value)))
    }

    /// Folds or unfolds the trace of the selected row; folding selects its heading.
    pub(crate) fn fold(&mut self, is_folded: bool) {
        let Some(timeline) = self.pane.answer.clone() else { return };
        let Some(row) = self.visible.get(self.selected).copied() else { return };
        let Some(heading) = timeline.heading_of(row) else { return };
        if is_folded {
            self.folded.insert(heading);
        } else {
            self.folded.remove(&heading);
        }
        self.visible = timeline.visible(&self.folded);
        let target = if is_folded { heading } else { row };
        self.selected = self.visible.iter().position(|visible| *visible == target).unwrap_or(0);
    }

    /// Counts time from the selected row, or from the start again when it already does.
    pub(crate) fn toggle_zero(&mut self) {
        let start = self.row().map(|row| row.start_time);
        self.zero = if self.zero == start { None } else { start };
    }

    /// Rows that are errors, headings aside.
    pub(crate) fn is_error(row: &JourneyRow) -> bool {
        row.is_error && row.kind != RowKind::Trace
    }
}
