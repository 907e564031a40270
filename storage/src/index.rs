//! The identity index of a segment: tantivy, one document a group, its terms all the group's ids.
//!
//! A group is what stands together on disk: the spans or log records of one trace within one time
//! bucket, or one record without a trace. Document fields:
//!
//! ```text
//! id      text, raw, indexed, docs only   "order_id=ORD-4711", "link=~k3TbX0Qz1A"
//! row     u64, fast                       first row of the group in data.parquet
//! rows    u64, fast                       number of rows
//! bucket  u64, fast                       minute of the group times two, plus one without a trace
//! trace   u64, fast                       first eight bytes of the trace id
//! rest    u64, fast                       the other eight where neighbours begin alike, else the last four
//! ```
//!
//! Of metric points a group is one point that has exemplars with a trace; its terms are `trace_id=…` of those, and its bucket
//! is 1. A file without such points has no index.
//!
//! Documents are in the order of the rows, which are sorted by bucket and trace: a trace is found by binary
//! search, and is no term. Values of more than [`VALUE_BYTES_MAX`] bytes stand as a hash ([`shortened`]).
//! Indexes of format 1 have traces as terms, and all values in full.
//!
//! Invariants: the index says only where rows are; it is rebuilt from the rows, never the other way; its files are
//! held against their checksums (`files`) before it is asked the first time.

pub(crate) mod files;
mod sought;
mod traces;
mod writer;

use std::borrow::Cow;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use model::TraceId;
use tantivy::columnar::Column;
use tantivy::postings::TermInfo;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocId, DocSet as _, Index, IndexReader, InvertedIndexReader, ReloadPolicy};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Context as _, Error, ErrorKind};
pub(crate) use sought::Sought;
use traces::Traces;
pub(crate) use writer::IdIndexWriter;

/// Bytes of a value that stands in the index as it is.
const VALUE_BYTES_MAX: usize = 20;
/// What stands for the second half of a trace id whose first half no neighbour has.
const LAST_FOUR: u64 = 0xFFFF_FFFF;
/// What goes wrong when an index cannot be read.
const READING: &str = "reading the id index";
/// What the hash of a longer value begins with.
const HASH_SIGN: char = '~';

/// A term as it stands in the index: `kind=value`, or `kind=~` and ten signs of six bits of the value's xxh3
/// when the value is long or begins with the sign of a hash.
fn shortened(term: &str) -> Cow<'_, str> {
    const SIGNS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    match term.split_once('=') {
        Some((kind, value)) if value.len() > VALUE_BYTES_MAX || value.starts_with(HASH_SIGN) => {
            let hash = xxh3_64(value.as_bytes());
            let mut short = String::with_capacity(kind.len() + 12);
            short.push_str(kind);
            short.push('=');
            short.push(HASH_SIGN);
            short.extend((0..10).map(|at| char::from(SIGNS[(hash >> (at * 6)) as usize & 63])));
            Cow::Owned(short)
        }
        _ => Cow::Borrowed(term),
    }
}

/// The two halves of a trace id, as numbers of the same order.
fn halves(trace: TraceId) -> (u64, u64) {
    let trace = u128::from_be_bytes(*trace.as_bytes());
    ((trace >> 64) as u64, trace as u64)
}

/// An index that is open for reading.
pub(crate) struct IdIndex {
    dir: PathBuf,
    reader: IndexReader,
    id: Field,
    /// Opened with the first look-up; what was wrong with them, if something was.
    parts: OnceLock<Result<Vec<Part>, String>>,
}

/// The terms of one tantivy segment, and the numbers of its documents.
struct Part {
    ids: Arc<InvertedIndexReader>,
    row: Column,
    rows: Column,
    /// `None` in format 1.
    traces: Option<Traces>,
}

/// One value of an id kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Example {
    /// As `kind=value`.
    Term(String),
    /// Hashed, on these rows.
    On(Range<usize>, String),
}

impl std::fmt::Debug for IdIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdIndex").finish_non_exhaustive()
    }
}

