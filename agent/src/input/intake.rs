//! The way of pushed data into the spool, for every input that has no file to read again.
//!
//! Invariant: what is counted as entered is in the spool on return, or was taken out of the count again.

use std::sync::Arc;

use model::Signal;

use super::split::split;
use crate::config::WhenFull;
use crate::queue::{Encoding, Lane, Queue, QueueError, Spooled};
use crate::status::{DropReason, Shared};

/// Bytes of a request before compression; larger ones are split by item.
pub(crate) const PART_BYTES_MAX: usize = 1 << 20;

/// The spool, and what is counted there.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    pub(crate) queue: Arc<Queue>,
    pub(crate) shared: Arc<Shared>,
    /// Attributes of every resource of this agent.
    pub(crate) resource: Vec<(String, String)>,
    /// The table that puts: `otlp`, `syslog`, `scrape.shop`.
    pub(crate) source: Arc<str>,
}

/// A request as it goes into the spool.
#[derive(Debug)]
pub(crate) struct Prepared {
    signal: Signal,
    parts: Vec<Spooled>,
    /// Items that were left out.
    too_large: u64,
    /// Bytes as they came.
    raw_bytes: u64,
}

impl Intake {
    /// Spools one request of `items` spans, records or metrics; `raw_bytes` is its size as it came. What the
    /// policy of a full spool gives up is counted, and no error.
    ///
    /// # Errors
    /// When the spool has no room and the sender is to wait, or the disk fails.
    pub(crate) fn put(
        &self,
        signal: Signal,
        encoding: Encoding,
        request: &[u8],
        items: u64,
        raw_bytes: u64,
    ) -> Result<(), QueueError> {
        self.commit(self.prepare(signal, encoding, request, items, raw_bytes)?).map(drop)
    }

    /// Compresses a request. One in protobuf that is too large to travel is split by item.
    ///
    /// # Errors
    /// When it cannot be compressed.
    pub(crate) fn prepare(
        &self,
        signal: Signal,
        encoding: Encoding,
        request: &[u8],
        items: u64,
        raw_bytes: u64,
    ) -> Result<Prepared, QueueError> {
        if encoding == Encoding::Protobuf {
            self.shared.tap.show(signal, request, [(&*self.source, u64::MAX)]);
        }
        if encoding == Encoding::Json || request.len() <= PART_BYTES_MAX {
            let parts = vec![self.spooled(signal, encoding, request, items)?];
            return Ok(Prepared { signal, parts, too_large: 0, raw_bytes });
        }
        let split = split(request, signal, PART_BYTES_MAX);
        let parts = split.parts.iter().map(|part| self.spooled(signal, encoding, &part.request, part.items));
        Ok(Prepared {
            signal,
            parts: parts.collect::<Result<_, _>>()?,
            too_large: split.too_large,
            raw_bytes,
        })
    }

    /// Spools what was prepared; how many items of it were not kept.
    ///
    /// # Errors
    /// As [`Intake::put`].
    pub(crate) fn commit(&self, prepared: Prepared) -> Result<u64, QueueError> {
        let Prepared { signal, parts, too_large, raw_bytes } = prepared;
        // All or nothing: a sender that is told to come back brings all of it again.
        let needed = parts.iter().map(|part| part.payload.len() as u64).sum();
        let waits = self.queue.when_full(signal) == WhenFull::Block;
        if parts.len() > 1 && waits && !self.queue.has_room(Lane::Signal(signal), needed) {
            return Err(self.queue.full());
        }
        let flow = self.shared.otlp(signal);
        let mut not_kept = too_large;
        for (at, part) in parts.iter().enumerate() {
            not_kept += match self.append(signal, part, if at == 0 { raw_bytes } else { 0 }) {
                Ok(not_kept) => not_kept,
                Err(error) if at == 0 => return Err(error),
                Err(error) => {
                    let items = u64::from(part.items);
                    tracing::error!(%error, items, "a part of a request found no room");
                    flow.entered(items, 0);
                    flow.dropped(DropReason::SpoolFull, items);
                    items
                }
            };
        }
        flow.entered(too_large, 0);
        flow.dropped(DropReason::TooLarge, too_large);
        Ok(not_kept)
    }

    fn spooled(
        &self,
        signal: Signal,
        encoding: Encoding,
        request: &[u8],
        items: u64,
    ) -> Result<Spooled, QueueError> {
        let payload = zstd::encode_all(request, 1).map_err(QueueError::Io)?;
        let spooled = Spooled::new(signal, encoding, items, request.len(), payload.into());
        Ok(Spooled { time: self.shared.clock.now(), ..spooled })
    }

    /// Items that were not kept.
    fn append(&self, signal: Signal, spooled: &Spooled, raw_bytes: u64) -> Result<u64, QueueError> {
        // Counted first: the exporter may send it before this thread goes on.
        let (flow, items) = (self.shared.otlp(signal), u64::from(spooled.items));
        flow.entered(items, raw_bytes);
        let lane = Lane::Signal(signal);
        let appended = self.queue.append(lane, spooled);
        let given_up = self.queue.take_given_up(lane);
        if given_up.requests > 0 {
            flow.dropped(DropReason::SpoolFull, given_up.items);
            flow.dropped_bytes(DropReason::SpoolFull, given_up.bytes);
        }
        let not_kept = match appended {
            Ok(Some(_)) => 0,
            Ok(None) => {
                flow.dropped(DropReason::SpoolFull, items);
                flow.dropped_bytes(DropReason::SpoolFull, u64::from(spooled.raw_bytes));
                items
            }
            Err(error) => {
                flow.withdrawn(items, raw_bytes);
                return Err(error);
            }
        };
        Ok(not_kept)
    }

    /// The resource of a service on this host.
    pub(crate) fn resource_of<'a>(
        &'a self,
        service: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> + Clone {
        let others = self.resource.iter().filter(|(key, _)| key != "service.name");
        [("service.name", service)]
            .into_iter()
            .chain(others.map(|(key, value)| (key.as_str(), value.as_str())))
    }
}
