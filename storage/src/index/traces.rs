//! Documents of a trace, by searching: within every bucket documents are sorted by trace, and traces are spread evenly.
//!
//! ```text
//! bucket   minute, with traces │ minute, without │ minute, with traces │ …
//! trace    0a… 1b… 1b… f7…     │                 │ 03… 5c…             │     first half of the id
//! rest            d1… e2…                                                    the other, or four bytes of it
//! ```

use std::ops::Range;

use model::TraceId;
use tantivy::DocId;
use tantivy::columnar::Column;

use super::{LAST_FOUR, halves, number};

pub(super) struct Traces {
    trace: Column,
    rest: Column,
    /// Of those that have traces.
    buckets: Vec<Range<DocId>>,
}

impl Traces {
    pub(super) fn new(bucket: &Column, trace: Column, rest: Column, documents: DocId) -> Self {
        let (mut buckets, mut start) = (Vec::new(), 0);
        while start < documents {
            let bucket_here = number(bucket, start);
            let end = partition(start..documents, |document| number(bucket, document) <= bucket_here);
            if bucket_here.is_multiple_of(2) {
                buckets.push(start..end);
            }
            start = end;
        }
        Self { trace, rest, buckets }
    }

    /// The documents of a trace.
    pub(super) fn find(&self, trace: TraceId, found: &mut Vec<DocId>) {
        let (wanted, rest) = halves(trace);
        for bucket in &self.buckets {
            let first = first_not_below(bucket.clone(), wanted, |document| number(&self.trace, document));
            // Most buckets do not have it.
            if first == bucket.end || number(&self.trace, first) != wanted {
                continue;
            }
            let is_alone = first + 1 == bucket.end || number(&self.trace, first + 1) != wanted;
            let last = match is_alone {
                true => first + 1,
                false => partition(first..bucket.end, |document| number(&self.trace, document) <= wanted),
            };
            if last - first == 1 {
                found.extend((number(&self.rest, first) == rest & LAST_FOUR).then_some(first));
            } else {
                let first = partition(first..last, |document| number(&self.rest, document) < rest);
                found.extend((first..last).take_while(|document| number(&self.rest, *document) == rest));
            }
        }
    }
}

/// Places to look at first, each guessed from the values at those before.
const GUESSES: usize = 3;

/// The first of sorted documents whose value is not below `wanted`. Ids are drawn evenly, so that a guess is near, and the
/// next one next to it: a halving would look at places all over the column, and wait for memory at each.
fn first_not_below(range: Range<DocId>, wanted: u64, value: impl Fn(DocId) -> u64) -> DocId {
    // What is before `from` is below, and what is from `to` on is not.
    let (mut from, mut to) = (range.start, range.end);
    let (mut low, mut high, mut is_below) = (0, u64::MAX, false);
    for _ in 0..GUESSES {
        if from == to {
            return from;
        }
        let share = u128::from(wanted - low) * u128::from(to - from) / u128::from(high - low).max(1);
        let guess = (from + share as DocId).min(to - 1);
        let here = value(guess);
        is_below = here < wanted;
        if is_below { (from, low) = (guess + 1, here) } else { (to, high) = (guess, here) }
    }
    let mut step = 1;
    while from < to {
        let next = if is_below { from + step.min(to - from) - 1 } else { to - step.min(to - from) };
        if (value(next) < wanted) != is_below {
            if is_below {
                to = next
            } else {
                from = next + 1
            }
            break;
        }
        if is_below {
            from = next + 1
        } else {
            to = next
        }
        step *= 2;
    }
    partition(from..to, |document| value(document) < wanted)
}

/// The first of sorted documents for which `is_before` does not hold.
fn partition(range: Range<DocId>, is_before: impl Fn(DocId) -> bool) -> DocId {
    let (mut from, mut to) = (range.start, range.end);
    while from < to {
        let middle = from + (to - from) / 2;
        if is_before(middle) { from = middle + 1 } else { to = middle }
    }
    from
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    proptest! {
        #[test]
        fn guessing_finds_what_halving_finds_however_values_are_spread(
            mut values in prop::collection::vec(prop_oneof![any::<u64>(), 0..9_u64, Just(u64::MAX)], 0..300),
            wanted in prop_oneof![any::<u64>(), 0..9_u64, Just(u64::MAX)],
            at in any::<prop::sample::Index>(),
            is_there in any::<bool>(),
            start in 0..5_u32,
        ) {
            values.sort_unstable();
            let is_there = is_there && !values.is_empty();
            let wanted = if is_there { values[at.index(values.len())] } else { wanted };
            let range = start..start + values.len() as DocId;
            let found = first_not_below(range, wanted, |document| values[(document - start) as usize]);
            prop_assert_eq!(found, start + values.partition_point(|value| *value < wanted) as DocId);
        }
    }

    #[test]
    fn of_evenly_spread_values_few_are_looked_at() {
        let values: Vec<u64> = (0..20_000_u64).map(|at| xxh3_64(&at.to_le_bytes())).collect();
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let looks = std::cell::Cell::new(0);
        let value = |document: DocId| {
            looks.set(looks.get() + 1);
            sorted[document as usize]
        };
        values.iter().take(1_000).for_each(|wanted| {
            first_not_below(0..20_000, *wanted, value);
        });
        assert!(looks.get() < 9_000, "{} looks for a thousand values", looks.get());
    }

    #[test]
    fn partition_finds_the_first_that_is_not_before() {
        for wanted in 0..6 {
            assert_eq!(partition(0..5, |at| at < wanted), wanted.min(5));
        }
        assert_eq!(partition(3..3, |_| true), 3);
    }
}
