//! Protobuf bytes, read without copying and written without building objects.
//!
//! Owns: tags, varints, lengths (Protocol Buffers encoding guide). Does not own: what the fields mean
//! (`otlp`). Groups (wire types 3 and 4) are refused, as proto3 has none.
//!
//! ```text
//! field  = tag varint (number << 3 | type) , payload
//! type 0 = varint   1 = 8 bytes LE   2 = length varint, bytes   5 = 4 bytes LE
//! ```

use thiserror::Error;

/// Why bytes are no protobuf message, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("byte {offset}: {problem}")]
pub struct WireError {
    /// Offset in the message being read.
    pub offset: usize,
    /// What was found there.
    pub problem: &'static str,
}

/// One field's value as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// The bytes of a length-delimited field, empty for every other type.
    pub const fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    /// The integer of a varint or fixed field, 0 for bytes.
    pub const fn integer(self) -> u64 {
        match self {
            Self::Varint(value) | Self::Fixed64(value) => value,
            Self::Fixed32(value) => value as u64,
            Self::Bytes(_) => 0,
        }
    }
}

/// Walks the fields of one message. After an error it ends.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    buf: &'a [u8],
    pos: usize,
}

impl<'a> Fields<'a> {
    /// Fields of the message in `buf`.
    pub const fn new(buf: &'a [u8]) -> Self {
        Self { buf, pos: 0 }
    }

    /// Where the next field begins.
    pub const fn offset(&self) -> usize {
        self.pos
    }

    fn fail(&mut self, problem: &'static str) -> WireError {
        let offset = self.pos;
        self.pos = self.buf.len();
        WireError { offset, problem }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        // Tags and most lengths have one byte.
        if let Some(byte) = self.buf.get(self.pos).copied().filter(|byte| *byte < 0x80) {
            self.pos += 1;
            return Ok(u64::from(byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in 0..10 {
            let Some(byte) = self.buf.get(self.pos).copied() else {
                return Err(self.fail("the message ends inside a number"));
            };
            self.pos += 1;
            value |= u64::from(byte & 0x7f) << (shift * 7);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.fail("a number is longer than ten bytes"))
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let end = self.pos.checked_add(len).filter(|end| *end <= self.buf.len());
        let Some(end) = end else {
            return Err(self.fail("a field is longer than its message"));
        };
        let bytes = &self.buf[self.pos..end];
        self.pos = end;
        Ok(bytes)
    }

    #[inline]
    fn field(&mut self) -> Result<(u32, Value<'a>), WireError> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).unwrap_or(0);
        if number == 0 {
            return Err(self.fail("field number 0 or above the limit"));
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().unwrap_or_default())),
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(usize::try_from(len).unwrap_or(usize::MAX))?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().unwrap_or_default())),
            _ => return Err(self.fail("a wire type that proto3 does not have")),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        (self.pos < self.buf.len()).then(|| self.field())
    }
}

/// Every occurrence of one length-delimited field of a message, found by walking it again:
/// no list is allocated. Ends at the first malformed byte; check the message with [`check`] first.
#[derive(Clone, Copy, Debug)]
pub struct Repeated<'a> {
    buf: &'a [u8],
    number: u32,
}

impl<'a> Repeated<'a> {
    /// Occurrences of field `number` in the message `buf`.
    pub const fn new(buf: &'a [u8], number: u32) -> Self {
        Self { buf, number }
    }

    /// The occurrences in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let number = self.number;
        Fields::new(self.buf).map_while(Result::ok).filter_map(move |(found, value)| match value {
            Value::Bytes(bytes) if found == number => Some(bytes),
            _ => None,
        })
    }
}

/// Whether every field of the message is well formed; nested messages are not entered.
///
/// # Errors
/// The first malformed place.
pub fn check(buf: &[u8]) -> Result<(), WireError> {
    Fields::new(buf).try_for_each(|field| field.map(|_| ()))
}

/// Appends a varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a varint field.
#[inline]
pub fn put_u64(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

/// Appends an 8-byte field.
#[inline]
pub fn put_fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a 4-byte field.
#[inline]
pub fn put_fixed32(out: &mut Vec<u8>, number: u32, value: u32) {
    put_varint(out, u64::from(number) << 3 | 5);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a length-delimited field: bytes, text or a finished message.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes that [`put_varint`] takes for `value`.
#[inline]
pub const fn varint_bytes(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Bytes that [`put_bytes`] takes for `len` bytes, in a field with a number below 16.
#[inline]
pub const fn field_bytes(len: usize) -> usize {
    1 + varint_bytes(len as u64) + len
}

/// Appends a nested message that `write` fills in place. Room for a length below 128 is left in front
/// of it; a longer message is moved by the rest.
#[inline]
pub fn put_message(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    put_message_of(out, number, 1, write);
}

/// Like [`put_message`] for a message whose length is expected to take `prefix` bytes: 2 from 128 bytes on,
/// 3 from 16 KiB on. With another length it costs a move, nothing else.
#[inline]
pub fn put_message_of(out: &mut Vec<u8>, number: u32, prefix: usize, write: impl FnOnce(&mut Vec<u8>)) {
    put_varint(out, u64::from(number) << 3 | 2);
    let at = out.len();
    out.resize(at + prefix, 0);
    write(out);
    let len = out.len() - at - prefix;
    let needed = varint_bytes(len as u64);
    if needed != prefix {
        if needed > prefix {
            out.resize(at + needed + len, 0);
        }
        out.copy_within(at + prefix..at + prefix + len, at + needed);
        out.truncate(at + needed + len);
    }
    let mut value = len;
    for byte in &mut out[at..at + needed] {
        *byte = (value as u8 & 0x7f) | 0x80;
        value >>= 7;
    }
    out[at + needed - 1] &= 0x7f;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_field_longer_than_its_message_is_an_error_with_its_place() {
        let error = check(&[0x0a, 0x05, b'a']).expect_err("truncated");
        assert_eq!(error.offset, 2);
    }

    #[test]
    fn a_nested_message_is_the_same_whatever_length_was_expected() {
        for len in [0usize, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
            let (inner, mut whole) = (vec![b'x'; len], Vec::new());
            put_bytes(&mut whole, 7, &inner);
            assert_eq!(whole.len(), field_bytes(len), "{len}");
            for prefix in 1..=4 {
                let mut out = vec![1, 2];
                put_message_of(&mut out, 7, prefix, |out| out.extend_from_slice(&inner));
                assert!(out[..2] == [1, 2] && out[2..] == whole, "{len} with {prefix}");
            }
        }
    }

    #[test]
    fn the_bytes_of_a_number_are_told_before_it_is_written() {
        for value in (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) - 1]).chain([u64::MAX]) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_bytes(value), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&bytes);
            let _ = Repeated::new(&bytes, 1).iter().count();
        }

        #[test]
        fn what_is_written_is_read(number in 1u32..1000, text in ".{0,40}", value: u64, fixed: u64) {
            let mut out = Vec::new();
            put_u64(&mut out, number, value);
            put_fixed64(&mut out, number, fixed);
            put_message(&mut out, number, |inner| put_bytes(inner, 1, text.as_bytes()));
            let fields: Vec<_> = Fields::new(&out).collect::<Result<_, _>>().expect("well formed");
            prop_assert_eq!(fields[0], (number, Value::Varint(value)));
            prop_assert_eq!(fields[1], (number, Value::Fixed64(fixed)));
            let inner = fields[2].1.bytes();
            prop_assert_eq!(Repeated::new(inner, 1).iter().next(), Some(text.as_bytes()));
        }
    }
}
