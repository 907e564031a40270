//! From the head's rows to a segment on disk: sort, write Parquet, write the index, make it durable.
//!
//! Invariant: a folder under its final name is complete and fsync'd, files and directory entries both;
//! whatever a crash leaves has the suffix `.tmp` and is swept when the store opens.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, TimestampNanosecondType};
use model::Signal;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::SegmentMeta;
use crate::error::{Context as _, Error, ErrorKind};
use crate::schema::{self, FORMAT_VERSION, TIME_BUCKET_NANO, time_column};
use crate::{index, rows};

const ROWS_PER_GROUP: usize = 65_536;
const ROWS_PER_PAGE: usize = 8_192;

/// Writes the rows of `batches` as one segment named `name` below `data_dir`.
pub(crate) fn write(
    data_dir: &Path,
    signal: Signal,
    name: String,
    batches: &[RecordBatch],
) -> Result<SegmentMeta, Error> {
    let rows = sorted(signal, batches)?;
    let mut meta = SegmentMeta {
        signal,
        name,
        time: rows::time_range(signal, &rows),
        rows: rows.num_rows() as u64,
        bytes: 0,
        format_version: FORMAT_VERSION,
    };
    let dir = data_dir.join(meta.path());
    let tmp = dir.with_extension("tmp");
    let doing = || format!("writing segment `{}`", dir.display());
    remove_if_there(&tmp).context(ErrorKind::Retry, doing)?;
    fs::create_dir_all(tmp.join("ids")).context(ErrorKind::Retry, doing)?;
    write_parquet(&tmp.join("data.parquet"), signal, &rows)?;
    index::write(&tmp.join("ids"), signal, &rows)?;
    meta.bytes = sync_tree(&tmp).context(ErrorKind::Retry, doing)?;
    remove_if_there(&dir).context(ErrorKind::Retry, doing)?;
    fs::rename(&tmp, &dir).context(ErrorKind::Retry, doing)?;
    for parent in dir.ancestors().skip(1).take(3) {
        sync_dir(parent).context(ErrorKind::Retry, doing)?;
    }
    Ok(meta)
}

fn remove_if_there(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// One batch in the order of the format: see `docs/formats/segment.md`.
fn sorted(signal: Signal, batches: &[RecordBatch]) -> Result<RecordBatch, Error> {
    let doing = || format!("sorting {signal}");
    let rows = concat_batches(&schema::schema(signal), batches).context(ErrorKind::Internal, doing)?;
    let keys = sort_keys(signal, &rows);
    let order: UInt32Array = lexsort_to_indices(&keys, None).context(ErrorKind::Internal, doing)?;
    take_record_batch(&rows, &order).context(ErrorKind::Internal, doing)
}

fn sort_keys(signal: Signal, rows: &RecordBatch) -> Vec<SortColumn> {
    let column = |name: &str| Arc::clone(rows.column_by_name(name).expect("a column of the schema"));
    let time = column(time_column(signal));
    let keys = match signal {
        Signal::Metrics => vec![column("name"), column("series_id"), time],
        Signal::Traces | Signal::Logs => vec![bucket(&time), column("trace_id"), column("service"), time],
    };
    let options = Some(SortOptions { descending: false, nulls_first: false });
    keys.into_iter().map(|values| SortColumn { values, options }).collect()
}

fn bucket(time: &ArrayRef) -> ArrayRef {
    let times = time.as_primitive::<TimestampNanosecondType>();
    Arc::new(Int64Array::from_iter_values(
        times.values().iter().map(|nanos| nanos.div_euclid(TIME_BUCKET_NANO)),
    ))
}

fn write_parquet(path: &Path, signal: Signal, rows: &RecordBatch) -> Result<(), Error> {
    let doing = || format!("writing `{}`", path.display());
    let file = File::create(path).context(ErrorKind::Retry, doing)?;
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties(signal)))
        .context(ErrorKind::Retry, doing)?;
    writer.write(rows).context(ErrorKind::Retry, doing)?;
    writer.close().context(ErrorKind::Retry, doing)?;
    Ok(())
}

fn properties(signal: Signal) -> WriterProperties {
    let version = KeyValue::new("silmari.format_version".to_owned(), FORMAT_VERSION.to_string());
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .set_data_page_row_count_limit(ROWS_PER_PAGE)
        .set_write_batch_size(ROWS_PER_PAGE)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_key_value_metadata(Some(vec![version]));
    for field in schema::schema(signal).fields() {
        let path = ColumnPath::from(field.name().as_str());
        match field.data_type() {
            DataType::Timestamp(..) | DataType::Int64 => {
                builder = builder
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
            DataType::FixedSizeBinary(_) => builder = builder.set_column_dictionary_enabled(path, false),
            _ => {}
        }
    }
    builder.build()
}

/// Makes every file and folder below `dir` durable; returns the bytes of the files.
fn sync_tree(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            bytes += sync_tree(&entry.path())?;
        } else {
            let file = File::open(entry.path())?;
            file.sync_all()?;
            bytes += file.metadata()?.len();
        }
    }
    sync_dir(dir)?;
    Ok(bytes)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
