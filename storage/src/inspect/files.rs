//! The files of a segment for somebody who looks at them: where they lie, or a copy of what an object store has.
//!
//! Invariant: a copy is of the originals, not of a server's cache, and goes when nobody looks at it any more.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Buf as _, Bytes};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};

use super::{Inspector, bytes_below};
use crate::segment::SegmentMeta;
use crate::segment::home::Objects;

/// A segment's folder.
pub(super) struct SegmentFiles {
    pub(super) dir: PathBuf,
    copy: Option<PathBuf>,
}

impl Drop for SegmentFiles {
    fn drop(&mut self) {
        if let Some(copy) = &self.copy {
            // Left behind it is in the way of nobody; the next server removes it.
            let _ = std::fs::remove_dir_all(copy);
        }
    }
}

impl Inspector {
    /// Where copies are made.
    fn copies(&self) -> PathBuf {
        self.folder.path.join("cache").join("new").join(format!("inspect-{}", std::process::id()))
    }

    /// The files of a segment whose names begin with `within`. Blocking.
    pub(super) fn files_of(&self, meta: &SegmentMeta, within: &str) -> io::Result<SegmentFiles> {
        let Some(remote) = &self.folder.remote else {
            return Ok(SegmentFiles { dir: self.folder.path.join(meta.path()), copy: None });
        };
        let root = self.copies();
        let files = SegmentFiles { dir: root.join(meta.path()), copy: Some(root) };
        let names: Vec<String> = remote.objects.files(meta)?.into_iter().map(|(name, _)| name).collect();
        let names: Vec<String> = names.into_iter().filter(|name| name.starts_with(within)).collect();
        if !names.is_empty() {
            remote.objects.download(meta, &names, &files.dir)?;
        }
        Ok(files)
    }

    /// Names and bytes of a segment's files; empty when it is not there. Blocking.
    pub(super) fn sizes_of(&self, meta: &SegmentMeta) -> io::Result<Sizes> {
        let Some(remote) = &self.folder.remote else {
            let dir = self.folder.path.join(meta.path());
            let names = std::fs::read_dir(&dir).into_iter().flatten().filter_map(Result::ok);
            let sizes = names
                .map(|entry| (entry.file_name().to_string_lossy().into_owned(), bytes_below(&entry.path())));
            return Ok(Sizes(sizes.collect()));
        };
        Ok(Sizes(remote.objects.files(meta)?))
    }

    /// The footer of a segment's Parquet file. Blocking.
    pub(super) fn footer_of(&self, meta: &SegmentMeta, sizes: &Sizes) -> Result<ParquetMetaData, String> {
        let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
        let parsed = match &self.folder.remote {
            None => {
                let data = self.folder.path.join(meta.path()).join("data.parquet");
                let file = std::fs::File::open(data).map_err(|error| error.to_string())?;
                reader.try_parse(&file)
            }
            Some(remote) => {
                let len = sizes.of("data.parquet");
                reader.try_parse(&Ranged { objects: &remote.objects, meta, len })
            }
        };
        parsed.and_then(|()| reader.finish()).map_err(|error| error.to_string())
    }

    /// A path as people know it, relative to the data folder.
    pub(super) fn relative(&self, path: &Path) -> String {
        let path = path.strip_prefix(self.copies()).unwrap_or(path);
        path.strip_prefix(&self.folder.path).unwrap_or(path).display().to_string()
    }
}

/// Bytes of a segment's files.
pub(super) struct Sizes(Vec<(String, u64)>);

impl Sizes {
    pub(super) fn all(&self) -> u64 {
        self.0.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Of the file or folder of this name.
    pub(super) fn of(&self, name: &str) -> u64 {
        let is_it = |found: &str| {
            found.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.0.iter().filter(|(found, _)| is_it(found)).map(|(_, bytes)| bytes).sum()
    }
}

/// A Parquet file of which a few ranges are read.
struct Ranged<'a> {
    objects: &'a Objects,
    meta: &'a SegmentMeta,
    len: u64,
}

impl Length for Ranged<'_> {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Ranged<'_> {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let length = usize::try_from(self.len.saturating_sub(start)).unwrap_or(usize::MAX);
        Ok(self.get_bytes(start, length)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let range = start..start.saturating_add(length as u64);
        let bytes = self.objects.get_range(self.meta, "data.parquet", range);
        let bytes = bytes.map_err(|error| ParquetError::External(Box::new(error)))?;
        match bytes.len() == length {
            true => Ok(bytes),
            false => Err(ParquetError::EOF(format!("{} of {length} bytes", bytes.len()))),
        }
    }
}
