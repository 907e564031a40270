//! Clocks of services, compared over all calls and messages between them.
//!
//! A fleet has odd ones among its calls: a child that outlives the call, a host whose clock was set. The tightest
//! twentieth of the bounds between two services is therefore left aside before the arithmetic of `clock_offsets`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use super::census::{Census, Name, Note, Role};
use crate::clock_offsets::{Bounds, Pairs};

/// Bounds that are kept for two services.
const SAMPLES_MAX: usize = 1_024;
/// One in so many is left aside.
const ODD_ONE_IN: usize = 20;
/// Offsets below this are within what time synchronisation gives.
pub(super) const OFFSET_MIN_NANO: i64 = 10_000_000;

#[derive(Debug, Default)]
struct Samples {
    least: Vec<i64>,
    most: Vec<i64>,
}

/// Nanoseconds to add to the times of services whose clocks are off by more than [`OFFSET_MIN_NANO`].
pub(super) fn offsets(census: &Census) -> BTreeMap<String, i64> {
    let samples = samples(census);
    let mut pairs = Pairs::default();
    for ((from, to), Samples { mut least, mut most }) in samples {
        least.sort_unstable_by_key(|bound| Reverse(*bound));
        most.sort_unstable();
        let bounds = Bounds {
            least: typical(&least).unwrap_or(Bounds::ANY.least),
            most: typical(&most).unwrap_or(Bounds::ANY.most),
        };
        pairs.add(census.text(from), census.text(to), bounds);
    }
    let given = entries(census);
    let mut offsets = pairs.offsets(given.iter().map(|service| census.text(*service)));
    offsets.retain(|_, offset| offset.unsigned_abs() >= OFFSET_MIN_NANO.unsigned_abs());
    offsets
}

/// The tightest bound after the odd ones.
fn typical(tightest_first: &[i64]) -> Option<i64> {
    tightest_first.get(tightest_first.len() / ODD_ONE_IN).copied()
}

fn samples(census: &Census) -> HashMap<(Name, Name), Samples> {
    let mut samples: HashMap<(Name, Name), Samples> = HashMap::new();
    let mut add = |from: &Note, to: &Note, least: i64, most: Option<i64>| {
        if from.service == to.service {
            return;
        }
        let samples = samples.entry((from.service, to.service)).or_default();
        if samples.least.len() < SAMPLES_MAX {
            samples.least.push(least);
            samples.most.extend(most);
        }
    };
    for note in &census.notes {
        if let Some(parent) = census.parent(note) {
            // Only a call that is waited for ends before its caller does.
            let most = (parent.role == Role::Client).then(|| parent.end.since(note.end));
            add(parent, note, parent.start.since(note.start), most);
        }
        for link in note.links.iter().filter(|_| note.role == Role::Consumer) {
            let producer = census.by_span.get(link).map(|at| &census.notes[*at]);
            if let Some(producer) = producer.filter(|producer| producer.role == Role::Producer) {
                add(producer, note, producer.start.since(note.start), None);
            }
        }
    }
    samples
}

/// All services, those in which most traces begin first: their clocks are the ones that others are compared with.
fn entries(census: &Census) -> Vec<Name> {
    let mut begins: BTreeMap<Name, u64> = census.counts.keys().map(|service| (*service, 0)).collect();
    for note in census.notes.iter().filter(|note| note.role == Role::Server && note.parent.is_none()) {
        *begins.entry(note.service).or_default() += 1;
    }
    let mut entries: Vec<(u64, Name)> = begins.into_iter().map(|(service, count)| (count, service)).collect();
    entries.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| census.text(a.1).cmp(census.text(b.1))));
    entries.into_iter().map(|(_, service)| service).collect()
}
