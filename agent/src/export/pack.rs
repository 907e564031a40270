//! Compressing requests, with one context that is used again and again.
//!
//! Owns: how bytes become what `content-encoding` says. Does not own: what is in them, sending.
//! Invariant: packing never fails: what cannot be compressed travels as it is.
//!
//! A request that travels as it is takes its room along, and gives it back when it has arrived: fresh room of this
//! size costs a page fault every 4 KiB.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::config::Compression;

/// Level of Zstandard: with 1 MiB of log records, higher ones take more time than the network saves.
const ZSTD_LEVEL: i32 = 1;

/// Rooms of requests that travel as they are that are kept: for one that is written while one travels.
const ROOMS_MAX: usize = 2;

/// Compresses one request after the other.
pub(crate) struct Packer {
    compression: Compression,
    /// Made with the first request: an idle agent has none.
    zstd: Option<zstd::bulk::Compressor<'static>>,
    /// What is compressed goes here first: its size is not known before, and most of the room is not needed.
    room: Vec<u8>,
    rooms: Rooms,
}

/// Rooms of requests that have arrived.
#[derive(Clone, Debug, Default)]
struct Rooms(Arc<Mutex<Vec<Vec<u8>>>>);

impl Rooms {
    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, room: Vec<u8>) {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rooms.len() < ROOMS_MAX {
            rooms.push(room);
        }
    }
}

/// The bytes of a request on its way.
struct Travelling {
    request: Vec<u8>,
    rooms: Rooms,
}

impl AsRef<[u8]> for Travelling {
    fn as_ref(&self) -> &[u8] {
        &self.request
    }
}

impl Drop for Travelling {
    fn drop(&mut self) {
        self.rooms.put(std::mem::take(&mut self.request));
    }
}

impl Packer {
    pub(crate) fn new(compression: Compression) -> Self {
        Self { compression, zstd: None, room: Vec::new(), rooms: Rooms::default() }
    }

    /// The request compressed, and how. `request` gets another room where it travels as it is, else it keeps its own.
    pub(crate) fn pack(&mut self, request: &mut Vec<u8>) -> (Bytes, Compression) {
        let packed = match self.compression {
            Compression::Zstd => self.zstd(request),
            Compression::Gzip => self.gzip(request),
            Compression::None => {
                let request = std::mem::replace(request, self.rooms.take());
                let travelling = Travelling { request, rooms: self.rooms.clone() };
                return (Bytes::from_owner(travelling), Compression::None);
            }
        };
        match packed {
            Ok(()) => (Bytes::copy_from_slice(&self.room), self.compression),
            Err(error) => {
                tracing::warn!(%error, "cannot compress a request; it travels as it is");
                (std::mem::take(request).into(), Compression::None)
            }
        }
    }

    fn zstd(&mut self, request: &[u8]) -> io::Result<()> {
        let compressor = match &mut self.zstd {
            Some(compressor) => compressor,
            none => none.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        };
        self.room.clear();
        self.room.reserve(zstd::zstd_safe::compress_bound(request.len()));
        compressor.compress_to_buffer(request, &mut self.room).map(drop)
    }

    fn gzip(&mut self, request: &[u8]) -> io::Result<()> {
        self.room.clear();
        let mut encoder = flate2::write::GzEncoder::new(&mut self.room, flate2::Compression::fast());
        encoder.write_all(request)?;
        encoder.finish().map(drop)
    }
}

/// What [`Packer::pack`] was given.
pub(crate) fn unpack(body: &Bytes, compression: Compression) -> io::Result<Bytes> {
    Ok(match compression {
        Compression::Zstd => zstd::decode_all(body.as_ref())?.into(),
        Compression::Gzip => {
            let mut request = Vec::new();
            flate2::read::GzDecoder::new(body.as_ref()).read_to_end(&mut request)?;
            request.into()
        }
        Compression::None => body.clone(),
    })
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").field("compression", &self.compression).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_request_that_has_arrived_is_used_again() {
        let mut packer = Packer::new(Compression::None);
        let mut request = vec![7; 100_000];
        let (travelling, _) = packer.pack(&mut request);
        let place = travelling.as_ptr();
        assert_eq!(request.capacity(), 0, "the other one is still on its way");
        drop(travelling);
        drop(packer.pack(&mut request));
        assert_eq!(request.as_ptr(), place);
    }

    #[test]
    fn requests_of_any_size_one_after_the_other_come_back_as_they_were() {
        for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
            let mut packer = Packer::new(compression);
            for len in [1_000_000, 0, 1, 70_000] {
                let request: Vec<u8> = (0..len).map(|at: u32| (at.wrapping_mul(at) >> 7) as u8).collect();
                let (body, used) = packer.pack(&mut request.clone());
                assert_eq!(used, compression);
                assert!(unpack(&body, used).expect("packed") == request, "{len} bytes, {used:?}");
            }
        }
    }
}
