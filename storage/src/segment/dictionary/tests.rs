//! What other readers rely on: the library reads a chunk of ours as it reads one of its own.

use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{Int32Array, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use super::*;

const ROWS_PER_PAGE: usize = 50;

fn form(statistics: EnabledStatistics) -> DictionaryForm {
    DictionaryForm { rows_per_page: ROWS_PER_PAGE, zstd: ZstdLevel::try_new(1).expect("a level"), statistics }
}

fn schema(is_nullable: bool) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, is_nullable)]))
}

/// A file of one column, in one row group.
fn written(schema: &SchemaRef, batches: &[ArrayRef], statistics: EnabledStatistics) -> Bytes {
    let properties = WriterProperties::builder().build();
    let file =
        ArrowWriter::try_new(Vec::new(), SchemaRef::clone(schema), Some(properties)).expect("a writer");
    let (mut file, _) = file.into_serialized_writer().expect("a file");
    let mut writer = DictionaryWriter::new(file.schema_descr().column(0), form(statistics));
    for batch in batches {
        writer.write(batch.as_dictionary()).expect("written");
    }
    let mut group = file.next_row_group().expect("a row group");
    writer.close().expect("a chunk").append_to(&mut group).expect("appended");
    group.close().expect("ended");
    let mut bytes = file.into_inner().expect("a footer");
    bytes.flush().expect("memory");
    bytes.into()
}

fn metadata(file: &Bytes) -> ArrowReaderMetadata {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    ArrowReaderMetadata::load(file, options).expect("readable")
}

fn read(file: &Bytes, rows: Option<RowSelection>) -> ArrayRef {
    read_as(file, metadata(file), rows)
}

/// As merges read: the numbers and the texts that they stand for.
fn read_numbered(file: &Bytes) -> ArrayRef {
    let key = Box::new(DataType::Int32);
    let texts = DataType::Dictionary(key, Box::new(DataType::Utf8));
    let is_nullable = metadata(file).schema().field(0).is_nullable();
    let schema = Arc::new(Schema::new(vec![Field::new("text", texts, is_nullable)]));
    let options = ArrowReaderOptions::new().with_schema(schema);
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata(file).metadata()), options);
    read_as(file, metadata.expect("readable as numbers"), None)
}

fn read_as(file: &Bytes, metadata: ArrowReaderMetadata, rows: Option<RowSelection>) -> ArrayRef {
    let mut reader =
        ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata).with_batch_size(64);
    if let Some(rows) = rows {
        reader = reader.with_row_selection(rows);
    }
    let batches: Vec<RecordBatch> =
        reader.build().expect("a reader").map(|batch| batch.expect("rows")).collect();
    let all = concat_batches(&batches.first().expect("a batch").schema(), &batches).expect("of one schema");
    Arc::clone(all.column(0))
}

/// Of each page the smallest and the largest text.
fn ranges(metadata: &ParquetMetaData) -> Option<Vec<(Option<String>, Option<String>)>> {
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).expect("a text"));
    match &metadata.column_index()?[0][0] {
        ColumnIndexMetaData::BYTE_ARRAY(index) => {
            let pages = index.min_values_iter().zip(index.max_values_iter());
            Some(pages.map(|(min, max)| (text(min), text(max))).collect())
        }
        _ => None,
    }
}

/// Rows as numbers of their texts, several batches of them with values of their own.
fn batches(rows: &[Option<String>], batch_rows: usize) -> Vec<ArrayRef> {
    let batch = |rows: &[Option<String>]| {
        let texts: StringArray = rows.iter().map(Option::as_deref).collect();
        let key = Box::new(DataType::Int32);
        cast(&texts, &DataType::Dictionary(key, Box::new(DataType::Utf8))).expect("texts are numbered")
    };
    rows.chunks(batch_rows).map(batch).collect()
}

/// Rows that repeat, and rows that do not.
fn rows(is_nullable: bool) -> impl Strategy<Value = Vec<Option<String>>> {
    let text = prop::option::weighted(0.7, prop_oneof!["[ab]", "[a-z]{0,3}", "é{0,2}"]);
    let text = text.prop_map(move |text| if is_nullable { text } else { Some(text.unwrap_or_default()) });
    let run = (text, prop_oneof![4 => 1..3_usize, 1 => 5..120_usize]);
    prop::collection::vec(run, 1..60)
        .prop_map(|runs| runs.into_iter().flat_map(|(text, count)| vec![text; count]).collect())
}

