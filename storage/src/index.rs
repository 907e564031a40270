//! The identity index of a segment: for every id its rows carry, and every trace, which rows those are.
//!
//! A group is what stands together on disk: neighbouring spans or log records of one trace, or one record without a
//! trace. Of metric points it is one point that has exemplars with a trace. A *posting*
//! says that a group carries a term:
//!
//! ```text
//! ids/ids.idx   groups       rows                in the order of the rows: group 0 has the first of them
//!               link         key, group …        traces and spans that spans link to
//!               order_id     key, group …        what the id rules found, each kind by itself
//!               trace_id     key, group …        every group with a trace; of points, the traces of exemplars
//!               │            └ sorted by key, in blocks of 128 (`blocks`)
//!               └ kinds, sorted by name
//! ```
//!
//! Terms stand as *keys*: 52 bits of the hash under which the head finds them too ([`crate::rows::term_hash`]). A term
//! that is looked for has the key of another of its kind once in 4·10⁹ look-ups for each million of them; what is found is
//! compared with the rows wherever it matters that it is right (deletes).
//!
//! Indexes of segments before format 4 were written by tantivy: their rows are read instead, until compaction has
//! written them anew.
//!
//! Invariants: the index says only where rows are; it is rebuilt from the rows, never the other way; what is read of it is held
//! against its checksum.

mod bits;
pub(crate) mod blocks;
mod sought;
mod writer;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tantivy::directory::{Directory as _, MmapDirectory, OwnedBytes};

use self::blocks::{Directory, Problem};
use crate::error::{Context as _, Error, ErrorKind};
use crate::rows::term_hash;
pub(crate) use sought::Sought;
pub(crate) use writer::{IdIndexWriter, IdParts};

/// The file, in a folder of its own.
pub(crate) const FILE: &str = "ids.idx";
/// The first format of segments whose index this is.
pub(crate) const FORMAT_MIN: u32 = 4;
/// How many bits of a hash are no part of the key.
const KEY_SHIFT: u32 = 12;

/// Whether the index in `dir`, of a segment of this format, is one that is not read.
pub(crate) fn is_outdated(format_version: u32, dir: &Path) -> bool {
    format_version < FORMAT_MIN && dir.is_dir() && !dir.join(FILE).exists()
}

/// What a term stands under.
fn key_of(term: &str) -> u64 {
    term_hash(term) >> KEY_SHIFT
}

/// `kind` of `kind=value`.
fn kind_of(term: &str) -> &str {
    term.split_once('=').map_or(term, |(kind, _)| kind)
}

/// An index that is open for reading: the file is mapped into memory, not read.
pub(crate) struct IdIndex {
    path: PathBuf,
    bytes: OwnedBytes,
    /// Read with the first look-up; what was wrong with it, if something was.
    directory: OnceLock<Result<Directory, Problem>>,
}

/// Some value of an id kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Example {
    /// Rows that carry it.
    pub(crate) rows: Range<usize>,
    key: u64,
}

impl Example {
    /// Whether this is the term.
    pub(crate) fn is(&self, term: &str) -> bool {
        key_of(term) == self.key
    }
}

/// What a sound index holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) postings: u64,
    /// Rows of all its groups.
    pub(crate) rows: u64,
}

/// What an id kind costs in an index.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KindSize {
    pub(crate) name: String,
    pub(crate) values: u64,
    pub(crate) postings: u64,
    pub(crate) bytes: u64,
}

impl std::fmt::Debug for IdIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdIndex").field("path", &self.path).finish_non_exhaustive()
    }
}

