//! What to know of a row at a glance: calls that a circuit breaker or a rate limit refused.
//!
//! They are known by what the common libraries write: resilience4j (`CallNotPermittedException`,
//! `RequestNotPermitted`), Polly (`BrokenCircuitException`), Hystrix (`short-circuited`), HTTP status 429,
//! gRPC status 8, an attribute that names the breaker's state, or plain words.

use query_api::{Attributes, RowMark, Text};

use super::records::{LogRecord, SpanRecord};

const BREAKERS: [&str; 6] = [
    "callnotpermitted",
    "brokencircuit",
    "hystrixruntimeexception: short-circuited",
    "circuit open",
    "circuit is open",
    "circuitbreakeropen",
];
const RATE_LIMITS: [&str; 6] = [
    "requestnotpermitted",
    "ratelimitexceeded",
    "rate limit exceeded",
    "rate limited",
    "too many requests",
    "resource_exhausted",
];
/// Texts are looked at as far as this.
const TEXT_BYTES_MAX: usize = 512;

/// Marks of a span.
pub(crate) fn of_span(span: &SpanRecord) -> Vec<RowMark> {
    let mut marks = of_attributes(&span.attributes);
    if span.is_error {
        read(&span.status_message, &mut marks);
    }
    for event in &span.events {
        for key in ["exception.type", "exception.message"] {
            read(event.attributes.get(key).map_or("", Text::as_str), &mut marks);
        }
    }
    tidy(marks)
}

/// Marks of a log record.
pub(crate) fn of_log(log: &LogRecord) -> Vec<RowMark> {
    let mut marks = of_attributes(&log.attributes);
    // What is said at INFO is more often about the rules than about this call.
    if log.severity_number >= model::Severity::Warn.number() {
        read(&log.body, &mut marks);
    }
    tidy(marks)
}

fn of_attributes(attributes: &Attributes) -> Vec<RowMark> {
    let mut marks = Vec::new();
    let value = |key: &str| attributes.get(key).map_or("", Text::as_str);
    let is_limited = ["http.response.status_code", "http.status_code", "status"].map(value).contains(&"429")
        || value("rpc.grpc.status_code") == "8";
    if is_limited {
        marks.push(RowMark::RateLimited);
    }
    let is_breaker = |key: &str| key.starts_with("circuit") && key.ends_with("state");
    let mut states = attributes.iter().filter(|(key, _)| is_breaker(key)).map(|(_, state)| state);
    if states.any(|state| state.eq_ignore_ascii_case("open")) {
        marks.push(RowMark::CircuitOpen);
    }
    for key in ["error.type", "exception.type", "exception.message"] {
        read(value(key), &mut marks);
    }
    marks
}

fn read(text: &str, marks: &mut Vec<RowMark>) {
    if text.is_empty() {
        return;
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    let text = text[..end].to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&BREAKERS)
        || ((text.contains("circuit breaker") || text.contains("circuitbreaker")) && text.contains("open"))
    {
        marks.push(RowMark::CircuitOpen);
    }
    if says(&RATE_LIMITS) {
        marks.push(RowMark::RateLimited);
    }
}

fn tidy(mut marks: Vec<RowMark>) -> Vec<RowMark> {
    marks.sort_unstable();
    marks.dedup();
    marks
}
