//! Trace and span identifiers as OpenTelemetry defines them: 16 and 8 bytes, all-zero is invalid,
//! text is lowercase hex.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The id in `bytes`; `None` when the length is wrong or every byte is zero.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                let id: [u8; $len] = bytes.try_into().ok()?;
                id.iter().any(|byte| *byte != 0).then_some(Self(id))
            }

            /// The id written as hex of either case; `None` for anything else or all zeros.
            pub fn from_hex(text: &str) -> Option<Self> {
                if text.len() != $len * 2 {
                    return None;
                }
                let (pairs, _) = text.as_bytes().as_chunks::<2>();
                let (mut id, mut seen) = ([0u8; $len], 0);
                for (byte, pair) in id.iter_mut().zip(pairs) {
                    let [high, low] = [HEX_DIGITS[usize::from(pair[0])], HEX_DIGITS[usize::from(pair[1])]];
                    *byte = high << 4 | low & 15;
                    seen |= high | low;
                }
                // Asked once, at the end: lines are full of ids, and hardly one is none.
                if seen > 15 { None } else { Self::from_bytes(&id) }
            }

            /// The bytes, most significant first.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Appends the lowercase hex text without allocating a new string.
            pub fn push_hex(&self, out: &mut String) {
                push_hex(&self.0, out);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::from_hex(text)
                    .ok_or_else(|| format!("`{text}` is not {} hex digits with one that is not 0", $len * 2))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

byte_id!(
    /// Identifies one trace (W3C Trace Context, `trace-id`).
    TraceId,
    16
);
byte_id!(
    /// Identifies one span within its trace (W3C Trace Context, `parent-id`).
    SpanId,
    8
);

/// Appends `bytes` as lowercase hex.
pub fn push_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)] as char);
        out.push(DIGITS[usize::from(byte & 15)] as char);
    }
}

/// The value of each hex digit; 255 for what is none.
const HEX_DIGITS: [u8; 256] = {
    let (mut values, mut byte) = ([255; 256], 0);
    while byte < 256 {
        values[byte] = match byte as u8 {
            digit @ b'0'..=b'9' => digit - b'0',
            digit @ b'a'..=b'f' => digit - b'a' + 10,
            digit @ b'A'..=b'F' => digit - b'A' + 10,
            _ => 255,
        };
        byte += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_of_either_case_reads_as_the_same_id_and_writes_lowercase() {
        let id = TraceId::from_hex("0AF7651916CD43DD8448EB211C80319C").expect("valid");
        assert_eq!(id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(TraceId::from_hex(&id.to_string()), Some(id));
    }

    #[test]
    fn zero_ids_wrong_lengths_and_other_letters_are_no_ids() {
        assert_eq!(SpanId::from_hex("0000000000000000"), None);
        assert_eq!(SpanId::from_hex("00f067aa0ba902"), None);
        assert_eq!(SpanId::from_hex("00f067aa0ba902bg"), None);
        assert_eq!(SpanId::from_bytes(&[0; 8]), None);
    }
}
