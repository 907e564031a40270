//! The file input: finds files, follows them through rotation, makes batches, moves positions.
//!
//! Owns: which files are open, how far each was read and acknowledged, `positions.json`. Does not own:
//! sending (`export`), parsing lines (`model::dialect`).
//!
//! ```text
//!             found by glob
//!                  │ key known? ── yes ─► resume at the saved position, if its evidence holds
//!                  │ no                        (else: truncated while away ─► next generation, 0)
//!                  ├─ may be a copy of a file with a kin name ─► wait, then go on where that was left
//!                  └─ new ─► from its beginning (very first start: `start_at`)
//!   size < offset, or other bytes before it ─► truncated: remember the position, next generation, 0
//!   no longer found ─► rotated away: read on; closed after `Grace` without growth, once acknowledged
//! ```
//!
//! Invariants: nothing is read before [`FileTail::place`] said what the collector has already; a position
//! is saved only when the collector acknowledged everything before it; the acknowledgements of an older
//! generation never move the position of a newer one; a file is known on disk, with its fingerprints,
//! before the first of its lines leaves, so that after a crash the collector's position finds it again.

mod assemble;
pub(crate) mod batch;
pub(crate) mod container;
mod copies;
mod discover;
pub(crate) mod identity;
pub(crate) mod positions;
mod spill;
mod streams;
pub(crate) mod task;
#[cfg(test)]
mod tests;
pub(crate) mod tracked;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use model::UnixNano;
use model::positions::StreamId;
use model::time::SECOND;

use self::batch::{Batch, BatchBuilder, Processing, Range, Record, Stream};
use self::copies::Remembered;
use self::discover::Globs;
use self::identity::{FileKey, FileStat, Mark, read_range};
use self::positions::{Positions, Saved, SavedFile};
use self::spill::Held;
use self::streams::{Finished, LogicalStream, Streams};
use self::tracked::{FileId, LINE_BYTES_MAX, Outcome, Tracked};
use crate::config::process::ProcessSettings;
use crate::config::{Config, FileSettings, StartAt};
use crate::export::session::{Committed, Told};
use crate::input::Matching;
use crate::process::Chain;
use crate::process::limit::Bucket;
use crate::status::{DropReason, FileStatus, Flow, Shared};

/// Closed or truncated files whose positions are kept.
const REMEMBERED_MAX: usize = 1024;
/// Bytes of records that are joined or put together, of all streams.
pub(crate) const OPEN_RECORDS_BYTES_MAX: usize = 2 << 20;
/// A file younger than this is read from its beginning by `start_at = "auto"`.
const YOUNG: i64 = 300 * SECOND;

/// How long a file that is gone from its folder is kept open without growth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grace {
    /// When it has no name left.
    pub(crate) deleted: Duration,
    /// When it was renamed out of the globs: its writer may hold on to it for long.
    pub(crate) renamed: Duration,
    /// How long a file that may be a copy is watched before it is read as a file of its own.
    pub(crate) copy: Duration,
}

impl Default for Grace {
    fn default() -> Self {
        Self {
            deleted: Duration::from_secs(10),
            renamed: Duration::from_secs(300),
            copy: Duration::from_secs(2),
        }
    }
}

#[derive(Debug)]
struct Input {
    name: String,
    settings: FileSettings,
    globs: Globs,
    chain: Chain,
    /// The rate limit of the whole input.
    bucket: Bucket,
    /// Never in use before: `start_at` decides until the first look is over.
    is_first_start: bool,
}

