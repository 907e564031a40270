//! `Export…ServiceResponse`: the same bytes for the three signals, in protobuf and JSON.
//!
//! Source: OTLP specification, "Full Success" and "Partial Success": `partial_success` is unset unless
//! something was rejected or there is something to say.

use model::Signal;
use model::wire::{put_bytes, put_message, put_u64};
use serde_json::{Value, json};

use crate::pipeline::Receipt;

/// Bytes of `error_message`.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

pub(crate) fn protobuf(receipt: &Receipt) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(message) = message(receipt) {
        put_message(&mut out, 1, |partial| {
            put_u64(partial, 1, receipt.rejected as u64);
            put_bytes(partial, 2, message.as_bytes());
        });
    }
    out
}

pub(crate) fn json(signal: Signal, receipt: &Receipt) -> Value {
    let Some(message) = message(receipt) else {
        return json!({});
    };
    let rejected = match signal {
        Signal::Traces => "rejectedSpans",
        Signal::Logs => "rejectedLogRecords",
        Signal::Metrics => "rejectedDataPoints",
    };
    json!({"partialSuccess": {rejected: receipt.rejected.to_string(), "errorMessage": message}})
}

fn message(receipt: &Receipt) -> Option<String> {
    let mut message = match receipt.message() {
        Some(message) => message,
        None if receipt.rejected > 0 => format!("{} records were rejected", receipt.rejected),
        None => return None,
    };
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    Some(message)
}
