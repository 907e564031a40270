//! Pages of Parquet files as they are once decompressed, those used last.
//!
//! ```text
//! rows wanted ─► pages they stand on ─► in the cache: taken        not: asked of the disk all at once ─► read, checked,
//!                                                                       decompressed ─► cache
//! ```
//!
//! What a look-up costs is decompressing a page of every column for a few rows, and what one step of a journey reads the next reads
//! again. Whole files are read past the cache ([`Segment::reader`](super::reader::Segment::reader)): they would empty it.
//!
//! Owns: the cache, and reading columns through it. Does not own: which rows (`reader`), checksums (`checksums`).
//!
//! Invariants: no more than its bytes are held, pages that somebody reads just now left out; pages of a file go with it; a page was held
//! against its checksum when it was read.

mod unpack;

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use lru::LruCache;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::RowGroups;
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::serialized_reader::SerializedPageReader;

use super::checksums::CheckedFile;
use super::ranges::within;
use unpack::{packed, unpack};

/// What a page takes beside its bytes, roughly.
const PAGE_OVERHEAD: usize = 256;
/// Pages beyond this part of the cache are not kept: one would push out too many others.
const PAGE_SHARE: usize = 8;

/// A file of which pages are kept, by a number that no other file of this process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileNumber(u64);

/// Where a page is.
type Key = (FileNumber, i64);

/// Decompressed pages of all segments. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PageCache {
    bytes_max: usize,
    pages: Arc<Mutex<Pages>>,
}

#[derive(Debug)]
struct Pages {
    by_place: LruCache<Key, Page>,
    bytes: usize,
}

fn bytes_of(page: &Page) -> usize {
    page.buffer().len() + PAGE_OVERHEAD
}

impl PageCache {
    /// A cache of so many bytes; of none it keeps nothing.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let pages = Pages { by_place: LruCache::unbounded(), bytes: 0 };
        Self { bytes_max, pages: Arc::new(Mutex::new(pages)) }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &Key) -> Option<Page> {
        self.pages().by_place.get(key).cloned()
    }

    fn put(&self, key: Key, page: &Page) {
        let bytes = bytes_of(page);
        if bytes > self.bytes_max / PAGE_SHARE {
            return;
        }
        let mut pages = self.pages();
        // Two readers may have read it at once.
        if let Some(before) = pages.by_place.put(key, page.clone()) {
            pages.bytes -= bytes_of(&before);
        }
        pages.bytes += bytes;
        while pages.bytes > self.bytes_max {
            let Some((_, oldest)) = pages.by_place.pop_lru() else { return };
            pages.bytes -= bytes_of(&oldest);
        }
    }

    /// The part of the cache for one file.
    pub(super) fn of_file(&self) -> FilePages {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        FilePages { cache: self.clone(), file: FileNumber(NEXT.fetch_add(1, Ordering::Relaxed)) }
    }
}

/// Pages of one file. They go with it.
#[derive(Debug)]
pub(super) struct FilePages {
    cache: PageCache,
    file: FileNumber,
}

impl FilePages {
    /// Whether the page that begins there is kept.
    fn has(&self, offset: i64) -> bool {
        self.cache.pages().by_place.contains(&(self.file, offset))
    }
}

impl Drop for FilePages {
    fn drop(&mut self) {
        let mut pages = self.cache.pages();
        let of_file: Vec<Key> =
            pages.by_place.iter().map(|(key, _)| *key).filter(|(file, _)| *file == self.file).collect();
        for key in of_file {
            if let Some(page) = pages.by_place.pop(&key) {
                pages.bytes -= bytes_of(&page);
            }
        }
    }
}

/// A file that is opened when the first page has to be read of it, once for all columns.
struct LazyFile {
    open: Box<dyn Fn() -> io::Result<CheckedFile> + Send + Sync>,
    opened: OnceLock<Arc<CheckedFile>>,
}

impl LazyFile {
    fn get(&self) -> Result<Arc<CheckedFile>> {
        if let Some(file) = self.opened.get() {
            return Ok(Arc::clone(file));
        }
        let file = (self.open)().map_err(|error| ParquetError::External(Box::new(error)))?;
        file.read_here_and_there();
        Ok(Arc::clone(self.opened.get_or_init(|| Arc::new(file))))
    }
}

