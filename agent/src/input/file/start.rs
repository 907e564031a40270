//! Where a file is read from: behind what was acknowledged, behind a truncation, as `start_at` says, or
//! as the copy that it is.

use std::collections::HashSet;
use std::fs::File;
use std::io;

use model::UnixNano;
use model::time::SECOND;

use super::identity::{FileKey, FileStat, read_range};
use super::originals::Originals;
use super::remembered::Remembered;
use super::tracked::{FileId, LINE_BYTES_MAX, Tracked};
use super::{FileTail, stream_id};
use crate::config::StartAt;
use crate::export::session::Committed;

/// A file younger than this is read from its beginning by `start_at = "auto"`.
const YOUNG: i64 = 300 * SECOND;

/// Copies of copies that are followed back to their original.
const COPIES_MAX: usize = 16;

/// Generations of a file that are looked for among the collector's positions when the saved ones were lost.
const GENERATIONS_ASKED: u32 = 64;

impl FileTail {
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
        self.place_files(self.files.keys().copied().collect());
        self.remembered.shrink_to_fit();
        self.first_start_is_over();
    }

    /// Chooses where open files are read from: those of an earlier run first, so that a new file is compared with where
    /// they went.
    pub(super) fn place_files(&mut self, ids: Vec<FileId>) {
        let known: HashSet<FileKey> = self.remembered.iter().map(|old| old.key).collect();
        let is_known = |id: &FileId| self.files.get(id).is_some_and(|file| known.contains(&file.key));
        let (known, new): (Vec<FileId>, Vec<FileId>) = ids.into_iter().partition(is_known);
        let mut originals = Originals::default();
        known.into_iter().chain(new).for_each(|id| self.place_file(id, &mut originals));
    }

    pub(super) fn first_start_is_over(&mut self) {
        self.inputs.iter_mut().for_each(|input| input.is_first_start = false);
    }

    /// Chooses where an open file is read from.
    fn place_file(&mut self, id: FileId, originals: &mut Originals) {
        let Some(mut file) = self.files.remove(&id) else { return };
        let placed = FileStat::of(&file.file).and_then(|stat| self.choose_start(&mut file, &stat, originals));
        match placed {
            Ok(()) => {
                file.is_placed = true;
                tracing::info!(path = %file.path.display(), offset = file.read.offset, "reading file");
            }
            Err(error) => file.problem = Some(format!("cannot read: {error}")),
        }
        originals.add(&file);
        self.files.insert(id, file);
        self.has_unsaved = true;
    }

    fn choose_start(
        &mut self,
        file: &mut Tracked,
        stat: &FileStat,
        originals: &mut Originals,
    ) -> io::Result<()> {
        if let Some(known) = self.recall(&stat.key).filter(|known| !known.is_undecided) {
            file.generation = known.generation;
            if known.is_begun_in(&file.file, stat.size)? {
                let at = self.resume(&known);
                file.continues = known.continued_at(at);
                file.rename_stream(&known.stream_path);
                return file.start_at(at);
            }
            self.note_truncation(&file.path, stat.size, known.resume);
            file.restart();
            self.remember(known);
            return Ok(());
        }
        if self.resume_without_memory(file, stat)? {
            return Ok(());
        }
        // Only what was there when an input is used for the very first time.
        if let Some(size) = file.first_size.filter(|_| self.skips_old(file.input, stat)) {
            return file.start_at(last_line_end(&file.file, size.min(stat.size))?);
        }
        file.copy_of = self.possible_copy(file, stat, originals)?;
        if file.copy_of.is_none()
            && let Some(original) = self.rotated_from(&file.path)
        {
            // Rotated before it was ever seen.
            file.rename_stream(&original);
        }
        Ok(())
    }

    /// Whether `start_at` leaves out what a file holds that was there at the very first start of its input.
    pub(super) fn skips_old(&self, input: usize, stat: &FileStat) -> bool {
        let input = &self.inputs[input];
        let is_old = self.shared.clock.now().since(UnixNano(stat.born())) > YOUNG;
        input.is_first_start
            && match input.settings.start_at {
                StartAt::Beginning => false,
                StartAt::End => true,
                StartAt::Auto => is_old,
            }
    }

    /// Places a file that the collector knows and the saved positions do not: they were lost.
    fn resume_without_memory(&mut self, file: &mut Tracked, stat: &FileStat) -> io::Result<bool> {
        if self.inputs[file.input].settings.is_read_once {
            return Ok(false);
        }
        let newest = (0..GENERATIONS_ASKED)
            .rev()
            .find_map(|generation| self.committed_at(&file.key, generation).map(|at| (generation, at)));
        let Some((generation, at)) = newest else { return Ok(false) };
        file.generation = generation;
        // Positions stand behind line ends; without the fingerprints that is the evidence there is.
        let before = read_range(&file.file, at.saturating_sub(1), 1)?;
        if at <= stat.size && (at == 0 || before == b"\n") {
            file.start_at(at)?;
        } else {
            self.note_truncation(&file.path, stat.size, at);
            file.restart();
        }
        Ok(true)
    }

    /// Where a file of an earlier run goes on. A copy that went on where its original was left begins
    /// earlier when the last lines of the original never arrived; so does a copy of that copy.
    pub(super) fn resume(&self, known: &Remembered) -> u64 {
        let (mut at, mut copy) = (known.resume, known);
        for _ in 0..COPIES_MAX {
            let Some((key, generation, _)) = copy.continues.filter(|(_, _, began)| *began == copy.resume)
            else {
                break;
            };
            let is_it = |old: &&Remembered| old.key == key && old.generation == generation;
            let Some(original) = self.remembered.iter().find(is_it) else { break };
            at = at.min(original.resume);
            copy = original;
        }
        at
    }
}

/// The offset behind the last line end of a file, looked for in its last block.
pub(super) fn last_line_end(file: &File, size: u64) -> io::Result<u64> {
    let start = size.saturating_sub(LINE_BYTES_MAX as u64);
    let bytes = read_range(file, start, (size - start) as usize)?;
    Ok(memchr::memrchr(b'\n', &bytes).map_or(start, |newline| start + newline as u64 + 1))
}
