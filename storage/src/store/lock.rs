//! One process at a time in a data folder.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use crate::error::{Context as _, Error, ErrorKind};

/// Takes the data folder for this process. Waits a little for one that is just ending.
pub(super) async fn take(data_dir: &Path) -> Result<File, Error> {
    let path = data_dir.join("lock");
    let doing = || format!("locking `{}`", path.display());
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.context(ErrorKind::FixInput, doing)?;
    for _ in 0..LOCK_TRIES {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => tokio::time::sleep(LOCK_PAUSE).await,
            Err(error) => return Err(error).context(ErrorKind::FixInput, doing),
        }
    }
    Err(Error::new(
        ErrorKind::FixInput,
        format!("another silmari uses `{}`: stop it, or choose another --data-dir", data_dir.display()),
    ))
}

const LOCK_TRIES: usize = 60;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
