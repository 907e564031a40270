//! A frame: one export request as its sender sent it. It goes into the WAL unchanged.

use std::borrow::Cow;
use std::io::Read as _;

use bytes::Bytes;
use model::{Signal, UnixNano};

use crate::error::{Context as _, Error, ErrorKind};

/// How a frame's payload is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Compression {
    /// The byte that stands for it on disk. Never renumber.
    pub const fn code(self) -> u8 {
        match self {
            Self::Identity => 0,
            Self::Gzip => 1,
            Self::Zstd => 2,
        }
    }

    /// The compression of a byte read from disk.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Identity),
            1 => Some(Self::Gzip),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// One export request.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What it carries.
    pub signal: Signal,
    /// How `payload` is compressed.
    pub compression: Compression,
    /// When it arrived.
    pub received_at: UnixNano,
    /// An OTLP protobuf `Export…ServiceRequest`, compressed as `compression` says.
    pub payload: Bytes,
}

/// The payload without its compression. What would be larger than `bytes_max` is an error before
/// more than that is held in memory.
///
/// # Errors
/// `FixInput` when the bytes are not what `compression` says or the limit is exceeded.
pub fn decompress(
    compression: Compression,
    payload: &[u8],
    bytes_max: usize,
) -> Result<Cow<'_, [u8]>, Error> {
    let too_large = || {
        Error::new(
            ErrorKind::FixInput,
            format!("the request is larger than {bytes_max} bytes after decompression"),
        )
    };
    let mut out = Vec::new();
    let limit = bytes_max as u64 + 1;
    match compression {
        Compression::Identity if payload.len() > bytes_max => return Err(too_large()),
        Compression::Identity => return Ok(Cow::Borrowed(payload)),
        Compression::Gzip => flate2::read::MultiGzDecoder::new(payload).take(limit).read_to_end(&mut out),
        Compression::Zstd => zstd::stream::read::Decoder::with_buffer(payload).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            decoder.take(limit).read_to_end(&mut out)
        }),
    }
    .context(ErrorKind::FixInput, || format!("the request is not valid {compression:?}").to_lowercase())?;
    if out.len() > bytes_max { Err(too_large()) } else { Ok(Cow::Owned(out)) }
}

/// 8 MiB, the window RFC 8878 asks every decoder to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_bomb_is_refused_before_it_is_held() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 8 << 20]).expect("in memory");
        let bomb = encoder.finish().expect("in memory");
        let error = decompress(Compression::Gzip, &bomb, 1 << 20).expect_err("too large");
        assert_eq!(error.kind(), ErrorKind::FixInput);
        assert!(error.to_string().contains("1048576"), "{error}");
    }

    #[test]
    fn both_compressions_give_back_what_went_in() {
        let text = b"one two three".repeat(50);
        let zstd = zstd::bulk::compress(&text, 1).expect("in memory");
        assert_eq!(&*decompress(Compression::Zstd, &zstd, 10_000).expect("valid"), &text[..]);
        assert!(decompress(Compression::Gzip, &zstd, 10_000).is_err(), "zstd is not gzip");
        assert!(decompress(Compression::Zstd, &zstd[..20], 10_000).is_err(), "cut short");
    }
}
