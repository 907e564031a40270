//! The writing side: one field of words, documents only, no norms; the shapes stand beside it. Of indexes that are there already the
//! terms and their documents are put together as they are: the words of a line are found once in its life.
//!
//! ```text
//! push ─► part under way ──────────────┐
//!                                      ├─ one of its own: it is the index
//! append ─► index of another segment ──┘  else: merged by tantivy, documents one behind the other, and `parts.json`
//! ```
//!
//! Memory: the terms of the part under way; of a merge 16 bytes a document.
//!
//! Invariant: of a writer that has finished nothing is there but the folder of the index. An index that cannot be merged costs the index
//! of words, never the rows.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use tantivy::directory::{MmapDirectory, OwnedBytes};
use tantivy::indexer::{SingleSegmentIndexWriter, merge_filtered_segments};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{Index, IndexReader, IndexSettings, ReloadPolicy, Searcher, TantivyDocument, TantivyError};

use super::index::shapes_in;
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

/// Writes the text index of rows, batch by batch. Dropping it unfinished leaves files in the folder of the index and beside it.
pub(crate) struct TextIndexWriter {
    dir: PathBuf,
    column: &'static str,
    rows_per_document: usize,
    /// The rows that were pushed last.
    under_way: Option<PartWriter>,
    /// What stands before them, in the order of the rows.
    whole: Vec<WholePart>,
}

/// An index that is to be a part of another. Its files stay readable while this is there, whoever removes them; until then they take
/// room on the disk.
pub(crate) struct WholePart {
    pub(super) searcher: Searcher,
    pub(super) segment: tantivy::Segment,
    pub(super) rows_per_document: usize,
    pub(super) parts: Vec<Part>,
    pub(super) shapes: Option<OwnedBytes>,
    /// Where it was written, if it is of this writer.
    pub(super) own: Option<PathBuf>,
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
        let has_shapes = part.shapes.is_some() == has_shapes(self.rows_per_document);
        let has_fields = part.segment.schema() == schema(self.rows_per_document).0;
        if part.rows_per_document != self.rows_per_document || !has_fields || !has_shapes {
            return Ok(false);
        }
        self.end_part()?;
        self.whole.push(part);
        Ok(true)
    }

    /// Writes the index to disk; making it durable is the caller's. There is none when what is in its parts cannot be put together.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.end_part()?;
        if let [WholePart { own: Some(only), .. }] = &self.whole[..] {
            std::fs::rename(only, &self.dir).context(ErrorKind::Retry, || self.doing())?;
        } else if !self.put_together()? {
            return Ok(());
        }
        files::write_checksums(&self.dir).context(ErrorKind::Retry, || self.doing())
    }

    /// Makes one index of the parts and removes those of this writer; `false` when it cannot be done, now or later.
    fn put_together(&self) -> Result<bool, Error> {
        let merged = caught(&self.doing(), || {
            self.merge().map_err(|error| Error::new(kind_of(&error), self.doing()).with_source(error))
        });
        for own in self.whole.iter().filter_map(|part| part.own.as_ref()) {
            std::fs::remove_dir_all(own).context(ErrorKind::Retry, || self.doing())?;
        }
        match merged {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Damaged => {
                tracing::error!("{error}: the segment has none, its texts are read");
                std::fs::remove_dir_all(&self.dir).context(ErrorKind::Retry, || self.doing())?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn merge(&self) -> tantivy::Result<()> {
        let segments: Vec<_> = self.whole.iter().map(|part| part.segment.clone()).collect();
        let Some(first) = self.whole.first() else { return Ok(()) };
        let settings = first.searcher.index().settings().clone();
        std::fs::create_dir_all(&self.dir)?;
        let unfiltered = segments.iter().map(|_| None).collect();
        merge_filtered_segments(&segments, settings, unfiltered, MmapDirectory::open(&self.dir)?)?;
        if has_shapes(self.rows_per_document) {
            let mut file = File::create(self.dir.join(shapes::FILE))?;
            self.whole.iter().flat_map(|part| &part.shapes).try_for_each(|shapes| file.write_all(shapes))?;
        }
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

/// Whether a merge may work another time: disks fill, and what is in a file stays. tantivy wraps errors of the disk in others of its own.
fn kind_of(error: &TantivyError) -> ErrorKind {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    use tantivy::directory::error::OpenReadError;
    let of_content =
        |error: &std::io::Error| matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof);
    let is_damage = match error {
        TantivyError::IoError(error) => of_content(error),
        TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. }) => of_content(io_error),
        TantivyError::OpenDirectoryError(_)
        | TantivyError::OpenWriteError(_)
        | TantivyError::LockFailure(..) => false,
        _ => true,
    };
    if is_damage { ErrorKind::Damaged } else { ErrorKind::Retry }
}

/// Whether lines are taken apart.
const fn has_shapes(rows_per_document: usize) -> bool {
    rows_per_document == 1
}

/// The schema of an index, and its field.
fn schema(rows_per_document: usize) -> (Schema, Field) {
    let (field, tokenizer) = if has_shapes(rows_per_document) { WORDS } else { TEXT };
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(tokenizer)
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::Basic);
    let field = schema.add_text_field(field, TextOptions::default().set_indexing_options(indexing));
    (schema.build(), field)
}

