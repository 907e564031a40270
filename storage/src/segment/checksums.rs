//! Checksums of a segment's Parquet file, block by block: no version of the Parquet writer in use writes those that
//! the format has for pages.
//!
//! ```text
//! data.crc   magic "SILMCRC1" 8 │ block bytes 4 │ 0 4 │ bytes of data.parquet 8 │ CRC-32C of each block 4 … │ crc 4
//! ```
//!
//! Owns: writing them while the file is written, and holding every block that is read against them. A file without
//! checksums is read without.
//!
//! Invariants: no byte of a block whose checksum does not hold is given out; checksums that are damaged themselves
//! cost nothing but the check.

use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};
use disk::Appender;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};
use rustix::fs::Advice;

use super::home::source::Chunks;

/// The file beside `data.parquet`.
pub(crate) const FILE: &str = "data.crc";
const MAGIC: &[u8; 8] = b"SILMCRC1";
const HEADER_BYTES: usize = 24;
/// Pages of columns that are read together are about as large.
const BLOCK_BYTES: usize = 16 << 10;

/// The checksums of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checksums {
    block_bytes: usize,
    bytes: u64,
    blocks: Vec<u32>,
}

impl Checksums {
    /// The bytes of `data.crc`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + 4 * self.blocks.len() + 4);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&(self.block_bytes as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.bytes.to_le_bytes());
        for block in &self.blocks {
            out.extend_from_slice(&block.to_le_bytes());
        }
        let crc = crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Bytes of the file they are of.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether these are the bytes of sound checksums.
    pub(super) fn are_sound(bytes: &[u8]) -> bool {
        Self::decode(bytes).is_some()
    }

    /// `None` for bytes that are no sound checksums.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c(content) != u32::from_le_bytes(*crc) || content.get(..8)? != MAGIC {
            return None;
        }
        let block_bytes = u32::from_le_bytes(content.get(8..12)?.try_into().ok()?) as usize;
        let len = u64::from_le_bytes(content.get(16..24)?.try_into().ok()?);
        let (blocks, rest) = content.get(HEADER_BYTES..)?.as_chunks::<4>();
        let expected = len.div_ceil(u64::try_from(block_bytes).ok().filter(|bytes| *bytes > 0)?);
        if !rest.is_empty() || blocks.len() as u64 != expected {
            return None;
        }
        Some(Self {
            block_bytes,
            bytes: len,
            blocks: blocks.iter().map(|crc| u32::from_le_bytes(*crc)).collect(),
        })
    }

    /// The first of blocks, which begin with this number, whose checksum does not hold.
    fn damaged(&self, first: u64, bytes: &[u8]) -> Option<u64> {
        let mut blocks = bytes.chunks(self.block_bytes).zip(first..);
        blocks
            .find(|(block, number)| self.blocks.get(*number as usize) != Some(&crc32c(block)))
            .map(|of| of.1)
    }

    /// The checksums beside a Parquet file. `None` when there are none, or they are damaged.
    pub(crate) fn of(data: &Path) -> Option<Self> {
        let path = data.with_file_name(FILE);
        let bytes = std::fs::read(&path).ok()?;
        let checksums = Self::decode(&bytes);
        if checksums.is_none() {
            tracing::warn!("`{}` is damaged: the segment is read without checksums", path.display());
        }
        checksums
    }

    /// Whether there are checksums beside a Parquet file and they are damaged.
    pub(crate) fn are_damaged(data: &Path) -> bool {
        std::fs::read(data.with_file_name(FILE)).is_ok_and(|bytes| Self::decode(&bytes).is_none())
    }
}

/// Writes a file and sums its blocks up.
#[derive(Debug)]
pub(crate) struct Summing {
    file: Appender,
    bytes: u64,
    blocks: Vec<u32>,
    /// Of the block that is not full yet.
    crc: u32,
}

impl Summing {
    pub(crate) const fn new(file: Appender) -> Self {
        Self { file, bytes: 0, blocks: Vec::new(), crc: 0 }
    }

