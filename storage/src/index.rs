//! The identity index of a segment: tantivy, one document a group, its terms all the group's ids.
//!
//! A group is what stands together on disk: the spans or log records of one trace within one time
//! bucket, or one record without a trace. Document fields:
//!
//! ```text
//! id     text, raw, indexed, docs only   "order_id=ORD-4711", "trace_id=7f3a…", "link=91be…"
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
use tantivy::collector::DocSetCollector;
use tantivy::indexer::SingleSegmentIndexWriter;
use tantivy::query::TermSetQuery;
use tantivy::schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{Index, IndexReader, IndexSettings, ReloadPolicy, TantivyDocument, Term};

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

    /// Row ranges of the groups that carry one of the terms, in row order.
    pub(crate) fn lookup(&self, terms: &[String]) -> Result<Vec<Range<usize>>, Error> {
        let doing = || "reading the id index".to_owned();
        let searcher = self.reader.searcher();
        let query = TermSetQuery::new(terms.iter().map(|term| Term::from_field_text(self.id, term)));
        let found = searcher.search(&query, &DocSetCollector).context(ErrorKind::Damaged, doing)?;
        let mut ranges = Vec::with_capacity(found.len());
        for address in found {
            let fast = searcher.segment_reader(address.segment_ord).fast_fields();
            let row = fast.u64("row").context(ErrorKind::Damaged, doing)?.first(address.doc_id).unwrap_or(0);
            let rows =
                fast.u64("rows").context(ErrorKind::Damaged, doing)?.first(address.doc_id).unwrap_or(0);
            ranges.push(row as usize..(row + rows) as usize);
        }
        ranges.sort_unstable_by_key(|range| range.start);
        Ok(ranges)
    }
}
