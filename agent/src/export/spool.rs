//! Empties the spool: neighbouring requests of one signal travel as one, and are settled as one.

use std::sync::Arc;

use model::Signal;

use super::backoff::Backoff;
use super::{Delivery, Exporter, Outgoing};
use crate::config::Compression;
use crate::queue::{Encoding, Queue, Spooled};
use crate::status::DropReason;

/// Bytes of joined requests before compression.
const JOINED_BYTES_MAX: usize = 1 << 20;

/// Runs until shutdown, when the spool is empty or the collector does not answer.
pub(crate) async fn ship(exporter: Arc<Exporter>, queue: Arc<Queue>) {
    loop {
        let shutdown = exporter.stop.shutdown.is_cancelled();
        let Some(group) = take(&exporter, &queue).await else { return };
        for (signal, records) in queue.take_lost() {
            // How many records the damaged requests held is no longer known; each counts as one.
            exporter.shared.otlp(signal).recovered(records);
            exporter.shared.otlp(signal).dropped(DropReason::Damaged, records);
        }
        if group.is_empty() {
            if shutdown {
                return;
            }
            tokio::select! {
                () = queue.filled() => {}
                () = exporter.stop.shutdown.cancelled() => {}
            }
            continue;
        }
        if !ship_group(&exporter, &queue, group).await {
            return;
        }
    }
}

/// The next requests, read again and again until the disk gives them; `None` when shutdown came first.
async fn take(exporter: &Exporter, queue: &Queue) -> Option<Vec<Spooled>> {
    let mut backoff = Backoff::default();
    loop {
        let error = match queue.take(JOINED_BYTES_MAX) {
            Ok(group) => return Some(group),
            Err(error) => error,
        };
        exporter.shared.set_spool(queue.status());
        if !exporter.pause("cannot read the spool", &error, &mut backoff).await {
            return None;
        }
    }
}

/// Sends joined requests; when they are refused, each by itself, so that one bad request does not
/// take its neighbours along. `false` when shutdown came first: the rest stays in the spool.
async fn ship_group(exporter: &Arc<Exporter>, queue: &Queue, group: Vec<Spooled>) -> bool {
    let is_joined = group.len() > 1;
    match send(exporter, &group).await {
        Delivery::GivenUp => return false,
        Delivery::Refused if is_joined => {
            for single in &group {
                let delivery = send(exporter, std::slice::from_ref(single)).await;
                if delivery == Delivery::GivenUp {
                    return false;
                }
                settle(exporter, queue, std::slice::from_ref(single), &delivery);
            }
        }
        delivery => settle(exporter, queue, &group, &delivery),
    }
    true
}

fn settle(exporter: &Exporter, queue: &Queue, group: &[Spooled], delivery: &Delivery) {
    let Some((first, last)) = group.first().zip(group.last()) else { return };
    let records = group.iter().map(|spooled| u64::from(spooled.items)).sum();
    let bytes = group.iter().map(|spooled| spooled.raw_bytes as u64).sum();
    let flow = exporter.shared.otlp(first.signal);
    match delivery {
        Delivery::Accepted { rejected } => flow.left(records, *rejected, bytes),
        _ => flow.dropped(DropReason::Refused, records),
    }
    queue.acknowledge(last.number);
    exporter.shared.set_spool(queue.status());
}

async fn send(exporter: &Arc<Exporter>, group: &[Spooled]) -> Delivery {
    let Some(first) = group.first() else { return Delivery::Accepted { rejected: 0 } };
    let (signal, encoding): (Signal, Encoding) = (first.signal, first.encoding);
    let body = if group.len() == 1 && exporter.compression == Compression::Zstd {
        first.payload.clone()
    } else {
        let payloads: Vec<_> = group.iter().map(|spooled| spooled.payload.clone()).collect();
        let compressing = Arc::clone(exporter);
        let joined = tokio::task::spawn_blocking(move || {
            let mut raw = Vec::new();
            for payload in payloads {
                // Concatenated export requests are one request: protobuf joins repeated fields.
                zstd::stream::copy_decode(payload.as_ref(), &mut raw)?;
            }
            compressing.compress(raw.into())
        });
        match joined.await {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => {
                tracing::error!(%error, "a spooled request cannot be unpacked");
                return Delivery::Refused;
            }
            Err(_) => return Delivery::GivenUp,
        }
    };
    exporter.deliver(&Outgoing { signal, encoding, body }).await
}
