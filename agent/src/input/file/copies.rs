//! Files that were read before under another identity: closed ones, truncated ones, and copies.
//!
//! `copytruncate` copies `app.log` to `app.log.1` and truncates `app.log`. When the globs match the
//! copy too, it must be read from where the original was left, not from its beginning. The copy may be
//! seen before the truncation or after it, and before it is complete. So a new file whose name extends
//! a known file's name in the same folder, and which begins with the same bytes, waits:
//!
//! ```text
//! original still as it was ── copy differs, outgrows it, or grows on ─► a file of its own, from 0
//!                          └─ else ─► wait
//! original truncated or gone at R ── bytes before R are the same ─► go on at R
//!                          ├─ copy is shorter, and was seen to be the same ─► read already, up to its last line end
//!                          └─ else, after a grace ─► a file of its own, from 0
//! ```
//!
//! While a part of a stream waits, newer parts are not read, so that lines keep their order; of two that wait for each other
//! the older one goes first. What a copy goes on behind may not have arrived yet: it is remembered what it continues, and
//! a restart follows that back to the file whose lines never arrived.
//!
//! A file restored from a backup under its old name goes on where the lost one was left, if it is at
//! least as long as a whole head. When in doubt a line is sent twice, never lost.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::FileTail;
use super::identity::{FileStat, Fingerprint, HEAD_BYTES, Mark, TAIL_BYTES, read_range};
use super::names::{self, is_kin_of_one};
use super::originals::Originals;
use super::remembered::{Origin, Remembered};
use super::start::last_line_end;
use super::tracked::{CopyOf, FileId, Tracked, lane_of};

/// What to do with a file that may be a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Not known yet. When it is a copy of a live file's bytes as far as it goes: how far, and of which.
    Wait(Option<(u64, FileId)>),
    /// Read from the beginning: a file of its own.
    Own,
    /// Go on at this offset: the bytes before it were read in the original, and may not have arrived yet.
    GoOn(u64, Origin),
}

impl FileTail {
    /// Whether a new file has to wait, because it may be a copy.
    pub(super) fn possible_copy(
        &self,
        file: &Tracked,
        stat: &FileStat,
        originals: &mut Originals,
    ) -> io::Result<Option<CopyOf>> {
        let since = self.shared.clock.monotonic();
        let copy = CopyOf { size: stat.size, verified: None, since };
        Ok((self.judge(file, copy, since, originals)? != Verdict::Own).then_some(copy))
    }

    /// Decides about files that wait.
    pub(super) fn settle_copies(&mut self, now: Duration) {
        let waiting: Vec<FileId> =
            self.files.values().filter(|file| file.copy_of.is_some()).map(|file| file.id).collect();
        let mut originals = Originals::default();
        for id in waiting {
            let Some((file, copy)) = self.files.get(&id).and_then(|file| Some((file, file.copy_of?))) else {
                continue;
            };
            let verdict = self.judge(file, copy, now, &mut originals);
            let original = self.rotated_from(&file.path);
            if let Some(file) = self.files.get_mut(&id) {
                apply(verdict, file, copy, original);
                originals.add(file);
                self.has_unsaved = true;
            }
        }
    }

    /// The name that a rotation made `path` of, one that matches or of a known stream: its lines belong to that stream.
    pub(super) fn rotated_from(&self, path: &Path) -> Option<PathBuf> {
        let names = names::rotated_from(path);
        let is_known = |name: &&PathBuf| {
            let text = name.to_str();
            self.files.values().any(|file| Some(&*file.stream.file_path) == text)
                || self.remembered.iter().any(|old| old.stream_path == **name)
        };
        let matching = names.iter().find(|name| self.names.contains(*name));
        matching.or_else(|| names.iter().find(is_known)).cloned()
    }

    /// Files that wait to be judged and may be older parts of a stream: newer parts are not read before them.
    pub(super) fn undecided(&self) -> HashMap<(usize, u64), FileId> {
        let mut first = HashMap::new();
        for (file, copy) in self.files.values().filter_map(|file| Some((file, file.copy_of?))) {
            let size = file.size_now();
            // A copy as far as it went once, and grown since, may be no copy.
            if size == 0 || copy.verified.is_some_and(|(verified, _)| verified == size) {
                continue;
            }
            let lane =
                self.rotated_from(&file.path).map_or(file.lane, |name| lane_of(&name.to_string_lossy()));
            first.entry((file.input, lane)).or_insert(file.id);
        }
        first
    }

