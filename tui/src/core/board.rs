//! A board: which questions its panels ask, and what their answers look like.
//!
//! Owns: filling `$range`, `$step`, `$from`, `$to` into questions, the layout of rows and panels.
//! Does not own: the format of board files (`dashboards`).

use std::time::Duration;

use model::{TimeRange, UnixNano};
use query_api::boards::{Board, NamedBoard, Panel, PanelKind};

use super::layout::Tier;
use super::msg::{Answer, Ask};
use super::pane::Pane;

pub(crate) mod panel;

/// The board that is shown when none is named.
pub(crate) const DEFAULT: &str = "shop";
/// Points of a line over the range.
const POINTS: u32 = 120;
/// Rows a table asks for.
const ROWS_MAX: usize = 100;
/// Panels of a board that are asked; more are drawn empty.
pub(crate) const PANELS_MAX: usize = 64;

/// State of the screen.
#[derive(Clone, Debug)]
pub(crate) struct BoardScreen {
    /// The board's name.
    pub(crate) name: String,
    /// The board.
    pub(crate) pane: Pane<Board>,
    /// Its panels, counted through all rows.
    pub(crate) panels: Vec<Pane<Answer>>,
    /// The focused panel.
    pub(crate) focus: usize,
    /// The focused panel is alone on the screen.
    pub(crate) is_maximised: bool,
    /// The first row shown of the focused panel's table.
    pub(crate) scroll: usize,
}

impl Default for BoardScreen {
    fn default() -> Self {
        Self {
            name: DEFAULT.to_owned(),
            pane: Pane::default(),
            panels: Vec::new(),
            focus: 0,
            is_maximised: false,
            scroll: 0,
        }
    }
}

impl BoardScreen {
    /// Turns to another board.
    pub(crate) fn ask_for(&mut self, name: &str) {
        *self = Self { name: name.to_owned(), ..Self::default() };
    }

    /// Takes the board; panels are asked next.
    pub(crate) fn take(&mut self, board: NamedBoard, now: UnixNano) {
        let number = board.board.rows.iter().map(|row| row.panels.len()).sum::<usize>().min(PANELS_MAX);
        if self.pane.answer.as_ref() != Some(&board.board) {
            self.panels = vec![Pane::default(); number];
        }
        self.focus = self.focus.min(number.saturating_sub(1));
        self.pane.succeed(board.board, now);
    }

    /// The focused panel.
    pub(crate) fn focused(&self) -> Option<&Panel> {
        self.panel(self.focus)
    }

    /// The panel at `index`, counted through all rows.
    pub(crate) fn panel(&self, index: usize) -> Option<&Panel> {
        self.pane.answer.as_ref()?.rows.iter().flat_map(|row| &row.panels).nth(index)
    }

    /// Moves the focus, around the end, over panels that `tier` shows.
    pub(crate) fn move_focus(&mut self, steps: isize, tier: Tier) {
        let Some(board) = &self.pane.answer else { return };
        let shown: Vec<usize> = shown(board, tier).into_iter().flat_map(|(_, panels)| panels).collect();
        if shown.is_empty() {
            return;
        }
        let here = shown.iter().position(|panel| *panel == self.focus).unwrap_or(0);
        self.focus = shown[(here as isize + steps).rem_euclid(shown.len() as isize) as usize];
        self.scroll = 0;
    }

    /// How often panels are asked, in nanoseconds.
    pub(crate) fn refresh_nano(&self) -> i64 {
        let text = self.pane.answer.as_ref().map_or("10s", |board| board.refresh.as_str());
        let every = model::time::parse_duration(text).unwrap_or(Duration::from_secs(10));
        i64::try_from(every.as_nanos()).unwrap_or(i64::MAX).max(model::time::SECOND)
    }
}

/// Rows that `tier` shows, each with the numbers of its panels.
pub(crate) fn shown(board: &Board, tier: Tier) -> Vec<(usize, Vec<usize>)> {
    let mut next = 0;
    let mut rows = Vec::new();
    for (index, row) in board.rows.iter().enumerate() {
        let panels: Vec<usize> =
            (next..next + row.panels.len()).filter(|panel| *panel < PANELS_MAX).collect();
        next += row.panels.len();
        if row.hide_below.is_none_or(|least| tier >= least) && !panels.is_empty() {
            rows.push((index, panels));
        }
    }
    rows
}

/// The question a panel asks about `range`.
pub(crate) fn question(panel: &Panel, range: TimeRange) -> Option<Ask> {
    let step = step(range);
    if let Some(promql) = &panel.promql {
        let promql = filled(promql, range, step);
        let is_over_time =
            panel.kind == PanelKind::Timeseries || (panel.kind == PanelKind::Stat && panel.spark);
        return Some(if is_over_time {
            Ask::Range(promql, range, step)
        } else {
            Ask::Instant(promql, range.to)
        });
    }
    if let Some(query) = &panel.logs {
        let limit =
            if panel.kind == PanelKind::Stat { 1 } else { panel.top.unwrap_or(ROWS_MAX).min(ROWS_MAX) };
        return Some(Ask::Logs { query: query.clone(), range, limit });
    }
    let sql = panel.sql.as_ref()?;
    Some(Ask::Sql(filled(sql, range, step), panel.top.unwrap_or(ROWS_MAX).min(ROWS_MAX)))
}

