//! `store stats`: what costs what.

use std::collections::BTreeMap;

use model::Signal;
use parquet::file::metadata::ParquetMetaData;
use serde::Serialize;

use super::Inspector;
use super::ids;
use super::segment::has_ids;
use crate::index::is_outdated;
use crate::segment::{SegmentMeta, checksums};

/// What the segments of one signal cost.
#[derive(Clone, Debug, Serialize)]
pub struct SignalStats {
    /// The signal.
    pub signal: Signal,
    /// Its segments.
    pub segments: u64,
    /// Their rows.
    pub rows: u64,
    /// Bytes of all their files.
    pub bytes: u64,
    /// `bytes / rows`.
    pub bytes_per_row: f64,
    /// Bytes of the columns, in the order of the table.
    pub columns: Vec<ColumnStats>,
    /// Bytes of Parquet footers and page indexes.
    pub parquet_metadata_bytes: u64,
    /// Bytes of the identity indexes.
    pub id_index_bytes: u64,
    /// The kinds of ids in them, largest first.
    pub id_kinds: Vec<IdKindStats>,
    /// Segments that could not be read and are missing in the numbers.
    pub unreadable: Vec<String>,
}

/// What a column costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ColumnStats {
    /// Its name.
    pub column: String,
    /// Its bytes in the files.
    pub bytes: u64,
    /// Its bytes before compression.
    pub uncompressed_bytes: u64,
    /// `bytes / rows`.
    pub bytes_per_row: f64,
}

/// What an id kind costs in identity indexes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IdKindStats {
    /// The kind; `trace_id` and `link` are the traces themselves and links to them.
    pub kind: String,
    /// Terms, counted once a segment.
    pub terms: u64,
    /// Groups of rows they lead to.
    pub groups: u64,
    /// Bytes of its postings.
    pub bytes: u64,
}

impl Inspector {
    /// What each signal costs. Reads footers and term dictionaries, not rows. Blocking.
    pub fn stats(&self) -> Vec<SignalStats> {
        Signal::ALL.into_iter().map(|signal| self.signal_stats(signal)).collect()
    }

    fn signal_stats(&self, signal: Signal) -> SignalStats {
        let mut stats = SignalStats {
            signal,
            segments: 0,
            rows: 0,
            bytes: 0,
            bytes_per_row: 0.0,
            columns: Vec::new(),
            parquet_metadata_bytes: 0,
            id_index_bytes: 0,
            id_kinds: Vec::new(),
            unreadable: Vec::new(),
        };
        let mut kinds = BTreeMap::new();
        for meta in self.segments.iter().filter(|meta| meta.signal == signal) {
            match self.add_segment(meta, &mut stats, &mut kinds) {
                Ok(bytes) => {
                    stats.segments += 1;
                    stats.rows += meta.rows;
                    stats.bytes += bytes;
                }
                Err(problem) => stats.unreadable.push(format!("{}: {problem}", meta.path())),
            }
        }
        finish(&mut stats, kinds);
        stats
    }

    fn add_segment(
        &self,
        meta: &SegmentMeta,
        stats: &mut SignalStats,
        kinds: &mut BTreeMap<String, IdKindStats>,
    ) -> Result<u64, String> {
        let sizes = self.sizes_of(meta).map_err(|error| error.to_string())?;
        let metadata = self.footer_of(meta, &sizes)?;
        let in_columns = add_columns(&metadata, &mut stats.columns);
        let parquet = sizes.of("data.parquet") + sizes.of(checksums::FILE);
        stats.parquet_metadata_bytes += parquet.saturating_sub(in_columns);
        if has_ids(meta.signal) || sizes.of("ids") > 0 {
            let files = self.files_of(meta, "ids/").map_err(|error| error.to_string())?;
            if !is_outdated(meta.format_version, &files.dir.join("ids")) {
                ids::measure(&files.dir.join("ids"), kinds)?;
            }
            stats.id_index_bytes += sizes.of("ids");
        }
        Ok(sizes.all())
    }
}

/// Adds a file's columns; gives their bytes.
fn add_columns(metadata: &ParquetMetaData, columns: &mut Vec<ColumnStats>) -> u64 {
    let mut all = 0;
    for chunk in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let name = chunk.column_path().parts().first().map_or("", String::as_str);
        let at = columns.iter().position(|column| column.column == name).unwrap_or_else(|| {
            columns.push(ColumnStats { column: name.to_owned(), ..ColumnStats::default() });
            columns.len() - 1
        });
        let bytes = u64::try_from(chunk.compressed_size()).unwrap_or(0);
        columns[at].bytes += bytes;
        columns[at].uncompressed_bytes += u64::try_from(chunk.uncompressed_size()).unwrap_or(0);
        all += bytes;
    }
    all
}

fn finish(stats: &mut SignalStats, kinds: BTreeMap<String, IdKindStats>) {
    let rows = stats.rows.max(1) as f64;
    stats.bytes_per_row = stats.bytes as f64 / rows;
    for column in &mut stats.columns {
        column.bytes_per_row = column.bytes as f64 / rows;
    }
    stats.id_kinds = kinds.into_values().collect();
    stats.id_kinds.sort_by_key(|kind| std::cmp::Reverse(kind.bytes));
}
