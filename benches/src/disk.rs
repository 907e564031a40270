//! What the disk can do at best: the yardstick beside every acknowledgement that waits for it.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use model::Clock;

use crate::latency::Latencies;

/// Bytes of one append.
pub const APPEND_BYTES: usize = 64 << 10;
const APPENDS_MAX: usize = 300;

/// Durations of `append 64 KiB, fdatasync` on a file in `dir`, one after another, for 3 seconds at most.
///
/// # Errors
/// When the file cannot be written.
pub fn calibrate(dir: &Path, clock: &dyn Clock) -> anyhow::Result<Latencies> {
    let path = dir.join("calibration");
    let mut file = File::create(&path).with_context(|| format!("create `{}`", path.display()))?;
    let block = vec![0x5a; APPEND_BYTES];
    let mut durations = Vec::with_capacity(APPENDS_MAX);
    let deadline = clock.monotonic() + Duration::from_secs(3);
    while durations.len() < APPENDS_MAX && clock.monotonic() < deadline {
        let start = clock.monotonic();
        file.write_all(&block).context("append to the calibration file")?;
        file.sync_data().context("sync the calibration file")?;
        durations.push(clock.monotonic().saturating_sub(start));
    }
    drop(file);
    std::fs::remove_file(&path).context("remove the calibration file")?;
    Ok(durations.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calibration_measures_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a folder");
        let latencies = calibrate(dir.path(), &*model::SystemClock::shared()).expect("writable");
        assert!(latencies.count() > 0 && latencies.max() > Duration::ZERO);
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0);
    }
}
