//! The tantivy side of the text index: one field of words, documents only, no norms; in the store stand the shapes.

use std::collections::{BTreeSet, HashSet};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use arrow::array::RecordBatch;
use memchr::memmem::Finder;
use tantivy::indexer::SingleSegmentIndexWriter;
use tantivy::postings::TermInfo;
use tantivy::schema::{Field, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions, Value as _};
use tantivy::{
    DocId, Index, IndexReader, IndexSettings, InvertedIndexReader, ReloadPolicy, SegmentReader,
    TantivyDocument,
};

use super::shapes::{self, DocumentTokenizer, Shapes};
use super::tokens::TextTokenizer;
use super::{Piece, Rows, TextHint, TextRows, files};
use crate::error::{Context as _, Error, ErrorKind};
use crate::rows::TextColumn;

const WRITER_BYTES: usize = 64 << 20;
/// Blocks of stored shapes that are kept while they are read in order.
const STORE_BLOCKS: usize = 1;
/// The field of texts, and its tokenizer.
const TEXT: (&str, &str) = ("text", "silmari");
/// The field of documents that [`Shapes`] has put together, and its tokenizer.
const WORDS: (&str, &str) = ("words", "silmari-lines");
/// What is stored of the document of a shape: the shape.
const SHAPE: &str = "shape";
/// Rows of one document where many rows have the same text.
pub(crate) const ROWS_PER_DOCUMENT: usize = 128;
/// Fewer rows are read sooner than shapes are asked; tests have few.
const SURE_ROWS_MIN: usize = if cfg!(test) { 1 } else { 1_000 };
/// Tokens one piece may be part of; with more it rules out too little to be worth it.
const TOKENS_MAX: usize = 20_000;

/// Writes the text index of sorted rows, batch by batch.
pub(crate) struct TextIndexWriter {
    dir: PathBuf,
    column: &'static str,
    field: Field,
    shape: Field,
    tantivy: SingleSegmentIndexWriter,
    /// Where every row has a document of its own.
    shapes: Option<Shapes>,
    /// Rows of one document.
    rows_per_document: usize,
    /// Rows of the document under way, and their texts, each once.
    rows: usize,
    texts: HashSet<String>,
}

