//! The critical path: the chain of work and waiting that the end of a journey hung on.
//!
//! ```text
//! root       █████▒▒▒▒▒▒▒▒▒▒███        walked from the end to the start: at every instant the path is in the
//!  child A       ▒▒▒▒▒                 thing that ended last before it
//!  child B        ██████████
//!   send             ▐                 edges that lead on when a span has begun:
//! wait               ╌╌╌╌╌╌            retry (back-off) › message (queue wait) › link › parent
//! consumer                 ████        and where none does, the gap up to whatever ended last
//! ```
//!
//! Invariants: the segments cover the axis from its start to its end, without overlap, so that their lengths
//! add up to the journey's duration exactly; a child that outlasts its parent is clipped, not dropped; time
//! never goes forward, every edge is followed once, and every span is left once, so that 100,000 spans in any
//! shape (chains, stars, cycles of messages) cost what sorting them costs; nothing recurses.

use std::cmp::Reverse;

/// A span, or one that was not received: of those only children are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) start: i64,
    /// Never before `start`.
    pub(crate) end: i64,
    pub(crate) is_received: bool,
}

/// A message between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    pub(crate) producer: u32,
    /// `None` while nobody has taken it.
    pub(crate) consumer: Option<u32>,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// The joined graph of a journey.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Interval>,
    /// By node; acyclic.
    pub(crate) parent: Vec<Option<u32>>,
    pub(crate) waits: Vec<Passage>,
    /// A failed try, and the try that follows it.
    pub(crate) retries: Vec<(u32, u32)>,
    /// A span, and one that links to it.
    pub(crate) links: Vec<(u32, u32)>,
}

/// What the path is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A span at work.
    Node(u32),
    /// A message waiting, as an index into the waits.
    Wait(u32),
    /// The pause before another try, as an index into the retries.
    BackOff(u32),
    /// Nothing that was recorded.
    Gap,
}

/// A stretch of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) owner: Owner,
}

#[derive(Clone, Copy)]
enum Edge {
    Retry(u32),
    Wait(u32),
    Link(u32),
}

/// The path from `start` to `end`, in the order of time.
pub(crate) fn path(graph: &Graph, start: i64, end: i64) -> Vec<Segment> {
    let mut walk = Walk::new(graph, start, end);
    walk.run();
    walk.segments.reverse();
    walk.segments
}

struct Walk<'a> {
    graph: &'a Graph,
    start: i64,
    /// Everything after it is explained.
    now: i64,
    /// Newest first.
    segments: Vec<Segment>,
    /// Children of all nodes, those of one node together, the latest end first.
    children: Vec<u32>,
    /// By node: the first child that may still have begun before `now`.
    next_child: Vec<u32>,
    end_of_children: Vec<u32>,
    /// All nodes, the latest end first.
    by_end: Vec<u32>,
    next_by_end: usize,
    /// By node: what led to it, besides its parent. Taken when it is followed.
    edges: Vec<Option<Edge>>,
    /// By node: an ancestor below which all are left; the node itself while it is not left.
    live: Vec<u32>,
    is_left: Vec<bool>,
}

impl<'a> Walk<'a> {
    fn new(graph: &'a Graph, start: i64, end: i64) -> Self {
        let nodes = graph.nodes.len();
        let latest_first = |node: &u32| {
            let it = graph.nodes[*node as usize];
            (Reverse(it.end), it.start, *node)
        };
        let mut by_end: Vec<u32> = (0..nodes as u32).collect();
        by_end.sort_unstable_by_key(latest_first);
        let mut begins = vec![0u32; nodes + 1];
        for parent in graph.parent.iter().flatten() {
            begins[*parent as usize + 1] += 1;
        }
        for node in 0..nodes {
            begins[node + 1] += begins[node];
        }
        let mut children = vec![0; begins.last().copied().unwrap_or(0) as usize];
        let mut next = begins.clone();
        for node in &by_end {
            if let Some(parent) = graph.parent[*node as usize] {
                let slot = &mut next[parent as usize];
                children[*slot as usize] = *node;
                *slot += 1;
            }
        }
        Self {
            graph,
            start,
            now: end,
            segments: Vec::new(),
            children,
            next_child: begins[..nodes].to_vec(),
            end_of_children: begins[1..].to_vec(),
            by_end,
            next_by_end: 0,
            edges: edges(graph),
            live: (0..nodes as u32).collect(),
            is_left: vec![false; nodes],
        }
    }

    fn run(&mut self) {
        let mut at = self.first();
        while let Some(node) = at {
            at = match self.child(node) {
                Some(child) => {
                    let end = self.graph.nodes[child as usize].end;
                    self.work(node, end);
                    Some(child)
                }
                None => self.leave(node),
            };
        }
        self.emit(self.start, Owner::Gap);
    }

