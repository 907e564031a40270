//! An identity graph for Graphviz.

use std::fmt::Write as _;

use query_api::{EdgeKind, IdGraph, NodeKind};

use crate::output::clean;

/// The graph in the DOT language.
pub(super) fn draw(graph: &IdGraph) -> String {
    let mut out = String::from("graph ids {\n  node [fontname=\"sans-serif\"];\n");
    for (at, node) in graph.nodes.iter().enumerate() {
        let shape = match node.kind {
            NodeKind::Trace => "box",
            NodeKind::Span => "cds",
            NodeKind::Message => "note",
            NodeKind::Id => "ellipse",
        };
        let style = match (node.is_asked, node.not_expanded.is_some()) {
            (true, _) => "bold",
            (false, true) => "dashed",
            (false, false) => "solid",
        };
        let label = match node.name.is_empty() {
            true => node.term.to_string(),
            false => format!("{}\n{}", node.term, node.name),
        };
        writeln!(out, "  n{at} [shape={shape}, style={style}, label={}];", quoted(&label))
            .unwrap_or_default();
    }
    for edge in &graph.edges {
        let style = match edge.kind {
            EdgeKind::Link => "bold",
            EdgeKind::PartOf => "dotted",
            EdgeKind::Carries | EdgeKind::SameRecord => "solid",
        };
        let label = edge.evidence.first().map(|of| format!("{} {} ×{}", of.field, of.service, of.records));
        let label = quoted(&label.unwrap_or_default());
        writeln!(out, "  n{} -- n{} [style={style}, label={label}];", edge.from, edge.to).unwrap_or_default();
    }
    out.push_str("}\n");
    out
}

/// A text of the DOT language; lines stay lines.
fn quoted(text: &str) -> String {
    let lines: Vec<String> =
        text.lines().map(|line| clean(line).replace('\\', "\\\\").replace('"', "\\\"")).collect();
    format!("\"{}\"", lines.join("\\n"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_text_cannot_leave_its_quotes() {
        assert_eq!(quoted("a\"]; evil \\ \u{7}\nb"), "\"a\\\"]; evil \\\\ \u{fffd}\\nb\"");
    }
}
