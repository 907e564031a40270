//! The traces of a journey: their order, and which one led to which.
//!
//! A trace stands below the trace that sent the message it consumed, else the one it links to. Shared
//! ids put no trace below another, so that a journey looks the same whichever of its ids was asked for.
//! Invariant: "stands below" has no cycle; where causes contradict each other the first found holds.

use std::collections::HashMap;

use model::{TraceId, UnixNano};

use super::forest::{Forest, Node};
use super::messages::Messages;
use super::records::{LogRecord, SpanRecord};

/// One trace of which something was received.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) id: TraceId,
    /// Its root span, or its earliest when the root was not received.
    pub(crate) root: Option<usize>,
    /// Whether a span without a parent was received.
    pub(crate) has_true_root: bool,
    /// Its spans that link to other traces.
    pub(crate) linking: Vec<usize>,
    pub(crate) first_log: Option<usize>,
    pub(crate) start: UnixNano,
    pub(crate) end: UnixNano,
    pub(crate) spans: usize,
    pub(crate) is_failed: bool,
    /// What it stands below.
    pub(crate) cause: Option<Cause>,
}

/// Why a trace stands below another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// Position of that trace.
    pub(crate) trace: usize,
    /// The span of it that led here, if one did.
    pub(crate) node: Option<Node>,
    /// The message that led here, as an index into the waits.
    pub(crate) wait: Option<usize>,
}

/// All traces, by start.
#[derive(Debug)]
pub(crate) struct Traces {
    pub(crate) all: Vec<Trace>,
    by_id: HashMap<TraceId, usize>,
}

impl Traces {
    pub(crate) fn new(spans: &[SpanRecord], logs: &[LogRecord]) -> Self {
        let mut found = Finder::default();
        for (at, span) in spans.iter().enumerate() {
            found.add_span(at, span);
        }
        for (at, log) in logs.iter().enumerate() {
            found.add_log(at, log);
        }
        let mut all = found.all;
        all.sort_by_key(|trace| (trace.start, trace.id));
        let by_id = all.iter().enumerate().map(|(at, trace)| (trace.id, at)).collect();
        Self { all, by_id }
    }

    /// Position of a trace.
    pub(crate) fn position(&self, id: TraceId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// Puts traces below what caused them. Messages decide first, links next.
    pub(crate) fn nest(&mut self, spans: &[SpanRecord], forest: &Forest, messages: &Messages) {
        let mut waits: Vec<usize> = (0..messages.waits.len()).collect();
        waits.sort_by_key(|at| messages.waits[*at].consumer);
        for at in waits {
            let wait = &messages.waits[at];
            if let Some(consumer) = wait.consumer {
                let producer = &spans[wait.producer];
                let cause = |trace| Cause { trace, node: Some(wait.producer as Node), wait: Some(at) };
                self.put_below(spans[consumer].trace_id, producer.trace_id, cause);
            }
        }
        for span in spans {
            for (trace, linked) in &span.links {
                let cause =
                    |position| Cause { trace: position, node: forest.node(*trace, *linked), wait: None };
                self.put_below(span.trace_id, *trace, cause);
            }
        }
    }

    fn put_below(&mut self, below: TraceId, above: TraceId, cause: impl Fn(usize) -> Cause) {
        let (Some(below), Some(above)) = (self.position(below), self.position(above)) else { return };
        if self.all[below].cause.is_some() || self.path_up(above).any(|trace| trace == below) {
            return;
        }
        self.all[below].cause = Some(cause(above));
    }

    /// A trace and all that it stands below.
    fn path_up(&self, from: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(from), |at| self.all[*at].cause.map(|cause| cause.trace))
    }

    /// Positions, each trace before those that stand below it, siblings by start.
    pub(crate) fn drawing_order(&self) -> Vec<usize> {
        let mut below: Vec<Vec<usize>> = vec![Vec::new(); self.all.len()];
        let mut stack = Vec::new();
        for (at, trace) in self.all.iter().enumerate().rev() {
            match trace.cause {
                Some(cause) => below[cause.trace].push(at),
                None => stack.push(at),
            }
        }
        let mut order = Vec::with_capacity(self.all.len());
        while let Some(at) = stack.pop() {
            order.push(at);
            stack.append(&mut below[at]);
        }
        order
    }
}

#[derive(Default)]
struct Finder {
    all: Vec<Trace>,
    by_id: HashMap<TraceId, usize>,
}

impl Finder {
    fn trace(&mut self, id: TraceId, start: UnixNano, end: UnixNano) -> &mut Trace {
        let at = *self.by_id.entry(id).or_insert(self.all.len());
        if at == self.all.len() {
            self.all.push(Trace {
                id,
                root: None,
                has_true_root: false,
                linking: Vec::new(),
                first_log: None,
                start,
                end,
                spans: 0,
                is_failed: false,
                cause: None,
            });
        }
        &mut self.all[at]
    }

    /// Spans come by start, before log records.
    fn add_span(&mut self, at: usize, span: &SpanRecord) {
        let is_true_root = span.parent_span_id.is_none();
        let trace = self.trace(span.trace_id, span.start, span.end());
        trace.end = trace.end.max(span.end());
        trace.spans += usize::from(!span.is_inferred());
        trace.is_failed |= span.is_error;
        if !span.links.is_empty() {
            trace.linking.push(at);
        }
        if trace.root.is_none() || (is_true_root && !trace.has_true_root) {
            trace.root = Some(at);
            trace.has_true_root = is_true_root;
        }
    }

    fn add_log(&mut self, at: usize, log: &LogRecord) {
        let Some(id) = log.trace_id else { return };
        let trace = self.trace(id, log.time, log.time);
        trace.first_log.get_or_insert(at);
        if trace.spans == 0 {
            trace.end = trace.end.max(log.time);
        }
    }
}
