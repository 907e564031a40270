//! Which segments to merge: a pure function of the segments, the settings and the time.
//!
//! Segments are merged with others of the same signal, the same time window and the same [`Kept`], in this
//! order of urgency:
//!
//! 1. a segment with hidden rows is rewritten alone, so that deleted bytes go;
//! 2. [`Settings::fan_in`] segments of similar size in one window;
//! 3. whatever is small in a window that ended [`Settings::window_grace`] ago, smallest first. A segment
//!    more than [`SKEW_MAX`] times larger than all that would join it waits for more, so that a trickle of late
//!    rows does not rewrite an hour again and again.
//!
//! Invariants: no input is in two merges; no merge leaves its window; inputs of a merge of several stay
//! within the settings' rows and bytes, so that there is one output; every merge leaves fewer segments,
//! fewer hidden rows or fewer segments of level 0, so that planning ends.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Signal, UnixNano};

use crate::segment::{Kept, SegmentMeta};
use crate::window::Window;

/// How much larger the largest input of a merge may be than the others together.
const SKEW_MAX: u64 = 4;
/// Inputs of one merge.
pub(crate) const INPUTS_MAX: usize = 16;
/// Rows of a lone segment of level 0 that make it worth a text index once its window has ended.
const PROMOTE_ROWS: u64 = 65_536;

/// What bounds merges.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Segments of similar size that are merged while their window is still open.
    pub(crate) fan_in: usize,
    /// How long after its end a window still gets rows.
    pub(crate) window_grace: Duration,
    /// Rows of the largest segment that compaction makes.
    pub(crate) rows_max: u64,
    /// Bytes of the same.
    pub(crate) bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { fan_in: 8, window_grace: Duration::from_secs(600), rows_max: 1 << 20, bytes_max: 256 << 20 }
    }
}

/// A live segment, as the planner sees it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) meta: SegmentMeta,
    /// Whether deletes hide rows of it.
    pub(crate) has_hidden: bool,
}

/// Segments to be replaced by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) inputs: Vec<SegmentMeta>,
}

type Place = (Signal, Kept, Window);

/// The merges to do, most urgent first.
pub(crate) fn plan(candidates: &[Candidate], settings: &Settings, now: UnixNano) -> Vec<Merge> {
    let mut merges = Vec::new();
    let mut places: BTreeMap<(usize, Kept, Window), Vec<&SegmentMeta>> = BTreeMap::new();
    for Candidate { meta, has_hidden } in candidates {
        if *has_hidden {
            merges.push(Merge { inputs: vec![meta.clone()] });
        } else if meta.rows < settings.rows_max && meta.bytes < settings.bytes_max {
            let (signal, kept, window) = place_of(meta);
            places.entry((signal.index(), kept, window)).or_default().push(meta);
        }
    }
    for ((_, _, window), mut segments) in places {
        segments.sort_unstable_by(|a, b| (a.rows, &a.name).cmp(&(b.rows, &b.name)));
        match window.is_closed(now, nanos(settings.window_grace)) {
            true => merges.extend(merge_all(&segments, settings)),
            false => merges.extend(merge_similar(&segments, settings)),
        }
    }
    merges
}

/// Where a segment's rows belong: merges never leave it.
pub(crate) fn place_of(meta: &SegmentMeta) -> Place {
    (meta.signal, meta.kept, meta.window())
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Of segments sorted by size, runs of at least `fan_in` that differ by less than `fan_in` times.
fn merge_similar(segments: &[&SegmentMeta], settings: &Settings) -> Vec<Merge> {
    let fan_in = settings.fan_in.max(2);
    let mut merges = Vec::new();
    let mut left = segments;
    while let Some(smallest) = left.first() {
        let size_max = smallest.rows.max(1).saturating_mul(fan_in as u64);
        let similar = left.partition_point(|segment| segment.rows < size_max).max(1);
        let taken = fitting(&left[..similar], settings);
        if taken >= fan_in {
            merges.push(merge(&left[..taken]));
            left = &left[taken..];
        } else {
            // The smallest has too few like it; the next may have more.
            left = &left[1..];
        }
    }
    merges
}

/// All segments of a window that has ended, packed smallest first.
fn merge_all(segments: &[&SegmentMeta], settings: &Settings) -> Vec<Merge> {
    let mut merges = Vec::new();
    let mut left = segments;
    while !left.is_empty() {
        let mut taken = fitting(left, settings).max(1);
        while taken > 1 && taken < settings.fan_in && is_skewed(&left[..taken]) {
            taken -= 1;
        }
        let is_lone_and_new = taken == 1 && left[0].level == 0 && left[0].rows >= PROMOTE_ROWS;
        if taken > 1 || is_lone_and_new {
            merges.push(merge(&left[..taken]));
        }
        left = &left[taken..];
    }
    merges
}

/// Whether the last, and largest, outweighs the others.
fn is_skewed(segments: &[&SegmentMeta]) -> bool {
    let (largest, others) = segments.split_last().expect("two at least");
    largest.rows > SKEW_MAX * others.iter().map(|segment| segment.rows).sum::<u64>()
}

/// How many segments from the first on fit into one.
fn fitting(segments: &[&SegmentMeta], settings: &Settings) -> usize {
    let (mut rows, mut bytes) = (0, 0);
    let fits = |segment: &&&SegmentMeta| {
        rows += segment.rows;
        bytes += segment.bytes;
        rows <= settings.rows_max && bytes <= settings.bytes_max
    };
    segments.iter().take(INPUTS_MAX).take_while(fits).count()
}

fn merge(segments: &[&SegmentMeta]) -> Merge {
    Merge { inputs: segments.iter().map(|segment| (*segment).clone()).collect() }
}

#[cfg(test)]
mod tests;
