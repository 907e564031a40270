//! Where the tap stopped last time: what it recorded says so.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use arrow::array::{Array as _, AsArray as _, RecordBatch, StringArray};
use model::kafka::MESSAGE_EVENT;
use model::{Signal, TimeRange, UnixNano};
use storage::{ScanOrder, ScanStats, Snapshot};

use super::Place;

/// Records older than this are not looked through.
const LOOK_BACK: Duration = Duration::from_secs(24 * 3600);
/// Rows that are looked through at most.
const ROWS_MAX: usize = 20_000_000;

/// The offset behind the last recorded message of each of the `places` of which one is recorded.
pub(super) fn positions(snapshot: &Snapshot, places: &[Place], now: UnixNano) -> HashMap<Place, i64> {
    let range = TimeRange { from: now.minus(LOOK_BACK), to: UnixNano(i64::MAX) };
    let mut next: HashMap<Place, i64> = HashMap::new();
    let mut rows = 0;
    let mut visit = |batch: &RecordBatch| {
        rows += batch.num_rows();
        read(batch, &mut next);
        match rows > ROWS_MAX {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let mut stats = ScanStats::default();
    let columns = ["event_name", "body"];
    let scanned = snapshot.scan(Signal::Logs, &range, &columns, ScanOrder::Newest, &mut stats, &mut visit);
    if let Err(error) = scanned {
        tracing::warn!("finding where the Kafka tap stopped: {error}; it begins as if it were new");
    }
    next.retain(|place, _| places.contains(place));
    next
}

fn read(batch: &RecordBatch, next: &mut HashMap<Place, i64>) {
    let column = |name: &str| -> Option<&StringArray> { batch.column_by_name(name)?.as_string_opt() };
    let (Some(events), Some(bodies)) = (column("event_name"), column("body")) else { return };
    for row in (0..events.len()).filter(|row| events.value(*row) == MESSAGE_EVENT) {
        if let Some((place, offset)) = place(bodies.value(row)) {
            let known = next.entry(place).or_insert(offset + 1);
            *known = (*known).max(offset + 1);
        }
    }
}

/// Reads `topic/partition@offset` at the beginning of a body.
fn place(body: &str) -> Option<(Place, i64)> {
    let (topic, rest) = body.split_once('/')?;
    let (partition, rest) = rest.split_once('@')?;
    let offset = rest.split(' ').next()?;
    Some(((topic.to_owned(), partition.parse().ok()?), offset.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_where_its_message_is() {
        assert_eq!(place("orders.v1/3@88123 key=a/b@c"), Some((("orders.v1".to_owned(), 3), 88_123)));
        assert_eq!(place("orders/3@88123"), Some((("orders".to_owned(), 3), 88_123)));
        assert_eq!(place("nonsense"), None);
    }
}
