//! The bounded closure of one id: breadth first over ids and traces.
//!
//! ```text
//! hop 0   the id that was asked for, as every kind it can be of
//! hop n   look up the terms of the last hop ─► traces and untraced log records that carry one
//!         read the new traces whole         ─► their ids, their links, the links to them = next hop
//! ```
//!
//! Invariants: a trace joins when any of its spans or log records carries a term that is followed; an
//! id whose kind does not join, or that hangs on more traces than its kind allows, is named and not
//! followed, except the id that was asked for; records that lie further apart than an id's `max_age` do not
//! join over it; how many traces an id hangs on is counted before any of its rows is read, so that a hub
//! costs what a rare id costs; every limit that bites is a [`Cut`]; the order in which the store gives rows
//! does not matter.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use model::ids::{MESSAGE_KINDS, TRACE_ID};
use model::{IdRules, IdTerm, TimeRange, TraceId, UnixNano};
use query_api::Cut;
use storage::Place;

use super::Limits;
use super::cuts::{Bound, LeftOut, Refusal, Refused, RefusedId, limit_cuts};
use super::records::{Head, LogRecord, Records, SpanRecord};
use super::survey::{Found, Seen, Survey, Term, TermSort, Texts, Untraced, trace_term};

/// Groups (a trace within a minute) that are read for each trace there is room for.
const GROUPS_PER_TRACE: usize = 4;

/// All that one id reaches.
pub(crate) struct Closure {
    /// The asked terms that were found.
    pub(crate) matched: Vec<IdTerm>,
    /// Ids, as `kind=value`, whose records belong.
    pub(crate) followed: HashSet<String>,
    /// How each trace was first reached.
    pub(crate) traces: HashMap<TraceId, How>,
    /// By start; what arrived twice is there once.
    pub(crate) spans: Vec<SpanRecord>,
    /// By time.
    pub(crate) logs: Vec<LogRecord>,
    pub(crate) cuts: Vec<Cut>,
    /// Ids that were found and not followed.
    pub(crate) refused: Vec<RefusedId>,
    /// Whether no limit on hops, traces, spans or ids left anything out.
    pub(crate) is_complete: bool,
}

/// The ways to reach a trace, the surest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It carries the id that was asked for.
    Asked(String),
    /// One of its spans links to this trace.
    LinksTo(TraceId),
    /// A span of this trace links to it.
    LinkedFrom(TraceId),
    /// It carries the id of a message.
    Message(String),
    /// It carries this id.
    Shared(String),
}

impl How {
    const fn rank(&self) -> u8 {
        match self {
            Self::Asked(_) => 0,
            Self::LinksTo(_) | Self::LinkedFrom(_) => 1,
            Self::Message(_) => 2,
            Self::Shared(_) => 3,
        }
    }

    fn by(term: &Term) -> Self {
        match (term.is_asked, term.sort, term.origin) {
            (true, ..) => Self::Asked(term.text.clone()),
            (_, TermSort::LinksTo(trace) | TermSort::LinksToSpan(trace, _), _) => Self::LinksTo(trace),
            (_, TermSort::Trace(_), Some(origin)) => Self::LinkedFrom(origin),
            (_, TermSort::Id { is_message: true, .. }, _) => Self::Message(term.text.clone()),
            (_, TermSort::Named(_), _) => Self::Shared(term.text.clone()),
            _ => Self::Shared(term.text.clone()),
        }
    }
}

/// Follows `asked` through `records`. The closure is empty when none of the terms is found.
pub(crate) fn close<R: Records>(
    records: &mut R,
    rules: &IdRules,
    asked: &[IdTerm],
    limits: &Limits,
) -> Result<Closure, storage::Error> {
    let mut search = Search::new(rules, limits);
    let mut terms: Vec<Term> = asked.iter().map(|term| search.asked(term)).collect();
    let mut hops = 0;
    while !terms.is_empty() {
        if records.is_cancelled() || records.refusal().is_some() {
            search.left_out.terms = terms.len();
            search.left_out.is_cancelled = records.is_cancelled();
            break;
        }
        if let Some(bound) = search.bound(hops) {
            search.left_out.terms = terms.len();
            search.left_out.bound = Some(bound);
            break;
        }
        terms = search.hop(records, terms)?;
        hops += 1;
    }
    search.finish(records)
}

