//! Writing the identity index of a segment, row by row in the order of its file.
//!
//! Owns: which postings there are. Does not own: which ids a row has (`rows`), the bytes (`blocks`).
//!
//! Memory: 16 bytes a posting, and 4 a group, until the end.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use disk::Fs;
use model::TraceId;
use model::ids::TRACE_ID;
use xxhash_rust::xxh3::xxh3_64;

use super::blocks::{FileBuilder, Posting};
use super::{FILE, KEY_SHIFT, kind_of};
use crate::error::{Context as _, Error, ErrorKind};
use crate::rows::{RowTerms, term_hash, trace_hash};
use crate::segment::layout::Layout;

/// Terms of a group for which room is kept: emptying it takes as long as it is large.
const KNOWN_MAX: usize = 1_024;

/// Collects the index of sorted rows, batch by batch, and writes it at the end.
pub(crate) struct IdIndexWriter {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    layout: Layout,
    kinds: Vec<Kind>,
    /// The rows of each group.
    groups: Vec<u32>,
    /// The trace of the last group, and the hashes of its terms, of traces apart: those are of bytes, all others of text.
    trace: Option<TraceId>,
    known: HashSet<(bool, u64), BuildHasherDefault<IsHash>>,
}

struct Kind {
    name: String,
    postings: Vec<Posting>,
}

/// An index taken apart.
pub(crate) struct IdParts {
    /// The rows of each group.
    pub(super) groups: Vec<u32>,
    pub(super) kinds: Vec<(String, Vec<Posting>)>,
}

/// Of what is a hash already.
#[derive(Default)]
struct IsHash(u64);

impl Hasher for IsHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 ^= hash;
    }

    fn write_u8(&mut self, is_trace: u8) {
        self.0 = u64::from(is_trace);
    }
}

impl IdIndexWriter {
    /// Begins an index of rows of a layout, which becomes a file in the folder `dir`. So many rows before the first that is
    /// pushed have no terms.
    pub(crate) fn new(fs: Arc<dyn Fs>, dir: PathBuf, layout: Layout, rows: u64) -> Self {
        let (kinds, groups) = (Vec::new(), vec![1; usize::try_from(rows).unwrap_or_default()]);
        Self { fs, dir, layout, kinds, groups, trace: None, known: HashSet::default() }
    }

    /// Adds rows that follow the earlier ones.
    pub(crate) fn push(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let layout = self.layout.clone();
        let Some(terms) = RowTerms::new(&layout, rows)? else { return Ok(()) };
        let mut scratch = String::new();
        for row in 0..rows.num_rows() {
            let trace = terms.trace(row);
            match self.groups.last_mut().filter(|_| trace.is_some() && trace == self.trace) {
                Some(rows) => *rows += 1,
                None => self.begin_group(trace),
            }
            terms.each_found(row, &mut |term| self.add(kind_of(term), term_hash(term)), &mut scratch);
        }
        Ok(())
    }

    /// What comes next is in no group with what was there.
    pub(crate) fn end_run(&mut self) {
        self.trace = None;
    }

    /// Adds the index of rows that follow the earlier ones.
    pub(crate) fn append(&mut self, ids: IdParts) {
        self.end_run();
        let first = self.groups.len() as u32;
        self.groups.extend(ids.groups);
        for (name, postings) in ids.kinds {
            let at = self.kind(&name);
            self.kinds[at].postings.reserve(postings.len());
            let moved = |posting: Posting| Posting { group: first + posting.group, ..posting };
            self.kinds[at].postings.extend(postings.into_iter().map(moved));
        }
    }

    fn begin_group(&mut self, trace: Option<TraceId>) {
        self.groups.push(1);
        self.trace = trace;
        match self.known.capacity() > KNOWN_MAX {
            true => self.known = HashSet::default(),
            false => self.known.clear(),
        }
        if let Some(trace) = trace {
            self.add(TRACE_ID, trace_hash(trace.as_bytes()));
        }
    }

    fn add(&mut self, kind: &str, hash: u64) {
        if self.known.insert((kind == TRACE_ID, hash)) {
            let at = self.kind(kind);
            let group = (self.groups.len() - 1) as u32;
            self.kinds[at].postings.push(Posting { key: hash >> KEY_SHIFT, group });
        }
    }

    fn kind(&mut self, name: &str) -> usize {
        self.kinds.iter().position(|known| known.name == name).unwrap_or_else(|| {
            self.kinds.push(Kind { name: name.to_owned(), postings: Vec::new() });
            self.kinds.len() - 1
        })
    }

    /// Writes the index to disk; making it durable is the caller's.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.kinds.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut file = FileBuilder::new(&self.groups);
        for Kind { name, mut postings } in self.kinds {
            postings.sort_unstable();
            // Different terms with one key.
            postings.dedup();
            file.add(&name, &postings);
        }
        let path = self.dir.join(FILE);
        let doing = || format!("writing the identity index `{}`", path.display());
        self.fs.create_dir_all(&self.dir).context(ErrorKind::Retry, doing)?;
        let written = self.fs.create(&path).and_then(|created| created.write_all_at(&file.finish(), 0));
        written.context(ErrorKind::Retry, doing)
    }
}
