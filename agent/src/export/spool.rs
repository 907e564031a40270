//! Empties a lane of the spool: neighbouring requests of one signal travel as one, and are settled as one.
//!
//! A request's position is its number in the stream of the run that spooled it. JSON requests, which only agents of
//! before have spooled, travel without one, as the protocol has it; their numbers lie inside the next range.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use model::Signal;
use model::positions::Range;

use super::backoff::Backoff;
use super::pack::Packer;
use super::session::{Committed, Told};
use super::{Delivery, Exporter, Outgoing};
use crate::config::Compression;
use crate::queue::{Encoding, Lane, Queue, Spooled};
use crate::status::DropReason;

/// Bytes of joined requests before compression.
const JOINED_BYTES_MAX: usize = 1 << 20;

/// What empties a lane.
struct Shipper {
    exporter: Arc<Exporter>,
    queue: Arc<Queue>,
    signal: Signal,
    lane: Lane,
    /// Where the store stands in each stream.
    committed: Committed,
}

/// Runs until shutdown, when the lane is empty or the collector does not answer.
pub(crate) async fn ship(exporter: Arc<Exporter>, queue: Arc<Queue>, signal: Signal) {
    let Some(committed) = exporter.greeted().await.cloned() else { return };
    let mut shipper = Shipper { exporter, queue, signal, lane: Lane::Signal(signal), committed };
    loop {
        let shutdown = shipper.exporter.stop.shutdown.is_cancelled();
        let Some(group) = take(&shipper.exporter, &shipper.queue, shipper.lane).await else { return };
        shipper.note_lost(group.is_empty());
        if group.is_empty() {
            if shutdown {
                return;
            }
            tokio::select! {
                () = shipper.queue.filled(shipper.lane) => {}
                () = shipper.exporter.stop.shutdown.cancelled() => {}
            }
            continue;
        }
        if !shipper.ship_group(group).await {
            return;
        }
    }
}

/// The next requests of a lane, read again and again until the disk gives them; `None` when shutdown came
/// first.
pub(super) async fn take(exporter: &Exporter, queue: &Queue, lane: Lane) -> Option<Vec<Spooled>> {
    let mut backoff = Backoff::default();
    loop {
        let error = match queue.take(lane, JOINED_BYTES_MAX) {
            Ok(group) => return Some(group),
            Err(error) => error,
        };
        if !exporter.pause("cannot read the spool", &error, &mut backoff).await {
            return None;
        }
    }
}

impl Shipper {
    /// Counts what was damaged. When nothing is behind it, it is settled by itself.
    fn note_lost(&self, is_last: bool) {
        let lost = self.queue.take_lost(self.lane);
        if lost.requests == 0 {
            return;
        }
        let flow = self.exporter.shared.otlp(self.signal);
        flow.dropped(DropReason::Damaged, lost.items);
        flow.dropped_bytes(DropReason::Damaged, lost.bytes);
        if is_last {
            self.queue.settle_taken(self.lane);
        }
    }

    /// Sends joined requests; when they are refused, each by itself, so that one bad request does not
    /// take its neighbours along. `false` when shutdown came first: the rest stays in the spool.
    async fn ship_group(&mut self, group: Vec<Spooled>) -> bool {
        let mut group = group;
        loop {
            let (already, missing) = self.without_committed(group);
            // An earlier run, or an earlier try, did not live to see the answer.
            let known = already.iter().map(|spooled| u64::from(spooled.items)).sum();
            self.exporter.shared.duplicates.fetch_add(known, Relaxed);
            self.settle(&already, &Delivery::Accepted { rejected: 0 });
            group = missing;
            if group.is_empty() {
                return true;
            }
            let delivery = self.send(&group).await;
            match delivery {
                Delivery::GivenUp => return false,
                // What the store lacks before the group was acknowledged once and is gone from the spool.
                Delivery::Gap(_) => {}
                Delivery::Refused if group.len() > 1 => {
                    return Box::pin(self.ship_singly(group)).await;
                }
                delivery => {
                    let is_over = self.pass_over(&group, &delivery).await;
                    if is_over {
                        self.settle(&group, &delivery);
                    }
                    return is_over;
                }
            }
        }
    }

    async fn ship_singly(&mut self, group: Vec<Spooled>) -> bool {
        for single in group {
            if !self.ship_group(vec![single]).await {
                return false;
            }
        }
        true
    }

    /// Parts requests that the store has from those it lacks.
    fn without_committed(&self, group: Vec<Spooled>) -> (Vec<Spooled>, Vec<Spooled>) {
        let committed =
            group.first().and_then(|first| self.committed.get(&first.stream)).copied().unwrap_or_default();
        group.into_iter().partition(|spooled| spooled.number() <= committed)
    }

