//! OTLP/JSON requests: refusals of `model::otlp::json` as senders and people are told of them.

pub(crate) mod file;

use model::Signal;
use model::otlp::json::{self, NotTranscoded, Transcoded};

use crate::status::{Reason, Refusal};

/// Turns the JSON text of an export request into protobuf of at most `bytes_max` bytes.
pub(crate) fn transcode(signal: Signal, text: &[u8], bytes_max: usize) -> Result<Transcoded, Refusal> {
    json::transcode(signal, text, bytes_max).map_err(|problem| match problem {
        NotTranscoded::TooLarge { .. } => Refusal::too_large(bytes_max),
        NotTranscoded::Value { ref field, .. } => {
            Refusal::new(Reason::Malformed, problem.to_string()).at(field.clone())
        }
        NotTranscoded::Syntax(_) | NotTranscoded::NoText(_) => {
            Refusal::new(Reason::Malformed, problem.to_string())
        }
    })
}

#[cfg(test)]
mod tests;
