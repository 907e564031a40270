//! An identity graph as a tree of text: every node below the one through which it was first reached.
//!
//! ```text
//! order_id=ORD-4711   asked · 12 spans, 5 logs of checkout, billing, nginx
//! ├─ trace 7f3a2b9c… gateway POST /checkout   61 spans, 148 logs · attr:order.id checkout ×3
//! │  ├─ user_id=u-7   not expanded: user_id does not join (link: false) · attr:user.id gateway ×1
//! │  └─ link …/00f067aa (checkout send orders)
//! │     └─ trace c41d… billing process orders   span link billing ×1
//! ```

use std::collections::VecDeque;
use std::fmt::Write as _;

use query_api::{IdEdge, IdGraph, IdNode, NodeKind};

use crate::output::clean;

/// Evidence told of one edge.
const EVIDENCE_SHOWN: usize = 3;

/// Draws the tree, lines cut at `width`.
pub(super) fn draw(graph: &IdGraph, width: usize) -> String {
    let forest = Forest::new(graph);
    let mut out = String::new();
    let mut stack: Vec<(usize, String, Side)> = Vec::new();
    for root in forest.roots.iter().rev() {
        stack.push((*root, String::new(), Side::Root));
    }
    while let Some((at, indent, side)) = stack.pop() {
        let (own, below) = match side {
            Side::Root => (String::new(), String::new()),
            Side::Middle => (format!("{indent}├─ "), format!("{indent}│  ")),
            Side::Last => (format!("{indent}└─ "), format!("{indent}   ")),
        };
        push_line(&mut out, &format!("{own}{}", forest.describe(graph, at, width)), width);
        let children = &forest.children[at];
        for (number, child) in children.iter().enumerate().rev() {
            let side = if number + 1 == children.len() { Side::Last } else { Side::Middle };
            stack.push((*child, below.clone(), side));
        }
    }
    for cut in &graph.cuts {
        let hint = cut.hint.as_ref().map(|hint| format!(" — {hint}")).unwrap_or_default();
        writeln!(out, "cut: {} [{}]{}", clean(&cut.what), cut.limit, clean(&hint)).unwrap_or_default();
    }
    out
}

enum Side {
    Root,
    Middle,
    Last,
}

struct Forest {
    roots: Vec<usize>,
    children: Vec<Vec<usize>>,
    /// The edge by which a node was reached.
    by: Vec<Option<usize>>,
    /// Edges of a node that are not drawn.
    others: Vec<usize>,
}

impl Forest {
    /// Breadth first from what was asked for, so that everything stands as near to it as it is.
    fn new(graph: &IdGraph) -> Self {
        let count = graph.nodes.len();
        let mut neighbours: Vec<Vec<(usize, usize)>> = vec![Vec::new(); count];
        for (number, edge) in graph.edges.iter().enumerate() {
            neighbours[edge.from].push((edge.to, number));
            neighbours[edge.to].push((edge.from, number));
        }
        let mut forest = Self {
            roots: Vec::new(),
            children: vec![Vec::new(); count],
            by: vec![None; count],
            others: vec![0; count],
        };
        let mut is_seen = vec![false; count];
        let mut queue = VecDeque::new();
        let asked = (0..count).filter(|at| graph.nodes[*at].is_asked);
        for root in asked.chain(0..count).collect::<Vec<_>>() {
            if std::mem::replace(&mut is_seen[root], true) {
                continue;
            }
            forest.roots.push(root);
            queue.push_back(root);
            while let Some(at) = queue.pop_front() {
                neighbours[at]
                    .sort_by_key(|(next, _)| (rank(&graph.nodes[*next]), graph.nodes[*next].first_time));
                for (next, edge) in &neighbours[at] {
                    if std::mem::replace(&mut is_seen[*next], true) {
                        continue;
                    }
                    forest.by[*next] = Some(*edge);
                    forest.children[at].push(*next);
                    queue.push_back(*next);
                }
            }
        }
        for (at, around) in neighbours.iter().enumerate() {
            let drawn = forest.children[at].len() + usize::from(forest.by[at].is_some());
            forest.others[at] = around.len() - drawn;
        }
        forest
    }

    fn describe(&self, graph: &IdGraph, at: usize, width: usize) -> String {
        let node = &graph.nodes[at];
        let mut parts = vec![counts(node)];
        if node.is_asked {
            parts.insert(0, "asked".to_owned());
        }
        if let Some(reason) = &node.not_expanded {
            parts.insert(0, format!("not expanded: {}", clean(reason)));
        }
        if let Some(edge) = self.by[at] {
            parts.push(evidence(&graph.edges[edge]));
        }
        if self.others[at] > 0 {
            let more = self.others[at];
            parts.push(format!("and {more} more {}", if more == 1 { "edge" } else { "edges" }));
        }
        parts.retain(|part| !part.is_empty());
        format!("{}   {}", name(node, width), parts.join(" · "))
    }
}

/// Traces stand before ids, what leads on before what does not.
fn rank(node: &IdNode) -> u8 {
    match (node.kind, node.not_expanded.is_some()) {
        (_, true) => 3,
        (NodeKind::Trace | NodeKind::Span, _) => 0,
        (NodeKind::Message, _) => 1,
        (NodeKind::Id, _) => 2,
    }
}

/// Narrower than this, ids of traces and spans are cut to what tells them apart, so that the evidence has room.
const WHOLE_IDS_FROM: usize = 140;
/// Digits that tell the traces of a graph apart.
const SHORT_ID: usize = 8;

