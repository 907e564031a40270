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

    /// Gives each of those within a range, in order.
    pub(crate) fn each_within(&self, range: Range<usize>, mut each: impl FnMut(usize)) {
        let end = range.end.min(self.0.len() * 64);
        let mut start = range.start;
        while start < end {
            let word = start / 64;
            let mut left = self.0[word] & u64::MAX << (start % 64);
            if end < (word + 1) * 64 {
                left &= !(u64::MAX << (end % 64));
            }
            while left != 0 {
                each(word * 64 + left.trailing_zeros() as usize);
                left &= left - 1;
            }
            start = (word + 1) * 64;
        }
    }

    /// Gives each, in order.
    pub(crate) fn each(&self, each: impl FnMut(usize)) {
        self.each_within(0..self.0.len() * 64, each);
    }

    #[cfg(test)]
    pub(crate) fn to_vec(&self) -> Vec<usize> {
        let mut rows = Vec::new();
        self.each(|row| rows.push(row));
        rows
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
        assert_eq!((rows.to_vec(), rows.count()), (vec![63, 129], 2));
    }

    #[test]
    fn rows_within_a_range_are_those_that_it_holds() {
        let mut rows = Rows::new(200);
        (0..200).filter(|row| row % 3 == 0 || row % 64 == 63).for_each(|row| rows.add(row));
        for start in 0..200 {
            for end in start..=210 {
                let expected: Vec<usize> = (start..end).filter(|row| rows.contains(*row)).collect();
                let mut found = Vec::new();
                rows.each_within(start..end, |row| found.push(row));
                assert_eq!(found, expected, "{start}..{end}");
            }
        }
    }
}
