//! The bytes of a case file, see docs/formats/case.md.
//!
//! ```text
//! 0   8  magic  "SILMCASE"
//! 8   2  version, little-endian: 1
//! 10  2  zero
//! 12  …  sections, each:
//!        1  length of the name, 1–64; 0 ends the file: a u32 count of sections follows, and nothing after it
//!        …  name, ASCII
//!        4  bytes of the JSON          u32 LE
//!        4  bytes of the zstd frame    u32 LE
//!        4  CRC-32C of the zstd frame  u32 LE
//!        …  zstd frame
//! ```
//!
//! Invariants: every length is checked against what is there and against a limit before memory is taken; a
//! section of an unknown name is skipped, so that a later version may add some; a file of a newer version is
//! refused by its number.

use std::io::Read as _;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::{Case, check};

/// What a file begins with.
pub const MAGIC: &[u8; 8] = b"SILMCASE";
/// The version that is written; older ones are read.
pub const VERSION: u16 = 1;
/// Larger files are refused unread.
pub const FILE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of all sections together, decompressed.
pub const RAW_BYTES_MAX: u64 = 512 << 20;
/// Sections of a file.
const SECTIONS_MAX: u32 = 64;
/// How hard zstd tries.
const LEVEL: i32 = 9;
/// Largest window of a frame, as a power of two: what a decoder may have to hold.
const WINDOW_LOG_MAX: u32 = 27;

/// Why a file is no case that can be opened.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FileError {
    /// It begins otherwise.
    #[error("is no case: a case begins with `SILMCASE`; make one with `silmari export ID -o case.silmari`")]
    NoCase,
    /// It is of a version that this program does not know.
    #[error(
        "has format version {found}, and this silmari reads up to {VERSION}: open it with the version that made it, or a later one"
    )]
    TooNew {
        /// The version it says.
        found: u16,
    },
    /// It is larger than any case.
    #[error("{what} has {found} bytes, {most} at most")]
    TooLarge {
        /// What is.
        what: String,
        /// Bytes it has, or says it has.
        found: u64,
        /// Bytes it may have.
        most: u64,
    },
    /// It is not what was written.
    #[error("is damaged at byte {at}: {problem}; copy it again")]
    Damaged {
        /// Where.
        at: usize,
        /// What is wrong.
        problem: String,
    },
    /// A section does not hold what its name says.
    #[error("section `{section}` cannot be read: {problem}")]
    Section {
        /// Its name.
        section: String,
        /// What is wrong.
        problem: String,
    },
}

/// The bytes of a case.
///
/// # Errors
/// `TooLarge` when it would not be read again.
pub fn write(case: &Case) -> Result<Vec<u8>, FileError> {
    let mut out = Writer::new();
    out.section("about", &case.about)?;
    out.section("journey", &case.journey)?;
    out.optional("journey_corrected", case.corrected.as_ref())?;
    out.optional("graph", case.graph.as_ref())?;
    out.optional("where", case.whereabouts.as_ref())?;
    out.optional("services", case.services.as_ref())?;
    out.optional("alerts", case.alerts.as_ref())?;
    out.optional("board", case.board.as_ref())?;
    out.section("metrics", &case.metrics)?;
    out.end()
}

struct Writer {
    bytes: Vec<u8>,
    raw_bytes: u64,
    sections: u32,
}

impl Writer {
    fn new() -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0; 2]);
        Self { bytes, raw_bytes: 0, sections: 0 }
    }

    fn optional<T: Serialize>(&mut self, name: &str, content: Option<&T>) -> Result<(), FileError> {
        content.map_or(Ok(()), |content| self.section(name, content))
    }

    fn section<T: Serialize>(&mut self, name: &str, content: &T) -> Result<(), FileError> {
        let unreadable = |problem: String| FileError::Section { section: name.to_owned(), problem };
        let raw = serde_json::to_vec(content).map_err(|error| unreadable(error.to_string()))?;
        self.raw_bytes += raw.len() as u64;
        if self.raw_bytes > RAW_BYTES_MAX {
            let what = format!("the case with its section `{name}`");
            return Err(FileError::TooLarge { what, found: self.raw_bytes, most: RAW_BYTES_MAX });
        }
        let packed = zstd::bulk::compress(&raw, LEVEL).map_err(|error| unreadable(error.to_string()))?;
        let length = |bytes: usize| u32::try_from(bytes).expect("sections are bounded");
        self.bytes.push(u8::try_from(name.len()).expect("names are short"));
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(length(raw.len()).to_le_bytes());
        self.bytes.extend(length(packed.len()).to_le_bytes());
        self.bytes.extend(crc32c::crc32c(&packed).to_le_bytes());
        self.bytes.extend(packed);
        self.sections += 1;
        Ok(())
    }

    fn end(mut self) -> Result<Vec<u8>, FileError> {
        self.bytes.push(0);
        self.bytes.extend(self.sections.to_le_bytes());
        let (found, most) = (self.bytes.len() as u64, FILE_BYTES_MAX);
        if found > most {
            return Err(FileError::TooLarge { what: "the file".to_owned(), found, most });
        }
        Ok(self.bytes)
    }
}

