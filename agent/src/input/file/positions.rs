//! `positions.json`: how far each file was acknowledged, kept so that a crash at any moment leaves
//! the old or the new list, never a part (`whole`).

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use disk::RealFs;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use super::identity::{FileKey, Mark};
use crate::whole::replace;

const VERSION: u32 = 1;

/// One file's acknowledged position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedFile {
    #[serde(flatten)]
    pub(crate) key: FileKey,
    /// Counts truncations.
    pub(crate) generation: u32,
    /// Where it was last seen.
    pub(crate) path: PathBuf,
    /// The name its lines carry: where it was first seen.
    pub(crate) stream_path: PathBuf,
    /// Name of its `[files.NAME]` table.
    pub(crate) input: String,
    /// Nothing of it is left to be read: it was truncated, or rotated away and read to its end.
    #[serde(default)]
    pub(crate) is_closed: bool,
    /// It may be a copy of another file, and nothing of it was read.
    #[serde(default)]
    pub(crate) is_undecided: bool,
    #[serde(flatten)]
    pub(crate) acked: Mark,
    /// How far it was read: evidence that it is still the same file where the collector has more than
    /// was acknowledged here.
    pub(crate) seen: Mark,
    /// For a copy: the file and generation that has the bytes before the offset.
    #[serde(default)]
    pub(crate) continues: Option<(FileKey, u32, u64)>,
}

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    version: u32,
    /// `[files.NAME]` tables that were in use; a file of another one is at its very first start.
    pub(crate) inputs: Vec<String>,
    pub(crate) files: Vec<SavedFile>,
}

/// The place of the file.
#[derive(Debug)]
pub(crate) struct Positions {
    path: PathBuf,
}

impl Positions {
    /// In the data directory `folder`.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join("positions.json") }
    }

    /// Reads the list; an empty one when there is no file.
    pub(crate) fn load(&self) -> io::Result<Saved> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Saved::default()),
            Err(error) => return Err(error),
        };
        let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
        let saved: Saved = serde_json::from_slice(&bytes)
            .map_err(|error| invalid(format!("`{}`: {error}", self.path.display())))?;
        if saved.version != VERSION {
            let (path, version) = (self.path.display(), saved.version);
            return Err(invalid(format!("`{path}` has version {version}, this agent reads {VERSION}")));
        }
        Ok(saved)
    }

    /// Writes the list; it is durable on return.
    ///
    /// The files are written one by one: a list of a thousand would be held beside what it is made of.
    pub(crate) fn save(&self, inputs: &[&str], files: impl Iterator<Item = SavedFile>) -> io::Result<()> {
        replace(&RealFs, &self.path, |out| {
            let mut list = serde_json::Serializer::new(out);
            let mut list = list.serialize_struct("Saved", 3)?;
            list.serialize_field("version", &VERSION)?;
            list.serialize_field("inputs", inputs)?;
            list.serialize_field("files", &Each(Cell::new(Some(files))))?;
            Ok(list.end()?)
        })
    }
}

/// A list that is made while it is written.
struct Each<I>(Cell<Option<I>>);

impl<I: Iterator<Item = SavedFile>> Serialize for Each<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.take().into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_damage_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let positions = Positions::in_folder(folder.path());
        assert_eq!(positions.load().expect("none yet"), Saved::default());
        let file = SavedFile {
            key: FileKey { inode: 7, birth_time_unix_nano: Some(u32::MAX.into()), device: None },
            generation: 2,
            path: PathBuf::from("/l/a.log.1"),
            stream_path: PathBuf::from("/l/a.log"),
            input: "shop".to_owned(),
            is_closed: false,
            is_undecided: true,
            acked: Mark { offset: u64::MAX, ..Mark::default() },
            seen: Mark { offset: 3, ..Mark::default() },
            continues: Some((FileKey { inode: 8, birth_time_unix_nano: None, device: Some((1, 2)) }, 3, 4)),
        };
        positions.save(&["shop"], [file.clone()].into_iter()).expect("saved");
        assert_eq!(positions.load().expect("there").files, [file]);
        fs::write(folder.path().join("positions.json"), "{").expect("damaged");
        assert_eq!(positions.load().expect_err("damaged").kind(), io::ErrorKind::InvalidData);
    }
}
