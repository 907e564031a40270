//! Decompressing pages with few contexts of zstd, which are used again: Parquet's reader makes two for every column that
//! it reads, and a look-up reads a page of each.
//!
//! ```text
//! SerializedPageReader, told that nothing is compressed ─► page as it is on disk ─► unpack ─► page
//! ```
//!
//! Invariant: every frame says how large its content is, as those of `zstd::bulk` do, which Parquet's writer uses.
//!
//! Does not own: reading pages and their headers (Parquet's reader), checksums (`checksums`).

use std::io::Cursor;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::column::page::Page;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use zstd::bulk::Decompressor;
use zstd::zstd_safe::get_frame_content_size;

/// Contexts that wait to be used again; one takes about 100 KiB.
static IDLE: Mutex<Vec<Decompressor<'static>>> = Mutex::new(Vec::new());
/// More are not kept.
const IDLE_MAX: usize = 8;

/// The same column as one whose pages are given out as they are, if they can be unpacked here.
pub(super) fn packed(column: &ColumnChunkMetaData) -> Option<ColumnChunkMetaData> {
    let is_zstd = matches!(column.compression(), Compression::ZSTD(_));
    is_zstd.then(|| column.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build().ok())?
}

/// A page of a [`packed`] column, decompressed. `bytes_max` is what all pages of the column have.
pub(super) fn unpack(mut page: Page, bytes_max: usize) -> Result<Page> {
    match &mut page {
        Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => *buf = unpacked(buf, 0, bytes_max)?,
        Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, is_compressed, .. } => {
            if *is_compressed {
                let levels = (*def_levels_byte_len as usize).saturating_add(*rep_levels_byte_len as usize);
                *buf = unpacked(buf, levels, bytes_max)?;
            }
        }
    }
    Ok(page)
}

/// The first `plain` bytes as they are, and the rest decompressed.
fn unpacked(buf: &[u8], plain: usize, bytes_max: usize) -> Result<Bytes> {
    let (levels, packed) =
        buf.split_at_checked(plain).ok_or_else(|| odd("a page is shorter than its levels"))?;
    // A page without a value may be nothing at all.
    let len = match packed.is_empty() {
        true => 0,
        false => {
            get_frame_content_size(packed).ok().flatten().ok_or_else(|| odd("a page is not one of zstd"))?
        }
    };
    let len = usize::try_from(len).ok().filter(|len| *len <= bytes_max);
    let len = len.ok_or_else(|| odd("a page says that it is larger than its column"))?;
    let mut unpacked = Vec::with_capacity(levels.len() + len);
    unpacked.extend_from_slice(levels);
    if len > 0 {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut context = idle.map_or_else(Decompressor::new, Ok)?;
        let mut rest = Cursor::new(&mut unpacked);
        rest.set_position(plain as u64);
        if context.decompress_to_buffer(packed, &mut rest)? != len {
            return Err(odd("a page is shorter than it says"));
        }
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(context);
        }
    }
    Ok(unpacked.into())
}

fn odd(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

#[cfg(test)]
mod tests {
    use parquet::basic::Encoding;

    use super::*;

    const TEXT: &[u8] = b"levels, then values, then values, then values";

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(bytes, 3).expect("in memory")
    }

    fn dictionary(buf: Vec<u8>) -> Page {
        Page::DictionaryPage { buf: buf.into(), num_values: 3, encoding: Encoding::PLAIN, is_sorted: false }
    }

    fn second(buf: Vec<u8>, is_compressed: bool) -> Page {
        Page::DataPageV2 {
            buf: buf.into(),
            num_values: 3,
            encoding: Encoding::PLAIN,
            num_nulls: 0,
            num_rows: 3,
            def_levels_byte_len: 4,
            rep_levels_byte_len: 2,
            is_compressed,
            statistics: None,
        }
    }

    fn text(page: Page) -> Result<Bytes> {
        unpack(page, TEXT.len()).map(|page| page.buffer().clone())
    }

    #[test]
    fn pages_of_either_version_come_out_as_they_went_in_again_and_again() {
        for _ in 0..3 {
            assert_eq!(text(dictionary(zstd(TEXT))).expect("sound"), TEXT);
            let levels_apart = [&TEXT[..6], &zstd(&TEXT[6..])].concat();
            assert_eq!(text(second(levels_apart, true)).expect("sound"), TEXT);
            assert_eq!(text(second(TEXT.to_vec(), false)).expect("sound"), TEXT);
            assert_eq!(text(second(TEXT[..6].to_vec(), true)).expect("no values"), &TEXT[..6]);
        }
    }

    #[test]
    fn a_damaged_page_is_an_error_and_takes_no_memory() {
        assert!(text(dictionary(b"not one of zstd".to_vec())).is_err());
        assert!(text(dictionary(zstd(&[0; 1 << 20]))).is_err(), "larger than its column");
        assert!(text(second(TEXT[..5].to_vec(), true)).is_err(), "shorter than its levels");
        let sound = zstd(TEXT);
        assert!(text(dictionary(sound[..sound.len() - 3].to_vec())).is_err(), "cut off");
        assert_eq!(text(dictionary(sound)).expect("others go on"), TEXT);
    }
}
