//! Every planted bug is caught by a test of ours, and without a bug that test finds nothing.
//!
//! `docs/reliability.md` has the same table for people.

use super::Plant;
use crate::{store, wal};

/// What notices a bug: the difference it finds.
type Catcher = fn(Plant) -> Option<String>;

const BUGS: [(Plant, Catcher); 30] = {
    use Plant::*;
    let cuts_in_the_log: Catcher = wal::tests::crash::caught;
    let flips: Catcher = wal::tests::damage::caught_by_flips;
    let remains: Catcher = wal::tests::reuse::caught_by_remains;
    let other_file: Catcher = wal::tests::damage::caught_by_a_record_of_another_file;
    let list: Catcher = |plant| store::tests::whole::caught(plant, 400);
    let cuts: Catcher = store::tests::whole::caught_by_cuts;
    let deleted: Catcher = store::tests::whole::caught_by_a_delete_before_a_restart;
    let half_old: Catcher = store::tests::whole::caught_by_a_segment_that_is_half_too_old;
    let merged: Catcher = store::tests::whole::caught_by_repeated_spans;
    [
        (SkipSync, cuts_in_the_log),
        (SkipDirSync, cuts_in_the_log),
        (AcknowledgeBeforeSync, cuts_in_the_log),
        (RetrySync, cuts_in_the_log),
        (ReuseSequences, cuts_in_the_log),
        (TrimOneTooMany, cuts_in_the_log),
        (EpochLeftOut, other_file),
        (EpochLeftOut, remains),
        (ReusedNameNotSynced, cuts_in_the_log),
        (EarlierHeaderBelieved, remains),
        (BodyNotChecked, flips),
        (StopAtBadRecord, flips),
        (DamageTakenForTorn, flips),
        (ReplayFromOneBefore, cuts),
        (SegmentNotSynced, cuts),
        (SegmentNameNotSynced, cuts),
        (TrimBeforeCommit, cuts),
        (PositionsLeftOut, list),
        (HeadHiddenWhileSealing, list),
        (HeadKeptAfterSealing, list),
        (FailedSealForgetsRows, list),
        (FutureBelieved, list),
        (IndexOneRowOff, list),
        (InputsRemovedBeforeCommit, cuts),
        (DuplicatesKept, merged),
        (DeletedRowsMerged, list),
        (RetentionByFirstRow, half_old),
        (DeleteNotWritten, list),
        (DeletedRowsReplayed, deleted),
        (DeletedRowsNotHiddenAgain, list),
    ]
};

#[test]
fn every_planted_bug_is_caught() {
    let mut escaped = Vec::new();
    // Without a bug they find nothing: the others are tests of their own.
    assert_eq!(store::tests::whole::caught_by_a_delete_before_a_restart(Plant::SkipDirSync), None);
    assert_eq!(store::tests::whole::caught_by_a_segment_that_is_half_too_old(Plant::SkipDirSync), None);
    for (plant, catcher) in BUGS {
        match catcher(plant) {
            Some(difference) => tracing::debug!("{plant:?}: {difference}"),
            None => escaped.push(plant),
        }
    }
    assert!(escaped.is_empty(), "not noticed: {escaped:?}");
}