/// All files of all `[files.NAME]` tables.
#[derive(Debug)]
pub(crate) struct FileTail {
    inputs: Vec<Input>,
    streams: Streams,
    files: BTreeMap<FileId, Tracked>,
    by_key: HashMap<FileKey, FileId>,
    remembered: VecDeque<Remembered>,
    positions: Positions,
    builder: BatchBuilder,
    block: Vec<u8>,
    shared: Arc<Shared>,
    fallback_service: Option<String>,
    grace: Grace,
    next_id: FileId,
    /// What the collector had when this run began; `None` until it is known.
    committed: Option<Committed>,
    /// Counts how often reading began anew because the collector missed something.
    turn: u64,
    /// Streams that will never be read again.
    forget: Vec<StreamId>,
    has_unsaved: bool,
    /// Whether a file is to be read whose fingerprints are not on disk yet.
    has_unsaved_stream: bool,
    is_first_look: bool,
    /// When deleted files are let go of, and those that are.
    held: Held,
    spilling: BTreeSet<FileId>,
    folders: BTreeSet<PathBuf>,
    left_out: Vec<FileStatus>,
}

impl FileTail {
    /// The files of `config`, continuing from `saved`.
    pub(crate) fn new(
        config: &Config,
        resource: Vec<(String, String)>,
        positions: Positions,
        saved: Saved,
        shared: Arc<Shared>,
    ) -> Result<Self, globset::Error> {
        let fallback_service =
            resource.iter().find(|(key, _)| key == "service.name").map(|(_, name)| name.clone());
        let inputs = config.files.iter().map(|(name, settings)| {
            Ok(Input {
                name: name.clone(),
                settings: settings.clone(),
                globs: Globs::new(settings)?,
                chain: Chain::new(&ProcessSettings { time: settings.time, ..settings.process() }),
                bucket: Bucket::default(),
                is_first_start: !saved.inputs.contains(name),
            })
        });
        Ok(Self {
            inputs: inputs.collect::<Result<_, globset::Error>>()?,
            streams: Streams::default(),
            files: BTreeMap::new(),
            by_key: HashMap::new(),
            remembered: saved.files.into_iter().map(Remembered::from).collect(),
            positions,
            builder: BatchBuilder::new(resource, config.collector.batch as usize, Arc::clone(&shared.clock)),
            block: Vec::new(),
            shared,
            fallback_service,
            grace: Grace::default(),
            next_id: 0,
            committed: None,
            turn: 0,
            forget: Vec::new(),
            has_unsaved: true,
            has_unsaved_stream: false,
            is_first_look: true,
            held: Held::new(&config.spool),
            spilling: BTreeSet::new(),
            folders: BTreeSet::new(),
            left_out: Vec::new(),
        })
    }

    /// Folders that hold matching files, to be watched.
    pub(crate) const fn folders(&self) -> &BTreeSet<PathBuf> {
        &self.folders
    }

    /// Looks which files match now: opens new ones, lets go of old ones.
    pub(crate) fn reconcile(&mut self) {
        let now = self.shared.clock.monotonic();
        let mut present = BTreeSet::new();
        let mut unknown = Vec::new();
        self.left_out.clear();
        self.folders.clear();
        for at in 0..self.inputs.len() {
            let found = self.inputs[at].globs.find();
            self.folders.extend(found.folders);
            for (path, reason) in found.left_out {
                self.leave_out(at, &path, reason);
            }
            for path in found.files {
                self.look_at(at, path, &mut present, &mut unknown);
            }
        }
        self.mark_gone(&present, now);
        // Known files have their new names by now, and those of an earlier run are opened first, so that
        // a new file is compared with where they went.
        unknown.sort_by_key(|(_, _, stat)| !self.remembered.iter().any(|old| old.key == stat.key));
        for (at, path, stat) in unknown {
            if !self.by_key.contains_key(&stat.key)
                && let Err(error) = self.open(at, &path, now)
            {
                self.leave_out(at, &path, format!("cannot open: {error}"));
            }
        }
        if std::mem::take(&mut self.is_first_look) {
            self.find_missing(now);
            if self.committed.is_some() {
                self.first_start_is_over();
            }
        }
        self.settle_copies(now);
        self.close_finished(now);
    }