impl Part {
    /// The documents that carry the term, added to `found`.
    fn documents(&self, term: &Sought, found: &mut Vec<DocId>) -> std::io::Result<()> {
        if let Some((traces, trace)) = self.traces.as_ref().zip(term.trace) {
            // Other records may name it too: those have its term.
            traces.find(trace, found);
        }
        let Some(info) = self.ids.terms().get(self.stored(term))? else { return Ok(()) };
        each_document(&self.ids, &info, &mut |document| found.push(document))
    }

    fn count(&self, term: &Sought) -> std::io::Result<usize> {
        let mut found = Vec::new();
        if let Some((traces, trace)) = self.traces.as_ref().zip(term.trace) {
            traces.find(trace, &mut found);
        }
        let info = self.ids.terms().get(self.stored(term))?;
        Ok(found.len() + info.map_or(0, |info| info.doc_freq as usize))
    }

    fn example(&self, term: String) -> Option<Example> {
        let is_hash = term.split_once('=').is_some_and(|(_, value)| value.starts_with(HASH_SIGN));
        if !is_hash || self.traces.is_none() {
            return Some(Example::Term(term));
        }
        let info = self.ids.terms().get(&term).ok()??;
        let postings = self.ids.read_postings_from_terminfo(&info, IndexRecordOption::Basic).ok()?;
        Some(Example::On(self.rows_of(postings.doc()), term))
    }

    /// How the term stands in the dictionary.
    fn stored<'t>(&self, term: &'t Sought) -> &'t str {
        if self.traces.is_some() { &term.short } else { &term.text }
    }

    fn rows_of(&self, document: DocId) -> Range<usize> {
        let start = number(&self.row, document) as usize;
        start..start + number(&self.rows, document) as usize
    }
}

fn number(column: &Column, document: DocId) -> u64 {
    column.first(document).unwrap_or(0)
}

