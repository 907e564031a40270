//! Messages: producer spans, consumer spans, and whether the context went along.
//!
//! A consumer has the sender's context when it has a link or a parent. Without, its message may still be known by
//! topic, partition and offset, or by its message id: the journey holds, its cause is not certain.

use std::collections::{BTreeMap, HashMap, HashSet};

use model::TraceId;
use query_api::{DoctorEdge, EdgePasses};

use super::census::{At, Census, Name, Role};

/// What one service took from one destination.
#[derive(Debug, Default)]
pub(super) struct Intake {
    pub(super) count: u64,
    pub(super) lost: u64,
    /// Of the lost ones, those whose message is known all the same.
    pub(super) still_known: u64,
    pub(super) example: Option<TraceId>,
}

/// What was sent to one destination.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) count: u64,
    pub(super) untaken: u64,
    pub(super) producer: Option<Name>,
    pub(super) example: Option<TraceId>,
}

/// All messages.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// By destination, then consuming service.
    pub(super) intakes: BTreeMap<(Name, Name), Intake>,
    pub(super) sent: BTreeMap<Name, Sent>,
    pub(super) received: BTreeMap<Name, u64>,
    pub(super) lost: BTreeMap<Name, u64>,
}

/// Finds all messages.
pub(super) fn find(census: &Census) -> Messages {
    let mut messages = Messages::default();
    let producers = producers(census);
    let taken = messages.take(census, &producers);
    for (at, note) in census.notes.iter().enumerate().filter(|(_, note)| note.role == Role::Producer) {
        let Some(destination) = note.other.filter(|_| !note.is_error && census.is_settled(note)) else {
            continue;
        };
        let sent = messages.sent.entry(destination).or_default();
        sent.count += 1;
        sent.producer.get_or_insert(note.service);
        if !taken.contains(&at) {
            sent.untaken += 1;
            sent.example.get_or_insert(note.trace);
        }
    }
    messages
}

/// Producer spans by the terms that name their messages.
fn producers(census: &Census) -> HashMap<u64, At> {
    let mut by_mark = HashMap::new();
    for (at, note) in census.notes.iter().enumerate().filter(|(_, note)| note.role == Role::Producer) {
        by_mark.extend(note.marks.iter().filter(|mark| **mark != 0).map(|mark| (*mark, at)));
    }
    by_mark
}

impl Messages {
    /// Counts what consumers took; gives the producers whose messages those are.
    fn take(&mut self, census: &Census, producers: &HashMap<u64, At>) -> HashSet<At> {
        let mut taken = HashSet::new();
        for note in census.notes.iter().filter(|note| note.role == Role::Consumer) {
            let Some(destination) = note.other else { continue };
            let linked = note.links.iter().copied().chain(note.parent.map(|parent| (note.trace, parent)));
            taken.extend(linked.filter_map(|id| census.by_span.get(&id)).copied());
            let named = note.marks.iter().filter(|mark| **mark != 0).filter_map(|mark| producers.get(mark));
            let named: Vec<At> = named.copied().collect();
            let has_context = !note.links.is_empty() || note.parent.is_some();
            let intake = self.intakes.entry((destination, note.service)).or_default();
            intake.count += 1;
            *self.received.entry(note.service).or_default() += 1;
            if !has_context {
                intake.lost += 1;
                intake.still_known += u64::from(!named.is_empty());
                intake.example.get_or_insert(note.trace);
                *self.lost.entry(note.service).or_default() += 1;
            }
            taken.extend(named);
        }
        taken
    }

    /// The services that take from a destination.
    pub(super) fn consumers(&self, destination: Name) -> impl Iterator<Item = (Name, &Intake)> {
        let all = (destination, 0)..=(destination, Name::MAX);
        self.intakes.range(all).map(|((_, service), intake)| (*service, intake))
    }

    /// The edges, in no order.
    pub(super) fn edges<'a>(&'a self, census: &'a Census) -> impl Iterator<Item = DoctorEdge> + 'a {
        let scale = census.scale();
        self.intakes.iter().map(move |((destination, service), intake)| DoctorEdge {
            from: census.text(*destination).to_owned(),
            to: census.text(*service).to_owned(),
            kind: EdgePasses::Messages,
            count: intake.count * scale,
            lost: intake.lost * scale,
            is_external: false,
        })
    }
}
