//! The critical path over small graphs drawn by hand, and over random ones.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn node(start: i64, end: i64) -> Interval {
    Interval { start, end, is_received: true }
}

/// `parents` names parents by their number; -1 is none.
fn graph(nodes: &[(i64, i64, i64)]) -> Graph {
    Graph {
        nodes: nodes.iter().map(|(start, end, _)| node(*start, *end)).collect(),
        parent: nodes.iter().map(|(.., parent)| u32::try_from(*parent).ok()).collect(),
        ..Graph::default()
    }
}

/// The path as `0:10 1:25 gap:5 …`: who, and how long.
fn outline(graph: &Graph, start: i64, end: i64) -> String {
    let name = |owner| match owner {
        Owner::Node(node) => node.to_string(),
        Owner::Wait(wait) => format!("wait{wait}"),
        Owner::BackOff(retry) => format!("pause{retry}"),
        Owner::Gap => "gap".to_owned(),
    };
    let path = path(graph, start, end);
    let parts = path.iter().map(|segment| format!("{}:{}", name(segment.owner), segment.end - segment.start));
    parts.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_parent_is_on_the_path_where_it_waits_for_no_child() {
    assert_eq!(
        outline(&graph(&[(0, 100, -1), (10, 40, 0), (50, 90, 0)]), 0, 100),
        "0:10 1:30 0:10 2:40 0:10"
    );
}

#[test]
fn of_children_side_by_side_the_one_that_ends_last_is_on_the_path() {
    assert_eq!(outline(&graph(&[(0, 100, -1), (10, 80, 0), (20, 95, 0)]), 0, 100), "0:10 1:10 2:75 0:5");
    let ends_with_its_parent = graph(&[(0, 100, -1), (10, 100, 0)]);
    assert_eq!(outline(&ends_with_its_parent, 0, 100), "0:10 1:90", "an end at the same instant counts");
}

#[test]
fn a_child_that_outlasts_its_parent_is_clipped_where_something_later_takes_over() {
    let fire_and_forget = graph(&[(0, 100, -1), (5, 30, 0), (20, 60, 1), (70, 95, 0)]);
    assert_eq!(outline(&fire_and_forget, 0, 100), "0:5 1:15 2:10 0:40 3:25 0:5");
    let to_the_end = graph(&[(0, 50, -1), (20, 80, 0)]);
    assert_eq!(outline(&to_the_end, 0, 80), "0:20 1:60");
}

#[test]
fn a_message_leads_from_its_consumer_over_the_wait_to_its_producer() {
    let mut graph = graph(&[(0, 30, -1), (20, 25, 0), (60, 90, -1)]);
    graph.waits = vec![Passage { producer: 1, consumer: Some(2), start: 25, end: 60 }];
    assert_eq!(outline(&graph, 0, 90), "0:20 1:5 wait0:35 2:30");
}

#[test]
fn a_message_that_nobody_has_taken_is_the_end_of_the_path() {
    let mut graph = graph(&[(0, 30, -1), (20, 25, 0)]);
    graph.waits = vec![Passage { producer: 1, consumer: None, start: 25, end: 500 }];
    assert_eq!(outline(&graph, 0, 500), "0:20 1:5 wait0:475");
}

#[test]
fn the_pause_before_a_retry_is_back_off_unless_something_else_went_on() {
    let mut graph = graph(&[(0, 100, -1), (10, 30, 0), (70, 90, 0)]);
    graph.retries = vec![(1, 2)];
    assert_eq!(outline(&graph, 0, 100), "0:10 1:20 pause0:40 2:20 0:10");
    graph.nodes.push(node(40, 60));
    graph.parent.push(Some(0));
    assert_eq!(outline(&graph, 0, 100), "0:10 1:20 0:10 3:20 0:10 2:20 0:10");
}

#[test]
fn what_nothing_explains_is_a_gap() {
    assert_eq!(outline(&graph(&[(10, 20, -1), (30, 40, -1)]), 0, 50), "gap:10 0:10 gap:10 1:10 gap:10");
    assert_eq!(outline(&Graph::default(), 3, 9), "gap:6");
    assert_eq!(outline(&Graph::default(), 3, 3), "");
    let mut missing = graph(&[(0, 40, -1), (10, 20, 0)]);
    missing.nodes[0].is_received = false;
    assert_eq!(outline(&missing, 0, 40), "gap:10 1:10 gap:20", "what was not received explains nothing");
}

#[test]
fn a_child_before_its_parent_and_one_after_it_leave_gaps_and_no_loops() {
    assert_eq!(outline(&graph(&[(50, 60, -1), (10, 20, 0)]), 10, 60), "1:10 gap:30 0:10");
    assert_eq!(outline(&graph(&[(0, 10, -1), (30, 40, 0)]), 0, 40), "0:10 gap:20 1:10");
}

#[test]
fn a_hundred_thousand_spans_in_any_shape_take_one_pass() {
    let many = 100_000;
    let chain: Vec<_> = (0..many).map(|at| (at, 2 * many - at, at - 1)).collect();
    let star: Vec<_> = (0..many).map(|at| (at, at + 1, if at == 0 { -1 } else { 0 })).collect();
    let instant: Vec<_> = (0..many).map(|at| (0, 0, at - 1)).collect();
    for nodes in [chain, star, instant] {
        let mut graph = graph(&nodes);
        // Messages from everywhere to the deepest, all at once.
        let last = many as u32 - 1;
        graph.waits =
            (0..last).map(|at| Passage { producer: last, consumer: Some(at), start: 0, end: 0 }).collect();
        let length: i64 = path(&graph, 0, 2 * many).iter().map(|it| it.end - it.start).sum();
        assert_eq!(length, 2 * many);
    }
}

fn any_graph() -> impl Strategy<Value = Graph> {
    let nodes = vec((-5..40i64, 0..30i64, any::<bool>(), 0..12usize, any::<bool>()), 0..16);
    let pairs = || vec((0..16usize, 0..16usize), 0..6);
    (nodes, pairs(), pairs(), pairs()).prop_map(|(nodes, waits, retries, links)| {
        let many = nodes.len();
        let interval = |(start, length, is_received, ..): &(i64, i64, bool, usize, bool)| Interval {
            start: *start,
            end: start + length,
            is_received: *is_received || length % 4 > 0,
        };
        let mut graph = Graph { nodes: nodes.iter().map(interval).collect(), ..Graph::default() };
        // A parent has a smaller number, so that there are no cycles.
        let parent = |(at, node): (usize, &(i64, i64, bool, usize, bool))| {
            (node.4 && at > 0).then(|| (node.3 % at.max(1)) as u32)
        };
        graph.parent = nodes.iter().enumerate().map(parent).collect();
        let real = |pairs: Vec<(usize, usize)>| {
            pairs.into_iter().filter(move |(a, b)| *a < many && *b < many && a != b)
        };
        let passage = |(a, b): (usize, usize)| {
            let start = graph.nodes[a].end;
            let consumer = (b % 5 > 0).then_some(b as u32);
            Passage { producer: a as u32, consumer, start, end: graph.nodes[b].start.max(start) }
        };
        graph.waits = real(waits).map(passage).collect();
        let is_after = |(a, b): &(usize, usize)| graph.nodes[*b].start >= graph.nodes[*a].end;
        graph.retries = real(retries).filter(is_after).map(|(a, b)| (a as u32, b as u32)).collect();
        graph.links = real(links).map(|(a, b)| (a as u32, b as u32)).collect();
        graph
    })
}

proptest! {
    #[test]
    fn the_path_covers_the_axis_and_every_stretch_lies_in_its_owner(graph in any_graph()) {
        let (start, end) = (-5, 80);
        let path = path(&graph, start, end);
        let mut now = start;
        for (at, segment) in path.iter().enumerate() {
            prop_assert_eq!(segment.start, now, "no hole before {}", at);
            prop_assert!(segment.end > segment.start);
            now = segment.end;
            let (from, to) = match segment.owner {
                Owner::Node(node) => {
                    let it = graph.nodes[node as usize];
                    prop_assert!(it.is_received);
                    (it.start, it.end)
                }
                Owner::Wait(wait) => (graph.waits[wait as usize].start, graph.waits[wait as usize].end),
                Owner::BackOff(retry) => {
                    let (failed, again) = graph.retries[retry as usize];
                    (graph.nodes[failed as usize].end, graph.nodes[again as usize].start)
                }
                Owner::Gap => (start, end),
            };
            prop_assert!(from <= segment.start && segment.end <= to, "{:?} in {}..{}", segment, from, to);
        }
        prop_assert_eq!(now, end);
    }

    #[test]
    fn a_gap_is_where_no_span_is_or_where_edges_lead_past_it(graph in any_graph()) {
        // Without edges and missing spans the path leaves no tree before it is explained: a gap is empty of
        // spans.
        let nodes = graph.nodes.into_iter().map(|node| Interval { is_received: true, ..node }).collect();
        let parent = vec![None; graph.parent.len()];
        let plain = Graph { nodes, parent, ..Graph::default() };
        for gap in path(&plain, -5, 80).iter().filter(|segment| segment.owner == Owner::Gap) {
            for node in plain.nodes.iter().filter(|node| node.start < node.end) {
                prop_assert!(node.end <= gap.start || gap.end <= node.start, "{:?} in {:?}", node, gap);
            }
        }
    }
}
