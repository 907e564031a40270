//! Cases: one journey and what stood around it, in one file that opens anywhere.
//!
//! ```text
//! answers of the query API ─► Case ─► redact ─┬─► file (docs/formats/case.md) ─► Case ─► query_api::Client
//!                                             └─► csv, markdown, OTLP-JSON              the same screens, offline
//! ```
//!
//! Owns: the file's bytes, what a case answers offline, what redaction replaces, the formats for tickets. Does
//! not own: how answers are made (`query`) or fetched and drawn (`silmari`, `tui`).
//!
//! Invariants: a file that was cut, changed or made to harm is refused with a message, and reading it holds no
//! more than [`file::RAW_BYTES_MAX`]; what redaction names stands nowhere in what is written, or nothing is.

mod about;
mod answers;
mod check;
pub mod file;
pub mod formats;
pub mod redact;
#[cfg(test)]
mod samples;

pub use about::{About, MetricWindow, Redaction};
pub use answers::OfflineCase;

use query_api::boards::NamedBoard;
use query_api::{AlertsAnswer, IdGraph, Journey, ServicesAnswer, WhereAnswer};

/// One journey and what stood around it. Each part is an answer of the query API as it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What the file is.
    pub about: About,
    /// The journey, its times as they were recorded.
    pub journey: Journey,
    /// The same with corrected times, when clocks are known to be off.
    pub corrected: Option<Journey>,
    /// Which ids hang together.
    pub graph: Option<IdGraph>,
    /// How far each consumer group was.
    pub whereabouts: Option<WhereAnswer>,
    /// Rate, errors and duration of the services the journey touched, around it.
    pub services: Option<ServicesAnswer>,
    /// Rules, with the alerts of these services.
    pub alerts: Option<AlertsAnswer>,
    /// A board that shows `metrics`.
    pub board: Option<NamedBoard>,
    /// Series of these services, around the journey.
    pub metrics: Vec<MetricWindow>,
}

impl Case {
    /// Whether `id` is one by which this journey can be asked for.
    pub fn is_about(&self, id: &str) -> bool {
        let id = id.trim();
        let journey = &self.journey;
        let is_term = |term: &model::IdTerm| term.value == id || term.to_string() == id;
        let is_trace = |trace: &query_api::JourneyTrace| {
            let trace = trace.trace_id.to_string();
            trace == id || id.strip_prefix("trace_id=") == Some(&trace)
        };
        journey.id == id
            || self.about.id == id
            || journey.matched.iter().any(is_term)
            || journey.ids.iter().any(is_term)
            || journey.traces.iter().any(is_trace)
    }
}
