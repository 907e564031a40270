//! The way of pushed data into the spool, for every input that has no file to read again.
//!
//! Invariant: what is counted as entered is in the spool on return, or was taken out of the count again.

use std::sync::Arc;

use model::Signal;

use crate::queue::{Encoding, Queue, QueueError, Spooled};
use crate::status::Shared;

/// The spool, and what is counted there.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    pub(crate) queue: Arc<Queue>,
    pub(crate) shared: Arc<Shared>,
    /// Attributes of every resource of this agent.
    pub(crate) resource: Vec<(String, String)>,
}

impl Intake {
    /// Spools one request of `items` spans, records or metrics; `raw_bytes` is its size as it came.
    ///
    /// # Errors
    /// When the spool has no room, or the disk fails.
    pub(crate) fn put(
        &self,
        signal: Signal,
        encoding: Encoding,
        request: &[u8],
        items: u64,
        raw_bytes: u64,
    ) -> Result<(), QueueError> {
        let payload = zstd::encode_all(request, 1).map_err(QueueError::Io)?;
        let spooled = Spooled {
            number: 0,
            signal,
            encoding,
            items: u32::try_from(items).unwrap_or(u32::MAX),
            raw_bytes: request.len(),
            time: self.shared.clock.now(),
            payload: payload.into(),
        };
        // Counted first: the exporter may send it before this thread goes on.
        let (flow, items) = (self.shared.otlp(signal), u64::from(spooled.items));
        flow.entered(items, raw_bytes);
        if let Err(error) = self.queue.append(&spooled) {
            flow.withdrawn(items, raw_bytes);
            return Err(error);
        }
        self.shared.set_spool(self.queue.status());
        Ok(())
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
