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

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use model::{Signal, TraceId};
use tantivy::columnar::Column;
use tantivy::indexer::SingleSegmentIndexWriter;
use tantivy::postings::TermInfo;
use tantivy::schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{
    DocId, DocSet as _, Index, IndexReader, IndexSettings, InvertedIndexReader, ReloadPolicy, TantivyDocument,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Context as _, Error, ErrorKind};
use crate::rows::RowTerms;
use crate::schema::{TIME_BUCKET_NANO, time_column};
use crate::segment::layout::Layout;
pub(crate) use sought::Sought;
use traces::Traces;

const WRITER_BYTES: usize = 32 << 20;
/// Bytes of a value that stands in the index as it is.
const VALUE_BYTES_MAX: usize = 20;
/// What stands for the second half of a trace id whose first half no neighbour has.
const LAST_FOUR: u64 = 0xFFFF_FFFF;
/// What goes wrong when an index cannot be read.
const READING: &str = "reading the id index";
/// What the hash of a longer value begins with.
const HASH_SIGN: char = '~';

struct Fields {
    schema: Schema,
    id: Field,
    row: Field,
    rows: Field,
    bucket: Field,
    trace: Field,
    rest: Field,
}

fn fields() -> Fields {
    let mut builder = Schema::builder();
    let raw = TextFieldIndexing::default()
        .set_tokenizer("raw")
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::Basic);
    let id = builder.add_text_field("id", TextOptions::default().set_indexing_options(raw));
    let row = builder.add_u64_field("row", FAST);
    let rows = builder.add_u64_field("rows", FAST);
    let bucket = builder.add_u64_field("bucket", FAST);
    let trace = builder.add_u64_field("trace", FAST);
    let rest = builder.add_u64_field("rest", FAST);
    Fields { schema: builder.build(), id, row, rows, bucket, trace, rest }
}

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

/// A document that waits for the next: its neighbours may begin alike.
struct Ended {
    document: TantivyDocument,
    bucket: u64,
    halves: (u64, u64),
    has_like: bool,
}

/// Writes the index of sorted rows, batch by batch.
pub(crate) struct IdIndexWriter {
    dir: PathBuf,
    layout: Layout,
    fields: Fields,
    tantivy: SingleSegmentIndexWriter,
    group: Group,
    ended: Option<Ended>,
    /// Rows pushed so far.
    rows: u64,
}

/// The group that the last row belongs to.
#[derive(Default)]
struct Group {
    trace: Option<TraceId>,
    bucket: u64,
    first: u64,
    /// Its terms end to end, and where each ends.
    text: String,
    ends: Vec<usize>,
    known: HashSet<u64, BuildHasherDefault<IsHash>>,
}

/// Of numbers that are hashes already.
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
        self.0 = hash;
    }
}

impl Group {
    fn add(&mut self, term: &str) {
        if self.known.insert(xxh3_64(term.as_bytes())) {
            self.text.push_str(&shortened(term));
            self.ends.push(self.text.len());
        }
    }

    fn is_empty(&self) -> bool {
        self.trace.is_none() && self.ends.is_empty()
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.known.clear();
    }

    fn document(&self, fields: &Fields, rows: u64) -> TantivyDocument {
        let mut document = TantivyDocument::default();
        let mut start = 0;
        for end in &self.ends {
            document.add_text(fields.id, &self.text[start..*end]);
            start = *end;
        }
        document.add_u64(fields.row, self.first);
        document.add_u64(fields.rows, rows - self.first);
        document.add_u64(fields.bucket, self.bucket);
        document.add_u64(fields.trace, self.halves().0);
        document
    }

    fn halves(&self) -> (u64, u64) {
        self.trace.map_or((0, 0), halves)
    }
}

impl IdIndexWriter {
    /// Begins an index of rows of a layout in the folder `dir`, which is made. So many rows before the first that is
    /// pushed have no terms.
    pub(crate) fn create(dir: &Path, layout: Layout, rows: u64) -> Result<Self, Error> {
        let doing = || format!("writing the id index `{}`", dir.display());
        std::fs::create_dir_all(dir).context(ErrorKind::Retry, doing)?;
        let directory = tantivy::directory::MmapDirectory::open(dir).context(ErrorKind::Retry, doing)?;
        let fields = fields();
        let settings =
            IndexSettings { docstore_compress_dedicated_thread: false, ..IndexSettings::default() };
        let tantivy = Index::builder()
            .schema(fields.schema.clone())
            .settings(settings)
            .single_segment_index_writer(directory, WRITER_BYTES)
            .context(ErrorKind::Retry, doing)?;
        let (dir, group) = (dir.to_owned(), Group { first: rows, ..Group::default() });
        Ok(Self { dir, layout, fields, tantivy, group, ended: None, rows })
    }

    /// Adds rows that follow the earlier ones.
    pub(crate) fn push(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let layout = self.layout.clone();
        let Some(terms) = RowTerms::new(&layout, rows)? else { return Ok(()) };
        let times = rows.column_by_name(time_column(layout.signal())).expect("a column of the table");
        let times = times.as_primitive::<TimestampNanosecondType>().values();
        let mut scratch = String::new();
        for row in 0..rows.num_rows() {
            let trace = terms.trace(row);
            if trace.is_none() || trace != self.group.trace {
                self.end_group()?;
                self.group.trace = trace;
                let minute = match layout.signal() {
                    // Not in the order of time.
                    Signal::Metrics => 0,
                    Signal::Traces | Signal::Logs => times[row].div_euclid(TIME_BUCKET_NANO).max(0) as u64,
                };
                self.group.bucket = minute * 2 + u64::from(trace.is_none());
            }
            terms.each_found(row, &mut |term| self.group.add(term), &mut scratch);
            self.rows += 1;
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), Error> {
        if self.rows > self.group.first && !self.group.is_empty() {
            let (bucket, halves) = (self.group.bucket, self.group.halves());
            let is_like = |one: &Ended| one.bucket == bucket && one.halves.0 == halves.0;
            let has_like = self.ended.as_ref().is_some_and(is_like);
            if let Some(mut before) = self.ended.take() {
                before.has_like |= has_like;
                self.add(before)?;
            }
            let document = self.group.document(&self.fields, self.rows);
            self.ended = Some(Ended { document, bucket, halves, has_like });
        }
        self.group.first = self.rows;
        self.group.clear();
        Ok(())
    }

    fn add(&mut self, ended: Ended) -> Result<(), Error> {
        let Ended { mut document, halves, has_like, .. } = ended;
        document.add_u64(self.fields.rest, if has_like { halves.1 } else { halves.1 & LAST_FOUR });
        self.tantivy
            .add_document(document)
            .context(ErrorKind::Retry, || format!("writing the id index `{}`", self.dir.display()))
    }

    /// Writes the index to disk; making it durable is the caller's.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.end_group()?;
        if let Some(last) = self.ended.take() {
            self.add(last)?;
        }
        let doing = || format!("writing the id index `{}`", self.dir.display());
        self.tantivy.finalize().context(ErrorKind::Retry, doing)?;
        files::write_checksums(&self.dir).context(ErrorKind::Retry, doing)
    }
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