/// Reads a case from the bytes of its file.
///
/// # Errors
/// See [`FileError`].
pub fn read(bytes: &[u8]) -> Result<Case, FileError> {
    let sections = sections(bytes)?;
    let case = Case {
        about: sections.required("about")?,
        journey: sections.required("journey")?,
        corrected: sections.optional("journey_corrected")?,
        graph: sections.optional("graph")?,
        whereabouts: sections.optional("where")?,
        services: sections.optional("services")?,
        alerts: sections.optional("alerts")?,
        board: sections.optional("board")?,
        metrics: sections.optional("metrics")?.unwrap_or_default(),
    };
    check::check(&case)
        .map_err(|(section, problem)| FileError::Section { section: section.to_owned(), problem })?;
    Ok(case)
}

/// All that a file says, section by section: for those who look for what should not be in it.
///
/// # Errors
/// See [`FileError`].
pub fn raw_sections(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, FileError> {
    let sections = sections(bytes)?;
    sections.all.iter().map(|section| Ok((section.name.to_owned(), section.unpack()?))).collect()
}

struct Sections<'a> {
    all: Vec<Section<'a>>,
}

struct Section<'a> {
    name: &'a str,
    raw_bytes: u32,
    packed: &'a [u8],
}

fn sections(bytes: &[u8]) -> Result<Sections<'_>, FileError> {
    let (found, most) = (bytes.len() as u64, FILE_BYTES_MAX);
    if found > most {
        return Err(FileError::TooLarge { what: "the file".to_owned(), found, most });
    }
    let Some(rest) = bytes.strip_prefix(MAGIC.as_slice()) else { return Err(FileError::NoCase) };
    let mut reader = Reader { rest, all: bytes };
    let found = reader.u16()?;
    if found > VERSION {
        return Err(FileError::TooNew { found });
    }
    if found == 0 || reader.u16()? != 0 {
        return Err(reader.damaged("the header is not one that was ever written"));
    }
    let mut sections = Sections { all: Vec::new() };
    let mut raw_bytes = 0;
    loop {
        let name_bytes = usize::from(reader.take(1)?[0]);
        if name_bytes == 0 {
            break;
        }
        let section = reader.section(name_bytes)?;
        raw_bytes += u64::from(section.raw_bytes);
        if raw_bytes > RAW_BYTES_MAX {
            let what = format!("the case with its section `{}`", section.name);
            return Err(FileError::TooLarge { what, found: raw_bytes, most: RAW_BYTES_MAX });
        }
        if sections.all.len() as u32 == SECTIONS_MAX {
            return Err(reader.damaged("it has more sections than any case"));
        }
        if sections.all.iter().any(|known| known.name == section.name) {
            return Err(reader.damaged(&format!("section `{}` stands there twice", section.name)));
        }
        sections.all.push(section);
    }
    let count = reader.u32()?;
    if count as usize != sections.all.len() {
        return Err(reader.damaged("its sections are not as many as its end says"));
    }
    if !reader.rest.is_empty() {
        return Err(reader.damaged("something follows its end"));
    }
    Ok(sections)
}

struct Reader<'a> {
    rest: &'a [u8],
    all: &'a [u8],
}

impl<'a> Reader<'a> {
    fn damaged(&self, problem: &str) -> FileError {
        FileError::Damaged { at: self.all.len() - self.rest.len(), problem: problem.to_owned() }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], FileError> {
        let Some((taken, rest)) = self.rest.split_at_checked(bytes) else {
            return Err(self.damaged("the file ends too early"));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, FileError> {
        self.take(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, FileError> {
        self.take(4).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn section(&mut self, name_bytes: usize) -> Result<Section<'a>, FileError> {
        let name = self.take(name_bytes)?;
        let is_name = name_bytes <= 64 && name.iter().all(u8::is_ascii_graphic);
        let name = str::from_utf8(name).ok().filter(|_| is_name);
        let Some(name) = name else { return Err(self.damaged("the name of a section is none")) };
        let (raw_bytes, packed_bytes, crc) = (self.u32()?, self.u32()?, self.u32()?);
        let packed = self.take(packed_bytes as usize)?;
        if crc32c::crc32c(packed) != crc {
            return Err(self.damaged(&format!("the checksum of section `{name}` does not match")));
        }
        Ok(Section { name, raw_bytes, packed })
    }
}

impl Section<'_> {
    fn unpack(&self) -> Result<Vec<u8>, FileError> {
        let unreadable = |problem: String| FileError::Section { section: self.name.to_owned(), problem };
        let mut decoder =
            zstd::stream::read::Decoder::new(self.packed).map_err(|error| unreadable(error.to_string()))?;
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(|error| unreadable(error.to_string()))?;
        // What a length claims is believed as far as there are bytes that could hold it.
        let claimed = (self.raw_bytes as usize).min(self.packed.len().saturating_mul(32));
        let mut raw = Vec::with_capacity(claimed);
        let mut bounded = decoder.take(u64::from(self.raw_bytes) + 1);
        bounded.read_to_end(&mut raw).map_err(|error| unreadable(error.to_string()))?;
        if raw.len() != self.raw_bytes as usize {
            let problem = format!("it has not the {} bytes it says it has", self.raw_bytes);
            return Err(unreadable(problem));
        }
        Ok(raw)
    }
}

impl Sections<'_> {
    fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, FileError> {
        let Some(section) = self.all.iter().find(|section| section.name == name) else { return Ok(None) };
        let raw = section.unpack()?;
        serde_json::from_slice(&raw)
            .map(Some)
            .map_err(|error| FileError::Section { section: name.to_owned(), problem: error.to_string() })
    }

    fn required<T: DeserializeOwned>(&self, name: &str) -> Result<T, FileError> {
        let missing = || FileError::Section { section: name.to_owned(), problem: "it is missing".to_owned() };
        self.optional(name)?.ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests;
