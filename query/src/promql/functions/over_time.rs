//! Functions of the samples in one window.

use super::rate;
use crate::promql::aggregate::extreme;
use crate::promql::selector::Window;
use crate::promql::sum;

type Function = fn(Window<'_>, i64) -> Option<f64>;

/// Whether the function's result is a sample of the series, so that the metric's name stays.
pub(super) fn keeps_name(name: &str) -> bool {
    matches!(name, "last_over_time" | "first_over_time")
}

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "sum_over_time" => |w, _| Some(sum::sum(values(w))),
        "avg_over_time" => |w, _| Some(sum::mean(values(w))),
        "min_over_time" => |w, _| Some(extreme(values(w), |a, b| a < b)),
        "max_over_time" => |w, _| Some(extreme(values(w), |a, b| a > b)),
        "count_over_time" => |w, _| Some(w.samples.len() as f64),
        "present_over_time" => |_, _| Some(1.0),
        "last_over_time" => |w, _| w.samples.last().map(|(_, value)| *value),
        "first_over_time" => |w, _| w.samples.first().map(|(_, value)| *value),
        "stdvar_over_time" => |w, _| Some(sum::variance(values(w))),
        "stddev_over_time" => |w, _| Some(sum::variance(values(w)).sqrt()),
        "mad_over_time" => |w, _| Some(median_deviation(w)),
        "changes" => |w, _| Some(pairs(w, |a, b| a != b && !(a.is_nan() && b.is_nan()))),
        "resets" => |w, _| Some(pairs(w, |a, b| b < a)),
        "irate" => |w, _| rate::of_last_two(w, true),
        "idelta" => |w, _| rate::of_last_two(w, false),
        "deriv" => |w, _| rate::regression(w.samples, w.samples.first()?.0).map(|(slope, _)| slope),
        _ => return None,
    })
}

fn values(window: Window<'_>) -> impl Iterator<Item = f64> {
    window.samples.iter().map(|(_, value)| *value)
}

/// How many neighbours are in the relation.
fn pairs(window: Window<'_>, relation: fn(f64, f64) -> bool) -> f64 {
    window.samples.windows(2).filter(|pair| relation(pair[0].1, pair[1].1)).count() as f64
}

/// Median of the absolute distances from the median.
fn median_deviation(window: Window<'_>) -> f64 {
    let mut sorted: Vec<f64> = values(window).collect();
    let median = sum::quantile(0.5, &mut sorted);
    let mut distances: Vec<f64> = sorted.iter().map(|value| (value - median).abs()).collect();
    sum::quantile(0.5, &mut distances)
}
