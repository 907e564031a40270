//! Where things stand in the timeline: what is below which span, above which trace, beside them all.
//!
//! ```text
//! slots   0 … traces-1            the top of each trace
//!         traces … traces+nodes   each span or missing span
//! ```
//!
//! Invariant: one sort places everything; each span, log record, wait, pause, exemplar and shown event is placed once.

use std::collections::HashMap;
use std::ops::Range;

use model::{TraceId, UnixNano};

use super::forest::Node;
use super::rows::Material;

/// Something below a span, a missing span, or the top of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Item {
    /// Slot of the parent, see [`Items`].
    parent: u32,
    time: UnixNano,
    pub(crate) what: What,
}

/// In the order in which things of one instant are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Event {
        span: u32,
        number: u32,
    },
    Log(u32),
    Exemplar(u32),
    /// A message, just before its consumer.
    Wait {
        before: Node,
        wait: u32,
    },
    Open {
        wait: u32,
    },
    /// The pause before a try, just before that.
    BackOff {
        before: Node,
        retry: u32,
    },
    Node(Node),
}

impl Item {
    /// Waits and nodes of one instant: each wait directly before its consumer, each pause before its try.
    fn key(&self) -> (u32, UnixNano, u8, Node, u8, What) {
        let (rank, node, second) = match self.what {
            What::Event { .. } => (0, 0, 0),
            What::Log(_) | What::Exemplar(_) => (1, 0, 0),
            What::Wait { before, .. } | What::BackOff { before, .. } => (2, before, 0),
            What::Node(node) => (2, node, 1),
            What::Open { .. } => (3, 0, 0),
        };
        (self.parent, self.time, rank, node, second, self.what)
    }
}

/// All items, sorted by parent: first the top of each trace, then each node.
pub(crate) struct Items {
    pub(crate) sorted: Vec<Item>,
    /// By slot: where its items begin; one more at the end.
    begins: Vec<u32>,
    pub(crate) traces: usize,
    /// By trace: messages drawn above its heading.
    pub(crate) above: Vec<Vec<u32>>,
    /// By trace: pauses drawn above its heading, below the messages.
    pub(crate) pauses_above: Vec<Vec<u32>>,
    /// Log records without a trace, by time.
    pub(crate) beside: Vec<u32>,
}

impl Items {
    /// Places everything; also how many span events are beyond the limit.
    pub(crate) fn new(material: &Material<'_>) -> (Self, usize) {
        let traces = material.traces.all.len();
        let above = vec![Vec::new(); traces];
        let pauses_above = vec![Vec::new(); traces];
        let (sorted, begins, beside) = (Vec::new(), Vec::new(), Vec::new());
        let mut items = Self { sorted, begins, traces, above, pauses_above, beside };
        items.add_nodes(material);
        items.add_logs(material);
        items.add_waits(material);
        items.add_pauses(material);
        items.add_exemplars(material);
        let left_out = items.add_events(material);
        items.sorted.sort_unstable_by_key(Item::key);
        items.index(traces + material.forest.parent.len());
        (items, left_out)
    }

    fn add(&mut self, parent: u32, time: UnixNano, what: What) {
        self.sorted.push(Item { parent, time, what });
    }

    fn slot(&self, material: &Material<'_>, parent: Option<Node>, trace: TraceId) -> u32 {
        match parent {
            Some(node) => self.traces as u32 + node,
            None => material.traces.position(trace).expect("every row's trace is known") as u32,
        }
    }

    fn add_nodes(&mut self, material: &Material<'_>) {
        for (node, parent) in (0u32..).zip(&material.forest.parent) {
            let (trace, time) = match material.spans.get(node as usize) {
                Some(span) => (span.trace_id, span.start),
                None => {
                    let missing = &material.forest.missing[node as usize - material.spans.len()];
                    (missing.trace_id, missing.start)
                }
            };
            self.add(self.slot(material, *parent, trace), time, What::Node(node));
        }
    }

