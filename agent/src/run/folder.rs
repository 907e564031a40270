//! The data directory: who holds it, who this agent is, the spool in it.
//!
//! Invariant: one agent a data directory; the lock goes with the process.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use disk::RealFs;
use model::Clock;
use rustix::fs::{FlockOperation, flock};

use crate::config::Config;
use crate::queue::{self, Amount, Lane, Limits, Queue};
use crate::whole::replace;
use crate::{Error, ErrorKind};

/// Gives up what waits in the spool, in one lane or in all; what it was.
///
/// # Errors
/// When an agent uses the data directory, or the disk fails.
pub fn drop_spool(config: &Config, lane: Option<&str>) -> Result<Vec<(Lane, Amount)>, Error> {
    let _lock = lock_folder(&config.agent.data_dir)?;
    let queue = open_spool(config, model::SystemClock::shared())?;
    let lanes = Lane::ALL.into_iter().filter(|known| lane.is_none_or(|name| known.name() == name));
    let cleared = lanes.map(|lane| queue.clear(lane).map(|amount| (lane, amount)));
    cleared.collect::<io::Result<_>>().map_err(|error| Error::io("cannot empty the spool", error))
}

/// The spool of a data directory that is locked.
pub(super) fn open_spool(config: &Config, clock: Arc<dyn Clock>) -> Result<Queue, Error> {
    let folder = config.agent.data_dir.join("spool");
    let when_full = config.spool.when_full;
    let free = rustix::fs::statvfs(&config.agent.data_dir)
        .map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let limits = Limits {
        bytes_max: config.spool.max.unwrap_or_else(|| queue::bytes_max_default(free)),
        durability: config.spool.durability,
        when_full: [when_full.traces, when_full.logs, when_full.metrics],
    };
    let queue = Queue::open(Arc::new(RealFs), &folder, limits, clock).map_err(damaged)?;
    // The directory may have been made by somebody else, for everybody to look into.
    if let Err(error) = fs::set_permissions(&folder, Permissions::from_mode(0o700)) {
        tracing::warn!(%error, folder = %folder.display(), "cannot keep the spool from others' eyes");
    }
    Ok(queue)
}

pub(super) fn damaged(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData => Error::new(
            ErrorKind::Damaged,
            format!("the data directory is damaged: {error}; move that file away to start without it"),
        ),
        _ => Error::io("cannot use the data directory", error),
    }
}

/// One agent a data directory: the lock goes with the process. What stands in it are lines of files that not everybody
/// may read.
pub(super) fn lock_folder(folder: &Path) -> Result<File, Error> {
    let name = folder.display();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| Error::io(format!("cannot make the data directory `{name}`"), error))?;
    let path = folder.join("lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| Error::io(format!("cannot open `{}`", path.display()), error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => Err(Error::new(
            ErrorKind::Locked,
            format!(
                "another agent uses the data directory `{name}`: stop it, or set another [agent] data_dir"
            ),
        )),
        Err(error) => Err(Error::io(format!("cannot lock `{}`", path.display()), error.into())),
    }
}

/// The identity made at the first start.
pub(super) fn agent_id(folder: &Path) -> Result<String, Error> {
    let path = folder.join("agent.id");
    let problem = |error| Error::io(format!("cannot keep the identity `{}`", path.display()), error);
    match fs::read_to_string(&path) {
        Ok(text) => match uuid::Uuid::parse_str(text.trim()) {
            Ok(id) => Ok(id.to_string()),
            Err(error) => {
                Err(Error::new(ErrorKind::Damaged, format!("`{}` is no identity: {error}", path.display())))
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = uuid::Uuid::now_v7().to_string();
            replace(&RealFs, &path, |out| out.write_all(id.as_bytes())).map_err(problem)?;
            Ok(id)
        }
        Err(error) => Err(problem(error)),
    }
}
