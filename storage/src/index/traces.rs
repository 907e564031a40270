//! Documents of a trace, by binary search: within every bucket documents are sorted by trace.
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
            let first = partition(bucket.clone(), |document| number(&self.trace, document) < wanted);
            // Most buckets do not have it.
            if first == bucket.end || number(&self.trace, first) != wanted {
                continue;
            }
            let last = partition(first..bucket.end, |document| number(&self.trace, document) <= wanted);
            if last - first == 1 {
                found.extend((number(&self.rest, first) == rest & LAST_FOUR).then_some(first));
            } else {
                let first = partition(first..last, |document| number(&self.rest, document) < rest);
                found.extend((first..last).take_while(|document| number(&self.rest, *document) == rest));
            }
        }
    }
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
    use super::*;

    #[test]
    fn partition_finds_the_first_that_is_not_before() {
        for wanted in 0..6 {
            assert_eq!(partition(0..5, |at| at < wanted), wanted.min(5));
        }
        assert_eq!(partition(3..3, |_| true), 3);
    }
}
