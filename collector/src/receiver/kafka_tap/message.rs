//! What of a message is kept: key, headers, place and time. Never its payload.

use std::fmt::Write as _;

use model::kafka::MESSAGE_EVENT;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use model::{SpanId, TraceId, UnixNano};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

use super::broker::is_named;
use crate::settings::KafkaTap;

/// Headers kept of one message.
const HEADERS_MAX: usize = 64;
/// Bytes kept of a header's name, and of a key or a header's value.
const NAME_BYTES_MAX: usize = 128;
const VALUE_BYTES_MAX: usize = 1_024;
/// Bytes of a value that is no text which are kept, as hex.
const BINARY_BYTES_MAX: usize = 64;
const INFO: i32 = 9;

/// Which headers are recorded.
pub(super) struct Rules {
    headers: Vec<String>,
    hidden: Vec<String>,
}

/// One message as it is recorded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tapped {
    pub(super) body: String,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) trace: Option<(TraceId, SpanId)>,
}

impl Rules {
    pub(super) fn new(settings: &KafkaTap) -> Self {
        let small = |globs: &[String]| globs.iter().map(|glob| glob.to_ascii_lowercase()).collect();
        Self { headers: small(&settings.headers), hidden: small(&settings.hidden_headers) }
    }

    /// Appends the log record of a message.
    pub(super) fn write(&self, message: &BorrowedMessage<'_>, writer: &mut LogsWriter) {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let headers = headers.map(|header| (header.key, header.value));
        let place = (message.topic(), message.partition(), message.offset());
        let size = message.payload().map(<[u8]>::len);
        let tapped = self.tapped(place, message.key(), headers, size);
        let time = message.timestamp().to_millis().filter(|millis| *millis > 0);
        let record = LogRecordParts {
            time: UnixNano(time.unwrap_or(0).saturating_mul(1_000_000)),
            severity_number: INFO,
            severity_text: "INFO",
            body: &tapped.body,
            trace_id: tapped.trace.map(|(trace, _)| trace),
            span_id: tapped.trace.map(|(_, span)| span),
            event_name: MESSAGE_EVENT,
            ..LogRecordParts::default()
        };
        writer.push(&record, tapped.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    }

    /// What is kept of a message. `size` is the length of the payload; a tombstone has none.
    pub(super) fn tapped<'a>(
        &self,
        (topic, partition, offset): (&str, i32, i64),
        key: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
        size: Option<usize>,
    ) -> Tapped {
        let mut tapped = Tapped { body: format!("{topic}/{partition}@{offset}"), ..Tapped::default() };
        let mut add = |name: &str, value: String| tapped.attributes.push((name.to_owned(), value));
        add("messaging.destination.name", topic.to_owned());
        add("messaging.destination.partition.id", partition.to_string());
        add("messaging.kafka.offset", offset.to_string());
        if let Some(size) = size {
            add("messaging.message.body.size", size.to_string());
        } else {
            add("messaging.kafka.message.tombstone", "true".to_owned());
        }
        if let Some(key) = key {
            let key = text(key);
            write!(tapped.body, " key={key}").unwrap_or_default();
            add("messaging.kafka.message.key", key);
        }
        for (name, value) in headers.take(HEADERS_MAX) {
            let name = cut(name, NAME_BYTES_MAX).to_ascii_lowercase();
            let value = value.map(text).unwrap_or_default();
            if name == "traceparent" {
                tapped.trace = traceparent(&value).or(tapped.trace);
            }
            if is_named(&self.headers, &name) && !is_named(&self.hidden, &name) {
                tapped.attributes.push((format!("messaging.header.{name}"), value));
            }
        }
        tapped
    }
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Text as it is, anything else as hex.
fn text(bytes: &[u8]) -> String {
    let is_text = |text: &&str| !text.chars().any(char::is_control);
    match std::str::from_utf8(bytes).ok().filter(is_text) {
        Some(text) => cut(text, VALUE_BYTES_MAX).to_owned(),
        None => {
            let mut hex = String::from("0x");
            model::id::push_hex(&bytes[..bytes.len().min(BINARY_BYTES_MAX)], &mut hex);
            if bytes.len() > BINARY_BYTES_MAX {
                hex.push('…');
            }
            hex
        }
    }
}

/// W3C Trace Context: `00-<trace>-<span>-<flags>`.
fn traceparent(text: &str) -> Option<(TraceId, SpanId)> {
    let mut parts = text.trim().split('-');
    let (_, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    Some((TraceId::from_hex(trace)?, SpanId::from_hex(span)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tapped(key: Option<&[u8]>, headers: &[(&str, &[u8])], size: Option<usize>) -> Tapped {
        let rules = Rules::new(&KafkaTap::new("k:9092", ["*"]));
        let headers = headers.iter().map(|(name, value)| (*name, Some(*value)));
        rules.tapped(("orders", 3, 88_123), key, headers, size)
    }

    fn value<'a>(tapped: &'a Tapped, key: &str) -> Option<&'a str> {
        tapped.attributes.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    #[test]
    fn key_place_headers_and_trace_are_kept() {
        let parent = b"00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        let headers: [(&str, &[u8]); 2] = [("X-Order-Id", b"ORD-1"), ("traceparent", parent)];
        let found = tapped(Some(b"ORD-1"), &headers, Some(120));
        assert_eq!(found.body, "orders/3@88123 key=ORD-1");
        assert_eq!(value(&found, "messaging.kafka.offset"), Some("88123"));
        assert_eq!(value(&found, "messaging.header.x-order-id"), Some("ORD-1"));
        assert_eq!(value(&found, "messaging.message.body.size"), Some("120"));
        let (trace, span) = found.trace.expect("a trace");
        assert_eq!(
            (trace.to_string().as_str(), span.to_string().as_str()),
            ("0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7")
        );
    }

    #[test]
    fn secrets_are_not_recorded_and_binary_values_are_hex() {
        let headers: [(&str, &[u8]); 3] =
            [("Authorization", b"Bearer x"), ("x-session-Token", b"t"), ("bin", &[0, 255])];
        let found = tapped(Some(&[0; 100]), &headers, None);
        assert_eq!(value(&found, "messaging.header.authorization"), None);
        assert_eq!(value(&found, "messaging.header.x-session-token"), None);
        assert_eq!(value(&found, "messaging.header.bin"), Some("0x00ff"));
        let key = value(&found, "messaging.kafka.message.key").expect("a key");
        assert!(key.ends_with('…') && key.len() < 140, "{key}");
        assert_eq!(value(&found, "messaging.kafka.message.tombstone"), Some("true"));
    }

    #[test]
    fn what_one_message_can_cost_is_bounded() {
        let long = "ä".repeat(5_000);
        let headers: Vec<(&str, &[u8])> = (0..500).map(|_| (long.as_str(), long.as_bytes())).collect();
        let found = tapped(None, &headers, Some(0));
        assert_eq!(found.attributes.len(), 4 + HEADERS_MAX);
        assert!(
            found.attributes.iter().all(|(key, value)| key.len() <= 160 && value.len() <= VALUE_BYTES_MAX)
        );
    }
}
