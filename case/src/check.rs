//! What the parts of a case must hold before anything relies on it: numbers that point at rows and nodes.

use query_api::{IdGraph, Journey};

use crate::Case;

/// The section that does not hold, and why.
type Problem = (&'static str, String);

/// Checks every number that points into a list.
pub(crate) fn check(case: &Case) -> Result<(), Problem> {
    journey(&case.journey).map_err(|problem| ("journey", problem))?;
    if let Some(corrected) = &case.corrected {
        journey(corrected).map_err(|problem| ("journey_corrected", problem))?;
    }
    case.graph.as_ref().map_or(Ok(()), graph).map_err(|problem| ("graph", problem))
}

fn journey(journey: &Journey) -> Result<(), String> {
    let rows = journey.rows.len();
    let points = journey.critical_path.iter().filter_map(|segment| segment.row);
    let points = points.chain(journey.failure.as_ref().map(|failure| failure.row));
    match points.into_iter().find(|row| *row >= rows) {
        Some(row) => Err(format!("it names row {row} of {rows}")),
        None => Ok(()),
    }
}

fn graph(graph: &IdGraph) -> Result<(), String> {
    let nodes = graph.nodes.len();
    match graph.edges.iter().flat_map(|edge| [edge.from, edge.to]).find(|node| *node >= nodes) {
        Some(node) => Err(format!("it names node {node} of {nodes}")),
        None => Ok(()),
    }
}
