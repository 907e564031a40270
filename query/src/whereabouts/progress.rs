//! How far consumer groups are, from the offsets they committed over time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::kafka::{GROUP_OFFSET_METRIC, PARTITION_OFFSET_METRIC};
use model::{TimeRange, UnixNano};
use query_api::{GroupProgress, GroupState, MessageWhere};
use storage::Snapshot;

use super::messages::Message;
use crate::limits::Cancel;
use crate::promql::{
    Labels, METRIC_NAME, MatchOp, Matcher, Options, PromqlError, RawSeries, SeriesSource, SnapshotSource,
};

/// Looks this long before a message was produced show that a group had not passed it.
const BEFORE: Duration = Duration::from_secs(300);
/// The time over which the growth of a lag is measured.
const GROWTH_OVER_MILLIS: i64 = 60_000;
/// Looks that it is measured from, at most.
const GROWTH_LOOKS_MAX: usize = 30;
/// A group whose offsets were last seen so long before the others is gone.
const GONE_MILLIS: i64 = 600_000;

/// Topic and partition.
type Place = (String, i32);
type Samples = Vec<(i64, f64)>;

/// What was recorded of the partitions that matter.
#[derive(Default)]
struct Offsets {
    ends: BTreeMap<Place, Samples>,
    groups: BTreeMap<Place, BTreeMap<String, Samples>>,
}

/// Adds the groups whose offsets were recorded to every message.
pub(super) fn add(
    snapshot: &Snapshot,
    messages: &mut [Message],
    range: TimeRange,
    cancel: &Cancel,
) -> Result<(), PromqlError> {
    let Some(first) = messages.iter().map(|message| message.answer.produced_at).min() else { return Ok(()) };
    let options = Options { cancelled: Some(cancel.flag()), ..Options::default() };
    let source = SnapshotSource::new(snapshot.clone(), &options);
    let topics: BTreeSet<&str> = messages.iter().map(|message| message.answer.topic.as_str()).collect();
    let metrics = format!("{GROUP_OFFSET_METRIC}|{PARTITION_OFFSET_METRIC}");
    let topics: Vec<String> = topics.into_iter().map(quoted).collect();
    let matchers = [
        Matcher::new(METRIC_NAME, MatchOp::Regex, &metrics)?,
        Matcher::new("topic", MatchOp::Regex, &topics.join("|"))?,
    ];
    let series = source.select(&matchers, first.minus(BEFORE).max(range.from), range.to)?;
    let offsets = Offsets::of(&series);
    for message in messages {
        offsets.add_to(&mut message.answer);
    }
    Ok(())
}

/// A topic's name as a pattern; dots are the only signs of one that a topic may have.
fn quoted(topic: &str) -> String {
    topic.replace('.', "\\.")
}

impl Offsets {
    fn of(series: &[RawSeries]) -> Self {
        let mut offsets = Self::default();
        for RawSeries { labels, samples } in series {
            let Some(place) = place(labels) else { continue };
            let of_place = match labels.get("group") {
                Some(group) => offsets.groups.entry(place).or_default().entry(group.clone()).or_default(),
                None => offsets.ends.entry(place).or_default(),
            };
            // A server that ran twice has written two series.
            of_place.extend(samples);
            of_place.sort_by_key(|(time, _)| *time);
        }
        offsets
    }

    fn add_to(&self, message: &mut MessageWhere) {
        let place = (message.topic.clone(), message.partition);
        let ends = self.ends.get(&place).map(Vec::as_slice).unwrap_or_default();
        let newest = ends.last().map_or(i64::MIN, |(time, _)| *time);
        for (group, samples) in self.groups.get(&place).into_iter().flatten() {
            let is_known = message.groups.iter().any(|known| known.group == *group);
            let is_gone = samples.last().is_none_or(|(time, _)| newest.saturating_sub(*time) > GONE_MILLIS);
            let state = state(message.offset, samples, ends).map(|state| since(message.produced_at, state));
            let is_past = matches!(state, Some(GroupState::Passed { .. }));
            if let Some(state) = state.filter(|_| !is_known && (is_past || !is_gone)) {
                message.groups.push(GroupProgress { group: group.clone(), state });
            }
        }
        message.groups.sort_by(|a, b| a.group.cmp(&b.group));
    }
}

fn place(labels: &Labels) -> Option<Place> {
    Some((labels.get("topic")?.clone(), labels.get("partition")?.parse().ok()?))
}

fn at(millis: i64) -> UnixNano {
    UnixNano(millis.saturating_mul(1_000_000))
}

/// What the committed offsets say of one message. A committed offset is that of the next message to be
/// read, so a group is past a message when it is larger than the message's.
fn state(offset: i64, committed: &[(i64, f64)], ends: &[(i64, f64)]) -> Option<GroupState> {
    let offset = offset as f64;
    if let Some(passed) = committed.iter().position(|(_, next)| *next > offset) {
        let after = passed.checked_sub(1).map(|before| at(committed[before].0));
        return Some(GroupState::Passed { after, before: at(committed[passed].0) });
    }
    let (time, next) = *committed.last()?;
    Some(GroupState::NotConsumed {
        committed: (next >= 0.0).then_some(next as i64),
        lag: lag_at(time, next, ends).unwrap_or(0.0) as i64,
        growth_per_second: growth(committed, ends),
        ahead: (offset - next.max(0.0)).max(0.0) as i64,
        seen_at: at(time),
    })
}

