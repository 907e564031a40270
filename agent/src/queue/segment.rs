//! One file of a lane. Little endian; `docs/formats/spool.md` is the contract.
//!
//! ```text
//! file   header | zeros to 512 | the same header again | zeros to 1024 | record | record | …
//! header "SILSPOOL" | version u16 | header bytes u16 | 0 u32 | before: number u64, items u64, bytes u64
//!        | stream 16 bytes | crc32c u32 (of all before)                                             60 bytes
//! record sync u32 | head crc u32 | body crc u32 | body bytes u32 | before: number u64, items u64, bytes u64
//!        | signal u8 | encoding u8 | ranges bytes u16 | items u32 | raw bytes u32 | note bytes u16 | 0 u16
//!        | time i64                                                                                    64 bytes
//!        | body: ranges, note, payload (zstd)
//! head crc: of the record's bytes 8..64; both begin with the checksum of the segment's header
//! ```
//!
//! Because the checksums begin with the header's, whose stream is random, bytes inside a payload never
//! pass for a record; and because the head has its own, looking for the next record behind bad bytes takes
//! one pass, whatever the bytes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use disk::{DiskFile, Fs, read_range};
use model::positions::{self, StreamId};
use model::{Signal, UnixNano};

use super::{Encoding, Place, Spooled};

const MAGIC: &[u8; 8] = b"SILSPOOL";
const VERSION: u16 = 3;
/// The oldest version that is read: without notes, where their length is 0.
const VERSION_LEAST: u16 = 2;
/// Longest note.
const NOTE_BYTES_MAX: usize = 4096;
const SYNC: [u8; 4] = 0x7A5B_0C1Du32.to_le_bytes();
/// Bytes before the first record: two headers, each in a sector of its own.
pub(super) const HEADER_BYTES: u64 = 1024;
const SECOND_HEADER_AT: u64 = 512;
const HEADER_FIELDS_BYTES: usize = 60;
/// Bytes of a record before its body.
pub(super) const RECORD_HEAD_BYTES: usize = 64;
/// Most bytes of a record's body.
pub(super) const BODY_BYTES_MAX: usize = 8 << 20;
/// Bytes looked through at a time.
const WINDOW_BYTES: usize = 64 << 10;

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    /// What came before its first record.
    pub(super) before: Place,
    /// The run of the agent that wrote it, as the position protocol names it.
    pub(super) stream: StreamId,
    pub(super) path: PathBuf,
    /// Where the next record goes. The file may be longer: preallocated, or torn.
    pub(super) len: u64,
    pub(super) file: Arc<dyn DiskFile>,
    /// A write or a sync failed: nothing more is written to it.
    pub(super) is_failed: bool,
    seed: u32,
}

/// What stands at an offset of a segment.
#[derive(Debug)]
pub(super) enum Found {
    /// A whole record and where the next one begins.
    Record(Spooled, u64),
    /// A record whose head is whole and whose body is not: what came up to it, and where the next begins.
    Damaged(Place, u64),
    /// Nothing more.
    End,
}

/// What became of a file that should be a segment.
#[derive(Debug)]
pub(super) enum Opened {
    Segment(Segment),
    /// Made, and the process or the power ended before anything was written to it.
    Empty,
    /// No header of it is whole.
    Damaged,
}

/// The number in a segment's name; `None` for another file.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// The name of the segment that begins behind `before`.
pub(super) fn name_of(before: Place) -> String {
    format!("{:016x}.seg", before.number + 1)
}

fn header(before: Place, stream: StreamId) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_FIELDS_BYTES);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    before.put(&mut header);
    header.extend_from_slice(&stream.0);
    header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
    header
}

impl Segment {
    /// Writes a new segment's header into `file`, which may be longer: a spare one.
    pub(super) fn begin(
        path: PathBuf,
        file: Arc<dyn DiskFile>,
        before: Place,
        stream: StreamId,
    ) -> io::Result<Self> {
        let fields = header(before, stream);
        let mut bytes = vec![0; HEADER_BYTES as usize];
        bytes[..fields.len()].copy_from_slice(&fields);
        bytes[SECOND_HEADER_AT as usize..][..fields.len()].copy_from_slice(&fields);
        file.write_all_at(&bytes, 0)?;
        let seed = seed(&fields);
        Ok(Self { before, stream, path, len: HEADER_BYTES, file, is_failed: false, seed })
    }