/// Writes one part, row by row.
struct PartWriter {
    dir: PathBuf,
    field: Field,
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
        let (schema, field) = schema(rows_per_document);
        let tokenizers = tantivy::tokenizer::TokenizerManager::new();
        tokenizers.register(TEXT.1, TextTokenizer::default());
        tokenizers.register(WORDS.1, DocumentTokenizer::default());
        let tantivy = Index::builder()
            .schema(schema)
            .settings(IndexSettings { docstore_compress_dedicated_thread: false, ..IndexSettings::default() })
            .tokenizers(tokenizers)
            .single_segment_index_writer(MmapDirectory::open(&dir)?, WRITER_BYTES)?;
        let shapes = has_shapes(rows_per_document).then(Shapes::default);
        let (written, texts) = (Part::default(), HashSet::new());
        Ok(Self { dir, field, tantivy, shapes, rows_per_document, written, rows: 0, texts })
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
        if let Some(shapes) = self.shapes.take().map(Shapes::into_shapes) {
            for shape in &shapes {
                let mut document = TantivyDocument::default();
                document.add_text(self.field, shapes::words(shape));
                self.add(document)?;
            }
            let mut file = BufWriter::new(File::create(self.dir.join(shapes::FILE))?);
            shapes::store(&shapes, &mut file)?;
            file.flush()?;
        }
        let index = self.tantivy.finalize()?;
        let reader: IndexReader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let segment = index.searchable_segments()?.pop();
        let segment =
            segment.ok_or_else(|| TantivyError::InternalError("no segment was written".to_owned()))?;
        Ok(WholePart {
            searcher: reader.searcher(),
            segment,
            rows_per_document: self.rows_per_document,
            parts: vec![self.written],
            shapes: shapes_in(&self.dir)?,
            own: Some(self.dir),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind as Io};
    use std::sync::Arc;

    use tantivy::directory::error::OpenReadError;

    use super::*;

    #[test]
    fn a_merge_that_fails_for_the_disk_is_tried_again_and_one_that_fails_for_its_inputs_is_not() {
        let io = |kind| TantivyError::IoError(Arc::new(Error::from(kind)));
        let opening =
            |kind| TantivyError::OpenReadError(OpenReadError::wrap_io_error(Error::from(kind), "x".into()));
        for kind in [Io::StorageFull, Io::QuotaExceeded, Io::Other] {
            assert_eq!([io(kind), opening(kind)].map(|error| kind_of(&error)), [ErrorKind::Retry; 2]);
        }
        for kind in [Io::InvalidData, Io::UnexpectedEof] {
            assert_eq!([io(kind), opening(kind)].map(|error| kind_of(&error)), [ErrorKind::Damaged; 2]);
        }
        assert_eq!(kind_of(&TantivyError::InternalError("a defect".to_owned())), ErrorKind::Damaged);
    }
}
