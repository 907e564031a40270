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
use std::path::Path;

use arrow::array::{Array as _, RecordBatch};
use model::Signal;
use tantivy::collector::DocSetCollector;
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

/// Writes the index of sorted rows into `dir`, which must be empty.
pub(crate) fn write(dir: &Path, signal: Signal, rows: &RecordBatch) -> Result<(), Error> {
    let Some(columns) = TermColumns::new(signal, rows) else { return Ok(()) };
    let doing = || format!("writing the id index `{}`", dir.display());
    let fields = fields();
    let directory = tantivy::directory::MmapDirectory::open(dir).context(ErrorKind::Retry, doing)?;
    let mut writer = Index::builder()
        .schema(fields.schema.clone())
        .settings(IndexSettings::default())
        .single_segment_index_writer(directory, WRITER_BYTES)
        .context(ErrorKind::Retry, doing)?;
    let mut scratch = String::new();
    for group in groups(&columns, rows.num_rows()) {
        let mut terms = BTreeSet::new();
        for row in group.clone() {
            each_term(
                &columns,
                row,
                &mut |term| {
                    terms.insert(term.to_owned());
                },
                &mut scratch,
            );
        }
        if terms.is_empty() {
            continue;
        }
        let mut document = TantivyDocument::default();
        for term in &terms {
            document.add_text(fields.id, term);
        }
        document.add_u64(fields.row, group.start as u64);
        document.add_u64(fields.rows, group.len() as u64);
        writer.add_document(document).context(ErrorKind::Retry, doing)?;
    }
    writer.finalize().context(ErrorKind::Retry, doing)?;
    Ok(())
}

/// Runs of rows with one trace id; rows without one stand alone.
fn groups(columns: &TermColumns<'_>, rows: usize) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for row in 0..rows {
        let same = row > 0
            && columns.trace_id.is_valid(row)
            && columns.trace_id.is_valid(row - 1)
            && columns.trace_id.value(row) == columns.trace_id.value(row - 1);
        match groups.last_mut() {
            Some(last) if same => last.end = row + 1,
            _ => groups.push(row..row + 1),
        }
    }
    groups
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
