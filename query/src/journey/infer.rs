//! Rows inferred from log lines, for services that send no spans.
//!
//! ```text
//! caller's span   ├──────────────────────────┤  request_id=7f3a
//! inferred          ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌        request GET /quotes
//!   log             ·                           request started GET /quotes request_id=7f3a
//!   log                    ·                    cache is cold request_id=7f3a
//!   log                                  ·      request finished GET /quotes request_id=7f3a status=200
//! ```
//!
//! Two records make a row when one says that something starts and a later one that it is finished ([`Words`]), both
//! of one service, of one instance where both name theirs, with an id in common that the journey followed and none of
//! one kind with different values, about the same subject (the words before "started" and "finished") where both name
//! one. What started last is finished first, so that rows nest.
//!
//! It is not done: for a service of which the journey holds spans; for records that name the span they were written
//! in; for a finish without a start or the reverse; where two starts of one subject with the same ids are open at
//! once, since nothing tells whose finish it is; beyond [`ROWS_MAX`] rows.
//!
//! Invariants: every record belongs to one inferred row at most; an inferred row encloses its records and those below
//! it; the result does not depend on the order in which records arrived; nothing is counted as a request.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use model::{SpanId, TraceId, UnixNano};
use query_api::{Cut, Text};

use super::records::{INFERRED, LogRecord, SpanRecord};

/// Rows that are inferred for one journey.
const ROWS_MAX: usize = 2_000;
/// What has started and not finished, for one instance of a service; the oldest is given up.
const OPEN_MAX: usize = 256;
/// Words of a record that are looked at.
const WORDS_READ: usize = 12;
/// Bytes of a record that are looked at.
const BYTES_READ: usize = 400;
/// Characters of a row's name.
const NAME_CHARS: usize = 80;
/// Spans that are looked at for the place of one row.
const PLACES_READ: usize = 4_096;
/// Log lines carry times of whole milliseconds.
const COARSE_NANO: i64 = 2_000_000;

/// The words by which a record tells that something starts or is finished. They are compared in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// Whether rows are inferred at all.
    pub is_on: bool,
    /// Words of a start.
    pub start: Vec<String>,
    /// Words of a finish.
    pub finish: Vec<String>,
}

impl Default for Words {
    fn default() -> Self {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            is_on: true,
            start: owned(&[
                "start", "started", "starting", "starts", "begin", "begins", "began", "received", "incoming",
            ]),
            finish: owned(&[
                "finish",
                "finished",
                "finishes",
                "end",
                "ended",
                "ends",
                "complete",
                "completed",
                "completes",
                "done",
                "responded",
                "returned",
                "succeeded",
                "failed",
                "aborted",
            ]),
        }
    }
}

/// What was inferred.
#[derive(Debug, Default)]
pub(crate) struct Inferences {
    /// One span for each inferred row, in no order.
    pub(crate) spans: Vec<SpanRecord>,
    /// By log record: the trace and inferred span it stands in.
    pub(crate) inside: Vec<Option<(TraceId, SpanId)>>,
    /// Rows beyond [`ROWS_MAX`].
    pub(crate) left_out: usize,
}

/// A start and its finish, as places in the log records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    start: UnixNano,
    finish: UnixNano,
    service: String,
    instance: String,
    first: usize,
    last: usize,
    ids: Vec<Text>,
}

/// Finds what log records tell of services without spans. `logs` are sorted; `followed` are the ids that hold the
/// journey together.
pub(crate) fn find(
    spans: &[SpanRecord],
    logs: &[LogRecord],
    followed: &HashSet<String>,
    words: &Words,
) -> Inferences {
    let mut inferences = Inferences { inside: vec![None; logs.len()], ..Inferences::default() };
    if !words.is_on {
        return inferences;
    }
    let speaking: HashSet<&str> = spans.iter().map(|span| span.service.as_str()).collect();
    let mut pairs = Vec::new();
    for ((service, instance), records) in by_instance(logs, &speaking) {
        let mut matching =
            Matching { words, followed, logs, service, instance, open: Vec::new(), pairs: &mut pairs };
        matching.run(records);
    }
    // The longest first: what encloses comes before what is enclosed.
    pairs.sort_by(|a, b| {
        (a.start, std::cmp::Reverse(a.finish), a).cmp(&(b.start, std::cmp::Reverse(b.finish), b))
    });
    inferences.left_out = pairs.len().saturating_sub(ROWS_MAX);
    pairs.truncate(ROWS_MAX);
    let places = Places::new(spans, &pairs);
    let mut placed: Vec<(TraceId, SpanId)> = Vec::with_capacity(pairs.len());
    for (at, pair) in pairs.iter().enumerate() {
        let place = places.of(spans, at, pair, &pairs);
        let span = place.span(spans, &placed, pair, logs, words, at);
        placed.push((span.trace_id, span.span_id));
        inferences.spans.push(span);
    }
    inferences.put_records(logs, &pairs, &placed);
    inferences
}

