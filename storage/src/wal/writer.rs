//! The one owner of the log's files while the process runs: writes groups, rotates, trims.
//!
//! Owns: the active file, sequences, and the only constructor of [`Durable`]. Does not own: the queue,
//! or what an attachment means.
//!
//! ```text
//! group ─► admit ─► encode ─► write ─► fdatasync ─► (new file: fsync folder) ─► durable, in order ─► Durable
//!              └── any error: refuse the group, seal the file at its durable length, go on in a new file
//! ```
//!
//! Invariants: a sequence is used once, whether its group succeeded or not; a file is never synced again
//! after a failed sync; a group lies in one file; a file's records are numbered without holes.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::Clock;

use super::format::{FILE_HEADER_BYTES, FLAG_GROUP_START, FileHeader, encode_record, encoded_bytes};
use super::queue::{Pending, Trim, Work};
use super::replay::Recovered;
use super::spares::Spares;
use super::{Admission, OnDurable, Settings, Stats};
use crate::error::Error;
use crate::plant::Plant;
use disk::{DiskFile, Fs};

/// Failures in a row after which appends are refused without touching the disk.
const FAILURES_MAX: u32 = 3;
/// The encode buffer is given back when a group made it larger than this.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// Proof that a record is on the disk. Only the code that synced it can make one.
#[expect(clippy::manual_non_exhaustive, reason = "not even this crate may construct it elsewhere")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// The record's place in the order of all records. Of a record that was there already: the last that
    /// was durable when that was found out.
    pub sequence: u64,
    /// Whether this append wrote it, and it was not there already.
    pub is_new: bool,
    _synced: (),
}

/// A file that is not written any more.
#[derive(Clone, Debug)]
pub(super) struct SealedFile {
    pub(super) path: PathBuf,
    /// The last durable record; 0 when there is none.
    pub(super) last_sequence: u64,
    pub(super) bytes: u64,
}

#[derive(Debug)]
struct ActiveFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    epoch: u64,
    /// Whether its name is durable, and bytes of another file may stand behind its records.
    is_reused: bool,
    /// Up to here it is written and synced.
    durable_bytes: u64,
    last_sequence: u64,
}

/// Where the writer works and with what.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dir: PathBuf,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: Settings,
}

type Answer = tokio::sync::oneshot::Sender<Result<Durable, Error>>;

pub(super) struct Writer<T> {
    place: Place,
    sealed: VecDeque<SealedFile>,
    spares: Spares,
    /// Files up to this number are deleted, not written again.
    forgotten_number: u64,
    active: Option<ActiveFile>,
    next_sequence: u64,
    durable_sequence: u64,
    last_number: u64,
    failures_in_row: u32,
    retry_at: Duration,
    buffer: Vec<u8>,
    on_durable: OnDurable<T>,
    stats: Arc<Mutex<Stats>>,
}

impl<T> Writer<T> {
    pub(super) fn new(
        place: Place,
        recovered: Recovered,
        on_durable: OnDurable<T>,
        stats: Arc<Mutex<Stats>>,
    ) -> Self {
        let writer = Self {
            spares: Spares::found(&place),
            place,
            sealed: recovered.files.into(),
            forgotten_number: 0,
            active: None,
            next_sequence: recovered.next_sequence,
            durable_sequence: recovered.durable_sequence,
            last_number: recovered.last_number,
            failures_in_row: 0,
            retry_at: Duration::ZERO,
            buffer: Vec::new(),
            on_durable,
            stats,
        };
        writer.publish(|_| {});
        writer
    }

    pub(super) fn group_bytes_max(&self) -> usize {
        self.place.settings.group_bytes_max
    }

    pub(super) fn work(&mut self, work: Work<T>) {
        match work {
            Work::Group(group) => self.commit(group),
            Work::Trim(trim) => self.trim(trim),
        }
    }

    /// Gives back the space that was reserved. Nothing is lost when it fails.
    pub(super) fn finish(&mut self) {
        if let Some(active) = self.active.take() {
            self.seal(active);
        }
    }

    fn commit(&mut self, group: Vec<Pending<T>>) {
        let now = self.place.clock.monotonic();
        if self.failures_in_row >= FAILURES_MAX && now < self.retry_at {
            let failures = self.failures_in_row;
            refuse(group, &format!("the write-ahead log refuses records after {failures} failures in a row"));
            return;
        }
        let (group, known) = self.admit(group);
        if group.is_empty() {
            self.on_durable.settled();
            self.acknowledge_known(known);
            return;
        }
        let first = self.next_sequence;
        let result = self.write(&group, first);
        self.next_sequence = first + group.len() as u64;
        match result {
            Ok(()) => {
                self.failures_in_row = 0;
                self.acknowledge(group, first);
                self.acknowledge_known(known);
            }
            Err(message) => {
                if self.has_plant(Plant::ReuseSequences) {
                    self.next_sequence = first;
                }
                self.on_durable.settled();
                // It may be space that is wanting.
                self.spares.clear(&self.place);
                self.failures_in_row = self.failures_in_row.saturating_add(1);
                self.retry_at = now.saturating_add(self.place.settings.retry_interval);
                let failures = self.failures_in_row;
                tracing::warn!(failures, records = group.len(), "{message}");
                self.publish(|stats| stats.failures += 1);
                refuse(group, &message);
                for done in known {
                    // As in `acknowledge`.
                    let _ = done.send(Err(Error::retry(message.as_str())));
                }
            }
        }
    }