struct Search<'a> {
    rules: &'a IdRules,
    limits: &'a Limits,
    /// Every term that was offered, followed or not.
    seen: HashSet<String>,
    offered: usize,
    refused: BTreeMap<(String, Refusal), Refused>,
    left_out: LeftOut,
    texts: Texts,
    /// The spans and log records that belong, to be read at the end.
    spans: Vec<Place>,
    logs: Vec<Place>,
    closure: Closure,
}

impl<'a> Search<'a> {
    fn new(rules: &'a IdRules, limits: &'a Limits) -> Self {
        let closure = Closure {
            matched: Vec::new(),
            followed: HashSet::new(),
            traces: HashMap::new(),
            spans: Vec::new(),
            logs: Vec::new(),
            cuts: Vec::new(),
            refused: Vec::new(),
            is_complete: true,
        };
        let (seen, refused, left_out) = (HashSet::new(), BTreeMap::new(), LeftOut::default());
        let (texts, spans, logs) = (Texts::default(), Vec::new(), Vec::new());
        Self { rules, limits, seen, offered: 0, refused, left_out, texts, spans, logs, closure }
    }

    fn asked(&mut self, term: &IdTerm) -> Term {
        let text = term.to_string();
        self.seen.insert(text.clone());
        let sort = match (term.trace_id(), term.link_target()) {
            (Some(trace), _) => TermSort::Trace(trace),
            // Whoever asks for the spans that link to a trace has that trace in mind.
            (None, Some((trace, None))) => TermSort::LinksTo(trace),
            (None, Some((trace, Some(span)))) => TermSort::LinksToSpan(trace, span),
            (None, None) => TermSort::Id { is_message: is_message(&term.kind), max_fanout: usize::MAX },
        };
        Term { text, sort, origin: None, is_asked: true, window: TimeRange::ALL }
    }

    fn bound(&self, hops: usize) -> Option<Bound> {
        if hops > self.limits.hops {
            Some(Bound::Hops)
        } else if self.closure.traces.len() >= self.limits.traces {
            Some(Bound::Traces)
        } else {
            (self.spans.len() >= self.limits.spans).then_some(Bound::Spans)
        }
    }

    /// One step: the terms of the next one.
    fn hop<R: Records>(&mut self, records: &mut R, terms: Vec<Term>) -> Result<Vec<Term>, storage::Error> {
        let terms = self.without_hubs(records, terms)?;
        let texts: Vec<String> = terms.iter().map(|term| term.text.clone()).collect();
        let mut survey = Survey::new(&terms, &self.closure.followed);
        records.prepare(&texts);
        records.spans(&texts, &mut |place, head| survey.add(place, &head, &mut self.texts))?;
        records.logs(&texts, &mut |place, head| survey.add(place, &head, &mut self.texts))?;
        self.left_out.groups += records.limit_groups(None);
        let found = survey.into_found();

        let followed = self.follow(&terms, &found);
        let accepted = self.accept(&terms, &followed, &found);
        let mut taken = Taken::default();
        self.take_untraced(found.untraced, &followed, &mut taken);
        let naming = self.load(records, &accepted, &mut taken)?;
        Ok(self.next_terms(taken, &accepted, &naming))
    }

    /// The terms whose rows are read: without those that hang on too many traces. An id that was asked for
    /// and is such a hub is read as far as there is room for traces.
    fn without_hubs<R: Records>(
        &mut self,
        records: &mut R,
        terms: Vec<Term>,
    ) -> Result<Vec<Term>, storage::Error> {
        let limits = terms
            .iter()
            .filter_map(|term| Some((term.text.as_str(), self.traces_max(term)?.saturating_add(1))));
        let mut fanouts = records.fanouts(&limits.collect::<Vec<_>>())?.into_iter();
        let mut kept = Vec::with_capacity(terms.len());
        let mut has_asked_hub = false;
        for term in terms {
            if let Some(traces_max) = self.traces_max(&term)
                && let Some(fanout) = fanouts.next().filter(|fanout| *fanout > traces_max)
            {
                if !term.is_asked {
                    self.refuse(&term.text, Refusal::TooManyTraces, fanout);
                    continue;
                }
                has_asked_hub = true;
            }
            kept.push(term);
        }
        records.limit_groups(has_asked_hub.then(|| self.limits.traces.saturating_mul(GROUPS_PER_TRACE)));
        Ok(kept)
    }

