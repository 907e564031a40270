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
//! followed, except the id that was asked for; every limit that bites is a [`Cut`]; the order in which
//! the store gives rows does not matter.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, HashMap, HashSet};

use model::ids::KAFKA_RECORD;
use model::{IdRules, IdTerm, TraceId, UnixNano};
use query_api::Cut;

use super::Limits;
use super::cuts::{Bound, LeftOut, Refusal, Refused, limit_cuts};
use super::records::{LogRecord, Records, Rows, SpanRecord};
use super::survey::{Found, Survey, Term, TermSort, Untraced, trace_term};

/// Kinds whose values name one message.
const MESSAGE_KINDS: [&str; 2] = ["message_id", KAFKA_RECORD];

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
            (_, TermSort::LinksTo(trace), _) => Self::LinksTo(trace),
            (_, TermSort::Trace(_), Some(origin)) => Self::LinkedFrom(origin),
            (_, TermSort::Id { is_message: true, .. }, _) => Self::Message(term.text.clone()),
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
            is_complete: true,
        };
        let (seen, refused, left_out) = (HashSet::new(), BTreeMap::new(), LeftOut::default());
        Self { rules, limits, seen, offered: 0, refused, left_out, closure }
    }

    fn asked(&mut self, term: &IdTerm) -> Term {
        let text = term.to_string();
        self.seen.insert(text.clone());
        let sort = match term.trace_id() {
            Some(trace) => TermSort::Trace(trace),
            None => TermSort::Id { is_message: is_message(&term.kind), max_fanout: usize::MAX },
        };
        Term { text, sort, origin: None, is_asked: true }
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
        let texts: Vec<String> = terms.iter().map(|term| term.text.clone()).collect();
        let logs = records.logs(&texts)?;
        let mut survey = Survey::new(&terms, &self.closure.followed);
        survey.add(&records.spans(&texts)?);
        survey.add(&logs);
        let found = survey.into_found();

        let followed = self.follow(&terms, &found);
        let accepted = self.accept(&terms, &followed, &found);
        let (first_span, first_log) = (self.closure.spans.len(), self.closure.logs.len());
        self.take_untraced(&logs, &found.untraced, &followed);
        drop(logs);
        self.load(records, &accepted)?;
        Ok(self.next_terms(first_span, first_log, &accepted))
    }

    /// Which terms are followed; the others are noted as refused.
    fn follow(&mut self, terms: &[Term], found: &Found) -> Vec<bool> {
        let (fanout, hits) = (found.fanout(terms.len()), found.hits(terms.len()));
        let mut followed = vec![true; terms.len()];
        for (at, term) in terms.iter().enumerate() {
            if term.is_asked && hits[at] {
                self.closure.matched.extend(term.text.parse::<IdTerm>());
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

    /// Reads the traces whole.
    fn load<R: Records>(&mut self, records: &mut R, accepted: &[TraceId]) -> Result<(), storage::Error> {
        if accepted.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> = accepted.iter().map(|trace| trace_term(*trace)).collect();
        let wanted: HashSet<TraceId> = accepted.iter().copied().collect();

        let spans = records.spans(&texts)?;
        let room = self.limits.spans.saturating_sub(self.closure.spans.len());
        let (chosen, left_out) = earliest(rows_of(&spans, &wanted), room);
        self.left_out.spans += left_out;
        self.closure.spans.extend(spans.take(&chosen));
        drop(spans);

        let logs = records.logs(&texts)?;
        let rows = rows_of(&logs, &wanted);
        self.take_logs(&logs, rows);
        Ok(())
    }

    /// The terms that the rows read since `first_span` and `first_log` lead to.
    fn next_terms(&mut self, first_span: usize, first_log: usize, accepted: &[TraceId]) -> Vec<Term> {
        let mut next = Vec::new();
        let mut spans = std::mem::take(&mut self.closure.spans);
        spans[first_span..].sort_by(by_start);
        for span in &spans[first_span..] {
            span.ids.iter().for_each(|id| next.extend(self.offer_id(id, Some(span.trace_id))));
            let links = span.links.iter().filter(|(trace, _)| *trace != span.trace_id);
            next.extend(links.filter_map(|(trace, _)| self.offer(Term::trace(*trace, Some(span.trace_id)))));
        }
        self.closure.spans = spans;
        let mut logs = std::mem::take(&mut self.closure.logs);
        logs[first_log..].sort();
        for log in &logs[first_log..] {
            log.ids.iter().for_each(|id| next.extend(self.offer_id(id, log.trace_id)));
        }
        self.closure.logs = logs;
        next.extend(accepted.iter().filter_map(|trace| self.offer(Term::links_to(*trace))));
        next
    }

    fn offer_id(&mut self, text: &str, origin: Option<TraceId>) -> Option<Term> {
        if self.seen.contains(text) {
            return None;
        }
        let (kind, _) = text.split_once('=')?;
        match self.rules.kind(kind) {
            Some(rule) if rule.joins => {
                let sort = TermSort::Id { is_message: is_message(kind), max_fanout: rule.max_fanout };
                self.offer(Term { text: text.to_owned(), sort, origin, is_asked: false })
            }
            rule => {
                self.seen.insert(text.to_owned());
                let why = if rule.is_some() { Refusal::DoesNotJoin } else { Refusal::UnknownKind };
                self.refuse(text, why, 0);
                None
            }
        }
    }

    fn offer(&mut self, term: Term) -> Option<Term> {
        if !self.seen.insert(term.text.clone()) {
            return None;
        }
        if let TermSort::Trace(trace) = term.sort
            && self.closure.traces.contains_key(&trace)
        {
            return None;
        }
        self.offered += 1;
        let has_room = self.offered <= self.limits.ids;
        self.left_out.ids += usize::from(!has_room);
        has_room.then_some(term)
    }

    fn refuse(&mut self, text: &str, why: Refusal, fanout: usize) {
        let kind = text.split_once('=').map_or(text, |(kind, _)| kind);
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
        self.closure.is_complete = left_out.terms + left_out.traces + left_out.spans + left_out.ids == 0;
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

fn rows_of(rows: &impl Rows, wanted: &HashSet<TraceId>) -> Vec<(UnixNano, u32)> {
    let mut found = Vec::new();
    rows.visit(&mut |row, head| {
        if head.trace_id.is_some_and(|trace| wanted.contains(&trace)) {
            found.push((head.time, row));
        }
    });
    found
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
