//! Drawing the graph of what a closure found.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use model::ids::MESSAGE_KINDS;
use model::{IdRules, IdTerm, SpanId, TimeRange, TraceId, UnixNano};
use query_api::{Cut, EdgeEvidence, EdgeKind, IdEdge, IdGraph, IdNode, NodeKind, QueryStats, RecordRef};

use super::GraphLimits;
use super::fields::Fields;
use crate::journey::closure::Closure;
use crate::journey::cuts::{Refusal, RefusedId};
use crate::journey::records::{LogRecord, SpanRecord};

/// Services and fields that are told of one edge.
const EVIDENCE_MAX: usize = 20;
/// Bytes of a sample's name.
const NAME_BYTES_MAX: usize = 160;
/// The field of what stands in a link.
const LINK_FIELD: &str = "span link";

/// The graph of a closure; question, range and costs are for the caller to fill in.
pub(super) fn draw(closure: Closure, rules: &IdRules, limits: &GraphLimits) -> IdGraph {
    let mut drawing = Drawing::new(limits.nodes);
    for term in &closure.matched {
        drawing.node(term.clone());
    }
    let asked = drawing.nodes.len();
    for span in &closure.spans {
        drawing.node(IdTerm::trace(span.trace_id));
    }
    let mut fields = Fields::new(rules);
    let of_span = |span: &SpanRecord| (span.trace_id, span.span_id);
    let received: Received<'_> = closure.spans.iter().map(|span| (of_span(span), span)).collect();
    for span in &closure.spans {
        fields.read_span(span);
        drawing.add_span(span, &fields, &received);
    }
    for log in &closure.logs {
        fields.read_log(log);
        drawing.add_log(log, &fields, &closure);
    }
    drawing.refuse(&closure.refused);
    drawing.finish(closure, asked)
}

/// The spans that are there, by trace and span id.
type Received<'a> = HashMap<(TraceId, SpanId), &'a SpanRecord>;
type EdgeKey = (usize, usize, EdgeKind);
/// Service, field, signal.
type WitnessKey = (String, String, &'static str);

#[derive(Default)]
struct Drawing {
    nodes_max: usize,
    nodes: Vec<IdNode>,
    services: Vec<BTreeSet<String>>,
    by_text: HashMap<String, usize>,
    edges: BTreeMap<EdgeKey, BTreeMap<WitnessKey, EdgeEvidence>>,
    left_out: BTreeSet<String>,
    more_evidence: usize,
    /// Traces whose name is that of their root.
    rooted: BTreeSet<usize>,
}

/// A record as evidence.
struct Witness<'a> {
    service: &'a str,
    field: &'a str,
    signal: &'static str,
    sample: RecordRef,
}

impl Drawing {
    fn new(nodes_max: usize) -> Self {
        Self { nodes_max, ..Self::default() }
    }

    fn node(&mut self, term: IdTerm) -> Option<usize> {
        let text = term.to_string();
        if let Some(at) = self.by_text.get(&text) {
            return Some(*at);
        }
        if self.nodes.len() >= self.nodes_max {
            self.left_out.insert(text);
            return None;
        }
        let kind = if term.trace_id().is_some() {
            NodeKind::Trace
        } else if term.link_target().is_some() {
            NodeKind::Span
        } else if MESSAGE_KINDS.contains(&term.kind.as_str()) {
            NodeKind::Message
        } else {
            NodeKind::Id
        };
        let at = self.nodes.len();
        self.by_text.insert(text, at);
        self.services.push(BTreeSet::new());
        self.nodes.push(IdNode {
            term,
            kind,
            is_asked: false,
            distance: usize::MAX,
            not_expanded: None,
            name: String::new(),
            services: Vec::new(),
            spans: 0,
            logs: 0,
            first_time: UnixNano(i64::MAX),
            last_time: UnixNano(i64::MIN),
        });
        Some(at)
    }

    fn id(&mut self, text: &str) -> Option<usize> {
        self.node(text.parse().ok()?)
    }

    /// Counts a record of a node.
    fn touch(&mut self, at: usize, service: &str, time: UnixNano, is_span: bool) {
        if !self.services[at].contains(service) {
            self.services[at].insert(service.to_owned());
        }
        let node = &mut self.nodes[at];
        node.first_time = node.first_time.min(time);
        node.last_time = node.last_time.max(time);
        node.spans += usize::from(is_span);
        node.logs += usize::from(!is_span);
    }

