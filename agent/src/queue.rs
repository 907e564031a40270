//! The spool: pushed data waits here, on disk, until the collector has it.
//!
//! Owns: order, the cap in bytes, crash safety against `kill -9`. Does not own: what the requests mean,
//! the sending.
//!
//! ```text
//! spool/0000000000000001.seg … 00000000000000a7.seg    requests in order of arrival (`segment`)
//! spool/cursor    two slots of 512 bytes, written in turn: the newest whole one counts
//!                 "SILSCURS" | generation u64 | acknowledged u64 | crc32c u32        little endian
//! ```
//!
//! Invariants
//! - [`Queue::append`] returns after the bytes are in the file: they survive the process, not the power.
//! - Every run writes segments of its own stream, so that a number that a power failure took is never
//!   given to another request of that stream (`docs/formats/positions.md`).
//! - Requests leave in the order they came; a segment is deleted when all of it is acknowledged and the
//!   cursor that says so is synced.
//! - A torn end is cut off; bad bytes in the middle cost the requests they hit, which are counted.

mod look;
pub(crate) mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use model::positions::StreamId;
use model::{Signal, UnixNano};
use thiserror::Error;
use tokio::sync::Notify;

pub use self::look::{Looked, look};
use self::segment::{Found, HEADER_BYTES, RECORD_HEADER_BYTES, Segment, find_record};
use crate::status::{SpoolStatus, lock};

const CURSOR_MAGIC: &[u8; 8] = b"SILSCURS";
const SLOT_BYTES: u64 = 512;
/// Room below which the spool counts as full.
const ROOM_WANTED: u64 = 16 << 10;
const SEGMENT_BYTES_MAX: u64 = 16 << 20;

/// How a spooled request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// OTLP protobuf.
    Protobuf,
    /// OTLP JSON.
    Json,
}

impl Encoding {
    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Protobuf => 0,
            Self::Json => 1,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Protobuf),
            1 => Some(Self::Json),
            _ => None,
        }
    }
}

/// Why a request was not spooled.
#[derive(Debug, Error)]
pub enum QueueError {
    /// The cap is reached, or the disk is full: come back later.
    #[error("the spool holds {bytes} of at most {bytes_max} bytes")]
    Full {
        /// Bytes in the spool.
        bytes: u64,
        /// The cap.
        bytes_max: u64,
    },
    /// The request alone is larger than the cap.
    #[error("a request of {bytes} bytes does not fit into a spool of {bytes_max} bytes")]
    TooLarge {
        /// Its size, compressed.
        bytes: u64,
        /// The cap.
        bytes_max: u64,
    },
    /// The disk failed.
    #[error("cannot write the spool")]
    Io(#[from] io::Error),
}

/// A request as it waits.
#[derive(Clone, Debug)]
pub struct Spooled {
    /// Number in order of arrival, from 1.
    pub number: u64,
    /// Its signal.
    pub signal: Signal,
    /// How it is written.
    pub encoding: Encoding,
    /// Spans, log records or metrics in it.
    pub items: u32,
    /// Its size before compression.
    pub raw_bytes: usize,
    /// When it came.
    pub time: UnixNano,
    /// The request, compressed with zstd.
    pub payload: Bytes,
}

/// The spool of one data directory. All methods may be called from any thread.
#[derive(Debug)]
pub struct Queue {
    inner: Mutex<Inner>,
    filled: Notify,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    bytes_max: u64,
    segment_bytes_max: u64,
    /// The stream of this run.
    stream: StreamId,
    segments: VecDeque<Segment>,
    next_number: u64,
    acknowledged: u64,
    cursor: File,
    cursor_generation: u64,
    /// Where the next request is read: a segment's first number and an offset in it.
    read_at: (u64, u64),
    /// The number of the last request read.
    read_number: u64,
    /// Records recovered from an earlier run, by signal.
    recovered: [u64; 3],
    lost: Vec<(Signal, u64)>,
    /// What the last read failed with.
    read_error: Option<String>,
}

impl Queue {
    /// Opens or makes the spool in `folder`, with a cap of `bytes_max`.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn open(folder: &Path, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let cursor_path = folder.join("cursor");
        let cursor =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(cursor_path)?;
        let (cursor_generation, acknowledged) = read_cursor(&cursor)?;
        let mut inner = Inner {
            folder: folder.to_path_buf(),
            bytes_max,
            segment_bytes_max: SEGMENT_BYTES_MAX.min(bytes_max / 8),
            stream: StreamId(*uuid::Uuid::now_v7().as_bytes()),
            segments: VecDeque::new(),
            next_number: acknowledged + 1,
            acknowledged,
            cursor,
            cursor_generation,
            read_at: (0, 0),
            read_number: acknowledged,
            recovered: [0; 3],
            lost: Vec::new(),
            read_error: None,
        };
        inner.recover()?;
        Ok(Self { inner: Mutex::new(inner), filled: Notify::new() })
    }

