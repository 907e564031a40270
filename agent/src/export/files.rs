//! Sends file batches one after the other, so that acknowledgements come in order.
//!
//! ```text
//! hello ─► Placed(committed, and what waits in the spool) ─► the reader begins
//! batch ─► taken, or refused for good ─► Acknowledged
//!       ├► gap ─► asks the reader: reads again ─► this batch and those made before are dropped
//!       │                       └► cannot ─► sent as it is, from where the store stands
//!       └► the reader lets go of deleted files ─► into the spool, synced ─► Acknowledged
//! ```
//!
//! Batches in the spool leave before any newer one, as they are: the collector recognises a batch that it has by
//! its ranges, whichever way it comes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::Signal;
use model::positions::Range;
use tokio::sync::{mpsc, oneshot, watch};

use super::backoff::Backoff;
use super::pack::unpack;
use super::session::{Committed, Told};
use super::{Delivery, Exporter, Outgoing, spool};
use crate::config::Compression;
use crate::input::file::batch::Batch;
use crate::input::file::task::Event;
use crate::queue::{Encoding, Lane, Queue, QueueError, Spooled};
use crate::status::DropReason;

/// How long a batch that found no room in the spool is tried to be sent before the spool is asked again.
const SPILL_AGAIN: Duration = Duration::from_secs(2);

/// What became of a batch.
enum Shipped {
    /// Taken, or refused for good.
    Settled,
    /// The reader reads its lines again.
    ReadAgain,
    /// Shutdown came first, or the reader is gone.
    GivenUp,
}

/// What ships the batches of the reader.
struct Shipper {
    exporter: Arc<Exporter>,
    queue: Arc<Queue>,
    events: mpsc::Sender<Event>,
    spills: watch::Receiver<bool>,
    /// Taken from the spool and not settled.
    spilled: Option<Spooled>,
    /// Batches made before this turn of the reader are dropped.
    turn: u64,
}

/// The ends of the channels to the reader.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) batches: mpsc::Receiver<Batch>,
    pub(crate) events: mpsc::Sender<Event>,
    /// Whether the reader lets go of deleted files.
    pub(crate) spills: watch::Receiver<bool>,
}

/// Runs until the file input ends or shutdown gives up a batch.
pub(crate) async fn ship(exporter: Arc<Exporter>, queue: Arc<Queue>, link: Link) {
    let Link { mut batches, events, spills } = link;
    let Some(committed) = exporter.greeted().await else { return };
    let Some(committed) = with_spilled(&exporter, &queue, committed.clone()).await else { return };
    if events.send(Event::Placed(committed)).await.is_err() {
        return;
    }
    let mut shipper = Shipper { exporter, queue, events, spills, spilled: None, turn: 0 };
    loop {
        let has_spilled = shipper.has_spilled();
        let batch = tokio::select! {
            biased;
            batch = batches.recv() => batch,
            went_on = shipper.ship_spilled(), if has_spilled => match went_on {
                true => continue,
                false => return,
            },
        };
        let Some(batch) = batch else { return };
        if !shipper.ship_batch(batch).await {
            return;
        }
    }
}

/// Where the reader goes on: behind what the store has, and behind what waits in the spool.
async fn with_spilled(exporter: &Exporter, queue: &Queue, committed: Committed) -> Option<Committed> {
    let (mut committed, mut backoff) = (committed, Backoff::default());
    loop {
        match queue.spilled() {
            Ok(ends) => {
                for (stream, end) in ends {
                    let at = committed.entry(stream).or_default();
                    *at = end.max(*at);
                }
                return Some(committed);
            }
            Err(error) if exporter.pause("cannot read the spool", &error, &mut backoff).await => {}
            Err(_) => return None,
        }
    }
}

impl Shipper {
    fn has_spilled(&self) -> bool {
        self.spilled.is_some() || self.queue.waiting(Lane::Files).requests > 0
    }

    /// Sends or spools a batch; `false` when the end came first.
    async fn ship_batch(&mut self, batch: Batch) -> bool {
        if batch.turn < self.turn {
            discard(&self.exporter, &batch);
            return true;
        }
        match self.ship_one(&batch).await {
            Shipped::Settled => {
                self.exporter.sessions().forget(batch.forget);
                self.events.send(Event::Acknowledged(batch.ranges)).await.is_ok()
            }
            Shipped::ReadAgain => {
                self.turn = batch.turn + 1;
                discard(&self.exporter, &batch);
                true
            }
            Shipped::GivenUp => false,
        }
    }

    async fn ship_one(&mut self, batch: &Batch) -> Shipped {
        let mut may_spill = true;
        loop {
            if may_spill && *self.spills.borrow_and_update() && batch.records > 0 {
                match self.spool(batch).await {
                    Ok(()) => return Shipped::Settled,
                    Err(error) => tracing::warn!(%error, "a deleted file stays open"),
                }
                may_spill = false;
            }
            let mut spills = self.spills.clone();
            tokio::select! {
                shipped = self.deliver_in_order(batch) => return shipped,
                () = tokio::time::sleep(SPILL_AGAIN), if !may_spill => may_spill = true,
                changed = spills.wait_for(|spills| *spills), if may_spill => {
                    if changed.is_err() {
                        return Shipped::GivenUp;
                    }
                }
            }
        }
    }

