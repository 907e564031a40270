//! Wakes the file input when something changes in its folders. Only a hint: every 10 seconds it looks by
//! itself, and every second where there are no events (no watches left, a network filesystem), so a lost event
//! costs latency, not lines. A full event queue makes it look at once, and is counted. Which names changed is kept until
//! somebody asks, so that an event costs no look at the files it does not name.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use inotify::{Event, EventMask, Inotify, WatchDescriptor, WatchMask};
use tokio::io::unix::AsyncFd;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes for events read at a time.
const EVENT_BYTES: usize = 16 * 1024;
/// Reads of events before anything else is done: a writer must not keep the reader from its lines.
const DRAIN_MAX: usize = 64;
/// Names that are told apart; when more changed, every file is looked at.
const TOUCHED_MAX: usize = 16 * 1024;
/// Filesystems whose files change without events: NFS, SMB, CIFS, SMB2, 9P, FUSE (`statfs(2)`).
const SILENT_FILESYSTEMS: [u32; 6] = [0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x0102_1997, 0x6573_5546];

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Files grew.
    Content,
    /// Files came, went or were renamed.
    Names,
}

/// A hash of a name in its folder.
pub(crate) type NameKey = u64;

/// The key of a path, as events give it.
pub(crate) fn name_key(path: &Path) -> NameKey {
    let folder = path.parent().map(folder_key).unwrap_or_default();
    key_in(folder, path.file_name().unwrap_or_default())
}

fn folder_key(folder: &Path) -> u64 {
    xxh3_64(folder.as_os_str().as_bytes())
}

fn key_in(folder: u64, name: &OsStr) -> NameKey {
    xxh3_64_with_seed(name.as_bytes(), folder)
}

/// What changed since it was last asked for.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    pub(crate) names: HashSet<NameKey>,
    /// Anything may have changed.
    pub(crate) is_any: bool,
}

/// Watched folders.
#[derive(Debug)]
pub(crate) struct Watcher {
    inotify: Option<AsyncFd<Inotify>>,
    watched: HashMap<PathBuf, WatchDescriptor>,
    /// Their keys, by the number of their watch.
    folders: HashMap<i32, u64>,
    touched: Touched,
    unwatched: usize,
    overflows: u64,
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
        Self {
            inotify: inotify.ok(),
            watched: HashMap::new(),
            folders: HashMap::new(),
            touched: Touched::default(),
            unwatched: 0,
            overflows: 0,
            buffer: vec![0; EVENT_BYTES],
        }
    }

    /// Watches exactly these folders.
    pub(crate) fn watch(&mut self, folders: &BTreeSet<PathBuf>) {
        let Some(inotify) = &mut self.inotify else {
            self.unwatched = folders.len();
            return;
        };
        self.unwatched = folders.iter().filter(|folder| is_silent(folder)).count();
        let mut watches = inotify.get_ref().watches();
        self.watched.retain(|folder, watch| {
            let keep = folders.contains(folder);
            if !keep && let Err(error) = watches.remove(watch.clone()) {
                tracing::debug!(folder = %folder.display(), %error, "the watch was gone already");
            }
            keep
        });
        // Attributes, because a file may become readable.
        let mask = WatchMask::CREATE
            | WatchMask::MOVE
            | WatchMask::DELETE
            | WatchMask::MODIFY
            | WatchMask::ATTRIB
            | WatchMask::ONLYDIR;
        self.folders.clear();
        for folder in folders {
            // Adding a watched folder again keeps its watch, and renews that of one deleted and made anew.
            match watches.add(folder, mask) {
                Ok(watch) => {
                    self.folders.insert(watch.get_watch_descriptor_id(), folder_key(folder));
                    self.watched.insert(folder.clone(), watch);
                }
                Err(error) => {
                    self.unwatched += 1;
                    tracing::debug!(folder = %folder.display(), %error, "cannot watch; looking every second");
                }
            }
        }
    }

    /// Folders without events.
    pub(crate) const fn unwatched(&self) -> usize {
        self.unwatched
    }

    /// How often events were lost because their queue was full.
    pub(crate) const fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Names that changed since the last call.
    pub(crate) fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// Takes the events that wait; the change that asks for most among them.
    pub(crate) fn drain(&mut self) -> Option<Change> {
        let mut worst = None;
        for _ in 0..DRAIN_MAX {
            let Self { inotify: Some(inotify), buffer, folders, touched, overflows, .. } = self else {
                break;
            };
            let Ok(events) = inotify.get_mut().read_events(buffer) else { break };
            let found = Notes { folders, touched }.take(events, overflows);
            worst = if worst == Some(Change::Names) { worst } else { found.or(worst) };
        }
        worst
    }

    /// Waits for a change.
    pub(crate) async fn changed(&mut self) -> Change {
        loop {
            let Self { inotify: Some(inotify), buffer, folders, touched, overflows, .. } = self else {
                return std::future::pending().await;
            };
            let Ok(mut ready) = inotify.readable_mut().await else {
                return std::future::pending().await;
            };
            let read = ready.try_io(|inotify| {
                let events = inotify.get_mut().read_events(buffer)?;
                Ok(Notes { folders, touched }.take(events, overflows))
            });
            match read {
                Ok(Ok(Some(change))) => return change,
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "file events ended; files are looked at every second");
                    self.inotify = None;
                    self.unwatched = self.watched.len();
                }
            }
        }
    }
}

