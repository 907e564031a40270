//! What a compressed file turns out to be once it was looked through: a copy of what is read or was, its rest, or a file that
//! nobody read.

use std::io;
use std::path::Path;

use super::{Original, Packed, Stage};
use crate::input::file::gzip::Probed;
use crate::input::file::identity::{FileKey, HEAD_BYTES, Mark};
use crate::input::file::start::last_line_end;
use crate::input::file::{FileTail, names};

impl FileTail {
    /// Positions of files that `path` may be the compressed form of.
    pub(super) fn originals(&self, path: &Path) -> io::Result<Vec<(Mark, Original)>> {
        let mut found = Vec::new();
        let related = |mark: &Mark, names: [&Path; 2]| {
            let is_kin = names.iter().any(|name| names::may_be_packed_from(name, path));
            let is_beside = names.iter().any(|name| name.parent() == path.parent());
            mark.offset > 0 && (is_kin || is_beside && mark.offset >= HEAD_BYTES as u64)
        };
        for live in self.files.values().filter(|live| !live.is_packed()) {
            let names = [&*live.path, Path::new(&live.stream.file_path)];
            let original = Original { key: live.key, generation: live.generation };
            // Half a line is no evidence: the next file may begin with it.
            let whole = Mark::at(&live.file, last_line_end(&live.file, live.size_now())?)?.0;
            found.extend(
                [live.read, whole]
                    .into_iter()
                    .filter(|mark| related(mark, names))
                    .map(|mark| (mark, original)),
            );
        }
        for old in &self.remembered {
            let original = Original { key: old.key, generation: old.generation };
            let names = [&*old.path, &*old.stream_path];
            let marks = [old.read, old.acked].into_iter();
            found.extend(marks.filter(|mark| related(mark, names)).map(|mark| (mark, original)));
        }
        Ok(found)
    }

    pub(super) fn judge_packed(
        &mut self,
        packed: &Packed,
        probed: &Probed,
        originals: &[(Mark, Original)],
    ) -> Stage {
        let end = probed.end;
        // Its own reading was under way when the last run ended.
        if let Some(known) = self.recall(&packed.key) {
            let at = self.resume(&known).min(end.offset);
            return Stage::Ready { at, end, original: None, continues: known.continued_at(at) };
        }
        if let Some(at) = self.committed_at(&packed.key, self.first_generation(packed.input)) {
            return Stage::Ready { at: at.min(end.offset), end, original: None, continues: None };
        }
        // Of several with this content the one that shares most of it; when that is not read any more, the one that arrived
        // furthest.
        let same = originals.iter().filter(|(mark, _)| probed.found.contains(mark));
        let most = same.clone().max_by_key(|(mark, original)| (mark.offset, self.reached(*original)));
        let furthest = same.filter(|(_, original)| !self.is_live(*original));
        let furthest = furthest.max_by_key(|(_, original)| self.reached(*original));
        match most.filter(|(_, original)| self.is_live(*original)).or(furthest) {
            // It was truncated, or read further, while this was looked through: to be asked again.
            Some((mark, original)) if !self.has_mark(mark, *original) => Stage::Unknown,
            Some((_, original)) => self.judge_copy(packed, *original, end),
            // What nobody read, and was written after the missing file began: all that came after a truncation, or a
            // file that came and went while no agent ran.
            None => match packed.original() {
                None if packed.is_sought => {
                    Stage::Done("other content than that of a missing file".to_owned())
                }
                original => Stage::Ready { at: 0, end, original, continues: None },
            },
        }
    }

    /// Whether a generation of a file is open.
    pub(super) fn is_live(&self, original: Original) -> bool {
        let Original { key, generation } = original;
        self.files.values().any(|live| live.key == key && live.generation == generation)
    }

    /// How far a file was delivered; one that is being read will be to its end.
    pub(super) fn reached(&self, original: Original) -> u64 {
        let is_it = |key: FileKey, generation: u32| (key, generation) == (original.key, original.generation);
        if self.is_live(original) {
            return u64::MAX;
        }
        let old = self.remembered.iter().filter(|old| is_it(old.key, old.generation));
        old.map(|old| self.resume(old)).max().unwrap_or_default()
    }

    /// What is left of a file whose content is that of `original`.
    pub(super) fn judge_copy(&mut self, packed: &Packed, original: Original, end: Mark) -> Stage {
        let is_it = |key: FileKey, generation: u32| (key, generation) == (original.key, original.generation);
        if self.files.values().any(|live| is_it(live.key, live.generation)) {
            return Stage::CopyOf { original, end, is_live: true };
        }
        let Some(old) = self.remembered.iter().find(|old| is_it(old.key, old.generation)) else {
            return Stage::Unknown;
        };
        if old.is_unacknowledged() {
            return Stage::CopyOf { original, end, is_live: false };
        }
        let at = self.resume(old);
        if at >= end.offset {
            let reason = format!("read already, as {}", old.path.display());
            self.remember_packed(packed.input, &packed.path, packed.key, end);
            return Stage::Done(reason);
        }
        Stage::Ready { at, end, original: Some(original), continues: Some((old.key, old.generation, at)) }
    }

    /// Whether a position is still one of a file, or was one of its last.
    pub(super) fn has_mark(&self, mark: &Mark, original: Original) -> bool {
        let is_it = |key: FileKey, generation: u32| (key, generation) == (original.key, original.generation);
        self.files.values().any(|live| is_it(live.key, live.generation))
            || self
                .remembered
                .iter()
                .any(|old| is_it(old.key, old.generation) && [old.read, old.acked].contains(mark))
    }

    /// Whether a newer generation of a file is known.
    pub(super) fn is_outdated(&self, original: Original) -> bool {
        let Original { key, generation } = original;
        self.files.values().any(|live| live.key == key && live.generation > generation)
            || self.remembered.iter().any(|old| old.key == key && old.generation > generation)
    }
}
