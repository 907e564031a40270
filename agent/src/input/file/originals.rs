//! Which open files a new one may be a copy of, found without comparing each with each.
//!
//! By name: a copy is called as its original and something more ([`names::shortened`]), or is of its family. A family may be
//! a thousand files (`worker-0001.log` …), so there the beginning of the content decides who is compared: a copy has the
//! first bytes of its original.
//!
//! ```text
//! names     hash of a name  ─► files that have it, or had it at first
//! families  hash of family  ─► all its files
//!                              begins: (length 1, 2, 4 … 1024, hash of so many bytes) ─► files that begin so
//!                              strange: files that were truncated, which is not noticed yet
//! ```
//!
//! Invariant: of one round, in which files are judged one after another; the content of an original is asked once in it.
//! Who is found here is only compared: `copies` decides.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::identity::{HEAD_BYTES, read_range};
use super::names::{self, is_kin_of_one};
use super::tracked::{FileId, Tracked};

/// The files of one round by their names and beginnings.
#[derive(Debug, Default)]
pub(super) struct Originals {
    is_filled: bool,
    names: HashMap<u64, Vec<FileId>>,
    families: HashMap<u64, Family>,
}

/// Files whose names differ in numbers only.
#[derive(Debug, Default)]
struct Family {
    files: Vec<FileId>,
    contents: Option<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    begins: HashMap<(usize, u64), Vec<FileId>>,
    strange: Vec<FileId>,
}

impl Originals {
    /// Adds a file by the names that it has now.
    pub(super) fn add(&mut self, file: &Tracked) {
        if !self.is_filled || file.is_packed() {
            return;
        }
        let stream_path = Path::new(&file.stream.file_path);
        let paths = [&*file.path, stream_path].into_iter().take(if file.path == stream_path { 1 } else { 2 });
        for path in paths {
            let name = path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
            add_to(self.names.entry(hash_of(path, &name)).or_default(), file.id);
            if let Some(key) = family_of(path) {
                add_to(&mut self.families.entry(key).or_default().files, file.id);
            }
        }
    }

    /// Files that `new`, which begins with `begin`, may be a copy of. An empty file may be one of any: one of them is enough.
    pub(super) fn of(
        &mut self,
        files: &BTreeMap<FileId, Box<Tracked>>,
        new: &Tracked,
        begin: &[u8],
    ) -> io::Result<BTreeSet<FileId>> {
        if !std::mem::replace(&mut self.is_filled, true) {
            files.values().for_each(|file| self.add(file));
        }
        let named = names::shortened(&new.path).into_iter();
        let named = named.filter_map(|name| self.names.get(&hash_of(&new.path, name.as_bytes())));
        let mut found: BTreeSet<FileId> = named.flatten().copied().collect();
        let family = family_of(&new.path).and_then(|key| self.families.get_mut(&key));
        // Most files have a family of their own.
        if let Some(family) = family.filter(|family| family.files.iter().any(|id| *id != new.id)) {
            let is_original = |id: &&FileId| files.get(id).is_some_and(|file| may_be_original(file, new));
            let contents = family.contents(files)?;
            found.extend(&contents.strange);
            match lengths(begin.len()).last() {
                Some(len) => {
                    let same = contents.begins.get(&(len, xxh3_64(&begin[..len])));
                    found.extend(same.into_iter().flatten());
                }
                None => found.extend(family.files.iter().find(is_original)),
            }
        }
        found.retain(|id| files.get(id).is_some_and(|file| may_be_original(file, new)));
        Ok(found)
    }
}

/// Whether a file can be what `new` is a copy of, by its name and its age.
fn may_be_original(file: &Tracked, new: &Tracked) -> bool {
    // Of two that wait for each other the older one goes first.
    file.id != new.id
        && !(file.copy_of.is_some() && file.id > new.id)
        && !file.is_packed()
        && is_kin_of_one([&file.path, Path::new(&file.stream.file_path)], &new.path)
}

impl Family {
    fn contents(&mut self, files: &BTreeMap<FileId, Box<Tracked>>) -> io::Result<&Contents> {
        if self.contents.is_none() {
            let mut contents = Contents::default();
            for file in self.files.iter().filter_map(|id| files.get(id)) {
                if !file.read.holds_in(&file.file)? {
                    contents.strange.push(file.id);
                    continue;
                }
                let begin = read_range(&file.file, 0, HEAD_BYTES)?;
                for len in lengths(begin.len()) {
                    contents.begins.entry((len, xxh3_64(&begin[..len]))).or_default().push(file.id);
                }
            }
            self.contents = Some(contents);
        }
        Ok(self.contents.get_or_insert_default())
    }
}

/// The lengths at which beginnings are compared, up to `len`.
fn lengths(len: usize) -> impl Iterator<Item = usize> {
    (0..=HEAD_BYTES.ilog2()).map(|power| 1 << power).take_while(move |at| *at <= len)
}

fn add_to(ids: &mut Vec<FileId>, id: FileId) {
    if ids.last() != Some(&id) && !ids.contains(&id) {
        ids.push(id);
    }
}

/// Of a name in the folder of `path`.
fn hash_of(path: &Path, name: &[u8]) -> u64 {
    let folder = path.parent().map(|folder| folder.as_os_str().as_encoded_bytes()).unwrap_or_default();
    xxh3_64(&[folder, b"/", name].concat())
}

fn family_of(path: &Path) -> Option<u64> {
    let (stem, ending) = names::family(path)?;
    Some(hash_of(path, format!("{stem}\0{ending}").as_bytes()))
}