impl IdIndex {
    /// An index of these bytes. For fuzzers.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { path: PathBuf::from(FILE), bytes: OwnedBytes::new(bytes.to_vec()), directory: OnceLock::new() }
    }

    /// Opens the index in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let doing = || format!("opening the identity index `{}`", path.display());
        // tantivy maps files into memory without a line of unsafe code on our side.
        let directory = MmapDirectory::open(dir).context(ErrorKind::Damaged, doing)?;
        let file = directory.open_read(Path::new(FILE)).context(ErrorKind::Damaged, doing)?;
        let bytes = file.read_bytes().context(ErrorKind::Damaged, doing)?;
        Ok(Self { path, bytes, directory: OnceLock::new() })
    }

    /// Whether it was asked before: its directory is read.
    pub(crate) fn is_ready(&self) -> bool {
        self.directory.get().is_some()
    }

    fn directory(&self) -> Result<&Directory, Error> {
        let directory = self.directory.get_or_init(|| Directory::of(&self.bytes));
        directory.as_ref().map_err(|problem| self.damaged(problem))
    }

    fn damaged(&self, problem: &str) -> Error {
        Error::damaged(format!("reading the identity index `{}`: {problem}", self.path.display()))
    }

    /// Row ranges of the groups that carry one of the terms, in row order: the last `groups_max` of them.
    /// Also how many were left out.
    pub(crate) fn lookup<'t>(
        &self,
        terms: impl IntoIterator<Item = &'t Sought>,
        groups_max: usize,
    ) -> Result<(Vec<Range<usize>>, usize), Error> {
        let directory = self.directory()?;
        let mut found = Vec::new();
        for term in terms {
            let Some(kind) = directory.kind(term.kind()) else { continue };
            let of_term = directory.find(&self.bytes, kind, term.key, &mut found);
            of_term.map_err(|problem| self.damaged(&problem))?;
        }
        found.sort_unstable();
        found.dedup();
        let left_out = found.len().saturating_sub(groups_max);
        Ok((self.rows(directory, &found[left_out..])?, left_out))
    }

    /// The rows of groups, which are sorted.
    fn rows(&self, directory: &Directory, groups: &[u32]) -> Result<Vec<Range<usize>>, Error> {
        directory.rows(&self.bytes, groups).map_err(|problem| self.damaged(&problem))
    }

    /// How many groups carry the term.
    pub(crate) fn count(&self, term: &Sought) -> Result<usize, Error> {
        let directory = self.directory()?;
        let Some(kind) = directory.kind(term.kind()) else { return Ok(0) };
        directory.count(&self.bytes, kind, term.key).map_err(|problem| self.damaged(&problem))
    }

    /// How many values there are of a kind, and one of them.
    pub(crate) fn values(&self, kind: &str) -> Result<(u64, Option<Example>), Error> {
        let directory = self.directory()?;
        let Some(kind) = directory.kind(kind) else { return Ok((0, None)) };
        let first = directory.first(&self.bytes, kind).map_err(|problem| self.damaged(&problem))?;
        let Some(first) = first else { return Ok((kind.values, None)) };
        let rows = self.rows(directory, &[first.group])?.into_iter().next();
        Ok((kind.values, rows.map(|rows| Example { rows, key: first.key })))
    }

    /// What each kind costs.
    pub(crate) fn kinds(&self) -> Result<Vec<KindSize>, Error> {
        let directory = self.directory()?;
        let size = |kind: &blocks::Kind| KindSize {
            name: kind.name.clone(),
            values: kind.values,
            postings: kind.postings,
            bytes: directory.bytes(kind),
        };
        Ok(directory.kinds().iter().map(size).collect())
    }

    /// All of it, to become part of another.
    pub(crate) fn parts(&self) -> Result<IdParts, Error> {
        let directory = self.directory()?;
        let groups = directory.group_sizes(&self.bytes).map_err(|problem| self.damaged(&problem))?;
        let mut kinds = Vec::new();
        for kind in directory.kinds() {
            let mut postings = Vec::new();
            let walked = directory.walk(&self.bytes, kind, &mut |posting| postings.push(posting));
            walked.map_err(|problem| self.damaged(&problem))?;
            kinds.push((kind.name.clone(), postings));
        }
        Ok(IdParts { groups, kinds })
    }

    /// Reads all of the file.
    pub(crate) fn check(&self) -> Result<Checked, Error> {
        let directory = self.directory()?;
        let groups = directory.group_sizes(&self.bytes).map_err(|problem| self.damaged(&problem))?;
        let mut checked = Checked { postings: 0, rows: groups.iter().map(|rows| u64::from(*rows)).sum() };
        for kind in directory.kinds() {
            let walked = directory.walk(&self.bytes, kind, &mut |_| checked.postings += 1);
            walked.map_err(|problem| self.damaged(&problem))?;
        }
        Ok(checked)
    }
}
