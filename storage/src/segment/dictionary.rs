//! A column of texts that many rows have, as one column chunk of Parquet.
//!
//! ```text
//! texts, each once ─► dictionary page    length and bytes of each (PLAIN)
//! numbers of rows  ─► data pages         levels, if a row may be null │ width │ runs and groups of eight (RLE_DICTIONARY)
//!                     └► column index    the smallest and the largest text of each page
//! ```
//!
//! The writer of the library takes texts: for every row it hashes one, and compares it with the smallest and the largest of the
//! page. Here the texts of a seal were numbered before, in the order of memory, and a row costs a number.
//!
//! Does not own: which columns are written so (`layout`), sizes of pages and compression (`form`).
//!
//! Format: Apache Parquet, `Encodings.md` (dictionary, RLE/bit-packing hybrid) and `PageIndex.md`.

use std::collections::HashMap;

use arrow::array::{Array as _, ArrayRef, AsArray as _, DictionaryArray};
use arrow::datatypes::Int32Type;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, Type, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter as _};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::properties::EnabledStatistics;
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::form::DICTIONARY_BYTES_MAX;

/// The longest text that statistics tell. They have to tell the smallest and the largest one whole.
const TOLD_BYTES_MAX: usize = 256;
/// What stands for no number.
const NONE: u32 = u32::MAX;

/// How a column is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct DictionaryForm {
    /// Rows of a page, at most.
    pub(super) rows_per_page: usize,
    /// How hard pages are compressed.
    pub(super) zstd: ZstdLevel,
    /// Of what the smallest and the largest text are told.
    pub(super) statistics: EnabledStatistics,
}

/// Writes one column chunk.
pub(super) struct DictionaryWriter {
    column: ColumnDescPtr,
    form: DictionaryForm,
    /// Each once, and the number of each.
    texts: Vec<Box<str>>,
    known: HashMap<Box<str>, u32>,
    /// The values of the last rows, and the number of each that a row had.
    last: Option<(ArrayRef, Vec<u32>)>,
    /// Of the page under way: whether each row is there, and the numbers of those that are.
    is_there: Vec<u32>,
    numbers: Vec<u32>,
    pages: Vec<Written>,
    /// Of all texts, and of the pages that have ended.
    text_bytes: usize,
    page_bytes: usize,
}

/// A page.
struct Written {
    page: CompressedPage,
    rows: usize,
    nulls: usize,
    /// The texts that are the smallest and the largest.
    range: Option<(u32, u32)>,
}

/// A column chunk.
pub(super) struct DictionaryChunk {
    bytes: Bytes,
    close: ColumnCloseResult,
}

impl DictionaryChunk {
    /// Appends it to the file.
    pub(super) fn append_to(
        self,
        group: &mut SerializedRowGroupWriter<'_, impl std::io::Write + Send>,
    ) -> Result<()> {
        group.append_column(&self.bytes, self.close)
    }
}

impl DictionaryWriter {
    pub(super) fn new(column: ColumnDescPtr, form: DictionaryForm) -> Self {
        Self {
            column,
            form,
            texts: Vec::new(),
            known: HashMap::new(),
            last: None,
            is_there: Vec::new(),
            numbers: Vec::new(),
            pages: Vec::new(),
            text_bytes: 0,
            page_bytes: 0,
        }
    }

    /// Bytes so far, roughly.
    pub(super) const fn bytes(&self) -> usize {
        self.text_bytes + self.page_bytes + self.numbers.len() * size_of::<u32>()
    }

    /// Whether look-ups would have to read too much for the texts of further rows.
    pub(super) fn is_full(&self) -> bool {
        self.text_bytes > DICTIONARY_BYTES_MAX
    }

