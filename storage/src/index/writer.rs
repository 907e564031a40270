//! Writing the identity index of a segment, row by row in the order of its file.
//!
//! Owns: which documents there are, and their fields. Does not own: which ids a row has (`rows`), how terms stand in the
//! index ([`shortened`]).

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use model::{Signal, TraceId};
use tantivy::indexer::SingleSegmentIndexWriter;
use tantivy::schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{Index, IndexSettings, TantivyDocument};
use xxhash_rust::xxh3::xxh3_64;

use super::{LAST_FOUR, files, halves, shortened};
use crate::error::{Context as _, Error, ErrorKind};
use crate::rows::RowTerms;
use crate::schema::{TIME_BUCKET_NANO, time_column};
use crate::segment::layout::Layout;

const WRITER_BYTES: usize = 32 << 20;

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
