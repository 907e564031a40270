//! One lane: requests in order of arrival, in segments, and a cursor.
//!
//! Owns: order, recovery, which segments may go, what was lost. Does not own: how much room there is and
//! who gets it (`super`).
//!
//! ```text
//! LANE/0000000000000001.seg … 00000000000000a7.seg    `segment`
//! LANE/cursor                                         `cursor`
//!
//!  settled ≤ read ≤ next       places: number of a request, items and bytes up to it
//! ```
//!
//! Invariants: segments stand in the order of their first numbers, strictly; reading only goes from a
//! segment to one behind it; a segment is deleted after the cursor behind it is synced; a number is never given
//! twice in one stream, because every run writes a stream of its own.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{DiskFile, Fs, create_dir_durable};
use model::UnixNano;
use model::positions::StreamId;

use super::cursor::{self, Cursor};
use super::segment::{self, Found, HEADER_BYTES, Opened, Segment};
use super::{Amount, Encoding, Place, Spooled};

/// Where new segments come from when the disk has no room.
pub(super) trait Spare {
    /// A preallocated file, now called `path`.
    fn take(&mut self, path: &Path) -> Option<Arc<dyn DiskFile>>;
}

#[derive(Debug)]
pub(super) struct Fifo {
    fs: Arc<dyn Fs>,
    folder: PathBuf,
    segment_bytes_max: u64,
    /// The stream of this run.
    stream: StreamId,
    segments: VecDeque<Segment>,
    /// What came up to the last request.
    next: Place,
    /// What came up to the last request that was read, or given up before it was.
    read: Place,
    /// Where the next request is read: the number before a segment's first, and an offset in it.
    read_at: (u64, u64),
    settled: Place,
    /// Number and time of requests that were taken and are not settled.
    taken: VecDeque<(u64, UnixNano)>,
    cursor: Cursor,
    /// The last note of the runs before.
    note: Option<String>,
    /// Who keeps segments from being deleted.
    holds: usize,
    /// Requests found damaged or missing since they were last asked for.
    lost: Amount,
    /// Files written since the last sync, and whether names changed.
    unsynced: Vec<Arc<dyn DiskFile>>,
    has_new_name: bool,
}

/// What has to be synced, and what is durable then.
#[derive(Debug)]
pub(super) struct Unsynced {
    pub(super) files: Vec<Arc<dyn DiskFile>>,
    pub(super) folder: Option<PathBuf>,
    /// The last request that is durable then.
    pub(super) number: u64,
}

/// Makes a lane's folder and those above it, durably. One with a cursor was made so before the cursor came into being:
/// syncing all folders above four lanes at every start would be most of what a start takes.
fn make_folder(fs: &dyn Fs, folder: &Path) -> io::Result<()> {
    let has_cursor = fs.list(folder).is_ok_and(|names| names.iter().any(|name| name == cursor::NAME));
    if has_cursor { Ok(()) } else { create_dir_durable(fs, folder) }
}

impl Fifo {
    pub(super) fn open(fs: Arc<dyn Fs>, folder: PathBuf, segment_bytes_max: u64) -> io::Result<Self> {
        make_folder(&*fs, &folder)?;
        let (cursor, settled) = Cursor::open(&*fs, &folder)?;
        let mut fifo = Self {
            fs,
            folder,
            segment_bytes_max,
            stream: StreamId(*uuid::Uuid::now_v7().as_bytes()),
            segments: VecDeque::new(),
            next: settled,
            read: settled,
            read_at: (0, HEADER_BYTES),
            settled,
            taken: VecDeque::new(),
            cursor,
            note: None,
            holds: 0,
            lost: Amount::default(),
            unsynced: Vec::new(),
            has_new_name: false,
        };
        fifo.recover()?;
        Ok(fifo)
    }