impl Inferences {
    /// Puts what was inferred among what was received.
    pub(crate) fn plant(self, spans: &mut Vec<SpanRecord>, logs: &mut [LogRecord]) {
        if self.spans.is_empty() {
            return;
        }
        for (log, place) in logs.iter_mut().zip(self.inside) {
            log.inferred_in = place;
        }
        spans.extend(self.spans);
        spans.sort_by(|a, b| a.start.cmp(&b.start).then_with(|| a.cmp(b)));
    }

    /// What was left out.
    pub(crate) fn cut(&self) -> Option<Cut> {
        (self.left_out > 0).then(|| Cut {
            what: format!("{ROWS_MAX} rows are inferred from log records; {} are left out", self.left_out),
            limit: "inferred".to_owned(),
            hint: Some("narrow the time range".to_owned()),
        })
    }

    /// Each record to the innermost row of its service and instance that shares an id with it.
    fn put_records(&mut self, logs: &[LogRecord], pairs: &[Pair], placed: &[(TraceId, SpanId)]) {
        let mut by_instance: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (at, pair) in pairs.iter().enumerate() {
            by_instance.entry((&pair.service, &pair.instance)).or_default().push(at);
        }
        for (log, record) in logs.iter().enumerate().filter(|(_, record)| record.span_id.is_none()) {
            let Some(of) = by_instance.get(&(record.service.as_str(), instance(record))) else { continue };
            let begun = of.partition_point(|at| pairs[*at].start <= record.time);
            let encloses = |at: &&usize| {
                let pair = &pairs[**at];
                let is_own = pair.first == log || pair.last == log;
                is_own || (record.time <= pair.finish && record.ids.iter().any(|id| pair.ids.contains(id)))
            };
            // The latest that began and has not ended is the innermost.
            let innermost = of[..begun].iter().rev().take(PLACES_READ).find(encloses);
            self.inside[log] = innermost.map(|at| placed[*at]);
        }
    }
}

/// Records that may start or finish something, by service and instance, in order.
fn by_instance<'a>(
    logs: &'a [LogRecord],
    speaking: &HashSet<&str>,
) -> BTreeMap<(&'a str, &'a str), Vec<usize>> {
    let mut found: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (at, log) in logs.iter().enumerate() {
        let is_silent =
            log.span_id.is_none() && !log.service.is_empty() && !speaking.contains(log.service.as_str());
        if is_silent && !log.ids.is_empty() {
            found.entry((&log.service, instance(log))).or_default().push(at);
        }
    }
    found
}

fn instance(log: &LogRecord) -> &str {
    let known = ["service.instance.id", "host.name"].iter().find_map(|key| log.resource.get(key));
    known.map(Text::as_str).unwrap_or_default()
}

/// What a record tells.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Start(Vec<String>),
    Finish(Vec<String>),
}

impl Words {
    /// Whether a text tells of a start or a finish, and of what: the words before that word.
    fn read(&self, text: &str) -> Option<Told> {
        let mut subject = Vec::new();
        for word in words(text).take(WORDS_READ) {
            let word = word.to_lowercase();
            if self.start.contains(&word) {
                return Some(Told::Start(subject));
            }
            if self.finish.contains(&word) {
                return Some(Told::Finish(subject));
            }
            subject.push(word);
        }
        None
    }
}

/// The beginning of a text in words.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let end = (0..=BYTES_READ.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn text(log: &LogRecord) -> &str {
    if log.body.is_empty() { &log.event_name } else { &log.body }
}

struct Open {
    at: usize,
    subject: Vec<String>,
    ids: BTreeSet<Text>,
}

/// Goes through the records of one instance of a service.
struct Matching<'a> {
    words: &'a Words,
    followed: &'a HashSet<String>,
    logs: &'a [LogRecord],
    service: &'a str,
    instance: &'a str,
    open: Vec<Open>,
    pairs: &'a mut Vec<Pair>,
}

