//! Calls: client spans and the server spans they led to, or should have led to.
//!
//! ```text
//! client span ─┬─ has a server span below it ─────────────────────────────── answered
//!              ├─ failed, none below it ──────────────────────────────────── failed: may never have arrived
//!              └─ none below it ─┬─ a root server span of the same request
//!                                │  within its time ──────────────────────── context lost
//!                                ├─ the callee is known, sends server spans ─ server spans missing
//!                                ├─ the callee is known by its logs alone ─── not instrumented
//!                                └─ nothing is known of the callee ────────── external
//! ```
//!
//! A root server span belongs to a call when it lies within the call's time and names the same request (method with
//! route or path), or is of the service that the call names. Each is given to one call only.

use std::collections::{BTreeMap, HashMap, HashSet};

use model::TraceId;
use query_api::{DoctorEdge, EdgePasses};

use super::census::{At, Census, Name, Note, Role};

/// Calls without a server span that are compared with root server spans, for each edge.
const COMPARED_MAX: usize = 2_000;
/// Root server spans that one call is compared with.
const CANDIDATES_MAX: usize = 256;
/// Clocks of hosts that agree may differ by so much.
const TOLERANCE_NANO: i64 = 50_000_000;

/// What became of the calls from one service to one address.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) count: u64,
    pub(super) answered: u64,
    /// Calls without an error and without a server span.
    pub(super) unanswered: u64,
    /// Of these, those whose request began a trace of its own.
    pub(super) lost: u64,
    pub(super) callee: Option<Name>,
    pub(super) fate: Fate,
    pub(super) example: Option<TraceId>,
    childless: Vec<At>,
    answered_by: BTreeMap<Name, u64>,
}

/// Why calls have no server span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    #[default]
    Answered,
    ContextLost,
    SpansMissing,
    NotInstrumented,
    External,
}

/// All calls, by caller and address.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) all: BTreeMap<(Name, Name), Call>,
    /// Requests that a service received: below a caller, or as a root that a call explains.
    pub(super) received: BTreeMap<Name, u64>,
    /// Of these, those that came without context, or of which no span was received.
    pub(super) lost: BTreeMap<Name, u64>,
}

/// Finds all calls.
pub(super) fn find(census: &Census) -> Calls {
    let mut calls = Calls::default();
    let answered = calls.count_servers(census);
    calls.count_clients(census, &answered);
    let mut roots = Roots::new(census);
    let (mut lost, mut received) = (Vec::new(), Vec::new());
    for ((caller, peer), call) in &mut calls.all {
        call.judge(census, *caller, *peer, &mut roots);
        if let Some(callee) = call.callee {
            let count = match call.fate {
                Fate::ContextLost => call.lost,
                Fate::NotInstrumented => call.unanswered,
                Fate::Answered | Fate::SpansMissing | Fate::External => 0,
            };
            lost.push((callee, count));
            received.push((callee, count));
        }
    }
    lost.into_iter().for_each(|(callee, count)| *calls.lost.entry(callee).or_default() += count);
    received.into_iter().for_each(|(callee, count)| *calls.received.entry(callee).or_default() += count);
    calls
}

impl Calls {
    /// Server spans below another span; gives the client spans that have one.
    fn count_servers(&mut self, census: &Census) -> HashMap<At, Name> {
        let mut answered = HashMap::new();
        for note in census.notes.iter().filter(|note| note.role == Role::Server && note.parent.is_some()) {
            *self.received.entry(note.service).or_default() += 1;
            let parent = note.parent.and_then(|parent| census.by_span.get(&(note.trace, parent)));
            if let Some(at) = parent.filter(|at| census.notes[**at].role == Role::Client) {
                answered.insert(*at, note.service);
            }
        }
        answered
    }

    fn count_clients(&mut self, census: &Census, answered: &HashMap<At, Name>) {
        for (at, note) in census.notes.iter().enumerate().filter(|(_, note)| note.role == Role::Client) {
            let Some(peer) = note.other else { continue };
            let callee = answered.get(&at);
            if callee.is_none() && !census.is_settled(note) {
                continue;
            }
            let call = self.all.entry((note.service, peer)).or_default();
            call.count += 1;
            match callee {
                Some(callee) => {
                    call.answered += 1;
                    *call.answered_by.entry(*callee).or_default() += 1;
                }
                None if note.is_error => {}
                None => {
                    call.unanswered += 1;
                    if call.childless.len() < COMPARED_MAX {
                        call.childless.push(at);
                    }
                }
            }
        }
    }

