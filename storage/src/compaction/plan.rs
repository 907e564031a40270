//! Which segments to merge: a pure function of the segments, the settings and the time.
//!
//! Segments are merged with others of the same signal, the same time window and the same [`Kept`], in this
//! order of urgency:
//!
//! 1. a segment with hidden rows is rewritten alone, so that deleted bytes go;
//! 2. [`Settings::fan_in`] segments of similar size in one window, or as many as fill the largest segment there may be.
//!    Segments of [`LARGE_ROWS`] are left alone: under load a row is written once, or twice when its seal was small;
//! 3. whatever is not full in a window that ended [`Settings::window_grace`] ago and that no rows arrive for, the smaller
//!    ones first, and those of about one size in the order of their times: what comes of them covers a few minutes each,
//!    and an id is sought in few minutes of them. What that leaves alone is packed by size. A segment more than [`SKEW_MAX`] times larger than all that would join it waits for more, so that a trickle
//!    of late rows does not rewrite an hour again and again.
//! 4. a segment of an earlier format that is in no other merge is rewritten alone once its window has ended, or at once where it has rows of
//!    many windows: its identity index is not read ([`crate::index`]).
//!
//! A segment that could not be read is in no merge for a while.
//!
//! Of data points only segments are merged that follow each other in the order in which their rows were received: of
//! two points at one time the later one stays, and of a merge of the first with the third nobody could say whether
//! it is older than the second.
//!
//! Invariants: no input is in two merges; no merge leaves its window; inputs of a merge of several stay
//! within the settings' rows and bytes, so that there is one output; every merge leaves fewer segments,
//! fewer hidden rows, fewer segments of level 0 or of earlier formats, so that planning ends; the segments of points of a window lie in
//! their order ([`SegmentMeta::received_order`]) as their rows were received, whatever was merged.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Signal, UnixNano};

use crate::index;
use crate::segment::{Kept, SegmentMeta};
use crate::window::Window;

/// How much larger the largest input of a merge may be than the others together.
const SKEW_MAX: u64 = 4;
/// Inputs of one merge.
pub(crate) const INPUTS_MAX: usize = 16;
/// Rows of a lone segment of level 0 that make it worth a text index once its window has ended.
const PROMOTE_ROWS: u64 = 65_536;

/// Rows of a segment that waits for the end of its window before it is merged, and that has a text index from the beginning.
pub(crate) const LARGE_ROWS: u64 = 1 << 17;

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
    /// Whether segments of level 1 have a text index, for which a lone one of level 0 is rewritten.
    pub(crate) text_index: bool,
}

impl Default for Settings {
    fn default() -> Self {
        // With four times as many segments a journey through 100 million records took a third longer.
        Self {
            fan_in: 8,
            window_grace: Duration::from_secs(600),
            rows_max: 1 << 22,
            bytes_max: 512 << 20,
            text_index: true,
        }
    }
}

/// A live segment, as the planner sees it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) meta: SegmentMeta,
    /// Whether deletes hide rows of it.
    pub(crate) has_hidden: bool,
    /// Whether it could not be read a while ago.
    pub(crate) is_left_alone: bool,
    /// Whether rows of its window came a moment ago, so that more will.
    pub(crate) is_joined: bool,
}

/// Segments to be replaced by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) inputs: Vec<SegmentMeta>,
}

type Place = (Signal, Kept, Window);

/// The merges to do, most urgent first.
pub(crate) fn plan(candidates: &[Candidate], settings: &Settings, now: UnixNano) -> Vec<Merge> {
    let (mut merges, mut older) = (Vec::new(), Vec::new());
    let mut places: BTreeMap<(usize, Kept, Window), Vec<&Candidate>> = BTreeMap::new();
    for candidate in candidates {
        if candidate.has_hidden && !candidate.is_left_alone {
            merges.push(Merge { inputs: vec![candidate.meta.clone()] });
        }
        let (signal, kept, window) = place_of(&candidate.meta);
        places.entry((signal.index(), kept, window)).or_default().push(candidate);
    }
    for ((_, _, window), candidates) in places {
        let is_joined = candidates.iter().any(|candidate| candidate.is_joined);
        let is_closed = !is_joined && window.is_closed(now, nanos(settings.window_grace));
        let before = merges.len();
        let is_left = |candidate: &&&Candidate| is_whole(candidate) && is_older(&candidate.meta);
        let of_place: Vec<_> = candidates.iter().filter(is_left).map(|candidate| &candidate.meta).collect();
        for segments in chains(candidates, settings, is_closed) {
            match is_closed {
                true => merges.extend(merge_all(&segments, settings)),
                false => merges.extend(merge_similar(&segments, settings)),
            }
        }
        if is_closed || window == Window::Wide {
            let planned = &merges[before..];
            let is_in =
                |merge: &Merge, meta: &SegmentMeta| merge.inputs.iter().any(|input| input.name == meta.name);
            let alone = of_place.into_iter().filter(|meta| !planned.iter().any(|merge| is_in(merge, meta)));
            older.extend(alone.map(|meta| merge(&[meta])));
        }
    }
    merges.append(&mut older);
    merges
}

