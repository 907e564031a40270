//! What happens at start: every file is read once, damage is stepped over and counted, nothing that
//! can be read is left out.
//!
//! Owns: the order of replay, the account of losses, the torn tail, the next sequence. Does not own:
//! what a record means.
//!
//! ```text
//! file  ├─ header ─┼─ 1 ─┼─ 2 ─┼▓▓▓▓▓▓▓▓┼─ 5 ─┼─ 6 ─┼▒▒▒▒▒▒┤        ▓ damaged: copied to quarantine/
//!                                  3, 4 lost if 5 or 6, or a later file,     ▒ torn tail: cut off
//!                                  says that they were durable
//! ```
//!
//! Behind the last record of a file that was another one before stand remains of that: records of another epoch, which are
//! never taken for records.
//!
//! Invariants: memory is one window; sequences given to `deliver` rise; a file of a newer version is
//! refused before anything is changed; a file or block that cannot be read does not stop the start.

use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::UnixNano;

use super::format::{
    FILE_HEADER_BYTES, FILE_HEADER_BYTES_MAX, FileHeader, FileStart, RECORD_HEADER_BYTES, RecordHeader,
    SEQUENCE_MAX,
};
use super::scan::{Found, Scanner};
use super::writer::{Place, SealedFile};
use super::{quarantine, spares};
use crate::error::{Context as _, Error, ErrorKind};
use crate::plant::Plant;

/// Added to the next sequence when a file could not be read: more records than any file holds.
const SEQUENCES_OF_UNREADABLE_FILE: u64 = 1 << 32;

/// A record that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplayRecord {
    /// Its place in the order of all records.
    pub(crate) sequence: u64,
    /// As it was appended.
    pub(crate) signal: u8,
    /// As it was appended.
    pub(crate) compression: u8,
    /// As it was appended.
    pub(crate) received_at: UnixNano,
    /// As it was appended.
    pub(crate) extension: Bytes,
    /// As it was appended.
    pub(crate) payload: Bytes,
}

impl ReplayRecord {
    /// The same without its payload.
    pub(crate) fn empty(&self) -> Self {
        Self { compression: 0, payload: Bytes::new(), signal: 2, ..self.clone() }
    }
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReplayReport {
    /// Files of the log.
    pub(crate) files: u64,
    /// Records replayed.
    pub(crate) records: u64,
    /// Bytes of their extensions and payloads.
    pub(crate) bytes: u64,
    /// Records that are in segments already.
    pub(crate) skipped_records: u64,
    /// Ranges of bytes that hold no record, copied to `quarantine/`.
    pub(crate) damaged_ranges: u64,
    /// Bytes in them.
    pub(crate) damaged_bytes: u64,
    /// Records that were durable and are gone.
    pub(crate) lost_records: u64,
    /// Records missing from the last group before the crash: never acknowledged, or damaged since.
    pub(crate) torn_records: u64,
    /// Bytes of unfinished writes that were cut off.
    pub(crate) truncated_tail_bytes: u64,
    /// Files that could not be read, or not all of them; they are left where they are.
    pub(crate) unreadable_files: u64,
}

/// Where the writer goes on.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) report: ReplayReport,
    pub(super) files: Vec<SealedFile>,
    pub(super) next_sequence: u64,
    pub(super) durable_sequence: u64,
    pub(super) last_number: u64,
}