    /// Where the path ends: in a message that nobody has taken, if nothing ended later, else in the last span.
    fn first(&mut self) -> Option<u32> {
        let waits = self.graph.waits.iter().enumerate().filter(|(_, wait)| wait.consumer.is_none());
        let open = waits.min_by_key(|(at, wait)| (Reverse(wait.end), wait.start, *at));
        let last = self.by_end.first().map(|node| self.graph.nodes[*node as usize].end);
        match open {
            Some((at, wait)) if last.is_none_or(|last| last <= wait.end) => {
                self.emit(wait.end, Owner::Gap);
                self.emit(wait.start, Owner::Wait(at as u32));
                Some(wait.producer)
            }
            _ => self.latest(),
        }
    }

    /// The child that ended last among those that began before now.
    fn child(&mut self, node: u32) -> Option<u32> {
        let node = node as usize;
        while self.next_child[node] < self.end_of_children[node] {
            let child = self.children[self.next_child[node] as usize];
            if self.graph.nodes[child as usize].start < self.now {
                return Some(child);
            }
            self.next_child[node] += 1;
        }
        None
    }

    /// What ended last among all that began before now; up to it nothing is known.
    fn latest(&mut self) -> Option<u32> {
        loop {
            let node = *self.by_end.get(self.next_by_end)?;
            let it = self.graph.nodes[node as usize];
            if it.start < self.now {
                self.emit(it.end, Owner::Gap);
                return Some(node);
            }
            self.next_by_end += 1;
        }
    }

    /// From a span that has begun to what led to it.
    fn leave(&mut self, node: u32) -> Option<u32> {
        let it = self.graph.nodes[node as usize];
        self.work(node, it.start);
        self.is_left[node as usize] = true;
        match self.edges[node as usize].take() {
            Some(Edge::Retry(at)) if self.is_next_try(at) => {
                let failed = self.graph.retries[at as usize].0;
                self.emit(self.graph.nodes[failed as usize].end, Owner::BackOff(at));
                Some(failed)
            }
            Some(Edge::Wait(at)) => {
                let wait = self.graph.waits[at as usize];
                self.emit(wait.start, Owner::Wait(at));
                Some(wait.producer)
            }
            Some(Edge::Link(at)) => {
                let cause = self.graph.links[at as usize].0;
                self.emit(self.graph.nodes[cause as usize].end, Owner::Gap);
                Some(cause)
            }
            _ => self.live_ancestor(node).or_else(|| self.latest()),
        }
    }

    /// Whether nothing else below their parent went on between two tries.
    fn is_next_try(&mut self, retry: u32) -> bool {
        let (failed, again) = self.graph.retries[retry as usize];
        match (self.graph.parent[failed as usize], self.graph.parent[again as usize]) {
            (Some(parent), Some(other)) if parent == other => self.child(parent) == Some(failed),
            _ => true,
        }
    }

    /// The nearest ancestor that is not left.
    fn live_ancestor(&mut self, node: u32) -> Option<u32> {
        let mut at = node;
        let mut passed = Vec::new();
        let found = loop {
            if !self.is_left[at as usize] {
                break Some(at);
            }
            passed.push(at);
            // What is passed once is passed in one step afterwards.
            let next = self.live[at as usize];
            match (next == at, self.graph.parent[at as usize]) {
                (false, _) => at = next,
                (true, Some(parent)) => at = parent,
                (true, None) => break None,
            }
        };
        let target = found.or_else(|| passed.last().copied());
        if let Some(target) = target {
            passed.iter().for_each(|node| self.live[*node as usize] = target);
        }
        found
    }

    /// The time down to `from` belongs to a span as far as the span reaches.
    fn work(&mut self, node: u32, from: i64) {
        let it = self.graph.nodes[node as usize];
        let owner = if it.is_received { Owner::Node(node) } else { Owner::Gap };
        self.emit(it.end.max(from), Owner::Gap);
        self.emit(it.start.max(from), owner);
        self.emit(from, Owner::Gap);
    }

    /// The time from `from` up to now belongs to `owner`.
    fn emit(&mut self, from: i64, owner: Owner) {
        let from = from.max(self.start);
        if from >= self.now {
            return;
        }
        match self.segments.last_mut() {
            Some(last) if last.owner == owner => last.start = from,
            _ => self.segments.push(Segment { start: from, end: self.now, owner }),
        }
        self.now = from;
    }
}

/// By node: the surest thing that led to it. The first of a kind holds.
fn edges(graph: &Graph) -> Vec<Option<Edge>> {
    let mut edges = vec![None; graph.nodes.len()];
    for (at, (_, again)) in (0..).zip(&graph.retries) {
        edges[*again as usize].get_or_insert(Edge::Retry(at));
    }
    for (at, wait) in (0..).zip(&graph.waits) {
        if let Some(consumer) = wait.consumer {
            edges[consumer as usize].get_or_insert(Edge::Wait(at));
        }
    }
    for (at, (_, effect)) in (0..).zip(&graph.links) {
        edges[*effect as usize].get_or_insert(Edge::Link(at));
    }
    edges
}

#[cfg(test)]
mod tests;