    fn recover(&mut self) -> io::Result<()> {
        let names = self.fs.list(&self.folder)?;
        // Hexadecimal names of one length: their order is that of their numbers.
        for name in names.iter().filter(|name| segment::number_of(name).is_some()) {
            let path = self.folder.join(name);
            match Segment::open(&*self.fs, &path)? {
                Opened::Segment(segment) => self.segments.push_back(segment),
                Opened::Empty => self.fs.remove_file(&path)?,
                Opened::Damaged => self.set_aside(&path)?,
            }
        }
        if let Some(last) = self.segments.back_mut() {
            // Only the last one can have been written to; the others end where the next one begins.
            let (end, place) = last.last()?;
            if end < last.len {
                tracing::warn!(path = %last.path.display(), bytes = last.len - end, "cut a torn or unused end off the spool");
                last.cut(end)?;
            }
            self.next = self.next.max(place);
        }
        // A note is of the last moments before a crash; whatever follows it meanwhile is little.
        for segment in self.segments.iter().rev().take(2) {
            if self.note.is_none() {
                self.note = segment.last_note()?;
            }
        }
        self.delete_settled()?;
        if let Some(first) = self.segments.front() {
            self.read_at = (first.before.number, HEADER_BYTES);
        }
        Ok(())
    }

    /// A file that is no segment any more: it is kept for people, the requests in it are lost.
    fn set_aside(&self, path: &Path) -> io::Result<()> {
        let aside = path.with_extension("bad");
        tracing::error!(path = %aside.display(), "a segment of the spool has no whole header; its requests are lost");
        self.fs.rename(path, &aside)
    }

    /// See [`Queue::last_note`](super::Queue::last_note).
    pub(super) fn note_before(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// See [`Queue::hold`](super::Queue::hold).
    pub(super) const fn hold(&mut self, begins: bool) {
        self.holds = if begins { self.holds + 1 } else { self.holds.saturating_sub(1) };
    }

    /// Bytes on disk, from the segments themselves.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum()
    }

    /// What waits, taken or not.
    pub(super) fn waiting(&self) -> Amount {
        self.next.since(self.settled)
    }

    /// Bytes that a record of `record_bytes` adds.
    pub(super) fn needed(&self, record_bytes: u64) -> u64 {
        if self.takes(record_bytes) { record_bytes } else { HEADER_BYTES + record_bytes }
    }

    fn takes(&self, record_bytes: u64) -> bool {
        self.segments.back().is_some_and(|active| {
            let has_room = active.len + record_bytes <= self.segment_bytes_max || active.before == self.next;
            active.stream == self.stream && !active.is_failed && has_room
        })
    }

    /// Appends a request; it survives the process on return. Its number.
    pub(super) fn append(&mut self, request: &Spooled, spare: &mut dyn Spare) -> io::Result<u64> {
        let spooled = Spooled { before: self.next, ..request.clone() };
        if !self.takes(segment::record_bytes(&spooled)) {
            self.begin_segment(spare)?;
        }
        let active = self.segments.back_mut().ok_or_else(|| io::Error::other("no segment to write to"))?;
        if let Err(error) = active.write(&spooled) {
            // The spare one has its room already.
            if !is_no_room(&error) || !self.begin_spare(spare)? {
                return Err(error);
            }
            let active =
                self.segments.back_mut().ok_or_else(|| io::Error::other("no segment to write to"))?;
            active.write(&spooled)?;
        }
        self.next = spooled.after();
        let file = self.segments.back().map(|active| Arc::clone(&active.file));
        self.note_unsynced(file);
        Ok(self.next.number)
    }

    fn note_unsynced(&mut self, file: Option<Arc<dyn DiskFile>>) {
        self.unsynced.extend(file.filter(|file| !self.unsynced.iter().any(|known| Arc::ptr_eq(known, file))));
    }

