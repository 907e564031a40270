//! Why a trace or a row belongs to a journey, in words, and how certain that is.
//!
//! Owns: which evidence there is and its order, the surest first. Invariants: an id is told with the field it
//! stands in; what a limit leaves out is counted in the last piece of evidence.

use std::collections::{HashMap, HashSet};

use model::ids::MESSAGE_KINDS;
use model::{IdRules, IdTerm, SpanId, TraceId};
use query_api::text::Texts;
use query_api::{Attributes, Certainty, Evidence, EvidenceKind, Text};

use super::closure::How;
use super::forest::Forest;
use super::messages::{Coordinates, Messages, Tie, Wait};
use super::records::{LogRecord, SpanRecord};
use super::traces::{Trace, Traces};
use crate::identity::fields::Fields;

/// Ids that are told of one trace.
const TRACE_IDS_MAX: usize = 12;
/// Links that are told of one span.
const SPAN_LINKS_MAX: usize = 4;

/// Knows what was asked for and what was followed, and where in a record ids stand.
pub(crate) struct Witness<'a> {
    asked: HashSet<String>,
    followed: &'a HashSet<String>,
    fields: Fields<'a>,
    texts: Texts,
}

impl<'a> Witness<'a> {
    pub(crate) fn new(rules: &'a IdRules, matched: &[IdTerm], followed: &'a HashSet<String>) -> Self {
        let asked = matched.iter().map(ToString::to_string).collect();
        Self { asked, followed, fields: Fields::new(rules), texts: Texts::default() }
    }

    /// Why a span belongs: the ids it carries, the messages it took, the spans it links to and from.
    pub(crate) fn of_span(
        &mut self,
        span: &SpanRecord,
        taken: Option<(&Wait, usize)>,
        linked: &[Evidence],
    ) -> Vec<Evidence> {
        let mut all = self.ids_of_span(span, |_| true);
        all.extend(taken.into_iter().flat_map(|(wait, count)| of_taken(wait, count)));
        all.extend_from_slice(linked);
        if all.is_empty() {
            all.push(self.same_trace());
        }
        all.sort_by(in_order);
        all
    }

    /// Why a log record belongs.
    pub(crate) fn of_log(&mut self, log: &LogRecord) -> Vec<Evidence> {
        let mut all = self.ids_of_log(log, |_| true);
        if all.is_empty() {
            all.push(self.same_trace());
        }
        all.sort_by(in_order);
        all
    }

    fn same_trace(&mut self) -> Evidence {
        Evidence::new(EvidenceKind::SameTrace, Certainty::Certain, self.texts.share("same trace"))
    }

    fn ids_of_span(&mut self, span: &SpanRecord, wanted: impl Fn(&str) -> bool) -> Vec<Evidence> {
        let read = |fields: &mut Fields<'_>| fields.read_span(span);
        self.ids_of(&span.ids, &span.attributes, read, wanted)
    }

    fn ids_of_log(&mut self, log: &LogRecord, wanted: impl Fn(&str) -> bool) -> Vec<Evidence> {
        self.ids_of(&log.ids, &log.attributes, |fields| fields.read_log(log), wanted)
    }