    /// The checksums of all that was written.
    pub(crate) fn finish(mut self) -> Checksums {
        if !self.bytes.is_multiple_of(BLOCK_BYTES as u64) {
            self.blocks.push(self.crc);
        }
        Checksums { block_bytes: BLOCK_BYTES, bytes: self.bytes, blocks: self.blocks }
    }
}

impl Write for Summing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        let mut left = bytes;
        while !left.is_empty() {
            let in_block = (self.bytes % BLOCK_BYTES as u64) as usize;
            let (now, rest) = left.split_at(left.len().min(BLOCK_BYTES - in_block));
            self.crc = crc32c_append(self.crc, now);
            self.bytes += now.len() as u64;
            if self.bytes.is_multiple_of(BLOCK_BYTES as u64) {
                self.blocks.push(std::mem::take(&mut self.crc));
            }
            left = rest;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A Parquet file of which every block that is read is checked, where it has checksums. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CheckedFile {
    place: Place,
    path: Arc<PathBuf>,
    len: u64,
    checksums: Option<Arc<Checksums>>,
}

/// Where the bytes are.
#[derive(Clone, Debug)]
enum Place {
    File(Arc<File>),
    Cached(Chunks),
}

impl CheckedFile {
    /// Opens the file with its checksums.
    pub(crate) fn open(data: &Path, checksums: Option<Arc<Checksums>>) -> io::Result<Self> {
        let file = File::open(data)?;
        let len = file.metadata()?.len();
        if let Some(checksums) = checksums.as_deref().filter(|checksums| checksums.bytes != len) {
            let message = format!("it has {len} bytes, {} were written", checksums.bytes);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(Self { place: Place::File(Arc::new(file)), path: Arc::new(data.to_owned()), len, checksums })
    }

    /// A file of which there are copies; nothing is read yet.
    pub(super) fn cached(data: &Path, chunks: Chunks, checksums: Arc<Checksums>) -> Self {
        let (len, path) = (chunks.len(), Arc::new(data.to_owned()));
        Self { place: Place::Cached(chunks), path, len, checksums: Some(checksums) }
    }

    /// Its size.
    pub(super) const fn bytes(&self) -> u64 {
        self.len
    }

    /// Opens the file with the checksums that lie beside it.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn beside(data: &Path) -> io::Result<Self> {
        Self::open(data, Checksums::of(data).map(Arc::new))
    }

    /// Reads exactly these bytes.
    ///
    /// # Errors
    /// What the operating system says; `InvalidData` for a block whose checksum does not hold.
    pub fn read_range(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.len);
        let end = end.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let Some(checksums) = &self.checksums else { return self.read(start, end) };
        let block_bytes = checksums.block_bytes as u64;
        let first = start / block_bytes;
        let from = first * block_bytes;
        let to = end.next_multiple_of(block_bytes).min(self.len);
        let mut bytes = self.read(from, to)?;
        let mut damaged = checksums.damaged(first, &bytes);
        if let (Some(_), Place::Cached(chunks)) = (damaged, &self.place) {
            // The copy is damaged; the original need not be.
            chunks.forget(&(from..to));
            bytes = self.read(from, to)?;
            damaged = checksums.damaged(first, &bytes);
        }
        if let Some(block) = damaged {
            let (at, path) = (block * block_bytes, self.path.display());
            let until = (at + block_bytes).min(self.len);
            let message = format!("`{path}`, bytes {at}..{until}: the checksum does not hold");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let skipped = (start - from) as usize;
        Ok(bytes.slice(skipped..skipped + length))
    }

    /// Has the system read no more than it is asked for: of what lies behind nothing is wanted.
    pub(super) fn read_here_and_there(&self) {
        if let Place::File(file) = &self.place {
            let _ = rustix::fs::fadvise(file, 0, None, Advice::Random);
        }
    }

    /// Has the system bring these bytes into memory, and does not wait for it. What is kept elsewhere is fetched when it is read.
    pub(super) fn fetch_ahead(&self, bytes: Range<u64>) {
        let Place::File(file) = &self.place else { return };
        if let Some(length) = NonZeroU64::new(bytes.end.saturating_sub(bytes.start)) {
            // Without it reading takes longer, no more.
            let _ = rustix::fs::fadvise(file, bytes.start, Some(length), Advice::WillNeed);
        }
    }

    fn read(&self, from: u64, to: u64) -> io::Result<Bytes> {
        let file = match &self.place {
            Place::File(file) => file,
            Place::Cached(chunks) => return chunks.read(from..to),
        };
        let mut bytes = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, from)?;
        Ok(bytes.into())
    }
}