    /// Records that an earlier run left, by [`Signal::index`].
    pub fn recovered(&self) -> [u64; 3] {
        lock(&self.inner).recovered
    }

    /// Whether there is so little room that a request need not be read.
    pub fn is_full(&self) -> bool {
        let inner = lock(&self.inner);
        inner.bytes() + ROOM_WANTED > inner.bytes_max && !inner.is_empty()
    }

    /// Adds a request; it survives the process on return. Its number.
    ///
    /// # Errors
    /// When there is no room, or the disk fails; nothing of it is kept then.
    pub fn append(&self, request: &Spooled) -> Result<u64, QueueError> {
        let number = lock(&self.inner).append(request)?;
        self.filled.notify_one();
        Ok(number)
    }

    /// The next requests that were not taken yet: one, or several of one signal in protobuf up to
    /// `bytes_max` before compression. Empty when there is none.
    ///
    /// # Errors
    /// When the disk fails; nothing is skipped, the next call reads the same place again.
    pub fn take(&self, bytes_max: usize) -> io::Result<Vec<Spooled>> {
        let mut inner = lock(&self.inner);
        let taken = inner.take(bytes_max);
        inner.read_error = taken.as_ref().err().map(ToString::to_string);
        taken
    }

    /// The stream that a request is numbered in; `None` when it is no longer there.
    pub fn stream_of(&self, number: u64) -> Option<StreamId> {
        let inner = lock(&self.inner);
        inner.segments.iter().rev().find(|segment| segment.first <= number).map(|segment| segment.stream)
    }

    /// Records found damaged since the last call.
    pub fn take_lost(&self) -> Vec<(Signal, u64)> {
        std::mem::take(&mut lock(&self.inner).lost)
    }

    /// Everything up to `number` is settled.
    pub fn acknowledge(&self, number: u64) {
        if let Err(error) = lock(&self.inner).acknowledge(number) {
            tracing::error!(%error, "cannot write the spool's cursor; requests will be sent again after a restart");
        }
    }

    /// Waits until something was added since the last wait.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// The numbers for `/status`.
    pub fn status(&self) -> SpoolStatus {
        let inner = lock(&self.inner);
        SpoolStatus {
            bytes: inner.bytes(),
            bytes_max: inner.bytes_max,
            requests: inner.next_number - 1 - inner.acknowledged,
            read_error: inner.read_error.clone(),
        }
    }
}

