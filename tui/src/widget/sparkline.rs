//! A sparkline: one line of block eighths, newest at the right.

use crate::core::glyph::EIGHTHS;

/// `values`, oldest first, in at most `width` columns against a scale from 0 to the largest of them
/// or `scale_least`, whichever is more. NaN is a gap. Fewer values than columns take one column each.
pub(crate) fn sparkline(values: &[f64], width: usize, scale_least: f64) -> String {
    let columns = resample(values, width);
    let top = columns.iter().copied().filter(|value| value.is_finite()).fold(scale_least, f64::max);
    columns.iter().map(|value| level(*value, top)).collect()
}

fn level(value: f64, top: f64) -> char {
    if value.is_nan() {
        return ' ';
    }
    if top <= 0.0 || value <= 0.0 {
        return EIGHTHS[0];
    }
    let level = (value / top * 7.0).round().clamp(0.0, 7.0) as usize;
    EIGHTHS[level]
}

/// At most `width` values: neighbours are merged into their maximum, so that a peak is never lost.
pub(crate) fn resample(values: &[f64], width: usize) -> Vec<f64> {
    if values.len() <= width {
        return values.to_vec();
    }
    (0..width)
        .map(|column| {
            let from = column * values.len() / width;
            let to = ((column + 1) * values.len() / width).max(from + 1);
            values[from..to].iter().copied().fold(f64::NAN, f64::max)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_goes_from_the_lowest_to_the_highest_block_and_keeps_peaks() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 4.0], 4, 0.0), "▁▃▅█");
        let mut values = vec![0.0; 100];
        values[37] = 9.0;
        assert!(sparkline(&values, 10, 0.0).contains('█'));
    }

    #[test]
    fn gaps_flat_lines_and_nothing_at_all_draw_without_a_division_by_zero() {
        assert_eq!(sparkline(&[f64::NAN, 0.0, 0.0], 9, 0.0), " ▁▁");
        assert_eq!(sparkline(&[], 9, 1.0), "");
        assert_eq!(sparkline(&[1.0, f64::INFINITY], 0, 1.0), "");
        assert_eq!(sparkline(&[0.001], 3, 0.02), "▁", "small against the scale's least top");
    }
}