proptest! {
    #[test]
    fn rows_are_read_as_they_were_written_and_so_are_some_of_them(
        (is_nullable, rows) in any::<bool>().prop_flat_map(|is_nullable| (Just(is_nullable), rows(is_nullable))),
        batch_rows in 1..200_usize,
        (skipped, taken) in (0.0..1.0_f64, 0.0..1.0_f64),
    ) {
        let file = written(&schema(is_nullable), &batches(&rows, batch_rows), EnabledStatistics::Page);
        let expected: ArrayRef = Arc::new(rows.iter().map(Option::as_deref).collect::<StringArray>());
        prop_assert_eq!(&read(&file, None), &expected);
        let numbered = read_numbered(&file);
        prop_assert!(numbered.as_dictionary_opt::<Int32Type>().is_some());
        prop_assert_eq!(&cast(&numbered, &DataType::Utf8).expect("texts"), &expected);
        let first = (skipped * (rows.len() - 1) as f64) as usize;
        let count = ((taken * (rows.len() - first) as f64) as usize).max(1);
        let some = RowSelection::from(vec![RowSelector::skip(first), RowSelector::select(count)]);
        prop_assert_eq!(&read(&file, Some(some)), &expected.slice(first, count));
    }

    #[test]
    fn a_page_says_its_smallest_and_its_largest_text_and_the_chunk_those_of_all(rows in rows(true)) {
        let file = written(&schema(true), &batches(&rows, 40), EnabledStatistics::Page);
        let metadata = metadata(&file);
        let metadata = metadata.metadata();
        let expected: Vec<_> = rows
            .chunks(ROWS_PER_PAGE)
            .map(|page| (page.iter().flatten().min().cloned(), page.iter().flatten().max().cloned()))
            .collect();
        prop_assert_eq!(ranges(metadata), Some(expected));
        let statistics = metadata.row_group(0).column(0).statistics().expect("told");
        let told = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).expect("a text"));
        prop_assert_eq!(told(statistics.min_bytes_opt()), rows.iter().flatten().min().cloned());
        prop_assert_eq!(told(statistics.max_bytes_opt()), rows.iter().flatten().max().cloned());
        let nulls = rows.iter().filter(|row| row.is_none()).count() as u64;
        prop_assert_eq!(statistics.null_count_opt(), Some(nulls));
    }
}

#[test]
fn a_text_too_long_to_tell_leaves_out_what_would_be_told_of_it() {
    let long = "x".repeat(TOLD_BYTES_MAX + 1);
    let rows = [Some("a".to_owned()), Some(long.clone())];
    let file = written(&schema(false), &batches(&rows, 2), EnabledStatistics::Page);
    let metadata = metadata(&file);
    assert_eq!(ranges(metadata.metadata()), None);
    let statistics = metadata.metadata().row_group(0).column(0).statistics().expect("nulls are counted");
    assert_eq!((statistics.min_bytes_opt(), statistics.max_bytes_opt()), (None, None));
    assert_eq!(read(&file, None).as_string::<i32>().value(1), long);
}

#[test]
fn a_column_that_rules_nothing_out_tells_nothing() {
    let rows = [Some("a".to_owned())];
    let file = written(&schema(false), &batches(&rows, 1), EnabledStatistics::None);
    let metadata = metadata(&file);
    assert_eq!(ranges(metadata.metadata()), None);
    assert!(metadata.metadata().row_group(0).column(0).statistics().is_none());
}

#[test]
fn values_no_row_has_are_not_in_the_dictionary() {
    let values: ArrayRef = Arc::new(StringArray::from_iter_values(["unused", "used", "unused too"]));
    let keys = Int32Array::from(vec![1; 3]);
    let rows: ArrayRef = Arc::new(DictionaryArray::new(keys, values));
    let mut writer = DictionaryWriter::new(
        ArrowWriter::try_new(Vec::new(), schema(false), None)
            .and_then(ArrowWriter::into_serialized_writer)
            .expect("a file")
            .0
            .schema_descr()
            .column(0),
        form(EnabledStatistics::None),
    );
    writer.write(rows.as_dictionary()).expect("written");
    writer.write(rows.slice(1, 2).as_dictionary()).expect("written");
    assert_eq!(writer.texts, ["used".into()]);
}