impl TextIndexWriter {
    /// Begins an index of `column` in the folder `dir`, which is made, with a document for so many rows each.
    pub(crate) fn create(dir: &Path, column: &'static str, rows_per_document: usize) -> Result<Self, Error> {
        let doing = || format!("writing the text index `{}`", dir.display());
        std::fs::create_dir_all(dir).context(ErrorKind::Retry, doing)?;
        let directory = tantivy::directory::MmapDirectory::open(dir).context(ErrorKind::Retry, doing)?;
        let shapes = (rows_per_document == 1).then(Shapes::default);
        let (field, tokenizer) = if shapes.is_some() { WORDS } else { TEXT };
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(tokenizer)
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::Basic);
        let field = schema.add_text_field(field, TextOptions::default().set_indexing_options(indexing));
        let shape = schema.add_bytes_field(SHAPE, STORED);
        let tokenizers = tantivy::tokenizer::TokenizerManager::new();
        tokenizers.register(TEXT.1, TextTokenizer::default());
        tokenizers.register(WORDS.1, DocumentTokenizer::default());
        // Tantivy wants to have one for a field that is only stored.
        tokenizers.register("default", TextTokenizer::default());
        let tantivy = Index::builder()
            .schema(schema.build())
            .settings(IndexSettings { docstore_compress_dedicated_thread: false, ..IndexSettings::default() })
            .tokenizers(tokenizers)
            .single_segment_index_writer(directory, WRITER_BYTES)
            .context(ErrorKind::Retry, doing)?;
        let (dir, texts) = (dir.to_owned(), HashSet::new());
        Ok(Self { dir, column, field, shape, tantivy, shapes, rows_per_document, rows: 0, texts })
    }

    /// Adds rows that follow the earlier ones.
    pub(crate) fn push(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let column = rows.column_by_name(self.column).expect("a column of the schema");
        let texts = TextColumn::of(column).expect("texts");
        for row in 0..texts.len() {
            let text = texts.get(row).unwrap_or_default();
            if let Some(shapes) = &mut self.shapes {
                let text = shapes.document(text);
                let mut document = TantivyDocument::default();
                document.add_text(self.field, text);
                self.add(document)?;
                continue;
            }
            if !self.texts.contains(text) {
                self.texts.insert(text.to_owned());
            }
            self.rows += 1;
            if self.rows == self.rows_per_document {
                self.end_document()?;
            }
        }
        Ok(())
    }

    fn add(&mut self, document: TantivyDocument) -> Result<(), Error> {
        self.tantivy
            .add_document(document)
            .context(ErrorKind::Retry, || format!("writing the text index `{}`", self.dir.display()))
    }

    fn end_document(&mut self) -> Result<(), Error> {
        self.rows = 0;
        let mut document = TantivyDocument::default();
        self.texts.drain().for_each(|text| document.add_text(self.field, text));
        self.add(document)
    }

    /// Writes the index to disk; making it durable is the caller's.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        if self.rows > 0 {
            self.end_document()?;
        }
        for shape in self.shapes.take().map(Shapes::into_shapes).unwrap_or_default() {
            let mut document = TantivyDocument::default();
            document.add_text(self.field, shapes::words(&shape));
            document.add_bytes(self.shape, shape.as_bytes());
            self.add(document)?;
        }
        let doing = || format!("writing the text index `{}`", self.dir.display());
        self.tantivy.finalize().context(ErrorKind::Retry, doing)?;
        files::write_checksums(&self.dir).context(ErrorKind::Retry, doing)
    }
}

/// A text index that is open for reading.
pub(crate) struct TextIndex {
    dir: PathBuf,
    /// What was wrong with its files, if something was, once they were looked at.
    checked: OnceLock<Result<(), String>>,
    reader: IndexReader,
    field: Field,
    /// Where shapes are stored; older files have them in no such place.
    shape: Option<Field>,
    /// Rows of the segment, and of one document.
    rows: usize,
    rows_per_document: usize,
    /// Documents of rows; those of shapes stand behind them.
    row_documents: u32,
}

impl std::fmt::Debug for TextIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextIndex").finish_non_exhaustive()
    }
}

/// How much of the dictionary is walked to find the tokens that a piece can be part of, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Walk {
    Token,
    Prefix,
    All,
}

impl Walk {
    const fn of(piece: &Piece) -> Self {
        match (piece.is_start, piece.is_end) {
            (true, true) => Self::Token,
            (true, false) => Self::Prefix,
            (false, _) => Self::All,
        }
    }

    /// With so many rows left the walk costs more than it saves.
    const fn worth_rows(self) -> usize {
        match self {
            Self::Token | Self::Prefix => 0,
            Self::All => 256,
        }
    }
}

impl TextIndex {
    /// Opens the index in `dir`, of a segment with so many rows.
    pub(crate) fn open(dir: &Path, rows: usize) -> Result<Self, Error> {
        caught(&format!("opening the text index `{}`", dir.display()), || Self::open_files(dir, rows))
    }

