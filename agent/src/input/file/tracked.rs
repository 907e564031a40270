//! One open file: reading lines from where it stands, noticing that it was truncated.
//!
//! Invariants: only whole lines are taken (a line beyond [`LINE_BYTES_MAX`] in pieces); the bytes right
//! before the position are checked with every read, so a file that was truncated and has grown again is
//! seen; nothing is remembered of an unfinished line but where it begins.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::UnixNano;
use model::vector::find_byte;
use xxhash_rust::xxh3::xxh3_64;

use super::batch::Stream;
use super::binary;
use super::gzip::GzipReader;
use super::identity::{FileKey, FileStat, Fingerprint, HEAD_BYTES, Mark, TAIL_BYTES, read_into};
use super::names;

/// Longest line that stays one record; longer ones are split here.
pub(crate) const LINE_BYTES_MAX: usize = 256 * 1024;
/// Bytes read at a time: few enough to stay in the processor's cache until they are written.
const BLOCK_BYTES: usize = 128 * 1024;
/// Bytes read when no line ends in a block: room for the longest line.
const LONG_BLOCK_BYTES: usize = 2 * LINE_BYTES_MAX;

/// A tick of the clock that filesystems take times from, and then some, in nanoseconds.
const TICK: i64 = 20_000_000;

/// Number of a file among those of this run.
pub(crate) type FileId = u64;

/// A file that waits because it may be a copy of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyOf {
    /// Size when it was found, to see whether it grows.
    pub(crate) size: u64,
    /// Size at which it held the same bytes as another file, and that one.
    pub(crate) verified: Option<(u64, FileId)>,
    pub(crate) since: Duration,
}

/// An open file and how far it was read.
#[derive(Debug)]
pub(crate) struct Tracked {
    pub(crate) id: FileId,
    pub(crate) key: FileKey,
    pub(crate) generation: u32,
    pub(crate) input: usize,
    pub(crate) path: PathBuf,
    pub(crate) stream: Stream,
    /// Files of one lane are parts of one stream of their input: they are read one after the other.
    pub(crate) lane: u64,
    pub(crate) file: File,
    /// For a compressed file: its lines. Its offsets count inflated bytes.
    gzip: Option<Box<GzipReader>>,
    /// How far it was read, and how far acknowledged.
    pub(crate) read: Mark,
    pub(crate) acked: Mark,
    /// How far it went into batches.
    pub(crate) sent: u64,
    /// Whether it was decided where to read from.
    pub(crate) is_placed: bool,
    /// Whether fingerprints of it are on disk that need no renewal before its next lines leave.
    pub(crate) is_saved: bool,
    /// Its size at the first look, when it was there then.
    pub(crate) first_size: Option<u64>,
    /// For a copy: the generation of a file that holds the bytes before this offset as its own.
    pub(crate) continues: Option<(FileKey, u32, u64)>,
    /// The first bytes before the position, until there are as many as identify a file.
    pub(crate) head: Vec<u8>,
    /// Size and time of change when there was nothing more to read, and that time was over: what is written within
    /// the same tick of the clock changes neither.
    idle_at: Option<(u64, i64)>,
    /// Whether the last read came to the end: nothing can be taken before the file changes.
    pub(crate) is_at_end: bool,
    pub(crate) size: u64,
    pub(crate) links: u32,
    pub(crate) last_growth: Duration,
    /// When it was first missing from its folder.
    pub(crate) gone_since: Option<Duration>,
    /// Whether its last line may be taken without a line end.
    pub(crate) is_finishing: bool,
    pub(crate) copy_of: Option<CopyOf>,
    /// Pieces of the current line that were already taken.
    pieces: u32,
    pub(crate) problem: Option<String>,
    /// Why nothing of it is read, although it matches.
    pub(crate) refusal: Option<String>,
    /// Whether its first bytes were found to be text, and its size when they were last looked at.
    is_text: bool,
    looked_at: Option<u64>,
}

/// One line, or a piece of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// Without its line end.
    pub(crate) bytes: &'a [u8],
    /// `None` for a whole line; for a split one the number of the piece, from 0.
    pub(crate) piece: Option<u32>,
    /// Where in the file it begins.
    pub(crate) offset: u64,
    /// Bytes it takes in the file.
    pub(crate) span: u64,
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing to take now.
    Idle,
    /// Lines were taken; there may be more.
    Progress,
    /// The taker is full.
    Full,
    /// The bytes before the position are not the ones that were read.
    Truncated,
}

