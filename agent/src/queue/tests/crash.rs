//! The spool on a disk that loses what was not synced: cut the power, or kill the process, at every
//! operation of a scenario, start again, and look.
//!
//! ```text
//! scenario (seed) ─► appends, takes, settles, new runs, on a small cap so that segments begin and go
//!     at operation 0, 1, 2 … of it the disk is gone ─► crash (any subset of what was not synced) or kill
//!     ─► open, take everything, append, take ─► open once more
//! ```
//!
//! What must hold then: it opens and every read ends; what comes out was put in, unchanged, in order, and
//! once; what was promised to survive and was not settled comes out; nothing settled comes back after a
//! kill; a stream and number never name two requests; what is missing in between is counted.
//! `SILMARI_CRASH_SCENARIOS` runs more of them than the default.

use std::collections::{BTreeMap, HashMap};

use disk::sim::{Dice, SimFs};
use model::ManualClock;

use super::*;

/// Scenarios of `make test`: a few thousand states.
const SCENARIOS: u64 = 20;
const STEPS: u64 = 24;
/// Far more than a spool of this size holds: a loop that does not end is seen here.
const TAKES_MAX: usize = 10_000;

/// What is known of the requests of a lane.
#[derive(Clone, Debug, Default)]
struct Truth {
    /// Payloads in the order in which they were appended, with whether the append returned success.
    appended: Vec<(Vec<u8>, bool)>,
    /// How many of them, from the front, were settled with success or without.
    settled: usize,
    /// Of these, those that were settled while there was a disk.
    settled_for_sure: usize,
    /// Which payload a stream and number named when they were taken.
    named: HashMap<(StreamId, u64), Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Power,
    Kill,
}

fn limits(durability: Durability) -> Limits {
    Limits { bytes_max: 256 << 10, durability, when_full: [WhenFull::Block; 3] }
}

fn open_on(fs: &SimFs, durability: Durability) -> io::Result<Queue> {
    let clock = ManualClock::at(UnixNano(0));
    Queue::open(Arc::new(fs.clone()), Path::new("/data/spool"), limits(durability), clock)
}

/// Runs a scenario until it ends or the disk is gone; what became of every request.
fn scenario(fs: &SimFs, seed: u64, durability: Durability, truth: &mut Truth) {
    let mut dice = Dice(seed);
    let Ok(mut queue) = open_on(fs, durability) else { return };
    let mut taken: Vec<Spooled> = Vec::new();
    for step in 0..STEPS {
        match dice.below(10) {
            0 => {
                drop(queue);
                taken.clear();
                match open_on(fs, durability) {
                    Ok(opened) => queue = opened,
                    Err(_) => return,
                }
            }
            1..=2 => {
                let group = queue.take(LOGS, dice.below(8_000) as usize).unwrap_or_default();
                note_taken(truth, &group);
                taken.extend(group);
            }
            3..=4 => {
                if let Some(last) = taken.last().map(Spooled::after) {
                    let at = truth.named.get(&(taken[taken.len() - 1].stream, last.number));
                    let payload = at.expect("was noted").clone();
                    let upto = truth.appended.iter().position(|(bytes, _)| *bytes == payload);
                    truth.settled = truth.settled.max(upto.expect("was appended") + 1);
                    queue.settle(LOGS, last);
                    if fs.list(Path::new("/")).is_ok() {
                        truth.settled_for_sure = truth.settled;
                    }
                    taken.clear();
                }
            }
            _ => {
                let mut payload = format!("{seed}/{step}/").into_bytes();
                let more = dice.below(6_000);
                payload.extend((0..more).map(|_| dice.roll() as u8));
                truth.appended.push((payload.clone(), false));
                let request =
                    Spooled::new(Signal::Logs, Encoding::Protobuf, 1, payload.len(), payload.into());
                truth.appended.last_mut().expect("pushed").1 = queue.append(LOGS, &request).is_ok();
            }
        }
    }
}

fn note_taken(truth: &mut Truth, group: &[Spooled]) {
    for spooled in group {
        let known =
            truth.named.entry((spooled.stream, spooled.number())).or_insert_with(|| spooled.payload.to_vec());
        assert_eq!(*known, spooled.payload, "a stream and number name two requests");
    }
}

/// Takes everything; a group at a time, so that groups are joined as they would be.
fn take_all(queue: &Queue, truth: &mut Truth) -> Vec<Spooled> {
    let mut all = Vec::new();
    for _ in 0..TAKES_MAX {
        let group = queue.take(LOGS, 20_000).expect("the disk works again");
        if group.is_empty() {
            return all;
        }
        note_taken(truth, &group);
        all.extend(group);
    }
    panic!("taking does not end");
}