    /// The edges, in no order.
    pub(super) fn edges<'a>(&'a self, census: &'a Census) -> impl Iterator<Item = DoctorEdge> + 'a {
        let scale = census.scale();
        self.all.iter().map(move |((caller, peer), call)| DoctorEdge {
            from: census.text(*caller).to_owned(),
            to: census.text(call.callee.unwrap_or(*peer)).to_owned(),
            kind: EdgePasses::Calls,
            count: call.count * scale,
            lost: scale
                * match call.fate {
                    Fate::ContextLost => call.lost,
                    Fate::NotInstrumented | Fate::SpansMissing => call.unanswered,
                    Fate::Answered | Fate::External => 0,
                },
            is_external: call.fate == Fate::External,
        })
    }
}

impl Call {
    fn judge(&mut self, census: &Census, caller: Name, peer: Name, roots: &mut Roots<'_>) {
        let named = census.service(first_label(census.text(peer)));
        let known = self.answered_by.iter().max_by_key(|(_, count)| **count).map(|(callee, _)| *callee);
        self.callee = known.or(named);
        if self.unanswered == 0 {
            self.fate = if self.answered > 0 { Fate::Answered } else { self.fate_of_unknown(census) };
            return;
        }
        self.example = self.childless.first().map(|at| census.notes[*at].trace);
        self.match_roots(census, caller, roots);
        if self.fate != Fate::ContextLost {
            self.fate = self.fate_of_unknown(census);
        }
    }

    fn fate_of_unknown(&self, census: &Census) -> Fate {
        match self.callee.and_then(|callee| census.counts.get(&callee)) {
            Some(counts) if counts.spans > 0 => Fate::SpansMissing,
            Some(_) => Fate::NotInstrumented,
            None => Fate::External,
        }
    }

    /// Looks for root server spans that these calls explain.
    fn match_roots(&mut self, census: &Census, caller: Name, roots: &mut Roots<'_>) {
        let mut votes: BTreeMap<Name, Vec<(At, TraceId)>> = BTreeMap::new();
        for at in &self.childless {
            let client = &census.notes[*at];
            if let Some((root, note)) = roots.of(client, caller, self.callee) {
                votes.entry(note.service).or_default().push((root, client.trace));
            }
        }
        let Some((callee, matched)) = votes.into_iter().max_by_key(|(_, matched)| matched.len()) else {
            return;
        };
        let compared = self.childless.len() as u64;
        // A few may fall into each other's time by chance.
        if (matched.len() as u64) * 20 < compared {
            return;
        }
        self.lost = matched.len() as u64 * self.unanswered / compared.max(1);
        self.example = matched.first().map(|(_, trace)| *trace);
        self.callee = Some(callee);
        self.fate = Fate::ContextLost;
        roots.taken.extend(matched.into_iter().map(|(root, _)| root));
    }
}

/// `orders.shop.svc.cluster.local` → `orders`; addresses stay as they are.
fn first_label(peer: &str) -> &str {
    match peer.chars().any(|c| c.is_ascii_alphabetic()) {
        true => peer.split(['.', ':']).next().unwrap_or(peer),
        false => peer,
    }
}

/// Server spans without a parent, by start.
struct Roots<'a> {
    census: &'a Census,
    by_start: Vec<At>,
    taken: HashSet<At>,
}

impl<'a> Roots<'a> {
    fn new(census: &'a Census) -> Self {
        let is_root = |(_, note): &(At, &Note)| note.role == Role::Server && note.parent.is_none();
        let roots = census.notes.iter().enumerate().filter(is_root);
        let mut by_start: Vec<At> = roots.map(|(at, _)| at).collect();
        by_start.sort_by_key(|at| census.notes[*at].start);
        Self { census, by_start, taken: HashSet::new() }
    }

    /// A root that this call explains.
    fn of(&self, client: &Note, caller: Name, callee: Option<Name>) -> Option<(At, &'a Note)> {
        let notes = &self.census.notes;
        let from = client.start.plus(-TOLERANCE_NANO);
        let first = self.by_start.partition_point(|at| notes[*at].start < from);
        let within = self.by_start[first..].iter().take(CANDIDATES_MAX).map(|at| (*at, &notes[*at]));
        let within = within.take_while(|(_, root)| root.start <= client.end.plus(TOLERANCE_NANO));
        let mut fitting = within.filter(|(at, root)| {
            let is_inside = root.end <= client.end.plus(TOLERANCE_NANO);
            let is_it = Some(root.service) == callee || (callee.is_none() && root.shares_mark(client));
            is_inside && is_it && root.service != caller && !self.taken.contains(at)
        });
        let first = fitting.next();
        // Of several, one that names the same request.
        first
            .filter(|(_, root)| root.shares_mark(client))
            .or_else(|| fitting.find(|(_, root)| root.shares_mark(client)).or(first))
    }
}
