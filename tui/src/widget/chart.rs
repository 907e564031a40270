//! Lines over time in braille, with axes and a legend.
//!
//! ```text
//!  2.00s┤                ⢀⡠⠤⠒⠒⠢⡀ a      a payments   412ms
//!       │              ⡠⠒⠁     ⠈⠑⠢      b checkout   380ms
//!      0┼────────┬────────┬────────┬
//!     10:27    10:32    10:37    10:42
//! ```
//!
//! A gap in the data is a gap in the line. Series differ by colour and by the letter at their end.

use crate::core::line::{Line, Role, width_of};
use crate::core::{format, range};
use model::{TimeRange, UnixNano};

/// One line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Curve {
    /// Its name in the legend.
    pub(crate) label: String,
    /// Unix seconds and value, in order of time. NaN is a gap.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Curve {
    /// The latest value there is.
    pub(crate) fn last(&self) -> f64 {
        self.points.iter().rev().map(|(_, value)| *value).find(|value| !value.is_nan()).unwrap_or(f64::NAN)
    }
}

/// What is drawn, and how large.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chart<'a> {
    /// The lines, most important first.
    pub(crate) curves: &'a [Curve],
    /// Time from the left edge to the right.
    pub(crate) range: TimeRange,
    /// Unit of the values.
    pub(crate) unit: Option<&'a str>,
    /// Columns.
    pub(crate) width: usize,
    /// Lines.
    pub(crate) height: usize,
}

/// Columns of the labels on the value axis, the axis itself included.
const LABEL: usize = 8;
/// Columns of a legend beside the chart.
const LEGEND: usize = 30;
/// With fewer columns than this the legend goes below.
const BESIDE_FROM: usize = 72;
/// With less room than this a chart says nothing; callers draw a sparkline.
pub(crate) const WIDTH_MIN: usize = 24;
/// Likewise for lines.
pub(crate) const HEIGHT_MIN: usize = 4;

