//! `AnyValue` and `KeyValue` (opentelemetry-proto common.proto) as borrowed values, and their text form.
//!
//! The text form is what is stored and searched: strings as they are, everything else as JSON, so
//! that `attr:5` finds both `5` and `"5"`. Nesting below [`DEPTH_MAX`] is cut with `…`.

use std::fmt::Write as _;

use crate::wire::{Fields, Repeated, Value, WireError};

/// How deep arrays and maps are written out.
pub const DEPTH_MAX: usize = 32;

/// One attribute value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AnyValue<'a> {
    /// No value set.
    Empty,
    /// `string_value`; invalid UTF-8 reads as an empty string.
    Str(&'a str),
    /// `bool_value`.
    Bool(bool),
    /// `int_value`.
    Int(i64),
    /// `double_value`.
    Double(f64),
    /// `array_value`, still as bytes.
    Array(&'a [u8]),
    /// `kvlist_value`, still as bytes.
    KvList(&'a [u8]),
    /// `bytes_value`.
    Bytes(&'a [u8]),
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeyValue<'a> {
    /// The attribute's name.
    pub key: &'a str,
    /// Its value.
    pub value: AnyValue<'a>,
}

/// The attributes in a repeated `KeyValue` field. Malformed ones end the walk.
pub fn attributes<'a>(repeated: Repeated<'a>) -> impl Iterator<Item = KeyValue<'a>> + use<'a> {
    repeated.iter().map_while(|bytes| KeyValue::parse(bytes).ok())
}

/// The value of the attribute `key`, if it is there.
pub fn find<'a>(repeated: Repeated<'a>, key: &str) -> Option<AnyValue<'a>> {
    attributes(repeated).find(|attribute| attribute.key == key).map(|attribute| attribute.value)
}

impl<'a> KeyValue<'a> {
    /// Reads a `KeyValue` message.
    ///
    /// # Errors
    /// When the bytes are no message.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        match Self::short(bytes) {
            Some((key, value)) => Ok(Self { key: text(key), value: AnyValue::parse(value)? }),
            None => Self::parse_fields(bytes),
        }
    }

    /// Key and value of the form that nearly all have: in this order, below 128 bytes each, and nothing else.
    #[inline]
    fn short(bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let [0x0a, length @ ..0x80, rest @ ..] = bytes else { return None };
        let (key, rest) = rest.split_at_checked(usize::from(*length))?;
        let [0x12, length @ ..0x80, value @ ..] = rest else { return None };
        (value.len() == usize::from(*length)).then_some((key, value))
    }

    fn parse_fields(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut attribute = Self { key: "", value: AnyValue::Empty };
        for field in Fields::new(bytes) {
            match field? {
                (1, value) => attribute.key = text(value.bytes()),
                (2, value) => attribute.value = AnyValue::parse(value.bytes())?,
                _ => {}
            }
        }
        Ok(attribute)
    }
}

impl<'a> AnyValue<'a> {
    /// Reads an `AnyValue` message.
    ///
    /// # Errors
    /// When the bytes are no message.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        match bytes {
            // A text and nothing else, as nearly all are.
            [0x0a, length @ ..0x80, rest @ ..] if rest.len() == usize::from(*length) => {
                Ok(Self::Str(text(rest)))
            }
            _ => Self::parse_fields(bytes),
        }
    }

    fn parse_fields(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut found = Self::Empty;
        for field in Fields::new(bytes) {
            found = match field? {
                (1, value) => Self::Str(text(value.bytes())),
                (2, value) => Self::Bool(value.integer() != 0),
                (3, value) => Self::Int(value.integer() as i64),
                (4, Value::Fixed64(bits)) => Self::Double(f64::from_bits(bits)),
                (5, value) => Self::Array(value.bytes()),
                (6, value) => Self::KvList(value.bytes()),
                (7, value) => Self::Bytes(value.bytes()),
                _ => found,
            };
        }
        Ok(found)
    }

    /// The value when it is a string.
    pub const fn as_str(&self) -> Option<&'a str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Appends the text form: a string as it is, everything else as JSON.
    pub fn push_text(&self, out: &mut String) {
        match self {
            Self::Str(text) => out.push_str(text),
            Self::Empty => {}
            other => other.push_json(out, 0),
        }
    }

    fn push_json(&self, out: &mut String, depth: usize) {
        if depth > DEPTH_MAX {
            out.push('…');
            return;
        }
        match *self {
            Self::Empty => out.push_str("null"),
            Self::Str(text) => push_json_string(text, out),
            Self::Bool(value) => out.push_str(if value { "true" } else { "false" }),
            Self::Int(value) => write!(out, "{value}").unwrap_or_default(),
            Self::Double(value) => push_double(value, out),
            Self::Bytes(bytes) => {
                out.push('"');
                crate::id::push_hex(bytes, out);
                out.push('"');
            }
            Self::Array(bytes) => {
                out.push('[');
                for (at, item) in Repeated::new(bytes, 1).iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    AnyValue::parse(item).unwrap_or(AnyValue::Empty).push_json(out, depth + 1);
                }
                out.push(']');
            }
            Self::KvList(bytes) => {
                out.push('{');
                for (at, entry) in attributes(Repeated::new(bytes, 1)).enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    push_json_string(entry.key, out);
                    out.push(':');
                    entry.value.push_json(out, depth + 1);
                }
                out.push('}');
            }
        }
    }
}