    /// What the collector has committed: reading may begin, behind it.
    pub(crate) fn place(&mut self, committed: Committed) {
        for old in &mut self.remembered {
            let at = committed.get(&stream_id(&old.key, old.generation)).copied().unwrap_or_default();
            old.resume = old.resume.max(at);
        }
        self.committed = Some(committed);
        if self.is_first_look {
            // Files that were there all the time, and not those that come meanwhile.
            return;
        }
        let ids: Vec<FileId> = self.files.keys().copied().collect();
        for id in ids {
            self.place_file(id);
        }
        self.first_start_is_over();
    }

    fn first_start_is_over(&mut self) {
        self.inputs.iter_mut().for_each(|input| input.is_first_start = false);
    }

    /// Chooses where an open file is read from.
    fn place_file(&mut self, id: FileId) {
        let Some(mut file) = self.files.remove(&id) else { return };
        let placed = FileStat::of(&file.file).and_then(|stat| self.choose_start(&mut file, &stat));
        match placed {
            Ok(()) => {
                file.is_placed = true;
                tracing::info!(path = %file.path.display(), offset = file.read.offset, "reading file");
            }
            Err(error) => file.problem = Some(format!("cannot read: {error}")),
        }
        self.files.insert(id, file);
        self.has_unsaved = true;
    }

