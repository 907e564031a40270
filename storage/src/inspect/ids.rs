//! The identity index from outside: is it whole, does it point into the file, does it find what is there.

use std::collections::BTreeMap;
use std::path::Path;

use super::stats::IdKindStats;
use crate::error::Error;
use crate::index::{IdIndex, Sought};

/// The terms of one row.
pub(super) struct Sample {
    pub(super) row: u64,
    pub(super) terms: Vec<String>,
}

/// What a check did and found.
#[derive(Default)]
pub(super) struct Checked {
    /// Groups of rows that terms lead to.
    pub(super) postings: u64,
    pub(super) looked_up: u64,
    pub(super) problems: Vec<String>,
}

/// Sampled ids that are named; more are counted.
const TOLD_MAX: usize = 3;

pub(super) fn check(dir: &Path, rows: u64, samples: &[Sample]) -> Checked {
    let mut checked = Checked::default();
    if let Err(error) = check_index(dir, rows, samples, &mut checked) {
        checked.problems.push(error.to_string());
    }
    checked
}

fn check_index(dir: &Path, rows: u64, samples: &[Sample], checked: &mut Checked) -> Result<(), Error> {
    let index = IdIndex::open(dir)?;
    let whole = index.check()?;
    checked.postings = whole.postings;
    if whole.rows != rows {
        checked.problems.push(format!("it is of {} rows, the file has {rows}", whole.rows));
    }
    let mut missed = Vec::new();
    let mut count = 0;
    for sample in samples {
        for term in &sample.terms {
            checked.looked_up += 1;
            let (ranges, _) = index.lookup(&[Sought::new(term)], usize::MAX)?;
            if !ranges.iter().any(|range| range.contains(&(sample.row as usize))) {
                count += 1;
                if missed.len() < TOLD_MAX {
                    missed.push(format!("row {} by `{term}`", sample.row));
                }
            }
        }
    }
    if count > 0 {
        let (told, of) = (missed.join(", "), checked.looked_up);
        checked.problems.push(format!("{count} of {of} sampled ids do not lead to their rows: {told}"));
    }
    Ok(())
}

/// Adds an index to the numbers of its kinds.
pub(super) fn measure(dir: &Path, kinds: &mut BTreeMap<String, IdKindStats>) -> Result<(), String> {
    let index = IdIndex::open(dir).map_err(|error| error.to_string())?;
    for size in index.kinds().map_err(|error| error.to_string())? {
        let kind = size.name;
        let stats = kinds.entry(kind.clone()).or_insert(IdKindStats { kind, ..IdKindStats::default() });
        stats.terms += size.values;
        stats.groups += size.postings;
        stats.bytes += size.bytes;
    }
    Ok(())
}