    /// Asks for each record whether it may be written; those that are known already wait for the others.
    fn admit(&mut self, group: Vec<Pending<T>>) -> (Vec<Pending<T>>, Vec<Answer>) {
        let mut written = Vec::with_capacity(group.len());
        let mut known = Vec::new();
        for pending in group {
            match self.on_durable.admit(&pending.attachment) {
                Admission::Write => written.push(pending),
                Admission::Known => known.push(pending.done),
                // As in `acknowledge`.
                Admission::Refuse(error) => drop(pending.done.send(Err(error))),
            }
        }
        (written, known)
    }

    fn acknowledge_known(&self, known: Vec<Answer>) {
        if known.is_empty() {
            return;
        }
        self.publish(|stats| stats.known += known.len() as u64);
        for done in known {
            // As in `acknowledge`.
            let _ = done.send(Ok(Durable { sequence: self.durable_sequence, is_new: false, _synced: () }));
        }
    }

    /// Writes and syncs a group. After an error there is no active file.
    fn write(&mut self, group: &[Pending<T>], first: u64) -> Result<(), String> {
        let bytes: usize = group.iter().map(|pending| encoded_bytes(&pending.record)).sum();
        self.rotate_unless_fits(bytes as u64);
        self.buffer.clear();
        let mut active = match self.active.take() {
            Some(active) => active,
            None => self.begin_file(first, bytes as u64)?,
        };
        let mut flags = FLAG_GROUP_START;
        let epoch = if self.has_plant(Plant::EpochLeftOut) { 0 } else { active.epoch };
        for (pending, sequence) in group.iter().zip(first..) {
            encode_record(&pending.record, sequence, flags, epoch, &mut self.buffer);
            flags = 0;
        }
        let result = self.write_and_sync(&active);
        let written = self.buffer.len() as u64;
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        match result {
            Ok(()) => {
                active.durable_bytes += written;
                active.last_sequence = first + group.len() as u64 - 1;
                self.active = Some(active);
                Ok(())
            }
            Err(error) => {
                let message = failed("write", &active.path, &error);
                self.seal(active);
                Err(message)
            }
        }
    }

    fn write_and_sync(&self, active: &ActiveFile) -> io::Result<()> {
        active.file.write_all_at(&self.buffer, active.durable_bytes)?;
        if self.has_plant(Plant::AcknowledgeBeforeSync) {
            return Ok(());
        }
        self.sync_file(active)?;
        if active.durable_bytes == 0 && !active.is_reused {
            self.sync_dir()?;
        }
        Ok(())
    }

    fn acknowledge(&mut self, group: Vec<Pending<T>>, first: u64) {
        self.durable_sequence = first + group.len() as u64 - 1;
        self.publish(|stats| {
            stats.groups += 1;
            stats.records += group.len() as u64;
            stats.group_records_max = stats.group_records_max.max(group.len());
        });
        let mut waiting = Vec::with_capacity(group.len());
        for (pending, sequence) in group.into_iter().zip(first..) {
            self.on_durable.durable(sequence, pending.attachment);
            waiting.push((pending.done, Durable { sequence, is_new: true, _synced: () }));
        }
        self.on_durable.settled();
        for (done, durable) in waiting {
            // The one who appended may have gone away; the record is durable all the same.
            let _ = done.send(Ok(durable));
        }
        if self.has_plant(Plant::AcknowledgeBeforeSync)
            && let Some(active) = &self.active
        {
            let _ = self.sync_file(active).and_then(|()| self.sync_dir());
        }
    }