/// A whole number of seconds that leaves about [`POINTS`] points.
pub(crate) fn step(range: TimeRange) -> Duration {
    let seconds = u64::try_from(range.nanos() / model::time::SECOND).unwrap_or(0);
    Duration::from_secs((seconds / u64::from(POINTS)).max(1))
}

fn filled(text: &str, range: TimeRange, step: Duration) -> String {
    let seconds = (range.nanos() / model::time::SECOND).max(1);
    text.replace("$range", &format!("{seconds}s"))
        .replace("$step", &format!("{}s", step.as_secs()))
        .replace("$from", &range.from.to_string())
        .replace("$to", &range.to.to_string())
}

/// The command that asks a panel's question in a shell.
pub(crate) fn command(panel: &Panel, range: TimeRange, flags: &str) -> Option<String> {
    let quoted = super::command::quoted;
    let text = match question(panel, range)? {
        Ask::Range(promql, _, step) => {
            format!("silmari metrics {} {flags} --step {}s", quoted(&promql), step.as_secs())
        }
        Ask::Instant(promql, _) => format!("silmari metrics {}", quoted(&promql)),
        Ask::Logs { query, .. } => format!("silmari logs {} {flags}", quoted(&query)),
        Ask::Sql(sql, _) => {
            format!("silmari sql {}", quoted(&sql.split_whitespace().collect::<Vec<_>>().join(" ")))
        }
        _ => return None,
    };
    Some(text)
}

/// Heights of the shown rows in `height` lines: fixed ones as written, the others share the rest.
/// When they do not fit, rows from the one with `focus` on are kept.
pub(crate) fn heights(
    board: &Board,
    shown: &[(usize, Vec<usize>)],
    focus: usize,
    width: u16,
    height: u16,
) -> Vec<(usize, u16)> {
    let fixed_of = |index: usize| {
        let row = &board.rows[shown[index].0];
        if is_stacked(row, width) { Some(stacked_height(row)) } else { row.height }
    };
    // Every row but the first has a rule above it.
    let least = |index: usize| fixed_of(index).unwrap_or(SHARED_MIN) + 1;
    let focused = shown.iter().position(|(_, panels)| panels.contains(&focus)).unwrap_or(0);
    let fits = |from: usize, to: usize| {
        (from..to).map(least).fold(0u16, u16::saturating_add) <= height.saturating_add(1)
    };
    let mut from = 0;
    while from < focused && !fits(from, focused + 1) {
        from += 1;
    }
    let mut to = from;
    while to < shown.len() && (to == from || fits(from, to + 1)) {
        to += 1;
    }
    let kept: Vec<usize> = (from..to).collect();
    let rules = u16::try_from(kept.len()).unwrap_or(u16::MAX).saturating_sub(1);
    let fixed: u16 = kept.iter().filter_map(|row| fixed_of(*row)).fold(rules, u16::saturating_add);
    let mut sharing_left = kept.iter().filter(|row| fixed_of(**row).is_none()).count() as u16;
    let mut left = height.saturating_sub(fixed);
    kept.into_iter()
        .map(|row| {
            let lines = fixed_of(row).unwrap_or_else(|| {
                let share = left / sharing_left.max(1);
                left -= share;
                sharing_left -= 1;
                share
            });
            (row, lines.min(height))
        })
        .collect()
}

/// Lines of a row that shares what is left.
const SHARED_MIN: u16 = 6;

/// Whether the panels of a row stand below each other, because side by side one would be too narrow.
pub(crate) fn is_stacked(row: &dashboards::board::Row, width: u16) -> bool {
    let total: u32 = row.panels.iter().map(|panel| u32::from(panel.weight)).sum::<u32>().max(1);
    let is_narrow = |panel: &Panel| {
        let least = if panel.kind == PanelKind::Stat { 15 } else { 24 };
        u32::from(width) * u32::from(panel.weight) / total < least
    };
    row.panels.len() > 1 && row.panels.iter().any(is_narrow)
}

/// Lines of stacked panels: one for a stat, more for the others.
pub(crate) fn stacked_height(row: &dashboards::board::Row) -> u16 {
    row.panels.iter().map(stacked_lines).fold(0, u16::saturating_add)
}

/// Lines of one of them.
pub(crate) fn stacked_lines(panel: &Panel) -> u16 {
    if panel.kind == PanelKind::Stat { 1 } else { SHARED_MIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_have_the_range_filled_in() {
        let range = TimeRange { from: UnixNano(0), to: UnixNano::from_seconds(900.0) };
        assert_eq!(filled("rate(x[$range]) $step", range, step(range)), "rate(x[900s]) 7s");
        assert_eq!(filled("'$from'", range, step(range)), "'1970-01-01T00:00:00.000000000Z'");
    }

    #[test]
    fn rows_share_the_height_and_the_focused_one_is_always_there() {
        let board = dashboards::board::parse("shop.toml", dashboards::board::SHOP).expect("valid");
        let shown = shown(&board, Tier::M);
        for (width, height) in (1..60).map(|height| (100, height)).chain((1..60).map(|height| (40, height))) {
            for focus in 0..10 {
                let heights = heights(&board, &shown, focus, width, height);
                let rules = heights.len() as u32 - 1;
                let total: u32 = heights.iter().map(|(_, lines)| u32::from(*lines)).sum::<u32>() + rules;
                assert!(total <= u32::from(height) || heights.len() == 1, "{height}: {heights:?}");
                assert!(heights.iter().any(|(row, _)| shown[*row].1.contains(&focus)), "{height} {focus}");
            }
        }
    }
}
