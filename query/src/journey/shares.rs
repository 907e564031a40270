//! What the critical path took from each span, wait and retry, and the path as the API tells it.
//!
//! Owns: the graph of a journey for `critical`, and what its path means. Invariant: the shares and the gap add
//! up to the length of the axis exactly.

use std::collections::HashMap;

use model::{TimeRange, UnixNano};
use query_api::{PathSegment, TimeClass, TimeSpent};

use super::critical::{self, Graph, Interval, Owner, Passage, Segment};
use super::forest::Forest;
use super::messages::Messages;
use super::records::SpanRecord;
use super::retries::Retry;
use super::rows::Drawing;
use super::traces::Traces;

/// Who got how much of the axis.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// By span.
    pub(crate) spans: Vec<i64>,
    /// By wait.
    pub(crate) waits: Vec<i64>,
    /// By retry.
    pub(crate) retries: Vec<i64>,
    segments: Vec<Named>,
}

/// A stretch of the path, and in what it went.
#[derive(Debug)]
struct Named {
    segment: Segment,
    class: TimeClass,
    label: String,
}

/// Divides the axis.
pub(crate) fn divide(
    spans: &[SpanRecord],
    forest: &Forest,
    messages: &Messages,
    retries: &[Retry],
    traces: &Traces,
    axis: TimeRange,
) -> Shares {
    let graph = graph(spans, forest, messages, retries, traces);
    let segments = critical::path(&graph, axis.from.0, axis.to.0);
    let mut shares = Shares {
        spans: vec![0; spans.len()],
        waits: vec![0; messages.waits.len()],
        retries: vec![0; retries.len()],
        segments: Vec::with_capacity(segments.len()),
    };
    for segment in segments {
        let length = segment.end - segment.start;
        let (class, label) = match segment.owner {
            Owner::Node(node) => {
                shares.spans[node as usize] += length;
                let class = match spans[node as usize].is_inferred() {
                    true => TimeClass::Inferred,
                    false => TimeClass::SelfTime,
                };
                (class, spans[node as usize].service.to_string())
            }
            Owner::Wait(wait) => {
                shares.waits[wait as usize] += length;
                (TimeClass::QueueWait, messages.waits[wait as usize].destination.clone())
            }
            Owner::BackOff(retry) => {
                shares.retries[retry as usize] += length;
                (TimeClass::BackOff, spans[retries[retry as usize].again].service.to_string())
            }
            Owner::Gap => (TimeClass::Gap, String::new()),
        };
        shares.segments.push(Named { segment, class, label });
    }
    shares
}

fn graph(
    spans: &[SpanRecord],
    forest: &Forest,
    messages: &Messages,
    retries: &[Retry],
    traces: &Traces,
) -> Graph {
    let received =
        spans.iter().map(|span| Interval { start: span.start.0, end: span.end().0, is_received: true });
    let missing = forest.missing.iter().map(|missing| Interval {
        start: missing.start.0,
        end: missing.end.0.max(missing.start.0),
        is_received: false,
    });
    let wait = |wait: &super::messages::Wait| Passage {
        producer: wait.producer as u32,
        consumer: wait.consumer.map(|at| at as u32),
        start: wait.start.0,
        end: wait.start.plus(wait.duration_nano).0,
    };
    let of_trace = traces.all.iter().filter_map(|trace| {
        let (cause, root) = (trace.cause?, trace.root?);
        (forest.parent[root].is_none()).then_some((cause.node?, root as u32))
    });
    Graph {
        nodes: received.chain(missing).collect(),
        parent: forest.parent.clone(),
        waits: messages.waits.iter().map(wait).collect(),
        retries: retries.iter().map(|retry| (retry.failed as u32, retry.again as u32)).collect(),
        links: of_trace.collect(),
    }
}

impl Shares {
    /// Where the time went, largest first.
    pub(crate) fn time_spent(&self) -> Vec<TimeSpent> {
        let mut by_label: HashMap<(TimeClass, &str), i64> = HashMap::new();
        for Named { segment, class, label } in &self.segments {
            *by_label.entry((*class, label)).or_default() += segment.end - segment.start;
        }
        let mut spent: Vec<TimeSpent> = by_label
            .into_iter()
            .map(|((class, label), duration_nano)| TimeSpent {
                class,
                label: label.to_owned(),
                duration_nano,
            })
            .collect();
        spent.sort_by(|a, b| {
            b.duration_nano.cmp(&a.duration_nano).then_with(|| (a.class, &a.label).cmp(&(b.class, &b.label)))
        });
        spent
    }

    /// The path with the rows it goes through.
    pub(crate) fn path(self, drawing: &Drawing) -> Vec<PathSegment> {
        let row = |owner: Owner| match owner {
            Owner::Node(node) => Some(drawing.row_of_span[node as usize]),
            Owner::Wait(wait) => Some(drawing.row_of_wait[wait as usize]),
            Owner::BackOff(retry) => Some(drawing.row_of_retry[retry as usize]),
            Owner::Gap => None,
        };
        let shown = |named: Named| PathSegment {
            start_time: UnixNano(named.segment.start),
            duration_nano: named.segment.end - named.segment.start,
            class: named.class,
            label: named.label,
            row: row(named.segment.owner),
        };
        self.segments.into_iter().map(shown).collect()
    }
}
