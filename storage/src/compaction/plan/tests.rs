//! Planning, as properties that hold for any set of segments.

use std::collections::BTreeSet;

use model::TimeRange;
use proptest::prelude::*;

use super::*;
use crate::schema::FORMAT_VERSION;
use crate::window::WINDOW_NANO;

const NOW: UnixNano = UnixNano(500_000 * WINDOW_NANO);

fn candidate(number: u64, hour: i64, rows: u64, level: u32) -> Candidate {
    let mut meta = SegmentMeta::named(Signal::Logs, level, (number, number), number);
    let from = UnixNano(NOW.0 + hour * WINDOW_NANO);
    meta.time = TimeRange { from, to: from.plus(60) };
    (meta.rows, meta.bytes) = (rows, rows * 40);
    Candidate { meta, has_hidden: false, is_left_alone: false, is_joined: false }
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (-3..2_i64, 1..2_000_000_u64, 0..3_u32, 0..3_usize, prop::bool::weighted(0.05), any::<bool>());
    prop::collection::vec(one, 0..60).prop_map(|all| {
        let make = |(at, (hour, rows, level, signal, has_hidden, is_small)): (usize, _)| {
            let rows: u64 = if is_small { rows / 1_000 + 1 } else { rows };
            let mut made = candidate(at as u64, hour, rows, level);
            made.meta.signal = Signal::ALL[signal];
            made.has_hidden = has_hidden;
            if at % 7 == 0 {
                made.meta.kept = Kept::Errors;
            }
            if at % 5 == 0 {
                made.meta.format_version = index::FORMAT_MIN - 1;
            }
            if at % 11 == 0 {
                made.meta.time.to = made.meta.time.from.plus(5 * WINDOW_NANO);
            }
            made
        };
        all.into_iter().enumerate().map(make).collect()
    })
}

/// What the executor makes of a merge: one segment with all rows of its inputs.
fn output(merge: &Merge, number: u64) -> Candidate {
    let mut meta = merge.inputs[0].clone();
    meta.name = format!("merged-{number:06}");
    meta.format_version = FORMAT_VERSION;
    meta.level = merge.inputs.iter().map(|input| input.level).max().unwrap_or(0) + 1;
    meta.rows = merge.inputs.iter().map(|input| input.rows).sum();
    meta.bytes = merge.inputs.iter().map(|input| input.bytes).sum();
    Candidate { meta, has_hidden: false, is_left_alone: false, is_joined: false }
}

fn hours_ago() -> i64 {
    -2
}

proptest! {
    #[test]
    fn every_merge_stays_in_its_place_and_its_bounds_and_takes_each_input_once(all in candidates()) {
        let settings = small();
        let mut seen = BTreeSet::new();
        for merge in plan(&all, &settings, NOW) {
            prop_assert!(!merge.inputs.is_empty() && merge.inputs.len() <= INPUTS_MAX);
            let places: BTreeSet<_> =
                merge.inputs.iter().map(|input| format!("{:?}", place_of(input))).collect();
            prop_assert_eq!(places.len(), 1);
            for input in &merge.inputs {
                prop_assert!(seen.insert(input.name.clone()), "{} twice", input.name);
            }
            if merge.inputs.len() > 1 {
                prop_assert!(merge.inputs.iter().map(|input| input.rows).sum::<u64>() <= settings.rows_max);
                prop_assert!(merge.inputs.iter().map(|input| input.bytes).sum::<u64>() <= settings.bytes_max);
            }
        }
    }

    #[test]
    fn planning_and_merging_ends_and_leaves_nothing_hidden_and_nothing_of_an_earlier_format_in_an_hour_that_has_ended(mut all in candidates()) {
        let settings = small();
        let mut rounds = 0;
        loop {
            let merges = plan(&all, &settings, NOW);
            if merges.is_empty() {
                break;
            }
            for merge in merges {
                rounds += 1;
                all.retain(|candidate| !merge.inputs.contains(&candidate.meta));
                all.push(output(&merge, rounds));
            }
            prop_assert!(rounds < 500, "it goes on and on");
        }
        prop_assert!(all.iter().all(|candidate| !candidate.has_hidden));
        let grace = nanos(settings.window_grace);
        let ended = all.iter().filter(|candidate| {
            let window = candidate.meta.window();
            window == Window::Wide || window.is_closed(NOW, grace)
        });
        prop_assert!(ended.map(|candidate| &candidate.meta).all(|meta| !is_older(meta)));
    }
}