/// Row groups of a file whose pages are read through the cache.
pub(super) struct CachedGroups<'a> {
    metadata: &'a Arc<ParquetMetaData>,
    groups: Vec<usize>,
    pages: &'a FilePages,
    file: Arc<LazyFile>,
}

impl<'a> CachedGroups<'a> {
    /// Some row groups of a file. `None` when the file does not say where its pages are.
    pub(super) fn new(
        metadata: &'a Arc<ParquetMetaData>,
        groups: Vec<usize>,
        pages: &'a FilePages,
        open: impl Fn() -> io::Result<CheckedFile> + Send + Sync + 'static,
    ) -> Option<Self> {
        metadata.offset_index()?;
        let file = Arc::new(LazyFile { open: Box::new(open), opened: OnceLock::new() });
        Some(Self { metadata, groups, pages, file })
    }

    /// Has the system read what some rows of these columns need and the cache does not have: places all over the file, at once
    /// and not one after another. Rows are counted through the row groups.
    pub(super) fn fetch_ahead(&self, rows: &[Range<usize>], columns: &ProjectionMask) -> Result<()> {
        let leaves = self.metadata.file_metadata().schema_descr().num_columns();
        let mut before = 0;
        for group in &self.groups {
            let end = before + self.metadata.row_group(*group).num_rows() as usize;
            let here: Vec<Range<i64>> = within(rows, before..end)
                .map(|range| (range.start - before) as i64..(range.end - before) as i64)
                .collect();
            for column in (0..leaves).filter(|column| columns.leaf_included(*column)) {
                let chunk = Chunk { metadata: Arc::clone(self.metadata), group: *group, column };
                for bytes in chunk.bytes_of(&here, &|place| self.pages.has(place)) {
                    self.file.get()?.fetch_ahead(bytes);
                }
            }
            before = end;
        }
        Ok(())
    }
}

