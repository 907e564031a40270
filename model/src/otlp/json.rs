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

mod schema;
mod transcode;

use thiserror::Error;

use crate::Signal;
use crate::json::JsonError;

/// Reasons that are kept of one request; further ones are counted only.
const ERRORS_MAX: usize = 10;

/// OTLP protobuf made from another encoding, and what was lost on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcoded {
    /// The request.
    pub request: Vec<u8>,
    /// Records that were left out because a value in them is wrong.
    pub rejected: usize,
    /// The first few reasons.
    pub errors: Vec<String>,
    /// Line and column behind which each of `errors` was noticed, where the encoding has them.
    pub places: Vec<(usize, usize)>,
}

impl Transcoded {
    /// Counts `records` as lost to `problem`.
    pub fn reject(&mut self, records: usize, problem: String) {
        self.rejected += records;
        if self.has_room() {
            self.errors.push(problem);
        }
    }

    /// Whether a further reason would be kept.
    pub fn has_room(&self) -> bool {
        self.errors.len() < ERRORS_MAX
    }
}

/// Why a text is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotTranscoded {
    /// It is no text.
    #[error("the request is not UTF-8 text: byte {0}")]
    NoText(usize),
    /// It is no JSON.
    #[error("the request is no JSON: {0}")]
    Syntax(JsonError),
    /// It is JSON, and no request.
    #[error("{problem}")]
    Value {
        /// What is wrong, with the field.
        problem: String,
        /// The field.
        field: String,
        /// Where it was noticed.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// The protobuf has more bytes than it may.
    #[error("the request has more than {bytes_max} bytes as protobuf")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
        /// Where it was reached.
        line: usize,
        /// Where in the line.
        column: usize,
    },
}

/// Turns the JSON text of an export request into protobuf of at most `bytes_max` bytes.
///
/// # Errors
/// When the text is no JSON or no request of this signal, or too large.
pub fn transcode(signal: Signal, text: &[u8], bytes_max: usize) -> Result<Transcoded, NotTranscoded> {
    let text = std::str::from_utf8(text).map_err(|error| NotTranscoded::NoText(error.valid_up_to()))?;
    transcode::transcode(schema::request(signal), text, bytes_max)
}