    /// Appends rows, which are null only where the column may be.
    pub(super) fn write(&mut self, rows: &DictionaryArray<Int32Type>) -> Result<()> {
        let values = rows.values();
        let mut numbers = match self.last.take() {
            Some((last, numbers)) if std::ptr::addr_eq(last.as_ref(), values.as_ref()) => numbers,
            _ => vec![NONE; values.len()],
        };
        let texts = values.as_string_opt::<i32>().ok_or_else(|| odd("values that are no texts"))?;
        for row in 0..rows.len() {
            let key = rows.key(row);
            self.is_there.push(u32::from(key.is_some()));
            if let Some(key) = key {
                if numbers[key] == NONE {
                    numbers[key] = self.number(texts.value(key));
                }
                self.numbers.push(numbers[key]);
            }
            if self.is_there.len() == self.form.rows_per_page {
                self.end_page()?;
            }
        }
        self.last = Some((values.clone(), numbers));
        Ok(())
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.known.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.into());
        self.known.insert(text.into(), number);
        self.text_bytes += text.len();
        number
    }

    fn end_page(&mut self) -> Result<()> {
        let (rows, nulls) = (self.is_there.len(), self.is_there.len() - self.numbers.len());
        let mut body = Vec::new();
        if self.column.max_def_level() > 0 {
            let levels = hybrid(&self.is_there, 1);
            body.extend_from_slice(&(levels.len() as u32).to_le_bytes());
            body.extend_from_slice(&levels);
        } else if nulls > 0 {
            return Err(odd("a null in a column that has none"));
        }
        let range = self.range();
        let largest = self.numbers.iter().copied().max().unwrap_or(0);
        // Not every reader takes numbers of no bits.
        let width = (u32::BITS - largest.leading_zeros()).max(1);
        body.push(width as u8);
        body.extend_from_slice(&hybrid(&self.numbers, width));
        let page = Page::DataPage {
            buf: self.compressed(&body)?,
            num_values: rows as u32,
            encoding: Encoding::RLE_DICTIONARY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let page = CompressedPage::new(page, body.len());
        self.page_bytes += page.compressed_size();
        self.pages.push(Written { page, rows, nulls, range });
        self.is_there.clear();
        self.numbers.clear();
        Ok(())
    }

    /// The numbers of the smallest and the largest text of the page under way.
    fn range(&self) -> Option<(u32, u32)> {
        if self.form.statistics == EnabledStatistics::None {
            return None;
        }
        let mut is_in = vec![false; self.texts.len()];
        self.numbers.iter().for_each(|number| is_in[*number as usize] = true);
        let there = || (0..self.texts.len()).filter(|at| is_in[*at]);
        let text = |at: &usize| &self.texts[*at];
        Some((there().min_by_key(text)? as u32, there().max_by_key(text)? as u32))
    }

    fn compressed(&self, body: &[u8]) -> Result<Bytes> {
        let compressed = zstd::bulk::compress(body, self.form.zstd.compression_level());
        Ok(compressed.map_err(|error| ParquetError::External(Box::new(error)))?.into())
    }

    /// All of it, dictionary first.
    pub(super) fn close(mut self) -> Result<DictionaryChunk> {
        if !self.is_there.is_empty() {
            self.end_page()?;
        }
        let mut sink = TrackedWrite::new(Vec::new());
        let mut writer = SerializedPageWriter::new(&mut sink);
        let dictionary = writer.write_page(self.dictionary()?)?;
        let mut uncompressed = dictionary.uncompressed_size;
        let (mut offsets, mut first) = (OffsetIndexBuilder::new(), None);
        let (index, statistics, nulls) = (self.column_index()?, self.statistics(), self.nulls());
        let rows: usize = self.pages.iter().map(|written| written.rows).sum();
        let stats = |page_type, encoding, count: usize| PageEncodingStats {
            page_type,
            encoding,
            count: count as i32,
        };
        let encodings = vec![
            stats(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1),
            stats(PageType::DATA_PAGE, Encoding::RLE_DICTIONARY, self.pages.len()),
        ];
        for Written { page, rows, .. } in self.pages {
            let written = writer.write_page(page)?;
            uncompressed += written.uncompressed_size;
            first.get_or_insert(written.offset);
            offsets.append_row_count(rows as i64);
            offsets.append_offset_and_size(written.offset as i64, written.compressed_size as i32);
        }
        let bytes: Bytes = sink.into_inner()?.into();
        let mut metadata = ColumnChunkMetaData::builder(self.column)
            .set_compression(Compression::ZSTD(self.form.zstd))
            .set_encodings(vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY])
            .set_page_encoding_stats(encodings)
            .set_num_values(rows as i64)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_dictionary_page_offset(Some(0))
            .set_data_page_offset(first.unwrap_or_default() as i64);
        if self.form.statistics != EnabledStatistics::None {
            let (min, max) = statistics.unzip();
            metadata =
                metadata.set_statistics(Statistics::byte_array(min, max, None, Some(nulls as u64), false));
        }
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: index,
            offset_index: Some(offsets.build()),
        };
        Ok(DictionaryChunk { bytes, close })
    }

    fn dictionary(&self) -> Result<CompressedPage> {
        let mut body = Vec::with_capacity(self.texts.iter().map(|text| text.len() + 4).sum());
        for text in &self.texts {
            body.extend_from_slice(&(text.len() as u32).to_le_bytes());
            body.extend_from_slice(text.as_bytes());
        }
        let page = Page::DictionaryPage {
            buf: self.compressed(&body)?,
            num_values: self.texts.len() as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        Ok(CompressedPage::new(page, body.len()))
    }

    fn nulls(&self) -> usize {
        self.pages.iter().map(|written| written.nulls).sum()
    }

    /// A page's smallest and largest text; `None` when it has none, or one that is too long to tell.
    fn told(&self, range: Option<(u32, u32)>) -> Option<(&str, &str)> {
        let (min, max) = range?;
        let told = (&*self.texts[min as usize], &*self.texts[max as usize]);
        (told.0.len().max(told.1.len()) <= TOLD_BYTES_MAX).then_some(told)
    }

    fn column_index(&self) -> Result<Option<parquet::file::page_index::column_index::ColumnIndexMetaData>> {
        if self.form.statistics != EnabledStatistics::Page {
            return Ok(None);
        }
        let mut index = ColumnIndexBuilder::new(Type::BYTE_ARRAY);
        for written in &self.pages {
            let is_empty = written.nulls == written.rows;
            match self.told(written.range) {
                Some((min, max)) => index.append(false, min.into(), max.into(), written.nulls as i64),
                None if is_empty => index.append(true, Vec::new(), Vec::new(), written.nulls as i64),
                None => return Ok(None),
            }
        }
        Ok(Some(index.build()?))
    }

    /// The smallest and the largest text of all, if every page's can be told.
    fn statistics(&self) -> Option<(ByteArray, ByteArray)> {
        let mut all: Option<(&str, &str)> = None;
        for written in self.pages.iter().filter(|written| written.nulls < written.rows) {
            let (min, max) = self.told(written.range)?;
            all = Some(all.map_or((min, max), |(least, most)| (least.min(min), most.max(max))));
        }
        all.map(|(min, max)| (min.into(), max.into()))
    }
}