    /// The ids of a record that were asked for or followed. The rules run over it once at most.
    fn ids_of(
        &mut self,
        ids: &[Text],
        attributes: &Attributes,
        read: impl Fn(&mut Fields<'_>),
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<Evidence> {
        let mut found = Vec::new();
        let mut is_read = false;
        for id in ids {
            let is_asked = self.asked.contains(id.as_str());
            if !(is_asked || self.followed.contains(id.as_str())) || !wanted(id) {
                continue;
            }
            let source = self.fields.plain(attributes, id).unwrap_or_else(|| {
                if !is_read {
                    read(&mut self.fields);
                    is_read = true;
                }
                self.fields.of(id)
            });
            let source = self.texts.share(source);
            found.push(of_id(id, is_asked, source));
        }
        found
    }
}

/// The surest first, and in one order whatever the order of a record's ids.
fn in_order(a: &Evidence, b: &Evidence) -> std::cmp::Ordering {
    a.rank().cmp(&b.rank()).then_with(|| a.text.cmp(&b.text))
}

/// An id that a record carries in the field that `source` names.
fn of_id(id: &Text, is_asked: bool, source: Text) -> Evidence {
    let certainty = match source.split_once(':').map_or("", |(form, _)| form) {
        // Words of a text, and what a caller handed on, can be about something else.
        "" | "kv" | "re" | "baggage" => Certainty::Likely,
        _ => Certainty::Certain,
    };
    let is_message = id.split_once('=').is_some_and(|(kind, _)| MESSAGE_KINDS.contains(&kind));
    let kind = match () {
        () if source.starts_with("baggage:") => EvidenceKind::Baggage,
        () if is_asked => EvidenceKind::Asked,
        () if is_message => EvidenceKind::Message,
        () => EvidenceKind::SharedId,
    };
    Evidence { kind, certainty, text: id.clone(), source }
}

/// Why each trace belongs, the surest first; in the order of `traces`.
pub(crate) fn of_traces(
    witness: &mut Witness<'_>,
    reached: &HashMap<TraceId, How>,
    (spans, logs): (&[SpanRecord], &[LogRecord]),
    traces: &Traces,
    forest: &Forest,
    waits: &[Wait],
) -> Vec<Vec<Evidence>> {
    let mut carried: Vec<Carried> = traces.all.iter().map(|_| Carried::default()).collect();
    for span in spans.iter().filter(|span| !span.ids.is_empty()) {
        let Some(at) = traces.position(span.trace_id) else { continue };
        let found = witness.ids_of_span(span, |id| carried[at].wants(id));
        carried[at].add(found);
    }
    for log in logs.iter().filter(|log| !log.ids.is_empty()) {
        let Some(at) = log.trace_id.and_then(|trace| traces.position(trace)) else { continue };
        let found = witness.ids_of_log(log, |id| carried[at].wants(id));
        carried[at].add(found);
    }
    let of_trace = |(trace, carried): (&Trace, Carried)| {
        let mut all = carried.all;
        let taken = trace.cause.and_then(|cause| cause.wait).map(|wait| of_taken(&waits[wait], 1));
        let taken = taken.unwrap_or_default();
        let has_link = taken.iter().any(|evidence| evidence.kind == EvidenceKind::Link);
        all.extend(taken);
        all.extend(of_how(reached.get(&trace.id), trace, spans, traces, forest, has_link));
        if all.is_empty() {
            let text = format!("trace {}", short(trace.id));
            all.push(Evidence::new(EvidenceKind::SameTrace, Certainty::Certain, text));
        }
        all.sort_by(in_order);
        all.dedup_by(|a, b| (a.kind, &a.text) == (b.kind, &b.text));
        let more = carried.more.len();
        if more > 0 {
            let text = if more == 1 { "1 more id".to_owned() } else { format!("{more} more ids") };
            all.push(Evidence::new(EvidenceKind::SharedId, Certainty::Likely, text));
        }
        all
    };
    traces.all.iter().zip(carried).map(of_trace).collect()
}

/// The ids that the records of a trace carry, each with its surest field.
#[derive(Default)]
struct Carried {
    all: Vec<Evidence>,
    /// Ids beyond those that are told.
    more: HashSet<Text>,
}

impl Carried {
    /// Whether an id is not known yet, or could be known surer.
    fn wants(&self, id: &str) -> bool {
        match self.all.iter().find(|known| known.text == id) {
            Some(known) => known.certainty > Certainty::Certain,
            None => !self.more.contains(id),
        }
    }

    fn add(&mut self, found: Vec<Evidence>) {
        for evidence in found {
            let known = self.all.iter().position(|known| known.text == evidence.text);
            match known {
                Some(at) if evidence.rank() < self.all[at].rank() => self.all[at] = evidence,
                Some(_) => {}
                None if self.all.len() < TRACE_IDS_MAX => self.all.push(evidence),
                None => drop(self.more.insert(evidence.text)),
            }
        }
    }
}

/// How a trace was first reached, as far as its records do not say so themselves.
fn of_how(
    how: Option<&How>,
    trace: &Trace,
    spans: &[SpanRecord],
    traces: &Traces,
    forest: &Forest,
    has_link: bool,
) -> Option<Evidence> {
    let link = |text: String| Evidence::new(EvidenceKind::Link, Certainty::Certain, text);
    match how? {
        How::Asked(term) if term.parse::<IdTerm>().is_ok_and(|term| term.trace_id().is_some()) => {
            Some(Evidence::new(EvidenceKind::Asked, Certainty::Certain, term.clone()))
        }
        How::LinksTo(_) if has_link => None,
        How::LinksTo(to) => Some(link(format!("span link from {}", link_source(spans, trace, *to, forest)))),
        How::LinkedFrom(from) => {
            Some(link(format!("span link to it in {}", linking_span(spans, traces, *from, trace.id))))
        }
        How::Shared(term) if term.starts_with("trace_id=") => {
            Some(Evidence::new(EvidenceKind::SharedId, Certainty::Certain, term.clone()))
        }
        How::Asked(_) | How::Message(_) | How::Shared(_) => None,
    }
}

/// Spans that link to others, and those that others link to, by their number: why they belong. Links by which a
/// message was taken are told as that message.
pub(crate) fn of_links(
    spans: &[SpanRecord],
    forest: &Forest,
    messages: &Messages,
) -> HashMap<usize, Vec<Evidence>> {
    let mut links: HashMap<usize, Vec<Evidence>> = HashMap::new();
    let mut say = |at: usize, text: String| {
        let of_span = links.entry(at).or_default();
        if of_span.len() < SPAN_LINKS_MAX && !of_span.iter().any(|known| known.text == text) {
            of_span.push(Evidence::new(EvidenceKind::Link, Certainty::Certain, text));
        }
    };
    for (at, span) in spans.iter().enumerate() {
        let takes = messages.taken_by(at).is_some_and(|wait| wait.ties.iter().any(|tie| tie == Tie::Link));
        for (trace, linked) in &span.links {
            let target =
                forest.node(*trace, *linked).map(|node| node as usize).filter(|at| *at < spans.len());
            if let Some(target) = target {
                say(target, format!("span link to it in {} {}", span.service, span.name));
            }
            if !takes {
                let text = target.map_or_else(|| missing(*trace, *linked), |at| described(&spans[at]));
                say(at, format!("span link from {text}"));
            }
        }
    }
    links
}

fn missing(trace: TraceId, span: SpanId) -> String {
    format!("span {span} of trace {}, which was not received", short(trace))
}

/// Why a queue wait stands between two spans, the surest first.
pub(crate) fn of_wait(wait: &Wait, spans: &[SpanRecord]) -> Vec<Evidence> {
    let producer = &spans[wait.producer];
    let Some(consumer) = wait.consumer.map(|at| &spans[at]) else {
        let text = format!("sent by {} {}, no consumer found", producer.service, producer.name);
        return vec![Evidence::new(EvidenceKind::Message, Certainty::Inferred, text)];
    };
    let of_tie = |tie: Tie| {
        let text = match tie {
            Tie::Link => format!("span link from {} {}", consumer.service, consumer.name),
            Tie::Coordinates => {
                format!("{} named by {} and {}", wait.name, producer.service, consumer.service)
            }
            Tie::MessageId => format!("message id named by {} and {}", producer.service, consumer.service),
            Tie::Parent => format!("{} {} is the parent", producer.service, producer.name),
        };
        Evidence::new(kind_of(tie), certainty_of(tie), text)
    };
    wait.ties.iter().map(of_tie).collect()
}

const fn kind_of(tie: Tie) -> EvidenceKind {
    match tie {
        Tie::Link => EvidenceKind::Link,
        Tie::Coordinates | Tie::MessageId => EvidenceKind::Message,
        Tie::Parent => EvidenceKind::SameTrace,
    }
}

const fn certainty_of(tie: Tie) -> Certainty {
    match tie {
        Tie::Link | Tie::Coordinates | Tie::Parent => Certainty::Certain,
        // Only its sender keeps a message id unique, and a forwarded message keeps it.
        Tie::MessageId => Certainty::Likely,
    }
}

/// What a consumer took: one of `count` messages, and all that ties it to it.
fn of_taken(wait: &Wait, count: usize) -> Vec<Evidence> {
    let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    let of_tie = |tie: Tie| {
        let text = match tie {
            Tie::Link => format!("span link from {}{others}", wait.name),
            Tie::Coordinates => format!("message {}{others}", wait.name),
            Tie::MessageId => format!("message id of {}{others}", wait.name),
            Tie::Parent => format!("child of the producer to {}{others}", wait.name),
        };
        Evidence::new(kind_of(tie), certainty_of(tie), text)
    };
    wait.ties.iter().map(of_tie).collect()
}

/// What a span of `trace` links to in trace `to`.
fn link_source(spans: &[SpanRecord], trace: &Trace, to: TraceId, forest: &Forest) -> String {
    let links = trace.linking.iter().flat_map(|at| &spans[*at].links);
    let target = links.filter(|(trace, _)| *trace == to).find_map(|(trace, span)| forest.node(*trace, *span));
    target.and_then(|node| spans.get(node as usize)).map_or_else(|| format!("trace {}", short(to)), described)
}

/// The span of trace `from` that links to trace `to`.
fn linking_span(spans: &[SpanRecord], traces: &Traces, from: TraceId, to: TraceId) -> String {
    let linking = traces.position(from).map(|at| traces.all[at].linking.as_slice()).unwrap_or_default();
    let links_to = |span: &&SpanRecord| span.links.iter().any(|(trace, _)| *trace == to);
    let span = linking.iter().map(|at| &spans[*at]).find(links_to);
    span.map_or_else(|| format!("trace {}", short(from)), described)
}

/// The message a span names, or the span itself.
fn described(span: &SpanRecord) -> String {
    let message = Coordinates::of(span).text();
    if message.is_empty() { format!("{} {}", span.service, span.name) } else { message }
}

fn short(trace: TraceId) -> String {
    let mut text = trace.to_string();
    text.truncate(8);
    text
}