    fn look_at(
        &mut self,
        at: usize,
        path: PathBuf,
        present: &mut BTreeSet<FileId>,
        unknown: &mut Vec<(usize, PathBuf, FileStat)>,
    ) {
        let stat = match FileStat::at(&path) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.leave_out(at, &path, format!("cannot look at it: {error}")),
        };
        if !stat.is_regular {
            return self.leave_out(at, &path, "no regular file".to_owned());
        }
        let Some(file) = self.by_key.get(&stat.key).and_then(|id| self.files.get_mut(id)) else {
            return unknown.push((at, path, stat));
        };
        if !present.insert(file.id) {
            let reason = format!("the same file as {}", file.path.display());
            return self.leave_out(at, &path, reason);
        }
        file.gone_since = None;
        file.is_finishing = false;
        if file.path != path {
            tracing::info!(from = %file.path.display(), to = %path.display(), "file was renamed");
            file.path = path;
            self.has_unsaved = true;
        }
    }

    fn leave_out(&mut self, at: usize, path: &Path, reason: String) {
        self.left_out.push(FileStatus {
            input: self.inputs[at].name.clone(),
            path: path.display().to_string(),
            inode: 0,
            generation: 0,
            size: 0,
            offset: 0,
            acked: 0,
            lag_bytes: 0,
            state: "not_read".to_owned(),
            reason: Some(reason),
        });
    }

    fn mark_gone(&mut self, present: &BTreeSet<FileId>, now: Duration) {
        for file in self.files.values_mut().filter(|file| !present.contains(&file.id)) {
            file.gone_since.get_or_insert(now);
        }
    }

    fn open(&mut self, at: usize, path: &Path, now: Duration) -> io::Result<()> {
        let opened = File::open(path)?;
        let stat = FileStat::of(&opened)?;
        if self.by_key.contains_key(&stat.key) {
            return Ok(());
        }
        let settings = &self.inputs[at].settings;
        let stream =
            Stream::new(path, settings.dialect, settings.service.clone(), self.fallback_service.as_deref());
        self.next_id += 1;
        let mut file = Tracked::new(self.next_id, &stat, at, path.to_path_buf(), stream, opened, now);
        file.first_size = self.is_first_look.then_some(stat.size);
        if self.inputs[at].settings.is_read_once {
            // Another stream than any that the file had or will have.
            file.generation = 1 << 31 | self.shared.clock.now().0 as u32 >> 1;
        }
        let id = file.id;
        self.by_key.insert(file.key, id);
        self.files.insert(id, file);
        self.has_unsaved = true;
        if self.committed.is_some() {
            self.place_file(id);
        }
        Ok(())
    }

    fn choose_start(&mut self, file: &mut Tracked, stat: &FileStat) -> io::Result<()> {
        if let Some(known) = self.recall(&stat.key) {
            file.generation = known.generation;
            if known.is_begun_in(&file.file, stat.size)? {
                file.continues = known.continues;
                file.rename_stream(&known.stream_path);
                return file.start_at(self.resume(&known));
            }
            self.note_truncation(&file.path, stat.size, known.resume);
            file.restart();
            self.remember(known);
            return Ok(());
        }
        let input = &self.inputs[file.input];
        let is_old = self.shared.clock.now().since(UnixNano(stat.born())) > YOUNG;
        let skips = match input.settings.start_at {
            StartAt::Beginning => false,
            StartAt::End => true,
            StartAt::Auto => is_old,
        };
        // Only what was there when an input is used for the very first time.
        match file.first_size.filter(|_| skips && input.is_first_start) {
            Some(size) => file.start_at(last_line_end(&file.file, size.min(stat.size))?),
            None => {
                file.copy_of = self.possible_copy(file, stat)?;
                Ok(())
            }
        }
    }

    /// Where a file of an earlier run goes on. A copy that went on where its original was left begins
    /// earlier when the last lines of the original never arrived.
    fn resume(&self, known: &Remembered) -> u64 {
        let Some((key, generation, began)) = known.continues.filter(|(_, _, began)| *began == known.resume)
        else {
            return known.resume;
        };
        let original = self.remembered.iter().find(|old| old.key == key && old.generation == generation);
        original.map_or(began, |original| original.resume.min(began))
    }

    /// Looks beside their old places for files that were renamed out of the globs while no agent ran.
    fn find_missing(&mut self, now: Duration) {
        let wanted: Vec<(FileKey, PathBuf, String)> = self
            .remembered
            .iter()
            .filter(|file| !file.is_closed && !self.by_key.contains_key(&file.key))
            .map(|file| (file.key, file.path.clone(), file.input.clone()))
            .collect();
        for (key, path, input) in wanted {
            let Some(at) = self.inputs.iter().position(|known| known.name == input) else { continue };
            let siblings = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
            let moved = siblings.into_iter().flatten().flatten().map(|entry| entry.path());
            let moved =
                moved.into_iter().find(|sibling| FileStat::at(sibling).is_ok_and(|stat| stat.key == key));
            let Some(moved) = moved else {
                self.shared.files_missing.fetch_add(1, Relaxed);
                tracing::warn!(path = %path.display(), "file is gone since the last run; its unread rest, if any, is lost");
                self.remembered.iter_mut().filter(|old| old.key == key).for_each(|old| old.is_closed = true);
                continue;
            };
            if let Err(error) = self.open(at, &moved, now) {
                tracing::warn!(path = %moved.display(), %error, "cannot open the rotated file");
            } else if let Some(file) = self.by_key.get(&key).and_then(|id| self.files.get_mut(id)) {
                file.gone_since = Some(now);
                file.rename_stream(&path);
            }
        }
    }

    /// Closes files that are gone, quiet, read and acknowledged.
    fn close_finished(&mut self, now: Duration) {
        let mut closing = Vec::new();
        for file in self.files.values_mut() {
            file.is_finishing = self.inputs[file.input].settings.is_read_once;
            let Some(gone_since) = file.gone_since else { continue };
            let grace = if file.links == 0 { self.grace.deleted } else { self.grace.renamed };
            let is_quiet = now.saturating_sub(gone_since.max(file.last_growth)) >= grace;
            // A file without a name never grows under a new writer: its last line may be taken as it is.
            file.is_finishing = is_quiet;
            if is_quiet && file.is_read() && file.acked.offset == file.read.offset && file.copy_of.is_none() {
                closing.push(file.id);
            }
        }
        for id in closing {
            if let Some(file) = self.files.remove(&id) {
                tracing::info!(path = %file.path.display(), bytes = file.read.offset, "rotated file is read and closed");
                self.by_key.remove(&file.key);
                let input = self.inputs[file.input].name.clone();
                self.remember(Remembered::of(&file, input));
                self.has_unsaved = true;
            }
        }
    }

    /// Reads every file until each has nothing more or the batch is full; whether anything was read.
    pub(crate) fn read(&mut self) -> bool {
        let mut has_read = false;
        self.settle();
        let ids = self.readable();
        // One block of each file in turn, so that a busy file does not keep the others waiting; but the
        // files of one stream one after the other, the oldest first.
        let mut active = ids;
        let mut busy = HashSet::new();
        while !active.is_empty() && !self.builder.is_full() {
            busy.clear();
            active.retain(|id| {
                let lane = self.files.get(id).map(|file| (file.input, file.lane));
                if lane.is_some_and(|lane| busy.contains(&lane)) {
                    return true;
                }
                let outcome = self.read_block(*id);
                has_read |= outcome == Outcome::Progress;
                busy.extend(lane.filter(|_| outcome != Outcome::Idle));
                outcome != Outcome::Idle
            });
        }
        self.bound_open_records();
        has_read || self.builder.is_full()
    }

    fn read_block(&mut self, id: FileId) -> Outcome {
        let Some(file) = self.files.get_mut(&id).filter(|file| file.is_placed && file.copy_of.is_none())
        else {
            return Outcome::Idle;
        };
        if self.builder.is_full() {
            return Outcome::Full;
        }
        let (before, generation) = (file.read.offset, file.generation);
        let now = self.shared.clock.monotonic();
        let Input { settings, chain, bucket, .. } = &mut self.inputs[file.input];
        let logical = self.streams.of(file.input, settings.format, &file.stream, chain);
        let (builder, flow) = (&mut self.builder, &self.shared.files);
        let mut take = |stream: &Stream, line: tracked::Line<'_>| {
            if builder.is_full() {
                return ControlFlow::Break(());
            }
            flow.entered(1, line.span);
            logical.take((id, generation), line, now, &mut |state, finished| {
                write(builder, flow, stream, finished, Processing { chain, state, bucket, now });
            });
            flow.dropped(DropReason::Joined, logical.take_joined_parts());
            ControlFlow::Continue(())
        };
        let outcome = file.read_lines(&mut self.block, now, &mut take);
        for (file, generation) in logical.take_released() {
            self.builder.touch(file, generation);
        }
        if file.read.offset > before {
            self.has_unsaved_stream |= !file.is_saved;
            self.builder.touch(id, generation);
        }
        match outcome {
            Ok(Outcome::Truncated) => {
                self.truncated(id);
                Outcome::Truncated
            }
            Ok(outcome) => {
                file.problem = None;
                outcome
            }
            Err(error) => {
                file.problem = Some(format!("cannot read: {error}"));
                Outcome::Idle
            }
        }
    }

    /// Ends records that waited long enough for another line, and windows of repetitions.
    pub(crate) fn settle(&mut self) {
        let now = self.shared.clock.monotonic();
        let Self { inputs, streams, builder, shared, .. } = self;
        for logical in streams.iter_mut() {
            let Input { chain, bucket, .. } = &mut inputs[logical.input];
            settle_stream(logical, builder, &shared.files, (chain, bucket), now, Some(now));
        }
    }

    /// Ends the open record of a file's stream, because no line of the file can follow.
    fn end_stream(&mut self, id: FileId) {
        let now = self.shared.clock.monotonic();
        let Some(file) = self.files.get(&id) else { return };
        let Input { settings, chain, bucket, .. } = &mut self.inputs[file.input];
        let logical = self.streams.of(file.input, settings.format, &file.stream, chain);
        settle_stream(logical, &mut self.builder, &self.shared.files, (chain, bucket), now, None);
    }

    /// When something waits that ends by itself.
    pub(crate) fn has_open(&self) -> bool {
        self.streams.has_open()
    }

    /// A file holds other bytes than were read: what was read is remembered, reading begins anew.
    fn truncated(&mut self, id: FileId) {
        self.end_stream(id);
        let Some(file) = self.files.get_mut(&id) else { return };
        let input = self.inputs[file.input].name.clone();
        let old = Remembered::of(file, input);
        let (path, size, offset) = (file.path.clone(), file.size, file.read.offset);
        file.restart();
        self.note_truncation(&path, size, offset);
        self.remember(old);
        self.has_unsaved = true;
    }

    fn note_truncation(&self, path: &Path, size: u64, offset: u64) {
        self.shared.truncations.fetch_add(1, Relaxed);
        tracing::info!(path = %path.display(), size, offset, "file was truncated; reading it from its beginning");
    }

    /// Whether lines wait in the batch under way, blank ones included.
    pub(crate) fn has_batch(&self) -> bool {
        self.builder.has_ranges()
    }

    /// Whether records wait in the batch under way.
    pub(crate) const fn has_records(&self) -> bool {
        self.builder.has_records()
    }

    /// Whether the batch under way should leave at once.
    pub(crate) const fn is_full(&self) -> bool {
        self.builder.is_full()
    }

    /// The batch under way; `None` when it holds neither records nor ranges.
    pub(crate) fn take_batch(&mut self) -> Option<Batch> {
        if !self.has_batch() {
            return None;
        }
        if self.has_unsaved_stream {
            self.has_unsaved = true;
            if let Err(error) = self.save() {
                tracing::error!(%error, "cannot save positions; after a crash now, lines may be sent again");
            }
        }
        let sections: Vec<_> = self.builder.sections().collect();
        let ranges = sections
            .into_iter()
            .map(|(file, generation, records)| self.range(file, generation, records))
            .collect();
        let batch = self.builder.finish(ranges, self.turn, std::mem::take(&mut self.forget));
        (batch.records > 0 || !batch.ranges.is_empty()).then_some(batch)
    }

    /// The tables that a batch's records come from, and how many of each, in their order.
    pub(crate) fn sources(&self, batch: &Batch) -> Vec<(String, u64)> {
        let source = |range: &Range| match self.files.get(&range.file) {
            Some(file) => self.inputs[file.input].name.clone(),
            None => {
                let old = self.remembered.iter().find(|old| old.is(range.file, range.generation));
                old.map(|old| old.input.clone()).unwrap_or_default()
            }
        };
        batch.ranges.iter().map(|range| (source(range), range.records)).collect()
    }

    /// Ends all open records when they hold more than they may: joined as far as they are.
    fn bound_open_records(&mut self) {
        let bytes: usize = self.streams.iter_mut().map(|stream| stream.open_bytes()).sum();
        if bytes <= OPEN_RECORDS_BYTES_MAX {
            return;
        }
        tracing::warn!(bytes, "too much waits to be joined; it leaves as it is");
        let now = self.shared.clock.monotonic();
        let Self { inputs, streams, builder, shared, .. } = self;
        for logical in streams.iter_mut() {
            let Input { chain, bucket, .. } = &mut inputs[logical.input];
            settle_stream(logical, builder, &shared.files, (chain, bucket), now, None);
        }
    }

    /// How far the records of a generation are finished: where it was read to, or where an open record
    /// begins.
    fn finished_mark(&self, id: FileId, generation: u32) -> Option<Mark> {
        let Some(file) = self.files.get(&id).filter(|file| file.generation == generation) else {
            return self.remembered.iter().find(|old| old.is(id, generation)).map(|old| old.read);
        };
        let Some(held) = self.streams.held(id, generation).filter(|held| *held < file.read.offset) else {
            return Some(file.read);
        };
        match Mark::at(&file.file, held) {
            Ok((mark, _)) => Some(mark),
            Err(error) => {
                tracing::warn!(path = %file.path.display(), %error, "cannot look at the bytes before an open record");
                None
            }
        }
    }

    /// What is finished of a file since its last range; `None` when nothing is.
    fn range(&mut self, file: FileId, generation: u32, records: u64) -> Option<Range> {
        let end = self.finished_mark(file, generation)?;
        let (key, sent) = match self.files.get_mut(&file).filter(|file| file.generation == generation) {
            Some(live) => (live.key, &mut live.sent),
            None => {
                let old = self.remembered.iter_mut().find(|old| old.is(file, generation))?;
                (old.key, &mut old.sent)
            }
        };
        if end.offset <= *sent {
            return None;
        }
        let start = std::mem::replace(sent, end.offset);
        Some(Range { file, generation, stream: stream_id(&key, generation), start, end, records })
    }

    /// Reads again what the collector missed; `false` when bytes of it are gone, and nothing changed.
    pub(crate) fn read_again(&mut self, told: &Told) -> bool {
        if self.remembered.iter().any(Remembered::is_unacknowledged) {
            return false;
        }
        let told: HashMap<StreamId, Option<u64>> = told.iter().copied().collect();
        let wanted = |file: &Tracked| {
            let asked = told.get(&stream_id(&file.key, file.generation)).copied().flatten();
            asked.unwrap_or(file.acked.offset)
        };
        let placed = |file: &&Tracked| file.is_placed && file.copy_of.is_none();
        if self.files.values().filter(placed).any(|file| wanted(file) > file.size_now()) {
            return false;
        }
        for file in self.files.values_mut().filter(|file| file.is_placed && file.copy_of.is_none()) {
            let at = wanted(file);
            if at == file.read.offset && at == file.acked.offset {
                continue;
            }
            tracing::warn!(path = %file.path.display(), from = file.read.offset, to = at, "reading from where the collector stands");
            if let Err(error) = file.start_at(at) {
                file.problem = Some(format!("cannot read: {error}"));
            }
        }
        let (records, bytes) = self.builder.content();
        self.shared.files.withdrawn(records + self.streams.forget_open(), bytes);
        self.builder.clear();
        self.turn += 1;
        self.has_unsaved = true;
        true
    }

    /// Moves positions over ranges that the collector acknowledged, or refused for good.
    pub(crate) fn acknowledge(&mut self, ranges: &[Range]) {
        for range in ranges {
            match self.files.get_mut(&range.file).filter(|file| file.generation == range.generation) {
                Some(file) => file.acked = range.end,
                None => {
                    if let Some(old) =
                        self.remembered.iter_mut().find(|old| old.is(range.file, range.generation))
                    {
                        old.acked = range.end;
                    }
                }
            }
        }
        self.has_unsaved |= !ranges.is_empty();
    }

    /// Saves positions when they moved; durable on return.
    pub(crate) fn save(&mut self) -> io::Result<()> {
        if !self.has_unsaved {
            return Ok(());
        }
        let inputs = self.inputs.iter().map(|input| input.name.clone()).collect();
        // A file that has no place yet stands as the last run left it.
        let placed = |file: &&Tracked| file.is_placed && file.copy_of.is_none();
        let open = self.files.values().filter(placed).map(|file| SavedFile {
            key: file.key,
            generation: file.generation,
            path: file.path.clone(),
            stream_path: PathBuf::from(&file.stream.file_path),
            input: self.inputs[file.input].name.clone(),
            is_closed: false,
            acked: file.acked,
            seen: file.read,
            continues: file.continues,
        });
        let files = open.chain(self.remembered.iter().map(Remembered::saved)).collect();
        self.positions.save(inputs, files)?;
        self.files.values_mut().filter(|file| file.read.offset > 0).for_each(|file| file.is_saved = true);
        (self.has_unsaved, self.has_unsaved_stream) = (false, false);
        Ok(())
    }

    /// Whether positions moved since they were saved.
    pub(crate) const fn has_unsaved(&self) -> bool {
        self.has_unsaved
    }

    /// Every matching file, and why the ones that are not read are not.
    pub(crate) fn status(&self) -> Vec<FileStatus> {
        let open = self.files.values().map(|file| {
            let waits = file.copy_of.map(|_| "may be a copy of a file that is read".to_owned());
            let waits = if file.is_placed {
                waits
            } else {
                Some("the collector has not said yet what it has".to_owned())
            };
            let state = match (&waits, file.gone_since) {
                (Some(_), _) => "waiting",
                (None, Some(_)) => "rotated",
                (None, None) => "reading",
            };
            FileStatus {
                input: self.inputs[file.input].name.clone(),
                path: file.path.display().to_string(),
                inode: file.key.inode,
                generation: file.generation,
                size: file.size,
                offset: file.read.offset,
                acked: file.acked.offset,
                lag_bytes: file.size.saturating_sub(file.acked.offset),
                state: state.to_owned(),
                reason: waits.or_else(|| file.problem.clone()),
            }
        });
        open.chain(self.left_out.iter().cloned()).collect()
    }
}

