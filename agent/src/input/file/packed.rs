//! Compressed rotated files: which of them were read before they were compressed, and reading the others.
//!
//! A rotation turns `app.log.1` into `app.log.2.gz`. By its inflated content it is recognised as a file that is
//! read, or was: then nothing of it is read twice. What nobody read is read once, one compressed file at a time.
//!
//! ```text
//! found ─► quiet for `Grace::copy` ─► looked through, 4 MiB a turn
//!   │        ├─ not sound ─► left out, until it changes
//!   │        ├─ content of a known file ─► wait until that one is done with ─► its rest, if there is one
//!   │        └─ else ─► read from its beginning
//!   └─ closed in an earlier run, or there before the very first start ─► left out
//! ```

mod judge;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::batch::Stream;
use super::gzip::{GzipReader, Probe};
use super::identity::{FileKey, FileStat, Mark};
use super::names;
use super::remembered::Remembered;
use super::tracked::Tracked;
use super::{FileTail, stream_id};
use crate::status::FileStatus;

/// Inflated bytes that are looked at in one turn.
const PROBE_BYTES: usize = 4 << 20;
/// Compressed files beside a missing one that are looked through, the newest first.
const SOUGHT_MAX: usize = 3;

/// A compressed file that is not read, or not yet.
#[derive(Debug)]
pub(super) struct Packed {
    input: usize,
    path: PathBuf,
    key: FileKey,
    /// Compressed.
    size: u64,
    modified: i64,
    /// When it was last seen to change.
    changed: Duration,
    /// One that is sought stays open, so that it is found whatever it is called meanwhile.
    held: Option<File>,
    /// Matched at the last look.
    is_present: bool,
    /// Not matched, but perhaps the rest of a file that went missing.
    is_sought: bool,
    /// Those files.
    missing: Vec<Original>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// To be looked through.
    Unknown,
    Looking {
        file: File,
        probe: Box<Probe>,
        originals: Vec<(Mark, Original)>,
    },
    /// It has the content of a file that is not done with.
    CopyOf {
        original: Original,
        end: Mark,
        /// It was open when it was found to have the same content.
        is_live: bool,
    },
    /// To be read from a position.
    Ready {
        at: u64,
        end: Mark,
        original: Option<Original>,
        /// See [`super::positions::SavedFile::continues`].
        continues: Option<(FileKey, u32, u64)>,
    },
    /// Nothing of it is left to be read, and why.
    Done(String),
    /// It cannot be read as it is.
    Bad(String),
}

/// A generation of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Original {
    key: FileKey,
    generation: u32,
}

impl Packed {
    /// Whether it was found by an input.
    pub(super) const fn is_of(&self, input: usize) -> bool {
        self.input == input
    }

    fn open(&self) -> io::Result<File> {
        match &self.held {
            Some(held) => held.try_clone(),
            None => File::open(&self.path),
        }
    }

    /// Lets go of the file when nothing more is done with it.
    fn settle(&mut self) {
        if matches!(self.stage, Stage::Done(_)) {
            self.held = None;
        }
    }

    /// Notes what it is like now; what changed is looked through again.
    fn note(&mut self, stat: &FileStat, now: Duration) {
        if (self.size, self.modified) != (stat.size, stat.modified) {
            (self.size, self.modified, self.changed) = (stat.size, stat.modified, now);
            self.stage = Stage::Unknown;
        }
    }

    /// Looks whether one that no pattern matches has changed: half of it may have been written when it was found.
    fn look_again(&mut self, now: Duration) {
        if let Some(stat) = self.held.as_ref().and_then(|held| FileStat::of(held).ok()) {
            self.note(&stat, now);
        }
    }

    /// Whether one that no pattern matches is still there.
    fn is_there(&self) -> bool {
        match &self.held {
            Some(held) => FileStat::of(held).is_ok_and(|stat| stat.links > 0),
            None => self.path.exists(),
        }
    }

    /// The missing file that it may be the rest of: this was written to while that one was there, or later. A program
    /// that compresses sets the time of what it made when it is done, so this is asked when it is whole.
    fn original(&self) -> Option<Original> {
        let is_later =
            |missing: &&Original| missing.key.birth_time_unix_nano.is_some_and(|born| self.modified >= born);
        self.missing.iter().find(is_later).copied()
    }
}

/// Whether a file is compressed, by its name.
pub(super) fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "gz")
}

impl FileTail {
    /// Before a look: nothing is present.
    pub(super) fn begin_packed_look(&mut self) {
        self.packed.values_mut().for_each(|packed| packed.is_present = false);
    }

    /// After a look: those that are gone are forgotten.
    pub(super) fn end_packed_look(&mut self) {
        self.packed.retain(|_, packed| packed.is_present || packed.is_sought && packed.is_there());
    }

