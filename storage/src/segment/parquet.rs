//! One Parquet file under construction: row groups whose columns are encoded side by side.
//!
//! ```text
//! batch ─► column 0 │ column 1 │ … │ what else is to be done with the batch     on as many threads as are given
//!             └──────────┴──────────► row group full: chunks end to end ─► file
//! ```
//!
//! Does not own: encodings and sizes (`form`), the columns (`layout`), columns of numbered texts (`dictionary`).
//!
//! Memory: one row group, compressed.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int32Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::{Buf as _, Bytes};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::SerializedFileWriter;

use super::checksums::{CheckedFile, Summing};
use super::dictionary::{DictionaryChunk, DictionaryWriter};
use super::form::{Form, GROUP_BYTES_MAX, ROWS_PER_GROUP};
use crate::error::{Context as _, Error, ErrorKind};

/// What is done with a batch beside encoding it.
pub(crate) type Task<'a> = Box<dyn FnOnce() -> Result<(), Error> + Send + 'a>;

/// Does tasks on so many threads, this one among them, and returns the first error. After one what is left may stay undone.
pub(crate) fn side_by_side(threads: usize, tasks: Vec<Task<'_>>) -> Result<(), Error> {
    if threads < 2 || tasks.len() < 2 {
        return tasks.into_iter().try_for_each(|task| task());
    }
    let helpers = (threads - 1).min(tasks.len() - 1);
    let left = Mutex::new(tasks.into_iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(task) = next() {
            task()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(work)).collect();
        let mut result = work();
        for helper in helpers {
            match helper.join() {
                Ok(helped) => result = result.and(helped),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        result
    })
}

/// Writes one file.
pub(super) struct ParquetWriter {
    file: SerializedFileWriter<Summing>,
    form: Form,
    factory: ArrowRowGroupWriterFactory,
    /// Makes the writer of one column, by its place in the schema, which has a form of its own.
    text: Option<(usize, ArrowRowGroupWriterFactory)>,
    schema: SchemaRef,
    /// Columns whose texts became too many for a dictionary: the library goes on without one.
    unnumbered: BTreeSet<usize>,
    group: Option<Group>,
    threads: usize,
}

/// The row group under way.
struct Group {
    rows: usize,
    /// Of the schema.
    columns: Vec<ColumnWriter>,
}

/// A column of the schema in the row group under way.
enum ColumnWriter {
    /// Its leaves.
    Arrow(Vec<ArrowColumnWriter>),
    /// Texts that are numbered.
    Dictionary(DictionaryWriter),
}

/// A column of the schema in a row group that has ended.
enum ColumnChunk {
    Arrow(Vec<ArrowColumnChunk>),
    Dictionary(Box<DictionaryChunk>),
}

impl ColumnWriter {
    fn bytes(&self) -> usize {
        match self {
            Self::Arrow(leaves) => leaves.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum(),
            Self::Dictionary(texts) => texts.bytes(),
        }
    }

    fn is_full(&self) -> bool {
        matches!(self, Self::Dictionary(texts) if texts.is_full())
    }

    fn takes(&self, data_type: &DataType) -> bool {
        matches!(self, Self::Dictionary(_)) == matches!(data_type, DataType::Dictionary(..))
    }

    fn write(&mut self, field: &FieldRef, column: &ArrayRef) -> ParquetResult<()> {
        match self {
            Self::Arrow(leaves) => {
                let levels = compute_leaves(field, column)?;
                leaves.iter_mut().zip(&levels).try_for_each(|(leaf, level)| leaf.write(level))
            }
            Self::Dictionary(texts) => texts.write(column.as_dictionary::<Int32Type>()),
        }
    }

    fn close(self) -> ParquetResult<ColumnChunk> {
        Ok(match self {
            Self::Arrow(leaves) => {
                let chunks = leaves.into_iter().map(ArrowColumnWriter::close);
                ColumnChunk::Arrow(chunks.collect::<ParquetResult<_>>()?)
            }
            Self::Dictionary(texts) => ColumnChunk::Dictionary(Box::new(texts.close()?)),
        })
    }
}

impl Group {
    fn bytes(&self) -> usize {
        self.columns.iter().map(ColumnWriter::bytes).sum()
    }

    /// Whether its columns go on with these rows: a text column is numbered in a row group, or is not.
    fn takes(&self, rows: &RecordBatch) -> bool {
        self.columns.iter().zip(rows.columns()).all(|(writer, column)| writer.takes(column.data_type()))
    }

    /// How many more rows it takes, as far as can be told from those it has.
    fn room(&self) -> usize {
        if self.columns.iter().any(ColumnWriter::is_full) {
            return 0;
        }
        let rows = ROWS_PER_GROUP - self.rows;
        let Some(row_bytes) = self.bytes().checked_div(self.rows).filter(|bytes| *bytes > 0) else {
            return rows;
        };
        rows.min(GROUP_BYTES_MAX.saturating_sub(self.bytes()) / row_bytes)
    }
}

impl ParquetWriter {
    /// Begins a file whose columns are encoded on so many threads.
    pub(super) fn new(file: Summing, schema: SchemaRef, form: Form, threads: usize) -> ParquetResult<Self> {
        let (name, text) = &form.text;
        let text = match schema.index_of(name) {
            Ok(at) => Some((at, factory(std::io::sink(), &schema, text.clone())?.1)),
            Err(_) => None,
        };
        let (file, factory) = factory(file, &schema, form.columns.clone())?;
        Ok(Self { file, form, factory, text, schema, unnumbered: BTreeSet::new(), group: None, threads })
    }

    /// Appends rows, and does what else is to be done meanwhile. Texts may be numbered: a dictionary by `Int32`.
    pub(super) fn write(&mut self, rows: &RecordBatch, beside: Vec<Task<'_>>) -> Result<(), Error> {
        let doing = || "encoding columns".to_owned();
        let mut beside = beside;
        let mut left = self.unnumbered(rows.clone()).context(ErrorKind::Internal, doing)?;
        while left.num_rows() > 0 {
            let mut group = match self.group.take() {
                Some(group) => group,
                None => self.begin_group(&left).context(ErrorKind::Retry, doing)?,
            };
            if !group.takes(&left) {
                self.end_group(group)?;
                continue;
            }
            let fits = group.room().min(left.num_rows());
            if fits == 0 {
                self.end_group(group)?;
                continue;
            }
            let now = left.slice(0, fits);
            left = left.slice(fits, left.num_rows() - fits);
            let mut tasks = std::mem::take(&mut beside);
            for (at, writer) in group.columns.iter_mut().enumerate() {
                let (field, column) = (&self.schema.fields()[at], now.column(at));
                tasks.push(Box::new(move || writer.write(field, column).context(ErrorKind::Internal, doing)));
            }
            side_by_side(self.threads, tasks)?;
            group.rows += fits;
            match group.room() {
                0 => {
                    let full = group.columns.iter().enumerate().filter(|(_, writer)| writer.is_full());
                    self.unnumbered.extend(full.map(|(at, _)| at));
                    self.end_group(group)?;
                    left = self.unnumbered(left).context(ErrorKind::Internal, doing)?;
                }
                _ => self.group = Some(group),
            }
        }
        beside.into_iter().try_for_each(|task| task())
    }

    /// The same rows, with texts in the columns that are not numbered any more.
    fn unnumbered(&self, rows: RecordBatch) -> Result<RecordBatch, ArrowError> {
        if self.unnumbered.is_empty() {
            return Ok(rows);
        }
        let (mut fields, mut columns) = (rows.schema_ref().fields().to_vec(), rows.columns().to_vec());
        for at in &self.unnumbered {
            fields[*at] = Arc::clone(&self.schema.fields()[*at]);
            columns[*at] = cast(&columns[*at], fields[*at].data_type())?;
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }

    /// A row group that begins with these rows.
    fn begin_group(&self, rows: &RecordBatch) -> ParquetResult<Group> {
        let mut columns = self.writers(&self.factory)?;
        if let Some((at, factory)) = &self.text {
            columns[*at] = self.writers(factory)?.swap_remove(*at);
        }
        let descriptor = self.file.schema_descr();
        for (at, writer) in columns.iter_mut().enumerate() {
            if !writer.takes(rows.column(at).data_type()) {
                let leaf =
                    (0..descriptor.num_columns()).find(|leaf| descriptor.get_column_root_idx(*leaf) == at);
                let column = descriptor.column(leaf.expect("a column has a leaf"));
                let form = self.form.dictionary(self.schema.field(at).name());
                *writer = ColumnWriter::Dictionary(DictionaryWriter::new(column, form));
            }
        }
        Ok(Group { rows: 0, columns })
    }

    /// Of each column of the schema.
    fn writers(&self, factory: &ArrowRowGroupWriterFactory) -> ParquetResult<Vec<ColumnWriter>> {
        let at = self.file.flushed_row_groups().len();
        let mut writers = factory.create_column_writers(at)?.into_iter();
        let descriptor = self.file.schema_descr();
        let mut columns: Vec<Vec<ArrowColumnWriter>> =
            self.schema.fields().iter().map(|_| Vec::new()).collect();
        for leaf in 0..descriptor.num_columns() {
            columns[descriptor.get_column_root_idx(leaf)].extend(writers.next());
        }
        Ok(columns.into_iter().map(ColumnWriter::Arrow).collect())
    }

    fn end_group(&mut self, group: Group) -> Result<(), Error> {
        let doing = || "ending a row group".to_owned();
        let mut columns: Vec<_> = group.columns.into_iter().map(|writer| (Some(writer), None)).collect();
        let close = |(writer, chunk): &mut (Option<ColumnWriter>, Option<ColumnChunk>)| {
            *chunk =
                writer.take().map(ColumnWriter::close).transpose().context(ErrorKind::Internal, doing)?;
            Ok(())
        };
        let tasks = columns.iter_mut().map(|column| Box::new(move || close(column)) as Task<'_>).collect();
        side_by_side(self.threads, tasks)?;
        let end = || -> ParquetResult<()> {
            let mut group = self.file.next_row_group()?;
            for chunk in columns.into_iter().filter_map(|(_, chunk)| chunk) {
                match chunk {
                    ColumnChunk::Arrow(leaves) => {
                        leaves.into_iter().try_for_each(|leaf| leaf.append_to_row_group(&mut group))?;
                    }
                    ColumnChunk::Dictionary(texts) => texts.append_to(&mut group)?,
                }
            }
            group.close()?;
            Ok(())
        };
        end().context(ErrorKind::Retry, doing)
    }

    /// Appends a row group of a file with the same columns, as it is there. None is under way.
    pub(super) fn append(
        &mut self,
        file: &CheckedFile,
        metadata: &ParquetMetaData,
        group: usize,
    ) -> Result<(), Error> {
        let chunks = metadata.row_group(group).columns().iter().map(|chunk| CopiedChunk::read(file, chunk));
        let chunks = chunks.collect::<ParquetResult<Vec<_>>>();
        let chunks = chunks.context(ErrorKind::Damaged, || "reading a row group".to_owned())?;
        let copied = |column: usize, chunk: &ColumnChunkMetaData| ColumnCloseResult {
            bytes_written: chunk.compressed_size().max(0) as u64,
            rows_written: metadata.row_group(group).num_rows().max(0) as u64,
            metadata: chunk.clone(),
            bloom_filter: None,
            column_index: metadata
                .column_index()
                .map(|index| index[group][column].clone())
                .filter(|index| !matches!(index, ColumnIndexMetaData::NONE)),
            offset_index: metadata.offset_index().map(|index| index[group][column].clone()),
        };
        let append = || -> ParquetResult<()> {
            let mut into = self.file.next_row_group()?;
            for (column, chunk) in chunks.into_iter().enumerate() {
                into.append_column(&chunk, copied(column, metadata.row_group(group).column(column)))?;
            }
            into.close()?;
            Ok(())
        };
        // What the disk says comes from outside of the library; all else is about the row group.
        append().map_err(|error| match error {
            ParquetError::External(_) => Error::retry(format!("copying a row group: {error}")),
            _ => Error::damaged(format!("copying a row group: {error}")),
        })
    }

    /// Ends the row group under way.
    pub(super) fn end_open_group(&mut self) -> Result<(), Error> {
        self.group.take().map_or(Ok(()), |group| self.end_group(group))
    }

    /// Row groups that have ended.
    pub(super) fn groups(&self) -> usize {
        self.file.flushed_row_groups().len()
    }

    /// Adds to what the file says of itself.
    pub(super) fn add_metadata(&mut self, metadata: KeyValue) {
        self.file.append_key_value_metadata(metadata);
    }

    /// Writes what is left, and the footer.
    pub(super) fn finish(mut self) -> Result<Summing, Error> {
        self.end_open_group()?;
        self.file.into_inner().context(ErrorKind::Retry, || "writing the footer".to_owned())
    }
}

/// The bytes of a column chunk, under the offset that they have in their file.
struct CopiedChunk {
    start: u64,
    bytes: Bytes,
}

impl CopiedChunk {
    fn read(file: &CheckedFile, chunk: &ColumnChunkMetaData) -> ParquetResult<Self> {
        let (start, length) = chunk.byte_range();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Ok(Self { start, bytes: file.get_bytes(start, length)? })
    }

    fn at(&self, start: u64) -> ParquetResult<Bytes> {
        let at = start.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let at = at.filter(|at| *at <= self.bytes.len());
        at.map(|at| self.bytes.slice(at..))
            .ok_or_else(|| ParquetError::General("outside of its column".to_owned()))
    }
}

impl Length for CopiedChunk {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for CopiedChunk {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(self.at(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.at(start)?;
        match length <= bytes.len() {
            true => Ok(bytes.slice(..length)),
            false => Err(ParquetError::General("outside of its column".to_owned())),
        }
    }
}

/// A file, and what makes writers of its columns.
fn factory<W: Write + Send>(
    file: W,
    schema: &SchemaRef,
    properties: WriterProperties,
) -> ParquetResult<(SerializedFileWriter<W>, ArrowRowGroupWriterFactory)> {
    ArrowWriter::try_new(file, SchemaRef::clone(schema), Some(properties))?.into_serialized_writer()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow::array::{DictionaryArray, Int32Array, StringArray};
    use disk::{Appender, Fs as _, RealFs};
    use model::Signal;
    use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
    use parquet::file::metadata::PageIndexPolicy;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};

    use super::*;
    use crate::segment::form::{DICTIONARY_BYTES_MAX, form};
    use crate::segment::layout::Layout;

    #[test]
    fn a_column_goes_on_without_numbers_when_its_texts_become_too_many_for_a_dictionary() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("data.parquet");
        let texts = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let numbered = Arc::new(Schema::new(vec![arrow::datatypes::Field::new("text", texts, false)]));
        let schema = Arc::new(Schema::new(vec![arrow::datatypes::Field::new("text", DataType::Utf8, false)]));
        let file = Summing::new(Appender::new(RealFs.create(&path).expect("created")));
        let form = form(&Layout::new(Signal::Logs, Vec::new(), Vec::new()), 1, true);
        let mut writer = ParquetWriter::new(file, schema, form, 1).expect("a writer");
        // Each batch has a hundred texts that no other has, which together are too much.
        for batch in 0..6 {
            let long = "x".repeat(DICTIONARY_BYTES_MAX / 100);
            let values = (0..100).map(|number| format!("{batch} {number} {long}"));
            let values: ArrayRef = Arc::new(StringArray::from_iter_values(values));
            let keys = Int32Array::from_iter_values((0..1_000).map(|row| row % 100));
            let rows: ArrayRef = Arc::new(DictionaryArray::new(keys, values));
            let rows = RecordBatch::try_new(Arc::clone(&numbered), vec![rows]).expect("rows");
            writer.write(&rows, Vec::new()).expect("written");
        }
        writer.finish().expect("finished");
        let file = SerializedFileReader::new(std::fs::File::open(&path).expect("there")).expect("Parquet");
        let groups = file.metadata().row_groups();
        assert_eq!(groups.iter().map(|group| group.num_rows()).collect::<Vec<_>>(), [1_000, 5_000]);
    }

    #[test]
    fn bodies_that_no_index_tells_of_stand_in_pages_of_twice_as_many_rows() {
        let dir = tempfile::tempdir().expect("a folder");
        let rows_of_pages = |text_index: bool, body_bytes: usize| -> Vec<i64> {
            let path = dir.path().join(format!("{text_index} {body_bytes}"));
            let field = arrow::datatypes::Field::new("body", DataType::Utf8, false);
            let schema = Arc::new(Schema::new(vec![field]));
            let file = Summing::new(Appender::new(RealFs.create(&path).expect("created")));
            let form = form(&Layout::new(Signal::Logs, Vec::new(), Vec::new()), 1, text_index);
            let mut writer = ParquetWriter::new(file, Arc::clone(&schema), form, 1).expect("a writer");
            let bodies = (0..16_384).map(|row| format!("{row:body_bytes$}"));
            let bodies: ArrayRef = Arc::new(StringArray::from_iter_values(bodies));
            let rows = RecordBatch::try_new(schema, vec![bodies]).expect("rows");
            writer.write(&rows, Vec::new()).expect("written");
            writer.finish().expect("finished");
            let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
            let footer = ArrowReaderMetadata::load(&std::fs::File::open(&path).expect("there"), options);
            let footer = footer.expect("Parquet");
            let pages = footer.metadata().offset_index().expect("an index of pages")[0][0].page_locations();
            let starts: Vec<i64> = pages.iter().map(|page| page.first_row_index).chain([16_384]).collect();
            starts.windows(2).map(|pair| pair[1] - pair[0]).collect()
        };
        let largest = |text_index, body_bytes| rows_of_pages(text_index, body_bytes).into_iter().max();
        // A page that begins in a dictionary and goes on without it has a few more.
        assert!((Some(4_096)..Some(5_120)).contains(&largest(true, 20)));
        assert!((Some(8_192)..Some(9_216)).contains(&largest(false, 20)));
        // Of long ones a page has half a megabyte, or one, or a few more.
        let [indexed, scanned] = [true, false].map(|text_index| largest(text_index, 1_000).expect("pages"));
        assert!((500..2_000).contains(&indexed) && scanned > indexed * 3 / 2, "{indexed} {scanned}");
    }

    #[test]
    fn all_tasks_are_done_and_the_error_of_one_is_told() {
        for threads in [1, 2, 5] {
            let done = AtomicUsize::new(0);
            let count = |at: usize| -> Task<'_> {
                let done = &done;
                Box::new(move || {
                    done.fetch_add(1, Ordering::Relaxed);
                    if at == 9 { Err(Error::retry("the tenth")) } else { Ok(()) }
                })
            };
            side_by_side(threads, (0..9).map(count).collect()).expect("none fails");
            assert_eq!(done.load(Ordering::Relaxed), 9);
            let error = side_by_side(threads, (0..10).map(count).collect()).expect_err("one failed");
            assert!(error.to_string().contains("the tenth"), "{error}");
        }
    }
}
