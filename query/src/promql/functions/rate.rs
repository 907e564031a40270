//! Change over time: extrapolated to the window's ends, between the last two samples, or fitted.
//!
//! ```text
//! window start      first sample                last sample      window end
//!     |<-- to_start -->|<------- sampled ---------->|<-- to_end -->|
//! ```
//! A gap at an end that is longer than 1.1 average intervals is extrapolated by half an interval only,
//! and a counter never below zero.

use crate::promql::selector::Window;
use crate::promql::sum;

/// `rate`, `increase` (`is_counter`) and `delta`.
pub(super) fn extrapolated(window: Window<'_>, range: i64, is_counter: bool, is_rate: bool) -> Option<f64> {
    let (first, last) = (window.samples.first()?, window.samples.last()?);
    if window.samples.len() < 2 {
        return None;
    }
    let mut change = last.1 - first.1;
    if is_counter {
        let resets = window.samples.windows(2).filter(|pair| pair[1].1 < pair[0].1);
        change = resets.fold(change, |change, pair| change + pair[0].1);
    }
    let seconds = |from: i64, to: i64| to.saturating_sub(from) as f64 / 1000.0;
    let sampled = seconds(first.0, last.0);
    let interval = sampled / (window.samples.len() - 1) as f64;
    let threshold = interval * 1.1;
    let mut to_start = seconds(window.start, first.0);
    if to_start >= threshold {
        to_start = interval / 2.0;
    }
    if is_counter && change > 0.0 && first.1 >= 0.0 {
        to_start = to_start.min(sampled * (first.1 / change));
    }
    let mut to_end = seconds(last.0, window.end);
    if to_end >= threshold {
        to_end = interval / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if is_rate {
        factor /= range as f64 / 1000.0;
    }
    Some(change * factor)
}

/// `irate` and `idelta`.
pub(super) fn of_last_two(window: Window<'_>, is_rate: bool) -> Option<f64> {
    let [.., before, last] = window.samples else { return None };
    if !is_rate {
        return Some(last.1 - before.1);
    }
    let change = if last.1 < before.1 { last.1 } else { last.1 - before.1 };
    Some(change / ((last.0 - before.0) as f64 / 1000.0))
}

/// Least squares: slope a second, and the value at `origin`.
pub(super) fn regression(samples: &[(i64, f64)], origin: i64) -> Option<(f64, f64)> {
    let first = samples.first()?.1;
    if samples.len() < 2 {
        return None;
    }
    if samples.iter().all(|(_, value)| *value == first) {
        return Some(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) });
    }
    let count = samples.len() as f64;
    let points = || samples.iter().map(|(time, value)| ((time - origin) as f64 / 1000.0, *value));
    let sum_x = sum::sum(points().map(|(x, _)| x));
    let sum_y = sum::sum(points().map(|(_, y)| y));
    let sum_xy = sum::sum(points().map(|(x, y)| x * y));
    let sum_xx = sum::sum(points().map(|(x, _)| x * x));
    let slope = (sum_xy - sum_x * sum_y / count) / (sum_xx - sum_x * sum_x / count);
    Some((slope, sum_y / count - slope * sum_x / count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(samples: &[(i64, f64)], start: i64, end: i64) -> Window<'_> {
        Window { samples, start, end, time: end, step: 0 }
    }

    #[test]
    fn a_counter_that_restarts_does_not_go_back() {
        let samples = [(0, 10.0), (10_000, 20.0), (20_000, 5.0), (30_000, 15.0)];
        let change = extrapolated(window(&samples, 0, 30_000), 30_000, true, false);
        assert_eq!(change, Some(25.0));
    }

    #[test]
    fn a_counter_is_not_extrapolated_below_zero() {
        let samples = [(10_000, 0.0), (20_000, 10.0)];
        assert_eq!(extrapolated(window(&samples, 5_000, 20_000), 15_000, true, false), Some(10.0));
        assert_eq!(extrapolated(window(&samples, 5_000, 20_000), 15_000, false, false), Some(15.0));
    }

    #[test]
    fn one_sample_has_no_rate() {
        assert_eq!(extrapolated(window(&[(0, 1.0)], -1, 0), 1, true, true), None);
        assert_eq!(of_last_two(window(&[(0, 1.0)], -1, 0), true), None);
        assert_eq!(regression(&[(0, 1.0)], 0), None);
    }
}