    /// A compressed file was found that is not being read.
    pub(super) fn look_at_packed(&mut self, input: usize, path: PathBuf, stat: &FileStat) {
        let now = self.shared.clock.monotonic();
        let Some(packed) = self.packed.get_mut(&stat.key) else {
            return self.add_packed(input, path, stat, now, false);
        };
        if packed.is_present {
            let reason = format!("the same file as {}", packed.path.display());
            return self.leave_out(input, &path, reason);
        }
        (packed.is_present, packed.path) = (true, path);
        packed.note(stat, now);
    }

    fn add_packed(&mut self, input: usize, path: PathBuf, stat: &FileStat, now: Duration, is_sought: bool) {
        let newest =
            self.remembered.iter().filter(|old| old.key == stat.key).max_by_key(|old| old.generation);
        let is_old =
            self.inputs[input].is_first_look && self.skips_old(input, stat) && newest.is_none() && !is_sought;
        let stage = match newest {
            Some(old) if old.is_closed => Stage::Done("read already".to_owned()),
            None if is_old => Stage::Done("it was there before the first start".to_owned()),
            _ => Stage::Unknown,
        };
        if is_old {
            let end = Mark { offset: u64::MAX, ..Mark::default() };
            self.remember_packed(input, &path, stat.key, end);
        }
        let (key, size, modified) = (stat.key, stat.size, stat.modified);
        let packed = Packed {
            input,
            path,
            key,
            size,
            modified,
            changed: now,
            is_present: true,
            is_sought,
            held: None,
            missing: Vec::new(),
            stage,
        };
        self.packed.insert(key, packed);
    }

    /// Looks among the compressed files beside a missing one, the newest first, for what may be its rest; whether there is
    /// something.
    pub(super) fn seek_packed(
        &mut self,
        input: usize,
        missing: &Remembered,
        beside: &[(PathBuf, FileStat)],
        now: Duration,
    ) -> bool {
        let kin = beside.iter().filter(|(path, _)| names::may_be_packed_from(&missing.path, path));
        let found: Vec<_> = kin.collect();
        let is_matched = found.iter().any(|(_, stat)| self.packed.contains_key(&stat.key));
        let mut is_sought = false;
        for (path, stat) in found.into_iter().take(SOUGHT_MAX) {
            let is_done = self.remembered.iter().any(|old| old.key == stat.key && old.is_closed);
            let original = Original { key: missing.key, generation: missing.generation };
            let original =
                names::is_packed_rotation([&missing.path, &missing.stream_path], path).then_some(original);
            if let Some(packed) = self.packed.get_mut(&stat.key).filter(|packed| packed.is_sought) {
                packed.missing.extend(original);
            } else if !self.packed.contains_key(&stat.key) && !self.by_key.contains_key(&stat.key) && !is_done
            {
                self.add_packed(input, path.clone(), stat, now, true);
                if let Some(packed) = self.packed.get_mut(&stat.key) {
                    packed.missing.extend(original);
                    packed.held = File::open(&packed.path).ok();
                }
                is_sought = true;
            }
        }
        is_matched || is_sought
    }

    /// Looks further through compressed files and begins to read them; whether there is more to do now.
    pub(super) fn settle_packed(&mut self) -> bool {
        if self.committed.is_none() || self.packed.is_empty() {
            return false;
        }
        let keys: Vec<FileKey> = self.packed.keys().copied().collect();
        let mut is_busy = self.files.values().any(|file| file.is_packed());
        let mut is_looking = false;
        for key in keys {
            let Some(mut packed) = self.packed.remove(&key) else { continue };
            packed.look_again(self.shared.clock.monotonic());
            let may_look = !is_looking;
            let stage = std::mem::replace(&mut packed.stage, Stage::Unknown);
            packed.stage = self.next_stage(&packed, stage, may_look);
            is_looking |= matches!(packed.stage, Stage::Looking { .. });
            if let Stage::Ready { at, end, original, continues } = packed.stage
                && !is_busy
            {
                is_busy = true;
                match self.read_packed(&packed, at, end, original, continues) {
                    Ok(()) => continue,
                    Err(error) => packed.stage = Stage::Bad(format!("cannot read: {error}")),
                }
            }
            packed.settle();
            self.packed.insert(key, packed);
        }
        is_looking
    }

    fn next_stage(&mut self, packed: &Packed, stage: Stage, may_look: bool) -> Stage {
        let now = self.shared.clock.monotonic();
        match stage {
            Stage::Unknown if may_look && now.saturating_sub(packed.changed) >= self.grace.copy => {
                match self.begin_probe(packed) {
                    Ok(stage) => stage,
                    Err(error) => Stage::Bad(format!("cannot open: {error}")),
                }
            }
            Stage::Looking { file, mut probe, originals } => match probe.step(PROBE_BYTES) {
                Ok(None) => Stage::Looking { file, probe, originals },
                Ok(Some(probed)) => self.judge_packed(packed, &probed, &originals),
                Err(error) => Stage::Bad(format!("not a sound gzip file, perhaps still written: {error}")),
            },
            // It was truncated before that was noticed: whose content this is has to be asked again.
            Stage::CopyOf { original, is_live: true, .. } if self.is_outdated(original) => Stage::Unknown,
            Stage::CopyOf { original, end, .. } => self.judge_copy(packed, original, end),
            stage => stage,
        }
    }

