//! What a batch covers, and what its answer does to positions.
//!
//! ```text
//! acked ≤ sent ≤ read          acked: moved by answers, saved to `positions.json`
//!   │      │      └ moved by reading                  sent: moved when a batch is taken
//!   └──────┴ a range: one batch, one generation of one file
//! ```

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use model::positions::StreamId;

use super::batch::{Batch, Range};
use super::identity::Mark;
use super::positions::SavedFile;
use super::remembered::Remembered;
use super::tracked::{FileId, Tracked};
use super::{FileTail, stream_id};
use crate::export::session::Told;

impl FileTail {
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

    /// How far the records of a generation are finished: where it was read to, or where an open record
    /// begins.
    fn finished_mark(&mut self, id: FileId, generation: u32) -> Option<Mark> {
        let Some(file) = self.files.get_mut(&id).filter(|file| file.generation == generation) else {
            return self.remembered.iter().find(|old| old.is(id, generation)).map(|old| old.read);
        };
        let Some(held) = self.streams.held(id, generation).filter(|held| *held < file.read.offset) else {
            return Some(file.read);
        };
        match file.mark_at(held) {
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
        let is_placed = |file: &Tracked| file.is_placed && file.copy_of.is_none();
        if self.files.values().any(|file| is_placed(file) && wanted(file) > file.size_now()) {
            return false;
        }
        for file in self.files.values_mut().filter(|file| is_placed(file)) {
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
        self.look_at_all();
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
        let inputs = self.inputs.iter().filter(|input| !input.is_removed);
        let inputs = inputs.map(|input| &*input.name).collect::<Vec<_>>();
        // A file that has no place yet stands as the last run left it.
        let open = self.files.values().filter(|file| file.is_placed).map(|file| SavedFile {
            key: file.key,
            generation: file.generation,
            path: file.path.clone(),
            stream_path: PathBuf::from(&file.stream.file_path),
            input: self.inputs[file.input].name.clone(),
            is_closed: false,
            is_undecided: file.copy_of.is_some(),
            acked: file.acked,
            seen: file.read,
            continues: file.continues,
        });
        let files = open.chain(self.remembered.iter().map(Remembered::saved));
        self.positions.save(&inputs, files)?;
        self.files.values_mut().for_each(|file| file.is_saved = file.read.has_whole_head());
        (self.has_unsaved, self.has_unsaved_stream) = (false, false);
        Ok(())
    }

    /// Whether positions moved since they were saved.
    pub(crate) const fn has_unsaved(&self) -> bool {
        self.has_unsaved
    }
}