impl Inner {
    /// Sizes come from the files themselves, never from a counter kept beside them.
    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum()
    }

    const fn is_empty(&self) -> bool {
        self.acknowledged + 1 == self.next_number
    }

    fn recover(&mut self) -> io::Result<()> {
        let mut paths: Vec<PathBuf> = fs::read_dir(&self.folder)?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| segment::is_name(path))
            .collect();
        paths.sort();
        for path in paths {
            match Segment::open(&path)? {
                Some(segment) => self.recover_segment(segment)?,
                // Made, and the process ended before its header was written: nothing was promised.
                None => fs::remove_file(&path)?,
            }
        }
        self.delete_acknowledged()?;
        if let Some(first) = self.segments.front() {
            self.read_at = (first.first, HEADER_BYTES);
        }
        Ok(())
    }

    fn recover_segment(&mut self, mut segment: Segment) -> io::Result<()> {
        let bytes = segment.read_from(0)?;
        let (mut at, mut end) = (HEADER_BYTES as usize, HEADER_BYTES as usize);
        while let Some(found) = find_record(&bytes, at) {
            if found.spooled.number > self.acknowledged {
                self.recovered[found.spooled.signal.index()] += u64::from(found.spooled.items);
            }
            self.next_number = self.next_number.max(found.spooled.number + 1);
            (at, end) = (found.end, found.end);
        }
        if end < bytes.len() {
            tracing::warn!(path = %segment.path.display(), bytes = bytes.len() - end, "cut a torn end off the spool");
            segment.truncate(end as u64)?;
        }
        self.segments.push_back(segment);
        Ok(())
    }

    fn append(&mut self, request: &Spooled) -> Result<u64, QueueError> {
        let needed = (RECORD_HEADER_BYTES + request.payload.len()) as u64;
        if needed + HEADER_BYTES > self.bytes_max {
            return Err(QueueError::TooLarge { bytes: needed, bytes_max: self.bytes_max });
        }
        let full = QueueError::Full { bytes: self.bytes(), bytes_max: self.bytes_max };
        match self.try_append(request, needed) {
            Ok(Some(number)) => Ok(number),
            Ok(None) => Err(full),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(full),
            Err(error) => Err(error.into()),
        }
    }

    /// `None` when the cap is reached.
    fn try_append(&mut self, request: &Spooled, needed: u64) -> io::Result<Option<u64>> {
        if self.bytes() + needed > self.bytes_max && self.is_empty() {
            // Everything left is acknowledged: the room is taken by files that may go.
            self.start_segment()?;
        }
        if self.bytes() + needed > self.bytes_max {
            return Ok(None);
        }
        let is_room =
            |active: &Segment| active.stream == self.stream && active.len + needed <= self.segment_bytes_max;
        if !self.segments.back().is_some_and(is_room) {
            self.start_segment()?;
        }
        let number = self.next_number;
        let record = segment::encode(number, request);
        let active = self.segments.back_mut().ok_or_else(|| io::Error::other("no segment to write to"))?;
        active.write(&record)?;
        self.next_number += 1;
        Ok(Some(number))
    }

    fn start_segment(&mut self) -> io::Result<()> {
        let unused = self.segments.back().filter(|active| active.first == self.next_number);
        if unused.is_none_or(|unused| unused.stream != self.stream) {
            if unused.is_some() {
                self.segments.pop_back();
            }
            let segment = Segment::create(&self.folder, self.next_number, self.stream)?;
            if self.segments.is_empty() || self.read_number + 1 == self.next_number {
                self.read_at = (segment.first, HEADER_BYTES);
            }
            self.segments.push_back(segment);
        }
        self.delete_acknowledged()
    }

    fn take(&mut self, bytes_max: usize) -> io::Result<Vec<Spooled>> {
        let mut group: Vec<Spooled> = Vec::new();
        let mut group_stream = None;
        let mut bytes = 0;
        loop {
            let before = (self.read_at, self.read_number, self.lost.len());
            let next = match self.read_next() {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(error) if group.is_empty() => return Err(error),
                // What was read leaves first; the next call meets the error again.
                Err(_) => break,
            };
            bytes += next.raw_bytes;
            // What the reader stands in now is the segment it was read from.
            let stream = self.stream_at(self.read_at.0);
            let joins = group.first().is_none_or(|first| {
                first.signal == next.signal
                    && group_stream == stream
                    && first.encoding == Encoding::Protobuf
                    && next.encoding == Encoding::Protobuf
                    && bytes <= bytes_max
            });
            if !joins {
                (self.read_at, self.read_number) = (before.0, before.1);
                self.lost.truncate(before.2);
                break;
            }
            group_stream = stream;
            group.push(next);
        }
        Ok(group)
    }

    /// The stream of the segment whose first number is `first`.
    fn stream_at(&self, first: u64) -> Option<StreamId> {
        self.segments.iter().find(|segment| segment.first == first).map(|segment| segment.stream)
    }

    fn read_next(&mut self) -> io::Result<Option<Spooled>> {
        while let Some(at) = self.segments.iter().position(|segment| segment.first >= self.read_at.0) {
            let segment = &mut self.segments[at];
            if segment.first > self.read_at.0 {
                self.read_at = (segment.first, HEADER_BYTES);
            }
            match segment.record_at(self.read_at.1)? {
                Some(found) => {
                    let Found { spooled, end } = found;
                    self.read_at.1 = end as u64;
                    if spooled.number <= self.read_number {
                        continue;
                    }
                    self.note_gap(&spooled);
                    self.read_number = spooled.number;
                    return Ok(Some(spooled));
                }
                None if at + 1 < self.segments.len() => {
                    self.read_at = (self.segments[at + 1].first, HEADER_BYTES)
                }
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Requests between the last one and this were hit by bad bytes. How many records they held can no
    /// longer be known; each counts as one.
    fn note_gap(&mut self, next: &Spooled) {
        let missing = next.number - self.read_number - 1;
        if missing > 0 {
            tracing::error!(missing, "requests in the spool were damaged and are lost");
            self.lost.push((next.signal, missing));
        }
    }

    fn acknowledge(&mut self, number: u64) -> io::Result<()> {
        self.acknowledged = self.acknowledged.max(number);
        self.write_cursor()?;
        self.delete_acknowledged()
    }

    /// Deletes segments that hold nothing unacknowledged; the last one stays to be written to.
    fn delete_acknowledged(&mut self) -> io::Result<()> {
        let is_done =
            |inner: &Self| inner.segments.get(1).is_some_and(|next| next.first <= inner.acknowledged + 1);
        if !is_done(self) {
            return Ok(());
        }
        self.cursor.sync_data()?;
        while is_done(self) {
            if let Some(done) = self.segments.pop_front() {
                fs::remove_file(&done.path)?;
            }
        }
        File::open(&self.folder)?.sync_all()
    }

    fn write_cursor(&mut self) -> io::Result<()> {
        self.cursor_generation += 1;
        let mut slot = Vec::with_capacity(28);
        slot.extend_from_slice(CURSOR_MAGIC);
        slot.extend_from_slice(&self.cursor_generation.to_le_bytes());
        slot.extend_from_slice(&self.acknowledged.to_le_bytes());
        slot.extend_from_slice(&crc32c::crc32c(&slot).to_le_bytes());
        self.cursor.write_all_at(&slot, (self.cursor_generation % 2) * SLOT_BYTES)
    }
}

/// Generation and acknowledged number of the newest whole slot; zeros when there is none.
fn read_cursor(cursor: &File) -> io::Result<(u64, u64)> {
    let mut newest = (0, 0);
    for slot in 0..2 {
        let mut bytes = [0; 28];
        if cursor.read_at(&mut bytes, slot * SLOT_BYTES)? < bytes.len() || &bytes[..8] != CURSOR_MAGIC {
            continue;
        }
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        let checksum = u32::from_le_bytes(bytes[24..].try_into().unwrap_or_default());
        if checksum == crc32c::crc32c(&bytes[..24]) && number(8) > newest.0 {
            newest = (number(8), number(16));
        }
    }
    Ok(newest)
}