/// A group cannot have passed a message before it was produced, whenever the last look was.
fn since(produced_at: UnixNano, state: GroupState) -> GroupState {
    match state {
        GroupState::Passed { after, before } => {
            // By the clock of the producer, which may run ahead of ours.
            let after = after.map(|after| after.max(produced_at).min(before));
            GroupState::Passed { after, before }
        }
        state => state,
    }
}

/// Messages between a committed offset and the end of its partition, which was looked at just before or
/// after.
fn lag_at(time: i64, next: f64, ends: &[(i64, f64)]) -> Option<f64> {
    let after = ends.partition_point(|(end_time, _)| *end_time < time);
    let around = &ends[after.saturating_sub(1)..(after + 1).min(ends.len())];
    let near = around.iter().min_by_key(|(end_time, _)| end_time.abs_diff(time))?;
    Some((near.1 - next.max(0.0)).max(0.0))
}

/// How fast the lag has grown over the last looks: the median of what each two of them say. A group that caught up
/// with much at once and has stood still since is not told as one whose lag shrinks.
fn growth(committed: &[(i64, f64)], ends: &[(i64, f64)]) -> Option<f64> {
    let (last_time, _) = *committed.last()?;
    let recent = committed.partition_point(|(time, _)| *time < last_time - GROWTH_OVER_MILLIS);
    let recent = &committed[recent..];
    let thinned = recent.iter().rev().step_by(recent.len().div_ceil(GROWTH_LOOKS_MAX).max(1));
    let lags: Vec<(i64, f64)> =
        thinned.filter_map(|(time, next)| Some((*time, lag_at(*time, *next, ends)?))).collect();
    let mut slopes = Vec::new();
    for (at, (later, lag)) in lags.iter().enumerate() {
        let earlier = lags[at + 1..].iter().filter(|(earlier, _)| earlier < later);
        slopes.extend(earlier.map(|(earlier, before)| (lag - before) / ((later - earlier) as f64 / 1_000.0)));
    }
    slopes.sort_by(f64::total_cmp);
    let middle = slopes.len() / 2;
    match slopes.len() % 2 {
        1 => Some(slopes[middle]),
        _ => Some((slopes.get(middle.checked_sub(1)?)? + slopes[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000;

    #[test]
    fn a_group_has_passed_a_message_between_the_looks_before_and_after() {
        let committed = [(0, 5.0), (5 * S, 9.0), (10 * S, 10.0), (15 * S, 12.0)];
        let expected = |after, before| Some(GroupState::Passed { after, before: at(before) });
        assert_eq!(state(9, &committed, &[]), expected(Some(at(5 * S)), 10 * S), "9 is read when 10 is next");
        assert_eq!(state(4, &committed, &[]), expected(None, 0), "before the first look");
        assert!(matches!(state(12, &committed, &[]), Some(GroupState::NotConsumed { .. })));
        assert_eq!(state(1, &[], &[]), None, "nothing is known");
    }

    #[test]
    fn a_group_passes_a_message_after_it_was_produced_and_before_the_look_that_tells() {
        let passed = |after, before| GroupState::Passed { after: Some(at(after)), before: at(before) };
        for (produced, after) in [(3, 5), (7, 7), (10, 10), (99, 10)] {
            assert_eq!(
                since(at(produced * S), passed(5 * S, 10 * S)),
                passed(after * S, 10 * S),
                "{produced}"
            );
        }
    }

    #[test]
    fn a_group_that_stands_still_has_a_lag_that_grows_as_messages_come() {
        let committed: Vec<_> = (0..=12).map(|look| (look * 10 * S, 40.0)).collect();
        let ends: Vec<_> = (0..=12).map(|look| (look * 10 * S + 1, 100.0 + 120.0 * look as f64)).collect();
        let Some(GroupState::NotConsumed { committed, lag, growth_per_second, ahead, seen_at }) =
            state(90, &committed, &ends)
        else {
            panic!("not consumed")
        };
        assert_eq!((committed, lag, ahead, seen_at), (Some(40), 1_500, 50, at(120 * S)));
        assert_eq!(growth_per_second, Some(12.0));
    }

    #[test]
    fn the_growth_of_a_lag_is_that_of_now_whatever_was_caught_up_with_before_and_however_commits_come() {
        let grown = |committed: &dyn Fn(i64) -> f64| {
            let looks = |value: &dyn Fn(i64) -> f64| -> Vec<(i64, f64)> {
                (0..=24).map(|look| (look * 5 * S, value(look * 5))).collect()
            };
            growth(&looks(committed), &looks(&|second| 10_000.0 + 12.0 * second as f64))
        };
        let caught_up = |second: i64| if second < 75 { 2_000.0 } else { 10_900.0 };
        assert_eq!(grown(&caught_up), Some(12.0), "and has stood still since");
        let in_bursts = |second: i64| 10_000.0 + 12.0 * (second / 20 * 20) as f64;
        let steady = grown(&in_bursts).expect("known");
        assert!(steady.abs() < 4.0, "a commit every 20 s is no growth: {steady}");
        let faster = |second: i64| 2_000.0 + 40.0 * second as f64;
        assert_eq!(grown(&faster), Some(-28.0));
    }

    #[test]
    fn a_group_that_has_committed_nothing_waits_for_the_whole_partition() {
        let Some(GroupState::NotConsumed { committed, lag, growth_per_second, ahead, .. }) =
            state(3, &[(0, -1.0)], &[(0, 10.0)])
        else {
            panic!("not consumed")
        };
        assert_eq!((committed, lag, growth_per_second, ahead), (None, 10, None, 3));
    }
}
