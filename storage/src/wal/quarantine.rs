//! Keeps bytes that could not be read, with where and why, so that a person can look at them.
//!
//! Owns: `wal/quarantine/`. Nothing here stops the start: what cannot be copied is said in the log of
//! the process. A range that was copied at an earlier start is not copied again.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::scan::Scanner;
use super::writer::Place;

const COPY_BYTES: usize = 256 << 10;

/// Copies `range` of the file at `path`.
pub(super) fn keep(place: &Place, path: &Path, range: &Range<u64>, scanner: &mut Scanner) {
    if let Err(error) = copy(place, path, range, scanner)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        tracing::warn!(path = %path.display(), ?range, %error, "damaged bytes were not copied");
    }
}

/// Where a copy of `range` of the file at `path` is kept; the note beside it ends in `.json`.
pub(super) fn path(place: &Place, path: &Path, range: &Range<u64>) -> PathBuf {
    let of = path.file_name().unwrap_or_default().to_string_lossy();
    place.dir.join("quarantine").join(format!("{of}@{}+{}.bin", range.start, range.end - range.start))
}

/// As [`keep`], but says when it failed: `AlreadyExists` when there is a copy.
pub(super) fn copy(place: &Place, from: &Path, range: &Range<u64>, scanner: &mut Scanner) -> io::Result<()> {
    let dir = place.dir.join("quarantine");
    place.fs.create_dir_all(&dir)?;
    let of = from.file_name().unwrap_or_default().to_string_lossy();
    let bytes = range.end - range.start;
    let kept = path(place, from, range);
    let file = place.fs.create(&kept)?;
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from(range.end - at).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        let chunk = scanner.bytes(at, wanted);
        if chunk.is_empty() {
            break;
        }
        file.write_all_at(chunk, at - range.start)?;
        at += chunk.len() as u64;
    }
    file.sync_data()?;
    let reason = serde_json::json!({
        "file": of,
        "offset": range.start,
        "bytes": bytes,
        "reason": "no record with a valid checksum begins here",
        "found_at": place.clock.now(),
    });
    let file = place.fs.create(&kept.with_extension("json"))?;
    file.write_all_at(reason.to_string().as_bytes(), 0)?;
    file.sync_data()?;
    place.fs.sync_dir(&dir)
}