    fn join(&mut self, key: EdgeKey, witness: &Witness<'_>) {
        let edge = self.edges.entry(key).or_default();
        let of = (witness.service.to_owned(), witness.field.to_owned(), witness.signal);
        let time = witness.sample.time;
        if let Some(known) = edge.get_mut(&of) {
            known.records += 1;
            known.last_time = known.last_time.max(time);
            if time < known.first_time {
                known.first_time = time;
                known.sample = witness.sample.clone();
            }
            return;
        }
        if edge.len() == EVIDENCE_MAX {
            self.more_evidence += 1;
            return;
        }
        let evidence = EdgeEvidence {
            service: witness.service.to_owned(),
            field: witness.field.to_owned(),
            signal: witness.signal.to_owned(),
            records: 1,
            first_time: time,
            last_time: time,
            sample: witness.sample.clone(),
        };
        edge.insert(of, evidence);
    }

    fn add_span(&mut self, span: &SpanRecord, fields: &Fields<'_>, received: &Received<'_>) {
        let Some(trace) = self.node(IdTerm::trace(span.trace_id)) else { return };
        self.touch(trace, &span.service, span.start, true);
        self.name_trace(trace, span);
        let sample = RecordRef {
            trace_id: Some(span.trace_id),
            span_id: Some(span.span_id),
            time: span.start,
            name: cut(&span.name),
        };
        let mut witness = Witness { service: &span.service, field: "", signal: "span", sample };
        for text in &span.ids {
            let Some(id) = self.id(text) else { continue };
            witness.field = fields.of(text);
            self.touch(id, &span.service, span.start, true);
            self.join((trace, id, EdgeKind::Carries), &witness);
        }
        witness.field = LINK_FIELD;
        for (to, to_span) in &span.links {
            let Some(target) = self.node(IdTerm::link(*to, *to_span)) else { continue };
            self.touch(target, &span.service, span.start, true);
            self.join((trace, target, EdgeKind::Link), &witness);
            self.place_linked_span(target, (*to, *to_span), received);
        }
    }

    /// The trace that a linked span is in, when the span was received.
    fn place_linked_span(&mut self, target: usize, at: (TraceId, SpanId), received: &Received<'_>) {
        let Some(own) = received.get(&at) else {
            let reason = || "the linked span is not in the graph".to_owned();
            self.nodes[target].not_expanded.get_or_insert_with(reason);
            return;
        };
        let Some(home) = self.node(IdTerm::trace(own.trace_id)) else { return };
        if self.edges.contains_key(&(target, home, EdgeKind::PartOf)) {
            return;
        }
        self.nodes[target].name = format!("{} {}", own.service, own.name);
        let sample = RecordRef {
            trace_id: Some(own.trace_id),
            span_id: Some(own.span_id),
            time: own.start,
            name: cut(&own.name),
        };
        let witness = Witness { service: &own.service, field: "", signal: "span", sample };
        self.join((target, home, EdgeKind::PartOf), &witness);
    }

    fn name_trace(&mut self, at: usize, span: &SpanRecord) {
        let is_root = span.parent_span_id.is_none();
        let is_named = !self.nodes[at].name.is_empty();
        if !is_named || (is_root && !self.rooted.contains(&at)) {
            self.nodes[at].name = format!("{} {}", span.service, span.name);
        }
        if is_root {
            self.rooted.insert(at);
        }
    }

    fn add_log(&mut self, log: &LogRecord, fields: &Fields<'_>, closure: &Closure) {
        let name = if log.event_name.is_empty() { &log.body } else { &log.event_name };
        let sample =
            RecordRef { trace_id: log.trace_id, span_id: log.span_id, time: log.time, name: cut(name) };
        let mut witness = Witness { service: &log.service, field: "", signal: "log", sample };
        // A record without a trace hangs on the id by which it was found.
        let by = match log.trace_id {
            Some(trace) => self.node(IdTerm::trace(trace)).map(|at| (at, EdgeKind::Carries)),
            None => {
                let followed = log.ids.iter().find(|id| closure.followed.contains(id.as_str()));
                followed.and_then(|id| self.id(id)).map(|at| (at, EdgeKind::SameRecord))
            }
        };
        let Some((from, kind)) = by else { return };
        self.touch(from, &log.service, log.time, false);
        for text in &log.ids {
            let Some(id) = self.id(text).filter(|id| *id != from) else { continue };
            witness.field = fields.of(text);
            self.touch(id, &log.service, log.time, false);
            self.join((from, id, kind), &witness);
        }
    }

