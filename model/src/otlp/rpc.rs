//! What every OTLP receiver says over gRPC: method paths, the frame of a message, a status.
//!
//! Source: gRPC over HTTP/2 (PROTOCOL-HTTP2.md), `google/rpc/status.proto`, `google/rpc/error_details.proto`.
//! Does not own: HTTP, or which status a refusal has.
//!
//! ```text
//! frame = compressed flag u8 │ length u32 BE │ message          a unary call has one each way
//! ```

use std::fmt::Write as _;

use crate::Signal;
use crate::wire::{put_bytes, put_message, put_u64};

/// Flag and length in front of a message.
pub const FRAME_HEADER_BYTES: usize = 5;

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// The path of a signal's `Export` method.
pub const fn export_path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

/// Whether the message behind a frame's header is compressed, and its length in bytes.
pub const fn frame_header(header: [u8; FRAME_HEADER_BYTES]) -> (bool, usize) {
    let [flags, a, b, c, d] = header;
    (flags & 1 == 1, u32::from_be_bytes([a, b, c, d]) as usize)
}

/// An uncompressed message in its frame.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + message.len());
    frame.push(0);
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

/// A `google.rpc.Status` as protobuf; `retry_after_seconds` becomes its `RetryInfo`.
pub fn status(code: u32, message: &str, retry_after_seconds: Option<u64>) -> Vec<u8> {
    let mut status = Vec::new();
    put_u64(&mut status, 1, u64::from(code));
    put_bytes(&mut status, 2, message.as_bytes());
    if let Some(seconds) = retry_after_seconds {
        put_detail(&mut status, RETRY_INFO, |info| {
            put_message(info, 1, |delay| put_u64(delay, 1, seconds));
        });
    }
    status
}

/// Adds one of `google.rpc.Status.details`, an `Any` of the type named.
pub fn put_detail(status: &mut Vec<u8>, type_url: &str, write: impl FnOnce(&mut Vec<u8>)) {
    put_message(status, 3, |any| {
        put_bytes(any, 1, type_url.as_bytes());
        put_message(any, 2, write);
    });
}

/// A text as the header `grpc-message` carries it: printable ASCII; `%` and everything else is `%XX`.
pub fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").unwrap_or_default(),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_characters_becomes_a_header_value() {
        assert_eq!(percent_encoded("100% läuft\n"), "100%25 l%C3%A4uft%0A");
    }

    #[test]
    fn the_length_of_a_message_is_big_endian() {
        assert_eq!(frame_header([1, 0, 1, 0, 2]), (true, 65_538));
        assert_eq!(frame(b"ab"), [0, 0, 0, 0, 2, b'a', b'b']);
    }

    #[test]
    fn a_status_carries_retry_info_only_when_it_may_be_retried() {
        assert_eq!(status(8, "no", None), b"\x08\x08\x12\x02no");
        let retried = status(14, "no", Some(2));
        assert!(retried.ends_with(b"google.rpc.RetryInfo\x12\x04\x0a\x02\x08\x02"), "{retried:?}");
    }
}
