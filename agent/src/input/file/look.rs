//! Which files are open: what the globs find now, what was renamed or is gone, what is finished.
//!
//! Does not own: where a file is read from (`start`), whether it is a copy (`copies`).

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::batch::Stream;
use super::identity::{FileKey, FileStat};
use super::packed::is_packed;
use super::remembered::Remembered;
use super::tracked::{FileId, Tracked};
use super::{FileTail, Input};
use crate::status::FileStatus;

/// Descriptors that files leave to sockets, the spool and the rest.
const RESERVED_DESCRIPTORS: usize = 64;

/// A file that is not open.
#[derive(Debug)]
struct Unknown {
    input: usize,
    path: PathBuf,
    stat: FileStat,
    /// The name of its stream, when it was found beside its old place.
    was: Option<PathBuf>,
}

/// What lies in a folder, matched or not.
#[derive(Debug, Default)]
struct Folder {
    files: HashMap<FileKey, (PathBuf, FileStat)>,
    packed: Vec<(PathBuf, FileStat)>,
}

impl Folder {
    fn list(path: &Path) -> Self {
        let mut folder = Self::default();
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        for (path, stat) in entries.filter_map(|path| FileStat::at(&path).ok().map(|stat| (path, stat))) {
            if is_packed(&path) && stat.is_regular {
                folder.packed.push((path.clone(), stat));
            }
            folder.files.entry(stat.key).or_insert((path, stat));
        }
        folder.packed.sort_by_key(|(_, stat)| std::cmp::Reverse(stat.born()));
        folder
    }
}

impl FileTail {
    /// Looks which files match now: opens new ones, lets go of old ones.
    pub(crate) fn reconcile(&mut self) {
        let now = self.shared.clock.monotonic();
        let mut present = BTreeSet::new();
        let mut unknown = Vec::new();
        self.left_out.clear();
        self.folders.clear();
        self.names.clear();
        self.begin_packed_look();
        for at in (0..self.inputs.len()).filter(|at| !self.inputs[*at].is_removed).collect::<Vec<_>>() {
            let found = self.inputs[at].globs.find();
            for (path, reason) in &found.left_out {
                self.leave_out(at, path, reason.clone());
            }
            for path in found.paths() {
                self.look_at(at, path.clone(), found.links.contains(path), &mut present, &mut unknown);
            }
            self.folders.extend(found.folders);
            self.names.extend(found.files);
            self.names.extend(found.links);
        }
        self.end_packed_look();
        self.mark_gone(&present, now);
        if self.inputs.iter().any(|input| input.is_first_look && !input.is_removed) {
            self.find_missing(&mut unknown, now);
        }
        self.open_unknown(unknown, now);
        self.inputs.iter_mut().for_each(|input| input.is_first_look = false);
        self.is_first_look = false;
        if self.committed.is_some() {
            self.first_start_is_over();
        }
        self.settle_files();
    }

    /// What time alone decides of open files: which are no copies, which are finished.
    pub(crate) fn settle_files(&mut self) {
        let now = self.shared.clock.monotonic();
        self.settle_copies(now);
        self.close_finished(now);
    }

    fn look_at(
        &mut self,
        at: usize,
        path: PathBuf,
        is_link: bool,
        present: &mut BTreeSet<FileId>,
        unknown: &mut Vec<Unknown>,
    ) {
        let stat = match FileStat::at(&path) {
            Ok(stat) => stat,
            // Between being found and being looked at it was deleted.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_link => return,
            Err(error) => return self.leave_out(at, &path, why_not_looked_at(&error)),
        };
        if !stat.is_regular {
            return self.leave_out(at, &path, "no regular file".to_owned());
        }
        let Some(file) = self.by_key.get(&stat.key).and_then(|id| self.files.get_mut(id)) else {
            if is_packed(&path) {
                return self.look_at_packed(at, path, &stat);
            }
            let has_names = is_link || stat.links > 1;
            if let Some(other) = unknown.iter().find(|other| has_names && other.stat.key == stat.key) {
                let reason = same_as(&other.path);
                return self.leave_out(at, &path, reason);
            }
            return unknown.push(Unknown { input: at, path, stat, was: None });
        };
        let (is_own, is_same) = (file.input == at, file.path == path);
        let is_first = present.insert(file.id);
        if is_same && !is_own {
            let reason = read_by(&self.inputs[file.input].name);
            self.leave_out(at, &path, reason);
        } else if !is_first && !is_same {
            let reason = same_as(&file.path);
            self.leave_out(at, &path, reason);
        }
        if !is_first {
            return;
        }
        let Some(file) = self.by_key.get(&stat.key).and_then(|id| self.files.get_mut(id)) else { return };
        file.gone_since = None;
        file.is_finishing = file.is_packed();
        if file.path != path {
            tracing::info!(from = %file.path.display(), to = %path.display(), "file was renamed");
            file.path = path;
            self.has_unsaved = true;
        }
    }