    fn refuse(&mut self, refused: &[RefusedId]) {
        for RefusedId { text, why, count } in refused {
            let Some(at) = self.by_text.get(text) else { continue };
            let kind = text.split_once('=').map_or("", |(kind, _)| kind);
            let reason = match why {
                Refusal::DoesNotJoin => format!("{kind} does not join (link: false)"),
                Refusal::UnknownKind => format!("{kind} is no configured kind"),
                Refusal::TooManyTraces => format!("hangs on {count} traces"),
                // It was searched; the cut says what it left out.
                Refusal::TooOld => continue,
            };
            self.nodes[*at].not_expanded = Some(reason);
        }
    }

    fn finish(mut self, closure: Closure, asked: usize) -> IdGraph {
        for node in &mut self.nodes[..asked] {
            node.is_asked = true;
            node.not_expanded = None;
        }
        let edges = self.edges.into_iter().map(|((from, to, kind), witnesses)| {
            let mut evidence: Vec<EdgeEvidence> = witnesses.into_values().collect();
            evidence.sort_by(|a, b| b.records.cmp(&a.records).then(a.first_time.cmp(&b.first_time)));
            IdEdge { from, to, kind, evidence }
        });
        let edges: Vec<IdEdge> = edges.collect();
        measure(&mut self.nodes, &edges, asked);
        for (node, services) in self.nodes.iter_mut().zip(self.services) {
            node.services = services.into_iter().collect();
            if node.first_time > node.last_time {
                (node.first_time, node.last_time) = (UnixNano(0), UnixNano(0));
            }
        }
        let mut cuts: Vec<Cut> = closure.cuts.into_iter().map(as_parameter).collect();
        let (left_out, nodes_max) = (self.left_out.len(), self.nodes_max);
        if left_out > 0 {
            cuts.push(Cut {
                what: format!("{left_out} ids are not drawn; the graph has {nodes_max} nodes at most"),
                limit: "nodes".to_owned(),
                hint: Some(format!("raise `nodes` (--nodes, {} at most)", GraphLimits::NODES_MAX)),
            });
        }
        if self.more_evidence > 0 {
            cuts.push(Cut {
                what: format!("{} records say the same in further services or fields", self.more_evidence),
                limit: "evidence".to_owned(),
                hint: None,
            });
        }
        IdGraph {
            id: String::new(),
            matched: closure.matched,
            range: TimeRange::ALL,
            nodes: self.nodes,
            edges,
            cuts,
            stats: QueryStats::default(),
        }
    }
}

/// Edges from what was asked for, breadth first.
fn measure(nodes: &mut [IdNode], edges: &[IdEdge], asked: usize) {
    let mut neighbours: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for edge in edges {
        neighbours[edge.from].push(edge.to);
        neighbours[edge.to].push(edge.from);
    }
    let mut queue: VecDeque<usize> = (0..asked).collect();
    nodes[..asked].iter_mut().for_each(|node| node.distance = 0);
    while let Some(at) = queue.pop_front() {
        for next in &neighbours[at] {
            if nodes[*next].distance == usize::MAX {
                nodes[*next].distance = nodes[at].distance + 1;
                queue.push_back(*next);
            }
        }
    }
    // What hangs on nothing drawn stands last.
    let last = nodes.iter().map(|node| node.distance).filter(|distance| *distance != usize::MAX).max();
    let last = last.map_or(0, |last| last + 1);
    nodes.iter_mut().filter(|node| node.distance == usize::MAX).for_each(|node| node.distance = last);
}

/// Limits under the names that a graph's parameters have.
fn as_parameter(cut: Cut) -> Cut {
    let (limit, hint) = match cut.limit.as_str() {
        "traces" => (
            "nodes",
            format!("raise `nodes` (--nodes, {} at most): half of them are traces", GraphLimits::NODES_MAX),
        ),
        "spans" | "logs" => ("rows", format!("raise `rows` (--rows, {} at most)", GraphLimits::ROWS_MAX)),
        "hops" => ("hops", format!("raise `hops` (--hops, {} at most)", crate::journey::Limits::HOPS_MAX)),
        limit if limit.ends_with(".max_fanout") => {
            let hint = format!("raise `degree` (--degree), or {limit}, or ask for that id itself");
            return Cut { hint: Some(hint), ..cut };
        }
        _ => return cut,
    };
    Cut { limit: limit.to_owned(), hint: Some(hint), ..cut }
}

fn cut(name: &str) -> String {
    name[..name.floor_char_boundary(NAME_BYTES_MAX)].to_owned()
}