impl Chart<'_> {
    /// The lines of the drawing, exactly `height` of them.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let is_beside = self.width >= BESIDE_FROM;
        let (plot_width, plot_height) = if is_beside {
            (self.width - LEGEND - LABEL - 1, self.height.saturating_sub(2))
        } else {
            (self.width.saturating_sub(LABEL), self.height.saturating_sub(3))
        };
        let mut lines = self.plot(plot_width, plot_height.max(1));
        lines.push(self.time_axis(plot_width));
        lines.push(self.time_labels(plot_width));
        if is_beside {
            for (line, curve) in lines.iter_mut().zip(self.curves.iter().enumerate()) {
                line.pad_to(self.width - LEGEND);
                line.append(self.legend_entry(curve.0, curve.1, LEGEND));
            }
        } else {
            lines.push(self.legend_line());
        }
        lines.truncate(self.height);
        lines.into_iter().map(|line| line.fit(self.width)).collect()
    }

    fn plot(&self, width: usize, height: usize) -> Vec<Line> {
        let (low, high) = self.bounds();
        let mut canvas = Canvas::new(width, height);
        // The most important one last, so that it lies on top.
        for (index, curve) in self.curves.iter().enumerate().rev() {
            canvas.curve(index, &self.dots(curve, low, high, &canvas));
        }
        (0..height)
            .map(|row| {
                let label = match row {
                    0 => Some(high),
                    _ if row == height / 2 && height >= 5 => {
                        Some(high - (high - low) * row as f64 / height as f64)
                    }
                    _ => None,
                };
                let mut line = Line::new();
                match label {
                    Some(value) => {
                        line.cell_right(Role::Dim, &self.axis_text(value), LABEL - 1);
                        line.push(Role::Rule, "┤");
                    }
                    None => {
                        line.gap(LABEL - 1);
                        line.push(Role::Rule, "│");
                    }
                }
                canvas.row_into(row, &mut line);
                line
            })
            .collect()
    }

    /// From 0, unless something is negative, to a round number above the largest value.
    fn bounds(&self) -> (f64, f64) {
        let values = self.curves.iter().flat_map(|curve| &curve.points).map(|(_, value)| *value);
        let (low, high) = values
            .filter(|value| value.is_finite())
            .fold((0.0f64, 0.0f64), |(low, high), value| (low.min(value), high.max(value)));
        let high = if high > low { high } else { low + 1.0 };
        (-round_up(-low), round_up(high))
    }

    /// Dot coordinates of a curve's points, from the bottom left; `None` is a gap.
    fn dots(&self, curve: &Curve, low: f64, high: f64, canvas: &Canvas) -> Vec<Option<(i64, i64)>> {
        let (from, to) = (self.range.from.seconds(), self.range.to.seconds());
        let (right, top) = (canvas.dots_wide() as f64 - 1.0, canvas.dots_high() as f64 - 1.0);
        let step = usual_step(&curve.points);
        let mut dots = Vec::with_capacity(curve.points.len());
        let mut before: Option<f64> = None;
        for (time, value) in &curve.points {
            if before.is_some_and(|before| time - before > step * 2.5) {
                dots.push(None);
            }
            before = Some(*time);
            let x = (time - from) / (to - from).max(f64::MIN_POSITIVE) * right;
            let y = (value - low) / (high - low) * top;
            let is_inside = x.is_finite() && y.is_finite() && (-0.5..=right + 0.5).contains(&x);
            dots.push(is_inside.then(|| (x.round() as i64, y.round().clamp(0.0, top) as i64)));
        }
        dots
    }

    fn axis_text(&self, value: f64) -> String {
        if value == 0.0 { "0".to_owned() } else { format::with_unit(value, self.unit) }
    }

    fn time_axis(&self, width: usize) -> Line {
        let mut line = Line::new();
        line.cell_right(Role::Dim, &self.axis_text(self.bounds().0), LABEL - 1);
        let ticks = self.ticks(width);
        let axis: String = (0..width)
            .map(|column| if ticks.iter().any(|(at, _)| *at == column) { '┬' } else { '─' })
            .collect();
        line.push(Role::Rule, &format!("┼{axis}"));
        line
    }

    fn time_labels(&self, width: usize) -> Line {
        let mut line = Line::new();
        for (column, time) in self.ticks(width) {
            let clock = range::clock(time);
            let label = if self.range.nanos() > 600 * model::time::SECOND { &clock[..5] } else { &clock[..] };
            // The last label ends where the axis ends.
            let at = (LABEL + column)
                .saturating_sub(label.len() / 2)
                .min((LABEL + width).saturating_sub(label.len()));
            if at >= line.width() + 2 || line.width() == 0 {
                line.pad_to(at);
                line.push(Role::Dim, label);
            }
        }
        line.fit(LABEL + width)
    }

    /// Columns and instants of the labels on the time axis.
    fn ticks(&self, width: usize) -> Vec<(usize, UnixNano)> {
        let number = (width / 14).clamp(1, 6);
        (0..=number)
            .map(|tick| {
                let share = tick as f64 / number as f64;
                let column = (share * width.saturating_sub(1) as f64).round() as usize;
                (column, self.range.from.plus((share * self.range.nanos() as f64) as i64))
            })
            .collect()
    }

    fn legend_entry(&self, index: usize, curve: &Curve, width: usize) -> Line {
        let mut line = Line::new();
        line.push(series_role(index), &letter(index).to_string());
        line.gap(1);
        line.cell(Role::Text, &curve.label, width.saturating_sub(11));
        line.cell_right(Role::Strong, &format::with_unit(curve.last(), self.unit), 8);
        line
    }

    fn legend_line(&self) -> Line {
        let mut line = Line::new();
        line.gap(1);
        for (index, curve) in self.curves.iter().enumerate() {
            let value = format::with_unit(curve.last(), self.unit);
            let taken = line.width() + 4 + width_of(&curve.label) + width_of(&value) + 2;
            if index > 0 && taken > self.width {
                line.push(Role::Dim, &format!("+{} more", self.curves.len() - index));
                break;
            }
            line.push(series_role(index), &letter(index).to_string());
            line.push(Role::Text, &format!(" {} ", curve.label));
            line.push(Role::Strong, &value);
            line.gap(2);
        }
        line.fit(self.width)
    }
}

/// The letter at the end of a line and in the legend.
fn letter(index: usize) -> char {
    u8::try_from(index).ok().filter(|index| *index < 26).map_or('+', |index| char::from(b'a' + index))
}

fn series_role(index: usize) -> Role {
    Role::Series((index % 6) as u8)
}

/// The smallest of 1, 2, 2.5, 5 times a power of ten that is at least `value`; 0 for 0 and below.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 0.0;
    }
    let decade = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * decade)
        .find(|top| *top >= value)
        .unwrap_or(value)
}

/// The median distance of neighbouring points, which a longer one is a gap against.
fn usual_step(points: &[(f64, f64)]) -> f64 {
    let mut steps: Vec<f64> = points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied().unwrap_or(f64::INFINITY)
}

