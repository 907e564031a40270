//! What looking a hash up relies on, whatever hashes there are.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Hashes over all there can be, at its ends, and many in one place.
fn hash() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..4_u64, (u64::MAX - 3)..=u64::MAX, (1_u64 << 63)..(1 << 63) + 64]
}

proptest! {
    #[test]
    fn the_rows_of_a_hash_are_those_it_was_given_with_and_no_other_hash_has_any(
        entries in prop::collection::btree_set((hash(), 0..200_u32), 0..400),
        others in prop::collection::vec(hash(), 0..20),
        within in 0..200_u64,
    ) {
        let mut rows: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (hash, row) in &entries {
            rows.entry(*hash).or_default().push(1_000 + u64::from(*row));
        }
        let index = TermIndex::new(1_000..1_200, 0, entries.iter().copied().collect());
        prop_assert_eq!(index.starts.len() * size_of::<u32>() + index.hashes.len() * 12, bytes_of(entries.len()));
        let asked: BTreeSet<u64> = rows.keys().copied().chain(others).collect();
        for hash in asked {
            let known = rows.get(&hash).cloned().unwrap_or_default();
            prop_assert_eq!(index.has(hash), !known.is_empty());
            prop_assert_eq!(index.rows_of(hash).collect::<Vec<_>>(), known.clone());
            let range = 1_000 + within / 2..1_000 + within;
            let inside: Vec<u64> = known.into_iter().filter(|row| range.contains(row)).collect();
            prop_assert_eq!(index.rows_within(hash, range).collect::<Vec<_>>(), inside);
        }
    }
}
