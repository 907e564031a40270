//! Looking into a spool without opening it: nothing is locked, cut or deleted, so an agent may be at work.

use std::io;
use std::path::{Path, PathBuf};

use disk::{Fs, RealFs};

use super::segment::{self, Found, HEADER_BYTES, Opened, RECORD_HEAD_BYTES, Segment};
use super::{Encoding, Lane, Spooled, cursor};

/// One file of a spool.
#[derive(Debug)]
pub struct Looked {
    /// The lane it belongs to.
    pub lane: Lane,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// How many requests it holds.
    pub requests: usize,
    /// How many of them the collector has not acknowledged.
    pub waiting: usize,
    /// Bytes that belong to no whole request. The last file of an agent at work may show some.
    pub damaged_bytes: u64,
}

/// The files of the spool in `folder`, lane by lane, oldest first; `see` gets every request, with whether it
/// waits.
///
/// # Errors
/// When it cannot be read, or `see` fails.
pub fn look<E: From<io::Error>>(
    folder: &Path,
    mut see: impl FnMut(&Looked, &Spooled, bool) -> Result<(), E>,
) -> Result<Vec<Looked>, E> {
    let mut all = Vec::new();
    for lane in Lane::ALL {
        let folder = folder.join(lane.name());
        let names = match RealFs.list(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            names => names?,
        };
        let settled = cursor::look(&RealFs, &folder)?.number;
        for name in names.iter().filter(|name| segment::number_of(name).is_some()) {
            all.push(look_into(lane, folder.join(name), settled, &mut see)?);
        }
    }
    Ok(all)
}

fn look_into<E: From<io::Error>>(
    lane: Lane,
    path: PathBuf,
    settled: u64,
    see: &mut impl FnMut(&Looked, &Spooled, bool) -> Result<(), E>,
) -> Result<Looked, E> {
    let bytes = RealFs.open(&path)?.len()?;
    let mut looked = Looked { lane, path, bytes, requests: 0, waiting: 0, damaged_bytes: 0 };
    let segment = match Segment::open(&RealFs, &looked.path)? {
        Opened::Segment(segment) => segment,
        Opened::Empty => return Ok(looked),
        Opened::Damaged => return Ok(Looked { damaged_bytes: bytes, ..looked }),
    };
    let (mut at, mut whole) = (HEADER_BYTES, HEADER_BYTES);
    loop {
        match segment.next(at)? {
            Found::Record(spooled, end) => {
                at = end;
                whole += segment::record_bytes(&spooled).max(RECORD_HEAD_BYTES as u64);
                let waits = spooled.number() > settled;
                looked.requests += 1;
                looked.waiting += usize::from(waits);
                see(&looked, &spooled, waits)?;
            }
            Found::Damaged(_, end) => at = end,
            Found::End => break,
        }
    }
    looked.damaged_bytes = bytes.saturating_sub(whole);
    Ok(looked)
}

/// The records of a request that waits, a JSON object each, as `silmari-agent tail --json` shows them.
///
/// # Errors
/// When it cannot be unpacked.
pub fn records(request: &Spooled) -> io::Result<Vec<serde_json::Value>> {
    let raw = zstd::decode_all(request.payload.as_ref())?;
    if request.encoding == Encoding::Json {
        // Of an older version: as it stands.
        return Ok(serde_json::from_slice(&raw).into_iter().collect());
    }
    let lines = crate::tap::lines_of(request.signal, &raw);
    Ok(lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect())
}
