//! What alert rules are evaluated on: a fresh snapshot of the store for every question.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use model::{IdRules, TimeRange};
use storage::{Snapshot, Store};

use crate::limits::Cancel;
use crate::promql::{Options, SeriesSource, SnapshotSource};
use crate::rules::{EvalSource, LogCounter};
use crate::{logs, search};

/// The store as rules see it.
#[derive(Clone)]
pub struct StoreSource {
    store: Arc<Store>,
}

impl StoreSource {
    /// Rules are evaluated on this store.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
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
