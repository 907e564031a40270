//! Sends file batches one after the other, so that acknowledgements come in order.

use std::sync::Arc;

use bytes::Bytes;
use model::Signal;
use tokio::sync::mpsc;

use super::backoff::Backoff;
use super::{Delivery, Exporter, Outgoing};
use crate::input::file::batch::Batch;
use crate::input::file::task::Acknowledged;
use crate::queue::Encoding;
use crate::status::DropReason;

/// Runs until the file input ends or shutdown gives up a batch.
pub(crate) async fn ship(
    exporter: Arc<Exporter>,
    mut batches: mpsc::Receiver<Batch>,
    acknowledged: mpsc::Sender<Acknowledged>,
) {
    while let Some(batch) = batches.recv().await {
        if batch.records > 0 && !ship_one(&exporter, batch.records, batch.request).await {
            return;
        }
        if acknowledged.send(batch.ranges).await.is_err() {
            return;
        }
    }
}

/// Whether the batch is settled: taken, or refused for good.
async fn ship_one(exporter: &Arc<Exporter>, records: u64, request: Vec<u8>) -> bool {
    let bytes = request.len() as u64;
    let Some(body) = compress(exporter, request.into()).await else { return false };
    let outgoing = Outgoing { signal: Signal::Logs, encoding: Encoding::Protobuf, body };
    let flow = &exporter.shared.files;
    match exporter.deliver(&outgoing).await {
        Delivery::Accepted { rejected } => flow.left(records, rejected, bytes),
        Delivery::Refused => flow.dropped(DropReason::Refused, records),
        Delivery::GivenUp => return false,
    }
    true
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
