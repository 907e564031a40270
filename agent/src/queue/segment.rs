//! One file of the spool. Little endian:
//!
//! ```text
//! file   "SILSPOOL" | version u16 | header bytes u16 | 0 u32 | first number u64 | stream 16 bytes
//!        | crc32c u32 (of all before) | 0 u32                                                             48 bytes
//! record sync u32 | length u32 | crc32c u32 | number u64 | signal u8 | encoding u8 | 0 u16 | items u32
//!        | raw bytes u32 | 0 u32 | time i64 | payload (zstd)                  length and crc: all after crc32c
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::positions::StreamId;
use model::{Signal, UnixNano};

use super::{Encoding, Spooled};

const MAGIC: &[u8; 8] = b"SILSPOOL";
const VERSION: u16 = 1;
const SYNC: u32 = 0x7A5B_0C1D;
/// Bytes before the first record.
pub(super) const HEADER_BYTES: u64 = 48;
/// Where the checksum of the header stands.
const CHECKSUM_AT: usize = 40;
/// Bytes of a record before its payload.
pub(super) const RECORD_HEADER_BYTES: usize = 12 + FIXED_BYTES;
const FIXED_BYTES: usize = 32;

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    /// Number of its first record.
    pub(super) first: u64,
    /// The run of the agent that wrote it, as the position protocol names it.
    pub(super) stream: StreamId,
    pub(super) path: PathBuf,
    pub(super) len: u64,
    file: File,
}

/// A record and where the next one begins.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) spooled: Spooled,
    pub(super) end: usize,
}

/// Whether a path is named like a segment.
pub(super) fn is_name(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "seg")
}

impl Segment {
    pub(super) fn create(folder: &Path, first: u64, stream: StreamId) -> io::Result<Self> {
        let path = folder.join(format!("{first:016x}.seg"));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        let mut header = Vec::with_capacity(HEADER_BYTES as usize);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&first.to_le_bytes());
        header.extend_from_slice(&stream.0);
        header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
        header.resize(HEADER_BYTES as usize, 0);
        file.write_all_at(&header, 0)?;
        Ok(Self { first, stream, path, len: HEADER_BYTES, file })
    }

    /// Opens a segment; `None` when its header was never completed.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let len = file.metadata()?.len();
        if len < HEADER_BYTES {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES as usize];
        file.read_exact_at(&mut header, 0)?;
        let checksum =
            u32::from_le_bytes(header[CHECKSUM_AT..CHECKSUM_AT + 4].try_into().unwrap_or_default());
        if &header[..8] != MAGIC
            || header[8..10] != VERSION.to_le_bytes()
            || checksum != crc32c::crc32c(&header[..CHECKSUM_AT])
        {
            let problem = format!("`{}` is no segment of version {VERSION}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        let first = u64::from_le_bytes(header[16..24].try_into().unwrap_or_default());
        let stream = StreamId(header[24..CHECKSUM_AT].try_into().unwrap_or_default());
        Ok(Some(Self { first, stream, path: path.to_path_buf(), len, file }))
    }

    /// Everything from `offset` on.
    pub(super) fn read_from(&self, offset: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len.saturating_sub(offset) as usize];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// The record at `offset`, or the next whole one behind it.
    pub(super) fn record_at(&mut self, offset: u64) -> io::Result<Option<Found>> {
        let room = self.len.saturating_sub(offset) as usize;
        if room < RECORD_HEADER_BYTES {
            return Ok(None);
        }
        let mut head = [0; 12];
        self.file.read_exact_at(&mut head, offset)?;
        let length = u32::from_le_bytes(head[4..8].try_into().unwrap_or_default()) as usize;
        let is_plausible = head[..4] == SYNC.to_le_bytes() && length <= room - 12;
        let mut bytes = vec![0; if is_plausible { 12 + length } else { room }];
        self.file.read_exact_at(&mut bytes, offset)?;
        let found = match find_record(&bytes, 0) {
            None if is_plausible => find_record(&self.read_from(offset)?, 0),
            found => found,
        };
        Ok(found.map(|found| Found { end: found.end + offset as usize, ..found }))
    }

    /// Appends a record; on failure the file is as it was.
    pub(super) fn write(&mut self, record: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(record, self.len) {
            self.file.set_len(self.len)?;
            return Err(error);
        }
        self.len += record.len() as u64;
        Ok(())
    }

    pub(super) fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.len = len;
        Ok(())
    }
}

/// The bytes of a record.
pub(super) fn encode(number: u64, request: &Spooled) -> Vec<u8> {
    let mut record = Vec::with_capacity(RECORD_HEADER_BYTES + request.payload.len());
    record.extend_from_slice(&SYNC.to_le_bytes());
    record.extend_from_slice(&((FIXED_BYTES + request.payload.len()) as u32).to_le_bytes());
    record.extend_from_slice(&[0; 4]);
    record.extend_from_slice(&number.to_le_bytes());
    record.extend_from_slice(&[request.signal.code(), request.encoding.code(), 0, 0]);
    record.extend_from_slice(&request.items.to_le_bytes());
    record.extend_from_slice(&u32::try_from(request.raw_bytes).unwrap_or(u32::MAX).to_le_bytes());
    record.extend_from_slice(&[0; 4]);
    record.extend_from_slice(&request.time.0.to_le_bytes());
    record.extend_from_slice(&request.payload);
    let checksum = crc32c::crc32c(&record[12..]);
    record[8..12].copy_from_slice(&checksum.to_le_bytes());
    record
}

/// The first whole record at or behind `from`.
pub(super) fn find_record(bytes: &[u8], from: usize) -> Option<Found> {
    let mut at = from;
    loop {
        at += memchr::memmem::find(bytes.get(at..)?, &SYNC.to_le_bytes())?;
        if let Some(found) = decode(bytes, at) {
            return Some(found);
        }
        at += 1;
    }
}

fn decode(bytes: &[u8], at: usize) -> Option<Found> {
    let rest = &bytes[at..];
    let word = |from: usize| Some(u32::from_le_bytes(rest.get(from..from + 4)?.try_into().ok()?));
    let long = |from: usize| Some(u64::from_le_bytes(rest.get(from..from + 8)?.try_into().ok()?));
    let length = word(4)? as usize;
    let end = length.checked_add(12)?;
    let covered = rest.get(12..end).filter(|covered| covered.len() >= FIXED_BYTES)?;
    if crc32c::crc32c(covered) != word(8)? {
        return None;
    }
    let spooled = Spooled {
        number: long(12)?,
        signal: Signal::from_code(rest[20])?,
        encoding: Encoding::from_code(rest[21])?,
        items: word(24)?,
        raw_bytes: word(28)? as usize,
        time: UnixNano(long(36)?.cast_signed()),
        payload: Bytes::copy_from_slice(&covered[FIXED_BYTES..]),
    };
    Some(Found { spooled, end: at + end })
}