/// Writes a finished record and counts what became of its lines.
fn write(
    builder: &mut BatchBuilder,
    flow: &Flow,
    stream: &Stream,
    finished: Finished<'_>,
    processing: Processing<'_>,
) {
    if finished.lines > 1 {
        flow.dropped(DropReason::Joined, finished.lines - 1);
    }
    let (file, generation) = finished.place;
    builder.turn_to(file, generation);
    let record = Record { bytes: finished.bytes, piece: finished.piece, origin: finished.origin };
    if let Err(reason) = builder.push(stream, record, processing) {
        flow.dropped(reason, 1);
    }
    flow.entered(builder.take_summaries(), 0);
}

/// Ends what waited long enough in a stream, or everything when `until` is `None`.
fn settle_stream(
    logical: &mut LogicalStream,
    builder: &mut BatchBuilder,
    flow: &Flow,
    (chain, bucket): (&Chain, &mut Bucket),
    now: Duration,
    until: Option<Duration>,
) {
    let stream = logical.stream.clone();
    logical.settle(chain.repeat_window(), until, &mut |state, finished| {
        write(builder, flow, &stream, finished, Processing { chain, state, bucket, now });
    });
    flow.dropped(DropReason::Joined, logical.take_joined_parts());
    let (file, generation) = logical.place;
    builder.turn_to(file, generation);
    builder.push_summary(&stream, &mut logical.state);
    flow.entered(builder.take_summaries(), 0);
    for (file, generation) in logical.take_released() {
        builder.touch(file, generation);
    }
}

