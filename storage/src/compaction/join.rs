//! Large segments put end to end: their row groups are copied as they are, and the indexes are made of theirs.
//!
//! ```text
//! a  row groups 0 1 2 3   ┐         merged   │ copied  │ copied     runs: each is sorted, as it was
//! b  row groups 0 1 2     ├─►       c with d │ a       │ b
//! c, d  small             ┘         ids: groups of b behind those of a, the postings of all sorted
//! ```
//!
//! Row groups are as large in a seal under load as in what comes of a merge, so that decoding and encoding them again saves no bytes; it
//! takes many times what copying them takes. What is lost is one order over all rows: it begins anew with every run.
//!
//! Owns: when this gives what a merge gives. Does not own: how the file is written (`segment::writer`).
//!
//! Invariant: no row that a merge would leave out is copied.

use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use model::{Signal, TimeRange};
use xxhash_rust::xxh3::xxh3_64;

use super::plan::INPUTS_MAX;
use super::rewrite::Rewrite;
use crate::error::{Context as _, Error, ErrorKind};
use crate::index::IdIndex;
use crate::plant::{Plant, Planted};
use crate::schema::FORMAT_VERSION;
use crate::segment::layout::Layout;
use crate::segment::reader::{Segment, next_batch};

/// Rows of a run from which on it is large: smaller ones are put in order with others.
const RUN_ROWS_MIN: u64 = if cfg!(test) { 1 } else { 1 << 16 };
/// Runs of a segment: a later merge reads all of them side by side.
pub(super) const RUNS_MAX: usize = 32;
/// Levels that seals have, which put rows in order and leave none out.
const SEALED_LEVEL_MAX: u32 = 1;
/// What a span is told from others by, whatever it holds.
const SPAN: &[&str] = &["trace_id", "span_id", "start_time"];
/// The bits of a hash that say in which input it is.
const INPUT: u64 = (INPUTS_MAX as u64).next_power_of_two() - 1;
/// Rows of which these are read at once.
const READ_ROWS: usize = 8_192;

/// The inputs of a rewrite.
pub(super) struct Split {
    /// Those whose rows are put in order.
    pub(super) merged: Vec<Arc<Segment>>,
    /// Those whose row groups are copied.
    pub(super) joined: Vec<Arc<Segment>>,
}

impl Split {
    /// Of the inputs of a rewrite into a segment of the layout. `flow` can end it.
    pub(super) fn of(
        rewrite: &Rewrite,
        layout: &Layout,
        planted: Planted,
        flow: &dyn Fn() -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let inputs = &rewrite.inputs;
        let is_of_several = inputs.len() > 1 && rewrite.filter.is_none();
        if !is_of_several || !inputs.iter().any(|input| can_be_joined(input, layout)) {
            return Ok(Self { merged: inputs.clone(), joined: Vec::new() });
        }
        let is_traces = inputs[0].signal() == Signal::Traces && !planted.has(Plant::DuplicatesKept);
        let repeat = if is_traces { repeating(inputs, flow)? } else { vec![false; inputs.len()] };
        let (mut merged, mut joined, mut runs) = (Vec::new(), Vec::new(), 1);
        for (input, repeats) in inputs.iter().zip(repeat) {
            flow()?;
            let with_it = runs + input.runs().len();
            let can_be = !repeats && with_it <= RUNS_MAX && can_be_joined(input, layout);
            match can_be && has_whole_index(input) {
                true => {
                    runs = with_it;
                    joined.push(Arc::clone(input));
                }
                false => merged.push(Arc::clone(input)),
            }
        }
        Ok(Self { merged, joined })
    }
}

/// Whether the segment is large, written as this program writes, with these columns, and checked when it is read, all of its rows
/// visible. Points are not: what one series has is one run.
fn can_be_joined(segment: &Segment, layout: &Layout) -> bool {
    let meta = segment.meta();
    meta.signal != Signal::Metrics
        && meta.format_version == FORMAT_VERSION
        && meta.level > 0
        && meta.rows / segment.runs().len() as u64 >= RUN_ROWS_MIN
        && segment.hidden().is_empty()
        && segment.has_checksums()
        && segment.id_keys().is_some()
        && segment.layout().has_columns_of(layout)
        && segment.has_columns(&layout.schema())
}

/// Whether its identity index is sound and of as many rows as it has: one that is not is made of rows, not copied.
fn has_whole_index(segment: &Segment) -> bool {
    segment.ids().ask(IdIndex::check).is_some_and(|checked| checked.rows == segment.meta().rows)
}

/// Of each input, whether a span of it has the ids and time of another, so that they may be one span that was sent twice.
fn repeating(inputs: &[Arc<Segment>], flow: &dyn Fn() -> Result<(), Error>) -> Result<Vec<bool>, Error> {
    let rows = inputs.iter().map(|input| input.meta().rows as usize).sum();
    // The lower bits of each hash are the number of its input.
    let mut all: Vec<u64> = Vec::with_capacity(rows);
    for (number, input) in (0..).zip(inputs) {
        let first = all.len();
        let mut reader = input.stored_reader(&TimeRange::ALL, SPAN, READ_ROWS)?;
        while let Some(batch) = next_batch(&mut reader) {
            flow()?;
            let batch = batch.context(ErrorKind::Damaged, || input.doing())?;
            hash_spans(&batch, &mut all);
        }
        all[first..].iter_mut().for_each(|hash| *hash = *hash & !INPUT | number);
    }
    all.sort_unstable();
    let mut repeats = vec![false; inputs.len()];
    for pair in all.windows(2).filter(|pair| pair[0] & !INPUT == pair[1] & !INPUT) {
        let [a, b] = [pair[0], pair[1]].map(|hash| (hash & INPUT) as usize);
        // Two in what comes of compaction are two: it has looked at them.
        if a != b || inputs[a].meta().level <= SEALED_LEVEL_MAX {
            (repeats[a], repeats[b]) = (true, true);
        }
    }
    Ok(repeats)
}

fn hash_spans(rows: &RecordBatch, hashes: &mut Vec<u64>) {
    let column = |name: &str| rows.column_by_name(name).expect("a column that was asked for");
    let (traces, spans) =
        (column("trace_id").as_fixed_size_binary(), column("span_id").as_fixed_size_binary());
    let times = column("start_time").as_primitive::<TimestampNanosecondType>().values();
    for (row, time) in times.iter().enumerate() {
        let mut span = [0; 32];
        span[..16].copy_from_slice(traces.value(row));
        span[16..24].copy_from_slice(spans.value(row));
        span[24..].copy_from_slice(&time.to_le_bytes());
        hashes.push(xxh3_64(&span));
    }
}
