//! A histogram of durations with buckets of equal relative width.
//!
//! ```text
//! value   0 … 63        each its own bucket
//!         64 … 127      32 buckets of 2        every power of two above is cut into 32 buckets
//!         128 … 255     32 buckets of 4
//! ```
//!
//! A quantile is the middle of its bucket: wrong by 1/64 (1.6 %) of the value at most.

use std::collections::BTreeMap;

const SUB_BITS: u32 = 5;

/// Counts by bucket. At most some 1,900 buckets, as many as values differ.
#[derive(Clone, Debug, Default)]
pub(super) struct Sketch {
    buckets: BTreeMap<u16, u64>,
    count: u64,
}

impl Sketch {
    /// Adds a value; negative ones count as 0.
    pub(super) fn add(&mut self, value: i64) {
        *self.buckets.entry(bucket(value.max(0).unsigned_abs())).or_default() += 1;
        self.count += 1;
    }

    /// The value below which `quantile` (0 to 1) of all values lie; `None` without values.
    pub(super) fn quantile(&self, quantile: f64) -> Option<i64> {
        let rank = ((quantile * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        self.buckets.iter().find_map(|(bucket, count)| {
            seen += count;
            (seen >= rank).then(|| middle(*bucket))
        })
    }
}

fn bucket(value: u64) -> u16 {
    let bits = u64::BITS - value.leading_zeros();
    let shift = bits.saturating_sub(SUB_BITS + 1);
    // Values of `bits` bits keep their first six: one of 32 buckets of their power of two.
    (u64::from(shift << SUB_BITS) + (value >> shift)) as u16
}

fn middle(bucket: u16) -> i64 {
    let bucket = u64::from(bucket);
    let shift = (bucket >> SUB_BITS).saturating_sub(1);
    let start = (bucket - (shift << SUB_BITS)) << shift;
    let middle = start + ((1 << shift) - 1) / 2;
    i64::try_from(middle).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_sets_have_the_quantiles_one_expects() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.quantile(0.5), None);
        (1..=60).for_each(|value| sketch.add(value));
        assert_eq!(sketch.quantile(0.5), Some(30));
        assert_eq!(sketch.quantile(0.99), Some(60));
        assert_eq!(sketch.quantile(0.0), Some(1));
    }

    proptest! {
        #[test]
        fn every_value_comes_back_within_a_sixty_fourth(value in 0..=i64::MAX) {
            let mut sketch = Sketch::default();
            sketch.add(value);
            let back = sketch.quantile(0.5).expect("one value");
            prop_assert!(back.abs_diff(value) <= value.unsigned_abs() / 64, "{value} became {back}");
        }

        #[test]
        fn larger_values_never_have_smaller_buckets(a in 0..=u64::MAX >> 1, b in 0..=u64::MAX >> 1) {
            prop_assert_eq!(a.cmp(&b).is_le() && bucket(a) > bucket(b), false);
        }
    }
}