    fn begin_segment(&mut self, spare: &mut dyn Spare) -> io::Result<()> {
        let path = self.make_way()?;
        let created = self
            .fs
            .create(&path)
            .and_then(|file| Segment::begin(path.clone(), file.into(), self.next, self.stream));
        match created {
            Ok(segment) => self.push(segment),
            Err(error) if is_no_room(&error) => {
                // What was made of it is in the way of the spare one.
                drop(self.fs.remove_file(&path));
                if !self.begin_spare(spare)? {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Goes on in the spare segment; `false` when there is none.
    fn begin_spare(&mut self, spare: &mut dyn Spare) -> io::Result<bool> {
        let path = self.make_way()?;
        let Some(file) = spare.take(&path) else { return Ok(false) };
        self.push(Segment::begin(path, file, self.next, self.stream)?);
        Ok(true)
    }

    /// The path of the next segment, where no other one stands: one of an earlier run that holds nothing, or
    /// one whose making failed, is removed.
    fn make_way(&mut self) -> io::Result<PathBuf> {
        if self.segments.back().is_some_and(|unused| unused.before == self.next) {
            self.segments.pop_back();
        }
        let path = self.folder.join(segment::name_of(self.next));
        match self.fs.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(path),
        }
    }

    fn push(&mut self, segment: Segment) {
        debug_assert!(self.segments.back().is_none_or(|last| last.before.number < segment.before.number));
        if self.segments.is_empty() || self.read.number == self.next.number {
            self.read_at = (segment.before.number, HEADER_BYTES);
        }
        let file = Arc::clone(&segment.file);
        self.segments.push_back(segment);
        self.note_unsynced(Some(file));
        self.has_new_name = true;
    }

    /// The next requests that were not taken yet: one, or several that may travel as one, up to `bytes_max`
    /// before compression.
    pub(super) fn take(&mut self, bytes_max: usize) -> io::Result<Vec<Spooled>> {
        let mut group: Vec<Spooled> = Vec::new();
        let mut bytes = 0;
        loop {
            let before = (self.read_at, self.read, self.lost);
            let next = match self.read_next() {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(error) if group.is_empty() => return Err(error),
                // What was read leaves first; the next call meets the error again.
                Err(_) => break,
            };
            bytes += next.raw_bytes as usize;
            let joins = group.first().is_none_or(|first| first.joins(&next) && bytes <= bytes_max);
            if !joins {
                (self.read_at, self.read, self.lost) = before;
                break;
            }
            group.push(next);
        }
        self.taken.extend(group.iter().map(|taken| (taken.number(), taken.time)));
        Ok(group)
    }

    /// When the oldest request came that is not settled; `None` when none waits, or its head cannot be read.
    pub(super) fn oldest(&self) -> Option<UnixNano> {
        if let Some((_, time)) = self.taken.front() {
            return Some(*time);
        }
        let mut at = self.read_at.1;
        for segment in self.segments.iter().filter(|segment| segment.before.number >= self.read_at.0) {
            if segment.before.number > self.read_at.0 {
                at = HEADER_BYTES;
            }
            while let Ok(Some((number, time, end))) = segment.number_and_time(at) {
                if number > self.read.number {
                    return Some(time);
                }
                at = end;
            }
        }
        None
    }

    fn read_next(&mut self) -> io::Result<Option<Spooled>> {
        // Only forward: `at` grows with every turn that does not read a record.
        let Some(mut at) = self.segments.iter().position(|segment| segment.before.number >= self.read_at.0)
        else {
            return Ok(None);
        };
        loop {
            let before = self.segments[at].before;
            if before.number > self.read_at.0 {
                self.read_at = (before.number, HEADER_BYTES);
            }
            if self.read_at.1 == HEADER_BYTES {
                // Everything before a segment was read, or is no longer there.
                self.note_lost(before);
            }
            match self.segments[at].next(self.read_at.1)? {
                Found::Record(spooled, end) => {
                    self.read_at.1 = end;
                    // Read before the restart, or older than where the lane stands.
                    if spooled.number() > self.read.number {
                        self.note_lost(spooled.before);
                        self.read = spooled.after();
                        return Ok(Some(spooled));
                    }
                }
                Found::Damaged(place, end) => {
                    self.read_at.1 = end;
                    self.note_lost(place);
                }
                Found::End if at + 1 < self.segments.len() => {
                    at += 1;
                    self.read_at = (self.segments[at].before.number, HEADER_BYTES);
                }
                Found::End => return Ok(None),
            }
        }
    }

    /// What lies between the last request read and `place` is damaged or missing.
    fn note_lost(&mut self, place: Place) {
        let missing = place.since(self.read);
        if missing.requests > 0 {
            tracing::error!(
                requests = missing.requests,
                items = missing.items,
                "requests in the spool were damaged and are lost"
            );
            self.lost.add(missing);
            self.read = place;
        }
    }

    pub(super) fn take_lost(&mut self) -> Amount {
        std::mem::take(&mut self.lost)
    }

    /// Everything that was taken is settled, and so is what was lost before the next request.
    pub(super) fn settle_read(&mut self) -> io::Result<()> {
        self.settle(self.read)
    }

    /// Everything up to `place` is settled.
    pub(super) fn settle(&mut self, place: Place) -> io::Result<()> {
        self.settled = self.settled.max(place);
        while self.taken.pop_front_if(|(number, _)| *number <= self.settled.number).is_some() {}
        self.cursor.write(self.settled)?;
        if self.holds > 0 {
            // The next time.
            return Ok(());
        }
        let is_drained = self.settled == self.next && self.bytes() > self.segment_bytes_max / 4;
        if is_drained {
            return self.delete_all();
        }
        self.delete_settled()
    }

    /// Deletes segments that hold nothing unsettled; the last one stays to be written to.
    fn delete_settled(&mut self) -> io::Result<()> {
        let is_done =
            |fifo: &Self| fifo.segments.get(1).is_some_and(|next| next.before.number <= fifo.settled.number);
        if !is_done(self) {
            return Ok(());
        }
        self.cursor.sync()?;
        while is_done(self) {
            if let Some(done) = self.segments.pop_front() {
                self.remove(&done)?;
            }
        }
        self.fs.sync_dir(&self.folder)
    }

    fn delete_all(&mut self) -> io::Result<()> {
        self.cursor.sync()?;
        while let Some(done) = self.segments.pop_front() {
            self.remove(&done)?;
        }
        self.read_at = (0, HEADER_BYTES);
        self.fs.sync_dir(&self.folder)
    }

    fn remove(&mut self, segment: &Segment) -> io::Result<()> {
        self.unsynced.retain(|file| !Arc::ptr_eq(file, &segment.file));
        self.fs.remove_file(&segment.path)
    }

    /// Gives up the oldest segment; what of it was not taken yet. `None` when there is nothing to give up.
    pub(super) fn drop_oldest(&mut self, spare: &mut dyn Spare) -> io::Result<Option<Amount>> {
        let Some(oldest) = self.segments.front() else { return Ok(None) };
        if oldest.before == self.next {
            return Ok(None);
        }
        if self.segments.len() == 1 {
            self.begin_segment(spare)?;
        }
        let Some(end) = self.segments.get(1).map(|next| next.before) else { return Ok(None) };
        let dropped = end.since(self.read);
        self.read = self.read.max(end);
        self.settle(end)?;
        Ok(Some(dropped))
    }

    /// Gives up everything; what of it was not taken yet.
    pub(super) fn clear(&mut self) -> io::Result<Amount> {
        let dropped = self.next.since(self.read);
        self.read = self.next;
        self.settled = self.next;
        self.taken.clear();
        self.cursor.write(self.settled)?;
        self.delete_all()?;
        Ok(dropped)
    }

    /// What has to be synced so that everything appended is durable.
    pub(super) fn unsynced(&mut self) -> Unsynced {
        Unsynced {
            files: std::mem::take(&mut self.unsynced),
            folder: std::mem::take(&mut self.has_new_name).then(|| self.folder.clone()),
            number: self.next.number,
        }
    }

    /// A sync failed: nothing more goes into the segment, since the disk forgot what it did not write.
    pub(super) fn sync_failed(&mut self) {
        if let Some(active) = self.segments.back_mut() {
            active.is_failed = true;
        }
        self.has_new_name = true;
    }

    /// Ranges of all requests that wait, for what is read elsewhere.
    pub(super) fn each_waiting(&self, mut see: impl FnMut(&Spooled)) -> io::Result<()> {
        for segment in &self.segments {
            let mut at = HEADER_BYTES;
            loop {
                match segment.next(at)? {
                    Found::Record(spooled, end) => {
                        at = end;
                        if spooled.number() > self.settled.number {
                            see(&spooled);
                        }
                    }
                    Found::Damaged(_, end) => at = end,
                    Found::End => break,
                }
            }
        }
        Ok(())
    }
}

/// Whether a disk, a quota or a limit on files is full.
pub(super) fn is_no_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

impl Spooled {
    /// Whether `next` may travel in one request with this one.
    fn joins(&self, next: &Self) -> bool {
        self.signal == next.signal
            && self.stream == next.stream
            && self.encoding == Encoding::Protobuf
            && next.encoding == Encoding::Protobuf
            && self.ranges.is_empty()
            && next.ranges.is_empty()
    }
}
