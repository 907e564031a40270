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
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::identity::{FileKey, FileStat, HEAD_BYTES, Mark, TAIL_BYTES, read_range};
use super::packed::is_packed;
use super::positions::SavedFile;
use super::start::last_line_end;
use super::tracked::{CopyOf, FileId, Tracked, lane_of};
use super::{FileTail, REMEMBERED_MAX, stream_id};

/// A generation of a file that is no longer read.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    /// Number in this run; `None` for one of an earlier run.
    pub(super) id: Option<FileId>,
    pub(super) key: FileKey,
    pub(super) generation: u32,
    pub(super) path: PathBuf,
    /// See [`SavedFile::stream_path`].
    pub(super) stream_path: PathBuf,
    pub(super) input: String,
    pub(super) read: Mark,
    pub(super) acked: Mark,
    /// Where reading goes on: what is acknowledged, by what is saved or by what the collector says.
    pub(super) resume: u64,
    /// How far it went into batches of this run.
    pub(super) sent: u64,
    /// See [`SavedFile::continues`].
    pub(super) continues: Option<(FileKey, u32, u64)>,
    /// Nothing of it is left to be read. `false` for an open file of an earlier run.
    pub(super) is_closed: bool,
    /// See [`SavedFile::is_undecided`].
    pub(super) is_undecided: bool,
}

impl From<SavedFile> for Remembered {
    fn from(saved: SavedFile) -> Self {
        Self {
            id: None,
            key: saved.key,
            generation: saved.generation,
            path: saved.path,
            stream_path: saved.stream_path,
            input: saved.input,
            read: saved.seen,
            acked: saved.acked,
            resume: saved.acked.offset,
            sent: saved.acked.offset,
            continues: saved.continues,
            is_closed: saved.is_closed,
            is_undecided: saved.is_undecided,
        }
    }
}

impl Remembered {
    /// Of a file as it stands, which is closed or truncated.
    pub(super) fn of(file: &Tracked, input: String) -> Self {
        Self {
            id: Some(file.id),
            key: file.key,
            generation: file.generation,
            path: file.path.clone(),
            stream_path: PathBuf::from(&file.stream.file_path),
            input,
            read: file.read,
            acked: file.acked,
            resume: file.read.offset,
            sent: file.sent,
            continues: file.continues,
            is_closed: true,
            is_undecided: false,
        }
    }

    /// A compressed file of which nothing is left to be read.
    pub(super) fn packed(key: FileKey, path: &Path, input: String, end: Mark) -> Self {
        Self {
            id: None,
            key,
            generation: 0,
            path: path.to_path_buf(),
            stream_path: path.to_path_buf(),
            input,
            read: end,
            acked: end,
            resume: end.offset,
            sent: end.offset,
            continues: None,
            is_closed: true,
            is_undecided: false,
        }
    }

    /// Of a file that was deleted and is held open, for the comparison with one restored in its place.
    fn restorable(file: &Tracked) -> Self {
        Self::of(file, String::new())
    }

    /// Whether a new file at `path` is this one restored from a backup, if their bytes agree: with less
    /// evidence than a whole head, files that only begin alike would be taken for each other.
    /// A time of change before the birth is evidence as well: a restoring program set it.
    fn is_restored_as(&self, path: &Path, stat: &FileStat) -> bool {
        let is_named = self.path == path || self.is_kin_of(path);
        is_named
            && self.read.offset > 0
            && (self.read.offset >= HEAD_BYTES as u64 || stat.modified < stat.born())
    }

    /// What it continues when it is read from `at`: what lies behind is its own from then on.
    pub(super) fn continued_at(&self, at: u64) -> Option<Origin> {
        self.continues.map(|(key, generation, began)| (key, generation, began.min(at)))
    }

    /// Whether `path` is a name that a rotation gives to it.
    fn is_kin_of(&self, path: &Path) -> bool {
        is_kin_of_one([&self.path, &self.stream_path], path)
    }

    /// Whether this is that generation of that file.
    pub(super) fn is(&self, id: FileId, generation: u32) -> bool {
        self.id == Some(id) && self.generation == generation
    }

    /// What is kept on disk of it.
    pub(super) fn saved(&self) -> SavedFile {
        SavedFile {
            key: self.key,
            generation: self.generation,
            path: self.path.clone(),
            stream_path: self.stream_path.clone(),
            input: self.input.clone(),
            is_closed: self.is_closed,
            is_undecided: self.is_undecided,
            acked: self.acked,
            seen: self.read,
            continues: self.continues,
        }
    }

