//! Why a trace or a row belongs to a journey, in words.

use std::collections::{HashMap, HashSet};

use model::{IdTerm, TraceId};
use query_api::{Evidence, EvidenceKind};

use super::closure::How;
use super::forest::Forest;
use super::messages::{Coordinates, Tie, Wait};
use super::records::SpanRecord;
use super::traces::{Trace, Traces};

/// Knows what was asked for and what was followed.
pub(crate) struct Witness<'a> {
    pub(crate) asked: HashSet<String>,
    pub(crate) followed: &'a HashSet<String>,
}

impl<'a> Witness<'a> {
    pub(crate) fn new(matched: &[IdTerm], followed: &'a HashSet<String>) -> Self {
        Self { asked: matched.iter().map(ToString::to_string).collect(), followed }
    }

    /// Why a span belongs; `taken_from` is the message it consumed.
    pub(crate) fn of_span(&self, span: &SpanRecord, taken_from: Option<&Wait>) -> Evidence {
        let asked = span.ids.iter().find(|id| self.asked.contains(*id));
        match (asked, taken_from) {
            (Some(id), _) => of(EvidenceKind::Asked, id.clone()),
            (None, Some(wait)) => of(kind_of(wait.tie), taken(wait)),
            (None, None) => of(EvidenceKind::SameTrace, "same trace".to_owned()),
        }
    }

    /// Why a log record belongs.
    pub(crate) fn of_log(&self, ids: &[String], is_traced: bool) -> Evidence {
        let shared = || ids.iter().find(|id| self.followed.contains(*id));
        if let Some(id) = ids.iter().find(|id| self.asked.contains(*id)) {
            return of(EvidenceKind::Asked, id.clone());
        }
        match (is_traced, shared()) {
            (false, Some(id)) => of(EvidenceKind::SharedId, id.clone()),
            _ => of(EvidenceKind::SameTrace, "same trace".to_owned()),
        }
    }
}

/// Why a trace belongs.
pub(crate) fn of_trace(
    trace: &Trace,
    reached: &HashMap<TraceId, How>,
    spans: &[SpanRecord],
    traces: &Traces,
    forest: &Forest,
    waits: &[Wait],
) -> Evidence {
    let mut evidence = match reached.get(&trace.id) {
        Some(How::Asked(term)) => of(EvidenceKind::Asked, term.clone()),
        Some(How::Message(term)) => of(EvidenceKind::Message, term.clone()),
        Some(How::Shared(term)) => of(EvidenceKind::SharedId, term.clone()),
        Some(How::LinksTo(to)) => {
            of(EvidenceKind::Link, format!("span link from {}", link_source(spans, trace, *to, forest)))
        }
        Some(How::LinkedFrom(from)) => of(
            EvidenceKind::Link,
            format!("span link to it in {}", linking_span(spans, traces, *from, trace.id)),
        ),
        None => of(EvidenceKind::SameTrace, format!("trace {}", short(trace.id))),
    };
    if let Some(wait) = trace.cause.and_then(|cause| cause.wait) {
        let taken = taken(&waits[wait]);
        match evidence.kind {
            EvidenceKind::Link => evidence.text = taken,
            _ => evidence.text = format!("{} · {taken}", evidence.text),
        }
    }
    evidence
}

/// Why a queue wait stands between two spans.
pub(crate) fn of_wait(wait: &Wait, spans: &[SpanRecord]) -> Evidence {
    let producer = &spans[wait.producer];
    let Some(consumer) = wait.consumer.map(|at| &spans[at]) else {
        let text = format!("sent by {} {}, no consumer found", producer.service, producer.name);
        return of(EvidenceKind::Message, text);
    };
    let text = match wait.tie {
        Tie::Link => format!("span link from {} {}", consumer.service, consumer.name),
        Tie::Coordinates => format!("{} named by {} and {}", wait.name, producer.service, consumer.service),
        Tie::MessageId => format!("message id named by {} and {}", producer.service, consumer.service),
        Tie::Parent => format!("{} {} is the parent", producer.service, producer.name),
    };
    of(kind_of(wait.tie), text)
}

fn of(kind: EvidenceKind, text: String) -> Evidence {
    Evidence { kind, text }
}

const fn kind_of(tie: Tie) -> EvidenceKind {
    match tie {
        Tie::Link => EvidenceKind::Link,
        Tie::Coordinates | Tie::MessageId => EvidenceKind::Message,
        Tie::Parent => EvidenceKind::SameTrace,
    }
}

fn taken(wait: &Wait) -> String {
    match wait.tie {
        Tie::Link => format!("span link from {}", wait.name),
        Tie::Coordinates | Tie::MessageId => format!("message {}", wait.name),
        Tie::Parent => format!("child of the producer to {}", wait.name),
    }
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