/// The segments of a place that may be merged, in lists of which any neighbours may: of points as they were
/// received, in one list what nothing stands between; of others by size, once the window is closed by class of size and time.
fn chains<'a>(
    mut candidates: Vec<&'a Candidate>,
    settings: &Settings,
    is_closed: bool,
) -> Vec<Vec<&'a SegmentMeta>> {
    let is_free =
        |candidate: &&Candidate| is_whole(candidate) && is_below(&candidate.meta, settings, is_closed);
    let metas = |candidates: &[&'a Candidate]| candidates.iter().map(|candidate| &candidate.meta).collect();
    if candidates.first().is_some_and(|first| first.meta.signal == Signal::Metrics) {
        candidates.sort_unstable_by_key(|candidate| candidate.meta.received_order());
        return candidates.split(|candidate| !is_free(candidate)).map(metas).collect();
    }
    candidates.retain(is_free);
    candidates.sort_unstable_by(|a, b| (a.meta.rows, &a.meta.name).cmp(&(b.meta.rows, &b.meta.name)));
    if is_closed {
        candidates.sort_by_key(|candidate| (size_class(candidate.meta.rows), middle(&candidate.meta)));
    }
    vec![metas(&candidates)]
}

/// Whether it can be read as it is.
const fn is_whole(candidate: &Candidate) -> bool {
    !candidate.has_hidden && !candidate.is_left_alone
}

/// Whether there is room for others in a segment of its size.
fn is_below(meta: &SegmentMeta, settings: &Settings, is_closed: bool) -> bool {
    let rows_max = if is_closed { settings.rows_max } else { LARGE_ROWS.min(settings.rows_max) };
    meta.rows < rows_max && meta.bytes < settings.bytes_max
}

/// Whether its identity index is one that is not read.
const fn is_older(meta: &SegmentMeta) -> bool {
    meta.format_version < index::FORMAT_MIN
}

/// Segments of one class differ in size by less than four times; large seals are in one.
fn size_class(rows: u64) -> u32 {
    rows.max(1).ilog2().div_ceil(2)
}

/// The middle of a segment's time: a late row moves it less than its beginning.
fn middle(meta: &SegmentMeta) -> i64 {
    meta.time.from.0.midpoint(meta.time.to.0)
}

/// Where a segment's rows belong: merges never leave it.
pub(crate) fn place_of(meta: &SegmentMeta) -> Place {
    (meta.signal, meta.kept, meta.window())
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Runs of at least `fan_in` segments that differ in size by less than `fan_in` times, or of fewer that are half of what
/// fits into one segment and leave no room for the next.
fn merge_similar(segments: &[&SegmentMeta], settings: &Settings) -> Vec<Merge> {
    let fan_in = settings.fan_in.max(2);
    let mut merges = Vec::new();
    let mut left = segments;
    while !left.is_empty() {
        let alike = &left[..similar(left, fan_in as u64)];
        let taken = fitting(alike, settings);
        let is_filled = taken > 1 && taken < alike.len() && is_half(&alike[..taken], settings);
        if taken >= fan_in || is_filled {
            merges.push(merge(&left[..taken]));
            left = &left[taken..];
        } else {
            // The first has too few like it behind it; the next may have more.
            left = &left[1..];
        }
    }
    merges
}

fn is_half(segments: &[&SegmentMeta], settings: &Settings) -> bool {
    let rows: u64 = segments.iter().map(|segment| segment.rows).sum();
    let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    rows >= settings.rows_max / 2 || bytes >= settings.bytes_max / 2
}

/// How many segments from the first on differ in size by less than `times`.
fn similar(segments: &[&SegmentMeta], times: u64) -> usize {
    let (mut smallest, mut largest) = (u64::MAX, 0);
    let is_similar = |segment: &&&SegmentMeta| {
        smallest = smallest.min(segment.rows.max(1));
        largest = largest.max(segment.rows);
        largest < smallest.saturating_mul(times)
    };
    segments.iter().take_while(is_similar).count().max(1)
}

/// All segments of a window that has ended, packed as they come; of what stays alone, what has the fewest bytes together.
fn merge_all(segments: &[&SegmentMeta], settings: &Settings) -> Vec<Merge> {
    let (mut merges, mut alone) = pack(segments, settings);
    if alone.first().is_some_and(|first| first.signal != Signal::Metrics) {
        alone.sort_by_key(|segment| segment.bytes);
        let (more, rest) = pack(&alone, settings);
        merges.extend(more);
        alone = rest;
    }
    let is_new = |segment: &&SegmentMeta| {
        let gains = settings.text_index || segment.signal == Signal::Metrics;
        gains && segment.level == 0 && segment.rows >= PROMOTE_ROWS
    };
    merges.extend(alone.into_iter().filter(is_new).map(|segment| merge(&[segment])));
    merges
}

/// Merges of neighbours, and the segments that are in none.
fn pack<'a>(segments: &[&'a SegmentMeta], settings: &Settings) -> (Vec<Merge>, Vec<&'a SegmentMeta>) {
    let (mut merges, mut alone) = (Vec::new(), Vec::new());
    let mut left = segments;
    while !left.is_empty() {
        let mut taken = fitting(left, settings).max(1);
        while taken > 1
            && taken < settings.fan_in
            && let Some(largest) = outweighing(&left[..taken])
        {
            // The others go on without it, those before it or those behind it.
            taken = largest.max(1);
        }
        match taken {
            1 => alone.push(left[0]),
            _ => merges.push(merge(&left[..taken])),
        }
        left = &left[taken..];
    }
    (merges, alone)
}

/// Which of the segments outweighs all the others, if one does.
fn outweighing(segments: &[&SegmentMeta]) -> Option<usize> {
    let (at, largest) = segments.iter().enumerate().max_by_key(|(_, segment)| segment.rows)?;
    let all: u64 = segments.iter().map(|segment| segment.rows).sum();
    (largest.rows > SKEW_MAX * (all - largest.rows)).then_some(at)
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
