//! Sorted row ranges: which rows of a segment are hidden, and what is left to read.

use std::ops::Range;
use std::sync::Arc;

use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

/// What of sorted ranges lies in `span`.
pub(super) fn within(ranges: &[Range<usize>], span: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let first = ranges.partition_point(|range| range.end <= span.start);
    let here = ranges[first..].iter().take_while(move |range| range.start < span.end);
    here.map(move |range| range.start.max(span.start)..range.end.min(span.end))
}

/// Rows of one segment as sorted ranges that do not touch. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowRanges(Arc<[Range<usize>]>);

impl RowRanges {
    /// The union of ranges in any order.
    pub(crate) fn new(mut ranges: Vec<Range<usize>>) -> Self {
        ranges.retain(|range| !range.is_empty());
        ranges.sort_unstable_by_key(|range| range.start);
        let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Self(merged.into())
    }

    /// The ranges, sorted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<usize>> {
        self.0.iter().cloned()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.0.iter().map(Range::len).sum()
    }

    /// These rows and those.
    pub(crate) fn union(&self, other: &Self) -> Self {
        Self::new(self.0.iter().chain(&*other.0).cloned().collect())
    }

    /// What of ascending ranges is in here, in order.
    pub(crate) fn within(&self, ranges: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
        ranges.flat_map(|range| within(&self.0, range)).collect()
    }

    /// What of `range` is not in here, in order.
    pub(crate) fn outside(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut left = Vec::new();
        let mut at = range.start;
        let first = self.0.partition_point(|hidden| hidden.end <= range.start);
        for hidden in self.0[first..].iter().take_while(|hidden| hidden.start < range.end) {
            if at < hidden.start {
                left.push(at..hidden.start);
            }
            at = at.max(hidden.end);
        }
        if at < range.end {
            left.push(at..range.end);
        }
        left
    }

    /// Selects, of row groups that span `groups` in the file, the rows that are not in here.
    pub(crate) fn selection_outside(&self, groups: &[Range<usize>]) -> RowSelection {
        let mut selectors = Vec::new();
        for group in groups {
            let mut at = group.start;
            for range in self.outside(group.clone()) {
                selectors.push(RowSelector::skip(range.start - at));
                selectors.push(RowSelector::select(range.len()));
                at = range.end;
            }
            selectors.push(RowSelector::skip(group.end - at));
        }
        selectors.retain(|selector| selector.row_count > 0);
        RowSelection::from(selectors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outside_and_what_is_inside_make_up_the_whole() {
        let one = |range: Range<usize>| std::iter::once(range).collect::<Vec<_>>();
        let hidden = RowRanges::new(vec![7..9, 2..4, 3..5, 9..9]);
        assert_eq!(hidden.rows(), 5);
        assert_eq!(hidden.outside(0..10), [0..2, 5..7, 9..10]);
        assert_eq!(hidden.outside(3..8), one(5..7));
        assert!(hidden.outside(2..5).is_empty());
        assert_eq!(hidden.within([0..3, 4..8, 8..20].into_iter()), [2..3, 4..5, 7..8, 8..9]);
        assert_eq!(hidden.union(&RowRanges::new(one(5..7))).outside(0..10), [0..2, 9..10]);
    }

    #[test]
    fn a_selection_counts_within_the_row_groups_it_is_for() {
        let hidden = RowRanges::new(vec![2..4, 25..28]);
        let selected = hidden.selection_outside(&[0..10, 20..30]);
        let skipped: usize = selected.iter().filter(|part| part.skip).map(|part| part.row_count).sum();
        assert_eq!((skipped, selected.row_count()), (5, 15));
        assert_eq!(RowRanges::default().selection_outside(&[0..2, 2..4]).row_count(), 4);
    }
}
