//! Exchanging `[files.NAME]` tables while the others are read: their files, positions and open records stay.
//!
//! ```text
//! table       its files
//! the same    untouched
//! changed     go on where they are, read as the new settings say; those that it no longer matches are let go of
//! gone        let go of: what was read is sent, positions stay, so that a table that names them goes on there
//! new         found by the next look; `start_at` holds as at a start
//! ```
//!
//! Invariants: the number of an input stays with its name for the run, so what refers to it stays right; a record that
//! is open under the old settings ends; a file that was let go of is opened again only when all that was read of it is
//! acknowledged, so that no line leaves twice.

use std::collections::BTreeMap;

use super::discover::Globs;
use super::identity::FileKey;
use super::reading::settle_stream;
use super::remembered::Remembered;
use super::tracked::{FileId, Tracked};
use super::{FileTail, Input};
use crate::config::FileSettings;

impl FileTail {
    /// Makes `tables` the ones that are read; the names of those that changed.
    ///
    /// # Errors
    /// When a glob is wrong; nothing changed then.
    pub(crate) fn exchange(
        &mut self,
        tables: &BTreeMap<String, FileSettings>,
    ) -> Result<Vec<String>, globset::Error> {
        let mut wanted = Vec::new();
        for (name, settings) in tables {
            let is_same = |input: &&Input| !input.is_removed && input.settings == *settings;
            if self.inputs.iter().find(|input| input.name == *name).filter(is_same).is_none() {
                wanted.push(Input::new(name.clone(), settings.clone(), true)?);
            }
        }
        let mut changed = Vec::new();
        for at in 0..self.inputs.len() {
            let input = &self.inputs[at];
            if !input.is_removed && !tables.contains_key(&input.name) {
                changed.push(input.name.clone());
                self.end_records(at);
                self.inputs[at].is_removed = true;
                self.let_go(at, false, |_, _| true);
            }
        }
        for input in wanted {
            changed.push(input.name.clone());
            match self.inputs.iter().position(|known| known.name == input.name) {
                Some(at) => self.replace(at, input),
                None => self.inputs.push(input),
            }
        }
        self.has_unsaved |= !changed.is_empty();
        Ok(changed)
    }

    fn replace(&mut self, at: usize, input: Input) {
        let was_removed = self.inputs[at].is_removed;
        if was_removed {
            self.inputs[at] = input;
            return;
        }
        self.end_records(at);
        let Input { is_first_start, is_first_look, .. } = self.inputs[at];
        self.inputs[at] = Input { is_first_start, is_first_look, ..input };
        let settings = &self.inputs[at].settings;
        for file in self.files.values_mut().filter(|file| file.input == at) {
            file.stream.dialect = settings.dialect;
            file.stream.service.clone_from(&settings.service);
        }
        self.let_go(at, true, |file, globs| file.gone_since.is_none() && !globs.is_match(&file.path));
    }

    /// Ends what is open in the streams of an input, as its settings are now.
    fn end_records(&mut self, at: usize) {
        let now = self.shared.clock.monotonic();
        let Self { inputs, streams, builder, shared, .. } = self;
        let Some(Input { chain, bucket, .. }) = inputs.get_mut(at) else { return };
        for mut logical in streams.take(at) {
            settle_stream(&mut logical, builder, &shared.files, (chain, bucket), now, None);
        }
    }

    /// Closes files of an input and keeps their positions. Those that are `left_out` are not looked for when they are
    /// renamed.
    fn let_go(&mut self, at: usize, left_out: bool, is_unwanted: impl Fn(&Tracked, &Globs) -> bool) {
        let input = &self.inputs[at];
        let unwanted = self.files.values().filter(|file| file.input == at);
        let ids: Vec<FileId> =
            unwanted.filter(|file| is_unwanted(file, &input.globs)).map(|file| file.id).collect();
        let name = input.name.clone();
        self.packed.retain(|_, packed| !packed.is_of(at));
        for id in ids {
            let Some(file) = self.files.remove(&id) else { continue };
            self.by_key.remove(&file.key);
            tracing::info!(path = %file.path.display(), offset = file.read.offset, "file is let go of");
            // What has no place yet stands as the last run left it.
            if file.is_placed {
                let is_undecided = file.copy_of.is_some();
                let old = Remembered { is_undecided, ..Remembered::of(&file, name.clone()) };
                if left_out {
                    self.remember(old);
                } else {
                    self.remembered.push_back(Remembered { is_closed: false, ..old });
                }
            }
        }
    }

    /// Whether all that was read of a file that was let go of is acknowledged.
    pub(super) fn may_open(&self, key: &FileKey) -> bool {
        !self.remembered.iter().any(|old| old.key == *key && old.is_unacknowledged())
    }
}
