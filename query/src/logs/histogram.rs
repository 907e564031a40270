//! Matching records over time, in buckets of a round width.

use model::time::SECOND;
use model::{TimeRange, UnixNano};
use query_api::LogBucket;

/// Buckets a range is cut into, roughly.
const BUCKETS: i64 = 60;

/// Widths that people can read off an axis, in nanoseconds.
const WIDTHS: [i64; 27] = {
    const MS: i64 = SECOND / 1_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    [
        MS,
        2 * MS,
        5 * MS,
        10 * MS,
        20 * MS,
        50 * MS,
        100 * MS,
        200 * MS,
        500 * MS,
        SECOND,
        2 * SECOND,
        5 * SECOND,
        10 * SECOND,
        15 * SECOND,
        30 * SECOND,
        MINUTE,
        2 * MINUTE,
        5 * MINUTE,
        10 * MINUTE,
        15 * MINUTE,
        30 * MINUTE,
        HOUR,
        3 * HOUR,
        6 * HOUR,
        12 * HOUR,
        DAY,
        7 * DAY,
    ]
};

/// Counts by time and severity.
#[derive(Debug)]
pub(super) struct Histogram {
    start: i64,
    width: i64,
    buckets: Vec<LogBucket>,
}

impl Histogram {
    /// Empty buckets over all of `range`.
    pub(super) fn new(range: TimeRange) -> Self {
        let width = width(range.nanos());
        let start = range.from.0.div_euclid(width).saturating_mul(width);
        let count = (range.to.0.saturating_sub(start) / width).clamp(0, 4 * BUCKETS) + 1;
        let bucket = |at: i64| LogBucket {
            time: UnixNano(start.saturating_add(at.saturating_mul(width))),
            errors: 0,
            warnings: 0,
            others: 0,
        };
        Self { start, width, buckets: (0..count).map(bucket).collect() }
    }

    /// Counts one record of a severity number (0 for none).
    pub(super) fn add(&mut self, time: UnixNano, severity: i32) {
        let at = time.0.saturating_sub(self.start) / self.width;
        let last = self.buckets.len() - 1;
        let bucket = &mut self.buckets[usize::try_from(at).unwrap_or(0).min(last)];
        match severity {
            17.. => bucket.errors += 1,
            13..17 => bucket.warnings += 1,
            _ => bucket.others += 1,
        }
    }

    pub(super) fn finish(self) -> Vec<LogBucket> {
        self.buckets
    }
}

/// The narrowest round width that cuts `nanos` into [`BUCKETS`] or fewer; whole weeks beyond a week.
fn width(nanos: i64) -> i64 {
    let least = nanos / BUCKETS;
    let week = WIDTHS[WIDTHS.len() - 1];
    let round = WIDTHS.into_iter().find(|width| *width >= least);
    round.unwrap_or_else(|| (least / week).saturating_add(1).saturating_mul(week))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: i64, to: i64) -> TimeRange {
        TimeRange { from: UnixNano(from), to: UnixNano(to) }
    }

    #[test]
    fn a_quarter_of_an_hour_has_buckets_of_fifteen_seconds_and_counts_both_ends() {
        let hour = 1_800_000_000 * SECOND;
        let mut histogram = Histogram::new(range(hour, hour + 900 * SECOND));
        histogram.add(UnixNano(hour), 17);
        histogram.add(UnixNano(hour + 900 * SECOND), 13);
        histogram.add(UnixNano(hour + 16 * SECOND), 0);
        let buckets = histogram.finish();
        assert_eq!(buckets.len(), 61);
        assert_eq!((buckets[0].errors, buckets[1].others, buckets[60].warnings), (1, 1, 1));
        assert_eq!(buckets[1].time.since(buckets[0].time), 15 * SECOND);
    }

    #[test]
    fn any_range_has_a_bounded_number_of_buckets() {
        for range in
            [TimeRange::ALL, range(0, 0), range(5, 1), range(-1, 1), range(0, i64::MAX), range(i64::MIN, 0)]
        {
            let mut histogram = Histogram::new(range);
            histogram.add(range.from, 0);
            histogram.add(range.to, 0);
            let buckets = histogram.finish();
            assert!((1..=241).contains(&buckets.len()), "{range:?}: {}", buckets.len());
            assert_eq!(buckets.iter().map(|bucket| bucket.others).sum::<u64>(), 2);
        }
    }
}
