//! The heads of one part's rows: which groups were read, and the rows that a look-up shows of them.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::RecordBatch;
use model::TimeRange;

use super::{Place, Rows};
use crate::error::Error;
use crate::index::Sought;
use crate::memory::{Reservation, bytes_of};
use crate::rows::RowHeads;
use crate::segment::reader::Segment;
use crate::snapshot::{Part, ScanStats};

/// A part, and the heads of its rows that were read.
pub(super) struct PartHeads<'a> {
    pub(super) part: Part<'a>,
    /// Of a segment: where the head of a group's first row is, by that row.
    known: BTreeMap<usize, HeadsAt>,
    batches: Vec<Batch>,
    is_read: bool,
    /// Whether the segment may have the terms that were counted, by their numbers.
    carried: Vec<bool>,
    /// The groups of the look-up at hand, when they were looked up beside others.
    pub(super) prepared: Option<Result<Vec<Range<usize>>, Error>>,
}

#[derive(Clone, Copy)]
struct HeadsAt {
    batch: usize,
    first: usize,
    rows: usize,
}

/// Rows that were read.
struct Batch {
    rows: RecordBatch,
    /// With all columns.
    is_whole: bool,
    /// Reserved for it.
    bytes: usize,
}

/// So many rows of a part are read with all their columns at once.
const WHOLE_ROWS_MAX: usize = 512;

/// What one lookup may still give.
pub(super) struct Found<'a> {
    pub(super) left: usize,
    pub(super) groups: usize,
    pub(super) range: &'a TimeRange,
    pub(super) held: &'a Reservation,
}

impl Found<'_> {
    pub(super) fn visit(
        &mut self,
        part: u32,
        heads: &RowHeads<'_>,
        rows: impl Iterator<Item = (usize, u32)>,
        stats: &mut ScanStats,
        visit: &mut dyn FnMut(Place, &RowHeads<'_>, usize),
    ) {
        for (at, row) in rows.filter(|(at, _)| self.range.contains(heads.time(*at))) {
            if self.left == 0 {
                stats.is_cut = true;
                return;
            }
            self.left -= 1;
            visit(Place { part, row }, heads, at);
        }
    }
}

impl<'a> PartHeads<'a> {
    pub(super) fn new(part: Part<'a>) -> Self {
        Self {
            part,
            known: BTreeMap::new(),
            batches: Vec::new(),
            is_read: false,
            carried: Vec::new(),
            prepared: None,
        }
    }