    /// The verdict over all kin: going on beats waiting, waiting beats reading it all.
    fn judge(
        &self,
        file: &Tracked,
        copy: CopyOf,
        now: Duration,
        originals: &mut Originals,
    ) -> io::Result<Verdict> {
        let is_over = now.saturating_sub(copy.since) >= self.grace.copy;
        let mut new = Candidate::new(file, copy, is_over)?;
        let held = self.held_before(&mut new);
        for known in &held {
            // What is left of the deleted file is read there first.
            let has_rest = new.stat.size > 0 && known.read.offset < known.size_now();
            if has_rest && same_at(file, known, 0, new.begin.len() as u64)? {
                return Ok(Verdict::Wait(None));
            }
        }
        let mut goes_on = None;
        for old in held.into_iter().map(Remembered::restorable) {
            self.judge_restored(&mut new, &old, &mut goes_on)?;
        }
        for old in &self.remembered {
            self.judge_restored(&mut new, old, &mut goes_on)?;
        }
        let mut waits = None;
        for old in &self.remembered {
            if new.may_begin_as(&old.read) && old.is_kin_of(&file.path) {
                match new.judge_gone(old, self.resume(old))? {
                    Verdict::GoOn(at, origin) => take_furthest(&mut goes_on, old, at, origin),
                    Verdict::Wait(is_same) => waits = Some(waits.flatten().or(is_same)),
                    Verdict::Own => {}
                }
            }
        }
        for original in originals.of(&self.files, file, &new.begin)? {
            let Some(original) = self.files.get(&original) else { continue };
            let verdict = new.judge_live(original)?;
            let Verdict::Wait(is_same) = verdict else { continue };
            match &goes_on {
                // An open file that shares more with it knows better.
                Some(gone) if new.shared_with(original, is_same)? > gone.shared => return Ok(verdict),
                Some(_) => {}
                None => waits = Some(waits.flatten().or(is_same)),
            }
        }
        match goes_on {
            Some(GoneOn { at, origin, .. }) => Ok(Verdict::GoOn(at, origin)),
            None => Ok(waits.map_or(Verdict::Own, Verdict::Wait)),
        }
    }

    /// Deleted files that are held open, of which a new one may be a copy. Only older ones: of two copies of one file, one
    /// goes first.
    fn held_before(&self, new: &mut Candidate<'_>) -> Vec<&Tracked> {
        let mut held = Vec::new();
        for known in self.files.range(..new.file.id).map(|(_, known)| &**known) {
            if known.gone_since.is_some()
                && !known.is_packed()
                && (known.read.offset == 0 || new.may_begin_as(&known.read))
                && is_named_as(known, &new.file.path)
            {
                held.push(known);
            }
        }
        held
    }

    fn judge_restored(
        &self,
        new: &mut Candidate<'_>,
        old: &Remembered,
        goes_on: &mut Option<GoneOn>,
    ) -> io::Result<()> {
        if new.may_begin_as(&old.read)
            && old.is_restored_as(&new.file.path, &new.stat)
            && let Verdict::GoOn(at, origin) = new.judge_gone(old, self.resume(old))?
        {
            take_furthest(goes_on, old, at, origin);
        }
        Ok(())
    }
}

/// A file that is gone and whose content a new one has.
struct GoneOn {
    at: u64,
    origin: Origin,
    /// How many bytes of it are known to be the same.
    shared: u64,
}

/// Of several that agree, the one that arrived furthest.
fn take_furthest(goes_on: &mut Option<GoneOn>, old: &Remembered, at: u64, origin: Origin) {
    if goes_on.as_ref().is_none_or(|best| at > best.at) {
        *goes_on = Some(GoneOn { at, origin, shared: old.read.offset });
    }
}

fn is_named_as(known: &Tracked, path: &Path) -> bool {
    known.path == path || is_kin_of_one([&known.path, Path::new(&known.stream.file_path)], path)
}

/// A file that may be a copy, as it is now.
struct Candidate<'a> {
    file: &'a Tracked,
    stat: FileStat,
    copy: CopyOf,
    /// It was watched for long enough.
    is_over: bool,
    /// Its first bytes, at most as many as identify a file.
    begin: Vec<u8>,
    /// Of its first bytes, by how many they are.
    known: Vec<Fingerprint>,
}