impl Matching<'_> {
    fn run(&mut self, records: Vec<usize>) {
        let mut told: Vec<(usize, Told)> = Vec::new();
        for at in records {
            told.extend(self.words.read(text(&self.logs[at])).map(|told| (at, told)));
        }
        // Within one millisecond a start comes first.
        told.sort_by_key(|(at, told)| (self.logs[*at].time, matches!(told, Told::Finish(_)), *at));
        for (at, told) in told {
            match told {
                Told::Start(subject) => self.start(at, subject),
                Told::Finish(subject) => self.finish(at, &subject),
            }
        }
    }

    fn start(&mut self, at: usize, subject: Vec<String>) {
        if self.open.len() == OPEN_MAX {
            self.open.remove(0);
        }
        let ids = self.logs[at].ids.iter().cloned().collect();
        self.open.push(Open { at, subject, ids });
    }

    fn finish(&mut self, at: usize, subject: &[String]) {
        let ids: BTreeSet<Text> = self.logs[at].ids.iter().cloned().collect();
        let fits = |open: &Open| {
            let is_same = open.subject.is_empty() || subject.is_empty() || open.subject == subject;
            is_same && self.shared(&open.ids, &ids).next().is_some() && !contradict(&open.ids, &ids)
        };
        let Some(found) = self.open.iter().rposition(fits) else { return };
        let of = &self.open[found];
        let twins = |open: &Open| open.subject == of.subject && open.ids == of.ids;
        if self.open.iter().filter(|open| twins(open)).count() > 1 {
            // Whose finish it is cannot be told; nor can that of the next one.
            let (subject, ids) = (of.subject.clone(), of.ids.clone());
            self.open.retain(|open| open.subject != subject || open.ids != ids);
            return;
        }
        let shared: Vec<Text> = self.shared(&of.ids, &ids).cloned().collect();
        self.pairs.push(Pair {
            start: self.logs[of.at].time,
            finish: self.logs[at].time,
            service: self.service.to_owned(),
            instance: self.instance.to_owned(),
            first: of.at,
            last: at,
            ids: shared.clone(),
        });
        // What began inside and has not finished never will: rows nest.
        let is_inside = |open: &Open| open.ids.iter().any(|id| shared.contains(id));
        let mut place = 0;
        self.open.retain(|open| {
            place += 1;
            place - 1 < found || (place - 1 > found && !is_inside(open))
        });
    }

    fn shared<'b>(
        &'b self,
        one: &'b BTreeSet<Text>,
        other: &'b BTreeSet<Text>,
    ) -> impl Iterator<Item = &'b Text> {
        one.intersection(other).filter(|id| self.followed.contains(id.as_str()))
    }
}

/// Whether two records name different values of one kind.
fn contradict(one: &BTreeSet<Text>, other: &BTreeSet<Text>) -> bool {
    let kind = |id: &Text| id.split_once('=').map(|(kind, _)| kind.to_owned());
    let only = |a: &BTreeSet<Text>, b: &BTreeSet<Text>| -> BTreeSet<String> {
        a.difference(b).filter_map(kind).collect()
    };
    !only(one, other).is_disjoint(&only(other, one))
}

/// What an inferred row stands below.
enum Place {
    /// A span.
    Span(usize),
    /// Another inferred row.
    Inferred(usize),
    /// Nothing that is known.
    Alone,
}

/// The spans that can enclose inferred rows, by id.
struct Places<'a> {
    carrying: HashMap<&'a str, Vec<usize>>,
    by_trace: HashMap<TraceId, Vec<usize>>,
    has_server: HashSet<(TraceId, SpanId)>,
}

impl<'a> Places<'a> {
    fn new(spans: &'a [SpanRecord], pairs: &[Pair]) -> Self {
        let wanted: HashSet<&str> = pairs.iter().flat_map(|pair| &pair.ids).map(Text::as_str).collect();
        let mut places =
            Self { carrying: HashMap::new(), by_trace: HashMap::new(), has_server: HashSet::new() };
        if wanted.is_empty() {
            return places;
        }
        for (at, span) in spans.iter().enumerate() {
            places.by_trace.entry(span.trace_id).or_default().push(at);
            if let Some(parent) = span.parent_span_id.filter(|_| span.kind == "server") {
                places.has_server.insert((span.trace_id, parent));
            }
            for id in span.ids.iter().filter(|id| wanted.contains(id.as_str())) {
                places.carrying.entry(id).or_default().push(at);
            }
        }
        places
    }

