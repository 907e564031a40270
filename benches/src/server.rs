//! The server under test: a store on a real disk and a collector on free ports, in this process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use collector::Collector;
use model::{Clock, IdRules};
use storage::Store;
use tempfile::TempDir;

/// How long requests in flight may take to end.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// A store in a folder of its own, which goes with it.
#[derive(Debug)]
pub struct BenchStore {
    /// The store.
    pub store: Arc<Store>,
    /// Its folder.
    pub dir: TempDir,
}

impl BenchStore {
    /// Opens an empty store below `dir`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub async fn open(
        dir: &Path,
        clock: &Arc<dyn Clock>,
        change: impl FnOnce(&mut storage::Settings),
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("create `{}`", dir.display()))?;
        let dir =
            tempfile::Builder::new().prefix("bench-").tempdir_in(dir).context("create a data folder")?;
        let mut settings = storage::Settings::new(dir.path());
        change(&mut settings);
        let store = Store::open(settings, Arc::new(IdRules::default()), Arc::clone(clock)).await;
        Ok(Self { store: store.context("open the store")?, dir })
    }

    /// Closes the store and removes its folder.
    ///
    /// # Errors
    /// When the last rows cannot be sealed or the folder cannot be removed.
    pub async fn close(self) -> anyhow::Result<()> {
        self.store.close().await.context("close the store")?;
        self.dir.close().context("remove the data folder")
    }
}

/// Starts a collector over `store` on free ports of 127.0.0.1.
///
/// # Errors
/// When no port can be bound.
pub async fn collector(store: &BenchStore, clock: &Arc<dyn Clock>) -> anyhow::Result<Collector> {
    let settings = collector::Settings::on_free_ports();
    let collector = Collector::start(settings, Arc::clone(&store.store), Arc::clone(clock)).await;
    collector.context("start the collector")
}

/// Stops a collector; nothing may be in flight.
///
/// # Errors
/// When something still was.
pub async fn stop(collector: &Collector) -> anyhow::Result<()> {
    let drained = collector.shutdown(DRAIN_MAX).await;
    anyhow::ensure!(drained == collector::Drained::InTime, "the collector had open requests: {drained:?}");
    Ok(())
}
