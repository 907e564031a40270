//! From sorted rows to a segment on disk, batch by batch: Parquet, indexes, durability.
//!
//! Memory: one Parquet row group, compressed, and the terms of the indexes, or what it takes to put those of others together; never all rows.
//!
//! Invariant: a folder under its final name is complete and fsync'd, files and directory entries both;
//! whatever a crash leaves has the suffix `.tmp` or is not named by the catalog, and is swept when the
//! store opens.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use disk::Appender;
use model::TimeRange;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::file::metadata::{KeyValue, PageIndexPolicy};

use super::checksums::{self, Summing};
use super::layout::{IdKeys, Layout};
use super::parquet::{ParquetWriter, Task};
use super::reader::{Segment, metadata_of};
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
    /// The first row group of each sorted run, when other segments were appended.
    runs: Vec<usize>,
}

struct Parts {
    parquet: ParquetWriter,
    ids: Option<IdIndexWriter>,
    text: Option<TextIndexWriter>,
    id_keys: IdKeys,
}

/// The folder of the identity index.
const IDS: &str = "ids";
/// Rows of which the text is read at once while segments are joined.
const TEXT_ROWS: usize = 8_192;
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
        let (parts, runs) = (None, Vec::new());
        let mut writer = Self { folder: folder.clone(), meta, layout, dir: dir.clone(), tmp, parts, runs };
        let layout = &writer.layout;
        let signal = writer.meta.signal;
        let file = folder.fs.create(&writer.tmp.join("data.parquet")).context(ErrorKind::Retry, doing)?;
        let form = form::form(layout, writer.meta.level, folder.text_index);
        let file = Summing::new(Appender::new(file));
        let parquet =
            ParquetWriter::new(file, layout.schema(), form, threads).context(ErrorKind::Retry, doing)?;
        let ids = schema::group_column(signal).map(|_| writer.id_index());
        let text = match schema::text_column(signal) {
            Some(column) if folder.text_index && may_have_text_index(&writer.meta) => {
                let rows_per_document = schema::text_rows_per_document(signal);
                Some(TextIndexWriter::new(&writer.tmp.join("text"), column, rows_per_document))
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
        assert!(self.runs.is_empty(), "rows are pushed before segments are appended");
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
            _ => self.meta.time.with(&time),
        };
        self.meta.rows += rows.num_rows() as u64;
        Ok(())
    }

    /// Appends all rows of a segment with the same columns as they are, in the order in which they are there, behind all that were
    /// pushed. `flow` can end it.
    pub(crate) fn append(
        &mut self,
        segment: &Segment,
        flow: &dyn Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let parts = self.parts.as_mut().expect("taken by finish only, which consumes the writer");
        let file = segment.open_data().context(ErrorKind::Damaged, || segment.doing())?;
        // As it was opened it has not all that the copy is to say of its pages.
        let options = ArrowReaderOptions::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .with_encoding_stats_as_mask(false);
        let footer = metadata_of(&file, options).context(ErrorKind::Damaged, || segment.doing())?;
        let metadata = footer.metadata();
        parts.parquet.end_open_group()?;
        let first = parts.parquet.groups();
        if self.runs.is_empty() && first > 0 {
            self.runs.push(0);
        }
        for group in 0..metadata.num_row_groups() {
            flow()?;
            parts.parquet.append(&file, metadata, group)?;
        }
        self.runs.extend(segment.runs().into_iter().map(|run| first + run.start));
        parts.id_keys.extend(segment.id_keys().unwrap_or_default());
        if let Some(index) = &mut parts.ids {
            let ids = segment.id_parts();
            index.append(
                ids.ok_or_else(|| Error::damaged(format!("{}: its identity index", segment.doing())))?,
            );
        }
        if let (Some(text), Some(column)) = (&mut parts.text, schema::text_column(self.meta.signal)) {
            append_text(text, segment, column, flow)?;
        }
        let appended = segment.described();
        self.meta.time = match self.meta.rows {
            0 => appended.time,
            _ => self.meta.time.with(&appended.time),
        };
        self.meta.rows += appended.rows;
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
        if self.runs.len() > 1 {
            let runs = serde_json::to_string(&self.runs).expect("numbers are JSON");
            parts.parquet.add_metadata(KeyValue::new(form::RUNS_KEY.to_owned(), runs));
        }
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

/// Adds the words of a segment's rows: its text index as it is, or what its rows say where it has none that can be used.
fn append_text(
    text: &mut TextIndexWriter,
    segment: &Segment,
    column: &str,
    flow: &dyn Fn() -> Result<(), Error>,
) -> Result<(), Error> {
    let part = segment.text().ask(|index| index.as_part()).flatten();
    flow()?;
    if let Some(part) = part
        && text.append(part)?
    {
        return Ok(());
    }
    for rows in segment.reader(&TimeRange::ALL, &[column], TEXT_ROWS)? {
        flow()?;
        text.push(&rows?)?;
    }
    Ok(())
}

/// Whether a segment of this signal and level is written with a text index, unless there are none at all.
pub(super) fn may_have_text_index(meta: &SegmentMeta) -> bool {
    schema::text_column(meta.signal).is_some() && meta.level >= TEXT_LEVEL_MIN
}

/// Removes a segment that the catalog never named.
pub(crate) fn discard(folder: &Folder, meta: &SegmentMeta) {
    home::remove_segment(folder, meta);
}
