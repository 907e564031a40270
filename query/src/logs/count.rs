//! Counts matching records by field values: what `lang: logs` alert rules are evaluated on.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use model::TimeRange;
use storage::rows::LogRows;
use storage::{OutOfMemory, Snapshot};
use thiserror::Error;

use super::record::level;
use super::visit_matches;
use crate::limits::Cancel;
use crate::reads::MEMORY_HINT;
use crate::search::Query;

/// Groups one count may have.
pub const GROUPS_MAX: usize = 10_000;

/// The labels of a group and how many records are in it.
pub type GroupCount = (BTreeMap<String, String>, u64);

/// Why there are no counts.
#[derive(Debug, Error)]
pub enum CountError {
    /// The store cannot be read.
    #[error("the store could not be read: {0}")]
    Store(#[from] storage::Error),
    /// The fields have too many different values.
    #[error("more than {GROUPS_MAX} groups by {0}: group by fields with fewer values")]
    Groups(String),
    /// There is not enough memory.
    #[error("{0}: {MEMORY_HINT}")]
    Memory(OutOfMemory),
}

/// Bytes of a group beside the text of its values, with the labels that it becomes.
const GROUP_BYTES: usize = 256;

/// The number of records within `range` that match, for each combination of the values of `by`. A field
/// that a record does not have is left out of its labels. Without `by` there is one group without
/// labels, also when its count is 0.
///
/// Fields are `service`, `level` (or `severity`), `resource.KEY`, and any attribute or id kind.
///
/// # Errors
/// See [`CountError`].
pub fn count(
    snapshot: &Snapshot,
    query: &Query,
    by: &[String],
    range: TimeRange,
    cancel: &Cancel,
) -> Result<Vec<GroupCount>, CountError> {
    let mut groups: HashMap<Vec<String>, u64> = HashMap::new();
    let (mut is_too_many, held) = (false, snapshot.held());
    let mut key = vec![String::new(); by.len()];
    let columns: Vec<&str> = by.iter().flat_map(|field| columns_of(field)).copied().collect();
    visit_matches(snapshot, query, range, &columns, cancel, &mut |found| {
        if by.is_empty() {
            *groups.entry(Vec::new()).or_default() += found.matching.len() as u64;
            return ControlFlow::Continue(());
        }
        for row in found.matching {
            for (value, field) in key.iter_mut().zip(by) {
                value.clear();
                value.push_str(field_value(found.rows, *row, field));
            }
            if let Some(count) = groups.get_mut(&key) {
                *count += 1;
            } else if groups.len() < GROUPS_MAX {
                if held.grow(2 * key.iter().map(String::len).sum::<usize>() + GROUP_BYTES).is_err() {
                    return ControlFlow::Break(());
                }
                groups.insert(key.clone(), 1);
            } else {
                is_too_many = true;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(refusal) = held.refusal() {
        return Err(CountError::Memory(refusal));
    }
    if is_too_many {
        return Err(CountError::Groups(by.join(", ")));
    }
    if by.is_empty() && groups.is_empty() {
        groups.insert(Vec::new(), 0);
    }
    let labels = |key: Vec<String>| {
        let pairs = by.iter().cloned().zip(key);
        pairs.filter(|(_, value)| !value.is_empty()).collect::<BTreeMap<_, _>>()
    };
    let mut counts: Vec<_> = groups.into_iter().map(|(key, count)| (labels(key), count)).collect();
    counts.sort();
    Ok(counts)
}

/// The columns in which [`field_value`] looks.
fn columns_of(field: &str) -> &'static [&'static str] {
    match field {
        "service" | "service.name" => &["service"],
        "level" | "severity" => &["severity_number", "severity_text"],
        _ if field.starts_with("resource.") => &["resource_attributes"],
        _ => &["attributes", "ids", "resource_attributes"],
    }
}

/// The value a record has for a field; empty when it has none.
fn field_value<'a>(rows: &LogRows<'a>, row: usize, field: &str) -> &'a str {
    match field {
        "service" | "service.name" => return rows.service(row),
        "level" | "severity" => return level(rows.severity_number(row), rows.severity_text(row)),
        _ => {}
    }
    let value_of = |mut pairs: Box<dyn Iterator<Item = (&'a str, &'a str)> + '_>, key: &str| {
        pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    if let Some(key) = field.strip_prefix("resource.") {
        return value_of(Box::new(rows.resource_attributes(row)), key).unwrap_or("");
    }
    let id = || rows.ids(row).find_map(|id| id.strip_prefix(field)?.strip_prefix('='));
    value_of(Box::new(rows.attributes(row)), field)
        .or_else(id)
        .or_else(|| value_of(Box::new(rows.resource_attributes(row)), field))
        .unwrap_or("")
}
