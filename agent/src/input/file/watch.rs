//! Wakes the file input when something changes in its folders. Only a hint: every second it looks by
//! itself, so a lost event, a full queue or a network filesystem costs latency, not lines.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use tokio::io::unix::AsyncFd;

/// Bytes for events read at a time.
const EVENT_BYTES: usize = 16 * 1024;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Files grew.
    Content,
    /// Files came, went or were renamed.
    Names,
}

/// Watched folders.
#[derive(Debug)]
pub(crate) struct Watcher {
    inotify: Option<AsyncFd<Inotify>>,
    watched: HashMap<PathBuf, WatchDescriptor>,
    buffer: Vec<u8>,
}

impl Watcher {
    /// A watcher without folders; one that never wakes when the system has no inotify to give.
    #[expect(
        deprecated,
        reason = "its successor is unsafe; `Inotify` owns its descriptor and never replaces it"
    )]
    pub(crate) fn new() -> Self {
        let inotify = Inotify::init().and_then(AsyncFd::new);
        if let Err(error) = &inotify {
            tracing::warn!(%error, "no file events; files are looked at every second");
        }
        Self { inotify: inotify.ok(), watched: HashMap::new(), buffer: vec![0; EVENT_BYTES] }
    }

    /// Watches exactly these folders.
    pub(crate) fn watch(&mut self, folders: &BTreeSet<PathBuf>) {
        let Some(inotify) = &mut self.inotify else { return };
        let mut watches = inotify.get_ref().watches();
        self.watched.retain(|folder, watch| {
            let keep = folders.contains(folder);
            if !keep && let Err(error) = watches.remove(watch.clone()) {
                tracing::debug!(folder = %folder.display(), %error, "the watch was gone already");
            }
            keep
        });
        let mask =
            WatchMask::CREATE | WatchMask::MOVE | WatchMask::DELETE | WatchMask::MODIFY | WatchMask::ONLYDIR;
        for folder in folders {
            // Adding a watched folder again keeps its watch, and renews that of one deleted and made anew.
            match watches.add(folder, mask) {
                Ok(watch) => {
                    self.watched.insert(folder.clone(), watch);
                }
                Err(error) => {
                    tracing::debug!(folder = %folder.display(), %error, "cannot watch; looking every second")
                }
            }
        }
    }

    /// Waits for a change.
    pub(crate) async fn changed(&mut self) -> Change {
        let Self { inotify: Some(inotify), buffer, .. } = self else {
            return std::future::pending().await;
        };
        loop {
            let Ok(mut ready) = inotify.readable_mut().await else {
                return std::future::pending().await;
            };
            match ready.try_io(|inotify| inotify.get_mut().read_events(buffer).map(worst)) {
                Ok(Ok(Some(change))) => return change,
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "file events ended; files are looked at every second");
                    return std::future::pending().await;
                }
            }
        }
    }
}

fn worst(events: inotify::Events<'_>) -> Option<Change> {
    events.map(|event| if event.mask == EventMask::MODIFY { Change::Content } else { Change::Names }).reduce(
        |a, b| {
            if a == Change::Names { a } else { b }
        },
    )
}