/// Merges points as the planner says, with sizes and times as they come, and holds every merge against all segments
/// of its window: none may stand between its inputs.
fn check_neighbours(sizes: &[u64], ends: &[bool], fan_in: usize) -> Result<(), TestCaseError> {
    let settings = Settings { fan_in, ..small() };
    let mut live: Vec<Candidate> = Vec::new();
    for (at, rows) in sizes.iter().enumerate() {
        let mut sealed = candidate(at as u64 + 1, 0, *rows, 0);
        sealed.meta.signal = Signal::Metrics;
        live.push(sealed);
        let now = if ends[at % ends.len()] { NOW.plus(3 * WINDOW_NANO) } else { NOW };
        let Some(merge) = plan(&live, &settings, now).into_iter().next() else { continue };
        let inside = |meta: &SegmentMeta| merge.inputs.iter().any(|input| input.name == meta.name);
        let order = |meta: &SegmentMeta| meta.received_order();
        let from = merge.inputs.iter().map(order).min().expect("inputs");
        let to = merge.inputs.iter().map(order).max().expect("inputs");
        for other in live.iter().filter(|other| !inside(&other.meta)) {
            let is_between = from < order(&other.meta) && order(&other.meta) < to;
            prop_assert!(!is_between, "{} stands between {:?}", other.meta.name, merge.inputs);
        }
        let mut merged = SegmentMeta::named(Signal::Metrics, 1, (from.1, to.0), 1_000 + at as u64);
        let first = &merge.inputs[0];
        (merged.time, merged.rows) = (first.time, merge.inputs.iter().map(|input| input.rows).sum());
        live.retain(|candidate| !inside(&candidate.meta));
        live.push(Candidate {
            meta: merged,
            has_hidden: at % 13 == 5,
            is_left_alone: false,
            is_joined: at % 5 == 3,
        });
    }
    Ok(())
}

proptest! {
    #[test]
    fn points_are_merged_with_their_neighbours_only(
        sizes in prop::collection::vec(prop_oneof![1..50_u64, 1_000..9_000_u64, 900_000..1_200_000_u64], 1..60),
        ends in prop::collection::vec(any::<bool>(), 1..8),
        fan_in in 2..9_usize,
    ) {
        check_neighbours(&sizes, &ends, fan_in)?;
    }
}

#[test]
fn a_small_segment_of_points_is_not_merged_around_a_large_one() {
    let points = |number, rows| {
        let mut candidate = candidate(number, hours_ago(), rows, 0);
        candidate.meta.signal = Signal::Metrics;
        candidate
    };
    assert!(merged_rows(&[points(1, 10), points(2, 60_000), points(3, 10)]).is_empty());
    assert_eq!(merged_rows(&[points(1, 10), points(2, 60_000), points(3, 10), points(4, 9)]), [[10, 9]]);
    assert_eq!(merged_rows(&[points(1, 70_000), points(2, 60_000), points(3, 10)]), [[70_000, 60_000, 10]]);
}

/// So that a segment is full after four large seals.
fn small() -> Settings {
    Settings { rows_max: 1 << 20, bytes_max: 256 << 20, ..Settings::default() }
}

fn merged_rows(all: &[Candidate]) -> Vec<Vec<u64>> {
    let merges = plan(all, &small(), NOW);
    merges.iter().map(|merge| merge.inputs.iter().map(|input| input.rows).collect()).collect()
}

#[test]
fn what_is_merged_at_the_end_of_a_window_lies_close_in_time() {
    // Sealed one after the other, of whatever size; the numbers in their names say nothing of their times.
    let sizes = [300_000, 260_000, 310_000, 290_000, 270_000, 305_000, 280_000, 295_000];
    let sealed = |(at, rows): (usize, &u64)| {
        let mut candidate = candidate(sizes.len() as u64 - at as u64, hours_ago(), *rows, 0);
        let from = candidate.meta.time.from.plus(at as i64 * 60);
        candidate.meta.time = TimeRange { from, to: from.plus(60) };
        candidate
    };
    let all: Vec<_> = sizes.iter().enumerate().map(sealed).collect();
    assert_eq!(merged_rows(&all), [&sizes[..3], &sizes[3..6], &sizes[6..]]);
}

