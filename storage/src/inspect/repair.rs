//! `store fsck --repair`: what cannot be read is moved to `quarantine/`, with the reason beside it.
//!
//! ```text
//! quarantine/segments/<table>/<name>/       a segment, an index or a leftover, as it was found
//! quarantine/segments/<table>/<name>.json   why, when, and what the catalog said: enough to put it back
//! wal/quarantine/…                          damaged ranges of the log, as replay keeps them
//! ```
//!
//! Invariants: nothing is deleted; the reason is durable before anything is moved; the catalog forgets a
//! segment after it was moved, so that a crash in between leaves a finding for the next run.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use serde::Serialize;
use serde_json::json;

use super::{Access, Finding, Inspector};
use crate::catalog::Catalog;
use crate::error::{Context as _, Error, ErrorKind};
use crate::folder::sync_tree;
use crate::index::IdIndexWriter;
use crate::segment::SegmentMeta;
use crate::segment::layout::Layout;
use crate::segment::reader::runs_of;
use disk::RealFs;

/// What can be done about a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Repair {
    None,
    /// Move it away and out of the catalog.
    Segment(SegmentMeta),
    /// Build its identity index again.
    Index(SegmentMeta),
    /// Copy a range of the log.
    WalRange {
        path: PathBuf,
        range: Range<u64>,
    },
    /// Move a folder that nobody reads.
    Leftover(SegmentMeta),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// What it was done to, relative to the data folder.
    pub path: String,
    /// What was done.
    pub action: String,
    /// Where it is now, relative to the data folder.
    pub kept_in: String,
}

impl Inspector {
    /// Does what the remedies of `findings` say, as far as it can be done without a person.
    ///
    /// # Errors
    /// `Internal` unless the store was opened with [`Access::Exclusive`]; `Retry` when the disk refuses:
    /// what was done until then stays done.
    pub async fn repair(&self, findings: &[Finding]) -> Result<Vec<Repaired>, Error> {
        if self.access != Access::Exclusive {
            return Err(Error::new(ErrorKind::Internal, "repairing needs the store for itself"));
        }
        let lost = lost_segments(findings);
        let mut done = Vec::new();
        for meta in &lost {
            done.push(self.quarantine_segment(meta, findings).await?);
        }
        let mut rebuilt: Vec<&SegmentMeta> = Vec::new();
        for finding in findings {
            match &finding.repair {
                Repair::None | Repair::Segment(_) => {}
                Repair::Index(meta) if lost.contains(&meta) || rebuilt.contains(&meta) => {}
                Repair::Index(meta) => {
                    rebuilt.push(meta);
                    done.push(self.rebuild_index(meta, findings)?);
                }
                Repair::WalRange { path, range } => {
                    let kept = self.wal().keep(path, range)?;
                    done.push(self.done(path, "copied the damaged bytes", &kept));
                }
                Repair::Leftover(meta) => done.push(self.quarantine_leftover(meta, finding)?),
            }
        }
        Ok(done)
    }

    fn done(&self, path: &Path, action: &str, kept_in: &Path) -> Repaired {
        let (path, kept_in) = (self.relative(path), self.relative(kept_in));
        Repaired { path, action: action.to_owned(), kept_in }
    }

    async fn quarantine_segment(&self, meta: &SegmentMeta, findings: &[Finding]) -> Result<Repaired, Error> {
        let to = self.place_for(&meta.path());
        self.write_reason(&to, &meta.path(), Some(meta), findings)?;
        self.move_segment(meta, &to)?;
        let catalog = Catalog::open(&self.folder, &self.catalog, &*self.clock).await?;
        let forgotten = catalog.forget(meta).await;
        catalog.close().await;
        forgotten?;
        Ok(self.done(Path::new(&meta.path()), "moved the segment and took it out of the catalog", &to))
    }

    fn quarantine_leftover(&self, meta: &SegmentMeta, finding: &Finding) -> Result<Repaired, Error> {
        let to = self.place_for(&finding.path);
        self.write_reason(&to, &finding.path, None, std::slice::from_ref(finding))?;
        self.move_segment(meta, &to)?;
        Ok(self.done(Path::new(&meta.path()), "moved the folder", &to))
    }

    /// Moves what there is of a segment; out of an object store, to this disk.
    fn move_segment(&self, meta: &SegmentMeta, to: &Path) -> Result<(), Error> {
        let doing = || format!("moving `{}` to `{}`", meta.path(), to.display());
        let from = self.files_of(meta, "").context(ErrorKind::Retry, doing)?;
        if !from.dir.exists() {
            return Ok(());
        }
        if self.folder.remote.is_some() {
            sync_tree(&RealFs, &from.dir).context(ErrorKind::Retry, doing)?;
        }
        move_folder(&from.dir, to)?;
        match &self.folder.remote {
            // Here it is durable.
            Some(remote) => remote.objects.delete(meta).context(ErrorKind::Retry, doing),
            None => Ok(()),
        }
    }