    pub(super) fn find_in(
        &mut self,
        segment: &Segment,
        number: u32,
        terms: &[String],
        found: &mut Found<'_>,
        stats: &mut ScanStats,
        visit: &mut dyn FnMut(Place, &RowHeads<'_>, usize),
    ) -> Result<(), Error> {
        let prepared = self.prepared.take();
        if found.left == 0 {
            stats.is_cut |= prepared.is_none_or(|groups| groups.is_ok_and(|groups| !groups.is_empty()));
            return Ok(());
        }
        let groups = match prepared {
            Some(groups) => groups?,
            None => {
                let (groups, left_out) = segment.groups_with(&Sought::all(terms), found.groups)?;
                stats.groups_left_out += left_out as u64;
                found.groups = found.groups.saturating_sub(groups.len());
                self.read_groups(segment, visible(segment, groups), found.left, found.held, stats)?
            }
        };
        for group in groups {
            let Some(at) = self.known.get(&group.start) else {
                stats.is_cut |= found.held.refusal().is_none();
                continue;
            };
            let heads = RowHeads::new(segment.signal(), &self.batches[at.batch].rows);
            let heads = heads.expect("only signals with ids have groups");
            let rows = (0..at.rows).map(|row| (at.first + row, (group.start + row) as u32));
            found.visit(number, &heads, rows, stats, visit);
        }
        Ok(())
    }

    /// Lets go of what was read. Gives how many bytes were reserved for it.
    pub(super) fn forget(&mut self) -> usize {
        self.known.clear();
        self.batches.drain(..).map(|batch| batch.bytes).sum()
    }

    /// How many groups carry each of the terms, which have numbers from `first` on.
    pub(super) fn count(
        &mut self,
        segment: &Segment,
        terms: &[Sought],
        first: usize,
    ) -> Result<Vec<usize>, Error> {
        self.carried.resize(first + terms.len(), true);
        let counts: Vec<usize> =
            terms.iter().map(|term| segment.count_groups(term)).collect::<Result<_, _>>()?;
        for (carried, count) in self.carried[first..].iter_mut().zip(&counts) {
            *carried = *count > 0;
        }
        Ok(counts)
    }

    /// The visible groups that carry one of the terms, all of them. Beside each term is its number, if it was counted.
    pub(super) fn look_up(
        &self,
        segment: &Segment,
        terms: &[(Sought, Option<usize>)],
    ) -> Result<Vec<Range<usize>>, Error> {
        let may_have =
            |number: &Option<usize>| number.is_none_or(|number| self.carried.get(number) != Some(&false));
        let terms = terms.iter().filter(|(_, number)| may_have(number)).map(|(term, _)| term);
        match terms.clone().next() {
            Some(_) => Ok(visible(segment, segment.groups_with(terms, usize::MAX)?.0)),
            None => Ok(Vec::new()),
        }
    }

    /// Reads the heads of groups, and gives the groups back.
    fn read_groups(
        &mut self,
        segment: &Segment,
        groups: Vec<Range<usize>>,
        rows_max: usize,
        held: &Reservation,
        stats: &mut ScanStats,
    ) -> Result<Vec<Range<usize>>, Error> {
        for unread in self.unread(segment, &groups, rows_max, stats) {
            let heads = unread.read(segment, held)?;
            stats.rows_scanned += self.keep(unread, heads);
        }
        Ok(groups)
    }

    /// What is to be read for groups whose heads are not known yet, `rows_max` rows or a few more, apart by row groups, so that
    /// several can be read at once.
    pub(super) fn unread(
        &mut self,
        segment: &Segment,
        groups: &[Range<usize>],
        rows_max: usize,
        stats: &mut ScanStats,
    ) -> Vec<Unread> {
        if !groups.is_empty() && !std::mem::replace(&mut self.is_read, true) {
            stats.segments_read += 1;
        }
        let mut rows = 0;
        let unknown = groups.iter().filter(|group| !self.known.contains_key(&group.start));
        let unknown: Vec<Range<usize>> = unknown
            .take_while(|group| {
                let has_room = rows < rows_max;
                rows += group.len();
                has_room
            })
            .cloned()
            .collect();
        let is_whole = rows <= WHOLE_ROWS_MAX;
        segment.chunks(&unknown).into_iter().map(|groups| Unread { groups, is_whole, rows }).collect()
    }

    /// Keeps heads that were read, if there was memory for them. Gives how many rows they are.
    pub(super) fn keep(&mut self, unread: Unread, heads: Option<Heads>) -> u64 {
        let Some(Heads { rows, bytes }) = heads else { return 0 };
        let (batch, mut first) = (self.batches.len(), 0);
        for group in unread.groups {
            self.known.insert(group.start, HeadsAt { batch, first, rows: group.len() });
            first += group.len();
        }
        let scanned = rows.num_rows() as u64;
        self.batches.push(Batch { rows, is_whole: unread.is_whole, bytes });
        scanned
    }

    /// Shows the rows of those places that were read whole; gives the others. Places are of this part, ascending.
    pub(super) fn take_known(&self, places: &[Place], show: &mut dyn FnMut(Rows)) -> Vec<Place> {
        let mut unread = Vec::new();
        let mut taken: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for place in places {
            let row = place.row as usize;
            let group = self.known.range(..=row).next_back();
            let group = group.filter(|(start, at)| row < *start + at.rows && self.batches[at.batch].is_whole);
            match group {
                Some((start, at)) => taken.entry(at.batch).or_default().push((at.first + row - start) as u32),
                None => unread.push(*place),
            }
        }
        for (batch, rows) in taken {
            show(Rows { batch: self.batches[batch].rows.clone(), rows });
        }
        unread
    }
}

/// Groups of a segment whose heads are to be read.
pub(super) struct Unread {
    groups: Vec<Range<usize>>,
    /// With all columns.
    is_whole: bool,
    /// Rows that are read of the segment with these, altogether.
    rows: usize,
}

/// What was read for them.
pub(super) struct Heads {
    rows: RecordBatch,
    /// Reserved for it.
    bytes: usize,
}

impl Unread {
    /// Reads them; nothing when there is no memory for them.
    pub(super) fn read(&self, segment: &Segment, held: &Reservation) -> Result<Option<Heads>, Error> {
        if held.refusal().is_some() {
            return Ok(None);
        }
        let columns = if self.is_whole { &[] } else { RowHeads::columns(segment.signal()) };
        let Some((batches, bytes)) = self.read_within(segment, columns, held)? else {
            return Ok(None);
        };
        let wanted: usize = self.groups.iter().map(Range::len).sum();
        let read: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let rows = match batches.first() {
            Some(first) if read == wanted => arrow::compute::concat_batches(&first.schema(), &batches)
                .map_err(|error| Error::damaged(format!("{}: {error}", segment.doing()))),
            _ => {
                let what = format!("{}: {read} rows came where {wanted} were asked for", segment.doing());
                Err(Error::damaged(what))
            }
        };
        if rows.is_err() {
            held.shrink(bytes);
        }
        Ok(Some(Heads { rows: rows?, bytes }))
    }

    /// The rows and the bytes reserved for them; `None` when there is no memory for all of them.
    fn read_within(
        &self,
        segment: &Segment,
        columns: &[&str],
        held: &Reservation,
    ) -> Result<Option<(Vec<RecordBatch>, usize)>, Error> {
        let (mut batches, mut bytes) = (Vec::new(), 0);
        for batch in segment.read_some(self.groups.clone(), columns, self.rows)? {
            let batch = batch.map(|batch| held.grow_by(&batch).is_ok().then_some(batch));
            let Ok(Some(batch)) = batch else {
                held.shrink(bytes);
                return batch.map(|_| None);
            };
            bytes += bytes_of(&batch);
            batches.push(batch);
        }
        Ok(Some((batches, bytes)))
    }
}

/// What is left of groups without hidden rows.
fn visible(segment: &Segment, groups: Vec<Range<usize>>) -> Vec<Range<usize>> {
    groups.into_iter().flat_map(|group| segment.hidden().outside(group)).collect()
}