    /// The innermost of: a span that carries the id; a call, without a server span, in a trace that does; an inferred
    /// row that shares it. A call that alone carries the id is the place even when clocks disagree.
    fn of(&self, spans: &[SpanRecord], at: usize, pair: &Pair, pairs: &[Pair]) -> Place {
        let carrying = pair.ids.iter().filter_map(|id| self.carrying.get(id.as_str())).flatten();
        let carrying: Vec<usize> = carrying.copied().take(PLACES_READ).collect();
        let is_call = |span: &SpanRecord| {
            span.kind == "client" && !self.has_server.contains(&(span.trace_id, span.span_id))
        };
        let calls: BTreeSet<usize> = carrying.iter().copied().filter(|at| is_call(&spans[*at])).collect();
        if let (Some(only), 1) = (calls.first(), calls.len()) {
            return Place::Span(*only);
        }
        let traces: BTreeSet<TraceId> = carrying.iter().map(|at| spans[*at].trace_id).collect();
        let near = traces.iter().filter_map(|trace| self.by_trace.get(trace)).flatten().copied();
        let near = near.filter(|at| is_call(&spans[*at]) && names(&spans[*at], &pair.service) != Some(false));
        let encloses = |at: &usize| {
            let span = &spans[*at];
            span.start.0 <= pair.start.0.saturating_add(COARSE_NANO)
                && pair.finish.0 <= span.end().0.saturating_add(COARSE_NANO)
        };
        let candidates = carrying.iter().copied().chain(near).take(PLACES_READ).filter(encloses);
        let span = candidates.min_by_key(|at| {
            let span = &spans[*at];
            (names(span, &pair.service) != Some(true), span.duration_nano, *at)
        });
        let above = pairs[..at].iter().enumerate().rev().take(PLACES_READ).find(|(_, other)| {
            other.finish >= pair.finish && other.ids.iter().any(|id| pair.ids.contains(id))
        });
        let above = above.map(|(above, _)| above);
        match (span, above) {
            (Some(span), Some(above)) => {
                match pairs[above].finish.since(pairs[above].start) <= spans[span].duration_nano {
                    true => Place::Inferred(above),
                    false => Place::Span(span),
                }
            }
            (Some(span), None) => Place::Span(span),
            (None, Some(above)) => Place::Inferred(above),
            (None, None) => Place::Alone,
        }
    }
}

/// Whether a call goes to a service; `None` when it does not say where to.
fn names(span: &SpanRecord, service: &str) -> Option<bool> {
    let keys = ["peer.service", "server.address", "net.peer.name"];
    let peer = keys.iter().find_map(|key| span.attributes.get(key))?;
    let is_address = !peer.chars().any(|c| c.is_ascii_alphabetic()) || peer == "localhost";
    (!is_address).then(|| peer.split('.').next() == Some(service))
}

impl Place {
    fn span(
        &self,
        spans: &[SpanRecord],
        placed: &[(TraceId, SpanId)],
        pair: &Pair,
        logs: &[LogRecord],
        words: &Words,
        at: usize,
    ) -> SpanRecord {
        let mut hasher = DefaultHasher::new();
        (pair.start, pair.finish, &pair.service, &pair.instance, &pair.ids, at).hash(&mut hasher);
        let own = hasher.finish() | 1;
        let (trace_id, parent_span_id) = match self {
            Self::Span(parent) => (spans[*parent].trace_id, Some(spans[*parent].span_id)),
            Self::Inferred(parent) => (placed[*parent].0, Some(placed[*parent].1)),
            // No trace that was received has this id: its first half is all ones.
            Self::Alone => (TraceId((u128::MAX << 64 | u128::from(own)).to_be_bytes()), None),
        };
        let (first, last) = (&logs[pair.first], &logs[pair.last]);
        SpanRecord {
            trace_id,
            span_id: SpanId(own.to_be_bytes()),
            parent_span_id,
            service: pair.service.as_str().into(),
            name: name(text(first), words).into(),
            kind: INFERRED.into(),
            start: pair.start,
            duration_nano: pair.finish.since(pair.start).max(0),
            is_error: false,
            status_message: Text::default(),
            ids: pair.ids.clone(),
            attributes: [("inferred.start", first), ("inferred.finish", last)]
                .map(|(key, log)| (key, text(log)))
                .into_iter()
                .collect(),
            resource: first.resource.clone(),
            events: Vec::new(),
            links: Vec::new(),
        }
    }
}

/// Whether a trace is made of inferred rows alone.
pub(crate) fn is_made(trace: TraceId) -> bool {
    trace.0[..8] == [0xff; 8]
}

/// `request started GET /quotes request_id=7f3a` → `request GET /quotes`.
fn name(text: &str, words: &Words) -> String {
    let mut has_verb = false;
    let mut name = String::new();
    for word in text.split_whitespace().filter(|word| !word.contains('=')) {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        if !has_verb && words.start.contains(&bare) {
            has_verb = true;
            continue;
        }
        if name.chars().count() + word.chars().count() >= NAME_CHARS {
            break;
        }
        if !name.is_empty() {
            name.push(' ');
        }
        name.push_str(word);
    }
    if name.is_empty() { "request".to_owned() } else { name }
}
