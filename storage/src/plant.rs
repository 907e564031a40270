//! Bugs that tests plant, to see that the tests would find them.
//!
//! Owns: the list, and the switch. Does not own: what a bug does, which stands where it is planted as
//! `if planted.has(…)`. Outside of this crate's tests [`Planted::has`] is `false` before the program runs, and what
//! it guards is not compiled in.

#[cfg(test)]
mod tests;

/// A bug. Where a test of its own has to notice it, see `plant/tests.rs` and `docs/reliability.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    // The log, writing.
    SkipSync,
    SkipDirSync,
    AcknowledgeBeforeSync,
    RetrySync,
    ReuseSequences,
    TrimOneTooMany,
    EpochLeftOut,
    ReusedNameNotSynced,
    // The log, reading.
    BodyNotChecked,
    StopAtBadRecord,
    DamageTakenForTorn,
    ReplayFromOneBefore,
    EarlierHeaderBelieved,
    // Sealing.
    SegmentNotSynced,
    SegmentNameNotSynced,
    TrimBeforeCommit,
    PositionsLeftOut,
    HeadHiddenWhileSealing,
    HeadKeptAfterSealing,
    FailedSealForgetsRows,
    FutureBelieved,
    IndexOneRowOff,
    // Compaction and retention.
    InputsRemovedBeforeCommit,
    DuplicatesKept,
    DeletedRowsMerged,
    RetentionByFirstRow,
    // Deletes.
    DeleteNotWritten,
    DeletedRowsReplayed,
    DeletedRowsNotHiddenAgain,
}

/// The bug that is planted, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Planted {
    #[cfg(test)]
    plant: Option<Plant>,
}

impl Planted {
    /// Plants a bug.
    #[cfg(test)]
    pub(crate) const fn new(plant: Plant) -> Self {
        Self { plant: Some(plant) }
    }

    /// Whether this bug is planted.
    #[cfg(test)]
    pub(crate) fn has(self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// Whether this bug is planted.
    #[cfg(not(test))]
    pub(crate) const fn has(self, _plant: Plant) -> bool {
        false
    }
}
