//! What may make the local configuration newer: SIGHUP, and its files when they are watched.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often `--watch` looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Waits for a reason to read the configuration again.
pub(super) struct Changes {
    path: PathBuf,
    hangup: Signal,
    is_watching: bool,
    seen: Vec<(PathBuf, Option<SystemTime>)>,
}

impl Changes {
    pub(super) fn new(path: &Path, is_watching: bool) -> io::Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        Ok(Self { path: path.to_path_buf(), hangup, is_watching, seen: stamps(path) })
    }

    /// Waits for SIGHUP, or for changed files with `--watch`.
    pub(super) async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => return,
                () = tokio::time::sleep(LOOK_EVERY), if self.is_watching => {
                    let now = stamps(&self.path);
                    if now != std::mem::replace(&mut self.seen, now.clone()) {
                        return;
                    }
                }
            }
        }
    }
}

/// The files of a configuration and when they were changed.
fn stamps(path: &Path) -> Vec<(PathBuf, Option<SystemTime>)> {
    let stamp = |path: PathBuf| {
        let changed = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        (path, changed)
    };
    agent::config::parts_of(path).into_iter().map(stamp).collect()
}