fn name(node: &IdNode, width: usize) -> String {
    let value = clean(&node.term.value);
    let short = |id: &str| id.chars().take(SHORT_ID).collect::<String>();
    let value = match node.kind {
        NodeKind::Trace | NodeKind::Span if width < WHOLE_IDS_FROM => {
            value.split('/').map(short).collect::<Vec<_>>().join("/")
        }
        _ => value,
    };
    let named = clean(&node.name);
    match node.kind {
        NodeKind::Trace => format!("trace {value} {named}").trim_end().to_owned(),
        NodeKind::Span if named.is_empty() => format!("span {value}"),
        NodeKind::Span => format!("span {value} {named}"),
        NodeKind::Id | NodeKind::Message => clean(&node.term.to_string()),
    }
}

fn counts(node: &IdNode) -> String {
    let count = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        count => Some(format!("{count} {what}s")),
    };
    let parts: Vec<String> =
        [count(node.spans, "span"), count(node.logs, "log")].into_iter().flatten().collect();
    if node.kind == NodeKind::Span {
        return String::new();
    }
    let services = match node.services.as_slice() {
        [] => String::new(),
        [one] => format!(" of {}", clean(one)),
        [one, two] => format!(" of {}, {}", clean(one), clean(two)),
        [one, two, rest @ ..] => {
            let more = if rest.len() == 1 { "service" } else { "services" };
            format!(" of {}, {} and {} more {more}", clean(one), clean(two), rest.len())
        }
    };
    format!("{}{services}", parts.join(", "))
}

fn evidence(edge: &IdEdge) -> String {
    let told = edge.evidence.iter().take(EVIDENCE_SHOWN).map(|of| {
        let field = if of.field.is_empty() { "" } else { &of.field };
        format!("{} {} ×{}", clean(field), clean(&of.service), of.records).trim_start().to_owned()
    });
    let mut text = told.collect::<Vec<_>>().join(", ");
    if edge.evidence.len() > EVIDENCE_SHOWN {
        write!(text, " and {} more", edge.evidence.len() - EVIDENCE_SHOWN).unwrap_or_default();
    }
    match edge.evidence.first() {
        Some(first) => format!("{text}, first {}", clock(first)),
        None => text,
    }
}

/// Hours, minutes, seconds and milliseconds of the first record.
fn clock(of: &query_api::EdgeEvidence) -> String {
    let text = of.first_time.to_string();
    text.get(11..23).unwrap_or(&text).to_owned()
}

fn push_line(out: &mut String, line: &str, width: usize) {
    let mut used = 0;
    for (at, c) in line.char_indices() {
        used += unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
        if used > width {
            let kept = line[..at].char_indices().next_back().map_or(0, |(at, _)| at);
            out.push_str(&line[..kept]);
            out.push_str("…\n");
            return;
        }
    }
    out.push_str(line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(term: &str, kind: &str, more: serde_json::Value) -> serde_json::Value {
        let time = "2026-11-24T10:00:00Z";
        let mut node = json!({ "term": term, "kind": kind, "is_asked": false, "distance": 1, "services": ["a"],
            "spans": 1, "logs": 0, "first_time": time, "last_time": time });
        for (key, value) in more.as_object().into_iter().flatten() {
            node[key] = value.clone();
        }
        node
    }

    #[test]
    fn every_node_stands_once_below_the_nearest_one_and_control_signs_never_get_out() {
        let time = "2026-11-24T10:00:00.5Z";
        let evidence = json!([{ "service": "a", "field": "attr:order.id", "signal": "span", "records": 2,
            "first_time": time, "last_time": time, "sample": { "time": time, "name": "x" } }]);
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let graph: IdGraph = serde_json::from_value(json!({
            "id": "ORD-1", "matched": ["order_id=ORD-1"],
            "range": { "from": time, "to": time },
            "nodes": [
                node("order_id=ORD-1", "id", json!({ "is_asked": true, "distance": 0 })),
                node(&format!("trace_id={trace}"), "trace", json!({ "name": "web \u{1b}[31mPOST", "logs": 3 })),
                node("user_id=u", "id", json!({ "not_expanded": "user_id does not join (link: false)" })),
            ],
            "edges": [
                { "from": 1, "to": 0, "kind": "carries", "evidence": evidence },
                { "from": 1, "to": 2, "kind": "carries", "evidence": evidence },
                { "from": 0, "to": 2, "kind": "same_record", "evidence": evidence },
            ],
            "cuts": [{ "what": "cut at 200 traces", "limit": "nodes", "hint": "raise `nodes`" }],
            "stats": { "rows_scanned": 0, "segments_read": 0, "segments_pruned": 0, "head_rows": 0, "elapsed_nano": 0 },
        }))
        .expect("a graph");
        let expected = "\
order_id=ORD-1   asked · 1 span of a
├─ trace 0af7651916cd43dd8448eb211c80319c web \u{fffd}[31mPOST   1 span, 3 logs of a · attr:order.id a ×2, first 10:00:00.500 · and 1 more edge
└─ user_id=u   not expanded: user_id does not join (link: false) · 1 span of a · attr:order.id a ×2, first 10:00:00.500 · and 1 more edge
cut: cut at 200 traces [nodes] — raise `nodes`
";
        assert_eq!(draw(&graph, 400), expected);
        assert!(draw(&graph, 100).contains("├─ trace 0af76519 web"), "short where there is little room");
        assert!(draw(&graph, 40).lines().take(3).all(|line| line.chars().count() <= 40));
    }
}
