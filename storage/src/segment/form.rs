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

use super::dictionary::DictionaryForm;
use super::layout::Layout;
use crate::schema::FORMAT_VERSION;

pub(super) const ROWS_PER_GROUP: usize = 65_536;
pub(super) const GROUP_BYTES_MAX: usize = 256 << 20;
/// A look-up decompresses all of a page for one row.
const PAGES: Pages = Pages { rows: 2_048, bytes: 256 << 10 };
/// Of texts that resemble one another: in pages of 2,048 rows they would take a third more than in four times as large ones.
const TEXT_PAGES: Pages = Pages { rows: 4_096, bytes: 512 << 10 };
/// The same where no index says which rows have a word: all of them are read, and twice as large pages spare a sixth of the bytes.
/// Still larger ones would spare as much again, and a look-up would decompress megabytes for a row.
const SCANNED_TEXT_PAGES: Pages = Pages { rows: 8_192, bytes: 1 << 20 };
/// Series are read as wholes; the times of one repeat those of others, and that shows in large pages.
const POINT_PAGES: Pages = Pages { rows: ROWS_PER_GROUP, bytes: 1 << 20 };
/// Rows of a page of numbers: each takes a few bits, and a look-up passes over them without reading them.
const NUMBERED_ROWS_PER_PAGE: usize = 8_192;
/// Rows after which the size of a page is looked at.
const ROWS_PER_WRITE: usize = 1_024;
/// A column with a larger dictionary in a row group goes on without one: look-ups would have to read it all.
pub(super) const DICTIONARY_BYTES_MAX: usize = 256 << 10;
/// Of texts that hardly repeat the dictionary would be filled by the first thousand rows, and be read for each of the others.
const TEXT_DICTIONARY_BYTES_MAX: usize = 32 << 10;
/// The key under which a file names its format.
pub(super) const VERSION_KEY: &str = "silmari.format_version";
/// The key under which a file names the attributes that hold ids, as a JSON array.
pub(super) const ID_KEYS_KEY: &str = "silmari.id_attributes";

/// The key under which a file of several sorted runs names the first row group of each, as a JSON array.
pub(super) const RUNS_KEY: &str = "silmari.runs";

/// How large a page may be: rows, and bytes before compression or a few more.
#[derive(Clone, Copy, Debug)]
struct Pages {
    rows: usize,
    bytes: usize,
}

/// How the columns of a file are written.
pub(super) struct Form {
    /// Most of them.
    pub(super) columns: WriterProperties,
    /// The column with this name, if the file has one.
    pub(super) text: (&'static str, WriterProperties),
    /// Those whose texts are numbered.
    pub(super) dictionary: DictionaryForm,
}

impl Form {
    /// Of a column of the file whose texts are numbered.
    pub(super) fn dictionary(&self, column: &str) -> DictionaryForm {
        let statistics = self.columns.statistics_enabled(&ColumnPath::from(column));
        DictionaryForm { statistics, ..self.dictionary }
    }
}

/// The form of a segment of `level`, in a store that writes indexes of words or does not.
pub(super) fn form(layout: &Layout, level: u32, text_index: bool) -> Form {
    let pages = match layout.signal() {
        Signal::Traces | Signal::Logs => PAGES,
        Signal::Metrics => POINT_PAGES,
    };
    let text_pages = if text_index { TEXT_PAGES } else { SCANNED_TEXT_PAGES };
    let text = (TEXT, properties(layout, level, text_pages));
    let statistics = EnabledStatistics::Page;
    let dictionary = DictionaryForm {
        rows_per_page: pages.rows.max(NUMBERED_ROWS_PER_PAGE),
        zstd: zstd(level),
        statistics,
    };
    Form { columns: properties(layout, level, pages), text, dictionary }
}

fn zstd(level: u32) -> ZstdLevel {
    ZstdLevel::try_new(if level == 0 { 1 } else { 3 }).expect("zstd has these levels")
}

/// The column whose values are long and resemble one another.
pub(super) const TEXT: &str = "body";

fn properties(layout: &Layout, level: u32, pages: Pages) -> WriterProperties {
    let version = KeyValue::new(VERSION_KEY.to_owned(), FORMAT_VERSION.to_string());
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(zstd(level)))
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .set_max_row_group_bytes(Some(GROUP_BYTES_MAX))
        .set_data_page_row_count_limit(pages.rows)
        .set_data_page_size_limit(pages.bytes)
        .set_write_batch_size(ROWS_PER_WRITE)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_column_dictionary_page_size_limit(ColumnPath::from(TEXT), TEXT_DICTIONARY_BYTES_MAX)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_key_value_metadata(Some(vec![version]));
    for field in layout.schema().fields() {
        builder = column(builder, layout, field.name(), field.data_type());
    }
    for path in UNORDERED {
        builder = builder.set_column_statistics_enabled(path_of(path), EnabledStatistics::None);
    }
    for path in [IDS, &["attributes", "entries", "key"], &["attributes", "entries", "value"]] {
        builder = builder.set_column_encoding(path_of(path), TEXTS);
    }
    builder.set_column_dictionary_enabled(path_of(IDS), false).build()
}

/// Texts that have no dictionary, or no more: their lengths apart from them, which are small numbers, where each would have
/// four bytes before it.
const TEXTS: Encoding = Encoding::DELTA_LENGTH_BYTE_ARRAY;

/// The ids that no attribute holds.
const IDS: &[&str] = &["ids", "list", "item"];

fn path_of(parts: &[&str]) -> ColumnPath {
    ColumnPath::new(parts.iter().map(|part| (*part).to_owned()).collect())
}

/// Columns whose smallest and largest value on a page rule nothing out.
const UNORDERED: [&[&str]; 11] = [
    &["span_id"],
    &["parent_span_id"],
    &["body"],
    &["status_message"],
    IDS,
    &["attributes", "entries", "key"],
    &["attributes", "entries", "value"],
    &["resource_attributes"],
    &["id_attributes"],
    &["labels"],
    &["value"],
];

fn column(
    builder: WriterPropertiesBuilder,
    layout: &Layout,
    name: &str,
    data_type: &DataType,
) -> WriterPropertiesBuilder {
    let path = ColumnPath::from(name);
    let plain = |builder: WriterPropertiesBuilder, path: &ColumnPath, encoding| {
        builder.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path.clone(), encoding)
    };
    let builder = match data_type {
        DataType::Utf8 => builder.set_column_encoding(path.clone(), TEXTS),
        _ => builder,
    };
    match data_type {
        DataType::Timestamp(..) => match layout.signal() {
            // Neighbours of other traces are seconds away, which would make all deltas wide.
            Signal::Traces | Signal::Logs => plain(builder, &path, Encoding::BYTE_STREAM_SPLIT),
            Signal::Metrics => plain(builder, &path, Encoding::PLAIN),
        },
        DataType::Int64 => plain(builder, &path, Encoding::DELTA_BINARY_PACKED),
        DataType::FixedSizeBinary(_) | DataType::Float64 => plain(builder, &path, Encoding::PLAIN),
        _ if layout.promoted_key(name).is_some() => builder
            // Enough to tell how many rows have it.
            .set_column_statistics_enabled(path.clone(), EnabledStatistics::Chunk)
            .set_column_dictionary_enabled(path, layout.repeats(name)),
        _ => builder,
    }
}
