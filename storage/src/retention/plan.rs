//! Which segments are too old or too many: a pure function of the segments, the settings and the time.
//!
//! A segment goes as a whole, when its latest row is old enough: rows live up to an hour, the length of a
//! window, longer than asked.

use model::{Signal, UnixNano};

use super::{Keep, Retention};
use crate::segment::{Kept, SegmentMeta};

/// What to do with a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// All its rows go.
    Remove(SegmentMeta),
    /// Only errors and what belongs to them stay.
    KeepErrors(SegmentMeta),
}

/// What is to be done, each segment once.
pub(crate) fn plan(segments: &[SegmentMeta], retention: &Retention, now: UnixNano) -> Vec<Action> {
    let mut actions = Vec::new();
    for signal in Signal::ALL {
        let keep = retention.of(signal);
        let mut left: Vec<&SegmentMeta> = Vec::new();
        for segment in segments.iter().filter(|segment| segment.signal == signal) {
            match by_age(segment, keep, now) {
                Some(action) => actions.push(action),
                None => left.push(segment),
            }
        }
        actions.extend(by_bytes(left, keep));
    }
    actions
}

fn by_age(segment: &SegmentMeta, keep: &Keep, now: UnixNano) -> Option<Action> {
    let age = keep.age.filter(|age| segment.time.to < now.minus(*age))?;
    match keep.errors_age.filter(|errors_age| *errors_age > age && segment.signal != Signal::Metrics) {
        None => Some(Action::Remove(segment.clone())),
        Some(errors_age) if segment.time.to < now.minus(errors_age) => Some(Action::Remove(segment.clone())),
        Some(_) if segment.kept == Kept::All => Some(Action::KeepErrors(segment.clone())),
        Some(_) => None,
    }
}

/// The oldest segments, until the others fit.
fn by_bytes(mut segments: Vec<&SegmentMeta>, keep: &Keep) -> Vec<Action> {
    let Some(bytes_max) = keep.bytes_max else { return Vec::new() };
    segments.sort_unstable_by(|a, b| (a.time.to, &a.name).cmp(&(b.time.to, &b.name)));
    let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut actions = Vec::new();
    for segment in segments {
        if bytes <= bytes_max {
            break;
        }
        bytes -= segment.bytes;
        actions.push(Action::Remove(segment.clone()));
    }
    actions
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::TimeRange;

    use super::*;

    const HOUR: i64 = 3_600_000_000_000;
    const NOW: UnixNano = UnixNano(1_000_000 * HOUR);

    fn segment(signal: Signal, hours_ago: i64, bytes: u64, kept: Kept) -> SegmentMeta {
        let number = hours_ago as u64;
        let mut meta = SegmentMeta::named(signal, 0, (number, number), number);
        let to = UnixNano(NOW.0 - hours_ago * HOUR);
        meta.time = TimeRange { from: to.plus(-10), to };
        (meta.bytes, meta.kept) = (bytes, kept);
        meta
    }

    fn check(keep: Keep, segments: &[SegmentMeta], expected: &[(&str, i64)]) {
        let retention = Retention { traces: keep.clone(), logs: keep.clone(), metrics: keep };
        let done: Vec<(&str, i64)> = plan(segments, &retention, NOW)
            .iter()
            .map(|action| match action {
                Action::Remove(meta) => ("remove", (NOW.0 - meta.time.to.0) / HOUR),
                Action::KeepErrors(meta) => ("errors", (NOW.0 - meta.time.to.0) / HOUR),
            })
            .collect();
        assert_eq!(done, expected);
    }

    fn hours(hours: u64) -> Option<Duration> {
        Some(Duration::from_secs(hours * 3_600))
    }

    #[test]
    fn nothing_goes_unless_told() {
        let segments = [segment(Signal::Logs, 900_000, u64::MAX / 2, Kept::All)];
        check(Keep::default(), &segments, &[]);
    }

    #[test]
    fn errors_outlive_the_rest_and_go_in_the_end() {
        let keep = Keep { age: hours(24), errors_age: hours(240), bytes_max: None };
        let of = |hours_ago, kept| segment(Signal::Traces, hours_ago, 1, kept);
        let segments = [of(23, Kept::All), of(25, Kept::All), of(100, Kept::Errors), of(241, Kept::Errors)];
        check(keep.clone(), &segments, &[("errors", 25), ("remove", 241)]);
        check(keep, &[segment(Signal::Metrics, 25, 1, Kept::All)], &[("remove", 25)]);
    }

    #[test]
    fn bytes_take_the_oldest_and_what_age_takes_counts_no_more() {
        let keep = Keep { age: hours(24), errors_age: None, bytes_max: Some(100) };
        let of = |hours_ago, bytes| segment(Signal::Logs, hours_ago, bytes, Kept::All);
        check(keep, &[of(1, 60), of(2, 40), of(3, 30), of(30, 500)], &[("remove", 30), ("remove", 3)]);
    }
}