    fn open_files(dir: &Path, rows: usize) -> Result<Self, Error> {
        let doing = || format!("opening the text index `{}`", dir.display());
        let index = Index::open_in_dir(dir).context(ErrorKind::Damaged, doing)?;
        let words = index.schema().get_field(WORDS.0).ok();
        let shape = index.schema().get_field(SHAPE).ok();
        let field = match words {
            Some(field) => field,
            None => index.schema().get_field(TEXT.0).context(ErrorKind::Damaged, doing)?,
        };
        let reader: IndexReader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()
            .context(ErrorKind::Damaged, doing)?;
        let documents = reader.searcher().num_docs() as usize;
        let is_of_rows = words.is_some() || documents == rows;
        let rows_per_document = if is_of_rows { 1 } else { ROWS_PER_DOCUMENT };
        let row_documents = rows.div_ceil(rows_per_document);
        if documents < row_documents {
            return Err(Error::damaged(format!(
                "{}: {documents} documents are too few for {rows} rows",
                doing()
            )));
        }
        let row_documents = row_documents as u32;
        let (dir, checked) = (dir.to_owned(), OnceLock::new());
        Ok(Self { dir, checked, reader, field, shape, rows, rows_per_document, row_documents })
    }

    /// The rows that contain all of the hint or may; `None` when the hint rules out too little.
    pub(crate) fn rows(&self, hint: &TextHint) -> Result<Option<TextRows>, Error> {
        let doing = || format!("reading the text index `{}`", self.dir.display());
        if let Err(problem) = self.checked.get_or_init(|| files::check(&self.dir)) {
            return Err(Error::damaged(format!("{}: {problem}", doing())));
        }
        let searcher = self.reader.searcher();
        let Some(segment) = searcher.segment_readers().first() else { return Ok(None) };
        let index = segment.inverted_index(self.field).context(ErrorKind::Damaged, doing)?;
        let mut found: Option<Found> = None;
        let mut pieces: Vec<&Piece> = hint.pieces().iter().collect();
        pieces.sort_by_key(|piece| Walk::of(piece));
        for piece in pieces {
            // Few rows are read sooner than a dictionary.
            if found.as_ref().is_some_and(|found| found.maybe.count() <= Walk::of(piece).worth_rows()) {
                break;
            }
            let Some(terms) = terms(&index, piece).context(ErrorKind::Damaged, doing)? else { continue };
            let documents = self.documents(&index, &terms).context(ErrorKind::Damaged, doing)?;
            match &mut found {
                Some(found) => found.narrow(&index, documents).context(ErrorKind::Damaged, doing)?,
                None => {
                    let first = self.first(segment, &index, documents, hint);
                    found = Some(first.context(ErrorKind::Damaged, doing)?);
                }
            }
        }
        Ok(found.map(|found| match self.rows_per_document {
            1 => TextRows { sure: found.sure, maybe: found.maybe },
            _ => TextRows { sure: Rows::new(0), maybe: self.rows_of(&found.maybe) },
        }))
    }

    /// The documents that have one of the terms.
    fn documents(&self, index: &InvertedIndexReader, terms: &[TermInfo]) -> std::io::Result<Documents> {
        let mut rows = Rows::new(self.row_documents as usize);
        let mut shapes = BTreeSet::new();
        for term in terms {
            each_document(index, term, &mut |document| match document.checked_sub(self.row_documents) {
                None => rows.add(document),
                Some(shape) => drop(shapes.insert(shape)),
            })?;
        }
        Ok(Documents { rows, shapes })
    }

    /// What the documents of the first piece say of rows.
    fn first(
        &self,
        segment: &SegmentReader,
        index: &InvertedIndexReader,
        documents: Documents,
        hint: &TextHint,
    ) -> tantivy::Result<Found> {
        let Documents { rows: mut maybe, shapes } = documents;
        let of_shapes = terms_of(index, &shapes)?;
        let rows = maybe.count() + of_shapes.iter().map(|(_, term)| term.doc_freq as usize).sum::<usize>();
        let sure_shapes = match rows < SURE_ROWS_MIN {
            true => BTreeSet::new(),
            false => self.sure_shapes(segment, &shapes, hint)?,
        };
        let mut sure = Rows::new(self.row_documents as usize);
        for (shape, term) in &of_shapes {
            let rows = if sure_shapes.contains(shape) { &mut sure } else { &mut maybe };
            each_document(index, term, &mut |document| rows.add(document))?;
        }
        maybe.remove(&sure);
        Ok(Found { sure_shapes, sure, maybe })
    }

