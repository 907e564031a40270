//! Where the time went: every instant of a journey belongs to one thing.
//!
//! ```text
//! span a   ████████████                      an instant belongs to the deepest span active at it,
//! span b      ████                           else to a queue wait that is open at it,
//! wait              ╌╌╌╌╌╌╌                  else to the gap
//! span c                      ███
//!          aaabbbbaaaaa╌╌╌╌╌  ccc            between two neighbouring starts or ends nothing changes
//! ```
//!
//! Invariant: the shares add up to the length of the axis exactly.

use std::collections::BinaryHeap;

use model::SpanId;

/// Something that went on for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) start: i64,
    /// First instant after it. Nothing at all when not after `start`.
    pub(crate) end: i64,
    /// Depth in the joined tree; the deeper one wins.
    pub(crate) depth: u32,
    /// Decides between spans of one depth and start.
    pub(crate) span_id: SpanId,
}

/// Who got how much of the axis.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    /// By span.
    pub(crate) spans: Vec<i64>,
    /// By wait.
    pub(crate) waits: Vec<i64>,
    pub(crate) gap: i64,
}

/// Divides the axis from `start` to `end`.
pub(crate) fn divide(spans: &[Interval], waits: &[Interval], start: i64, end: i64) -> Shares {
    let mut shares = Shares { spans: vec![0; spans.len()], waits: vec![0; waits.len()], gap: 0 };
    let (mut span_sweep, mut wait_sweep) = (Sweep::new(spans), Sweep::new(waits));
    let mut edges: Vec<i64> = spans.iter().chain(waits).flat_map(|it| [it.start, it.end]).collect();
    edges.extend([start, end]);
    edges.retain(|edge| start <= *edge && *edge <= end);
    edges.sort_unstable();
    edges.dedup();
    for pair in edges.windows(2) {
        let length = pair[1] - pair[0];
        let (span, wait) = (span_sweep.innermost(pair[0]), wait_sweep.innermost(pair[0]));
        match (span, wait) {
            (Some(span), _) => shares.spans[span] += length,
            (None, Some(wait)) => shares.waits[wait] += length,
            (None, None) => shares.gap += length,
        }
    }
    shares
}

/// Goes through intervals by start and knows the innermost one that is active.
struct Sweep<'a> {
    intervals: &'a [Interval],
    by_start: Vec<usize>,
    begun: usize,
    /// Deepest first, then latest start, then span id; ended ones are removed when they come up.
    active: BinaryHeap<(u32, i64, SpanId, usize)>,
}

impl<'a> Sweep<'a> {
    fn new(intervals: &'a [Interval]) -> Self {
        let mut by_start: Vec<usize> = (0..intervals.len()).collect();
        by_start.sort_by_key(|at| intervals[*at].start);
        Self { intervals, by_start, begun: 0, active: BinaryHeap::new() }
    }

    /// The innermost interval that is active at `now`, which never goes back.
    fn innermost(&mut self, now: i64) -> Option<usize> {
        while let Some(at) =
            self.by_start.get(self.begun).copied().filter(|at| self.intervals[*at].start <= now)
        {
            let it = self.intervals[at];
            self.active.push((it.depth, it.start, it.span_id, at));
            self.begun += 1;
        }
        while let Some((.., at)) = self.active.peek() {
            if self.intervals[*at].end > now {
                return Some(*at);
            }
            self.active.pop();
        }
        None
    }
}