impl RowGroups for CachedGroups<'_> {
    fn num_rows(&self) -> usize {
        self.row_groups().map(|group| group.num_rows() as usize).sum()
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let chunk = |group: &usize| -> Option<CachedPages> {
            let chunk = Chunk { metadata: Arc::clone(self.metadata), group: *group, column };
            let first = chunk.locations()?.first().map(|first| first.offset);
            let start = chunk.column().byte_range().0 as i64;
            Some(CachedPages {
                cache: self.pages.cache.clone(),
                number: self.pages.file,
                file: Arc::clone(&self.file),
                // What stands before the first page is the dictionary.
                dictionary: first.filter(|first| *first != start).map(|_| start),
                chunk,
                next: 0,
                reader: None,
            })
        };
        let chunks: Option<VecDeque<CachedPages>> = self.groups.iter().map(chunk).collect();
        let chunks =
            chunks.ok_or_else(|| ParquetError::General("a column without an offset index".to_owned()))?;
        Ok(Box::new(Chunks(chunks)))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.groups.iter().map(|group| self.metadata.row_group(*group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}

/// The chunks of one column.
struct Chunks(VecDeque<CachedPages>);

impl Iterator for Chunks {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.pop_front().map(|pages| Ok(Box::new(pages) as Box<dyn PageReader>))
    }
}

impl PageIterator for Chunks {}

/// One column of one row group.
struct Chunk {
    metadata: Arc<ParquetMetaData>,
    group: usize,
    column: usize,
}

impl Chunk {
    /// Where its data pages are.
    fn locations(&self) -> Option<&[PageLocation]> {
        Some(self.metadata.offset_index()?.get(self.group)?.get(self.column)?.page_locations())
    }

    fn column(&self) -> &ColumnChunkMetaData {
        self.metadata.row_group(self.group).column(self.column)
    }

    /// Where the dictionary and the pages of rows are, but for those that are known, which lie next to each other together.
    fn bytes_of(&self, rows: &[Range<i64>], is_known: &dyn Fn(i64) -> bool) -> Vec<Range<u64>> {
        let Some(pages) = self.locations() else { return Vec::new() };
        let start = self.column().byte_range().0 as i64;
        let dictionary = pages.first().map(|first| start..first.offset).filter(|bytes| !bytes.is_empty());
        let wanted = pages.iter().enumerate().filter(|(at, page)| {
            let end = pages.get(at + 1).map_or(i64::MAX, |next| next.first_row_index);
            let first = rows.partition_point(|range| range.end <= page.first_row_index);
            rows.get(first).is_some_and(|range| range.start < end)
        });
        let end = |page: &PageLocation| page.offset.saturating_add(i64::from(page.compressed_page_size));
        let wanted = wanted.map(|(_, page)| page.offset..end(page));
        let mut together: Vec<Range<u64>> = Vec::new();
        for bytes in dictionary.into_iter().chain(wanted).filter(|bytes| !is_known(bytes.start)) {
            let bytes = bytes.start.max(0) as u64..bytes.end.max(0) as u64;
            match together.last_mut().filter(|last| last.end == bytes.start) {
                Some(last) => last.end = bytes.end,
                None => together.push(bytes),
            }
        }
        together
    }

    fn rows(&self) -> i64 {
        self.metadata.row_group(self.group).num_rows()
    }
}

/// The pages of one column chunk.
struct CachedPages {
    cache: PageCache,
    number: FileNumber,
    file: Arc<LazyFile>,
    chunk: Chunk,
    /// Where the dictionary is, if there is one: it is the first page.
    dictionary: Option<i64>,
    /// Number of the page that comes next.
    next: usize,
    /// Reads what is not in the cache.
    reader: Option<OpenReader>,
}

/// A reader of one column chunk.
struct OpenReader {
    pages: SerializedPageReader<CheckedFile>,
    /// Number of the page that it stands at.
    at: usize,
    /// Whether it gives pages as they are in the file.
    is_packed: bool,
}

impl CachedPages {
    /// The data page that comes next, and the one after it; `None` for the dictionary and after the last.
    fn data_page(&self) -> Option<(&PageLocation, Option<&PageLocation>)> {
        let page = self.next.checked_sub(usize::from(self.dictionary.is_some()))?;
        let locations = self.chunk.locations()?;
        Some((locations.get(page)?, locations.get(page + 1)))
    }

    /// Where the next page begins.
    fn offset(&self) -> Option<i64> {
        match (self.next, self.dictionary) {
            (0, Some(dictionary)) => Some(dictionary),
            _ => self.data_page().map(|(page, _)| page.offset),
        }
    }

    fn read(&mut self) -> Result<Option<Page>> {
        let bytes_max = usize::try_from(self.chunk.column().uncompressed_size()).unwrap_or(0);
        let OpenReader { pages, at, is_packed } = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let (column, rows) = (self.chunk.column(), self.chunk.rows() as usize);
                let locations = self.chunk.locations().map(<[PageLocation]>::to_vec);
                let packed = packed(column);
                let (is_packed, column) = (packed.is_some(), packed.as_ref().unwrap_or(column));
                let pages = SerializedPageReader::new(self.file.get()?, column, rows, locations)?;
                self.reader.insert(OpenReader { pages, at: 0, is_packed })
            }
        };
        while *at < self.next {
            pages.skip_next_page()?;
            *at += 1;
        }
        *at += 1;
        match pages.get_next_page()? {
            Some(page) if *is_packed => unpack(page, bytes_max).map(Some),
            page => Ok(page),
        }
    }
}

impl PageReader for CachedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(offset) = self.offset() else { return Ok(None) };
        let key = (self.number, offset);
        let page = match self.cache.get(&key) {
            Some(page) => Some(page),
            None => {
                let page = self.read()?;
                page.iter().for_each(|page| self.cache.put(key, page));
                page
            }
        };
        self.next += 1;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        if self.next == 0 && self.dictionary.is_some() {
            return Ok(Some(PageMetadata { num_rows: None, num_levels: None, is_dict: true }));
        }
        let page = self.data_page().map(|(page, next)| {
            let end = next.map_or(self.chunk.rows(), |next| next.first_row_index);
            let num_rows = Some((end - page.first_row_index).max(0) as usize);
            PageMetadata { num_rows, num_levels: None, is_dict: false }
        });
        Ok(page)
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.next += 1;
        Ok(())
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        // Where pages begin is told by rows.
        Ok(true)
    }
}

impl Iterator for CachedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

#[cfg(test)]
mod tests;
