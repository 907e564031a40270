//! What the collector's answer means (OTLP specification, "OTLP/HTTP Response").

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::RETRY_AFTER;
use model::wire::Fields;

use super::Attempt;
use crate::queue::Encoding;

/// Longest wait a collector may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

pub(super) fn judge(endpoint: &str, encoding: Encoding, response: Response<Bytes>) -> Attempt {
    let status = response.status().as_u16();
    let reason = || format!("{endpoint}: {}{}", response.status(), told(encoding, response.body()));
    match status {
        200..=299 => {
            let (rejected, message) = partial_success(encoding, response.body());
            Attempt::Accepted { rejected, message }
        }
        300..=399 | 401 | 403 | 404 | 405 | 408 | 429 | 502 | 503 | 504 => {
            Attempt::Again { reason: reason(), after: retry_after(&response) }
        }
        _ => Attempt::Refused(reason()),
    }
}

pub(super) fn retry_after(response: &Response<Bytes>) -> Option<Duration> {
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// `partial_success` (field 1): rejected records (1) and why (2).
fn partial_success(encoding: Encoding, body: &[u8]) -> (u64, String) {
    if encoding == Encoding::Json {
        return partial_success_json(body);
    }
    let (mut rejected, mut message) = (0, String::new());
    for (_, partial) in Fields::new(body).map_while(Result::ok).filter(|(number, _)| *number == 1) {
        for (number, value) in Fields::new(partial.bytes()).map_while(Result::ok) {
            match number {
                1 => rejected = value.integer(),
                2 => message = String::from_utf8_lossy(value.bytes()).into_owned(),
                _ => {}
            }
        }
    }
    (rejected, message)
}

fn partial_success_json(body: &[u8]) -> (u64, String) {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let partial = &answer["partialSuccess"];
    let rejected = ["rejectedSpans", "rejectedLogRecords", "rejectedDataPoints"]
        .into_iter()
        .filter_map(|name| partial[name].as_u64().or_else(|| partial[name].as_str()?.parse().ok()))
        .sum();
    (rejected, partial["errorMessage"].as_str().unwrap_or_default().to_owned())
}

/// The message of a `google.rpc.Status` (field 2), or the text of the answer.
fn told(encoding: Encoding, body: &[u8]) -> String {
    let text = match encoding {
        Encoding::Json => serde_json::from_slice::<serde_json::Value>(body)
            .ok()
            .and_then(|status| Some(status["message"].as_str()?.to_owned())),
        Encoding::Protobuf => Fields::new(body)
            .map_while(Result::ok)
            .find(|(number, _)| *number == 2)
            .map(|(_, message)| String::from_utf8_lossy(message.bytes()).into_owned())
            .filter(|message| !message.is_empty()),
    };
    let text = text.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use model::wire::{put_bytes, put_message, put_u64};

    use super::*;

    fn answer(status: u16, body: &[u8]) -> Response<Bytes> {
        Response::builder()
            .status(status)
            .header(RETRY_AFTER, "7")
            .body(Bytes::copy_from_slice(body))
            .expect("valid")
    }

    #[test]
    fn rejected_records_are_read_from_both_encodings() {
        let mut body = Vec::new();
        put_message(&mut body, 1, |partial| {
            put_u64(partial, 1, 3);
            put_bytes(partial, 2, b"no name");
        });
        let expect = |encoding, body: &[u8]| match judge("c", encoding, answer(200, body)) {
            Attempt::Accepted { rejected, message } => {
                assert_eq!((rejected, message.as_str()), (3, "no name"))
            }
            _ => panic!("accepted"),
        };
        expect(Encoding::Protobuf, &body);
        expect(Encoding::Json, br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no name"}}"#);
    }

    #[test]
    fn each_status_means_again_or_never() {
        for status in [302, 401, 404, 429, 502, 503, 504] {
            match judge("c", Encoding::Protobuf, answer(status, b"busy")) {
                Attempt::Again { reason, after } => {
                    assert!(reason.ends_with("busy"), "{reason}");
                    assert_eq!(after, Some(Duration::from_secs(7)));
                }
                _ => panic!("{status} is to be tried again"),
            }
        }
        for status in [400, 413, 415, 500] {
            assert!(
                matches!(judge("c", Encoding::Protobuf, answer(status, b"")), Attempt::Refused(_)),
                "{status}"
            );
        }
    }
}