/// Reads the log in `place.dir`.
pub(super) fn recover(
    place: &Place,
    from_sequence: u64,
    deliver: &mut dyn FnMut(ReplayRecord) -> Result<(), Error>,
) -> Result<Recovered, Error> {
    let files = list_files(place)?;
    let last_number = files.last().map_or(0, |file| file.number).max(spares::last_number(place));
    let mut replay = Replay {
        place,
        from_sequence,
        deliver,
        report: ReplayReport { files: files.len() as u64, ..ReplayReport::default() },
        sealed: Vec::new(),
        found: 0,
        covered: from_sequence,
        seen: from_sequence.max(last_number),
        missing_in_group: 0,
        before_hole: 0,
        has_unreadable: false,
    };
    for (index, file) in files.iter().enumerate() {
        let next = files[index + 1..].iter().find(|next| !next.start.is_unwritten());
        let end = match next {
            None => EndOfFile::OfLog,
            Some(next) => {
                next.header().map_or(EndOfFile::Unknown, |next| EndOfFile::DurableTo(next.durable_sequence))
            }
        };
        replay.file(file, end)?;
    }
    if !files.is_empty()
        && let Err(error) = place.fs.sync_dir(&place.dir)
    {
        tracing::warn!(dir = %place.dir.display(), %error, "the names of the log's files were not synced");
    }
    Ok(replay.finish(last_number))
}

/// Of a file that was another one before: how far an unfinished write reaches, as far as can be told from the remains.
pub(super) fn end_of_torn_record(scanner: &mut Scanner, epoch: u64, good_end: u64) -> u64 {
    match scanner.find(epoch, good_end) {
        Found::DamagedBody(header) => good_end + header.record_bytes(),
        Found::Record(_) | Found::Nothing => good_end,
    }
}

pub(super) struct ListedFile {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) start: FileStart,
}

impl ListedFile {
    fn header(&self) -> Option<&FileHeader> {
        match &self.start {
            FileStart::Header(header) => Some(header),
            FileStart::OtherVersion(_) | FileStart::Blank | FileStart::Earlier | FileStart::Unknown => None,
        }
    }
}

/// The files in order. Refuses other versions; touches nothing.
pub(super) fn list_files(place: &Place) -> Result<Vec<ListedFile>, Error> {
    let names = place
        .fs
        .list(&place.dir)
        .context(ErrorKind::Retry, || format!("cannot list `{}`", place.dir.display()))?;
    let mut files = Vec::new();
    for (number, name) in names.iter().filter_map(|name| Some((number_of(name)?, name))) {
        let path = place.dir.join(name);
        let start = match Scanner::open(&*place.fs, &path) {
            Ok(mut scanner) => {
                let bytes = scanner.bytes(0, FILE_HEADER_BYTES_MAX);
                match place.settings.planted.has(Plant::EarlierHeaderBelieved) {
                    true => FileHeader::decode(bytes),
                    false => FileStart::of(number, bytes),
                }
            }
            Err(_) => FileStart::Unknown,
        };
        if let FileStart::OtherVersion(version) = start {
            return Err(Error::damaged(format!(
                "write-ahead log `{}` has format version {version}, this program reads version 1: \
                 start the version that wrote it, or move the file away",
                path.display()
            )));
        }
        files.push(ListedFile { number, path, start });
    }
    files.sort_by_key(|file| file.number);
    Ok(files)
}

fn number_of(name: &str) -> Option<u64> {
    file_number(name.strip_suffix(".wal")?)
}

/// The number that a file's name begins with.
pub(super) fn file_number(digits: &str) -> Option<u64> {
    let is_ours = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| is_ours && *number <= SEQUENCE_MAX)
}

/// What is known about the end of a file.
#[derive(Clone, Copy)]
enum EndOfFile {
    /// No file comes after it, or only such as were just created.
    OfLog,
    /// The next file was begun when records up to here were durable.
    DurableTo(u64),
    /// The next file's header cannot be read.
    Unknown,
}

struct Replay<'a> {
    place: &'a Place,
    from_sequence: u64,
    deliver: &'a mut dyn FnMut(ReplayRecord) -> Result<(), Error>,
    report: ReplayReport,
    sealed: Vec<SealedFile>,
    /// The sequence of the last record found in any file.
    found: u64,
    /// Everything up to here was found, is in segments or was counted.
    covered: u64,
    /// The highest sequence that was ever given out, as far as the files tell.
    seen: u64,
    /// Missing since the last group start: not yet known whether lost or torn.
    missing_in_group: u64,
    /// The sequence before the first of them.
    before_hole: u64,
    has_unreadable: bool,
}

