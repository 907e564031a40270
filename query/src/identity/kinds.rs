//! The list of id kinds with how often they stand in the store.

use model::{IdRules, TimeRange};
use query_api::{Cut, IdKindRow, IdKindsAnswer};
use storage::{IdKindCount, ScanStats, Snapshot};

use crate::limits::Cancel;
use crate::reads::{query_stats, read_cuts};

pub(super) fn count(
    snapshot: &Snapshot,
    ids: &IdRules,
    range: TimeRange,
    cancel: &Cancel,
) -> Result<IdKindsAnswer, storage::Error> {
    let names: Vec<&str> = ids.kinds().iter().map(|kind| kind.kind.as_str()).collect();
    let mut stats = ScanStats::default();
    let counts = snapshot.count_values(&names, &range, &mut stats, &mut || cancel.flow())?;
    let kinds = ids.kinds().iter().zip(counts).map(|(kind, count)| row(kind, count)).collect();
    let mut cuts = read_cuts(&stats);
    if cancel.is_cancelled() {
        let what = "counting was given up before its end".to_owned();
        let hint = Some("ask for a shorter time range".to_owned());
        cuts.push(Cut { what, limit: "timeout".to_owned(), hint });
    }
    Ok(IdKindsAnswer { range, kinds, cuts, stats: query_stats(&stats) })
}

fn row(kind: &model::ids::IdKind, count: IdKindCount) -> IdKindRow {
    let nanos = |age: std::time::Duration| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
    IdKindRow {
        kind: kind.kind.clone(),
        link: kind.link,
        max_fanout: kind.max_fanout,
        max_age_nano: kind.max_age.map(nanos),
        recorded_as: kind.recorded_as.clone(),
        sources: kind.sources.clone(),
        values_in_spans: count.values_in_spans,
        values_in_logs: count.values_in_logs,
        example: count.example.and_then(|text| text.parse().ok()),
    }
}
