//! Writing the segment that takes the place of others.
//!
//! Blocking and long: run it through `maintenance::at_low_priority`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Signal, TimeRange};

use super::join::Split;
use super::merge::{Filter, Merger, READ_ROWS, Stream};
use super::plan::INPUTS_MAX;
use crate::error::{Error, ErrorKind};
use crate::folder::Folder;
use crate::segment::layout::{KeyCounts, Layout};
use crate::segment::reader::Segment;
use crate::segment::writer::{self, SegmentWriter};
use crate::segment::{Kept, SegmentMeta};

/// Bytes of the dictionaries of a column in all inputs, as they stand in the files.
const NUMBERED_BYTES_MAX: u64 = 256 << 10;

/// What to write.
pub(crate) struct Rewrite {
    /// Segments of one signal, with the rows they hide.
    pub(crate) inputs: Vec<Arc<Segment>>,
    /// Number of the output's name.
    pub(crate) number: u64,
    /// What the output holds of its inputs.
    pub(crate) kept: Kept,
    /// The last delete that the inputs hide the rows of.
    pub(crate) delete_id: u64,
    /// Attributes that have a column whatever their number.
    pub(crate) promoted: Vec<String>,
    /// Which rows to take; all when there is none.
    pub(crate) filter: Option<Arc<Filter>>,
}

/// Makes one durable segment of the inputs, reads its footer back and compares. `None` when no row is
/// left. Nothing refers to the segment yet.
///
/// # Errors
/// `Retry` when `is_stopped` says so or the disk refuses, `Damaged` when an input cannot be read. What was
/// written is removed.
pub(crate) fn write(
    folder: &Folder,
    mut rewrite: Rewrite,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Option<Arc<Segment>>, Error> {
    rewrite.inputs.sort_by_key(|input| input.meta().received_order());
    let layout = output_layout(&rewrite)?;
    let flow = || match is_stopped() {
        true => Err(Error::retry("compaction gives way and begins again later")),
        false => Ok(()),
    };
    let Split { merged, joined } = Split::of(&rewrite, &layout, folder.planted, &flow)?;
    let meta = output_meta(&rewrite);
    let streams = streams(&merged, &layout, rewrite.filter.is_some())?;
    let mut merger = Merger::new(meta.signal, streams, rewrite.filter.as_deref(), folder.planted)?;
    let mut writer = SegmentWriter::create(folder, meta, &layout, 1)?;
    while let Some(rows) = merger.next_batch()? {
        flow()?;
        writer.push(&rows)?;
    }
    let mut tally = merger.tally();
    for input in joined {
        writer.append(&input, &flow)?;
        tally.rows += input.meta().rows;
    }
    check_rows(&rewrite, tally.rows, writer.rows() + tally.duplicates + tally.filtered)?;
    flow()?;
    if writer.rows() == 0 {
        return Ok(None);
    }
    let meta = writer.finish()?;
    match Segment::open_in(folder, meta.clone()).and_then(|segment| segment.verify().map(|()| segment)) {
        Ok(segment) => Ok(Some(segment)),
        Err(error) => {
            writer::discard(folder, &meta);
            Err(error)
        }
    }
}

/// The rows of segments in the columns of the layout: of each sorted run a stream.
fn streams(segments: &[Arc<Segment>], layout: &Layout, is_filtered: bool) -> Result<Vec<Stream>, Error> {
    let numbered = if is_filtered { BTreeSet::new() } else { numbered_columns(segments, layout) };
    let count: usize = segments.iter().map(|segment| segment.runs().len()).sum();
    let mut streams = Vec::with_capacity(count);
    for segment in segments {
        // Many runs hold no more rows than as many inputs as there may be.
        let batch_rows = segment.batch_rows().min(READ_ROWS) * INPUTS_MAX / count.max(INPUTS_MAX);
        let layouts = (segment.layout().clone(), layout.clone());
        let relaid = Some(layouts).filter(|(from, to)| !from.has_columns_of(to));
        for run in segment.runs() {
            let reader = segment.numbered_reader(&numbered, run, batch_rows.max(1))?;
            streams.push(Stream { reader, relaid: relaid.clone(), doing: segment.doing() });
        }
    }
    Ok(streams)
}

/// The columns whose texts go from the inputs to the output as numbers: their dictionaries are small, all of them together.
/// None when rows are laid out anew or filtered, which is done by texts.
fn numbered_columns(inputs: &[Arc<Segment>], layout: &Layout) -> BTreeSet<String> {
    if inputs.iter().any(|input| !input.layout().has_columns_of(layout)) {
        return BTreeSet::new();
    }
    let mut columns: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    for (column, bytes) in inputs.iter().flat_map(|input| input.numbered_columns()) {
        let (files, all) = columns.entry(column).or_default();
        *files += 1;
        *all += bytes;
    }
    let fits = |(files, bytes): (usize, u64)| files == inputs.len() && bytes <= NUMBERED_BYTES_MAX;
    columns.into_iter().filter(|(_, found)| fits(*found)).map(|(column, _)| column).collect()
}

/// The columns of the output: attributes that have one in an input are counted there, those of inputs without
/// are counted in their first rows.
fn output_layout(rewrite: &Rewrite) -> Result<Layout, Error> {
    let mut counts = KeyCounts::default();
    for input in &rewrite.inputs {
        let rows = input.meta().rows;
        if input.layout().promoted().is_empty() {
            let first = match input.signal() {
                Signal::Metrics => None,
                _ => input.reader(&TimeRange::ALL, &["attributes"], READ_ROWS)?.next().transpose()?,
            };
            match first {
                Some(first) => counts.add_sample(&first, rows),
                None => counts.add_rows(rows),
            }
        } else {
            counts.add_rows(rows);
            for (key, rows, is_varied) in input.count_promoted() {
                counts.add(&key, rows, is_varied);
            }
        }
    }
    Ok(counts.layout(rewrite.inputs[0].signal(), &rewrite.promoted))
}

fn output_meta(rewrite: &Rewrite) -> SegmentMeta {
    let metas = || rewrite.inputs.iter().map(|input| input.meta());
    let first = metas().next().expect("a rewrite has inputs");
    let level = metas().map(|meta| meta.level).max().unwrap_or(0) + 1;
    let sequences = metas()
        .fold(first.sequences, |(from, to), meta| (from.min(meta.sequences.0), to.max(meta.sequences.1)));
    let mut meta = SegmentMeta::named(first.signal, level, sequences, rewrite.number);
    meta.kept = rewrite.kept;
    meta.delete_id = rewrite.delete_id;
    meta
}

/// No row may get lost on the way: what inputs show is written, a duplicate, or filtered.
fn check_rows(rewrite: &Rewrite, read: u64, accounted: u64) -> Result<(), Error> {
    let shown = |input: &Arc<Segment>| input.meta().rows - input.hidden().rows() as u64;
    let expected: u64 = rewrite.inputs.iter().map(shown).sum();
    if expected == read && read == accounted {
        return Ok(());
    }
    let message = format!("merging: {expected} rows expected, {read} read, {accounted} accounted for");
    Err(Error::new(ErrorKind::Internal, message))
}
