//! Looking into a spool without opening it: nothing is locked, cut or deleted, so an agent may be at work.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::segment::{self, HEADER_BYTES, find_record};
use super::{Spooled, read_cursor};

/// One file of a spool.
#[derive(Debug)]
pub struct Looked {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// What it holds, in order.
    pub requests: Vec<Spooled>,
    /// How many of them the collector has not acknowledged.
    pub waiting: usize,
    /// Bytes that belong to no whole request. The last file of an agent at work may show some.
    pub damaged_bytes: u64,
}

/// The files of the spool in `folder`, oldest first.
///
/// # Errors
/// When it cannot be read.
pub fn look(folder: &Path) -> io::Result<Vec<Looked>> {
    let acknowledged = match File::open(folder.join("cursor")) {
        Ok(cursor) => read_cursor(&cursor)?.1,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let mut paths: Vec<PathBuf> =
        entries.into_iter().map(|entry| entry.path()).filter(|path| segment::is_name(path)).collect();
    paths.sort();
    paths.into_iter().map(|path| look_into(path, acknowledged)).collect()
}

fn look_into(path: PathBuf, acknowledged: u64) -> io::Result<Looked> {
    let bytes = fs::read(&path)?;
    let (mut requests, mut at, mut whole) = (Vec::new(), HEADER_BYTES as usize, 0);
    while let Some(found) = find_record(&bytes, at) {
        whole += segment::RECORD_HEADER_BYTES + found.spooled.payload.len();
        at = found.end;
        requests.push(found.spooled);
    }
    let waiting = requests.iter().filter(|request| request.number > acknowledged).count();
    let damaged = bytes.len().saturating_sub(HEADER_BYTES as usize + whole);
    Ok(Looked { path, bytes: bytes.len() as u64, requests, waiting, damaged_bytes: damaged as u64 })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::{Signal, UnixNano};

    use super::super::{Encoding, Queue};
    use super::*;

    #[test]
    fn a_spool_is_looked_into_while_it_is_used_and_bad_bytes_are_counted() {
        let folder = tempfile::tempdir().expect("folder");
        let queue = Queue::open(folder.path(), 1 << 20).expect("opened");
        let request = |text: &'static str| Spooled {
            number: 0,
            signal: Signal::Logs,
            encoding: Encoding::Protobuf,
            items: 1,
            raw_bytes: text.len(),
            time: UnixNano(1),
            payload: Bytes::from_static(text.as_bytes()),
        };
        for text in ["one", "two", "three"] {
            queue.append(&request(text)).expect("appended");
        }
        queue.acknowledge(1);
        let seen = look(folder.path()).expect("read");
        assert_eq!(
            (seen.len(), seen[0].requests.len(), seen[0].waiting, seen[0].damaged_bytes),
            (1, 3, 2, 0)
        );
        let mut bytes = fs::read(&seen[0].path).expect("read");
        bytes.extend_from_slice(b"torn");
        fs::write(&seen[0].path, bytes).expect("written");
        assert_eq!(look(folder.path()).expect("read")[0].damaged_bytes, 4);
    }
}
