//! What came in, what left, what waits and what was dropped: the counters of one component and signal.
//!
//! Invariant: `in = out + dropped + buffered`, counted in records; `buffered` is counted on its own, not computed from
//! the others, so that a test can catch a leak.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use model::Signal;
use serde::{Deserialize, Serialize};

/// Why a record did not reach the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// A line without text.
    Blank,
    /// The collector refused the whole request as wrong.
    Refused,
    /// The collector took the request and rejected some of its records (`partial_success`).
    Rejected,
    /// Spooled bytes that no longer carry their checksum.
    Damaged,
    /// A line that became part of the record before it.
    Joined,
    /// A record that the conditions of `drop` and `keep` left out.
    Filtered,
    /// A record outside the share of `sample`.
    Sampled,
    /// A record beyond `rate_limit`.
    RateLimited,
    /// A record like the one before it.
    Repeated,
    /// What the spool had no room for: sent by one that cannot wait, or given up by the policy.
    SpoolFull,
    /// What no parser understands.
    Malformed,
    /// A series beyond the most that an input may have.
    TooManySeries,
    /// What is larger than any request may be.
    TooLarge,
}

impl DropReason {
    /// All reasons.
    pub const ALL: [Self; 13] = [
        Self::Blank,
        Self::Refused,
        Self::Rejected,
        Self::Damaged,
        Self::Joined,
        Self::Filtered,
        Self::Sampled,
        Self::RateLimited,
        Self::Repeated,
        Self::SpoolFull,
        Self::Malformed,
        Self::TooManySeries,
        Self::TooLarge,
    ];

    /// The label of the reason.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Damaged => "damaged",
            Self::Joined => "joined",
            Self::Filtered => "filtered",
            Self::Sampled => "sampled",
            Self::RateLimited => "rate_limited",
            Self::Repeated => "repeated",
            Self::SpoolFull => "spool_full",
            Self::Malformed => "malformed",
            Self::TooManySeries => "too_many_series",
            Self::TooLarge => "too_large",
        }
    }
}

/// The counters of one component and signal.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    input_records: AtomicU64,
    input_bytes: AtomicU64,
    output_records: AtomicU64,
    output_bytes: AtomicU64,
    buffered_records: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    dropped_bytes: [AtomicU64; DropReason::ALL.len()],
}

impl Flow {
    /// Records came in and wait.
    pub(crate) fn entered(&self, records: u64, bytes: u64) {
        if records == 0 && bytes == 0 {
            return;
        }
        self.input_records.fetch_add(records, Relaxed);
        self.input_bytes.fetch_add(bytes, Relaxed);
        self.buffered_records.fetch_add(records, Relaxed);
    }

    /// Waiting records were acknowledged; `rejected` of them were not kept.
    pub(crate) fn left(&self, records: u64, rejected: u64, bytes: u64) {
        let rejected = rejected.min(records);
        self.output_records.fetch_add(records - rejected, Relaxed);
        self.output_bytes.fetch_add(bytes, Relaxed);
        self.dropped[DropReason::Rejected as usize].fetch_add(rejected, Relaxed);
        self.buffered_records.fetch_sub(records, Relaxed);
    }

    /// Waiting records were given up.
    pub(crate) fn dropped(&self, reason: DropReason, records: u64) {
        if records == 0 {
            return;
        }
        self.dropped[reason as usize].fetch_add(records, Relaxed);
        self.buffered_records.fetch_sub(records, Relaxed);
    }

    /// Bytes of records that were given up, as they waited.
    pub(crate) fn dropped_bytes(&self, reason: DropReason, bytes: u64) {
        self.dropped_bytes[reason as usize].fetch_add(bytes, Relaxed);
    }

    /// Records that came in with an earlier run still wait.
    pub(crate) fn recovered(&self, records: u64) {
        self.entered(records, 0);
    }

    /// What was counted as entered was not taken after all.
    pub(crate) fn withdrawn(&self, records: u64, bytes: u64) {
        self.input_records.fetch_sub(records, Relaxed);
        self.input_bytes.fetch_sub(bytes, Relaxed);
        self.buffered_records.fetch_sub(records, Relaxed);
    }

    /// Goes on counting where `earlier` left off. What waited there is read again, from a file or the spool, and counts when it is.
    pub(super) fn carry(&self, earlier: &Self) {
        let waiting = earlier.buffered_records.load(Relaxed);
        self.input_records.fetch_add(earlier.input_records.load(Relaxed).saturating_sub(waiting), Relaxed);
        for (counter, before) in [
            (&self.input_bytes, &earlier.input_bytes),
            (&self.output_records, &earlier.output_records),
            (&self.output_bytes, &earlier.output_bytes),
        ] {
            counter.fetch_add(before.load(Relaxed), Relaxed);
        }
        let reasons = self.dropped.iter().zip(&earlier.dropped);
        for (counter, before) in reasons.chain(self.dropped_bytes.iter().zip(&earlier.dropped_bytes)) {
            counter.fetch_add(before.load(Relaxed), Relaxed);
        }
    }

    pub(crate) fn snapshot(&self, component: &str, signal: Signal) -> FlowStatus {
        FlowStatus {
            component: component.to_owned(),
            signal,
            input_records: self.input_records.load(Relaxed),
            input_bytes: self.input_bytes.load(Relaxed),
            output_records: self.output_records.load(Relaxed),
            output_bytes: self.output_bytes.load(Relaxed),
            buffered_records: self.buffered_records.load(Relaxed),
            dropped: DropReason::ALL
                .map(|reason| (reason, self.dropped[reason as usize].load(Relaxed)))
                .to_vec(),
            dropped_bytes: DropReason::ALL
                .map(|reason| (reason, self.dropped_bytes[reason as usize].load(Relaxed)))
                .into_iter()
                .filter(|(_, bytes)| *bytes > 0)
                .collect(),
        }
    }
}

/// Counters of one component and signal at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FlowStatus {
    /// `files`, `otlp` (the spool), or the table of an input that pushes into the spool.
    pub component: String,
    /// The signal.
    pub signal: Signal,
    /// Records that came in since start, and those an earlier run left in the spool.
    pub input_records: u64,
    /// Their bytes, as read.
    pub input_bytes: u64,
    /// Records the collector acknowledged.
    pub output_records: u64,
    /// Bytes of acknowledged requests before compression.
    pub output_bytes: u64,
    /// Records that are read or spooled and not yet acknowledged.
    pub buffered_records: u64,
    /// Records that will never leave, by reason.
    pub dropped: Vec<(DropReason, u64)>,
    /// Their bytes, where whole requests were given up.
    #[serde(default)]
    pub dropped_bytes: Vec<(DropReason, u64)>,
}

impl FlowStatus {
    /// Records that will never leave.
    pub fn dropped_records(&self) -> u64 {
        self.dropped.iter().map(|(_, count)| count).sum()
    }

    /// What is unaccounted for: `in - (out + dropped + buffered)`, 0 when nothing moves.
    pub fn unaccounted(&self) -> i64 {
        let counted = self.output_records + self.dropped_records() + self.buffered_records;
        self.input_records.wrapping_sub(counted).cast_signed()
    }

    /// Whether nothing is unaccounted for.
    pub fn is_conserved(&self) -> bool {
        self.unaccounted() == 0
    }
}
