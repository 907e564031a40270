//! How Parquet files are written: encodings, page and row group sizes, compression.
//!
//! Invariant: a row group holds at most [`GROUP_BYTES_MAX`] before compression, so that its columns fit
//! into Arrow's 32-bit offsets however large a row may be.

use arrow::datatypes::DataType;
use model::Signal;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use crate::schema::{self, FORMAT_VERSION};

const ROWS_PER_GROUP: usize = 65_536;
const GROUP_BYTES_MAX: usize = 256 << 20;
const ROWS_PER_PAGE: usize = 8_192;
/// A column with a larger dictionary in a row group goes on without one: look-ups would have to read it all.
const DICTIONARY_BYTES_MAX: usize = 256 << 10;
/// The key under which a file names its format.
pub(super) const VERSION_KEY: &str = "silmari.format_version";

/// The writer's properties for a segment of `level`.
pub(super) fn properties(signal: Signal, level: u32) -> WriterProperties {
    let version = KeyValue::new(VERSION_KEY.to_owned(), FORMAT_VERSION.to_string());
    let zstd = ZstdLevel::try_new(if level == 0 { 1 } else { 3 }).expect("zstd has these levels");
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(zstd))
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .set_max_row_group_bytes(Some(GROUP_BYTES_MAX))
        .set_data_page_row_count_limit(ROWS_PER_PAGE)
        .set_write_batch_size(ROWS_PER_PAGE)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_key_value_metadata(Some(vec![version]));
    for field in schema::schema(signal).fields() {
        builder = column(builder, field.name(), field.data_type());
    }
    for path in UNORDERED {
        let path = ColumnPath::new(path.iter().map(|part| (*part).to_owned()).collect());
        builder = builder.set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    let ids = ColumnPath::new(["ids", "list", "item"].map(str::to_owned).to_vec());
    builder.set_column_dictionary_enabled(ids, false).build()
}

/// Columns whose smallest and largest value on a page rule nothing out.
const UNORDERED: [&[&str]; 10] = [
    &["body"],
    &["status_message"],
    &["ids", "list", "item"],
    &["attributes", "entries", "key"],
    &["attributes", "entries", "value"],
    &["resource_attributes", "entries", "key"],
    &["resource_attributes", "entries", "value"],
    &["labels", "entries", "key"],
    &["labels", "entries", "value"],
    &["value"],
];

fn column(builder: WriterPropertiesBuilder, name: &str, data_type: &DataType) -> WriterPropertiesBuilder {
    let path = ColumnPath::from(name);
    match data_type {
        DataType::Timestamp(..) | DataType::Int64 => builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
        DataType::FixedSizeBinary(_) => builder.set_column_dictionary_enabled(path, false),
        _ => builder,
    }
}
