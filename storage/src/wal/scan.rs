//! Reads one file of the log through a window, and finds records in it.
//!
//! Owns: bounded memory (the window holds 256 KiB, or one record where that is longer), blocks that
//! cannot be read. Does not own: what a hole means.
//!
//! Invariant: no content of a file makes it panic, and no length is believed before its checksum holds.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::format::{ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader, SYNC_WORD};
use crate::plant::{Plant, Planted};
use disk::{DiskFile, Fs, read_range};

const WINDOW_BYTES: usize = 256 << 10;
const BLOCK_BYTES: usize = 4096;
/// Stands for bytes that could not be read: neither a sync word nor the zeros of free space.
const UNREADABLE: u8 = 0xFF;

/// What is at a place.
#[derive(Debug)]
pub(super) enum Found {
    Record(RecordHeader),
    /// A header that checks, before a body that does not.
    DamagedBody(RecordHeader),
    Nothing,
}

#[derive(Debug)]
pub(super) struct Scanner {
    file: Box<dyn DiskFile>,
    len: u64,
    window: Vec<u8>,
    window_at: u64,
    /// Some block could not be read and stands as [`UNREADABLE`] bytes.
    pub(super) has_unreadable: bool,
    /// A bug, in tests.
    pub(super) planted: Planted,
}

impl Scanner {
    pub(super) fn open(fs: &dyn Fs, path: &Path) -> io::Result<Self> {
        let file = fs.open(path)?;
        let len = file.len()?;
        let planted = Planted::default();
        Ok(Self { file, len, window: Vec::new(), window_at: 0, has_unreadable: false, planted })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The bytes at `at`: `wanted` of them, or all up to the end of the file.
    pub(super) fn bytes(&mut self, at: u64, wanted: usize) -> &[u8] {
        let wanted = wanted.min(usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX));
        if at < self.window_at || at + wanted as u64 > self.window_at + self.window.len() as u64 {
            self.fill(at, wanted.max(WINDOW_BYTES));
        }
        let start = usize::try_from(at - self.window_at).unwrap_or(usize::MAX).min(self.window.len());
        &self.window[start..(start + wanted).min(self.window.len())]
    }

    fn fill(&mut self, at: u64, wanted: usize) {
        let wanted = wanted.min(usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX));
        self.window = read_range(&*self.file, at, wanted).unwrap_or_else(|_| self.read_blocks(at, wanted));
        self.window_at = at;
        if self.window.len() < wanted {
            self.len = at + self.window.len() as u64;
        }
    }

    fn read_blocks(&mut self, at: u64, wanted: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(wanted);
        while bytes.len() < wanted {
            let block_bytes = BLOCK_BYTES.min(wanted - bytes.len());
            match read_range(&*self.file, at + bytes.len() as u64, block_bytes) {
                Ok(block) if block.len() < block_bytes => {
                    bytes.extend_from_slice(&block);
                    break;
                }
                Ok(block) => bytes.extend_from_slice(&block),
                Err(_) => {
                    self.has_unreadable = true;
                    bytes.resize(bytes.len() + block_bytes, UNREADABLE);
                }
            }
        }
        bytes
    }

    pub(super) fn find(&mut self, epoch: u64, at: u64) -> Found {
        let Some(header) = RecordHeader::decode(epoch, self.bytes(at, RECORD_HEADER_BYTES)) else {
            return Found::Nothing;
        };
        if body_range(&header, at).end > self.len {
            return Found::Nothing;
        }
        if header.matches(self.body(&header, at)) || self.planted.has(Plant::BodyNotChecked) {
            Found::Record(header)
        } else {
            Found::DamagedBody(header)
        }
    }

    /// Extension and payload of the record at `at`, whose header was found there.
    pub(super) fn body(&mut self, header: &RecordHeader, at: u64) -> &[u8] {
        let range = body_range(header, at);
        self.bytes(range.start, usize::try_from(range.end - range.start).unwrap_or(usize::MAX))
    }

    /// Where the next sync word stands, at `from` or behind it.
    pub(super) fn next_sync_word(&mut self, from: u64) -> Option<u64> {
        let mut at = from.next_multiple_of(ALIGNMENT);
        while at < self.len {
            let chunk = self.bytes(at, WINDOW_BYTES);
            let found = chunk.chunks(ALIGNMENT as usize).position(|word| word.starts_with(&SYNC_WORD));
            if let Some(position) = found {
                return Some(at + position as u64 * ALIGNMENT);
            }
            if chunk.is_empty() {
                return None;
            }
            at = (at + chunk.len() as u64).next_multiple_of(ALIGNMENT);
        }
        None
    }

    /// The end of the last byte that is not zero, at `from` or behind it.
    pub(super) fn end_of_content(&mut self, from: u64) -> Option<u64> {
        let mut at = from;
        let mut end = None;
        while at < self.len {
            let chunk = self.bytes(at, WINDOW_BYTES);
            if chunk.is_empty() {
                break;
            }
            end = chunk.iter().rposition(|byte| *byte != 0).map(|last| at + last as u64 + 1).or(end);
            at += chunk.len() as u64;
        }
        end
    }
}

fn body_range(header: &RecordHeader, at: u64) -> Range<u64> {
    let start = at + RECORD_HEADER_BYTES as u64;
    start..start + header.body_bytes()
}
