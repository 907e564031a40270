//! Redaction: values that rules name are replaced by pseudonyms, in every text of a case.
//!
//! ```text
//! case ─► JSON of every part ─► collect: what attributes, id kinds, patterns name ─► values
//!                            └► scrub: each value, wherever it stands ─► pseudonym ─► look again ─► case
//! ```
//!
//! Owns: what is found and replaced. Does not own: the file. Invariants: a value that was found in one place is
//! replaced in all, whatever its case and also percent-encoded or escaped; equal values have equal pseudonyms,
//! and what they were cannot be told from a pseudonym without the key, which is written nowhere; when a value
//! is still there in the end nothing is given.

mod pseudonym;
mod rules;
mod scrub;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

pub use pseudonym::Key;
pub use rules::Rules;

use crate::{Case, Redaction};
use scrub::{Finder, Scrubber};

/// Why nothing was redacted, and so nothing may be written.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RedactError {
    /// Not all ids are known.
    #[error(
        "the journey has more ids than it lists, so those of kind {kinds} cannot all be redacted: narrow the time range"
    )]
    IdsCut {
        /// The id kinds that rules name.
        kinds: String,
    },
    /// A value is still there.
    #[error(
        "a value that {rule} found still stands in {part}: nothing was written; leave that rule out or report this"
    )]
    Left {
        /// The rule that named it.
        rule: String,
        /// The part of the case.
        part: String,
    },
    /// A part is not what it was any more.
    #[error("the {part} of the case could not be redacted: {problem}")]
    Part {
        /// The part of the case.
        part: String,
        /// What is wrong.
        problem: String,
    },
}

/// The parts of a case, in the order of [`Case`].
const PARTS: [&str; 9] =
    ["about", "journey", "corrected", "graph", "whereabouts", "services", "alerts", "board", "metrics"];

/// Replaces what `rules` find, by pseudonyms of `key`.
///
/// # Errors
/// See [`RedactError`]; the case must then not be written.
pub fn redact(case: &Case, rules: &Rules, key: &Key) -> Result<Case, RedactError> {
    let are_ids_cut = case.journey.cuts.iter().any(|cut| cut.limit == "ids");
    if are_ids_cut && !rules.id_kinds().is_empty() {
        return Err(RedactError::IdsCut { kinds: rules.id_kinds().join(", ") });
    }
    let mut parts = to_values(case)?;
    let mut finder = Finder::new(rules);
    parts.iter().for_each(|part| finder.look(part));
    let scrubber = Scrubber::new(rules, finder.into_found(), key);
    for part in &mut parts {
        scrubber.scrub(part);
    }
    for (name, part) in PARTS.iter().zip(&parts) {
        if let Some(rule) = scrubber.left(part) {
            return Err(RedactError::Left { rule, part: (*name).to_owned() });
        }
    }
    let mut redacted = from_values(parts)?;
    redacted.about.redaction = Some(Redaction { values: scrubber.values(), rules: scrubber.rules() });
    Ok(redacted)
}

fn to_values(case: &Case) -> Result<Vec<Value>, RedactError> {
    fn value<T: Serialize>(part: &str, content: &T) -> Result<Value, RedactError> {
        let problem = |error: serde_json::Error| RedactError::Part {
            part: part.to_owned(),
            problem: error.to_string(),
        };
        serde_json::to_value(content).map_err(problem)
    }
    let [about, journey, corrected, graph, whereabouts, services, alerts, board, metrics] = PARTS;
    Ok(vec![
        value(about, &case.about)?,
        value(journey, &case.journey)?,
        value(corrected, &case.corrected)?,
        value(graph, &case.graph)?,
        value(whereabouts, &case.whereabouts)?,
        value(services, &case.services)?,
        value(alerts, &case.alerts)?,
        value(board, &case.board)?,
        value(metrics, &case.metrics)?,
    ])
}

fn from_values(parts: Vec<Value>) -> Result<Case, RedactError> {
    fn content<T: DeserializeOwned>(
        parts: &mut impl Iterator<Item = (&'static str, Value)>,
    ) -> Result<T, RedactError> {
        let (part, value) = parts.next().unwrap_or(("case", Value::Null));
        let problem = |error: serde_json::Error| RedactError::Part {
            part: part.to_owned(),
            problem: error.to_string(),
        };
        serde_json::from_value(value).map_err(problem)
    }
    let mut parts = PARTS.into_iter().zip(parts);
    Ok(Case {
        about: content(&mut parts)?,
        journey: content(&mut parts)?,
        corrected: content(&mut parts)?,
        graph: content(&mut parts)?,
        whereabouts: content(&mut parts)?,
        services: content(&mut parts)?,
        alerts: content(&mut parts)?,
        board: content(&mut parts)?,
        metrics: content(&mut parts)?,
    })
}