    /// Whether `file`, of `size` bytes, is the file this was and not another content in its place: the
    /// bytes before how far it was read are the same. Bytes that a power failure took are forgiven when
    /// there is enough evidence before them.
    pub(super) fn is_begun_in(&self, file: &File, size: u64) -> io::Result<bool> {
        if size < self.resume {
            return Ok(false);
        }
        Ok(self.read.holds_in(file)?
            || self.acked.offset >= HEAD_BYTES as u64 && self.acked.holds_in(file)?)
    }

    /// Whether lines of this run were read that the collector has not acknowledged.
    pub(super) fn is_unacknowledged(&self) -> bool {
        self.id.is_some() && self.acked.offset < self.read.offset
    }
}

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

/// The generation of a file that holds the bytes before an offset as its own, and the offset.
pub(super) type Origin = (FileKey, u32, u64);

impl FileTail {
    /// Takes the newest generation of a file out of memory.
    pub(super) fn recall(&mut self, key: &FileKey) -> Option<Remembered> {
        let newest = self.remembered.iter().enumerate().filter(|(_, old)| old.key == *key);
        let (at, _) = newest.max_by_key(|(_, old)| old.generation)?;
        self.remembered.remove(at)
    }

    /// Keeps a generation of a file that is no longer read; beyond the limit the oldest is forgotten.
    pub(super) fn remember(&mut self, old: Remembered) {
        self.remembered.push_back(Remembered { is_closed: true, ..old });
        let mut excess = self.remembered.len().saturating_sub(REMEMBERED_MAX);
        let (packed, forget) = (&self.packed, &mut self.forget);
        self.remembered.retain(|old| {
            // A compressed file that is still there would be taken for a new one.
            let is_kept = excess == 0 || packed.contains_key(&old.key);
            if !is_kept {
                excess -= 1;
                forget.push(stream_id(&old.key, old.generation));
            }
            is_kept
        });
    }

    /// Whether a new file has to wait, because it may be a copy.
    pub(super) fn possible_copy(&self, file: &Tracked, stat: &FileStat) -> io::Result<Option<CopyOf>> {
        let since = self.shared.clock.monotonic();
        let copy = CopyOf { size: stat.size, verified: None, since };
        Ok((self.judge(file, copy, since)? != Verdict::Own).then_some(copy))
    }

    /// Decides about files that wait.
    pub(super) fn settle_copies(&mut self, now: Duration) {
        let waiting: Vec<FileId> =
            self.files.values().filter(|file| file.copy_of.is_some()).map(|file| file.id).collect();
        for id in waiting {
            let Some((file, copy)) = self.files.get(&id).and_then(|file| Some((file, file.copy_of?))) else {
                continue;
            };
            let verdict = self.judge(file, copy, now);
            let original = self.rotated_from(&file.path);
            if let Some(file) = self.files.get_mut(&id) {
                apply(verdict, file, copy, original);
                self.has_unsaved = true;
            }
        }
    }

    /// The name that a rotation made `path` of, one that matches or of a known stream: its lines belong to that stream.
    pub(super) fn rotated_from(&self, path: &Path) -> Option<PathBuf> {
        let live = self.files.values().map(|file| Path::new(&file.stream.file_path));
        let known = live.chain(self.remembered.iter().map(|old| &*old.stream_path));
        let mut names = self.names.iter().map(PathBuf::as_path).chain(known);
        names.find(|name| is_rotation(name, path)).map(Path::to_path_buf)
    }

    /// Files that wait to be judged and may be older parts of a stream: newer parts are not read before them.
    pub(super) fn undecided(&self) -> HashMap<(usize, u64), FileId> {
        let mut first = HashMap::new();
        let is_undecided = |copy: CopyOf| copy.verified.is_none();
        for file in self.files.values().filter(|file| file.copy_of.is_some_and(is_undecided)) {
            if file.size_now() == 0 {
                continue;
            }
            let lane =
                self.rotated_from(&file.path).map_or(file.lane, |name| lane_of(&name.to_string_lossy()));
            first.entry((file.input, lane)).or_insert(file.id);
        }
        first
    }

