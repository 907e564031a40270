//! Why something belongs to a journey, as words: `order_id=ORD-4711 (attr:order_id, certain)`.

use query_api::{Certainty, Evidence, EvidenceKind, JourneyRow, JourneyTrace, RowKind};

use crate::core::line::{Line, Role, width_of};

/// What stands before the first piece of evidence.
const HERE: &str = " why here: ";

/// One piece of evidence with its source and how certain it is.
pub(crate) fn text(evidence: &Evidence) -> String {
    let certainty = evidence.certainty.text();
    let baggage = if evidence.kind == EvidenceKind::Baggage { "baggage " } else { "" };
    match evidence.source.as_str() {
        "" => format!("{baggage}{} ({certainty})", evidence.text),
        source => format!("{baggage}{} ({source}, {certainty})", evidence.text),
    }
}

/// All evidence of a trace in one line of text.
pub(crate) fn of_trace(trace: &JourneyTrace) -> String {
    let all: Vec<String> = trace.all_evidence().map(text).collect();
    all.join(" · ")
}

/// Why a row is here, in at most `lines_max` lines: its own evidence, then how its trace came in.
pub(crate) fn lines(
    row: &JourneyRow,
    trace: Option<&JourneyTrace>,
    width: usize,
    lines_max: usize,
) -> Vec<Line> {
    let mut parts: Vec<(Role, String)> = Vec::new();
    // A heading is its trace: what is said of one is said of the other.
    let is_heading = row.kind == RowKind::Trace;
    for evidence in row.all_evidence() {
        parts.push((role(evidence.certainty), text(evidence)));
    }
    if let Some(id) = row.trace_id {
        let came = trace.filter(|_| !is_heading).map(|trace| format!(", here by {}", text(&trace.evidence)));
        parts.push((Role::Dim, format!("trace {id}{}", came.unwrap_or_default())));
    }
    wrapped(parts, width, lines_max)
}

const fn role(certainty: Certainty) -> Role {
    match certainty {
        Certainty::Certain => Role::Text,
        Certainty::Likely | Certainty::Inferred => Role::Warn,
    }
}

/// The parts with dots between them; a part that does not fit begins the next line.
fn wrapped(parts: Vec<(Role, String)>, width: usize, lines_max: usize) -> Vec<Line> {
    let mut lines = vec![Line::of(Role::Dim, HERE)];
    let count = parts.len();
    for (index, (role, text)) in parts.into_iter().enumerate() {
        let Some(line) = lines.last_mut() else { break };
        let is_first = line.width() <= width_of(HERE);
        let fits = line.width() + 3 + width_of(&text) <= width;
        if is_first || fits {
            line.push(Role::Dim, if is_first { "" } else { " · " });
            line.push(role, &text);
            continue;
        }
        if lines.len() == lines_max {
            let left_out = format!(" · {} more", count - index);
            let kept = width.saturating_sub(width_of(&left_out));
            let mut cut = lines.pop().unwrap_or_default().fit(kept);
            cut.push(Role::Dim, &left_out);
            lines.push(cut);
            break;
        }
        let mut line = Line::new();
        line.gap(width_of(HERE));
        line.push(role, &text);
        lines.push(line);
    }
    lines.into_iter().map(|line| line.fit(width)).collect()
}