    fn add_logs(&mut self, material: &Material<'_>) {
        for (at, log) in (0u32..).zip(&material.logs) {
            match log.drawn_in() {
                Some(trace) => {
                    let parent = material.forest.log_parent[at as usize];
                    self.add(self.slot(material, parent, trace), log.time, What::Log(at));
                }
                None => self.beside.push(at),
            }
        }
    }

    /// A wait stands before its consumer, above the heading when the consumer is at the top of another
    /// trace; an open wait stands below its producer.
    fn add_waits(&mut self, material: &Material<'_>) {
        for (number, wait) in (0u32..).zip(&material.messages.waits) {
            let Some(consumer) = wait.consumer else {
                self.add(self.traces as u32 + wait.producer as u32, wait.start, What::Open { wait: number });
                continue;
            };
            let span = &material.spans[consumer];
            let parent = material.forest.parent[consumer];
            let is_received = parent.is_some_and(|node| (node as usize) < material.spans.len());
            if !is_received && span.trace_id != material.spans[wait.producer].trace_id {
                let trace = material.traces.position(span.trace_id).expect("every span's trace is known");
                self.above[trace].push(number);
            } else {
                let what = What::Wait { before: consumer as Node, wait: number };
                self.add(self.slot(material, parent, span.trace_id), span.start, what);
            }
        }
        for above in &mut self.above {
            above.sort_by_key(|wait| (material.messages.waits[*wait as usize].start, *wait));
        }
    }

    /// A pause stands before its try, above the heading when the try is at the top of another trace than the
    /// one that failed.
    fn add_pauses(&mut self, material: &Material<'_>) {
        for (number, retry) in (0u32..).zip(material.retries) {
            if retry.back_off_nano(&material.spans) == 0 {
                continue;
            }
            let again = &material.spans[retry.again];
            let parent = material.forest.parent[retry.again];
            if again.trace_id == material.spans[retry.failed].trace_id {
                let what = What::BackOff { before: retry.again as Node, retry: number };
                self.add(self.slot(material, parent, again.trace_id), again.start, what);
            } else {
                let trace = material.traces.position(again.trace_id).expect("every span's trace is known");
                self.pauses_above[trace].push(number);
            }
        }
    }

    /// A measurement stands below the span in which it was taken, or at the top of its trace.
    fn add_exemplars(&mut self, material: &Material<'_>) {
        if material.exemplars.is_empty() {
            return;
        }
        let spans = (0 as Node..).zip(&material.spans);
        let nodes: HashMap<_, _> = spans.map(|(node, span)| ((span.trace_id, span.span_id), node)).collect();
        for (at, exemplar) in (0u32..).zip(&material.exemplars) {
            let node = exemplar.span_id.and_then(|span| nodes.get(&(exemplar.trace_id, span)).copied());
            self.add(self.slot(material, node, exemplar.trace_id), exemplar.time, What::Exemplar(at));
        }
    }

    fn add_events(&mut self, material: &Material<'_>) -> usize {
        let mut room = material.events_max;
        let mut left_out = 0;
        for (at, span) in (0u32..).zip(&material.spans) {
            let shown = span.events.len().min(room);
            room -= shown;
            left_out += span.events.len() - shown;
            for (number, event) in (0u32..).zip(&span.events[..shown]) {
                self.add(self.traces as u32 + at, event.time, What::Event { span: at, number });
            }
        }
        left_out
    }

    fn index(&mut self, slots: usize) {
        self.begins = vec![0; slots + 1];
        for item in &self.sorted {
            self.begins[item.parent as usize + 1] += 1;
        }
        for slot in 0..slots {
            self.begins[slot + 1] += self.begins[slot];
        }
    }

    /// What stands directly below a slot.
    pub(crate) fn below(&self, slot: usize) -> Range<usize> {
        self.begins[slot] as usize..self.begins[slot + 1] as usize
    }
}
