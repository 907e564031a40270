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

use super::Limits;
use super::cuts::{Bound, LeftOut, Refusal, Refused, RefusedId, limit_cuts};
use super::records::{LogRecord, Records, Rows, SpanRecord};
use super::survey::{Found, Survey, Term, TermSort, Untraced, trace_term};

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
        if records.is_cancelled() {
            search.left_out.terms = terms.len();
            search.left_out.is_cancelled = true;
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
    Ok(search.finish())
}

struct Search<'a> {
    rules: &'a IdRules,
    limits: &'a Limits,
    /// Every term that was offered, followed or not.
    seen: HashSet<String>,
    offered: usize,
    refused: BTreeMap<(String, Refusal), Refused>,
    left_out: LeftOut,
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
        Self { rules, limits, seen, offered: 0, refused, left_out, closure }
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
            (self.closure.spans.len() >= self.limits.spans).then_some(Bound::Spans)
        }
    }

    /// One step: the terms of the next one.
    fn hop<R: Records>(&mut self, records: &mut R, terms: Vec<Term>) -> Result<Vec<Term>, storage::Error> {
        let terms = self.without_hubs(records, terms)?;
        let texts: Vec<String> = terms.iter().map(|term| term.text.clone()).collect();
        let logs = records.logs(&texts)?;
        let mut survey = Survey::new(&terms, &self.closure.followed);
        survey.add(&records.spans(&texts)?);
        survey.add(&logs);
        self.left_out.groups += records.limit_groups(None);
        let found = survey.into_found();

        let followed = self.follow(&terms, &found);
        let accepted = self.accept(&terms, &followed, &found);
        let (first_span, first_log) = (self.closure.spans.len(), self.closure.logs.len());
        self.take_untraced(&logs, &found.untraced, &followed);
        drop(logs);
        let naming = self.load(records, &accepted)?;
        Ok(self.next_terms((first_span, first_log), &accepted, &naming))
    }

    /// The terms whose rows are read: without those that hang on too many traces. An id that was asked for
    /// and is such a hub is read as far as there is room for traces.
    fn without_hubs<R: Records>(
        &mut self,
        records: &mut R,
        terms: Vec<Term>,
    ) -> Result<Vec<Term>, storage::Error> {
        let mut kept = Vec::with_capacity(terms.len());
        let mut has_asked_hub = false;
        for term in terms {
            let enough = match term.sort {
                _ if term.is_asked => self.limits.traces,
                TermSort::Id { max_fanout, .. } => max_fanout,
                _ => usize::MAX,
            };
            let is_trace = matches!(term.sort, TermSort::Trace(_) | TermSort::Named(_));
            let fanout = match is_trace || enough == usize::MAX {
                true => 0,
                false => records.fanout(&term.text, enough.saturating_add(1))?,
            };
            if fanout > enough && !term.is_asked {
                self.refuse(&term.text, Refusal::TooManyTraces, fanout);
                continue;
            }
            has_asked_hub |= fanout > enough;
            kept.push(term);
        }
        records.limit_groups(has_asked_hub.then(|| self.limits.traces.saturating_mul(GROUPS_PER_TRACE)));
        Ok(kept)
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

    fn take_untraced(
        &mut self,
        logs: &impl Rows<Record = LogRecord>,
        untraced: &[Untraced],
        followed: &[bool],
    ) {
        let belongs = |record: &&Untraced| record.terms.iter().any(|term| followed[*term as usize]);
        let rows = untraced.iter().filter(belongs).map(|record| (record.time, record.row)).collect();
        self.take_logs(logs, rows);
    }

    fn take_logs(&mut self, logs: &impl Rows<Record = LogRecord>, rows: Vec<(UnixNano, u32)>) {
        let room = self.limits.logs.saturating_sub(self.closure.logs.len());
        let (chosen, left_out) = earliest(rows, room);
        self.left_out.logs += left_out;
        self.closure.logs.extend(logs.take(&chosen));
    }

    /// Reads the traces whole. Gives the other traces whose records name one of them.
    fn load<R: Records>(
        &mut self,
        records: &mut R,
        accepted: &[TraceId],
    ) -> Result<Vec<TraceId>, storage::Error> {
        if accepted.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: HashMap<String, TraceId> =
            accepted.iter().map(|trace| (trace_term(*trace), *trace)).collect();
        let texts: Vec<String> = accepted.iter().map(|trace| trace_term(*trace)).collect();

        let spans = records.spans(&texts)?;
        let mut members = Members::of(&spans, &wanted);
        let room = self.limits.spans.saturating_sub(self.closure.spans.len());
        let (chosen, left_out) = earliest(members.rows, room);
        self.left_out.spans += left_out;
        self.closure.spans.extend(spans.take(&chosen));
        drop(spans);

        let logs = records.logs(&texts)?;
        let of_logs = Members::of(&logs, &wanted);
        self.take_logs(&logs, of_logs.rows);
        self.closure.followed.extend(of_logs.untraced_names);
        members.naming.extend(of_logs.naming);
        members.naming.sort_unstable();
        members.naming.dedup();
        Ok(members.naming)
    }

    /// The terms that the rows read since `first_span` and `first_log` lead to.
    fn next_terms(
        &mut self,
        (first_span, first_log): (usize, usize),
        accepted: &[TraceId],
        naming: &[TraceId],
    ) -> Vec<Term> {
        let mut next = NextTerms::default();
        let mut spans = std::mem::take(&mut self.closure.spans);
        spans[first_span..].sort_by(by_start);
        for span in &spans[first_span..] {
            let (origin, time) = (Some(span.trace_id), span.start);
            span.ids.iter().for_each(|id| self.offer_id(id, origin, time, &mut next));
            for (trace, _) in span.links.iter().filter(|(trace, _)| *trace != span.trace_id) {
                self.offer(Term::trace(*trace, origin), &mut next);
            }
        }
        self.closure.spans = spans;
        let mut logs = std::mem::take(&mut self.closure.logs);
        logs[first_log..].sort();
        for log in &logs[first_log..] {
            log.ids.iter().for_each(|id| self.offer_id(id, log.trace_id, log.time, &mut next));
        }
        self.closure.logs = logs;
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

    fn finish(mut self) -> Closure {
        self.closure.spans.sort_by(by_start);
        let received = self.closure.spans.len();
        self.closure.spans.dedup();
        let twice = received - self.closure.spans.len();
        self.closure.logs.sort();

        let left_out = &self.left_out;
        let is_whole = left_out.terms + left_out.traces + left_out.spans + left_out.ids == 0;
        self.closure.is_complete = is_whole && left_out.groups == 0;
        self.closure.cuts.extend(limit_cuts(left_out, self.limits));
        self.closure.cuts.extend(self.refused.iter().map(|((kind, why), refused)| refused.cut(kind, *why)));
        if twice > 0 {
            let what = format!("{twice} spans that arrived more than once are shown once");
            self.closure.cuts.push(Cut { what, limit: "duplicates".to_owned(), hint: None });
        }
        self.closure
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

/// What belongs to wanted traces.
struct Members {
    /// Rows of these traces, and untraced rows that name one of them.
    rows: Vec<(UnixNano, u32)>,
    /// Other traces with a record that names one of them.
    naming: Vec<TraceId>,
    /// The terms under which untraced rows name them.
    untraced_names: Vec<String>,
}

impl Members {
    /// `wanted` are traces by their terms.
    fn of(rows: &impl Rows, wanted: &HashMap<String, TraceId>) -> Self {
        let traces: HashSet<TraceId> = wanted.values().copied().collect();
        let mut members = Self { rows: Vec::new(), naming: Vec::new(), untraced_names: Vec::new() };
        rows.visit(&mut |row, head| {
            if head.trace_id.is_some_and(|trace| traces.contains(&trace)) {
                members.rows.push((head.time, row));
                return;
            }
            let Some(name) = head.ids.iter().find(|id| wanted.contains_key(**id)) else { return };
            match head.trace_id {
                Some(trace) => members.naming.push(trace),
                None => {
                    members.rows.push((head.time, row));
                    members.untraced_names.push((*name).to_owned());
                }
            }
        });
        members
    }
}

/// The numbers of the `room` earliest rows, ascending, and how many are left out.
fn earliest(mut rows: Vec<(UnixNano, u32)>, room: usize) -> (Vec<u32>, usize) {
    let left_out = rows.len().saturating_sub(room);
    if left_out > 0 {
        rows.sort_unstable();
        rows.truncate(room);
    }
    let mut chosen: Vec<u32> = rows.into_iter().map(|(_, row)| row).collect();
    chosen.sort_unstable();
    (chosen, left_out)
}