/// Appends a number; with an exponent where it would have more than some twenty digits.
pub fn push_double(value: f64, out: &mut String) {
    let is_short = value == 0.0 || (1e-5..1e17).contains(&value.abs());
    let written =
        if is_short || !value.is_finite() { write!(out, "{value}") } else { write!(out, "{value:e}") };
    written.unwrap_or_default();
}

/// Appends `text` as a JSON string.
pub fn push_json_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => write!(out, "\\u{:04x}", u32::from(c)).unwrap_or_default(),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// UTF-8 text, or its longest valid beginning: a record is not lost for one bad byte.
pub fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{put_bytes, put_u64};

    proptest! {
        #[test]
        fn the_short_form_is_read_as_any_other(
            key in "[a-zé]{0,6}|[k]{120,135}",
            value in prop_oneof!["[vé]{0,6}", "[v]{115,140}"].prop_map(String::into_bytes),
            swapped: bool,
            noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let (mut text, mut bytes) = (Vec::new(), Vec::new());
            put_bytes(&mut text, 1, &value);
            let fields: [(u32, &[u8]); 2] = [(1, key.as_bytes()), (2, &text)];
            let order = if swapped { [1, 0] } else { [0, 1] };
            order.iter().for_each(|at| put_bytes(&mut bytes, fields[*at].0, fields[*at].1));
            for (at, byte) in noise {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            prop_assert_eq!(KeyValue::parse(&bytes), KeyValue::parse_fields(&bytes));
            prop_assert_eq!(AnyValue::parse(&bytes), AnyValue::parse_fields(&bytes));
            prop_assert_eq!(AnyValue::parse(&text), AnyValue::parse_fields(&text));
        }
    }

    fn deep(levels: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_u64(&mut bytes, 3, 7);
        for _ in 0..levels {
            let mut array = Vec::new();
            put_bytes(&mut array, 1, &bytes);
            bytes.clear();
            put_bytes(&mut bytes, 5, &array);
        }
        bytes
    }

    #[test]
    fn deep_nesting_is_cut_and_does_not_overflow_the_stack() {
        let bytes = deep(2_000);
        let mut out = String::new();
        AnyValue::parse(&bytes).expect("well formed").push_text(&mut out);
        assert!(out.contains('…'), "{out}");
    }

    #[test]
    fn nested_values_are_written_as_json() {
        let mut out = String::new();
        AnyValue::parse(&deep(2)).expect("well formed").push_text(&mut out);
        assert_eq!(out, "[[7]]");
    }

    #[test]
    fn no_number_takes_more_than_some_twenty_digits() {
        let written = |value: f64| {
            let mut out = String::new();
            AnyValue::Double(value).push_text(&mut out);
            out
        };
        assert_eq!([0.25, -3.0, 1e16, 0.0].map(written), ["0.25", "-3", "10000000000000000", "0"]);
        assert_eq!([1e300, -5e-324, f64::INFINITY].map(written), ["1e300", "-5e-324", "inf"]);
        for value in [f64::MAX, f64::MIN_POSITIVE, 1.234_567_890_123_456_7e-5, 99_999_999_999_999_990.0] {
            assert!(written(value).len() <= 24, "{}", written(value));
            assert_eq!(written(value).parse(), Ok(value));
        }
    }

    #[test]
    fn text_with_a_bad_byte_keeps_its_good_beginning() {
        assert_eq!(text(b"good\xffbad"), "good");
    }
}
