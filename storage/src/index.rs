//! The identity index of a segment: tantivy, one document a group, its terms all the group's ids.
//!
//! A group is what stands together on disk: the spans or log records of one trace within one time
//! bucket, or one record without a trace. Document fields:
//!
//! ```text
//! id     text, raw, indexed, docs only   "order_id=ORD-4711", "trace_id=7f3a…", "link=91be…",
//!                                        "link=91be…/00f0…"
//! row    u64, fast                       first row of the group in data.parquet
//! rows   u64, fast                       number of rows
//! ```
//!
//! Invariant: the index says only where rows are; it is rebuilt from the rows, never the other way.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::{Array as _, RecordBatch};
use model::Signal;
use tantivy::indexer::SingleSegmentIndexWriter;
use tantivy::schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{
    DocId, DocSet as _, Index, IndexReader, IndexSettings, ReloadPolicy, TERMINATED, TantivyDocument, Term,
};

use crate::error::{Context as _, Error, ErrorKind};
use crate::rows::{TermColumns, each_term};

const WRITER_BYTES: usize = 32 << 20;

struct Fields {
    schema: Schema,
    id: Field,
    row: Field,
    rows: Field,
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
    Fields { schema: builder.build(), id, row, rows }
}

/// Writes the index of sorted rows, batch by batch.
pub(crate) struct IdIndexWriter {
    dir: PathBuf,
    signal: Signal,
    fields: Fields,
    tantivy: SingleSegmentIndexWriter,
    group: Group,
    /// Rows pushed so far.
    rows: u64,
    scratch: String,
}

/// The group that the last row belongs to.
#[derive(Default)]
struct Group {
    trace: Option<[u8; 16]>,
    first: u64,
    terms: BTreeSet<String>,
}

impl IdIndexWriter {
    /// Begins an index in the folder `dir`, which is made.
    pub(crate) fn create(dir: &Path, signal: Signal) -> Result<Self, Error> {
        let doing = || format!("writing the id index `{}`", dir.display());
        std::fs::create_dir_all(dir).context(ErrorKind::Retry, doing)?;
        let directory = tantivy::directory::MmapDirectory::open(dir).context(ErrorKind::Retry, doing)?;
        let fields = fields();
        let tantivy = Index::builder()
            .schema(fields.schema.clone())
            .settings(IndexSettings::default())
            .single_segment_index_writer(directory, WRITER_BYTES)
            .context(ErrorKind::Retry, doing)?;
        let group = Group::default();
        Ok(Self { dir: dir.to_owned(), signal, fields, tantivy, group, rows: 0, scratch: String::new() })
    }

    /// Adds rows that follow the earlier ones.
    pub(crate) fn push(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let Some(columns) = TermColumns::new(self.signal, rows) else { return Ok(()) };
        let mut scratch = std::mem::take(&mut self.scratch);
        for row in 0..rows.num_rows() {
            let trace = columns.trace_id.is_valid(row).then(|| columns.trace_id.value(row));
            let trace: Option<[u8; 16]> = trace.and_then(|trace| trace.try_into().ok());
            if trace.is_none() || trace != self.group.trace {
                self.end_group()?;
                self.group.trace = trace;
            }
            let terms = &mut self.group.terms;
            let mut add = |term: &str| {
                if !terms.contains(term) {
                    terms.insert(term.to_owned());
                }
            };
            each_term(&columns, row, &mut add, &mut scratch);
            self.rows += 1;
        }
        self.scratch = scratch;
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), Error> {
        let first = std::mem::replace(&mut self.group.first, self.rows);
        if self.group.terms.is_empty() {
            return Ok(());
        }
        let mut document = TantivyDocument::default();
        for term in std::mem::take(&mut self.group.terms) {
            document.add_text(self.fields.id, term);
        }
        document.add_u64(self.fields.row, first);
        document.add_u64(self.fields.rows, self.rows - first);
        self.tantivy
            .add_document(document)
            .context(ErrorKind::Retry, || format!("writing the id index `{}`", self.dir.display()))
    }