/// The name of a generation of a file in the position protocol.
pub(crate) fn stream_id(key: &FileKey, generation: u32) -> StreamId {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(b"file");
    bytes.extend_from_slice(&key.inode.to_le_bytes());
    bytes.extend_from_slice(&key.birth_time_unix_nano.unwrap_or(i64::MIN).to_le_bytes());
    let (major, minor) = key.device.unwrap_or_default();
    for number in [major, minor, generation] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    StreamId(xxhash_rust::xxh3::xxh3_128(&bytes).to_le_bytes())
}

/// Whether a path is one of a table's files.
pub(crate) fn matches(settings: &FileSettings, path: &Path) -> bool {
    Globs::new(settings).is_ok_and(|globs| globs.is_match(path))
}

/// The files that match now, and why some are left out.
pub(crate) fn matching(settings: &FileSettings) -> Matching {
    let found = match Globs::new(settings) {
        Ok(globs) => globs.find(),
        Err(_) => return Vec::new(),
    };
    let read = found.files.into_iter().map(|path| (path, None));
    read.chain(found.left_out.into_iter().map(|(path, reason)| (path, Some(reason)))).collect()
}

/// The offset behind the last line end of a file, looked for in its last block.
fn last_line_end(file: &File, size: u64) -> io::Result<u64> {
    let start = size.saturating_sub(LINE_BYTES_MAX as u64);
    let bytes = read_range(file, start, (size - start) as usize)?;
    Ok(memchr::memrchr(b'\n', &bytes).map_or(start, |newline| start + newline as u64 + 1))
}