impl Tracked {
    /// A file just opened, at `start`.
    pub(crate) fn new(
        id: FileId,
        stat: &FileStat,
        input: usize,
        path: PathBuf,
        stream: Stream,
        file: File,
        now: Duration,
    ) -> Self {
        Self {
            id,
            key: stat.key,
            generation: 0,
            input,
            path,
            lane: lane_of(&stream.file_path),
            stream,
            file,
            gzip: None,
            read: Mark::default(),
            acked: Mark::default(),
            sent: 0,
            is_placed: false,
            is_saved: false,
            first_size: None,
            continues: None,
            head: Vec::new(),
            idle_at: None,
            is_at_end: false,
            size: stat.size,
            links: stat.links,
            last_growth: now,
            gone_since: None,
            is_finishing: false,
            copy_of: None,
            pieces: 0,
            problem: None,
            refusal: None,
            is_text: false,
            looked_at: None,
        }
    }

    /// Sets the position to `offset`, whose bytes before count as read and acknowledged.
    pub(crate) fn start_at(&mut self, offset: u64) -> io::Result<()> {
        let (mark, head) = self.mark_at(offset)?;
        (self.read, self.acked, self.head) = (mark, mark, unfinished(head));
        self.sent = offset;
        self.pieces = 0;
        self.idle_at = None;
        Ok(())
    }

    /// Whether the file still begins with the bytes it began with: lines of one length may end alike where the
    /// position is, also when they were written after a truncation.
    fn has_its_head(&self) -> io::Result<bool> {
        if self.is_packed() || self.read.offset <= TAIL_BYTES as u64 {
            return Ok(true);
        }
        let mut head = [0; HEAD_BYTES];
        let len = read_into(&self.file, 0, &mut head[..self.read.head.len as usize])?;
        Ok(self.read.head.begins(&head[..len]))
    }

    /// Reads the file as a compressed one with `size` inflated bytes, which nobody writes to.
    pub(crate) fn unpack(&mut self, gzip: GzipReader, size: u64) {
        (self.gzip, self.size, self.is_finishing) = (Some(Box::new(gzip)), size, true);
    }

    /// Whether it is a compressed file.
    pub(crate) const fn is_packed(&self) -> bool {
        self.gzip.is_some()
    }

    /// The position `offset` as the file is now, and the raw head.
    pub(crate) fn mark_at(&mut self, offset: u64) -> io::Result<(Mark, Vec<u8>)> {
        match &mut self.gzip {
            Some(gzip) => gzip.mark_at(offset),
            None => Mark::at(&self.file, offset),
        }
    }

    /// Lets the lines carry the name that the file had when it was first seen.
    pub(crate) fn rename_stream(&mut self, path: &Path) {
        self.stream = self.stream.renamed(path);
        self.lane = lane_of(&self.stream.file_path);
    }

    /// Begins the next generation, at offset 0.
    pub(crate) fn restart(&mut self) {
        self.generation += 1;
        (self.read, self.acked) = (Mark::default(), Mark::default());
        (self.sent, self.is_saved, self.continues) = (0, false, None);
        (self.is_text, self.looked_at, self.refusal) = (false, None, None);
        self.head.clear();
        self.pieces = 0;
        self.idle_at = None;
    }

    /// The file's size at this moment.
    pub(crate) fn size_now(&self) -> u64 {
        if self.is_packed() {
            return self.size;
        }
        FileStat::of(&self.file).map_or(self.size, |stat| stat.size)
    }

    /// Whether every byte was read, as far as the last look goes.
    pub(crate) fn is_read(&self) -> bool {
        self.read.offset >= self.size
    }

