//! From sorted rows to a segment on disk, batch by batch: Parquet, indexes, durability.
//!
//! Memory: one Parquet row group, compressed, and the terms of the indexes; never all rows.
//!
//! Invariant: a folder under its final name is complete and fsync'd, files and directory entries both;
//! whatever a crash leaves has the suffix `.tmp` or is not named by the catalog, and is swept when the
//! store opens.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use disk::Appender;
use model::TimeRange;
use parquet::file::metadata::KeyValue;

use super::checksums::{self, Summing};
use super::layout::{IdKeys, Layout};
use super::parquet::{ParquetWriter, Task};
use super::{SegmentMeta, form, home};
use crate::error::{Context as _, Error, ErrorKind};
use crate::folder::{Folder, bytes_below};
use crate::index::IdIndexWriter;
use crate::plant::Plant;
use crate::text::TextIndexWriter;
use crate::{rows, schema};

/// Writes one segment. Dropping it unfinished removes what it wrote.
pub(crate) struct SegmentWriter {
    folder: Folder,
    meta: SegmentMeta,
    layout: Layout,
    dir: PathBuf,
    tmp: PathBuf,
    parts: Option<Parts>,
}

struct Parts {
    parquet: ParquetWriter,
    ids: Option<IdIndexWriter>,
    text: Option<TextIndexWriter>,
    id_keys: IdKeys,
}

/// The folder of the identity index.
const IDS: &str = "ids";
/// The level from which on segments have a text index: sealing has no time for it.
const TEXT_LEVEL_MIN: u32 = 1;

impl SegmentWriter {
    /// Begins the segment that `meta` names, with the columns of the layout. So many threads work on a batch.
    pub(crate) fn create(
        folder: &Folder,
        meta: SegmentMeta,
        layout: &Layout,
        threads: usize,
    ) -> Result<Self, Error> {
        let (dir, tmp) = (folder.path.join(meta.path()), home::unfinished(folder, &meta));
        let doing = || format!("writing segment `{}`", dir.display());
        home::ready(folder).context(ErrorKind::Retry, doing)?;
        folder.remove_if_there(&tmp).context(ErrorKind::Retry, doing)?;
        folder.fs.create_dir_all(&tmp).context(ErrorKind::Retry, doing)?;
        let layout = layout.clone();
        let mut writer = Self { folder: folder.clone(), meta, layout, dir: dir.clone(), tmp, parts: None };
        let layout = &writer.layout;
        let signal = writer.meta.signal;
        let file = folder.fs.create(&writer.tmp.join("data.parquet")).context(ErrorKind::Retry, doing)?;
        let form = form::form(layout, writer.meta.level);
        let file = Summing::new(Appender::new(file));
        let parquet =
            ParquetWriter::new(file, layout.schema(), form, threads).context(ErrorKind::Retry, doing)?;
        let ids = schema::group_column(signal).map(|_| writer.id_index());
        let text = match schema::text_column(signal) {
            Some(column) if has_text_index(&writer.meta) => {
                let rows_per_document = schema::text_rows_per_document(signal);
                Some(TextIndexWriter::create(&writer.tmp.join("text"), column, rows_per_document)?)
            }
            _ => None,
        };
        writer.parts = Some(Parts { parquet, ids, text, id_keys: IdKeys::default() });
        Ok(writer)
    }

    /// An index of the rows from here on.
    fn id_index(&self) -> IdIndexWriter {
        let (fs, dir) = (Arc::clone(&self.folder.fs), self.tmp.join(IDS));
        IdIndexWriter::new(fs, dir, self.layout.clone(), self.meta.rows)
    }

    /// Appends rows in the columns of the layout that stand after all earlier ones in the order of the format.
    pub(crate) fn push(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        self.push_beside(rows, None)
    }

    /// The same, doing something else meanwhile.
    pub(crate) fn push_beside(&mut self, rows: &RecordBatch, else_: Option<Task<'_>>) -> Result<(), Error> {
        if rows.num_rows() == 0 {
            return else_.map_or(Ok(()), |task| task());
        }
        let has_ids = self.parts.as_ref().is_some_and(|parts| parts.ids.is_some());
        let started = (!has_ids && rows::has_exemplars(self.meta.signal, rows)).then(|| self.id_index());
        let parts = self.parts.as_mut().expect("taken by finish only, which consumes the writer");
        let Parts { parquet, ids, text, id_keys } = parts;
        if let Some(started) = started {
            *ids = Some(started);
        }
        let is_off = self.folder.planted.has(Plant::IndexOneRowOff) && self.meta.rows == 0;
        let indexed = if is_off { rows.slice(1, rows.num_rows() - 1) } else { rows.clone() };
        let mut tasks: Vec<Task<'_>> = else_.into_iter().collect();
        if let Some(text) = text {
            tasks.push(Box::new(|| text.push(rows)));
        }
        tasks.push(Box::new(|| {
            id_keys.add(rows);
            ids.as_mut().map_or(Ok(()), |ids| ids.push(&indexed))
        }));
        let tmp = &self.tmp;
        parquet.write(rows, tasks).context(ErrorKind::Retry, || tmp.display().to_string())?;
        let time = rows::time_range(self.meta.signal, rows);
        self.meta.time = match self.meta.rows {
            0 => time,
            _ => TimeRange { from: self.meta.time.from.min(time.from), to: self.meta.time.to.max(time.to) },
        };
        self.meta.rows += rows.num_rows() as u64;
        Ok(())
    }

    /// Rows so far.
    pub(crate) const fn rows(&self) -> u64 {
        self.meta.rows
    }

    /// Makes the segment durable under its name.
    pub(crate) fn finish(mut self) -> Result<SegmentMeta, Error> {
        let doing = || format!("writing segment `{}`", self.dir.display());
        let mut parts = self.parts.take().expect("taken here only");
        let id_keys = KeyValue::new(form::ID_KEYS_KEY.to_owned(), parts.id_keys.to_json());
        parts.parquet.add_metadata(id_keys);
        let checksums = parts.parquet.finish().context(ErrorKind::Retry, doing)?.finish();
        let file = self.folder.fs.create(&self.tmp.join(checksums::FILE)).context(ErrorKind::Retry, doing)?;
        file.write_all_at(&checksums.encode(), 0).context(ErrorKind::Retry, doing)?;
        if let Some(ids) = parts.ids {
            ids.finish()?;
        }
        if let Some(text) = parts.text {
            text.finish()?;
        }
        self.meta.bytes = bytes_below(&self.tmp).context(ErrorKind::Retry, doing)?;
        home::publish(&self.folder, &self.meta).context(ErrorKind::Retry, doing)?;
        Ok(self.meta.clone())
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        self.parts = None;
        home::remove(&self.folder, &self.tmp);
    }
}

/// Whether a segment of this signal and level is written with a text index.
pub(super) fn has_text_index(meta: &SegmentMeta) -> bool {
    schema::text_column(meta.signal).is_some() && meta.level >= TEXT_LEVEL_MIN
}

/// Removes a segment that the catalog never named.
pub(crate) fn discard(folder: &Folder, meta: &SegmentMeta) {
    home::remove_segment(folder, meta);
}