    /// Those of the shapes whose lines all contain what the hint says.
    fn sure_shapes(
        &self,
        segment: &SegmentReader,
        shapes: &BTreeSet<u32>,
        hint: &TextHint,
    ) -> tantivy::Result<BTreeSet<u32>> {
        let Some(field) = self.shape.filter(|_| !shapes.is_empty()) else { return Ok(BTreeSet::new()) };
        let store = segment.get_store_reader(STORE_BLOCKS)?;
        let mut sure = BTreeSet::new();
        for shape in shapes {
            let document: TantivyDocument = store.get(self.row_documents + shape)?;
            let text = document.get_first(field).and_then(|value| value.as_bytes());
            let text = text.and_then(|text| std::str::from_utf8(text).ok());
            if text.is_some_and(|text| hint.patterns().iter().all(|pattern| shapes::has(text, pattern))) {
                sure.insert(*shape);
            }
        }
        Ok(sure)
    }

    /// The rows of documents.
    fn rows_of(&self, documents: &Rows) -> Rows {
        let mut rows = Rows::new(self.rows);
        for document in documents.iter() {
            let first = document * self.rows_per_document;
            (first..(first + self.rows_per_document).min(self.rows)).for_each(|row| rows.add(row as u32));
        }
        rows
    }
}

/// Documents of rows, and shapes that have one of the words looked for.
struct Documents {
    rows: Rows,
    shapes: BTreeSet<u32>,
}

/// What the pieces so far leave. A shape whose lines all contain the text has every piece of it, so that the first says
/// which these are, and only rows of others are narrowed by those that follow.
struct Found {
    sure_shapes: BTreeSet<u32>,
    sure: Rows,
    maybe: Rows,
}

impl Found {
    /// Leaves only what has the next piece as well.
    fn narrow(&mut self, index: &InvertedIndexReader, documents: Documents) -> std::io::Result<()> {
        let Documents { mut rows, mut shapes } = documents;
        shapes.retain(|shape| !self.sure_shapes.contains(shape));
        for (_, term) in terms_of(index, &shapes)? {
            each_document(index, &term, &mut |document| rows.add(document))?;
        }
        self.maybe.keep(&rows);
        Ok(())
    }
}

/// The terms of shapes that rows have.
fn terms_of(index: &InvertedIndexReader, shapes: &BTreeSet<u32>) -> std::io::Result<Vec<(u32, TermInfo)>> {
    let term = |shape: &u32| index.terms().get(shapes::term(*shape)).map(|term| Some((*shape, term?)));
    shapes.iter().filter_map(|shape| term(shape).transpose()).collect()
}

/// The terms that a piece can be part of, and the mark of rows with overlong tokens. `None` when there are too many.
fn terms(index: &InvertedIndexReader, piece: &Piece) -> std::io::Result<Option<Vec<TermInfo>>> {
    let dictionary = index.terms();
    let mut found: Vec<TermInfo> = dictionary.get(b"")?.into_iter().collect();
    let wanted = piece.token.as_bytes();
    if piece.is_start && piece.is_end {
        found.extend(dictionary.get(wanted)?);
        return Ok(Some(found));
    }
    let range = if piece.is_start { dictionary.range().ge(wanted) } else { dictionary.range() };
    let mut stream = range.into_stream()?;
    let finder = Finder::new(wanted);
    while stream.advance() {
        let term = stream.key();
        let is_found = match (piece.is_start, piece.is_end) {
            (true, _) if !term.starts_with(wanted) => break,
            (true, _) => true,
            (false, true) => term.ends_with(wanted),
            (false, false) => finder.find(term).is_some(),
        };
        if is_found {
            found.push(stream.value().clone());
        }
        if found.len() > TOKENS_MAX {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// The documents of a term, a block at a time.
fn each_document(
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
