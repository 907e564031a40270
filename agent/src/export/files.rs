//! Sends file batches one after the other, so that acknowledgements come in order.
//!
//! ```text
//! hello ─► Placed(committed) ─► the reader begins
//! batch ─► taken, or refused for good ─► Acknowledged
//!       └► gap ─► asks the reader: reads again ─► this batch and those made before are dropped
//!                               └► cannot ─► sent as it is, from where the store stands
//! ```

use std::sync::Arc;

use bytes::Bytes;
use model::Signal;
use model::positions::Range;
use tokio::sync::{mpsc, oneshot};

use super::backoff::Backoff;
use super::session::Told;
use super::{Delivery, Exporter, Outgoing};
use crate::input::file::batch::Batch;
use crate::input::file::task::Event;
use crate::queue::Encoding;
use crate::status::DropReason;

/// What became of a batch.
enum Shipped {
    /// Taken, or refused for good.
    Settled,
    /// The reader reads its lines again.
    ReadAgain,
    /// Shutdown came first, or the reader is gone.
    GivenUp,
}

/// Runs until the file input ends or shutdown gives up a batch.
pub(crate) async fn ship(
    exporter: Arc<Exporter>,
    mut batches: mpsc::Receiver<Batch>,
    events: mpsc::Sender<Event>,
) {
    let Some(committed) = exporter.greeted().await else { return };
    if events.send(Event::Placed(committed.clone())).await.is_err() {
        return;
    }
    // Batches made before this turn of the reader are dropped.
    let mut turn = 0;
    while let Some(batch) = batches.recv().await {
        if batch.turn < turn {
            discard(&exporter, &batch);
            continue;
        }
        match ship_one(&exporter, &batch, &events).await {
            Shipped::Settled => {
                exporter.sessions().forget(batch.forget);
                if events.send(Event::Acknowledged(batch.ranges)).await.is_err() {
                    return;
                }
            }
            Shipped::ReadAgain => {
                turn = batch.turn + 1;
                discard(&exporter, &batch);
            }
            Shipped::GivenUp => return,
        }
    }
}

/// Lines that will be read again are not counted twice.
fn discard(exporter: &Exporter, batch: &Batch) {
    exporter.shared.files.withdrawn(batch.records, batch.input_bytes);
}

async fn ship_one(exporter: &Arc<Exporter>, batch: &Batch, events: &mpsc::Sender<Event>) -> Shipped {
    if batch.records == 0 && !exporter.keeps_positions() {
        return Shipped::Settled;
    }
    let bytes = batch.request.len() as u64;
    let Some(body) = compress(exporter, batch.request.clone()).await else { return Shipped::GivenUp };
    let ranges = batch.positions();
    let mut outgoing = Outgoing { signal: Signal::Logs, encoding: Encoding::Protobuf, body, ranges };
    let flow = &exporter.shared.files;
    loop {
        match exporter.deliver(&outgoing).await {
            Delivery::Accepted { rejected } => flow.left(batch.records, rejected, bytes),
            Delivery::Refused => {
                flow.dropped(DropReason::Refused, batch.records);
                return move_positions(exporter, outgoing).await;
            }
            Delivery::Gap(told) => match reads_again(&told, events).await {
                Some(true) => return Shipped::ReadAgain,
                Some(false) => {
                    let lost = bridge(&mut outgoing.ranges, &told);
                    tracing::error!(lost, "the collector missed bytes of files that are gone");
                    exporter.shared.gap_lost(lost);
                    continue;
                }
                None => return Shipped::GivenUp,
            },
            Delivery::GivenUp => return Shipped::GivenUp,
        }
        return Shipped::Settled;
    }
}

/// Asks the reader; `None` when it is gone.
async fn reads_again(told: &Told, events: &mpsc::Sender<Event>) -> Option<bool> {
    let (answer, answered) = oneshot::channel();
    events.send(Event::Gap { told: told.clone(), answer }).await.ok()?;
    answered.await.ok()
}

/// Lets ranges begin where the store stands; the bytes between that are lost.
fn bridge(ranges: &mut [Range], told: &Told) -> u64 {
    let mut lost = 0;
    for range in ranges {
        let committed = told.iter().find(|(stream, _)| *stream == range.stream).and_then(|(_, at)| *at);
        if let Some(committed) = committed.filter(|committed| *committed < range.end) {
            lost += range.start.saturating_sub(committed);
            range.start = committed;
        }
    }
    lost
}

/// After a refusal for good: the store passes over the range, so that what follows is no gap.
async fn move_positions(exporter: &Arc<Exporter>, refused: Outgoing) -> Shipped {
    if !exporter.keeps_positions() {
        return Shipped::Settled;
    }
    let ranges = refused.ranges.into_iter().map(|range| Range { records: 0, ..range }).collect();
    let Some(body) = compress(exporter, Bytes::new()).await else { return Shipped::GivenUp };
    match exporter.deliver(&Outgoing { body, ranges, ..refused }).await {
        Delivery::GivenUp => Shipped::GivenUp,
        // A gap here shows again with the next batch, and is mended there.
        Delivery::Accepted { .. } | Delivery::Refused | Delivery::Gap(_) => Shipped::Settled,
    }
}

/// Compresses, again and again until it works; `None` when shutdown came first.
async fn compress(exporter: &Arc<Exporter>, request: Bytes) -> Option<Bytes> {
    let mut backoff = Backoff::default();
    loop {
        let (compressing, request) = (Arc::clone(exporter), request.clone());
        match tokio::task::spawn_blocking(move || compressing.compress(request)).await {
            Ok(Ok(body)) => return Some(body),
            Ok(Err(error)) if exporter.pause("cannot compress a batch", &error, &mut backoff).await => {}
            Ok(Err(_)) | Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use model::positions::StreamId;

    use super::*;

    #[test]
    fn a_range_is_stretched_to_where_the_store_stands_and_the_bytes_between_are_counted() {
        let (gapped, other) = (StreamId([1; 16]), StreamId([2; 16]));
        let mut ranges = [Range::new(gapped, 100, 150, 3), Range::new(other, 7, 9, 1)];
        assert_eq!(bridge(&mut ranges, &vec![(gapped, Some(60)), (other, None)]), 40);
        assert_eq!(ranges, [Range::new(gapped, 60, 150, 3), Range::new(other, 7, 9, 1)]);
        assert_eq!(bridge(&mut ranges, &vec![(gapped, Some(150))]), 0, "a duplicate stays one");
        assert_eq!(ranges[0].start, 60);
    }
}