    /// Writes the index to disk; making it durable is the caller's.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.end_group()?;
        let doing = || format!("writing the id index `{}`", self.dir.display());
        self.tantivy.finalize().context(ErrorKind::Retry, doing)?;
        Ok(())
    }
}

/// An index that is open for reading.
pub(crate) struct IdIndex {
    reader: IndexReader,
    id: Field,
}

impl std::fmt::Debug for IdIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdIndex").finish_non_exhaustive()
    }
}

impl IdIndex {
    /// Opens the index in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        // tantivy does not check lengths in its footers before it believes them.
        std::panic::catch_unwind(|| Self::open_unguarded(dir)).unwrap_or_else(|_| {
            Err(Error::damaged(format!(
                "opening the id index `{}`: tantivy cannot read its files",
                dir.display()
            )))
        })
    }

    fn open_unguarded(dir: &Path) -> Result<Self, Error> {
        let doing = || format!("opening the id index `{}`", dir.display());
        let index = Index::open_in_dir(dir).context(ErrorKind::Damaged, doing)?;
        let id = index.schema().get_field("id").context(ErrorKind::Damaged, doing)?;
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()
            .context(ErrorKind::Damaged, doing)?;
        Ok(Self { reader, id })
    }

    /// Row ranges of the groups that carry one of the terms, in row order: the last `groups_max` of them.
    /// Also how many were left out.
    pub(crate) fn lookup(
        &self,
        terms: &[String],
        groups_max: usize,
    ) -> Result<(Vec<Range<usize>>, usize), Error> {
        let doing = || "reading the id index".to_owned();
        let searcher = self.reader.searcher();
        let (mut ranges, mut left_out) = (Vec::new(), 0);
        for segment in searcher.segment_readers() {
            let inverted = segment.inverted_index(self.id).context(ErrorKind::Damaged, doing)?;
            let mut documents: Vec<DocId> = Vec::new();
            for term in terms {
                let term = Term::from_field_text(self.id, term);
                let postings = inverted.read_postings(&term, IndexRecordOption::Basic);
                let Some(mut postings) = postings.context(ErrorKind::Damaged, doing)? else { continue };
                while postings.doc() != TERMINATED {
                    documents.push(postings.doc());
                    postings.advance();
                }
            }
            // Documents are numbered in the order of the rows.
            documents.sort_unstable();
            documents.dedup();
            let from = documents.len().saturating_sub(groups_max);
            left_out += from;
            let column = |name| segment.fast_fields().u64(name).context(ErrorKind::Damaged, doing);
            let (first, count) = (column("row")?, column("rows")?);
            for document in &documents[from..] {
                let start = first.first(*document).unwrap_or(0) as usize;
                ranges.push(start..start + count.first(*document).unwrap_or(0) as usize);
            }
        }
        Ok((ranges, left_out))
    }

    /// How many groups carry the term. Reads no postings.
    pub(crate) fn count(&self, term: &str) -> Result<usize, Error> {
        let doing = || "reading the id index".to_owned();
        let mut groups = 0;
        for segment in self.reader.searcher().segment_readers() {
            let inverted = segment.inverted_index(self.id).context(ErrorKind::Damaged, doing)?;
            let count = inverted.doc_freq(&Term::from_field_text(self.id, term));
            groups += count.context(ErrorKind::Damaged, doing)? as usize;
        }
        Ok(groups)
    }

    /// How many terms begin with `kind=`, and the last of them. Reads two places of the dictionary.
    pub(crate) fn values(&self, kind: &str) -> Result<(u64, Option<String>), Error> {
        let doing = || "reading the id index".to_owned();
        let (mut values, mut example) = (0, None);
        for segment in self.reader.searcher().segment_readers() {
            let inverted = segment.inverted_index(self.id).context(ErrorKind::Damaged, doing)?;
            let terms = inverted.terms();
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
                example = String::from_utf8(bytes).ok();
            }
        }
        Ok((values, example))
    }
}
