//! What is done to a value before it is recorded, so that one identifier is one text however it is written.

use std::fmt::Write as _;

use crate::id::push_hex;

/// One step of normalisation. White space around a value is always taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalise {
    /// Takes quotes and brackets away that stand around the value.
    Trim,
    /// Writes ASCII letters small.
    Lower,
    /// Writes ASCII letters large.
    Upper,
    /// Writes a UUID in any of its forms (large, braces, `urn:uuid:`, without hyphens) as
    /// `8-4-4-4-12` small hex digits; leaves other values as they are.
    Uuid,
    /// Writes a trace id in any of its forms as 32 small hex digits: hex of either case and of 16 or 32
    /// digits, with `0x`, a UUID, AWS X-Ray's `1-…-…`, a decimal number (Datadog), a W3C `traceparent`.
    /// What is none is dropped.
    TraceId,
}

impl Normalise {
    /// All steps, with the words that stand for them in `ids.yaml`.
    pub const ALL: [(&'static str, Self); 5] = [
        ("trim", Self::Trim),
        ("lower", Self::Lower),
        ("upper", Self::Upper),
        ("uuid", Self::Uuid),
        ("trace_id", Self::TraceId),
    ];

    /// Changes `value` in place; `false` when there is no identifier in it.
    pub(super) fn apply(self, value: &mut String) -> bool {
        match self {
            Self::Trim => trim_signs(value),
            Self::Lower => value.make_ascii_lowercase(),
            Self::Upper => value.make_ascii_uppercase(),
            Self::Uuid => {
                if let Some(bytes) = uuid(value) {
                    write_uuid(value, &bytes);
                }
            }
            Self::TraceId => {
                let Some(bytes) = trace_id(value) else { return false };
                value.clear();
                push_hex(&bytes, value);
            }
        }
        !value.is_empty()
    }
}

fn trim_signs(value: &mut String) {
    let is_sign = |c: char| {
        c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '(' | ')' | '[' | ']' | '{' | '}')
    };
    let end = value.trim_end_matches(is_sign).len();
    value.truncate(end);
    let start = value.len() - value.trim_start_matches(is_sign).len();
    value.drain(..start);
}

/// The 16 bytes of `digits` hex digits, from the right, hyphens passed over; `None` for other signs or
/// another number of digits.
fn hex_bytes(text: &str, digits: usize) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    let mut found = 0;
    for byte in text.bytes().filter(|byte| *byte != b'-') {
        let digit = char::from(byte).to_digit(16)? as u8;
        if found == digits {
            return None;
        }
        let at = 32 - digits + found;
        bytes[at / 2] |= if at.is_multiple_of(2) { digit << 4 } else { digit };
        found += 1;
    }
    (found == digits).then_some(bytes)
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.strip_prefix("urn:uuid:").or_else(|| text.strip_prefix("URN:UUID:")).unwrap_or(text);
    let text = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    let has_uuid_hyphens =
        || text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text.as_bytes()[*at] == b'-');
    (text.len() == 32 || has_uuid_hyphens()).then(|| hex_bytes(text, 32)).flatten()
}

fn write_uuid(value: &mut String, bytes: &[u8; 16]) {
    value.clear();
    for (at, part) in
        [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]].iter().enumerate()
    {
        value.push_str(if at > 0 { "-" } else { "" });
        push_hex(part, value);
    }
}

/// The trace id that a text of any known form means. Bare decimal numbers need 15 digits at least, as
/// shorter ones are mostly something else.
pub(super) fn trace_id(text: &str) -> Option<[u8; 16]> {
    let text = text.trim();
    let plain = text.strip_prefix("0x").unwrap_or(text);
    let found = match plain.len() {
        32 => hex_bytes(plain, 32),
        // 16 digits can be decimal and hex: Datadog writes decimal, B3 writes hex with leading zeros kept.
        16 if plain.bytes().any(|byte| byte.is_ascii_alphabetic()) || plain.len() < text.len() => {
            hex_bytes(plain, 16)
        }
        35 if plain.starts_with("1-") => hex_bytes(&plain[2..], 32),
        36 => uuid(plain),
        55 if plain.starts_with("00-") && plain.as_bytes()[35] == b'-' => {
            plain.get(3..35).and_then(|trace| hex_bytes(trace, 32))
        }
        15..=39 if plain.bytes().all(|byte| byte.is_ascii_digit()) => {
            plain.parse::<u128>().ok().map(u128::to_be_bytes)
        }
        _ => None,
    };
    found.filter(|bytes| bytes.iter().any(|byte| *byte != 0))
}

/// `text` as 32 hex digits, when it is written in one of the other forms of a trace id.
pub(super) fn trace_hex(text: &str) -> Option<String> {
    let bytes = trace_id(text)?;
    let mut hex = String::with_capacity(32);
    bytes.iter().for_each(|byte| write!(hex, "{byte:02x}").unwrap_or_default());
    Some(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(step: Normalise, value: &str, expected: Option<&str>) {
        let mut text = value.to_owned();
        let is_kept = step.apply(&mut text);
        assert_eq!(is_kept.then_some(text.as_str()), expected, "{step:?} of {value}");
    }

    #[test]
    fn one_uuid_is_one_text_however_it_is_written() {
        let expected = Some("0af76519-16cd-43dd-8448-eb211c80319c");
        for form in [
            "0AF76519-16CD-43DD-8448-EB211C80319C",
            "{0af76519-16cd-43dd-8448-eb211c80319c}",
            "urn:uuid:0af76519-16cd-43dd-8448-eb211c80319c",
            "0af7651916cd43dd8448eb211c80319c",
        ] {
            check(Normalise::Uuid, form, expected);
        }
        check(Normalise::Uuid, "ORD-4711", Some("ORD-4711"));
        check(
            Normalise::Uuid,
            "0af76519-16cd-43dd-8448-eb211c80319",
            Some("0af76519-16cd-43dd-8448-eb211c80319"),
        );
    }

    #[test]
    fn a_trace_id_is_32_hex_digits_however_it_is_written() {
        let full = Some("0af7651916cd43dd8448eb211c80319c");
        for form in [
            "0AF7651916CD43DD8448EB211C80319C",
            "0x0af7651916cd43dd8448eb211c80319c",
            "0af76519-16cd-43dd-8448-eb211c80319c",
            "1-0af76519-16cd43dd8448eb211c80319c",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "14576827793038113322513871894673895836",
        ] {
            check(Normalise::TraceId, form, full);
        }
        check(Normalise::TraceId, "8448eb211c80319c", Some("00000000000000008448eb211c80319c"));
        check(Normalise::TraceId, "9532127138774266268", Some("00000000000000008448eb211c80319c"));
        for none in ["", "-", "ORD-4711", "4711", "00000000000000000000000000000000", "zz", "ä"] {
            check(Normalise::TraceId, none, None);
        }
    }

    #[test]
    fn signs_around_a_value_are_taken_away_and_signs_inside_stay() {
        check(Normalise::Trim, "[\"a(b)c\"]", Some("a(b)c"));
        check(Normalise::Trim, "\"\"", None);
        check(Normalise::Upper, "ord-7ä", Some("ORD-7ä"));
    }
}
