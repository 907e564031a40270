//! Empties the spool: neighbouring requests of one signal travel as one, and are settled as one.
//!
//! A request's position is its number in the stream of the run that spooled it. JSON requests travel
//! without one, as the protocol has it; their numbers lie inside the next range.

use std::sync::Arc;

use bytes::Bytes;
use model::Signal;
use model::positions::Range;

use super::backoff::Backoff;
use super::session::{Committed, Told};
use super::{Delivery, Exporter, Outgoing};
use crate::config::Compression;
use crate::queue::{Encoding, Queue, Spooled};
use crate::status::DropReason;

/// Bytes of joined requests before compression.
const JOINED_BYTES_MAX: usize = 1 << 20;

/// What empties the spool.
struct Shipper {
    exporter: Arc<Exporter>,
    queue: Arc<Queue>,
    /// Where the store stands in each stream.
    committed: Committed,
}

/// Runs until shutdown, when the spool is empty or the collector does not answer.
pub(crate) async fn ship(exporter: Arc<Exporter>, queue: Arc<Queue>) {
    let Some(committed) = exporter.greeted().await.cloned() else { return };
    let mut shipper = Shipper { exporter, queue, committed };
    loop {
        let shutdown = shipper.exporter.stop.shutdown.is_cancelled();
        let Some(group) = shipper.take().await else { return };
        for (signal, records) in shipper.queue.take_lost() {
            // How many records the damaged requests held is no longer known; each counts as one.
            shipper.exporter.shared.otlp(signal).recovered(records);
            shipper.exporter.shared.otlp(signal).dropped(DropReason::Damaged, records);
        }
        if group.is_empty() {
            if shutdown {
                return;
            }
            tokio::select! {
                () = shipper.queue.filled() => {}
                () = shipper.exporter.stop.shutdown.cancelled() => {}
            }
            continue;
        }
        if !shipper.ship_group(group).await {
            return;
        }
    }
}

impl Shipper {
    /// The next requests, read again and again until the disk gives them; `None` when shutdown came first.
    async fn take(&self) -> Option<Vec<Spooled>> {
        let mut backoff = Backoff::default();
        loop {
            let error = match self.queue.take(JOINED_BYTES_MAX) {
                Ok(group) => return Some(group),
                Err(error) => error,
            };
            self.exporter.shared.set_spool(self.queue.status());
            if !self.exporter.pause("cannot read the spool", &error, &mut backoff).await {
                return None;
            }
        }
    }

    /// Sends joined requests; when they are refused, each by itself, so that one bad request does not
    /// take its neighbours along. `false` when shutdown came first: the rest stays in the spool.
    async fn ship_group(&mut self, group: Vec<Spooled>) -> bool {
        let mut group = group;
        loop {
            let (already, missing) = self.without_committed(group);
            // An earlier run, or an earlier try, did not live to see the answer.
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
        let stream = group.first().and_then(|first| self.queue.stream_of(first.number));
        let committed = stream.and_then(|stream| self.committed.get(&stream)).copied().unwrap_or_default();
        group.into_iter().partition(|spooled| spooled.number <= committed)
    }

    fn settle(&self, group: &[Spooled], delivery: &Delivery) {
        let Some((first, last)) = group.first().zip(group.last()) else { return };
        let records = group.iter().map(|spooled| u64::from(spooled.items)).sum();
        let bytes = group.iter().map(|spooled| spooled.raw_bytes as u64).sum();
        let flow = self.exporter.shared.otlp(first.signal);
        match delivery {
            Delivery::Accepted { rejected } => flow.left(records, *rejected, bytes),
            _ => flow.dropped(DropReason::Refused, records),
        }
        self.queue.acknowledge(last.number);
        self.exporter.shared.set_spool(self.queue.status());
    }

    /// The range of a group; none for JSON.
    fn ranges(&self, group: &[Spooled]) -> Vec<Range> {
        let Some((first, last)) = group.first().zip(group.last()) else { return Vec::new() };
        let Some(stream) = self.queue.stream_of(first.number) else { return Vec::new() };
        if first.encoding == Encoding::Json {
            return Vec::new();
        }
        // Numbers between the store's position and this group were dropped, damaged, or JSON.
        let start = self.committed.get(&stream).copied().unwrap_or(first.number - 1);
        let records = group.iter().map(|spooled| u64::from(spooled.items)).sum();
        vec![Range::new(stream, start, last.number, records)]
    }

    /// After a refusal for good: the store passes over the group. `false` when shutdown came first.
    async fn pass_over(&mut self, group: &[Spooled], delivery: &Delivery) -> bool {
        let (Delivery::Refused, true) = (delivery, self.exporter.keeps_positions()) else { return true };
        let ranges: Vec<_> =
            self.ranges(group).into_iter().map(|range| Range { records: 0, ..range }).collect();
        let Some(first) = group.first().filter(|_| !ranges.is_empty()) else { return true };
        let Ok(body) = self.exporter.compress(Bytes::new()) else { return true };
        let outgoing = Outgoing { signal: first.signal, encoding: first.encoding, body, ranges };
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
        let body = match self.body(group).await {
            Ok(body) => body,
            Err(delivery) => return delivery,
        };
        let outgoing = Outgoing { signal, encoding, body, ranges: self.ranges(group) };
        let delivery = self.exporter.deliver(&outgoing).await;
        self.note(&outgoing, &delivery);
        delivery
    }

    async fn body(&self, group: &[Spooled]) -> Result<Bytes, Delivery> {
        if let [single] = group
            && self.exporter.compression == Compression::Zstd
        {
            return Ok(single.payload.clone());
        }
        let payloads: Vec<_> = group.iter().map(|spooled| spooled.payload.clone()).collect();
        let compressing = Arc::clone(&self.exporter);
        let joined = tokio::task::spawn_blocking(move || {
            let mut raw = Vec::new();
            for payload in payloads {
                // Concatenated export requests are one request: protobuf joins repeated fields.
                zstd::stream::copy_decode(payload.as_ref(), &mut raw)?;
            }
            compressing.compress(raw.into())
        });
        match joined.await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) => {
                tracing::error!(%error, "a spooled request cannot be unpacked");
                Err(Delivery::Refused)
            }
            Err(_) => Err(Delivery::GivenUp),
        }
    }
}