fn odd(what: &str) -> ParquetError {
    ParquetError::General(format!("a column of numbered texts has {what}"))
}

/// Numbers of so many bits: runs of eight and more as one, the others in groups of eight. The last group may be longer than what is left.
fn hybrid(numbers: &[u32], width: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    let mut packed = 0..0;
    while at < numbers.len() {
        let run = numbers[at..].iter().take_while(|number| **number == numbers[at]).count();
        if run < 8 {
            at = (at + 8).min(numbers.len());
            packed.end = at;
            continue;
        }
        pack(&numbers[packed], width, &mut out);
        varint((run as u64) << 1, &mut out);
        out.extend_from_slice(&numbers[at].to_le_bytes()[..width.div_ceil(8) as usize]);
        at += run;
        packed = at..at;
    }
    pack(&numbers[packed], width, &mut out);
    out
}

/// Groups of eight, lowest bit first.
fn pack(numbers: &[u32], width: u32, out: &mut Vec<u8>) {
    if numbers.is_empty() {
        return;
    }
    let groups = numbers.len().div_ceil(8);
    varint((groups as u64) << 1 | 1, out);
    let end = out.len() + groups * width as usize;
    let (mut bits, mut held) = (0_u64, 0);
    for number in numbers {
        bits |= u64::from(*number) << held;
        held += width;
        while held >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.push(bits as u8);
    }
    out.resize(end, 0);
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests;