fn check(fs: &SimFs, end: End, durability: Durability, truth: &mut Truth, place: &str) {
    let queue = open_on(fs, durability).unwrap_or_else(|error| panic!("{place}: does not open: {error}"));
    let waiting = queue.waiting(LOGS);
    let all = take_all(&queue, truth);
    let lost = queue.take_lost(LOGS);
    assert_eq!(waiting.items, all.len() as u64 + lost.items, "{place}: in = out + lost");
    let order: BTreeMap<&[u8], usize> =
        truth.appended.iter().enumerate().map(|(at, (bytes, _))| (bytes.as_slice(), at)).collect();
    let found: Vec<usize> = all
        .iter()
        .map(|spooled| *order.get(&spooled.payload[..]).unwrap_or_else(|| panic!("{place}: never put in")))
        .collect();
    assert!(found.is_sorted_by(|a, b| a < b), "{place}: out of order or twice: {found:?}");
    let is_promised = end == End::Kill || durability == Durability::Power;
    if is_promised {
        let missing: Vec<usize> = truth
            .appended
            .iter()
            .enumerate()
            .skip(truth.settled)
            .filter(|(at, (_, is_ok))| *is_ok && !found.contains(at))
            .map(|(at, _)| at)
            .collect();
        assert!(
            missing.is_empty(),
            "{place}: promised and lost: {missing:?}, found {found:?}, settled {}",
            truth.settled
        );
        // Of a request that was not acknowledged the head alone may have survived.
        let unacknowledged = truth.appended.iter().filter(|(_, is_ok)| !is_ok).count() as u64;
        assert!(lost.requests <= unacknowledged, "{place}: counted as lost what was not: {lost:?}");
    }
    if end == End::Kill {
        assert!(found.iter().all(|at| *at >= truth.settled_for_sure), "{place}: settled, and came back");
    }
    let request = Spooled::new(Signal::Logs, Encoding::Protobuf, 1, 5, Bytes::from_static(b"after"));
    queue.append(LOGS, &request).unwrap_or_else(|error| panic!("{place}: takes nothing: {error}"));
    let after = take_all(&queue, truth);
    assert_eq!(after.iter().map(|spooled| &spooled.payload[..]).collect::<Vec<_>>(), [b"after"], "{place}");
    queue.settle(LOGS, after[0].after());
    drop(queue);
    let queue = open_on(fs, durability).expect("opens again");
    assert!(take_all(&queue, truth).is_empty(), "{place}: settled, and there again");
}

#[test]
fn whatever_the_moment_of_a_power_cut_or_a_kill_the_spool_keeps_its_promises() {
    let scenarios = std::env::var("SILMARI_CRASH_SCENARIOS").ok().and_then(|text| text.parse().ok());
    let (mut states, mut losses, mut tears) = (0u64, 0u64, 0u64);
    for seed in 0..scenarios.unwrap_or(SCENARIOS) {
        let durability = if seed % 2 == 0 { Durability::Power } else { Durability::Process };
        let whole = SimFs::default();
        scenario(&whole, seed, durability, &mut Truth::default());
        let operations = whole.counts().operations;
        // Every operation when there are few; a share of them, another one with every seed, otherwise.
        for at in (seed % 3..operations).step_by(3) {
            let (fs, mut truth) = (SimFs::default(), Truth::default());
            fs.power_off(at);
            scenario(&fs, seed, durability, &mut truth);
            for end in [End::Power, End::Kill] {
                let after = match end {
                    End::Power => fs.crash(seed.wrapping_mul(7919) ^ at),
                    End::Kill => fs.kill(),
                };
                let mut truth = truth.clone();
                let place = format!("seed {seed}, {durability:?}, {end:?} at operation {at} of {operations}");
                let (before, whole) = (count_bytes(&fs.kill()), count_bytes(&after));
                tears += u64::from(before != whole);
                check(&after, end, durability, &mut truth, &place);
                losses += u64::from(end == End::Power && durability == Durability::Process && before > whole);
                states += 1;
            }
        }
    }
    assert!(
        states > 1_000 && tears > states / 20 && losses > 0,
        "{states} states, {tears} torn, {losses} with losses"
    );
}

fn count_bytes(fs: &SimFs) -> u64 {
    let folder = Path::new("/data/spool/logs");
    let names = fs.list(folder).unwrap_or_default();
    names
        .iter()
        .filter_map(|name| fs.read(&folder.join(name)).ok())
        .map(|bytes| bytes.iter().filter(|byte| **byte != 0).count() as u64)
        .sum()
}

#[test]
fn a_newer_segment_that_survives_an_older_ones_end_is_read_once_and_in_order() {
    // What the power takes from one file and leaves of the next: reading once went round between the two.
    let fs = SimFs::default();
    let queue = open_on(&fs, Durability::Process).expect("opened");
    for text in ["a", "b"] {
        put(&queue, Signal::Logs, &text.repeat(7_000));
    }
    drop(queue);
    let folder = Path::new("/data/spool/logs");
    let names: Vec<_> = fs
        .list(folder)
        .expect("there")
        .into_iter()
        .filter(|name| segment::number_of(name).is_some())
        .collect();
    assert_eq!(names.len(), 2);
    fs.damage(&folder.join(&names[0]), |bytes| bytes.truncate(HEADER_BYTES as usize));
    fs.damage(&folder.join(&names[1]), |bytes| bytes.truncate(HEADER_BYTES as usize));
    let queue = open_on(&fs, Durability::Process).expect("opens");
    put(&queue, Signal::Logs, "c");
    let mut truth = Truth::default();
    let all = take_all(&queue, &mut truth);
    assert_eq!((texts(&all), all[0].number()), (vec!["c"], 2));
    assert_eq!(queue.take_lost(LOGS).items, 1, "what the second header says came before it");
}