    /// Takes the lines of one block. `block` is room that is reused.
    pub(crate) fn read_lines(
        &mut self,
        block: &mut Vec<u8>,
        (now, time): (Duration, UnixNano),
        take: &mut dyn FnMut(&Stream, Line<'_>) -> ControlFlow<()>,
    ) -> io::Result<Outcome> {
        let mut stat = FileStat::of(&self.file)?;
        if self.is_packed() {
            stat.size = self.size;
        }
        if stat.size != self.size {
            self.last_growth = now;
        }
        (self.size, self.links) = (stat.size, stat.links);
        if stat.size < self.read.offset {
            return Ok(Outcome::Truncated);
        }
        let seen = (stat.size, stat.modified);
        if self.idle_at == Some(seen) && !self.is_finishing {
            return Ok(Outcome::Idle);
        }
        let is_over = time.since(UnixNano(stat.modified)) > TICK;
        if !self.is_text && !self.is_packed() && !self.look_for_text()? {
            self.idle_at = is_over.then_some(seen);
            return Ok(Outcome::Idle);
        }
        // What is inflated is not read twice.
        let mut wanted = if self.is_packed() { LONG_BLOCK_BYTES } else { BLOCK_BYTES };
        let (taken, is_full, is_end) = loop {
            let tail_len = self.read.tail.len as usize;
            if block.len() < tail_len + wanted {
                block.resize(tail_len + wanted, 0);
            }
            let room = &mut block[..tail_len + wanted];
            let from = self.read.offset - tail_len as u64;
            let read = match &mut self.gzip {
                Some(gzip) => gzip.read_into(from, room)?,
                None => read_into(&self.file, from, room)?,
            };
            if read < tail_len || !self.read.tail.begins(&room[..read]) || !self.has_its_head()? {
                return Ok(Outcome::Truncated);
            }
            let is_end = read < room.len();
            let (taken, is_full) = self.take_lines(&room[tail_len..read], is_end, take);
            if taken > 0 || is_full || is_end || wanted == LONG_BLOCK_BYTES {
                self.advance(&room[..tail_len + taken], taken);
                break (taken, is_full, is_end);
            }
            wanted = LONG_BLOCK_BYTES;
        };
        if block.len() > BLOCK_BYTES + TAIL_BYTES && wanted == BLOCK_BYTES {
            // The long line is over.
            block.truncate(BLOCK_BYTES + TAIL_BYTES);
            block.shrink_to_fit();
        }
        self.is_at_end = is_end && !is_full;
        Ok(if is_full {
            Outcome::Full
        } else if taken > 0 && !is_end {
            Outcome::Progress
        } else {
            // What is left is an unfinished line: look again when the file changes.
            self.idle_at = is_over.then_some(seen);
            if taken > 0 { Outcome::Progress } else { Outcome::Idle }
        })
    }

    /// Whether the first bytes are those of a text; what they look like otherwise is the refusal.
    fn look_for_text(&mut self) -> io::Result<bool> {
        if self.looked_at == Some(self.size.min(HEAD_BYTES as u64)) {
            return Ok(self.refusal.is_none());
        }
        let mut head = [0; HEAD_BYTES];
        let len = read_into(&self.file, 0, &mut head)?;
        self.looked_at = Some(len as u64);
        let looks_like = binary::kind_of(&head[..len]);
        self.refusal = looks_like.map(|kind| format!("binary: its content looks like {kind}"));
        self.is_text = looks_like.is_none() && len == HEAD_BYTES;
        Ok(looks_like.is_none())
    }

    fn take_lines(
        &mut self,
        bytes: &[u8],
        is_end: bool,
        take: &mut dyn FnMut(&Stream, Line<'_>) -> ControlFlow<()>,
    ) -> (usize, bool) {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let newline = find_byte(b'\n', &rest[..rest.len().min(LINE_BYTES_MAX + 1)]);
            let (text, span, ends) = match newline {
                Some(end) => (&rest[..end], end + 1, true),
                None if rest.len() > LINE_BYTES_MAX => {
                    let end = piece_end(&rest[..LINE_BYTES_MAX]);
                    (&rest[..end], end, false)
                }
                None if self.is_finishing && is_end => (rest, rest.len(), true),
                None => break,
            };
            let piece = (self.pieces > 0 || !ends).then_some(self.pieces);
            let text = if ends { text.strip_suffix(b"\r").unwrap_or(text) } else { text };
            let offset = self.read.offset + at as u64;
            let line = Line { bytes: text, piece, offset, span: span as u64 };
            if take(&self.stream, line).is_break() {
                return (at, true);
            }
            self.pieces = if ends { 0 } else { self.pieces.saturating_add(1) };
            at += span;
        }
        (at, false)
    }

    /// Moves the position over `taken` bytes; `before` ends at the new position.
    fn advance(&mut self, before: &[u8], taken: usize) {
        if taken == 0 {
            return;
        }
        if (self.read.head.len as usize) < HEAD_BYTES {
            // The head is not full, so the position is within it and `before` continues it.
            let new = &before[before.len() - taken..];
            self.head.extend_from_slice(&new[..new.len().min(HEAD_BYTES - self.head.len())]);
            self.read.head = Fingerprint::of(&self.head);
            self.head = unfinished(std::mem::take(&mut self.head));
        }
        self.read.offset += taken as u64;
        self.read.tail = Fingerprint::of(&before[before.len().saturating_sub(TAIL_BYTES)..]);
    }
}

/// The lane of a name: that of its stream, also for the rotated parts of one whose plain name was never seen.
pub(super) fn lane_of(path: &str) -> u64 {
    xxh3_64(names::plain(path).as_bytes())
}

/// A head that is not full yet; of a full one the fingerprint is enough.
fn unfinished(head: Vec<u8>) -> Vec<u8> {
    if head.len() < HEAD_BYTES { head } else { Vec::new() }
}

/// Where a piece ends so that no character is cut in two.
fn piece_end(bytes: &[u8]) -> usize {
    let start = bytes.len() - 3.min(bytes.len());
    let lead = bytes[start..].iter().rposition(|byte| byte & 0b1100_0000 != 0b1000_0000);
    match lead {
        Some(at) if at > 0 || start > 0 => {
            let len = match bytes[start + at] {
                0xf0.. => 4,
                0xe0.. => 3,
                0xc0.. => 2,
                _ => 1,
            };
            if start + at + len > bytes.len() { start + at } else { bytes.len() }
        }
        _ => bytes.len(),
    }
}