    fn settle(&self, group: &[Spooled], delivery: &Delivery) {
        let Some(last) = group.last() else { return };
        let records = group.iter().map(|spooled| u64::from(spooled.items)).sum();
        let bytes = group.iter().map(|spooled| u64::from(spooled.raw_bytes)).sum();
        let flow = self.exporter.shared.otlp(self.signal);
        match delivery {
            Delivery::Accepted { rejected } => flow.left(records, *rejected, bytes),
            _ => {
                flow.dropped(DropReason::Refused, records);
                flow.dropped_bytes(DropReason::Refused, bytes);
            }
        }
        self.queue.settle(self.lane, last.after());
    }

    /// The range of a group; none for JSON.
    fn ranges(&self, group: &[Spooled]) -> Vec<Range> {
        let Some((first, last)) = group.first().zip(group.last()) else { return Vec::new() };
        if first.encoding == Encoding::Json {
            return Vec::new();
        }
        // Numbers between the store's position and this group were dropped, damaged, or JSON.
        let start = self.committed.get(&first.stream).copied().unwrap_or(first.before.number);
        let records = group.iter().map(|spooled| u64::from(spooled.items)).sum();
        vec![Range::new(first.stream, start, last.number(), records)]
    }

    /// After a refusal for good: the store passes over the group. `false` when shutdown came first.
    async fn pass_over(&mut self, group: &[Spooled], delivery: &Delivery) -> bool {
        let (Delivery::Refused, true) = (delivery, self.exporter.keeps_positions()) else { return true };
        let ranges: Vec<_> =
            self.ranges(group).into_iter().map(|range| Range { records: 0, ..range }).collect();
        let Some(first) = group.first().filter(|_| !ranges.is_empty()) else { return true };
        let outgoing = Outgoing {
            signal: first.signal,
            encoding: first.encoding,
            body: Bytes::new(),
            compression: Compression::None,
            ranges,
        };
        let delivery = self.exporter.deliver(&outgoing).await;
        self.note(&outgoing, &delivery);
        delivery != Delivery::GivenUp
    }

    /// Remembers where the store stands after an answer.
    fn note(&mut self, outgoing: &Outgoing, delivery: &Delivery) {
        match delivery {
            Delivery::Accepted { .. } if self.exporter.keeps_positions() => {
                self.committed.extend(outgoing.ranges.iter().map(|range| (range.stream, range.end)));
            }
            Delivery::Gap(told) => self.stand_at(told),
            _ => {}
        }
    }

    fn stand_at(&mut self, told: &Told) {
        for (stream, committed) in told {
            match committed {
                Some(committed) => self.committed.insert(*stream, *committed),
                None => self.committed.remove(stream),
            };
        }
    }

    async fn send(&mut self, group: &[Spooled]) -> Delivery {
        let Some(first) = group.first() else { return Delivery::Accepted { rejected: 0 } };
        let (signal, encoding): (Signal, Encoding) = (first.signal, first.encoding);
        let (body, compression) = match body(&self.exporter, group).await {
            Ok(body) => body,
            Err(delivery) => return delivery,
        };
        let outgoing = Outgoing { signal, encoding, body, compression, ranges: self.ranges(group) };
        let delivery = self.exporter.deliver(&outgoing).await;
        self.note(&outgoing, &delivery);
        delivery
    }
}

/// The requests as one, compressed as the configuration says, and how.
pub(super) async fn body(
    exporter: &Arc<Exporter>,
    group: &[Spooled],
) -> Result<(Bytes, Compression), Delivery> {
    let compression = exporter.compression;
    if let [single] = group
        && compression == Compression::Zstd
    {
        return Ok((single.payload.clone(), compression));
    }
    let payloads: Vec<_> = group.iter().map(|spooled| spooled.payload.clone()).collect();
    let joined = tokio::task::spawn_blocking(move || {
        let mut raw = Vec::new();
        for payload in payloads {
            // Concatenated export requests are one request: protobuf joins repeated fields.
            zstd::stream::copy_decode(payload.as_ref(), &mut raw)?;
        }
        std::io::Result::Ok(Packer::new(compression).pack(&mut raw))
    });
    match joined.await {
        Ok(Ok(packed)) => Ok(packed),
        Ok(Err(error)) => {
            tracing::error!(%error, "a spooled request cannot be unpacked");
            Err(Delivery::Refused)
        }
        Err(_) => Err(Delivery::GivenUp),
    }
}