    fn rebuild_index(&self, meta: &SegmentMeta, findings: &[Finding]) -> Result<Repaired, Error> {
        let doing = || format!("building the identity index of `{}`", meta.path());
        let files = self.files_of(meta, "").context(ErrorKind::Retry, doing)?;
        let dir = &files.dir;
        let file = File::open(dir.join("data.parquet")).context(ErrorKind::Damaged, doing)?;
        let options = ArrowReaderOptions::new();
        let footer = ArrowReaderMetadata::load(&file, options).context(ErrorKind::Damaged, doing)?;
        let new = dir.join("ids.tmp");
        if new.exists() {
            fs::remove_dir_all(&new).context(ErrorKind::Retry, doing)?;
        }
        let layout = Layout::of_file(meta.signal, footer.schema());
        let mut index = IdIndexWriter::new(Arc::new(RealFs), new.clone(), layout, 0);
        for run in runs_of(footer.metadata()) {
            index.end_run();
            let data = file.try_clone().context(ErrorKind::Damaged, doing)?;
            let rows = ParquetRecordBatchReaderBuilder::new_with_metadata(data, footer.clone());
            for rows in rows.with_row_groups(run.collect()).build().context(ErrorKind::Damaged, doing)? {
                index.push(&rows.context(ErrorKind::Damaged, doing)?)?;
            }
        }
        index.finish()?;
        sync_tree(&RealFs, &new).context(ErrorKind::Retry, doing)?;
        let ids = dir.join("ids");
        let path = format!("{}/ids", meta.path());
        let to = self.place_for(&path);
        self.write_reason(&to, &path, None, findings)?;
        if ids.exists() {
            move_folder(&ids, &to)?;
        }
        fs::rename(&new, &ids).and_then(|()| sync_dir(dir)).context(ErrorKind::Retry, doing)?;
        if let Some(remote) = &self.folder.remote {
            remote.objects.replace(meta, "ids", &ids).context(ErrorKind::Retry, doing)?;
        }
        Ok(self.done(&ids, "built the identity index again", &to))
    }

    /// A place in `quarantine/` that is free.
    fn place_for(&self, path: &str) -> PathBuf {
        let wanted = self.folder.path.join("quarantine").join(path);
        let named = |at: u32| match at {
            0 => wanted.clone(),
            at => wanted
                .with_file_name(format!("{}-{at}", wanted.file_name().unwrap_or_default().to_string_lossy())),
        };
        let is_free = |place: &PathBuf| !place.exists() && !reason_path(place).exists();
        (0..).map(named).find(is_free).unwrap_or(wanted)
    }

    fn write_reason(
        &self,
        to: &Path,
        path: &str,
        meta: Option<&SegmentMeta>,
        findings: &[Finding],
    ) -> Result<(), Error> {
        let reasons: Vec<_> = findings
            .iter()
            .filter(|finding| finding.path.starts_with(path))
            .map(
                |finding| json!({ "path": finding.path, "place": finding.place, "problem": finding.problem }),
            )
            .collect();
        let catalog = meta.map(|meta| {
            json!({
                "signal": meta.signal, "name": meta.name, "level": meta.level,
                "first_sequence": meta.sequences.0, "last_sequence": meta.sequences.1,
                "kept": meta.kept.name(), "delete_id": meta.delete_id, "min_time": meta.time.from.0, "max_time": meta.time.to.0,
                "row_count": meta.rows, "byte_count": meta.bytes, "format_version": meta.format_version,
            })
        });
        let reason =
            json!({ "path": path, "reasons": reasons, "catalog": catalog, "moved_at": self.clock.now() });
        let write = || -> io::Result<()> {
            let folder = to.parent().unwrap_or(to);
            fs::create_dir_all(folder)?;
            let mut file = File::create_new(reason_path(to))?;
            file.write_all(format!("{reason:#}\n").as_bytes())?;
            file.sync_all()?;
            sync_dir(folder)
        };
        write().context(ErrorKind::Retry, || format!("writing `{}`", reason_path(to).display()))
    }
}

fn reason_path(place: &Path) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".json");
    place.with_file_name(name)
}

fn lost_segments(findings: &[Finding]) -> Vec<&SegmentMeta> {
    let mut lost = Vec::new();
    for finding in findings {
        if let Repair::Segment(meta) = &finding.repair
            && !lost.contains(&meta)
        {
            lost.push(meta);
        }
    }
    lost
}

fn move_folder(from: &Path, to: &Path) -> Result<(), Error> {
    let parents = [from.parent(), to.parent()];
    let moved = fs::rename(from, to).and_then(|()| parents.into_iter().flatten().try_for_each(sync_dir));
    moved.context(ErrorKind::Retry, || format!("moving `{}` to `{}`", from.display(), to.display()))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
