//! What alert rules are evaluated on: a fresh snapshot of the store for every question.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use model::{Clock, IdRules, Signal, TimeRange};
use storage::{Compression, Frame, Snapshot, Store};

use crate::limits::Cancel;
use crate::promql::{Options, SeriesSource, SnapshotSource};
use crate::rules::{EvalSource, LogCounter, SeriesSink};
use crate::{logs, search};

/// The store as rules see it.
#[derive(Clone)]
pub struct StoreSource {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
}

impl StoreSource {
    /// Rules are evaluated on this store, and the series of their alerts are written to it.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }
}

impl fmt::Debug for StoreSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSource").finish_non_exhaustive()
    }
}

impl EvalSource for StoreSource {
    fn series(&self) -> Box<dyn SeriesSource> {
        Box::new(SnapshotSource::new(self.store.snapshot(), &Options::default()))
    }

    fn logs(&self) -> Box<dyn LogCounter> {
        Box::new(SnapshotLogCounter { snapshot: self.store.snapshot(), ids: Arc::clone(self.store.ids()) })
    }
}

impl SeriesSink for StoreSource {
    fn write(&self, request: Vec<u8>) -> BoxFuture<'_, Result<(), String>> {
        let store = Arc::clone(&self.store);
        let write = async move {
            let (received_at, signal) = (self.clock.now(), Signal::Metrics);
            let payload = Bytes::from(request);
            let batch = store.decode(signal, &payload, received_at).map_err(|error| error.to_string())?;
            let frame = Frame { signal, compression: Compression::Identity, received_at, payload };
            store.append(frame, batch).await.map(drop).map_err(|error| error.to_string())
        };
        write.boxed()
    }
}

/// Counts the log records of one snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotLogCounter {
    snapshot: Snapshot,
    ids: Arc<IdRules>,
}

impl LogCounter for SnapshotLogCounter {
    fn count(
        &self,
        search: &str,
        by: &[String],
        range: TimeRange,
    ) -> Result<Vec<(BTreeMap<String, String>, u64)>, String> {
        let query = search::parse_with_ids(search, &self.ids).map_err(|error| error.to_string())?;
        logs::count(&self.snapshot, &query, by, range, &Cancel::default()).map_err(|error| error.to_string())
    }
}
