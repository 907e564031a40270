//! Bars on the time axis of a journey.
//!
//! ```text
//!  0s        2s        4s       ruler
//!  █▒▒▒▒▒█                      a span: █ on the critical path, ▒ off it
//!          ╌╌╌╌╌╌╌              a queue wait
//!     ·        ✖                marks: a log record, an error
//! ```
//!
//! Positions are computed in half columns, so a short span is at least `▌` or `▐`.

use model::time::SECOND;

/// Where instants fall on the screen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    /// The instant at the left edge, Unix nanoseconds.
    pub(crate) start: i64,
    /// Nanoseconds from the left edge to the right.
    pub(crate) length: i64,
    /// Columns.
    pub(crate) columns: usize,
}

impl Axis {
    /// Half columns from the left edge, unclamped.
    fn halves(&self, time: i64) -> f64 {
        let offset = i128::from(time) - i128::from(self.start);
        offset as f64 / self.length.max(1) as f64 * (self.columns * 2) as f64
    }

    /// The half columns an interval covers: at least one, all on the axis.
    fn interval(&self, start: i64, end: i64) -> (usize, usize) {
        let last = (self.columns * 2).saturating_sub(1);
        let from = (self.halves(start).floor().max(0.0) as usize).min(last);
        let to = (self.halves(end).ceil().max(0.0) as usize).clamp(from + 1, last + 1);
        (from, to)
    }

    /// The instant in the middle of a column.
    fn instant(&self, column: usize) -> i64 {
        let share = (column as f64 + 0.5) / self.columns.max(1) as f64;
        self.start.saturating_add((share * self.length as f64) as i64)
    }
}

/// A span from `start` to `end`. `critical` are the sorted, disjoint intervals in which it is on the critical
/// path.
pub(crate) fn span(axis: &Axis, start: i64, end: i64, critical: &[(i64, i64)]) -> String {
    draw(axis, start, end, |column, is_left, is_right| match (is_left, is_right) {
        (true, true) if is_inside(critical, axis.instant(column)) => '█',
        (true, true) => '▒',
        (true, false) => '▌',
        (false, true) => '▐',
        (false, false) => ' ',
    })
}

/// An interval in which nothing worked: a queue wait.
pub(crate) fn wait(axis: &Axis, start: i64, end: i64) -> String {
    draw(axis, start, end, |_, is_left, is_right| if is_left || is_right { '╌' } else { ' ' })
}

/// The extent of a whole trace.
pub(crate) fn extent(axis: &Axis, start: i64, end: i64) -> String {
    draw(axis, start, end, |_, is_left, is_right| if is_left || is_right { '─' } else { ' ' })
}

/// One instant.
pub(crate) fn mark(axis: &Axis, time: i64, glyph: char) -> String {
    let (from, _) = axis.interval(time, time);
    (0..axis.columns).map(|column| if column == from / 2 { glyph } else { ' ' }).collect()
}

fn draw(axis: &Axis, start: i64, end: i64, cell: impl Fn(usize, bool, bool) -> char) -> String {
    if axis.columns == 0 {
        return String::new();
    }
    let (from, to) = axis.interval(start, end);
    let is_in = |half: usize| from <= half && half < to;
    (0..axis.columns).map(|column| cell(column, is_in(column * 2), is_in(column * 2 + 1))).collect()
}

fn is_inside(intervals: &[(i64, i64)], time: i64) -> bool {
    let after = intervals.partition_point(|(start, _)| *start <= time);
    after > 0 && time < intervals[after - 1].1
}

/// Labels of round times along the axis, counted from `zero`.
pub(crate) fn ruler(axis: &Axis, zero: i64) -> String {
    let mut cells = vec![' '; axis.columns];
    let step = round_step(axis);
    let first = axis.start.saturating_sub(zero).div_euclid(step);
    let mut free_from = 0;
    for index in 0..=(axis.columns as i64) {
        let offset = first.saturating_add(index).saturating_mul(step);
        let column = axis.halves(zero.saturating_add(offset)) / 2.0;
        if column.round() < 0.0 {
            continue;
        }
        let column = column.round() as usize;
        let label = tick_text(offset);
        if column >= free_from && column + label.chars().count() <= axis.columns {
            for (cell, char) in cells[column..].iter_mut().zip(label.chars()) {
                *cell = char;
            }
            free_from = column + label.chars().count() + 2;
        }
    }
    cells.into_iter().collect()
}

/// A round step that leaves each label about eight columns.
fn round_step(axis: &Axis) -> i64 {
    let least = (axis.length.max(1) as f64 / (axis.columns.max(1) as f64 / 8.0).max(1.0)) as i64;
    let mut decade = 1i64;
    while decade < SECOND {
        for factor in [1, 2, 5] {
            if decade * factor >= least {
                return decade * factor;
            }
        }
        decade *= 10;
    }
    let seconds =
        [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400];
    let day = 86_400 * SECOND;
    seconds
        .into_iter()
        .map(|seconds| seconds * SECOND)
        .find(|step| *step >= least)
        .unwrap_or_else(|| (least / day).saturating_add(1).saturating_mul(day))
}

/// `0s`, `200ms`, `1.5s`, `-2s`, `3m`, `1h30m`.
fn tick_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    let scaled = |unit: u64, name: &str| {
        let value = size as f64 / unit as f64;
        format!("{sign}{}{name}", (value * 1_000.0).round() / 1_000.0)
    };
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => scaled(1_000, "µs"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "ms"),
        1_000_000_000..60_000_000_000 => scaled(1_000_000_000, "s"),
        _ => format!("{sign}{}", super::super::core::range::short(std::time::Duration::from_nanos(size))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis() -> Axis {
        Axis { start: 1_000, length: 100, columns: 10 }
    }

    #[test]
    fn a_span_is_solid_on_the_critical_path_and_shaded_off_it() {
        assert_eq!(span(&axis(), 1_000, 1_050, &[(1_000, 1_010), (1_040, 1_050)]), "█▒▒▒█     ");
        assert_eq!(span(&axis(), 1_095, 1_096, &[]), "         ▐", "the shortest span is half a column");
        assert_eq!(wait(&axis(), 1_020, 1_060), "  ╌╌╌╌    ");
        assert_eq!(mark(&axis(), 1_100, '✖'), "         ✖", "the right edge belongs to the last column");
    }

    #[test]
    fn times_outside_the_axis_and_backwards_spans_stay_on_it() {
        for (start, end) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (0, 0), (1_100, 1_000)] {
            assert_eq!(span(&axis(), start, end, &[]).chars().count(), 10);
        }
        let none = Axis { start: 0, length: 0, columns: 0 };
        assert_eq!(span(&none, 0, 1, &[]), "");
        assert_eq!(ruler(&none, i64::MAX), "");
        assert_eq!(mark(&none, 3, 'x'), "");
    }

    #[test]
    fn the_ruler_counts_from_its_zero_in_round_steps() {
        let axis = Axis { start: 0, length: 8 * SECOND, columns: 40 };
        assert_eq!(ruler(&axis, 0).trim_end(), "0s        2s        4s        6s");
        assert_eq!(ruler(&axis, 4 * SECOND).trim_end(), "-4s       -2s       0s        2s");
        let huge = Axis { start: i64::MIN, length: i64::MAX, columns: 30 };
        assert_eq!(ruler(&huge, 0).chars().count(), 30);
    }
}
