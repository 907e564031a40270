//! Rows of a segment as bits, and what the index says of them.

use std::ops::Range;

/// A set of rows, counted from the start of the segment: one bit each.
#[derive(Clone, Debug)]
pub(crate) struct Rows(Vec<u64>);

/// What the index says of rows.
#[derive(Clone, Debug)]
pub(crate) struct TextRows {
    /// Those that contain the text, for certain.
    pub(crate) sure: Rows,
    /// Others that may contain it.
    pub(crate) maybe: Rows,
}

impl Rows {
    /// None of `count` rows.
    pub(crate) fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    pub(crate) fn add(&mut self, row: u32) {
        self.0[row as usize / 64] |= 1 << (row % 64);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn contains(&self, row: usize) -> bool {
        self.0.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Takes out what is not in the other set.
    pub(crate) fn keep(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    /// Takes out what is in the other set.
    pub(crate) fn remove(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
    }

    /// Adds the numbers of those within a range, in order, to a list.
    pub(crate) fn list_within(&self, range: Range<usize>, list: &mut Vec<u32>) {
        let end = range.end.min(self.0.len() * 64);
        let mut start = range.start;
        while start < end {
            let word = start / 64;
            let mut left = self.0[word] & u64::MAX << (start % 64);
            if end < (word + 1) * 64 {
                left &= !(u64::MAX << (end % 64));
            }
            while left != 0 {
                list.push(word as u32 * 64 + left.trailing_zeros());
                left &= left - 1;
            }
            start = (word + 1) * 64;
        }
    }

    /// In order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.within(0..self.0.len() * 64)
    }

    /// Those within a range, in order.
    pub(crate) fn within(&self, range: Range<usize>) -> impl Iterator<Item = usize> {
        let Range { start, end } = range;
        let words = start / 64..end.div_ceil(64).min(self.0.len());
        words.flat_map(move |at| {
            let mut left = self.0[at];
            if start > at * 64 {
                left &= u64::MAX << (start - at * 64);
            }
            if end < (at + 1) * 64 {
                left &= !(u64::MAX << (end - at * 64));
            }
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(at * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_rows_know_their_rows() {
        let set = |rows: &[u32]| {
            let mut set = Rows::new(130);
            rows.iter().for_each(|row| set.add(*row));
            set
        };
        let mut rows = set(&[0, 63, 64, 129]);
        assert!(rows.contains(64) && !rows.contains(65) && !rows.contains(9_999));
        rows.keep(&set(&[1, 63, 64, 129]));
        rows.remove(&set(&[64]));
        assert_eq!((rows.iter().collect::<Vec<_>>(), rows.count()), (vec![63, 129], 2));
    }

    #[test]
    fn rows_within_a_range_are_those_that_it_holds() {
        let mut rows = Rows::new(200);
        (0..200).filter(|row| row % 3 == 0 || row % 64 == 63).for_each(|row| rows.add(row));
        for start in 0..200 {
            for end in start..=210 {
                let expected: Vec<usize> = (start..end).filter(|row| rows.contains(*row)).collect();
                assert_eq!(rows.within(start..end).collect::<Vec<_>>(), expected, "{start}..{end}");
                let mut list = vec![7];
                rows.list_within(start..end, &mut list);
                assert!(list[1..].iter().map(|row| *row as usize).eq(expected), "{start}..{end}");
            }
        }
    }
}