    pub(super) fn leave_out(&mut self, at: usize, path: &Path, reason: String) {
        self.left_out.push(FileStatus {
            input: self.inputs[at].name.clone(),
            path: path.display().to_string(),
            inode: 0,
            generation: 0,
            size: 0,
            offset: 0,
            acked: 0,
            lag_bytes: 0,
            state: "not_read".into(),
            reason: Some(reason),
        });
    }

    fn mark_gone(&mut self, present: &BTreeSet<FileId>, now: Duration) {
        for file in self.files.values_mut().filter(|file| !present.contains(&file.id)) {
            file.gone_since.get_or_insert(now);
        }
    }

    fn open(&mut self, at: usize, path: &Path, now: Duration) -> io::Result<()> {
        if self.files.len() >= self.open_max {
            return Err(rustix::io::Errno::MFILE.into());
        }
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
        file.first_size = self.inputs[at].is_first_look.then_some(stat.size);
        file.generation = self.first_generation(at);
        let id = file.id;
        self.by_key.insert(file.key, id);
        self.files.insert(id, Box::new(file));
        self.has_unsaved = true;
        Ok(())
    }

    /// Opens files, the older parts of a stream before the newer ones, and chooses where they are read from.
    /// Known files have their new names by now.
    fn open_unknown(&mut self, unknown: Vec<Unknown>, now: Duration) {
        let mut opened = Vec::new();
        for Unknown { input, path, stat, was } in self.in_order(unknown) {
            if let Some(file) = self.by_key.get(&stat.key).and_then(|id| self.files.get(id)) {
                if was.is_none() && file.input != input {
                    let reason = read_by(&self.inputs[file.input].name);
                    self.leave_out(input, &path, reason);
                }
                continue;
            }
            if !self.may_open(&stat.key) {
                let reason = "what was read of it under other settings is not acknowledged yet".to_owned();
                self.leave_out(input, &path, reason);
            } else if let Err(error) = self.open(input, &path, now) {
                self.leave_out(input, &path, why_not_opened(&error));
            } else if let Some(file) = self.by_key.get(&stat.key).and_then(|id| self.files.get_mut(id)) {
                opened.push(file.id);
                if let Some(was) = was {
                    file.gone_since = Some(now);
                    file.rename_stream(&was);
                }
            }
        }
        if self.committed.is_some() {
            self.place_files(opened);
        }
    }

    /// Files in the order in which they were written: those of an earlier run as it read them, the others before the
    /// first of these that is younger.
    fn in_order(&self, unknown: Vec<Unknown>) -> Vec<Unknown> {
        let mut turns: HashMap<FileKey, usize> = HashMap::new();
        for (at, old) in self.remembered.iter().enumerate() {
            turns.entry(old.key).or_insert(at);
        }
        // Births are coarse: of two files born at once, the one with the higher number is the older one.
        let by_age = |a: &Unknown, b: &Unknown| {
            a.stat.born().cmp(&b.stat.born()).then_with(|| natural_order(&b.path, &a.path))
        };
        let (mut known, mut new): (Vec<_>, Vec<_>) =
            unknown.into_iter().partition(|file| turns.contains_key(&file.stat.key));
        known.sort_by_key(|file| turns.get(&file.stat.key).copied());
        new.sort_by(by_age);
        let mut all = Vec::with_capacity(known.len() + new.len());
        let mut new = new.into_iter().peekable();
        for file in known {
            all.extend(std::iter::from_fn(|| new.next_if(|new| by_age(new, &file).is_lt())));
            all.push(file);
        }
        all.extend(new);
        all
    }

