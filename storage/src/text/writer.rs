//! The writing side: one field of words, documents only, no norms; in the store stand the shapes. Of indexes that are there already the
//! terms and their documents are put together as they are: the words of a line are found once in its life.
//!
//! ```text
//! push ─► part under way ─┐
//!                         ├─ one: it is the index      more: merged by tantivy, documents one behind the other, and `parts.json`
//! append ─► part of another segment ─┘
//! ```
//!
//! Invariant: the folder of the index is there when all of it is, and nothing else is left of the writer.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use tantivy::directory::MmapDirectory;
use tantivy::indexer::{SingleSegmentIndexWriter, merge_filtered_segments};
use tantivy::schema::{Field, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions};
use tantivy::{Index, IndexReader, IndexSettings, ReloadPolicy, Searcher, TantivyDocument};

use super::parts::{self, Part};
use super::shapes::{self, DocumentTokenizer, Shapes};
use super::tokens::TextTokenizer;
use super::{caught, files};
use crate::error::{Context as _, Error, ErrorKind};
use crate::rows::TextColumn;

const WRITER_BYTES: usize = 64 << 20;
/// The field of texts, and its tokenizer.
pub(super) const TEXT: (&str, &str) = ("text", "silmari");
/// The field of documents that [`Shapes`] has put together, and its tokenizer.
pub(super) const WORDS: (&str, &str) = ("words", "silmari-lines");
/// What is stored of the document of a shape: the shape.
pub(super) const SHAPE: &str = "shape";

/// Writes the text index of rows, batch by batch. Dropping it unfinished leaves files beside the folder of the index.
pub(crate) struct TextIndexWriter {
    dir: PathBuf,
    column: &'static str,
    rows_per_document: usize,
    /// The rows that were pushed last.
    under_way: Option<PartWriter>,
    /// What stands before them, in the order of the rows.
    whole: Vec<WholePart>,
}

/// An index that is to be a part of another. Its files stay readable while this is there, whoever removes them.
pub(crate) struct WholePart {
    searcher: Searcher,
    segment: tantivy::Segment,
    parts: Vec<Part>,
    /// Where it was written, if it is of this writer.
    own: Option<PathBuf>,
}

impl WholePart {
    /// The index that `searcher` reads, with what it is made of.
    pub(super) fn new(searcher: Searcher, parts: Vec<Part>) -> tantivy::Result<Option<Self>> {
        let mut segments = searcher.index().searchable_segments()?;
        let segment = segments.pop().filter(|_| segments.is_empty());
        Ok(segment.map(|segment| Self { searcher, segment, parts, own: None }))
    }
}

impl TextIndexWriter {
    /// Begins an index of `column` in the folder `dir`, with a document for so many rows each.
    pub(crate) fn new(dir: &Path, column: &'static str, rows_per_document: usize) -> Self {
        let (under_way, whole) = (None, Vec::new());
        Self { dir: dir.to_owned(), column, rows_per_document, under_way, whole }
    }

    /// Adds rows that follow the earlier ones.
    pub(crate) fn push(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let column = rows.column_by_name(self.column).expect("a column of the schema");
        let texts = TextColumn::of(column).expect("texts");
        let mut part = match self.under_way.take() {
            Some(part) => part,
            None => {
                let number = self.whole.len();
                PartWriter::create(self.dir.with_extension(format!("part-{number}")), self.rows_per_document)
                    .context(ErrorKind::Retry, || self.doing())?
            }
        };
        let pushed = (0..texts.len()).try_for_each(|row| part.push(texts.get(row).unwrap_or_default()));
        self.under_way = Some(part);
        pushed.context(ErrorKind::Retry, || self.doing())
    }

    /// Adds the rows of an index behind the earlier ones; `false` and nothing when it is not one that this program would write.
    pub(crate) fn append(&mut self, part: WholePart) -> Result<bool, Error> {
        if part.segment.schema() != schema(self.rows_per_document).0 {
            return Ok(false);
        }
        self.end_part()?;
        self.whole.push(part);
        Ok(true)
    }