impl Length for CheckedFile {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for CheckedFile {
    type T = CheckedRead;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(CheckedRead { file: self.clone(), at: start, left: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        self.read_range(start, length).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// Reads on from one place of a [`CheckedFile`].
#[derive(Debug)]
pub struct CheckedRead {
    file: CheckedFile,
    at: u64,
    left: Bytes,
}

impl Read for CheckedRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() {
            let block = BLOCK_BYTES as u64;
            let end = (self.at + 1).next_multiple_of(block).min(self.file.len);
            let Some(length) = end.checked_sub(self.at).filter(|length| *length > 0) else { return Ok(0) };
            self.left = self.file.read_range(self.at, length as usize)?;
            self.at = end;
        }
        let now = self.left.split_to(self.left.len().min(buffer.len()));
        buffer[..now.len()].copy_from_slice(&now);
        Ok(now.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk::{Fs as _, RealFs};

    fn written(dir: &Path, bytes: &[u8]) -> PathBuf {
        let path = dir.join("data.parquet");
        let mut file = Summing::new(Appender::new(RealFs.create(&path).expect("new")));
        for part in bytes.chunks(5_000) {
            file.write_all(part).expect("writes");
        }
        std::fs::write(dir.join(FILE), file.finish().encode()).expect("writes");
        path
    }

    fn open(path: &Path) -> io::Result<CheckedFile> {
        CheckedFile::beside(path)
    }

    #[test]
    fn every_range_reads_back_and_a_flipped_bit_is_given_to_nobody() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut bytes: Vec<u8> = (0..2 * BLOCK_BYTES + 777).map(|at| (at * 7 % 251) as u8).collect();
        let path = written(dir.path(), &bytes);
        let file = open(&path).expect("opens");
        for (start, length) in [(0, 10), (16_380, 10), (0, bytes.len()), (bytes.len() - 5, 5), (40, 0)] {
            assert_eq!(file.read_range(start as u64, length).expect("sound"), bytes[start..start + length]);
        }
        let mut all = Vec::new();
        file.get_read(3).expect("reads").read_to_end(&mut all).expect("sound");
        assert_eq!(all, bytes[3..]);
        file.read_range(bytes.len() as u64 - 1, 2).expect_err("behind its end");

        bytes[BLOCK_BYTES + 100] ^= 4;
        std::fs::write(&path, &bytes).expect("writes");
        let file = open(&path).expect("opens");
        file.read_range(0, 100).expect("another block");
        let error = file.read_range(BLOCK_BYTES as u64, 10).expect_err("the block is damaged");
        assert!(error.to_string().contains("bytes 16384..32768: the checksum"), "{error}");
    }

    #[test]
    fn damaged_checksums_cost_the_check_only_and_a_cut_file_is_noticed() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = written(dir.path(), &[7; 100]);
        let sums = dir.path().join(FILE);
        let sound = std::fs::read(&sums).expect("there");
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            std::fs::write(&sums, bytes).expect("writes");
            assert!(Checksums::are_damaged(&path));
            assert_eq!(open(&path).expect("opens").read_range(0, 100).expect("read"), vec![7; 100]);
        }
        std::fs::write(&sums, sound).expect("writes");
        std::fs::write(&path, [7; 99]).expect("writes");
        assert_eq!(open(&path).expect_err("cut").kind(), io::ErrorKind::InvalidData);
    }
}
