//! The identity index from outside: is it whole, does it point into the file, does it find what is there.

use std::collections::BTreeMap;
use std::path::Path;

use model::ids::TRACE_ID;
use tantivy::schema::Field;
use tantivy::{Index, Searcher};

use super::stats::IdKindStats;
use crate::index::{IdIndex, Sought, files};

/// The terms of one row.
pub(super) struct Sample {
    pub(super) row: u64,
    pub(super) terms: Vec<String>,
}

/// What a check did and found.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) groups: u64,
    pub(super) looked_up: u64,
    pub(super) problems: Vec<String>,
}

/// Findings of one kind that are told apart; more are counted.
const TOLD_MAX: usize = 3;

pub(super) fn check(dir: &Path, rows: u64, samples: &[Sample]) -> Checked {
    let mut checked = Checked::default();
    if let Err(problem) = check_ranges(dir, rows, &mut checked) {
        checked.problems.push(problem);
        return checked;
    }
    match IdIndex::open(dir) {
        Ok(index) => look_up(&index, samples, &mut checked),
        Err(error) => checked.problems.push(error.to_string()),
    }
    checked
}

/// Checksums of the files, and every range within the file.
fn check_ranges(dir: &Path, rows: u64, checked: &mut Checked) -> Result<(), String> {
    files::check(dir)?;
    let (_, searcher) = open(dir)?;
    let mut outside = Vec::new();
    for segment in searcher.segment_readers() {
        let fast = segment.fast_fields();
        let column = |name: &str| fast.u64(name).map_err(|error| error.to_string());
        let (first, count) = (column("row")?, column("rows")?);
        for document in 0..segment.max_doc() {
            let range = (first.first(document).unwrap_or(0), count.first(document).unwrap_or(0));
            checked.groups += 1;
            if range.1 == 0 || range.0.checked_add(range.1).is_none_or(|end| end > rows) {
                outside.push(format!("{}+{}", range.0, range.1));
            }
        }
    }
    if !outside.is_empty() {
        let count = outside.len();
        outside.truncate(TOLD_MAX);
        checked.problems.push(format!(
            "{count} of its row ranges lie outside the {rows} rows of the file: {}",
            outside.join(", ")
        ));
    }
    Ok(())
}

fn look_up(index: &IdIndex, samples: &[Sample], checked: &mut Checked) {
    let mut missed = Vec::new();
    for sample in samples {
        for term in &sample.terms {
            checked.looked_up += 1;
            match index.lookup(&[Sought::new(term)], usize::MAX) {
                Ok((ranges, _)) if ranges.iter().any(|range| range.contains(&(sample.row as usize))) => {}
                Ok(_) => missed.push(format!("row {} by `{term}`", sample.row)),
                Err(error) => {
                    checked.problems.push(error.to_string());
                    return;
                }
            }
        }
    }
    if !missed.is_empty() {
        let count = missed.len();
        missed.truncate(TOLD_MAX);
        checked.problems.push(format!(
            "{count} of {} sampled ids do not lead to their rows: {}",
            checked.looked_up,
            missed.join(", ")
        ));
    }
}

fn open(dir: &Path) -> Result<(Index, Searcher), String> {
    let index = Index::open_in_dir(dir).map_err(|error| error.to_string())?;
    let searcher = index.reader().map_err(|error| error.to_string())?.searcher();
    Ok((index, searcher))
}

/// What the parts of an index take, in bytes.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) terms: u64,
    pub(super) postings: u64,
    pub(super) rows: u64,
}

/// Adds an index to the numbers of its kinds.
pub(super) fn measure(
    dir: &Path,
    kinds: &mut BTreeMap<String, IdKindStats>,
    parts: &mut Parts,
) -> Result<(), String> {
    let (index, searcher) = open(dir)?;
    let id = index.schema().get_field("id").map_err(|error| error.to_string())?;
    let usage = searcher.space_usage().map_err(|error| error.to_string())?;
    for segment in usage.segments() {
        parts.terms += segment.termdict().total().get_bytes();
        parts.postings += segment.postings().total().get_bytes();
        parts.rows += segment.fast_fields().total().get_bytes();
    }
    for segment in searcher.segment_readers() {
        count_terms(segment, id, kinds)?;
        count_traces(segment, kinds);
    }
    Ok(())
}

/// Traces stand beside the terms, eight bytes each; not in indexes of format 1.
fn count_traces(segment: &tantivy::SegmentReader, kinds: &mut BTreeMap<String, IdKindStats>) {
    let Ok(bucket) = segment.fast_fields().u64("bucket") else { return };
    let is_trace = |document: &u32| bucket.first(*document).is_some_and(|bucket| bucket.is_multiple_of(2));
    let traces = (0..segment.max_doc()).filter(is_trace).count() as u64;
    let kind = TRACE_ID.to_owned();
    let stats = kinds.entry(TRACE_ID.to_owned()).or_insert(IdKindStats { kind, ..IdKindStats::default() });
    stats.terms += traces;
    stats.groups += traces;
    stats.text_bytes += traces * 8;
}

fn count_terms(
    segment: &tantivy::SegmentReader,
    id: Field,
    kinds: &mut BTreeMap<String, IdKindStats>,
) -> Result<(), String> {
    let inverted = segment.inverted_index(id).map_err(|error| error.to_string())?;
    let mut stream = inverted.terms().stream().map_err(|error| error.to_string())?;
    while stream.advance() {
        let term = stream.key();
        let kind = term.split(|byte| *byte == b'=').next().unwrap_or_default();
        let kind = String::from_utf8_lossy(kind);
        let text_bytes = term.len() as u64;
        let documents = u64::from(stream.value().doc_freq);
        if !kinds.contains_key(&*kind) {
            kinds.insert(kind.to_string(), IdKindStats { kind: kind.to_string(), ..IdKindStats::default() });
        }
        if let Some(stats) = kinds.get_mut(&*kind) {
            stats.terms += 1;
            stats.groups += documents;
            stats.text_bytes += text_bytes;
        }
    }
    Ok(())
}