/// Braille cells: two dots wide, four high, each with the series that touched it last.
struct Canvas {
    width: usize,
    height: usize,
    cells: Vec<(u8, u8)>,
    letters: Vec<(usize, usize, usize)>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, cells: vec![(0, 0); width * height], letters: Vec::new() }
    }

    fn dots_wide(&self) -> usize {
        self.width * 2
    }

    fn dots_high(&self) -> usize {
        self.height * 4
    }

    fn curve(&mut self, series: usize, dots: &[Option<(i64, i64)>]) {
        for pair in dots.windows(2) {
            if let [Some(from), Some(to)] = pair {
                self.stroke(series, *from, *to);
            }
        }
        for (index, dot) in dots.iter().enumerate() {
            let is_alone = dot.is_some()
                && (index == 0 || dots[index - 1].is_none())
                && dots.get(index + 1).is_none_or(Option::is_none);
            if let (true, Some((x, y))) = (is_alone, dot) {
                self.dot(series, *x, *y);
            }
        }
        if let Some((x, y)) = dots.iter().rev().flatten().next() {
            let column = usize::try_from(x / 2 + 1).unwrap_or(0).min(self.width.saturating_sub(1));
            let row = self.height.saturating_sub(1).saturating_sub(usize::try_from(y / 4).unwrap_or(0));
            self.letters.push((column, row, series));
        }
    }

    /// A straight line, Bresenham's way.
    fn stroke(&mut self, series: usize, (mut x, mut y): (i64, i64), (to_x, to_y): (i64, i64)) {
        let (wide, high) = ((to_x - x).abs(), -(to_y - y).abs());
        let (step_x, step_y) = ((to_x - x).signum(), (to_y - y).signum());
        let mut error = wide + high;
        loop {
            self.dot(series, x, y);
            if x == to_x && y == to_y {
                return;
            }
            let twice = error * 2;
            if twice >= high {
                error += high;
                x += step_x;
            }
            if twice <= wide {
                error += wide;
                y += step_y;
            }
        }
    }

    fn dot(&mut self, series: usize, x: i64, y: i64) {
        const BITS: [[u8; 2]; 4] = [[0x40, 0x80], [0x04, 0x20], [0x02, 0x10], [0x01, 0x08]];
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x >= self.dots_wide() || y >= self.dots_high() {
            return;
        }
        let cell = &mut self.cells[(self.height - 1 - y / 4) * self.width + x / 2];
        cell.0 |= BITS[y % 4][x % 2];
        cell.1 = u8::try_from(series).unwrap_or(u8::MAX);
    }

    fn row_into(&self, row: usize, line: &mut Line) {
        for column in 0..self.width {
            let (bits, series) = self.cells[row * self.width + column];
            let named = self.letters.iter().rev().find(|(at, line, _)| (*at, *line) == (column, row));
            match named {
                Some((_, _, series)) => line.push(series_role(*series), &letter(*series).to_string()),
                None if bits == 0 => line.push(Role::Text, " "),
                None => {
                    let braille = char::from_u32(0x2800 + u32::from(bits)).unwrap_or(' ');
                    line.push(series_role(usize::from(series)), &braille.to_string());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(curves: &[Curve], width: usize, height: usize) -> Vec<String> {
        let range = TimeRange { from: UnixNano(0), to: UnixNano::from_seconds(900.0) };
        let lines = Chart { curves, range, unit: Some("s"), width, height }.lines();
        assert!(lines.len() <= height);
        assert!(lines.iter().all(|line| line.width() <= width), "wider than {width}");
        lines.iter().map(Line::plain).collect()
    }

    fn curve(points: &[(f64, f64)]) -> Curve {
        Curve { label: "x".to_owned(), points: points.to_vec() }
    }

    #[test]
    fn a_rising_line_goes_from_the_lower_left_to_the_upper_right() {
        let points: Vec<(f64, f64)> = (0..=60).map(|i| (f64::from(i) * 15.0, f64::from(i))).collect();
        let lines = chart(&[curve(&points)], 40, 9);
        assert!(lines[2].ends_with('a'), "{lines:#?}");
        assert!(lines[5].contains("│⣀") || lines[5].contains("│⡠") || lines[5].contains("│⢀"), "{lines:#?}");
    }

    #[test]
    fn a_gap_in_the_data_is_a_gap_in_the_line() {
        let points: Vec<(f64, f64)> =
            (0..60).filter(|i| !(20..40).contains(i)).map(|i| (f64::from(i) * 15.0, 1.0)).collect();
        let row = chart(&[curve(&points)], 40, 5)[0].clone();
        assert!(row.contains("    "), "{row}");
    }

    #[test]
    fn hostile_numbers_and_many_series_draw_without_a_panic() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 0.0, -1.0];
        let points: Vec<(f64, f64)> = odd.iter().enumerate().map(|(i, v)| (i as f64 * 100.0, *v)).collect();
        let curves: Vec<Curve> = (0..40).map(|_| curve(&points)).collect();
        for (width, height) in [(1, 1), (9, 2), (24, 4), (80, 10), (200, 3)] {
            chart(&curves, width, height);
            chart(&[curve(&[])], width, height);
            chart(&[], width, height);
        }
    }
}