    fn begin_probe(&self, packed: &Packed) -> io::Result<Stage> {
        let file = packed.open()?;
        let originals = self.originals(&packed.path)?;
        let probe = Probe::new(&file, originals.iter().map(|(mark, _)| *mark).collect())?;
        Ok(Stage::Looking { file, probe: Box::new(probe), originals })
    }

    fn remember_packed(&mut self, input: usize, path: &Path, key: FileKey, end: Mark) {
        let input = self.inputs[input].name.clone();
        self.remember(Remembered::packed(key, path, input, end));
        self.has_unsaved = true;
    }

    fn read_packed(
        &mut self,
        packed: &Packed,
        at: u64,
        end: Mark,
        original: Option<Original>,
        continues: Option<(FileKey, u32, u64)>,
    ) -> io::Result<()> {
        let opened = packed.open()?;
        let stat = FileStat::of(&opened)?;
        if stat.key != packed.key {
            return Err(io::Error::other("it was exchanged meanwhile"));
        }
        let settings = &self.inputs[packed.input].settings;
        let fallback = self.fallback_service.as_deref();
        let stream = Stream::new(&packed.path, settings.dialect, settings.service.clone(), fallback);
        let now = self.shared.clock.monotonic();
        self.next_id += 1;
        let mut file =
            Tracked::new(self.next_id, &stat, packed.input, packed.path.clone(), stream, opened, now);
        file.generation = self.first_generation(packed.input);
        file.unpack(GzipReader::new(&file.file)?, end.offset);
        file.continues = continues;
        let known = original.and_then(|original| {
            self.remembered
                .iter()
                .find(|old| (old.key, old.generation) == (original.key, original.generation))
        });
        if let Some(known) = known {
            file.rename_stream(&known.stream_path.clone());
        }
        file.start_at(at)?;
        file.is_placed = true;
        tracing::info!(path = %file.path.display(), offset = at, bytes = end.offset, "reading compressed file");
        self.by_key.insert(file.key, file.id);
        self.files.insert(file.id, Box::new(file));
        self.has_unsaved = true;
        Ok(())
    }

    /// A compressed file was read to its end and acknowledged.
    pub(super) fn packed_is_read(&mut self, file: &Tracked) {
        let Ok(stat) = FileStat::of(&file.file) else { return };
        let packed = Packed {
            input: file.input,
            path: file.path.clone(),
            key: file.key,
            size: stat.size,
            modified: stat.modified,
            changed: self.shared.clock.monotonic(),
            is_present: true,
            is_sought: file.gone_since.is_some(),
            held: None,
            missing: Vec::new(),
            stage: Stage::Done("read already".to_owned()),
        };
        self.packed.insert(file.key, packed);
    }

    /// What the collector has of a generation of a file.
    pub(super) fn committed_at(&self, key: &FileKey, generation: u32) -> Option<u64> {
        self.committed.as_ref()?.get(&stream_id(key, generation)).copied()
    }

    /// Why compressed files are not read.
    pub(super) fn packed_status(&self) -> impl Iterator<Item = FileStatus> + '_ {
        self.packed.values().map(|packed| {
            let (state, reason) = match &packed.stage {
                Stage::Unknown => {
                    ("waiting", "compressed; to be looked through when it stops changing".to_owned())
                }
                Stage::Looking { .. } => ("waiting", "compressed; being looked through".to_owned()),
                Stage::CopyOf { original, .. } => {
                    let live = self.by_key.get(&original.key).and_then(|id| self.files.get(id));
                    let path = live.map(|file| file.path.display().to_string()).unwrap_or_default();
                    ("not_read", format!("compressed; the same lines as {path}, which is read"))
                }
                Stage::Ready { .. } => {
                    ("waiting", "compressed; another compressed file is read first".to_owned())
                }
                Stage::Done(reason) => ("not_read", format!("compressed; {reason}")),
                Stage::Bad(reason) => ("not_read", format!("compressed; {reason}")),
            };
            FileStatus {
                input: self.inputs[packed.input].name.clone(),
                path: packed.path.display().to_string(),
                inode: packed.key.inode,
                generation: 0,
                size: packed.size,
                offset: 0,
                acked: 0,
                lag_bytes: 0,
                state: state.into(),
                reason: Some(reason),
            }
        })
    }
}
