//! Which segments are too old or too many: a pure function of the segments, the settings and the time.
//!
//! ```text
//! lifetimes    of a rule ┐
//!              age       ├─ sorted: ages at which rows leave a segment
//!              errors    ┘
//! a segment as old as one of them is rewritten to the rows that live longer, and removed at the last
//! ```
//!
//! A segment loses rows when its latest row is old enough: rows live up to an hour, the length of a
//! window, longer than asked.

use std::time::Duration;

use model::{Signal, UnixNano};

use super::{Keep, Retention};
use crate::segment::{Kept, SegmentMeta};

/// What to do with a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// All its rows go.
    Remove(SegmentMeta),
    /// Rows that live longer than this stay.
    KeepPast(SegmentMeta, Duration),
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
    let lifetimes = keep.lifetimes(segment.signal);
    let is_over = |lifetime: &Duration| segment.time.to < now.minus(*lifetime);
    let passed = lifetimes.iter().copied().flatten().filter(is_over).max()?;
    let is_last = lifetimes.iter().all(|lifetime| lifetime.is_some_and(|lifetime| lifetime <= passed));
    let done = match segment.kept {
        Kept::All => None,
        Kept::Errors => keep.age,
        Kept::Past(seconds) => Some(Duration::from_secs(seconds)),
    };
    match done {
        _ if is_last => Some(Action::Remove(segment.clone())),
        Some(done) if passed <= done => None,
        _ => Some(Action::KeepPast(segment.clone(), passed)),
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
    use model::TimeRange;

    use super::*;
    use crate::retention::KeepRule;

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
        let ago = |meta: &SegmentMeta| (NOW.0 - meta.time.to.0) / HOUR;
        let done: Vec<(String, i64)> = plan(segments, &retention, NOW)
            .iter()
            .map(|action| match action {
                Action::Remove(meta) => ("remove".to_owned(), ago(meta)),
                Action::KeepPast(meta, past) => (format!("past {} h", past.as_secs() / 3_600), ago(meta)),
            })
            .collect();
        let done: Vec<(&str, i64)> = done.iter().map(|(what, ago)| (what.as_str(), *ago)).collect();
        assert_eq!(done, expected);
    }

    fn hours(hours: u64) -> Option<Duration> {
        Some(Duration::from_secs(hours * 3_600))
    }

    fn rule(value: &str, age: Option<Duration>) -> KeepRule {
        KeepRule { attribute: "tenant.id".to_owned(), value: value.to_owned(), age }
    }

    #[test]
    fn nothing_goes_unless_told() {
        let segments = [segment(Signal::Logs, 900_000, u64::MAX / 2, Kept::All)];
        check(Keep::default(), &segments, &[]);
    }

    #[test]
    fn errors_outlive_the_rest_and_go_in_the_end() {
        let keep = Keep { age: hours(24), errors_age: hours(240), ..Keep::default() };
        let of = |hours_ago, kept| segment(Signal::Traces, hours_ago, 1, kept);
        let segments = [of(23, Kept::All), of(25, Kept::All), of(100, Kept::Errors), of(241, Kept::Errors)];
        check(keep.clone(), &segments, &[("past 24 h", 25), ("remove", 241)]);
        check(keep.clone(), &[segment(Signal::Metrics, 25, 1, Kept::All)], &[("remove", 25)]);
        let shorter = Keep { errors_age: hours(2), ..keep };
        check(shorter, &[of(23, Kept::All), of(25, Kept::All)], &[("remove", 25)]);
    }

    #[test]
    fn rules_add_ages_at_which_rows_leave() {
        let of = |hours_ago, kept| segment(Signal::Logs, hours_ago, 1, kept);
        let past = |hours: u64| Kept::Past(hours * 3_600);
        let rules = vec![rule("trial", hours(2)), rule("acme", hours(100))];
        let keep = Keep { age: hours(24), rules, ..Keep::default() };
        let segments = [
            of(1, Kept::All),
            of(3, Kept::All),
            of(4, past(2)),
            of(25, past(2)),
            of(26, Kept::All),
            of(27, past(24)),
            of(101, past(24)),
        ];
        let expected = [("past 2 h", 3), ("past 24 h", 25), ("past 24 h", 26), ("remove", 101)];
        check(keep, &segments, &expected);

        let for_ever = Keep { age: hours(24), rules: vec![rule("acme", None)], ..Keep::default() };
        check(for_ever, &[of(25, Kept::All), of(9_000, past(24))], &[("past 24 h", 25)]);
        let only_rule = Keep { rules: vec![rule("trial", hours(2))], ..Keep::default() };
        check(only_rule, &[of(3, Kept::All), of(9_000, past(2))], &[("past 2 h", 3)]);
    }

    #[test]
    fn bytes_take_the_oldest_and_what_age_takes_counts_no_more() {
        let keep = Keep { age: hours(24), bytes_max: Some(100), ..Keep::default() };
        let of = |hours_ago, bytes| segment(Signal::Logs, hours_ago, bytes, Kept::All);
        check(keep, &[of(1, 60), of(2, 40), of(3, 30), of(30, 500)], &[("remove", 30), ("remove", 3)]);
    }
}
