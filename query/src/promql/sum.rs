//! Sums and means that keep the digits that plain addition loses (Kahan, with Neumaier's correction).

/// Adds `term` to the sum and its running compensation.
pub(crate) fn add(term: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + term;
    let compensation = if total.is_infinite() {
        0.0
    } else if sum.abs() >= term.abs() {
        compensation + ((sum - total) + term)
    } else {
        compensation + ((term - total) + sum)
    };
    (total, compensation)
}

/// A compensated sum.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    total: f64,
    compensation: f64,
}

impl Sum {
    pub(crate) fn add(&mut self, term: f64) {
        (self.total, self.compensation) = add(term, self.total, self.compensation);
    }

    pub(crate) fn value(&self) -> f64 {
        if self.total.is_infinite() { self.total } else { self.total + self.compensation }
    }
}

/// Sum of all values.
pub(crate) fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sum = Sum::default();
    values.into_iter().for_each(|value| sum.add(value));
    sum.value()
}

/// Mean of all values: their sum by their count, or, where the sum would overflow, corrected step by
/// step. NaN for no values.
pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut mean, mut compensation, mut count) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    let mut is_incremental = false;
    for value in values {
        count += 1.0;
        if count == 1.0 {
            sum = value;
            continue;
        }
        if !is_incremental {
            let (next, next_compensation) = add(value, sum, compensation);
            if !next.is_infinite() {
                (sum, compensation) = (next, next_compensation);
                continue;
            }
            is_incremental = true;
            mean = sum / (count - 1.0);
            compensation /= count - 1.0;
        }
        if mean.is_infinite() {
            let stays = if value.is_infinite() { (mean > 0.0) == (value > 0.0) } else { !value.is_nan() };
            if stays {
                continue;
            }
        }
        let share = (count - 1.0) / count;
        (mean, compensation) = add(value / count, share * mean, share * compensation);
    }
    if is_incremental { mean + compensation } else { sum / count + compensation / count }
}

/// Variance of the whole population; NaN for no values.
pub(crate) fn variance(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut count, mut mean, mut aux) = (0.0, Sum::default(), Sum::default());
    for value in values {
        count += 1.0;
        let delta = value - (mean.total + mean.compensation);
        mean.add(delta / count);
        aux.add(delta * (value - (mean.total + mean.compensation)));
    }
    (aux.total + aux.compensation) / count
}

/// The `quantile` of `values` by linear interpolation; NaN counts as the smallest value.
pub(crate) fn quantile(quantile: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || quantile.is_nan() {
        return f64::NAN;
    }
    if quantile < 0.0 {
        return f64::NEG_INFINITY;
    }
    if quantile > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.total_cmp(b),
    });
    let last = values.len() - 1;
    let rank = quantile * last as f64;
    let lower = (rank.floor() as usize).min(last);
    let upper = (lower + 1).min(last);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_terms_survive_beside_huge_ones() {
        assert_eq!(sum([2.0, 8.0, 1e100, -1e100]), 10.0);
        assert_eq!(mean([2.0, 8.0, 1e100, -1e100]), 2.5);
    }

    #[test]
    fn a_mean_does_not_overflow_where_its_sum_would() {
        let large = f64::MAX / 2.0;
        assert!((mean([large; 4]) / large - 1.0).abs() < 1e-15);
        assert_eq!(mean([0.0, f64::INFINITY, 0.0]), f64::INFINITY);
        assert!(mean([f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }

    #[test]
    fn quantiles_interpolate_and_leave_the_range_as_infinities() {
        assert_eq!(quantile(0.75, &mut [4.0, 0.0, 1.0]), 2.5);
        assert_eq!(quantile(-0.1, &mut [1.0]), f64::NEG_INFINITY);
        assert!(quantile(0.5, &mut []).is_nan());
    }
}