    fn sync_file(&self, active: &ActiveFile) -> io::Result<()> {
        if self.has_plant(Plant::SkipSync) {
            return Ok(());
        }
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).syncs += 1;
        let result = active.file.sync_data();
        if self.has_plant(Plant::RetrySync) && result.is_err() {
            return active.file.sync_data();
        }
        result
    }

    fn sync_dir(&self) -> io::Result<()> {
        if self.has_plant(Plant::SkipDirSync) {
            return Ok(());
        }
        self.place.fs.sync_dir(&self.place.dir)
    }

    fn has_plant(&self, plant: Plant) -> bool {
        self.place.settings.planted.has(plant)
    }

    fn rotate_unless_fits(&mut self, bytes: u64) {
        let limit = self.place.settings.segment_bytes;
        if self.active.as_ref().is_some_and(|active| active.durable_bytes + bytes > limit)
            && let Some(active) = self.active.take()
        {
            self.seal(active);
        }
    }

    /// Creates a file and puts its header in front of the buffer.
    fn begin_file(&mut self, first_sequence: u64, bytes: u64) -> Result<ActiveFile, String> {
        let number = first_sequence.max(self.last_number + 1);
        self.last_number = number;
        let path = self.place.dir.join(file_name(number));
        let reused = self.spares.take(&self.place, &path);
        let is_reused = reused.is_some();
        let file = match reused {
            Some(file) => file,
            None => self.place.fs.create(&path).map_err(|error| failed("create", &path, &error))?,
        };
        let header = FileHeader {
            epoch: number,
            first_sequence,
            durable_sequence: self.durable_sequence,
            created: self.place.clock.now(),
            is_reused,
        };
        self.publish(|stats| stats.files_reused += u64::from(is_reused));
        let wanted = self.place.settings.segment_bytes.max(bytes + FILE_HEADER_BYTES as u64);
        if let Err(error) = file.preallocate(wanted) {
            tracing::debug!(path = %path.display(), %error, "no space reserved");
        }
        self.buffer.extend_from_slice(&header.encode());
        Ok(ActiveFile { file, path, epoch: number, is_reused, durable_bytes: 0, last_sequence: 0 })
    }

    /// Ends a file at its durable length. Whether the cut itself is durable does not matter: behind
    /// that length are zeros, records of a group that was refused, or remains of an earlier life of the file.
    fn seal(&mut self, active: ActiveFile) {
        let ActiveFile { file, path, durable_bytes, last_sequence, .. } = active;
        let result =
            if last_sequence == 0 { self.place.fs.remove_file(&path) } else { file.set_len(durable_bytes) };
        if let Err(error) = &result {
            tracing::debug!(path = %path.display(), %error, "the sealed file keeps its length");
        }
        if last_sequence != 0 || result.is_err() {
            self.sealed.push_back(SealedFile { path, last_sequence, bytes: durable_bytes });
        }
    }

    fn trim(&mut self, trim: Trim) {
        if trim.forgets {
            self.spares.clear(&self.place);
            self.forgotten_number = self.last_number;
        }
        let up_to = trim.up_to;
        let up_to = up_to + u64::from(self.has_plant(Plant::TrimOneTooMany));
        if let Some(active) = self.active.take_if(|active| active.last_sequence <= up_to) {
            // Not cut: it goes, or is written again.
            let ActiveFile { path, last_sequence, durable_bytes: bytes, .. } = active;
            self.sealed.push_back(SealedFile { path, last_sequence, bytes });
        }
        let result = self.delete_up_to(up_to);
        self.publish(|_| {});
        // The one who asked may have gone away.
        let _ = trim.done.send(result.map_err(Error::retry));
    }

    /// Deletes oldest first, or keeps as spares; stops at the first file of which neither can be done.
    fn delete_up_to(&mut self, up_to: u64) -> Result<usize, String> {
        let mut deleted = 0;
        while let Some(file) = self.sealed.pop_front_if(|file| file.last_sequence <= up_to) {
            match self.delete(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let message = failed("delete", &file.path, &error);
                    self.sealed.push_front(file);
                    return Err(message);
                }
                _ => deleted += 1,
            }
        }
        if deleted > 0 {
            self.sync_dir().map_err(|error| failed("sync", &self.place.dir, &error))?;
        }
        Ok(deleted)
    }

    /// A file without a durable record has sequences that the next start may give out again: it is no spare.
    fn delete(&mut self, file: &SealedFile) -> io::Result<()> {
        let is_forgotten = file.path <= self.place.dir.join(file_name(self.forgotten_number));
        if file.last_sequence > 0 && !is_forgotten && self.spares.keep(&self.place, &file.path)? {
            return Ok(());
        }
        self.place.fs.remove_file(&file.path)
    }

    fn publish(&self, change: impl FnOnce(&mut Stats)) {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut stats);
        stats.spares = self.spares.count();
        stats.files = self.sealed.len() + usize::from(self.active.is_some());
        stats.bytes = self.sealed.iter().map(|file| file.bytes).sum::<u64>()
            + self.active.as_ref().map_or(0, |active| active.durable_bytes);
        stats.last_sequence = self.durable_sequence;
        stats.failures_in_row = self.failures_in_row;
        stats.is_refusing = self.failures_in_row >= FAILURES_MAX;
    }
}

/// Name of the file with this number.
pub(super) fn file_name(number: u64) -> String {
    format!("{number:020}.wal")
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {doing} `{}`: {error}", path.display())
}

fn refuse<T>(group: Vec<Pending<T>>, message: &str) {
    for pending in group {
        // As in `acknowledge`: the one who appended may have gone away.
        let _ = pending.done.send(Err(Error::retry(message)));
    }
}
