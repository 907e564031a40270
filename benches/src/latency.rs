//! Many durations, and what they were at most for a share of them.

use std::time::Duration;

/// Durations, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies(Vec<Duration>);

impl From<Vec<Duration>> for Latencies {
    fn from(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }
}

impl Latencies {
    /// The least duration that `percent` of all do not exceed (nearest rank); zero when there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// `p50 … p99 … max …`.
    pub fn text(&self) -> String {
        let [p50, p95, p99] = [50, 95, 99].map(|percent| millis(self.percentile(percent)));
        format!("p50 {p50}  p95 {p95}  p99 {p99}  max {}", millis(self.max()))
    }
}

/// Milliseconds with two decimals.
pub fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_durations_that_were_measured() {
        let latencies = Latencies::from((1..=200).rev().map(Duration::from_millis).collect::<Vec<_>>());
        let [p50, p95, p99] = [50, 95, 99].map(|percent| latencies.percentile(percent).as_millis());
        assert_eq!([p50, p95, p99, latencies.max().as_millis()], [100, 190, 198, 200]);
        let one = Latencies::from(vec![Duration::from_millis(7)]);
        assert_eq!(one.percentile(1), one.percentile(99));
        assert_eq!(Latencies::default().percentile(50), Duration::ZERO);
    }
}