#[test]
fn what_does_not_fit_its_neighbours_in_time_is_packed_by_size() {
    // 65 and 200 MiB take turns, so that no neighbours fit together.
    let mib = |at: u64, mib: u64| {
        let mut candidate = candidate(at, hours_ago(), 300_000, 1);
        candidate.meta.time.from = candidate.meta.time.from.plus(at as i64);
        candidate.meta.bytes = mib << 20;
        candidate
    };
    let all: Vec<_> = [65, 200, 65, 200, 65].into_iter().zip(1..).map(|(size, at)| mib(at, size)).collect();
    let merges = plan(&all, &small(), NOW);
    let bytes: Vec<u64> =
        merges.iter().flat_map(|merge| &merge.inputs).map(|input| input.bytes >> 20).collect();
    assert_eq!(bytes, [65, 65, 65]);
    let of = |at: i64, rows| {
        let mut candidate = candidate(at as u64, hours_ago(), rows, 1);
        candidate.meta.time.to = candidate.meta.time.to.plus(at * 60);
        candidate
    };
    assert_eq!(merged_rows(&[of(1, 1_000_000), of(2, 600_000), of(3, 200_000)]), [[200_000, 600_000]]);
}

#[test]
fn in_an_open_window_segments_of_one_size_are_merged_whatever_came_between() {
    let settings = Settings { fan_in: 2, ..small() };
    let sizes = [40_000, 100_000, 40_000, 100_000];
    let all: Vec<_> = sizes.iter().zip(1..).map(|(rows, at)| candidate(at, 0, *rows, 0)).collect();
    let merges = plan(&all, &settings, NOW);
    assert_eq!(merges.len(), 2);
    assert!(merges.iter().all(|merge| merge.inputs[0].rows == merge.inputs[1].rows));
}

#[test]
fn an_open_window_waits_for_enough_of_a_size_and_a_closed_one_is_tidied() {
    let few: Vec<_> = (0..7).map(|number| candidate(number, 0, 100, 0)).collect();
    assert!(merged_rows(&few).is_empty(), "seven of eight");
    let enough: Vec<_> = (0..8).map(|number| candidate(number, 0, 100, 0)).collect();
    assert_eq!(merged_rows(&enough), [[100; 8]]);
    let closed: Vec<_> = (0..3).map(|number| candidate(number, hours_ago(), 100, 0)).collect();
    assert_eq!(merged_rows(&closed), [[100; 3]]);
}

#[test]
fn large_seals_wait_for_the_end_of_their_window_and_of_what_arrives_for_it() {
    let sealed =
        |number: u64, hour, is_joined| Candidate { is_joined, ..candidate(number, hour, 262_656, 0) };
    let four = |hour, is_joined| (0..4).map(|number| sealed(number, hour, is_joined)).collect::<Vec<_>>();
    assert!(merged_rows(&four(0, true)).is_empty(), "the hour lasts");
    assert!(merged_rows(&four(hours_ago(), true)).is_empty(), "old rows arrive");
    assert_eq!(merged_rows(&four(hours_ago(), false))[0], [262_656; 3]);
}

#[test]
fn seals_of_which_few_fill_a_segment_are_merged_once_they_do() {
    let settings = Settings { rows_max: 300_000, ..small() };
    let rows = |sizes: &[u64]| {
        let all: Vec<_> =
            sizes.iter().enumerate().map(|(at, rows)| candidate(at as u64, 0, *rows, 0)).collect();
        let merges = plan(&all, &settings, NOW);
        merges
            .iter()
            .map(|merge| merge.inputs.iter().map(|input| input.rows).collect())
            .collect::<Vec<Vec<_>>>()
    };
    assert!(rows(&[90_000; 3]).is_empty(), "there is room for one more");
    assert_eq!(rows(&[90_000; 4]), [[90_000; 3]]);
    assert!(rows(&[50_000, 50_000, 250_000]).is_empty(), "the two are not half of a segment");
}

#[test]
fn late_rows_do_not_rewrite_a_large_segment_until_they_weigh_something() {
    let large = candidate(0, hours_ago(), 500_000, 1);
    let late = |number, rows| candidate(number, hours_ago(), rows, 0);
    assert_eq!(merged_rows(&[large.clone(), late(1, 10), late(2, 10)]), [[10, 10]]);
    assert!(merged_rows(&[large.clone(), late(1, 20)]).is_empty());
    assert_eq!(merged_rows(&[large, late(1, 130_000)]), [[130_000, 500_000]]);
}

#[test]
fn a_segment_with_hidden_rows_is_rewritten_whatever_its_size() {
    let mut huge = candidate(0, 0, 50_000_000, 3);
    huge.has_hidden = true;
    assert_eq!(merged_rows(&[huge]), [[50_000_000]]);
}