    /// On how many traces a term may hang; nothing where that is not counted.
    fn traces_max(&self, term: &Term) -> Option<usize> {
        match term.sort {
            TermSort::Trace(_) | TermSort::Named(_) => None,
            _ if term.is_asked => Some(self.limits.traces),
            TermSort::Id { max_fanout, .. } => Some(max_fanout),
            TermSort::LinksTo(_) | TermSort::LinksToSpan(..) => None,
        }
        .filter(|traces_max| *traces_max < usize::MAX)
    }

    /// Which terms are followed; the others are noted as refused.
    fn follow(&mut self, terms: &[Term], found: &Found) -> Vec<bool> {
        let (fanout, hits) = (found.fanout(terms.len()), found.hits(terms.len()));
        let mut followed = vec![true; terms.len()];
        for (at, term) in terms.iter().enumerate() {
            if term.is_asked && hits[at] {
                self.closure.matched.extend(term.text.parse::<IdTerm>());
            }
            if found.too_old[at] > 0 {
                self.refuse(&term.text, Refusal::TooOld, found.too_old[at]);
            }
            if let TermSort::Id { max_fanout, .. } = term.sort {
                followed[at] = term.is_asked || fanout[at] <= max_fanout;
                if followed[at] {
                    self.closure.followed.insert(term.text.clone());
                } else {
                    self.refuse(&term.text, Refusal::TooManyTraces, fanout[at]);
                }
            }
        }
        followed
    }

    /// Joins new traces, the surest evidence first, then the newest, up to the limit.
    fn accept(&mut self, terms: &[Term], followed: &[bool], found: &Found) -> Vec<TraceId> {
        let mut candidates: Vec<(u8, Reverse<UnixNano>, TraceId, usize)> = Vec::new();
        for (trace, candidate) in &found.traces {
            if self.closure.traces.contains_key(trace) {
                continue;
            }
            let carried = candidate.terms.iter().map(|at| *at as usize).filter(|at| followed[*at]);
            let Some(best) = carried.min_by_key(|at| (How::by(&terms[*at]).rank(), *at)) else { continue };
            let rank = How::by(&terms[best]).rank();
            candidates.push((rank, Reverse(candidate.latest), *trace, best));
        }
        candidates.sort_unstable();
        let room = self.limits.traces.saturating_sub(self.closure.traces.len());
        self.left_out.traces += candidates.len().saturating_sub(room);
        candidates.truncate(room);
        for (_, _, trace, best) in &candidates {
            self.closure.traces.insert(*trace, How::by(&terms[*best]));
        }
        candidates.into_iter().map(|(_, _, trace, _)| trace).collect()
    }

    fn take_untraced(&mut self, untraced: Vec<Untraced>, followed: &[bool], taken: &mut Taken) {
        let belongs = |record: &Untraced| record.terms.iter().any(|term| followed[*term as usize]);
        let rows = untraced.into_iter().filter(belongs).map(|record| record.seen).collect();
        self.take_logs(rows, taken);
    }

    fn take_logs(&mut self, rows: Vec<Seen>, taken: &mut Taken) {
        let (chosen, left_out) = earliest(rows, self.limits.logs.saturating_sub(self.logs.len()));
        self.left_out.logs += left_out;
        self.logs.extend(chosen.iter().map(|row| row.place));
        taken.logs.extend(chosen);
    }

