//! Which file is which, whatever it is called today, and evidence that a position still means the
//! same bytes.
//!
//! A name says nothing after a rotation, and an inode number is given to the next file at once. So a
//! file is its inode *and* birth time (device and inode where the filesystem keeps no birth time), and
//! a position carries fingerprints of the first bytes and of the bytes right before it:
//!
//! ```text
//! |<- head ≤ 1024 ->| ………………………… |<- tail ≤ 64 ->|  unread …
//! 0                                           offset
//! ```

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, statx};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes at the beginning of a file that identify it.
pub(crate) const HEAD_BYTES: usize = 1024;
/// Bytes before a position that prove it.
pub(crate) const TAIL_BYTES: usize = 64;

/// Identity of a file on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FileKey {
    /// Inode number.
    pub(crate) inode: u64,
    /// Birth time in nanoseconds since the epoch; `None` when the filesystem keeps none.
    pub(crate) birth_time_unix_nano: Option<i64>,
    /// Major and minor device number, only when there is no birth time: it may change at a reboot.
    pub(crate) device: Option<(u32, u32)>,
}

/// What `statx` tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileStat {
    pub(crate) key: FileKey,
    pub(crate) size: u64,
    /// Nanoseconds since the epoch.
    pub(crate) modified: i64,
    /// Names the file has; 0 for a deleted one.
    pub(crate) links: u32,
    pub(crate) is_regular: bool,
}

impl FileStat {
    /// Of an open file.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        #[cfg(test)]
        super::tests::many::count();
        Ok(Self::read(&statx(file.as_fd(), "", AtFlags::EMPTY_PATH, wanted())?))
    }

    /// Of a path, through symbolic links.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        #[cfg(test)]
        super::tests::many::count();
        Ok(Self::read(&statx(CWD, path, AtFlags::empty(), wanted())?))
    }

    fn read(stat: &Statx) -> Self {
        let has_birth = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
        let birth = has_birth.then(|| nanos(stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec));
        let device = (stat.stx_dev_major, stat.stx_dev_minor);
        Self {
            key: FileKey {
                inode: stat.stx_ino,
                birth_time_unix_nano: birth,
                device: birth.is_none().then_some(device),
            },
            size: stat.stx_size,
            modified: nanos(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            links: stat.stx_nlink,
            is_regular: FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile,
        }
    }

    /// When the file came into being, as near as the filesystem tells.
    pub(crate) fn born(&self) -> i64 {
        self.key.birth_time_unix_nano.unwrap_or(self.modified)
    }
}

fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME
}

fn nanos(seconds: i64, nanos: u32) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanos))
}

/// A hash of some bytes and how many they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    pub(crate) len: u32,
    pub(crate) hash: u64,
}

impl Fingerprint {
    /// Of `bytes`; no bytes are the default.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        Self { len: bytes.len() as u32, hash: xxh3_64(bytes) }
    }

    /// Whether `bytes` begin with the bytes this was made of.
    pub(crate) fn begins(&self, bytes: &[u8]) -> bool {
        bytes.get(..self.len as usize).is_some_and(|prefix| Self::of(prefix) == *self)
    }
}

/// A position in a file with its evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Bytes before the position.
    pub(crate) offset: u64,
    /// Of the first bytes, at most [`HEAD_BYTES`] and never beyond the position.
    pub(crate) head: Fingerprint,
    /// Of the bytes right before the position, at most [`TAIL_BYTES`].
    pub(crate) tail: Fingerprint,
}

impl Mark {
    /// The position `offset` of `file` as it is now, and the raw head.
    pub(crate) fn at(file: &File, offset: u64) -> io::Result<(Self, Vec<u8>)> {
        let head = read_range(file, 0, offset.min(HEAD_BYTES as u64) as usize)?;
        let tail_len = offset.min(TAIL_BYTES as u64);
        let tail = read_range(file, offset - tail_len, tail_len as usize)?;
        Ok((Self { offset, head: Fingerprint::of(&head), tail: Fingerprint::of(&tail) }, head))
    }

    /// Whether its head is as long as one gets, so that bytes behind the position need no evidence of their own.
    pub(crate) const fn has_whole_head(&self) -> bool {
        self.head.len as usize >= HEAD_BYTES
    }

    /// Whether the bytes of `file` before the position are the ones the mark was made of.
    pub(crate) fn holds_in(&self, file: &File) -> io::Result<bool> {
        if FileStat::of(file)?.size < self.offset {
            return Ok(false);
        }
        Ok(Self::at(file, self.offset)?.0 == *self)
    }
}

/// Up to `len` bytes from `offset`; fewer at the end of the file.
pub(crate) fn read_range(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let read = read_into(file, offset, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Fills `bytes` from `offset` as far as the file goes.
pub(crate) fn read_into(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
    #[cfg(test)]
    super::tests::many::count();
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
