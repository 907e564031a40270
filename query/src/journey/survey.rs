//! A look at what a lookup found before anything is copied: which traces carry which terms.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use model::ids::TRACE_ID;
use model::{IdTerm, SpanId, TimeRange, TraceId, UnixNano};
use storage::Place;
use storage::rows::LINK;

use super::records::Head;

/// A term to look for, and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    /// `kind=value`.
    pub(crate) text: String,
    pub(crate) sort: TermSort,
    /// The trace it was seen in; `None` for the id that was asked for and for untraced log records.
    pub(crate) origin: Option<TraceId>,
    pub(crate) is_asked: bool,
    /// Records outside of this time do not join over it.
    pub(crate) window: TimeRange,
}

/// What a term names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TermSort {
    /// An id of a configured kind.
    Id { is_message: bool, max_fanout: usize },
    /// A trace that a span links to.
    Trace(TraceId),
    /// A trace that a record names as an id, or that holds a record which names one that belongs.
    Named(TraceId),
    /// Spans that link to a trace.
    LinksTo(TraceId),
    /// Spans that link to a span.
    LinksToSpan(TraceId, SpanId),
}

impl Term {
    /// The trace that a span link points to.
    pub(crate) fn trace(trace: TraceId, origin: Option<TraceId>) -> Self {
        let text = IdTerm::trace(trace).to_string();
        Self { text, sort: TermSort::Trace(trace), origin, is_asked: false, window: TimeRange::ALL }
    }

    /// A trace that is named as an id.
    pub(crate) fn named(trace: TraceId, origin: Option<TraceId>) -> Self {
        Self { sort: TermSort::Named(trace), ..Self::trace(trace, origin) }
    }

    /// The spans that link to `trace`.
    pub(crate) fn links_to(trace: TraceId) -> Self {
        let text = format!("{LINK}={trace}");
        let (sort, origin) = (TermSort::LinksTo(trace), Some(trace));
        Self { text, sort, origin, is_asked: false, window: TimeRange::ALL }
    }
}

/// The text of the term that names a trace.
pub(crate) fn trace_term(trace: TraceId) -> String {
    format!("{TRACE_ID}={trace}")
}

/// Texts, each held once: many rows carry the same few ids.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    by_text: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.by_text.get(text) {
            return *number;
        }
        let (text, number) = (Arc::<str>::from(text), self.texts.len() as u32);
        self.by_text.insert(Arc::clone(&text), number);
        self.texts.push(text);
        number
    }

    /// The text of a number that was given out.
    pub(crate) fn get(&self, number: u32) -> Arc<str> {
        Arc::clone(&self.texts[number as usize])
    }
}

/// A row that was looked at, with what it leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) time: UnixNano,
    pub(crate) trace_id: Option<TraceId>,
    /// Ids by their numbers among [`Texts`].
    pub(crate) ids: Box<[u32]>,
    /// Traces it links to.
    pub(crate) links: Box<[TraceId]>,
    pub(crate) place: Place,
}

impl Seen {
    pub(crate) fn new(place: Place, head: &Head<'_>, texts: &mut Texts) -> Self {
        Self {
            time: head.time,
            trace_id: head.trace_id,
            ids: head.ids.iter().map(|id| texts.number(id)).collect(),
            links: head.links.into(),
            place,
        }
    }
}

/// A trace that carries at least one of the terms.
#[derive(Debug, Default)]
pub(crate) struct Candidate {
    /// Latest time seen of it.
    pub(crate) latest: UnixNano,
    /// Numbers of the terms it carries, ascending.
    pub(crate) terms: Vec<u32>,
}

/// A log record without a trace that carries at least one of the terms.
#[derive(Debug)]
pub(crate) struct Untraced {
    pub(crate) seen: Seen,
    pub(crate) terms: Vec<u32>,
}

