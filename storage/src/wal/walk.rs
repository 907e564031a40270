//! Reads the log without opening it: every record, and every byte that is none, with its place.
//!
//! For tools that look at a store from outside. Does not own: replay, which decides what a hole costs.
//!
//! Invariants: nothing is written, cut or created; memory is one window; a file of a newer version is
//! refused before the first record is given out.

use std::io;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Clock, UnixNano};

use super::Settings;
use super::format::{FILE_HEADER_BYTES, FileStart, RecordHeader};
use super::quarantine;
use super::replay::{ListedFile, end_of_torn_record, list_files};
use super::scan::{Found, Scanner};
use super::writer::Place;
use crate::error::{Context as _, Error, ErrorKind};
use disk::Fs;

/// Something found on the walk.
pub(crate) enum Walked<'a> {
    /// A file begins.
    File(WalkedFile<'a>),
    /// A record, or the header of one whose body is damaged.
    Record(WalkedRecord<'a>),
    /// Bytes that are no record.
    Hole(Hole<'a>),
    /// A file that cannot be opened.
    Unreadable(&'a Path, io::Error),
}

/// A file of the log.
pub(crate) struct WalkedFile<'a> {
    pub(crate) path: &'a Path,
    pub(crate) bytes: u64,
    /// Whether its header can be read.
    pub(crate) has_header: bool,
}

/// A record where it stands.
pub(crate) struct WalkedRecord<'a> {
    pub(crate) path: &'a Path,
    pub(crate) offset: u64,
    pub(crate) sequence: u64,
    pub(crate) signal: u8,
    pub(crate) compression: u8,
    pub(crate) received_at: UnixNano,
    pub(crate) is_group_start: bool,
    /// As the header says; `payload` is empty when the body is damaged.
    pub(crate) payload_bytes: u32,
    pub(crate) payload: &'a [u8],
    pub(crate) is_crc_ok: bool,
}

/// Bytes that are no record.
pub(crate) struct Hole<'a> {
    pub(crate) path: &'a Path,
    pub(crate) range: Range<u64>,
    /// Behind the last record of the last file: an unfinished write, cut off at the next start.
    pub(crate) is_torn_tail: bool,
    /// Some of the bytes cannot even be read.
    pub(crate) has_unreadable: bool,
    /// A copy is in `quarantine/` already.
    pub(crate) is_kept: bool,
}

/// The log in one folder, not opened.
pub(crate) struct WalFolder {
    place: Place,
}

impl WalFolder {
    pub(crate) fn new(fs: Arc<dyn Fs>, dir: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { place: Place { fs, dir, clock, settings: Settings::default() } }
    }

    /// Refuses files of a newer version; touches nothing.
    pub(crate) fn check_version(&self) -> Result<(), Error> {
        self.files().map(drop)
    }

    fn files(&self) -> Result<Vec<ListedFile>, Error> {
        match self.place.fs.list(&self.place.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => list_files(&self.place),
        }
    }

    /// Gives everything in the log to `visit`, in order, until it breaks.
    pub(crate) fn walk(&self, visit: &mut dyn FnMut(Walked<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        let files = self.files()?;
        let last = files.iter().rposition(|file| !file.start.is_unwritten());
        for (at, file) in files.iter().enumerate() {
            let is_last = last.is_none_or(|last| at >= last);
            let mut scanner = match Scanner::open(&*self.place.fs, &file.path) {
                Ok(scanner) => scanner,
                Err(error) => match visit(Walked::Unreadable(&file.path, error)) {
                    ControlFlow::Continue(()) => continue,
                    ControlFlow::Break(()) => return Ok(()),
                },
            };
            let header = WalkedFile {
                path: &file.path,
                bytes: scanner.len(),
                has_header: matches!(file.start, FileStart::Header(_)) || file.start.is_unwritten(),
            };
            if visit(Walked::File(header)).is_break()
                || self.file(file, is_last, &mut scanner, visit).is_break()
            {
                return Ok(());
            }
        }
        Ok(())
    }

    fn file(
        &self,
        file: &ListedFile,
        is_last: bool,
        scanner: &mut Scanner,
        visit: &mut dyn FnMut(Walked<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (epoch, mut good_end) = match &file.start {
            FileStart::Header(header) => (header.epoch, FILE_HEADER_BYTES as u64),
            FileStart::OtherVersion(_) | FileStart::Blank | FileStart::Earlier | FileStart::Unknown => {
                (file.number, 0)
            }
        };
        let (mut at, mut sequence_before) = (good_end, 0);
        loop {
            match scanner.find(epoch, at) {
                Found::Record(header) if header.sequence > sequence_before => {
                    if at > good_end {
                        self.hole(file, good_end..at, false, scanner, visit)?;
                    }
                    visit(Walked::Record(record(file, at, &header, scanner.body(&header, at), true)))?;
                    sequence_before = header.sequence;
                    at += header.record_bytes();
                    good_end = at;
                }
                Found::DamagedBody(header) if header.sequence > sequence_before => {
                    let found = record(file, at, &header, &[], false);
                    visit(Walked::Record(found))?;
                    at += header.record_bytes();
                }
                Found::Record(_) | Found::DamagedBody(_) | Found::Nothing => {
                    match scanner.next_sync_word(at + 1) {
                        Some(next) => at = next,
                        None => break,
                    }
                }
            }
        }
        let end = match is_last && file.start.may_have_remains() {
            true => Some(end_of_torn_record(scanner, epoch, good_end)).filter(|end| *end > good_end),
            false => scanner.end_of_content(good_end),
        };
        match end {
            Some(end) => self.hole(file, good_end..end, is_last, scanner, visit),
            None => ControlFlow::Continue(()),
        }
    }

    fn hole(
        &self,
        file: &ListedFile,
        range: Range<u64>,
        is_torn_tail: bool,
        scanner: &Scanner,
        visit: &mut dyn FnMut(Walked<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let is_kept = self.place.fs.open(&quarantine::path(&self.place, &file.path, &range)).is_ok();
        let has_unreadable = scanner.has_unreadable;
        visit(Walked::Hole(Hole { path: &file.path, range, is_torn_tail, has_unreadable, is_kept }))
    }

    /// Copies bytes that are no record to `quarantine/`, with a note of where they were. The log itself
    /// stays as it is: replay steps over them.
    pub(crate) fn keep(&self, path: &Path, range: &Range<u64>) -> Result<PathBuf, Error> {
        let doing = || format!("copying bytes {}..{} of `{}`", range.start, range.end, path.display());
        let mut scanner = Scanner::open(&*self.place.fs, path).context(ErrorKind::Damaged, doing)?;
        match quarantine::copy(&self.place, path, range, &mut scanner) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(error).context(ErrorKind::Retry, doing)
            }
            _ => Ok(quarantine::path(&self.place, path, range)),
        }
    }
}

fn record<'a>(
    file: &'a ListedFile,
    offset: u64,
    header: &RecordHeader,
    body: &'a [u8],
    is_crc_ok: bool,
) -> WalkedRecord<'a> {
    WalkedRecord {
        path: &file.path,
        offset,
        sequence: header.sequence,
        signal: header.signal,
        compression: header.compression,
        received_at: header.received_at,
        is_group_start: header.is_group_start(),
        payload_bytes: header.payload_bytes,
        payload: body.get(header.extension_bytes as usize..).unwrap_or_default(),
        is_crc_ok,
    }
}
