//! `histogram_quantile` over classic histograms: cumulative counts in series with an `le` label.

use std::collections::HashMap;

use promql_parser::parser::Call;

use super::argument;
use crate::promql::eval::Evaluator;
use crate::promql::rows::Row;
use crate::promql::{Labels, PromqlError, labels};

const BUCKET_LABEL: &str = "le";

/// Counts that differ by less than this part of their sum are taken as equal.
const TOLERANCE: f64 = 1e-12;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// The buckets of one histogram, as rows.
struct Histogram<'r> {
    labels: Labels,
    buckets: Vec<(f64, &'r Row)>,
}

impl Evaluator<'_> {
    /// `histogram_quantile(0.95, sum by (le) (rate(x_bucket[5m])))`
    pub(super) fn histogram_quantile(&self, call: &Call) -> Result<Vec<Row>, PromqlError> {
        let quantiles = self.scalar(argument(call, 0)?)?;
        let rows = self.vector(argument(call, 1)?)?;
        let histograms = histograms(&rows);
        let rows = histograms.into_iter().map(|histogram| {
            let at_step = |(step, quantile): (usize, &f64)| {
                let present = histogram.buckets.iter();
                let buckets = present
                    .filter_map(|(upper, row)| row.values[step].map(|count| Bucket { upper: *upper, count }));
                let mut buckets: Vec<Bucket> = buckets.collect();
                (!buckets.is_empty()).then(|| bucket_quantile(*quantile, &mut buckets))
            };
            let values = quantiles.iter().enumerate().map(at_step).collect();
            Row::new(histogram.labels, values)
        });
        Ok(rows.filter(Row::has_values).collect())
    }
}

/// Groups rows by all labels but `le` and the name; rows whose `le` is no number are left out.
fn histograms(rows: &[Row]) -> Vec<Histogram<'_>> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut found: Vec<Histogram<'_>> = Vec::new();
    for row in rows {
        let Some(upper) = row.labels.get(BUCKET_LABEL).and_then(|text| parse_bound(text)) else { continue };
        let labels = labels::drop_named(&row.labels, &[BUCKET_LABEL.to_owned()]);
        let place = *places.entry(labels.clone()).or_insert(found.len());
        if place == found.len() {
            found.push(Histogram { labels, buckets: Vec::new() });
        }
        found[place].buckets.push((upper, row));
    }
    found
}

fn parse_bound(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|bound| !bound.is_nan())
}

fn bucket_quantile(quantile: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if quantile.is_nan() {
        return f64::NAN;
    }
    if quantile < 0.0 {
        return f64::NEG_INFINITY;
    }
    if quantile > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return f64::NAN;
    }
    coalesce(buckets);
    make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 || observations.is_nan() {
        return f64::NAN;
    }
    let rank = quantile * observations;
    let found = buckets[..last].iter().position(|bucket| bucket.count >= rank).unwrap_or(last);
    let bucket = buckets[found];
    if found == last {
        return buckets[last - 1].upper;
    }
    if found == 0 {
        // The lowest bucket begins at zero, unless its bound says that it does not.
        return if bucket.upper <= 0.0 { bucket.upper } else { bucket.upper * (rank / bucket.count) };
    }
    let below = buckets[found - 1];
    below.upper + (bucket.upper - below.upper) * ((rank - below.count) / (bucket.count - below.count))
}

/// Adds up buckets of the same bound.
fn coalesce(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, kept| {
        let is_same = next.upper == kept.upper;
        if is_same {
            kept.count += next.count;
        }
        is_same
    });
}

/// Cumulative counts never fall; where scrapes of the buckets raced, the smaller count is raised.
fn make_monotonic(buckets: &mut [Bucket]) {
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if bucket.count < before || almost_equal(before, bucket.count) {
            bucket.count = before;
        } else {
            before = bucket.count;
        }
    }
}

fn almost_equal(a: f64, b: f64) -> bool {
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == b {
        true
    } else if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        difference < TOLERANCE * f64::MIN_POSITIVE
    } else {
        difference / sum.min(f64::MAX) < TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(quantile: f64, buckets: &[(f64, f64)], expected: f64) {
        let mut buckets: Vec<Bucket> =
            buckets.iter().map(|(upper, count)| Bucket { upper: *upper, count: *count }).collect();
        let found = bucket_quantile(quantile, &mut buckets);
        let is_same = found == expected || found.is_nan() && expected.is_nan();
        assert!(is_same, "quantile {quantile} of {buckets:?} is {found}, not {expected}");
    }

    const INF: f64 = f64::INFINITY;

    #[test]
    fn a_quantile_lies_on_the_line_between_a_buckets_ends() {
        check(0.5, &[(1.0, 10.0), (2.0, 20.0), (INF, 20.0)], 1.0);
        check(0.75, &[(1.0, 10.0), (2.0, 20.0), (INF, 20.0)], 1.5);
        check(0.25, &[(1.0, 10.0), (INF, 10.0)], 0.25);
    }

    #[test]
    fn a_quantile_in_the_last_bucket_is_its_lower_end() {
        check(0.99, &[(1.0, 1.0), (INF, 20.0)], 1.0);
    }

    #[test]
    fn histograms_without_observations_or_an_infinite_bucket_have_no_quantile() {
        check(0.5, &[(1.0, 0.0), (INF, 0.0)], f64::NAN);
        check(0.5, &[(1.0, 5.0)], f64::NAN);
        check(0.5, &[(INF, 5.0)], f64::NAN);
        check(f64::NAN, &[(1.0, 5.0), (INF, 5.0)], f64::NAN);
    }

    #[test]
    fn counts_that_fall_are_raised_to_the_one_below() {
        check(0.5, &[(1.0, 10.0), (2.0, 9.0), (INF, 10.0)], 0.5);
    }
}