impl IdIndex {
    /// Opens the index in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        caught(&format!("opening the id index `{}`", dir.display()), || Self::open_files(dir))
    }

    fn open_files(dir: &Path) -> Result<Self, Error> {
        let doing = || format!("opening the id index `{}`", dir.display());
        let index = Index::open_in_dir(dir).context(ErrorKind::Damaged, doing)?;
        let id = index.schema().get_field("id").context(ErrorKind::Damaged, doing)?;
        let reader: IndexReader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()
            .context(ErrorKind::Damaged, doing)?;
        Ok(Self { dir: dir.to_owned(), reader, id, parts: OnceLock::new() })
    }

    /// Whether it was asked before: its files are checked and open.
    pub(crate) fn is_ready(&self) -> bool {
        self.parts.get().is_some()
    }

    fn parts(&self) -> Result<&[Part], Error> {
        match self.parts.get_or_init(|| self.open_parts()) {
            Ok(parts) => Ok(parts),
            Err(problem) => {
                Err(Error::damaged(format!("opening the id index `{}`: {problem}", self.dir.display())))
            }
        }
    }

    fn open_parts(&self) -> Result<Vec<Part>, String> {
        let searcher = self.reader.searcher();
        let has_traces = searcher.index().schema().get_field("trace").is_ok();
        files::check(&self.dir)?;
        let mut parts = Vec::new();
        for segment in searcher.segment_readers() {
            let column = |name| segment.fast_fields().u64(name).map_err(|error| error.to_string());
            let traces = match has_traces {
                true => {
                    let (trace, rest) = (column("trace")?, column("rest")?);
                    Some(Traces::new(&column("bucket")?, trace, rest, segment.max_doc()))
                }
                false => None,
            };
            let ids = segment.inverted_index(self.id).map_err(|error| error.to_string())?;
            parts.push(Part { ids, row: column("row")?, rows: column("rows")?, traces });
        }
        Ok(parts)
    }

    /// Row ranges of the groups that carry one of the terms, in row order: the last `groups_max` of them.
    /// Also how many were left out.
    pub(crate) fn lookup<'t>(
        &self,
        terms: impl IntoIterator<Item = &'t Sought, IntoIter: Clone>,
        groups_max: usize,
    ) -> Result<(Vec<Range<usize>>, usize), Error> {
        caught(READING, || self.groups(terms.into_iter(), groups_max))
    }

    fn groups<'t>(
        &self,
        terms: impl Iterator<Item = &'t Sought> + Clone,
        groups_max: usize,
    ) -> Result<(Vec<Range<usize>>, usize), Error> {
        let (mut ranges, mut left_out) = (Vec::new(), 0);
        for part in self.parts()? {
            let mut documents: Vec<DocId> = Vec::new();
            for term in terms.clone() {
                part.documents(term, &mut documents).context(ErrorKind::Damaged, || READING.to_owned())?;
            }
            // Documents are numbered in the order of the rows.
            documents.sort_unstable();
            documents.dedup();
            let from = documents.len().saturating_sub(groups_max);
            left_out += from;
            ranges.extend(documents[from..].iter().map(|document| part.rows_of(*document)));
        }
        Ok((ranges, left_out))
    }

    /// How many groups carry the term. Reads no postings.
    pub(crate) fn count(&self, term: &Sought) -> Result<usize, Error> {
        let mut groups = 0;
        for part in self.parts()? {
            groups += part.count(term).context(ErrorKind::Damaged, || READING.to_owned())?;
        }
        Ok(groups)
    }

    /// How many terms begin with `kind=`, and the last of them. Reads two places of the dictionary.
    pub(crate) fn values(&self, kind: &str) -> Result<(u64, Option<Example>), Error> {
        let doing = || READING.to_owned();
        let (mut values, mut example) = (0, None);
        for part in self.parts()? {
            let terms = part.ids.terms();
            // `>` is the sign after `=`.
            let (from, to) = (format!("{kind}="), format!("{kind}>"));
            let place = |bound: &str| -> Result<u64, Error> {
                let mut stream = terms.range().ge(bound).into_stream().context(ErrorKind::Damaged, doing)?;
                Ok(if stream.advance() { stream.term_ord() } else { terms.num_terms() as u64 })
            };
            let (first, end) = (place(&from)?, place(&to)?);
            values += end.saturating_sub(first);
            if end > first {
                let mut bytes = Vec::new();
                terms.ord_to_term(end - 1, &mut bytes).context(ErrorKind::Damaged, doing)?;
                example = String::from_utf8(bytes).ok().and_then(|term| part.example(term));
            }
        }
        Ok((values, example))
    }
}

/// The documents of a term, a block at a time.
pub(crate) fn each_document(
    index: &InvertedIndexReader,
    term: &TermInfo,
    each: &mut dyn FnMut(DocId),
) -> std::io::Result<()> {
    let mut blocks = index.read_block_postings_from_terminfo(term, IndexRecordOption::Basic)?;
    while !blocks.docs().is_empty() {
        blocks.docs().iter().for_each(|document| each(*document));
        blocks.advance();
    }
    Ok(())
}

/// What `work` gives, or that a file is damaged: tantivy takes files apart as if they could not be, and panics.
pub(crate) fn caught<T>(doing: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::damaged(format!("{doing}: its files are damaged"))))
}

/// Whether a term stands in the index as `short`.
pub(crate) fn is_shortened_to(term: &str, short: &str) -> bool {
    shortened(term) == short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_stand_as_hashes_of_their_kind_and_short_ones_as_they_are() {
        assert_eq!(shortened("order_id=ORD-4711"), "order_id=ORD-4711");
        let id = "correlation_id=0af76519-16cd-43dd-8448-eb211c80319c";
        let short = shortened(id);
        assert!(short.starts_with("correlation_id=~") && short.len() == 26, "{short}");
        assert_ne!(short, shortened("correlation_id=0af76519-16cd-43dd-8448-eb211c80319d"));
        assert!(shortened("order_id=~0000000000").len() == 20, "a value that looks like a hash is hashed");
        assert!(is_shortened_to(id, &short));
    }
}