    /// What is in the spool, then the batch.
    async fn deliver_in_order(&mut self, batch: &Batch) -> Shipped {
        while self.has_spilled() {
            if !self.ship_spilled().await {
                return Shipped::GivenUp;
            }
        }
        deliver(&self.exporter, batch, &self.events).await
    }

    /// Writes a batch into the spool; durable on return.
    async fn spool(&self, batch: &Batch) -> Result<(), QueueError> {
        let (queue, clock) = (Arc::clone(&self.queue), Arc::clone(&self.exporter.shared.clock));
        let (ranges, records, raw_bytes) = (batch.positions(), batch.records, batch.request_bytes as usize);
        let (body, compression) = (batch.body.clone(), batch.compression);
        let spooling = tokio::task::spawn_blocking(move || {
            let payload = match compression {
                Compression::Zstd => body,
                other => zstd::encode_all(unpack(&body, other)?.as_ref(), 1)?.into(),
            };
            let spooled = Spooled::new(Signal::Logs, Encoding::Protobuf, records, raw_bytes, payload);
            queue.append(Lane::Files, &Spooled { time: clock.now(), ranges, ..spooled }).map(drop)
        });
        spooling.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }

    /// Sends the oldest batch in the spool; `false` when shutdown came first.
    async fn ship_spilled(&mut self) -> bool {
        if self.spilled.is_none() {
            let Some(mut group) = spool::take(&self.exporter, &self.queue, Lane::Files).await else {
                return false;
            };
            self.note_lost(group.is_empty());
            self.spilled = group.pop();
        }
        let Some(spooled) = self.spilled.clone() else { return true };
        let records = u64::from(spooled.items);
        let flow = &self.exporter.shared.files;
        let (body, compression) = match spool::body(&self.exporter, std::slice::from_ref(&spooled)).await {
            Ok(body) => body,
            Err(Delivery::GivenUp) => return false,
            Err(_) => {
                flow.dropped(DropReason::Damaged, records);
                self.settle(&spooled);
                return true;
            }
        };
        let ranges = spooled.ranges.clone();
        let mut outgoing =
            Outgoing { signal: Signal::Logs, encoding: Encoding::Protobuf, body, compression, ranges };
        loop {
            match self.exporter.deliver(&outgoing).await {
                Delivery::Accepted { rejected } => {
                    flow.left(records, rejected, u64::from(spooled.raw_bytes));
                    break;
                }
                Delivery::Refused => {
                    flow.dropped(DropReason::Refused, records);
                    if matches!(move_positions(&self.exporter, outgoing).await, Shipped::GivenUp) {
                        return false;
                    }
                    break;
                }
                Delivery::Gap(told) => self.exporter.shared.gap_lost(bridge(&mut outgoing.ranges, &told)),
                Delivery::GivenUp => return false,
            }
        }
        self.settle(&spooled);
        true
    }

    fn settle(&mut self, spooled: &Spooled) {
        self.queue.settle(Lane::Files, spooled.after());
        self.spilled = None;
    }

    fn note_lost(&self, is_last: bool) {
        let lost = self.queue.take_lost(Lane::Files);
        if lost.requests > 0 {
            self.exporter.shared.files.dropped(DropReason::Damaged, lost.items);
            self.exporter.shared.files.dropped_bytes(DropReason::Damaged, lost.bytes);
        }
        if is_last {
            // Nothing behind it that would move the cursor.
            self.queue.settle_taken(Lane::Files);
        }
    }
}

/// Lines that will be read again are not counted twice.
fn discard(exporter: &Exporter, batch: &Batch) {
    exporter.shared.files.withdrawn(batch.records, batch.input_bytes);
}

async fn deliver(exporter: &Arc<Exporter>, batch: &Batch, events: &mpsc::Sender<Event>) -> Shipped {
    if batch.records == 0 && !exporter.keeps_positions() {
        return Shipped::Settled;
    }
    let mut outgoing = Outgoing {
        signal: Signal::Logs,
        encoding: Encoding::Protobuf,
        body: batch.body.clone(),
        compression: batch.compression,
        ranges: batch.positions(),
    };
    let flow = &exporter.shared.files;
    loop {
        match exporter.deliver(&outgoing).await {
            Delivery::Accepted { rejected } => flow.left(batch.records, rejected, batch.request_bytes),
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
    let nothing = Outgoing { body: Bytes::new(), compression: Compression::None, ranges, ..refused };
    match exporter.deliver(&nothing).await {
        Delivery::GivenUp => Shipped::GivenUp,
        // A gap here shows again with the next batch, and is mended there.
        Delivery::Accepted { .. } | Delivery::Refused | Delivery::Gap(_) => Shipped::Settled,
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