impl<'a> Candidate<'a> {
    fn new(file: &'a Tracked, copy: CopyOf, is_over: bool) -> io::Result<Self> {
        let stat = FileStat::of(&file.file)?;
        let begin = read_range(&file.file, 0, (stat.size as usize).min(HEAD_BYTES))?;
        Ok(Self { file, stat, copy, is_over, begin, known: Vec::new() })
    }

    /// Whether it begins as the file of a position does, as far as it goes; of one where nothing was read nothing is known.
    fn may_begin_as(&mut self, read: &Mark) -> bool {
        let len = read.head.len as usize;
        if len == 0 || len > self.begin.len() {
            return len > 0;
        }
        let known = self.known.iter().find(|known| known.len as usize == len).copied();
        let own = known.unwrap_or_else(|| {
            let own = Fingerprint::of(&self.begin[..len]);
            self.known.push(own);
            own
        });
        own == read.head
    }

    /// How many bytes it is known to have in common with an open file: all it has, or those that were read of one that is
    /// truncated.
    fn shared_with(&self, original: &Tracked, is_same: Option<(u64, FileId)>) -> io::Result<u64> {
        Ok(match is_same {
            Some((size, _)) => size,
            None if original.read.holds_in(&self.file.file)? => original.read.offset,
            None => 0,
        })
    }

    /// The original was not found truncated yet.
    fn judge_live(&self, original: &Tracked) -> io::Result<Verdict> {
        let (size, is_over) = (self.stat.size, self.is_over);
        let original_size = FileStat::of(&original.file)?.size;
        if original_size < original.read.offset || !original.read.holds_in(&original.file)? {
            // Truncated, and not yet noticed by reading: the next look knows.
            return Ok(Verdict::Wait(None));
        }
        if size == 0 && !is_over {
            return Ok(Verdict::Wait(None));
        }
        if size == 0 || size > original_size || is_over && size != self.copy.size {
            return Ok(Verdict::Own);
        }
        let is_same = same_at(self.file, original, 0, size.min(HEAD_BYTES as u64))?
            && same_at(self.file, original, size.saturating_sub(TAIL_BYTES as u64), size)?;
        Ok(if is_same { Verdict::Wait(Some((size, original.id))) } else { Verdict::Own })
    }

    /// The original was truncated, closed, or known in an earlier run only.
    fn judge_gone(&self, old: &Remembered, resume: u64) -> io::Result<Verdict> {
        let (file, size) = (&self.file.file, self.stat.size);
        let go_on = |at: u64| Verdict::GoOn(at, (old.key, old.generation, at));
        if size >= old.read.offset {
            return Ok(if old.read.holds_in(file)? { go_on(resume.min(size)) } else { Verdict::Own });
        }
        let is_of_it = |(verified, original): (u64, FileId)| verified == size && old.id == Some(original);
        if size > 0 && self.copy.verified.is_some_and(is_of_it) {
            // The original went on after the copy was made, and was read further than the copy reaches. A line without its
            // end is no evidence: when it goes on, it is one of a file of its own.
            return Ok(go_on(last_line_end(file, size)?));
        }
        let may_become_same =
            self.begin.len() < old.read.head.len as usize || old.read.head.begins(&self.begin);
        // Still being copied, perhaps.
        Ok(if may_become_same && !self.is_over { Verdict::Wait(None) } else { Verdict::Own })
    }
}

fn same_at(a: &Tracked, b: &Tracked, from: u64, to: u64) -> io::Result<bool> {
    let len = (to - from) as usize;
    Ok(read_range(&a.file, from, len)? == read_range(&b.file, from, len)?)
}

fn apply(verdict: io::Result<Verdict>, file: &mut Tracked, copy: CopyOf, original: Option<PathBuf>) {
    let started = match verdict {
        Ok(Verdict::Wait(is_same)) => {
            file.copy_of = Some(CopyOf { verified: is_same.or(copy.verified), ..copy });
            return;
        }
        Ok(Verdict::Own) => {
            if let Some(original) = original {
                file.rename_stream(&original);
            }
            Ok(())
        }
        Ok(Verdict::GoOn(offset, origin)) => {
            tracing::info!(path = %file.path.display(), offset, "file is a copy; going on where its original was left");
            file.continues = Some(origin);
            file.start_at(offset)
        }
        Err(error) => Err(error),
    };
    file.copy_of = None;
    if let Err(error) = started {
        file.problem = Some(format!("cannot read: {error}"));
    }
}
