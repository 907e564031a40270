//! OTLP/JSON into OTLP protobuf bytes, at the edge: behind it there is one format.
//!
//! Source: OTLP specification, "JSON Protobuf Encoding": lowerCamelCase names, trace and span ids as
//! hex of either case, 64-bit integers as strings or numbers, enums as integers (names are accepted
//! too), unknown names ignored, `null` as absent.
//!
//! Invariants: no tree is built, memory is the output; a record with a wrong value is left out and
//! counted, the ones beside it are kept; what is no JSON refuses the request as a whole.
//!
//! ```text
//! {"resourceSpans":[{"scopeSpans":[{"spans":[ {…}, {"traceId":"xyz"}, {…} ]}]}]}
//!                                              │          │            │
//! protobuf request ◄── bytes of the span ──────┘          │            └──► bytes of the span
//! rejected: resourceSpans[0].scopeSpans[0].spans[1].traceId: 3 hex digits, expected 32
//! ```

pub(crate) mod file;
mod schema;
mod transcode;

use model::Signal;

use crate::pipeline::Transcoded;
use crate::status::Refusal;

/// Turns the JSON text of an export request into protobuf of at most `bytes_max` bytes.
pub(crate) fn transcode(signal: Signal, text: &[u8], bytes_max: usize) -> Result<Transcoded, Refusal> {
    transcode::transcode(schema::request(signal), text, bytes_max)
}

#[cfg(test)]
mod tests;