/// Where the scan of one file stands.
struct FileScan {
    epoch: u64,
    /// The number the next record must have, when the header told.
    expected: Option<u64>,
    /// The last record found in this file.
    last: u64,
    /// The end of the last record found.
    good_end: u64,
}

impl FileScan {
    /// Whether a record found behind a hole can be one of this file.
    fn can_be_next(&self, sequence: u64, at: u64) -> bool {
        let fit_between = at.saturating_sub(self.good_end) / RECORD_HEADER_BYTES as u64;
        match self.expected {
            Some(expected) => sequence >= expected && sequence - expected <= fit_between,
            None => sequence > self.last,
        }
    }
}

impl Replay<'_> {
    fn file(&mut self, file: &ListedFile, end: EndOfFile) -> Result<(), Error> {
        let mut scan = self.begin(file);
        let mut scanner = match Scanner::open(&*self.place.fs, &file.path) {
            Ok(scanner) => scanner,
            Err(error) => {
                tracing::error!(path = %file.path.display(), %error, "a file of the log cannot be read");
                self.unreadable();
                return Ok(());
            }
        };
        scanner.planted = self.place.settings.planted;
        if scanner.planted.has(Plant::EpochLeftOut) {
            scan.epoch = 0;
        }
        self.records(file, &mut scan, &mut scanner)?;
        self.tail(file, &scan, &mut scanner, end);
        if scanner.has_unreadable {
            tracing::error!(path = %file.path.display(), "a file of the log cannot be read in part");
            self.unreadable();
        } else {
            let (path, bytes) = (file.path.clone(), scan.good_end);
            self.sealed.push(SealedFile { path, last_sequence: scan.last, bytes });
        }
        Ok(())
    }

    fn unreadable(&mut self) {
        self.has_unreadable = true;
        self.report.unreadable_files += 1;
    }

    /// Settles what the header says about the files before.
    fn begin(&mut self, file: &ListedFile) -> FileScan {
        let missing = std::mem::take(&mut self.missing_in_group);
        let Some(header) = file.header() else {
            self.report.torn_records += missing;
            return FileScan { epoch: file.number, expected: None, last: 0, good_end: 0 };
        };
        if header.durable_sequence >= self.covered {
            self.report.lost_records += missing + (header.durable_sequence - self.covered);
            self.covered = header.durable_sequence;
        } else {
            self.report.torn_records += missing;
        }
        self.seen = self.seen.max(header.first_sequence.saturating_sub(1));
        let good_end = FILE_HEADER_BYTES as u64;
        FileScan { epoch: header.epoch, expected: Some(header.first_sequence), last: 0, good_end }
    }

    fn records(
        &mut self,
        file: &ListedFile,
        scan: &mut FileScan,
        scanner: &mut Scanner,
    ) -> Result<(), Error> {
        let mut at = scan.good_end;
        loop {
            match scanner.find(scan.epoch, at) {
                Found::Record(header) if self.is_next(scan, header.sequence, at) => {
                    if at > scan.good_end {
                        self.damage(file, scan.good_end..at, scanner);
                    }
                    self.record(scan, &header, scanner.body(&header, at))?;
                    at += header.record_bytes();
                    scan.good_end = at;
                }
                Found::DamagedBody(header) if scan.can_be_next(header.sequence, at) => {
                    self.seen = self.seen.max(header.sequence);
                    at += header.record_bytes();
                }
                _ if scanner.planted.has(Plant::StopAtBadRecord) => return Ok(()),
                Found::Record(_) | Found::DamagedBody(_) | Found::Nothing => {
                    match scanner.next_sync_word(at + 1) {
                        Some(next) => at = next,
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    /// Whether a record is one of this file at its place: right behind the last one, or as far behind it as others fit between. One that
    /// was there before is a copy, whoever made it.
    fn is_next(&self, scan: &FileScan, sequence: u64, at: u64) -> bool {
        sequence > self.found && (at == scan.good_end || scan.can_be_next(sequence, at))
    }

    fn record(&mut self, scan: &mut FileScan, header: &RecordHeader, body: &[u8]) -> Result<(), Error> {
        let sequence = header.sequence;
        if let Some(expected) = scan.expected {
            let missing = sequence.saturating_sub(expected.max(self.from_sequence + 1));
            if self.missing_in_group == 0 && missing > 0 {
                self.before_hole = expected.saturating_sub(1);
            }
            self.missing_in_group += missing;
        }
        if header.is_group_start() {
            self.report.lost_records += std::mem::take(&mut self.missing_in_group);
        }
        scan.expected = Some(sequence + 1);
        (scan.last, self.found) = (sequence, sequence);
        self.covered = self.covered.max(sequence);
        self.seen = self.seen.max(sequence);
        if sequence <= self.from_sequence {
            self.report.skipped_records += 1;
            return Ok(());
        }
        self.report.records += 1;
        self.report.bytes += body.len() as u64;
        let body = Bytes::copy_from_slice(body);
        let extension_bytes = header.extension_bytes as usize;
        (self.deliver)(ReplayRecord {
            sequence,
            signal: header.signal,
            compression: header.compression,
            received_at: header.received_at,
            extension: body.slice(..extension_bytes),
            payload: body.slice(extension_bytes..),
        })
    }

    /// What is behind the last record: free space, an unfinished write, or damage.
    fn tail(&mut self, file: &ListedFile, scan: &FileScan, scanner: &mut Scanner, end: EndOfFile) {
        let content_end = scanner.end_of_content(scan.good_end);
        let is_torn = match end {
            EndOfFile::OfLog => true,
            EndOfFile::DurableTo(durable) => durable <= self.covered,
            EndOfFile::Unknown => false,
        } || scanner.planted.has(Plant::DamageTakenForTorn);
        // A header that cannot be read may be of a version that is not ours to cut.
        let may_cut = is_torn && !scanner.has_unreadable && file.start != FileStart::Unknown;
        match content_end {
            Some(content_end) if may_cut => {
                let torn_end = if file.start.may_have_remains() {
                    end_of_torn_record(scanner, scan.epoch, scan.good_end)
                } else {
                    content_end
                };
                self.report.truncated_tail_bytes += torn_end - scan.good_end;
                if torn_end > scan.good_end {
                    tracing::warn!(
                        path = %file.path.display(), from = scan.good_end, to = torn_end,
                        "an unfinished write is cut off"
                    );
                }
            }
            Some(content_end) => self.damage(file, scan.good_end..content_end, scanner),
            None => {}
        }
        if may_cut && (content_end.is_some() || matches!(end, EndOfFile::OfLog)) {
            self.cut(&file.path, scan.good_end, scanner.len());
        }
    }

    /// Cuts the file behind its last record and makes it durable: after a kill, records may have been
    /// replayed that are in the page cache only.
    fn cut(&self, path: &Path, good_end: u64, len: u64) {
        let result = self.place.fs.open_write(path).and_then(|file| {
            if good_end < len {
                file.set_len(good_end)?;
            }
            file.sync_data()
        });
        if let Err(error) = result {
            tracing::warn!(path = %path.display(), %error, "the last file of the log was not cut");
        }
    }

    fn damage(&mut self, file: &ListedFile, range: Range<u64>, scanner: &mut Scanner) {
        tracing::warn!(path = %file.path.display(), ?range, "damaged bytes in the log are stepped over");
        self.report.damaged_ranges += 1;
        self.report.damaged_bytes += range.end - range.start;
        quarantine::keep(self.place, &file.path, &range, scanner);
    }

    fn finish(mut self, last_number: u64) -> Recovered {
        self.report.torn_records += self.missing_in_group;
        // A hole that may be torn must not look lost to the next start.
        let durable_sequence = if self.missing_in_group > 0 { self.before_hole } else { self.covered };
        let unreadable = if self.has_unreadable { SEQUENCES_OF_UNREADABLE_FILE } else { 0 };
        Recovered {
            report: self.report,
            files: self.sealed,
            next_sequence: self.seen.saturating_add(1 + unreadable),
            durable_sequence,
            last_number,
        }
    }
}
