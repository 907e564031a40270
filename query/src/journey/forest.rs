//! The parents of spans and log records: one tree or more for each trace.
//!
//! ```text
//! nodes   0 … spans-1        spans, in the order of the closure (by start)
//!         spans … nodes-1    spans that others name as parent and that were not received
//! ```
//!
//! Invariants: following parents always ends (a cycle is broken at its earliest span); a parent is in
//! the same trace; nothing here is quadratic or recursive.

use std::collections::HashMap;

use model::{SpanId, TraceId, UnixNano};

use super::records::{LogRecord, SpanRecord};

/// A node: a span or a missing span.
pub(crate) type Node = u32;

/// A span that was not received. Its times enclose what names it as parent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Missing {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) start: UnixNano,
    pub(crate) end: UnixNano,
    /// Known when log records of it were received.
    pub(crate) service: String,
}

/// Who stands under whom.
pub(crate) struct Forest {
    pub(crate) missing: Vec<Missing>,
    /// By node.
    pub(crate) parent: Vec<Option<Node>>,
    /// By log record: the span it was written in.
    pub(crate) log_parent: Vec<Option<Node>>,
    /// All nodes, parents before children.
    pub(crate) order: Vec<Node>,
    by_id: HashMap<(TraceId, SpanId), Node>,
}

impl Forest {
    /// Finds the parents. `spans` are sorted by start.
    pub(crate) fn new(spans: &[SpanRecord], logs: &[LogRecord]) -> Self {
        let mut planter = Planter::new(spans);
        let span_parents: Vec<_> = (0..).zip(spans).map(|(node, span)| planter.parent(node, span)).collect();
        let log_parent = logs.iter().map(|log| planter.log_parent(log)).collect();

        let mut parent = span_parents;
        parent.resize(spans.len() + planter.missing.len(), None);
        break_cycles(&mut parent);
        let order = by_depth(&depths(&parent));
        Self { missing: planter.missing, parent, log_parent, order, by_id: planter.by_id }
    }

    /// The received or missing span of this id; the earliest when several share it.
    pub(crate) fn node(&self, trace: TraceId, span: SpanId) -> Option<Node> {
        self.by_id.get(&(trace, span)).copied()
    }
}

struct Planter {
    by_id: HashMap<(TraceId, SpanId), Node>,
    missing: Vec<Missing>,
    spans: usize,
}

impl Planter {
    fn new(spans: &[SpanRecord]) -> Self {
        let mut by_id = HashMap::with_capacity(spans.len());
        for (node, span) in (0..).zip(spans) {
            by_id.entry((span.trace_id, span.span_id)).or_insert(node);
        }
        Self { by_id, missing: Vec::new(), spans: spans.len() }
    }

    fn parent(&mut self, node: Node, span: &SpanRecord) -> Option<Node> {
        let parent = self.find(span.trace_id, span.parent_span_id?, span.start, span.end(), "");
        (parent != node).then_some(parent)
    }

    fn log_parent(&mut self, log: &LogRecord) -> Option<Node> {
        let (trace, span) = log.written_in()?;
        Some(self.find(trace, span, log.time, log.time, &log.service))
    }

    /// The span of this id; a missing one is made to enclose `start` to `end`.
    fn find(&mut self, trace: TraceId, span: SpanId, start: UnixNano, end: UnixNano, service: &str) -> Node {
        let next = (self.spans + self.missing.len()) as Node;
        let node = *self.by_id.entry((trace, span)).or_insert(next);
        if node == next {
            let service = service.to_owned();
            self.missing.push(Missing { trace_id: trace, span_id: span, start, end, service });
        } else if let Some(at) = (node as usize).checked_sub(self.spans) {
            let missing = &mut self.missing[at];
            missing.start = missing.start.min(start);
            missing.end = missing.end.max(end);
            if missing.service.is_empty() {
                service.clone_into(&mut missing.service);
            }
        }
        node
    }
}

/// Cuts every cycle above its earliest node.
fn break_cycles(parent: &mut [Option<Node>]) {
    const NEW: u32 = 0;
    let mut walk_of = vec![NEW; parent.len()];
    for start in 0..parent.len() {
        let walk = start as u32 + 1;
        let mut at = start;
        loop {
            if walk_of[at] != NEW {
                if walk_of[at] == walk {
                    cut_cycle(parent, at);
                }
                break;
            }
            walk_of[at] = walk;
            match parent[at] {
                Some(up) => at = up as usize,
                None => break,
            }
        }
    }
}

fn cut_cycle(parent: &mut [Option<Node>], inside: usize) {
    let mut earliest = inside;
    let mut at = inside;
    while let Some(up) = parent[at] {
        at = up as usize;
        earliest = earliest.min(at);
        if at == inside {
            break;
        }
    }
    parent[earliest] = None;
}

fn depths(parent: &[Option<Node>]) -> Vec<u32> {
    const UNKNOWN: u32 = u32::MAX;
    let mut depth = vec![UNKNOWN; parent.len()];
    let mut path = Vec::new();
    for start in 0..parent.len() {
        let mut at = start;
        let mut known = loop {
            if depth[at] != UNKNOWN {
                break depth[at] + 1;
            }
            path.push(at);
            match parent[at] {
                Some(up) => at = up as usize,
                None => break 0,
            }
        };
        while let Some(node) = path.pop() {
            depth[node] = known;
            known += 1;
        }
    }
    depth
}

/// All nodes by depth: a counting sort, so that a long chain costs no more than a wide tree.
fn by_depth(depth: &[u32]) -> Vec<Node> {
    let levels = depth.iter().max().map_or(0, |deepest| *deepest as usize + 1);
    let mut next = vec![0usize; levels + 1];
    depth.iter().for_each(|level| next[*level as usize + 1] += 1);
    for level in 1..=levels {
        next[level] += next[level - 1];
    }
    let mut order = vec![0; depth.len()];
    for (node, level) in (0..).zip(depth) {
        let slot = &mut next[*level as usize];
        order[*slot] = node;
        *slot += 1;
    }
    order
}
