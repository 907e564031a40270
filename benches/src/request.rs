//! One export request as an SDK puts it on the wire, made before anything is measured.
//!
//! ```text
//! frame = compressed flag u8 │ length u32 BE │ OTLP protobuf, compressed
//! ```

use std::io::Write as _;

use anyhow::Context as _;
use bytes::Bytes;
use model::Signal;
use storage::Compression;

/// A request before it is compressed.
#[derive(Clone, Debug)]
pub struct Message {
    /// What it carries.
    pub signal: Signal,
    /// Spans or log records in it.
    pub records: usize,
    /// OTLP protobuf.
    pub protobuf: Vec<u8>,
}

/// A request that needs only be sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it carries.
    pub signal: Signal,
    /// Spans or log records in it.
    pub records: usize,
    /// Bytes of its protobuf.
    pub protobuf_bytes: usize,
    /// How it is compressed.
    pub compression: Compression,
    /// The gRPC frame.
    pub frame: Bytes,
}

/// Bytes before the message.
const FRAME_HEAD: usize = 5;
/// The level of gzip that SDKs use when nobody says otherwise.
const GZIP_LEVEL: u32 = 6;
/// The same for zstd.
const ZSTD_LEVEL: i32 = 3;

impl Request {
    /// Compresses and frames a message.
    ///
    /// # Errors
    /// When the message is larger than a frame can say.
    pub fn new(message: &Message, compression: Compression) -> anyhow::Result<Self> {
        let payload = compress(&message.protobuf, compression)?;
        let length = u32::try_from(payload.len()).context("a gRPC message has less than 4 GiB")?;
        let mut frame = Vec::with_capacity(FRAME_HEAD + payload.len());
        frame.push(u8::from(compression != Compression::Identity));
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&payload);
        Ok(Self {
            signal: message.signal,
            records: message.records,
            protobuf_bytes: message.protobuf.len(),
            compression,
            frame: frame.into(),
        })
    }

    /// What is in the frame: the body of the same request over HTTP.
    pub fn message(&self) -> Bytes {
        self.frame.slice(FRAME_HEAD..)
    }
}

fn compress(plain: &[u8], compression: Compression) -> anyhow::Result<Vec<u8>> {
    match compression {
        Compression::Identity => Ok(plain.to_vec()),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
            encoder.write_all(plain).context("compress a request with gzip")?;
            encoder.finish().context("compress a request with gzip")
        }
        Compression::Zstd => zstd::bulk::compress(plain, ZSTD_LEVEL).context("compress a request with zstd"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_its_length_and_whether_it_is_compressed() {
        let message = Message { signal: Signal::Logs, records: 1, protobuf: b"abc".repeat(100) };
        for compression in [Compression::Identity, Compression::Gzip, Compression::Zstd] {
            let frame = Request::new(&message, compression).expect("small").frame;
            assert_eq!(frame[0] == 1, compression != Compression::Identity);
            assert_eq!(frame[1..5], (frame.len() as u32 - 5).to_be_bytes());
            let plain = storage::decompress(compression, &frame[5..], 1_000).expect("valid");
            assert_eq!(*plain, *message.protobuf);
        }
    }
}
