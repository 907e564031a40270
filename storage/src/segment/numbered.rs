//! Reading rows to write them again: texts that the file has numbered stay numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader};
use parquet::basic::Encoding;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::schema::types::SchemaDescriptor;

use super::form::TEXT;
use super::layout::numbered;
use super::reader::Segment;
use crate::error::{Context as _, Error, ErrorKind};

impl Segment {
    /// The text columns of the file that are numbered in every row group, with the bytes of their dictionaries in the file.
    pub(crate) fn numbered_columns(&self) -> BTreeMap<String, u64> {
        let parquet = self.parquet();
        let groups = parquet.metadata().row_groups();
        let descriptor = parquet.parquet_schema();
        let mut found = BTreeMap::new();
        for (root, field) in parquet.schema().fields().iter().enumerate() {
            let leaf = leaf_of(descriptor, root);
            // What is long is written in a form of its own.
            let may_be = *field.data_type() == DataType::Utf8 && field.name() != TEXT;
            let Some(leaf) = leaf.filter(|_| may_be) else { continue };
            let bytes: Option<u64> = groups.iter().map(|group| dictionary_bytes(group.column(leaf))).sum();
            found.extend(bytes.map(|bytes| (field.name().clone(), bytes)));
        }
        found
    }

    /// Whether a text column of the file is numbered in every row group.
    pub(crate) fn is_numbered(&self, column: &str) -> bool {
        let parquet = self.parquet();
        let is_it = |field: &Arc<Field>| field.name() == column && *field.data_type() == DataType::Utf8;
        let root = parquet.schema().fields().iter().position(is_it);
        let Some(leaf) =
            root.filter(|_| column != TEXT).and_then(|root| leaf_of(parquet.parquet_schema(), root))
        else {
            return false;
        };
        parquet.metadata().row_groups().iter().all(|group| dictionary_bytes(group.column(leaf)).is_some())
    }

    /// A reader of the rows of row groups that are not hidden, in the columns of the file, of which these are numbers of texts.
    pub(crate) fn numbered_reader(
        &self,
        columns: &BTreeSet<String>,
        groups: Range<usize>,
        batch_rows: usize,
    ) -> Result<ParquetRecordBatchReader, Error> {
        if columns.is_empty() {
            return self.stored_reader_as(self.parquet().clone(), groups.collect(), &[], batch_rows);
        }
        let stored = self.parquet().schema();
        let fields = stored.fields().iter().map(|field| match columns.contains(field.name()) {
            true => numbered(field),
            false => field.as_ref().clone(),
        });
        let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), stored.metadata().clone());
        let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(self.parquet().metadata()), options);
        let metadata = metadata.context(ErrorKind::Damaged, || self.doing())?;
        self.stored_reader_as(metadata, groups.collect(), &[], batch_rows)
    }
}

/// The first leaf of a column.
fn leaf_of(descriptor: &SchemaDescriptor, root: usize) -> Option<usize> {
    (0..descriptor.num_columns()).find(|leaf| descriptor.get_column_root_idx(*leaf) == root)
}

/// Bytes of the dictionary in the file; `None` when values stand outside it.
fn dictionary_bytes(chunk: &ColumnChunkMetaData) -> Option<u64> {
    let encodings = chunk.page_encoding_stats_mask()?;
    let is_numbered =
        encodings.is_only(Encoding::RLE_DICTIONARY) || encodings.is_only(Encoding::PLAIN_DICTIONARY);
    let dictionary = chunk.dictionary_page_offset().filter(|_| is_numbered)?;
    u64::try_from(chunk.data_page_offset() - dictionary).ok()
}
