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
/// The same of a request with a note: it is one record of the spool, so that a crash leaves all of it and the note, or nothing.
const NOTED_BYTES_MAX: usize = 3 << 20;

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

/// A request in protobuf, on its way into the spool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) signal: Signal,
    pub(crate) request: &'a [u8],
    /// Spans, records or metrics in it.
    pub(crate) items: u64,
    /// Its size as it came.
    pub(crate) raw_bytes: u64,
    /// See [`Spooled::note`].
    pub(crate) note: &'a str,
}

impl<'a> Incoming<'a> {
    /// Metrics that were made here.
    pub(crate) const fn metrics(request: &'a [u8], items: u64) -> Self {
        Self { signal: Signal::Metrics, request, items, raw_bytes: request.len() as u64, note: "" }
    }
}

/// A request as it goes into the spool.
#[derive(Debug)]
pub(crate) struct Prepared {
    signal: Signal,
    parts: Vec<Spooled>,
    /// Items that were left out before, and why.
    pub(crate) left_out: Vec<(DropReason, u64)>,
    /// Bytes as they came.
    raw_bytes: u64,
}

impl Prepared {
    /// Of a request of which nothing is left.
    pub(crate) const fn nothing(signal: Signal, raw_bytes: u64) -> Self {
        Self { signal, parts: Vec::new(), left_out: Vec::new(), raw_bytes }
    }
}

impl Intake {
    /// Spools a request. What the policy of a full spool gives up is counted, and no error.
    ///
    /// # Errors
    /// When the spool has no room and the sender is to wait, or the disk fails.
    pub(crate) fn put(&self, incoming: Incoming<'_>) -> Result<(), QueueError> {
        self.commit(self.prepare(incoming)?).map(drop)
    }

    /// Compresses a request. One that is too large to travel is split by item.
    ///
    /// # Errors
    /// When it cannot be compressed.
    pub(crate) fn prepare(&self, incoming: Incoming<'_>) -> Result<Prepared, QueueError> {
        let Incoming { signal, request, items, raw_bytes, note } = incoming;
        self.shared.tap.show(signal, request, [(&*self.source, u64::MAX)]);
        let mut prepared = Prepared::nothing(signal, raw_bytes);
        let whole_bytes_max = if note.is_empty() { PART_BYTES_MAX } else { NOTED_BYTES_MAX };
        if request.len() <= whole_bytes_max {
            prepared.parts.push(self.spooled(signal, request, items)?);
        } else {
            let split = split(request, signal, PART_BYTES_MAX);
            let parts = split.parts.iter().map(|part| self.spooled(signal, &part.request, part.items));
            prepared.parts = parts.collect::<Result<_, _>>()?;
            prepared.left_out.push((DropReason::TooLarge, split.too_large));
        }
        if let Some(last) = prepared.parts.last_mut() {
            note.clone_into(&mut last.note);
        }
        Ok(prepared)
    }

    /// Spools what was prepared; how many items of it were not kept although they should have been.
    ///
    /// # Errors
    /// As [`Intake::put`].
    pub(crate) fn commit(&self, prepared: Prepared) -> Result<u64, QueueError> {
        let Prepared { signal, parts, left_out, raw_bytes } = prepared;
        // All or nothing: a sender that is told to come back brings all of it again.
        let needed = parts.iter().map(|part| part.payload.len() as u64).sum();
        let waits = self.queue.when_full(signal) == WhenFull::Block;
        if parts.len() > 1 && waits && !self.queue.has_room(Lane::Signal(signal), needed) {
            return Err(self.queue.full());
        }
        let flow = self.shared.otlp(signal);
        let mut not_kept = 0;
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
        if parts.is_empty() {
            flow.entered(0, raw_bytes);
        }
        for (reason, items) in left_out {
            flow.entered(items, 0);
            flow.dropped(reason, items);
            not_kept += if reason == DropReason::TooLarge { items } else { 0 };
        }
        Ok(not_kept)
    }

    fn spooled(&self, signal: Signal, request: &[u8], items: u64) -> Result<Spooled, QueueError> {
        let payload = zstd::encode_all(request, 1).map_err(QueueError::Io)?;
        let spooled = Spooled::new(signal, Encoding::Protobuf, items, request.len(), payload.into());
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