    /// Opens a segment.
    pub(super) fn open(fs: &dyn Fs, path: &Path) -> io::Result<Opened> {
        let file: Arc<dyn DiskFile> = fs.open_write(path)?.into();
        let len = file.len()?;
        for at in [0, SECOND_HEADER_AT] {
            let fields = read_range(&*file, at, HEADER_FIELDS_BYTES)?;
            if fields.len() < HEADER_FIELDS_BYTES || &fields[..8] != MAGIC {
                continue;
            }
            if crc32c::crc32c(&fields[..HEADER_FIELDS_BYTES - 4]) != seed(&fields) {
                continue;
            }
            let version = u16::from_le_bytes([fields[8], fields[9]]);
            if !(VERSION_LEAST..=VERSION).contains(&version) {
                let problem = format!(
                    "`{}` has version {version}, this agent reads {VERSION}: empty the spool with the agent that wrote it",
                    path.display()
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
            let before = Place::read(&fields[16..40]);
            let is_named_so = path.file_name().is_some_and(|name| name == name_of(before).as_str());
            let stream = StreamId(fields[40..56].try_into().unwrap_or_default());
            if is_named_so {
                let (path, seed) = (path.to_path_buf(), seed(&fields));
                let len = len.max(HEADER_BYTES);
                return Ok(Opened::Segment(Self { before, stream, path, len, file, is_failed: false, seed }));
            }
        }
        let is_empty = len <= HEADER_BYTES || holds_only_zeros(&*file, len)?;
        Ok(if is_empty { Opened::Empty } else { Opened::Damaged })
    }

    /// The record at `offset`, or the next one behind it.
    pub(super) fn next(&self, offset: u64) -> io::Result<Found> {
        let mut at = offset.max(HEADER_BYTES);
        loop {
            let Some(head) = self.head_at(at)? else {
                match self.find_sync(at + 1)? {
                    Some(found) => at = found,
                    None => return Ok(Found::End),
                }
                continue;
            };
            let end = at + RECORD_HEAD_BYTES as u64 + head.body_bytes as u64;
            if end > self.len {
                // Torn: what follows the head was never written.
                return Ok(Found::End);
            }
            let place = head.spooled.after();
            let body = read_exact(&*self.file, at + RECORD_HEAD_BYTES as u64, head.body_bytes)?;
            let whole = crc32c::crc32c_append(self.seed, &body) == head.body_crc;
            return Ok(match whole.then(|| head.with_body(body)).flatten() {
                Some(spooled) => Found::Record(Spooled { stream: self.stream, ..spooled }, end),
                None => Found::Damaged(place, end),
            });
        }
    }

    /// The note of the last whole record that has one.
    pub(super) fn last_note(&self) -> io::Result<Option<String>> {
        let (mut at, mut found) = (HEADER_BYTES, None);
        while let Some(head) = self.head_at(at)? {
            found = if head.note_bytes > 0 { Some(at) } else { found };
            at += RECORD_HEAD_BYTES as u64 + head.body_bytes as u64;
        }
        let Some(at) = found else { return Ok(None) };
        Ok(match self.next(at)? {
            Found::Record(spooled, _) => Some(spooled.note).filter(|note| !note.is_empty()),
            Found::Damaged(..) | Found::End => None,
        })
    }

    /// Number and time of the record at `at`, and where it ends.
    pub(super) fn number_and_time(&self, at: u64) -> io::Result<Option<(u64, UnixNano, u64)>> {
        Ok(self.head_at(at)?.map(|head| {
            let end = at + RECORD_HEAD_BYTES as u64 + head.body_bytes as u64;
            (head.spooled.number(), head.spooled.time, end)
        }))
    }

    fn head_at(&self, at: u64) -> io::Result<Option<Head>> {
        if at + RECORD_HEAD_BYTES as u64 > self.len {
            return Ok(None);
        }
        let bytes = read_exact(&*self.file, at, RECORD_HEAD_BYTES)?;
        Ok(Head::read(&bytes, self.seed))
    }

    /// Where the next sync word stands at or behind `from`.
    fn find_sync(&self, from: u64) -> io::Result<Option<u64>> {
        let mut at = from;
        while at + RECORD_HEAD_BYTES as u64 <= self.len {
            let wanted = (self.len - at).min(WINDOW_BYTES as u64) as usize;
            let window = read_exact(&*self.file, at, wanted)?;
            if let Some(found) = memchr::memmem::find(&window, &SYNC) {
                return Ok(Some(at + found as u64));
            }
            at += (wanted - (SYNC.len() - 1)) as u64;
        }
        Ok(None)
    }

    /// The end of the last record, and what came up to it.
    pub(super) fn last(&self) -> io::Result<(u64, Place)> {
        let (mut end, mut place) = (HEADER_BYTES, self.before);
        loop {
            match self.next(end)? {
                Found::Record(spooled, next) => (end, place) = (next, spooled.after()),
                Found::Damaged(after, next) => (end, place) = (next, after),
                Found::End => return Ok((end, place)),
            }
        }
    }

    /// Appends a record; on failure nothing of it is read.
    pub(super) fn write(&mut self, spooled: &Spooled) -> io::Result<()> {
        let record = self.encode(spooled);
        if let Err(error) = self.file.write_all_at(&record, self.len) {
            // A part of it may stand there; what follows goes elsewhere when it cannot be removed.
            self.is_failed = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.len += record.len() as u64;
        Ok(())
    }

    /// Cuts off what stands behind `len`.
    pub(super) fn cut(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.len = len;
        Ok(())
    }

    fn encode(&self, spooled: &Spooled) -> Vec<u8> {
        let ranges = positions::encode(&spooled.ranges);
        let note = note_of(spooled);
        let body_bytes = ranges.len() + note.len() + spooled.payload.len();
        let mut record = Vec::with_capacity(RECORD_HEAD_BYTES + body_bytes);
        record.extend_from_slice(&SYNC);
        record.extend_from_slice(&[0; 8]);
        record.extend_from_slice(&(body_bytes as u32).to_le_bytes());
        spooled.before.put(&mut record);
        record.extend_from_slice(&[spooled.signal.code(), spooled.encoding.code()]);
        record.extend_from_slice(&(ranges.len() as u16).to_le_bytes());
        record.extend_from_slice(&spooled.items.to_le_bytes());
        record.extend_from_slice(&spooled.raw_bytes.to_le_bytes());
        record.extend_from_slice(&(note.len() as u16).to_le_bytes());
        record.extend_from_slice(&[0; 2]);
        record.extend_from_slice(&spooled.time.0.to_le_bytes());
        record.extend_from_slice(&ranges);
        record.extend_from_slice(note.as_bytes());
        record.extend_from_slice(&spooled.payload);
        let body_crc = crc32c::crc32c_append(self.seed, &record[RECORD_HEAD_BYTES..]);
        record[8..12].copy_from_slice(&body_crc.to_le_bytes());
        let head_crc = crc32c::crc32c_append(self.seed, &record[8..RECORD_HEAD_BYTES]);
        record[4..8].copy_from_slice(&head_crc.to_le_bytes());
        record
    }
}

/// The head of a record, whose checksum holds.
struct Head {
    body_crc: u32,
    body_bytes: usize,
    ranges_bytes: usize,
    note_bytes: usize,
    spooled: Spooled,
}

impl Head {
    fn read(bytes: &[u8], seed: u32) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default());
        let is_whole = bytes.len() == RECORD_HEAD_BYTES
            && bytes[..4] == SYNC
            && crc32c::crc32c_append(seed, &bytes[8..]) == word(4);
        if !is_whole {
            return None;
        }
        let body_bytes = word(12) as usize;
        let ranges_bytes = usize::from(u16::from_le_bytes([bytes[42], bytes[43]]));
        let note_bytes = usize::from(u16::from_le_bytes([bytes[52], bytes[53]]));
        if body_bytes > BODY_BYTES_MAX || ranges_bytes + note_bytes > body_bytes {
            return None;
        }
        let spooled = Spooled {
            before: Place::read(&bytes[16..40]),
            stream: StreamId([0; 16]),
            signal: Signal::from_code(bytes[40])?,
            encoding: Encoding::from_code(bytes[41])?,
            items: word(44),
            raw_bytes: word(48),
            time: UnixNano(i64::from_le_bytes(bytes[56..64].try_into().unwrap_or_default())),
            ranges: Vec::new(),
            note: String::new(),
            payload: Bytes::new(),
        };
        Some(Self { body_crc: word(8), body_bytes, ranges_bytes, note_bytes, spooled })
    }

    fn with_body(self, body: Vec<u8>) -> Option<Spooled> {
        let mut payload = Bytes::from(body);
        let ranges = positions::decode(&payload.split_to(self.ranges_bytes)).ok()?;
        let note = String::from_utf8(payload.split_to(self.note_bytes).into()).ok()?;
        Some(Spooled { ranges, note, payload, ..self.spooled })
    }
}

/// Bytes that a record takes in its segment.
pub(super) fn record_bytes(spooled: &Spooled) -> u64 {
    let ranges = if spooled.ranges.is_empty() { 0 } else { positions::encode(&spooled.ranges).len() };
    (RECORD_HEAD_BYTES + ranges + note_of(spooled).len() + spooled.payload.len()) as u64
}

/// What is written of a note; one that is too long is left out, as it is no use in part.
fn note_of(spooled: &Spooled) -> &str {
    if spooled.note.len() > NOTE_BYTES_MAX { "" } else { &spooled.note }
}

fn seed(fields: &[u8]) -> u32 {
    u32::from_le_bytes(fields[HEADER_FIELDS_BYTES - 4..HEADER_FIELDS_BYTES].try_into().unwrap_or_default())
}

fn read_exact(file: &dyn DiskFile, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let bytes = read_range(file, at, len)?;
    if bytes.len() < len {
        let problem = format!("the file ends at byte {}, before the {len} wanted", at + bytes.len() as u64);
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem));
    }
    Ok(bytes)
}

fn holds_only_zeros(file: &dyn DiskFile, len: u64) -> io::Result<bool> {
    let mut at = 0;
    while at < len {
        let window = read_range(file, at, WINDOW_BYTES)?;
        if window.is_empty() {
            break;
        }
        if window.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += window.len() as u64;
    }
    Ok(true)
}