    /// Takes the traces whole. Gives the other traces whose records name one of them.
    fn load<R: Records>(
        &mut self,
        records: &mut R,
        accepted: &[TraceId],
        taken: &mut Taken,
    ) -> Result<Vec<TraceId>, storage::Error> {
        if accepted.is_empty() {
            return Ok(Vec::new());
        }
        let texts: Vec<String> = accepted.iter().map(|trace| trace_term(*trace)).collect();
        let mut spans = Members::of(accepted);
        records.prepare(&texts);
        records.spans(&texts, &mut |place, head| spans.add(place, &head, &mut self.texts))?;
        let (chosen, left_out) = earliest(spans.rows, self.limits.spans.saturating_sub(self.spans.len()));
        self.left_out.spans += left_out;
        self.spans.extend(chosen.iter().map(|row| row.place));
        taken.spans = chosen;

        let mut logs = Members::of(accepted);
        records.logs(&texts, &mut |place, head| logs.add(place, &head, &mut self.texts))?;
        self.take_logs(logs.rows, taken);
        self.closure.followed.extend(logs.untraced_names);
        let mut naming = spans.naming;
        naming.extend(logs.naming);
        naming.sort_unstable();
        naming.dedup();
        Ok(naming)
    }

    /// The terms that the rows taken in this step lead to.
    fn next_terms(&mut self, mut taken: Taken, accepted: &[TraceId], naming: &[TraceId]) -> Vec<Term> {
        let mut next = NextTerms::default();
        taken.spans.sort_unstable();
        for span in &taken.spans {
            for id in &span.ids {
                self.offer_id(&self.texts.get(*id), span.trace_id, span.time, &mut next);
            }
            for trace in span.links.iter().filter(|trace| Some(**trace) != span.trace_id) {
                self.offer(Term::trace(*trace, span.trace_id), &mut next);
            }
        }
        taken.logs.sort_unstable();
        for log in &taken.logs {
            for id in &log.ids {
                self.offer_id(&self.texts.get(*id), log.trace_id, log.time, &mut next);
            }
        }
        for trace in accepted {
            self.offer(Term::links_to(*trace), &mut next);
        }
        for trace in naming {
            self.offer(Term::named(*trace, None), &mut next);
        }
        next.terms
    }

    fn offer_id(&mut self, text: &str, origin: Option<TraceId>, time: UnixNano, next: &mut NextTerms) {
        if let Some(at) = next.by_text.get(text) {
            // Seen again within this step: what is near to this record joins as well.
            let window = &mut next.terms[*at].window;
            if let Some(max_age) = text.split_once('=').and_then(|(kind, _)| self.rules.kind(kind)?.max_age) {
                let here = around(time, max_age);
                *window = TimeRange { from: window.from.min(here.from), to: window.to.max(here.to) };
            }
            return;
        }
        if self.seen.contains(text) {
            return;
        }
        let Some((kind, value)) = text.split_once('=') else { return };
        if kind == TRACE_ID {
            if let Some(trace) = TraceId::from_hex(value) {
                self.offer(Term::named(trace, origin), next);
            }
            return;
        }
        match self.rules.kind(kind) {
            Some(rule) if rule.link => {
                let max_fanout = self.limits.degree.unwrap_or(rule.max_fanout);
                let sort = TermSort::Id { is_message: is_message(kind), max_fanout };
                let window = rule.max_age.map_or(TimeRange::ALL, |max_age| around(time, max_age));
                self.offer(Term { text: text.to_owned(), sort, origin, is_asked: false, window }, next);
            }
            rule => {
                self.seen.insert(text.to_owned());
                let why = if rule.is_some() { Refusal::DoesNotJoin } else { Refusal::UnknownKind };
                self.refuse(text, why, 0);
            }
        }
    }

    fn offer(&mut self, term: Term, next: &mut NextTerms) {
        if !self.seen.insert(term.text.clone()) {
            return;
        }
        if let TermSort::Trace(trace) | TermSort::Named(trace) = term.sort
            && self.closure.traces.contains_key(&trace)
        {
            return;
        }
        self.offered += 1;
        if self.offered > self.limits.ids {
            self.left_out.ids += 1;
            return;
        }
        next.by_text.insert(term.text.clone(), next.terms.len());
        next.terms.push(term);
    }