    /// The verdict over all kin: going on beats waiting, waiting beats reading it all.
    fn judge(&self, file: &Tracked, copy: CopyOf, now: Duration) -> io::Result<Verdict> {
        let stat = FileStat::of(&file.file)?;
        let size = stat.size;
        let is_over = now.saturating_sub(copy.since) >= self.grace.copy;
        let mut waits = None;
        let is_named_so = |known: &Tracked| {
            known.path == file.path
                || is_kin_of_one([&known.path, Path::new(&known.stream.file_path)], &file.path)
        };
        let held = self.files.values().filter(|known| known.gone_since.is_some() && is_named_so(known));
        // Only older ones: of two copies of one file, one goes first.
        let held = held.filter(|known| known.id < file.id && !known.is_packed());
        for known in held.clone() {
            // What is left of the deleted file is read there first.
            let has_rest = size > 0 && known.read.offset < known.size_now();
            if has_rest && same_at(file, known, 0, size.min(HEAD_BYTES as u64))? {
                return Ok(Verdict::Wait(None));
            }
        }
        let held: Vec<_> = held.map(Remembered::restorable).collect();
        let restored =
            held.iter().chain(&self.remembered).filter(|old| old.is_restored_as(&file.path, &stat));
        let kin = self.remembered.iter().filter(|old| old.read.offset > 0 && old.is_kin_of(&file.path));
        let mut goes_on: Option<(u64, Origin)> = None;
        for (old, is_kin) in restored.map(|old| (old, false)).chain(kin.map(|old| (old, true))) {
            match judge_gone(file, size, old, (copy, is_over), self.resume(old))? {
                // Of several that agree, the one that arrived furthest.
                Verdict::GoOn(at, origin) if goes_on.is_none_or(|(best, _)| at > best) => {
                    goes_on = Some((at, origin));
                }
                Verdict::Wait(is_same) if is_kin => waits = Some(waits.flatten().or(is_same)),
                _ => {}
            }
        }
        if let Some((at, origin)) = goes_on {
            return Ok(Verdict::GoOn(at, origin));
        }
        for original in self.files.values().filter(|known| {
            // Of two that wait for each other the older one goes first.
            known.id != file.id
                && !(known.copy_of.is_some() && known.id > file.id)
                && !known.is_packed()
                && is_kin_of_one([&known.path, Path::new(&known.stream.file_path)], &file.path)
        }) {
            if let Verdict::Wait(is_same) = judge_live(file, size, original, copy, is_over)? {
                waits = Some(waits.flatten().or(is_same));
            }
        }
        Ok(waits.map_or(Verdict::Own, Verdict::Wait))
    }
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

/// The original was not found truncated yet.
fn judge_live(
    file: &Tracked,
    size: u64,
    original: &Tracked,
    copy: CopyOf,
    is_over: bool,
) -> io::Result<Verdict> {
    let original_size = FileStat::of(&original.file)?.size;
    if original_size < original.read.offset || !original.read.holds_in(&original.file)? {
        // Truncated, and not yet noticed by reading: the next look knows.
        return Ok(Verdict::Wait(None));
    }
    if size == 0 && !is_over {
        return Ok(Verdict::Wait(None));
    }
    if size == 0 || size > original_size || is_over && size != copy.size {
        return Ok(Verdict::Own);
    }
    let is_same = same_at(file, original, 0, size.min(HEAD_BYTES as u64))?
        && same_at(file, original, size.saturating_sub(TAIL_BYTES as u64), size)?;
    Ok(if is_same { Verdict::Wait(Some((size, original.id))) } else { Verdict::Own })
}

fn same_at(a: &Tracked, b: &Tracked, from: u64, to: u64) -> io::Result<bool> {
    let len = (to - from) as usize;
    Ok(read_range(&a.file, from, len)? == read_range(&b.file, from, len)?)
}

/// The original was truncated, closed, or known in an earlier run only.
fn judge_gone(
    file: &Tracked,
    size: u64,
    old: &Remembered,
    (copy, is_over): (CopyOf, bool),
    resume: u64,
) -> io::Result<Verdict> {
    let go_on = |at: u64| Verdict::GoOn(at, (old.key, old.generation, at));
    if size >= old.read.offset {
        return Ok(if old.read.holds_in(&file.file)? { go_on(resume.min(size)) } else { Verdict::Own });
    }
    let is_of_it = |(verified, original): (u64, FileId)| verified == size && old.id == Some(original);
    if size > 0 && copy.verified.is_some_and(is_of_it) {
        // The original went on after the copy was made, and was read further than the copy reaches. A line without its
        // end is no evidence: when it goes on, it is one of a file of its own.
        return Ok(go_on(last_line_end(&file.file, size)?));
    }
    let first = read_range(&file.file, 0, (size as usize).min(HEAD_BYTES))?;
    let may_become_same = first.len() < old.read.head.len as usize || old.read.head.begins(&first);
    // Still being copied, perhaps.
    Ok(if may_become_same && !is_over { Verdict::Wait(None) } else { Verdict::Own })
}

/// Whether `new` is a name that a rotation gives to `original`: in the same folder,
/// `app.log` → `app.log.1`, `app.log-20261121`, `app-20261121.log`, `app.1.log`; or that of `app.log.2.gz` unpacked.
fn is_kin(original: &Path, new: &Path) -> bool {
    if is_packed(original) {
        let unpacked = original.with_extension("");
        return unpacked == new || is_kin(&unpacked, new);
    }
    added(original, new).is_some()
}

/// Whether `new` is kin of the name that a file has, or of the one it had at first: both may have moved on since.
fn is_kin_of_one(names: [&Path; 2], new: &Path) -> bool {
    names.iter().any(|name| is_kin(name, new) || *name != new && is_of_one_family(name, new))
}

/// Whether two files of a folder differ in number, date and compression only: `app.log.1` and `app.log.2.gz`.
fn is_of_one_family(one: &Path, other: &Path) -> bool {
    family(one).is_some_and(|one| family(other) == Some(one)) && one.parent() == other.parent()
}

/// A name without compression, number and date, as what stands before its ending, and the ending.
fn family(path: &Path) -> Option<(&str, &str)> {
    let name = path.file_name()?.to_str()?;
    let name = without_count(name.strip_suffix(".gz").unwrap_or(name));
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    Some((without_count(stem), ending))
}

/// A text without `.1`, `-20261121` or the like at its end.
fn without_count(text: &str) -> &str {
    let mut kept = text;
    loop {
        let rest = kept.trim_end_matches(|letter: char| letter.is_ascii_digit() || "TZ:".contains(letter));
        let shorter = rest.trim_end_matches(['.', '-', '_']);
        if shorter.is_empty() || shorter.len() == rest.len() || rest.len() == kept.len() {
            return kept;
        }
        kept = shorter;
    }
}

/// Whether `new` is a name that a rotation gives to the compressed form of `original`.
pub(super) fn may_be_packed_from(original: &Path, new: &Path) -> bool {
    let unpacked = new.with_extension("");
    original == unpacked || is_kin_of_one([original, original], &unpacked)
}

/// Whether `new` is a name that a rotation gives to the compressed form of this file, by numbers and dates only.
pub(super) fn is_packed_rotation(old: &Remembered, new: &Path) -> bool {
    let unpacked = new.with_extension("");
    [&old.path, &old.stream_path]
        .into_iter()
        .any(|name| *name == unpacked || is_rotation(name, &unpacked) || is_of_one_family(name, &unpacked))
}

/// Whether `new` is `original` with a number or a date: the same stream, rotated.
pub(super) fn is_rotation(original: &Path, new: &Path) -> bool {
    let is_counted = |added: &str| {
        let is_part = |byte: u8| byte.is_ascii_digit() || b".-_:TZ".contains(&byte);
        added.bytes().all(is_part) && added.bytes().any(|byte| byte.is_ascii_digit())
    };
    added(original, new).is_some_and(is_counted)
}

/// What a name has more than another one of the same folder: behind it, or before its ending.
fn added<'a>(original: &Path, new: &'a Path) -> Option<&'a str> {
    if original == new || original.parent() != new.parent() {
        return None;
    }
    let (old, new) = (original.file_name()?.to_str()?, new.file_name()?.to_str()?);
    let extends = |rest: &&str| rest.starts_with(['.', '-', '_']) && rest.len() > 1;
    if let Some(rest) = new.strip_prefix(old).filter(extends) {
        return Some(rest);
    }
    let (stem, ending) = old.rsplit_once('.')?;
    let between = new.strip_prefix(stem)?.strip_suffix(ending)?.strip_suffix('.')?;
    Some(between).filter(extends).filter(|between| between.bytes().any(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_rotation_gives_are_kin() {
        let kin = |old: &str, new: &str| is_kin(&Path::new("/l").join(old), &Path::new("/l").join(new));
        for new in ["app.log.1", "app.log-20261121", "app-20261121.log", "app.1.log", "app.log.1.old"] {
            assert!(kin("app.log", new), "{new}");
        }
        for new in ["app.log", "b.log", "app.logs", "app2.log", "app-errors.log", "app.log."] {
            assert!(!kin("app.log", new), "{new}");
        }
        assert!(!kin("app.log.1", "app.log"));
        assert!(kin("app.log.2.gz", "app.log.2") && !kin("app.log.2.gz", "app.log"));
        let rotated = |new: &str| is_rotation(Path::new("/l/app.log"), &Path::new("/l").join(new));
        assert!(["app.log.1", "app.log-20261121", "app.log.20261124-100000"].into_iter().all(rotated));
        assert!(!rotated("app.log.err2") && !rotated("app.log.1.old"));
        for name in ["app.log", "app.log.1", "app.log.2.gz", "app-2026-11-21.log", "app.log-20261121T10.gz"] {
            assert_eq!(family(Path::new(name)), Some(("app", "log")), "{name}");
        }
        assert_eq!(family(Path::new("app2.log")), Some(("app2", "log")));
        assert_eq!(family(Path::new("2026.log")), Some(("2026", "log")));
        assert!(!is_kin(Path::new("/l/app.log"), Path::new("/m/app.log.1")));
    }
}