/// Where events are noted.
struct Notes<'a> {
    folders: &'a HashMap<i32, u64>,
    touched: &'a mut Touched,
}

impl Notes<'_> {
    /// The change that asks for most, among events.
    fn take(self, events: inotify::Events<'_>, overflows: &mut u64) -> Option<Change> {
        let mut worst = None;
        for event in events {
            *overflows += u64::from(event.mask.contains(EventMask::Q_OVERFLOW));
            let change = if event.mask == EventMask::MODIFY { Change::Content } else { Change::Names };
            worst = if worst == Some(Change::Names) { worst } else { Some(change) };
            self.touched.note(self.folders, &event);
        }
        worst
    }
}

impl Touched {
    fn note(&mut self, folders: &HashMap<i32, u64>, event: &Event<&OsStr>) {
        match (folders.get(&event.wd.get_watch_descriptor_id()), event.name) {
            (Some(folder), Some(name)) if self.names.len() < TOUCHED_MAX => {
                self.names.insert(key_in(*folder, name));
            }
            _ => self.is_any = true,
        }
    }
}

/// Whether files of a folder change without events.
fn is_silent(folder: &Path) -> bool {
    rustix::fs::statfs(folder).is_ok_and(|found| SILENT_FILESYSTEMS.contains(&(found.f_type as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_event_queue_asks_for_a_look_and_is_counted() {
        let folder = tempfile::tempdir().expect("folder");
        let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("Linux");
        let most: usize = most.trim().parse().expect("a number");
        let mut watcher = Watcher::new();
        watcher.watch(&BTreeSet::from([folder.path().to_path_buf()]));
        let (one, two) = (folder.path().join("1"), folder.path().join("2"));
        std::fs::write(&one, "").expect("written");
        // Two events each.
        for _ in 0..most / 4 + 2 {
            std::fs::rename(&one, &two).expect("renamed");
            std::fs::rename(&two, &one).expect("renamed");
        }
        while watcher.overflows() == 0 {
            assert_eq!(watcher.changed().await, Change::Names);
        }
        assert_eq!(watcher.overflows(), 1);
    }

    #[tokio::test]
    async fn a_write_names_the_file_that_was_written_to() {
        let folder = tempfile::tempdir().expect("folder");
        let (one, two) = (folder.path().join("1"), folder.path().join("2"));
        std::fs::write(&one, "").expect("written");
        std::fs::write(&two, "").expect("written");
        let mut watcher = Watcher::new();
        watcher.watch(&BTreeSet::from([folder.path().to_path_buf()]));
        assert_eq!(watcher.drain(), None);
        std::fs::write(&one, "line\n").expect("written");
        assert_eq!(watcher.changed().await, Change::Content);
        assert_eq!(watcher.drain(), None, "one event, or two of a kind that were one");
        let touched = watcher.take_touched();
        assert!(!touched.is_any);
        assert_eq!(touched.names, HashSet::from([name_key(&one)]));
        std::fs::rename(&one, &two).expect("renamed");
        assert_eq!(watcher.drain(), Some(Change::Names));
    }

    #[test]
    fn a_folder_that_cannot_be_watched_is_counted() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let _inside = runtime.enter();
        let mut watcher = Watcher::new();
        let folder = tempfile::tempdir().expect("folder");
        let folders = BTreeSet::from([folder.path().to_path_buf(), folder.path().join("gone")]);
        watcher.watch(&folders);
        assert_eq!(watcher.unwatched(), 1);
        std::fs::create_dir(folder.path().join("gone")).expect("made");
        watcher.watch(&folders);
        assert_eq!(watcher.unwatched(), 0);
    }
}