    /// Writes the index to disk; making it durable is the caller's.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.end_part()?;
        let own: Vec<PathBuf> = self.whole.iter().filter_map(|part| part.own.clone()).collect();
        match &own[..] {
            [only] if self.whole.len() == 1 => {
                std::fs::rename(only, &self.dir).context(ErrorKind::Retry, || self.doing())?;
            }
            _ => {
                caught(&self.doing(), || self.merge().context(ErrorKind::Retry, || self.doing()))?;
                for part in &own {
                    std::fs::remove_dir_all(part).context(ErrorKind::Retry, || self.doing())?;
                }
            }
        }
        files::write_checksums(&self.dir).context(ErrorKind::Retry, || self.doing())
    }

    fn merge(&self) -> tantivy::Result<()> {
        let segments: Vec<_> = self.whole.iter().map(|part| part.segment.clone()).collect();
        let Some(first) = self.whole.first() else { return Ok(()) };
        let settings = first.searcher.index().settings().clone();
        std::fs::create_dir_all(&self.dir)?;
        let unfiltered = segments.iter().map(|_| None).collect();
        merge_filtered_segments(&segments, settings, unfiltered, MmapDirectory::open(&self.dir)?)?;
        let parts: Vec<Part> = self.whole.iter().flat_map(|part| part.parts.clone()).collect();
        Ok(parts::write(&self.dir, &parts)?)
    }

    fn end_part(&mut self) -> Result<(), Error> {
        if let Some(part) = self.under_way.take() {
            self.whole.push(part.finish().context(ErrorKind::Retry, || self.doing())?);
        }
        Ok(())
    }

    fn doing(&self) -> String {
        format!("writing the text index `{}`", self.dir.display())
    }
}

/// The schema of an index, and its fields of words and of shapes.
fn schema(rows_per_document: usize) -> (Schema, Field, Field) {
    let (field, tokenizer) = if rows_per_document == 1 { WORDS } else { TEXT };
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(tokenizer)
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::Basic);
    let field = schema.add_text_field(field, TextOptions::default().set_indexing_options(indexing));
    let shape = schema.add_bytes_field(SHAPE, STORED);
    (schema.build(), field, shape)
}

/// Writes one part, row by row.
struct PartWriter {
    dir: PathBuf,
    field: Field,
    shape: Field,
    tantivy: SingleSegmentIndexWriter,
    /// Where every row has a document of its own.
    shapes: Option<Shapes>,
    /// Rows of one document.
    rows_per_document: usize,
    written: Part,
    /// Rows of the document under way, and their texts, each once.
    rows: usize,
    texts: HashSet<String>,
}

impl PartWriter {
    fn create(dir: PathBuf, rows_per_document: usize) -> tantivy::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        let (schema, field, shape) = schema(rows_per_document);
        let tokenizers = tantivy::tokenizer::TokenizerManager::new();
        tokenizers.register(TEXT.1, TextTokenizer::default());
        tokenizers.register(WORDS.1, DocumentTokenizer::default());
        // Tantivy wants to have one for a field that is only stored.
        tokenizers.register("default", TextTokenizer::default());
        let tantivy = Index::builder()
            .schema(schema)
            .settings(IndexSettings { docstore_compress_dedicated_thread: false, ..IndexSettings::default() })
            .tokenizers(tokenizers)
            .single_segment_index_writer(MmapDirectory::open(&dir)?, WRITER_BYTES)?;
        let shapes = (rows_per_document == 1).then(Shapes::default);
        let (written, texts) = (Part::default(), HashSet::new());
        Ok(Self { dir, field, shape, tantivy, shapes, rows_per_document, written, rows: 0, texts })
    }

    fn push(&mut self, text: &str) -> tantivy::Result<()> {
        self.written.rows += 1;
        if let Some(shapes) = &mut self.shapes {
            let text = shapes.document(text);
            let mut document = TantivyDocument::default();
            document.add_text(self.field, text);
            return self.add(document);
        }
        if !self.texts.contains(text) {
            self.texts.insert(text.to_owned());
        }
        self.rows += 1;
        if self.rows == self.rows_per_document { self.end_document() } else { Ok(()) }
    }

    fn add(&mut self, document: TantivyDocument) -> tantivy::Result<()> {
        self.written.documents += 1;
        self.tantivy.add_document(document)
    }

    fn end_document(&mut self) -> tantivy::Result<()> {
        self.rows = 0;
        let mut document = TantivyDocument::default();
        self.texts.drain().for_each(|text| document.add_text(self.field, text));
        self.add(document)
    }

    fn finish(mut self) -> tantivy::Result<WholePart> {
        if self.rows > 0 {
            self.end_document()?;
        }
        for shape in self.shapes.take().map(Shapes::into_shapes).unwrap_or_default() {
            let mut document = TantivyDocument::default();
            document.add_text(self.field, shapes::words(&shape));
            document.add_bytes(self.shape, shape.as_bytes());
            self.add(document)?;
        }
        let index = self.tantivy.finalize()?;
        let reader: IndexReader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let whole = WholePart::new(reader.searcher(), vec![self.written])?;
        let whole =
            whole.ok_or_else(|| tantivy::TantivyError::InternalError("no segment was written".to_owned()))?;
        Ok(WholePart { own: Some(self.dir), ..whole })
    }
}