    /// Looks beside their old places for files that were renamed out of the globs while no agent ran.
    fn find_missing(&mut self, unknown: &mut Vec<Unknown>, now: Duration) {
        let here: HashSet<FileKey> = unknown.iter().map(|file| file.stat.key).collect();
        let wanted: Vec<Remembered> = self
            .remembered
            .iter()
            .filter(|file| !file.is_closed && !here.contains(&file.key))
            .filter(|file| !self.by_key.contains_key(&file.key) && !self.packed.contains_key(&file.key))
            .cloned()
            .collect();
        let mut folders: HashMap<PathBuf, Folder> = HashMap::new();
        for missing in wanted {
            let (key, path) = (missing.key, &missing.path);
            let is_it =
                |known: &Input| known.name == missing.input && known.is_first_look && !known.is_removed;
            let Some(input) = self.inputs.iter().position(is_it) else { continue };
            let parent = path.parent().unwrap_or(path);
            let folder = folders.entry(parent.to_path_buf()).or_insert_with(|| Folder::list(parent));
            if let Some((path, stat)) = folder.files.get(&key) {
                let (path, was) = (path.clone(), Some(missing.stream_path));
                unknown.push(Unknown { input, path, stat: *stat, was });
                continue;
            }
            if self.seek_packed(input, &missing, &folder.packed, now) {
                continue;
            }
            self.shared.files_missing.fetch_add(1, Relaxed);
            tracing::warn!(path = %path.display(), "file is gone since the last run; its unread rest, if any, is lost");
            self.remembered.iter_mut().filter(|old| old.key == key).for_each(|old| old.is_closed = true);
        }
    }

    /// The generation that files of an input begin with. Where files are read once more, it makes another stream than
    /// any that the file had or will have.
    pub(super) fn first_generation(&self, input: usize) -> u32 {
        if self.inputs[input].settings.is_read_once {
            1 << 31 | self.shared.clock.now().0 as u32 >> 1
        } else {
            0
        }
    }

    /// Closes files that are gone, quiet, read and acknowledged.
    fn close_finished(&mut self, now: Duration) {
        let mut closing = Vec::new();
        for file in self.files.values_mut() {
            file.is_finishing = file.is_packed() || self.inputs[file.input].settings.is_read_once;
            if file.is_packed() {
                if file.is_read() && file.acked.offset == file.read.offset {
                    closing.push(file.id);
                }
                continue;
            }
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
                tracing::info!(path = %file.path.display(), bytes = file.read.offset, "file is read and closed");
                self.by_key.remove(&file.key);
                if file.is_packed() {
                    self.packed_is_read(&file);
                }
                let input = self.inputs[file.input].name.clone();
                self.remember(Remembered::of(&file, input));
                self.has_unsaved = true;
            }
        }
    }
}

/// The order of names in which `app.log.9` comes before `app.log.10`.
fn natural_order(one: &Path, other: &Path) -> Ordering {
    natural_parts(one).cmp(natural_parts(other))
}

/// A name as its texts and numbers.
fn natural_parts(path: &Path) -> impl Iterator<Item = (u64, &[u8])> {
    let parts = path.as_os_str().as_encoded_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    // What is too long for a number is a text.
    parts.map(|part| match str::from_utf8(part).ok().and_then(|digits| digits.parse().ok()) {
        Some(number) => (number, &b""[..]),
        None => (0, part),
    })
}

/// How many files may be open under the limit of this process.
pub(super) fn open_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    limit.saturating_sub(RESERVED_DESCRIPTORS).max(RESERVED_DESCRIPTORS / 4)
}

/// Said of a file that another table reads.
pub(super) fn read_by(table: &str) -> String {
    format!("[files.{table}] reads it")
}

/// Said of another name of a file that is read.
pub(super) fn same_as(path: &Path) -> String {
    format!("the same file as {}", path.display())
}

/// Said of what is there by its name only.
pub(super) fn why_not_looked_at(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "a link whose target is not there".to_owned(),
        _ => format!("cannot look at it: {error}"),
    }
}

/// What a person can do about a file that cannot be opened.
pub(super) fn why_not_opened(error: &io::Error) -> String {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    let is = |errno: Errno| code == Some(errno.raw_os_error());
    if is(Errno::MFILE) || is(Errno::NFILE) {
        "too many open files: raise the agent's limit (LimitNOFILE=)".to_owned()
    } else if is(Errno::ACCESS) || is(Errno::PERM) {
        "no permission to read it: add the agent's user to the file's group".to_owned()
    } else {
        format!("cannot open: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names = ["a.log.10", "a.log", "a.log.9", "a.log.2.gz", "a.log.2"].map(Path::new);
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["a.log", "a.log.2", "a.log.2.gz", "a.log.9", "a.log.10"].map(Path::new));
    }

    #[test]
    fn a_file_that_cannot_be_opened_says_what_to_do() {
        for (code, part) in [(13, "no permission"), (24, "LimitNOFILE="), (5, "cannot open: ")] {
            let reason = why_not_opened(&io::Error::from_raw_os_error(code));
            assert!(reason.contains(part) && crate::status::is_problem(&reason), "{reason}");
        }
    }
}
