//! A journey in the formats of other tools: a table for a spreadsheet, a page for a ticket, OTLP for a store.
//!
//! Owns: their escaping. Does not own: the drawn timeline, which the caller hands in. Invariant: text from
//! outside stays text: a cell never becomes a formula, a name never becomes markup.

mod csv;
mod markdown;
mod otlp;

pub use csv::csv;
pub use markdown::markdown;
pub use otlp::otlp_json;

use query_api::{Evidence, JourneyRow, RowKind};

/// The word for what a row is, as in the API.
fn kind(row: &JourneyRow) -> String {
    serde_json::to_value(row.kind).ok().and_then(|kind| Some(kind.as_str()?.to_owned())).unwrap_or_default()
}

/// All evidence of a row: `order_id=ORD-4711 (attr:order_id, certain)`.
fn why(row: &JourneyRow) -> String {
    let text = |evidence: &Evidence| match evidence.source.as_str() {
        "" => format!("{} ({})", evidence.text, evidence.certainty.text()),
        source => format!("{} ({source}, {})", evidence.text, evidence.certainty.text()),
    };
    let all: Vec<String> = row.all_evidence().map(text).collect();
    all.join(" · ")
}

/// Whether a row was recorded, and is not a heading or made from others.
fn is_record(row: &JourneyRow) -> bool {
    matches!(row.kind, RowKind::Span | RowKind::Log | RowKind::Event | RowKind::Exemplar)
}
