//! Decompression that asks before it grows.
//!
//! Invariants: no more than the limit and one byte is ever held; every growth of the output is charged
//! before it is filled; a zstd window above 8 MiB (RFC 8878's recommendation) is refused.

use std::borrow::Cow;
use std::io::{self, Read};

use storage::Compression;

use crate::admission::Ticket;
use crate::status::{Reason, Refusal};

const ZSTD_WINDOW_LOG_MAX: u32 = 23;
const STEP_BYTES: usize = 256 << 10;

/// The payload without its compression, at most `bytes_max` bytes of it. `ticket` is charged with
/// payload and output.
pub(crate) fn decompress<'p>(
    compression: Compression,
    payload: &'p [u8],
    bytes_max: usize,
    ticket: &mut Ticket,
) -> Result<Cow<'p, [u8]>, Refusal> {
    let out = match compression {
        Compression::Identity if payload.len() > bytes_max => return Err(Refusal::too_large(bytes_max)),
        Compression::Identity => return Ok(Cow::Borrowed(payload)),
        Compression::Gzip => {
            read(flate2::read::MultiGzDecoder::new(payload), payload.len(), bytes_max, ticket)?
        }
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(payload).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Ok(decoder)
            });
            read(decoder.map_err(malformed("zstd"))?, payload.len(), bytes_max, ticket)?
        }
    };
    out.map(Cow::Owned).map_err(|error| {
        malformed(match compression {
            Compression::Gzip => "gzip",
            _ => "zstd",
        })(error)
    })
}

fn read(
    mut from: impl Read,
    held: usize,
    bytes_max: usize,
    ticket: &mut Ticket,
) -> Result<io::Result<Vec<u8>>, Refusal> {
    let mut out = Vec::new();
    loop {
        if out.capacity() - out.len() < STEP_BYTES {
            let room = (out.capacity() * 2).clamp(STEP_BYTES, bytes_max + STEP_BYTES);
            ticket.grow_to(held + room)?;
            out.reserve_exact(room - out.len());
        }
        let limit = STEP_BYTES.min(bytes_max + 1 - out.len()) as u64;
        match from.by_ref().take(limit).read_to_end(&mut out) {
            Err(error) => return Ok(Err(error)),
            Ok(0) => return Ok(Ok(out)),
            Ok(_) if out.len() > bytes_max => return Err(Refusal::too_large(bytes_max)),
            Ok(_) => {}
        }
    }
}

fn malformed(what: &'static str) -> impl FnOnce(io::Error) -> Refusal {
    move |error| Refusal::new(Reason::Malformed, format!("the request is no valid {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::admission::Admission;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn ticket() -> Ticket {
        Admission::new(64 << 20).enter(None, usize::MAX).expect("empty")
    }

    #[test]
    fn both_compressions_give_back_what_went_in_up_to_the_limit_exactly() {
        let text = b"one two three ".repeat(100_000);
        let packed = [
            (Compression::Gzip, gzip(&text)),
            (Compression::Zstd, zstd::bulk::compress(&text, 1).expect("in memory")),
        ];
        for (compression, payload) in packed {
            let out = decompress(compression, &payload, text.len(), &mut ticket()).expect("fits");
            assert!(*out == text[..], "{compression:?}");
            let error =
                decompress(compression, &payload, text.len() - 1, &mut ticket()).expect_err("one byte less");
            assert_eq!(error.reason, Reason::TooLarge);
            let cut = &payload[..payload.len() - 5];
            let error = decompress(compression, cut, text.len(), &mut ticket()).expect_err("cut short");
            assert_eq!(error.reason, Reason::Malformed);
        }
    }

    #[test]
    fn a_bomb_is_charged_before_it_is_held() {
        let bomb = gzip(&vec![0; 32 << 20]);
        // What others hold comes back; what is not there at all does not.
        for (held, reason) in [(0, Reason::TooLarge), (124 << 20, Reason::Overload)] {
            let admission = Admission::new(held + (4 << 20));
            let mut others = admission.enter(None, usize::MAX).expect("empty");
            others.grow_to(held).expect("there is room");
            let mut ticket = admission.enter(None, usize::MAX).expect("the floor fits");
            let error = decompress(Compression::Gzip, &bomb, 64 << 20, &mut ticket).expect_err("over budget");
            assert_eq!(error.reason, reason);
        }
    }

    #[test]
    fn a_window_of_128_mib_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("in memory");
        encoder.window_log(27).expect("a valid window");
        encoder.write_all(&vec![7; 9 << 20]).expect("in memory");
        let payload = encoder.finish().expect("in memory");
        let error = decompress(Compression::Zstd, &payload, 64 << 20, &mut ticket()).expect_err("too wide");
        assert_eq!(error.reason, Reason::Malformed);
    }
}