    fn refuse(&mut self, text: &str, why: Refusal, fanout: usize) {
        let kind = text.split_once('=').map_or(text, |(kind, _)| kind);
        if self.closure.refused.len() < self.limits.ids {
            self.closure.refused.push(RefusedId { text: text.to_owned(), why, count: fanout });
        }
        let fresh = || Refused { example: text.to_owned(), fanout, count: 0 };
        self.refused.entry((kind.to_owned(), why)).or_insert_with(fresh).count += 1;
    }

    /// Reads what belongs.
    fn finish<R: Records>(mut self, records: &mut R) -> Result<Closure, storage::Error> {
        self.closure.spans = records.read_spans(&self.spans)?;
        self.closure.logs = records.read_logs(&self.logs)?;
        self.closure.spans.sort_by(by_start);
        let received = self.closure.spans.len();
        self.closure.spans.dedup();
        let twice = received - self.closure.spans.len();
        self.closure.logs.sort();

        let left_out = &self.left_out;
        let is_whole = left_out.terms + left_out.traces + left_out.spans + left_out.ids == 0;
        self.closure.is_complete = is_whole && left_out.groups == 0 && records.refusal().is_none();
        self.closure.cuts.extend(limit_cuts(left_out, self.limits));
        self.closure.cuts.extend(self.refused.iter().map(|((kind, why), refused)| refused.cut(kind, *why)));
        if twice > 0 {
            let what = format!("{twice} spans that arrived more than once are shown once");
            self.closure.cuts.push(Cut { what, limit: "duplicates".to_owned(), hint: None });
        }
        Ok(self.closure)
    }
}

/// By start, and in one fixed order within one instant.
fn by_start(a: &SpanRecord, b: &SpanRecord) -> Ordering {
    a.start.cmp(&b.start).then_with(|| a.cmp(b))
}

fn is_message(kind: &str) -> bool {
    MESSAGE_KINDS.contains(&kind)
}

/// The terms of the next step, and where each of them is.
#[derive(Default)]
struct NextTerms {
    terms: Vec<Term>,
    by_text: HashMap<String, usize>,
}

/// The times at most `max_age` away from `time`.
fn around(time: UnixNano, max_age: Duration) -> TimeRange {
    let nanos = i64::try_from(max_age.as_nanos()).unwrap_or(i64::MAX);
    TimeRange { from: UnixNano(time.0.saturating_sub(nanos)), to: UnixNano(time.0.saturating_add(nanos)) }
}

/// Rows that one step has taken.
#[derive(Default)]
struct Taken {
    spans: Vec<Seen>,
    logs: Vec<Seen>,
}

/// What belongs to wanted traces.
struct Members {
    wanted: HashSet<TraceId>,
    by_name: HashSet<String>,
    /// Rows of these traces, and untraced rows that name one of them.
    rows: Vec<Seen>,
    /// Other traces with a record that names one of them.
    naming: Vec<TraceId>,
    /// The terms under which untraced rows name them.
    untraced_names: Vec<String>,
}

impl Members {
    fn of(traces: &[TraceId]) -> Self {
        Self {
            wanted: traces.iter().copied().collect(),
            by_name: traces.iter().map(|trace| trace_term(*trace)).collect(),
            rows: Vec::new(),
            naming: Vec::new(),
            untraced_names: Vec::new(),
        }
    }

    fn add(&mut self, place: Place, head: &Head<'_>, texts: &mut Texts) {
        if head.trace_id.is_some_and(|trace| self.wanted.contains(&trace)) {
            self.rows.push(Seen::new(place, head, texts));
            return;
        }
        let Some(name) = head.ids.iter().find(|id| self.by_name.contains(**id)) else { return };
        match head.trace_id {
            Some(trace) => self.naming.push(trace),
            None => {
                self.rows.push(Seen::new(place, head, texts));
                self.untraced_names.push((*name).to_owned());
            }
        }
    }
}

/// The `room` earliest rows, and how many are left out.
fn earliest(mut rows: Vec<Seen>, room: usize) -> (Vec<Seen>, usize) {
    let left_out = rows.len().saturating_sub(room);
    if left_out > 0 {
        rows.sort_unstable();
        rows.truncate(room);
    }
    (rows, left_out)
}
