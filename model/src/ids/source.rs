//! One source as written in `ids.yaml`: where values of a kind stand.

use crate::text::nearest;

/// Attributes a `template:` names at most.
pub(super) const SLOTS_MAX: usize = 8;

/// Where an attribute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The resource that produced the record.
    Resource,
    /// The instrumentation scope.
    Scope,
    /// A span.
    Span,
    /// A log record, or the map that is its body.
    Log,
    /// An event of a span.
    Event,
    /// A link of a span.
    Link,
}

impl Place {
    /// All places with the words that stand for them, as in `attr.span:KEY`.
    pub const ALL: [(&'static str, Self); 6] = [
        ("resource", Self::Resource),
        ("scope", Self::Scope),
        ("span", Self::Span),
        ("log", Self::Log),
        ("event", Self::Event),
        ("link", Self::Link),
    ];

    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Bits of all places.
pub(super) const EVERYWHERE: u8 = 0b11_1111;
/// Bits of the places that are a record of its own.
pub(super) const RECORD: u8 = Place::Span.bit() | Place::Log.bit();

/// A source, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source<'a> {
    Attribute { places: u8, key: &'a str },
    Json(&'a str),
    BodyKey(&'a str),
    Header(&'a str),
    Baggage(&'a str),
    KafkaKey { topics: Option<&'a str> },
    KafkaHeader(&'a str),
    Pattern(&'a str),
    Template(&'a str),
}

/// The forms, for those who wrote another one.
const FORMS: [&str; 15] = [
    "attr:",
    "attr.resource:",
    "attr.scope:",
    "attr.span:",
    "attr.log:",
    "attr.event:",
    "attr.link:",
    "json:",
    "kv:",
    "header:",
    "baggage:",
    "kafka.key",
    "kafka.header:",
    "re:",
    "template:",
];

impl<'a> Source<'a> {
    /// Reads a source; the error says what would be right.
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        if text == "kafka.key" {
            return Ok(Self::KafkaKey { topics: None });
        }
        if let Some(topics) = text.strip_prefix("kafka.key@") {
            return named(topics, "kafka.key@orders-*").map(|topics| Self::KafkaKey { topics: Some(topics) });
        }
        let Some((form, rest)) = text.split_once(':') else { return Err(unknown(text)) };
        match form {
            "attr" => named(rest, "attr:order.id").map(|key| Self::Attribute { places: EVERYWHERE, key }),
            "json" => Ok(Self::Json(rest)),
            "kv" => body_key(rest).map(Self::BodyKey),
            "header" => named(rest, "header:x-order-id").map(Self::Header),
            "baggage" => named(rest, "baggage:order.id").map(Self::Baggage),
            "kafka.header" => named(rest, "kafka.header:x-order-id").map(Self::KafkaHeader),
            "re" => Ok(Self::Pattern(rest)),
            "template" => Ok(Self::Template(rest)),
            _ => {
                let place = form.strip_prefix("attr.").ok_or_else(|| unknown(text))?;
                let place =
                    Place::ALL.iter().find(|(word, _)| *word == place).ok_or_else(|| unknown(text))?;
                named(rest, "attr.span:order.id").map(|key| Self::Attribute { places: place.1.bit(), key })
            }
        }
    }
}

fn named<'a>(name: &'a str, example: &str) -> Result<&'a str, String> {
    match name.is_empty() || name.contains(char::is_whitespace) {
        true => Err(format!("name what to look for, as in {example}")),
        false => Ok(name),
    }
}

fn body_key(key: &str) -> Result<&str, String> {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    match !key.is_empty() && key.len() <= BODY_KEY_BYTES_MAX && key.bytes().all(is_part) {
        true => Ok(key),
        false => Err(format!(
            "a key before `=` has letters, digits, `_`, `-` and `.`, {BODY_KEY_BYTES_MAX} at most, as in kv:order_id"
        )),
    }
}

/// Bytes of a key in a body.
pub(super) const BODY_KEY_BYTES_MAX: usize = 64;

fn unknown(text: &str) -> String {
    let form = text.split_once(':').map_or(text.to_owned(), |(form, _)| format!("{form}:"));
    match nearest(&form, FORMS) {
        Some(near) => format!("no source begins with `{form}`: did you mean `{near}`?"),
        None => format!("no source begins with `{form}`: begin with {}", FORMS.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        for form in FORMS {
            let text = match form {
                "kafka.key" => form.to_owned(),
                _ => format!("{form}x"),
            };
            Source::parse(&text).expect(&text);
        }
        let span = Source::Attribute { places: Place::Span.bit(), key: "a:b" };
        assert_eq!(Source::parse("attr.span:a:b"), Ok(span));
    }

    #[test]
    fn a_slip_is_named_with_the_form_that_was_meant() {
        for (text, part) in [
            ("atr:order.id", "did you mean `attr:`?"),
            ("attr.spam:x", "did you mean `attr.span:`?"),
            ("kafka.headers:x", "did you mean `kafka.header:`?"),
            ("jsonpath", "begin with attr:"),
            ("header:", "as in header:x-order-id"),
            ("kv:a b", "letters, digits"),
        ] {
            let problem = Source::parse(text).expect_err(text);
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }
}