/// What carries which of the terms.
pub(crate) struct Survey<'a> {
    by_text: HashMap<&'a str, u32>,
    by_trace: HashMap<TraceId, u32>,
    by_link: HashMap<TraceId, u32>,
    /// Ids followed before: an untraced log record that carries one of them was taken then.
    taken: &'a HashSet<String>,
    windows: Vec<TimeRange>,
    /// Records that carry a term and lie outside of its window, by term.
    too_old: Vec<usize>,
    traces: HashMap<TraceId, Candidate>,
    untraced: Vec<Untraced>,
    /// Terms of the row at hand.
    carried: Vec<u32>,
}

impl<'a> Survey<'a> {
    pub(crate) fn new(terms: &'a [Term], taken: &'a HashSet<String>) -> Self {
        let mut survey = Self {
            taken,
            by_text: HashMap::new(),
            by_trace: HashMap::new(),
            by_link: HashMap::new(),
            windows: terms.iter().map(|term| term.window).collect(),
            too_old: vec![0; terms.len()],
            traces: HashMap::new(),
            untraced: Vec::new(),
            carried: Vec::new(),
        };
        for (number, term) in (0..).zip(terms) {
            match term.sort {
                TermSort::Id { .. } => drop(survey.by_text.insert(&term.text, number)),
                TermSort::Trace(trace) | TermSort::Named(trace) => {
                    survey.by_trace.insert(trace, number);
                }
                TermSort::LinksTo(trace) | TermSort::LinksToSpan(trace, _) => {
                    survey.by_link.insert(trace, number);
                }
            }
        }
        survey
    }

    /// Takes a row into account.
    pub(crate) fn add(&mut self, place: Place, head: &Head<'_>, texts: &mut Texts) {
        let mut carried = std::mem::take(&mut self.carried);
        self.terms_of(head, &mut carried);
        carried.retain(|term| {
            let is_within = self.windows[*term as usize].contains(head.time);
            self.too_old[*term as usize] += usize::from(!is_within);
            is_within
        });
        match head.trace_id {
            _ if carried.is_empty() => {}
            Some(trace) => {
                let candidate = self.traces.entry(trace).or_default();
                candidate.latest = candidate.latest.max(head.time);
                for term in &carried {
                    if let Err(at) = candidate.terms.binary_search(term) {
                        candidate.terms.insert(at, *term);
                    }
                }
            }
            None if head.ids.iter().any(|id| self.taken.contains(*id)) => {}
            None => {
                let seen = Seen::new(place, head, texts);
                self.untraced.push(Untraced { seen, terms: carried.clone() });
            }
        }
        self.carried = carried;
    }

    fn terms_of(&self, head: &Head<'_>, carried: &mut Vec<u32>) {
        carried.clear();
        carried.extend(head.ids.iter().filter_map(|id| self.by_text.get(id)));
        carried.extend(head.trace_id.and_then(|trace| self.by_trace.get(&trace)));
        carried.extend(head.links.iter().filter_map(|trace| self.by_link.get(trace)));
    }

    /// What was found; the terms are no longer borrowed.
    pub(crate) fn into_found(self) -> Found {
        Found { traces: self.traces, untraced: self.untraced, too_old: self.too_old }
    }
}

/// What a survey found.
pub(crate) struct Found {
    pub(crate) traces: HashMap<TraceId, Candidate>,
    pub(crate) untraced: Vec<Untraced>,
    /// Records that carry a term and lie outside of its window, by term.
    pub(crate) too_old: Vec<usize>,
}

impl Found {
    /// On how many traces each of the `terms` hangs.
    pub(crate) fn fanout(&self, terms: usize) -> Vec<usize> {
        let mut fanout = vec![0; terms];
        for term in self.traces.values().flat_map(|candidate| &candidate.terms) {
            fanout[*term as usize] += 1;
        }
        fanout
    }

    /// Which of the `terms` were found at all.
    pub(crate) fn hits(&self, terms: usize) -> Vec<bool> {
        let mut hits = vec![false; terms];
        let traced = self.traces.values().map(|candidate| &candidate.terms);
        let untraced = self.untraced.iter().map(|record| &record.terms);
        for term in traced.chain(untraced).flatten() {
            hits[*term as usize] = true;
        }
        hits
    }
}
