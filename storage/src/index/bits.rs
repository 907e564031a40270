//! Numbers in as few bits as they need, one behind the other, the lowest bit of a byte first.
//!
//! ```text
//! fixed(5, 4)    1010             four bits, the lowest first
//! rice(13, 2)    0001 10          13 >> 2 zeros, a one, the lower two bits (Golomb 1966, Rice 1979)
//! gamma(5)       001 01           of 5 + 1 = 110: two zeros for the bits behind its first, a one, these bits (Elias 1975)
//! ```
//!
//! Invariant: reading ends with `None` where there are no more bits; no bytes make it panic.

/// The longest run of zeros that is read: what is written has fewer.
const ZEROS_MAX: u32 = 1 << 12;

#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that are not a byte yet, and how many.
    open: u64,
    len: u32,
}

impl BitWriter {
    pub(super) fn fixed(&mut self, number: u64, bits: u32) {
        let (mut number, mut bits) = (number, bits);
        while bits > 0 {
            let taken = bits.min(32);
            self.open |= (number & ((1 << taken) - 1)) << self.len;
            self.len += taken;
            (number, bits) = (number >> taken, bits - taken);
            while self.len >= 8 {
                self.bytes.push(self.open as u8);
                self.open >>= 8;
                self.len -= 8;
            }
        }
    }

    fn zeros_and_one(&mut self, zeros: u64) {
        (0..zeros / 32).for_each(|_| self.fixed(0, 32));
        self.fixed(1 << (zeros % 32), (zeros % 32) as u32 + 1);
    }

    pub(super) fn rice(&mut self, number: u64, bits: u32) {
        self.zeros_and_one(number >> bits);
        self.fixed(number, bits);
    }

    /// Of a number below the largest there is.
    pub(super) fn gamma(&mut self, number: u64) {
        let bits = (number + 1).ilog2();
        self.zeros_and_one(u64::from(bits));
        self.fixed(number + 1, bits);
    }

    /// The bytes; bits that are left of the last are zero.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.len > 0 {
            self.bytes.push(self.open as u8);
        }
        self.bytes
    }
}

pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    open: u64,
    len: u32,
}

impl<'a> BitReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, open: 0, len: 0 }
    }

    /// Has 32 bits ready, or all that are left.
    #[inline]
    fn fill(&mut self) {
        if self.len <= 32 {
            if let Some((four, rest)) = self.bytes.split_first_chunk::<4>() {
                self.open |= u64::from(u32::from_le_bytes(*four)) << self.len;
                self.len += 32;
                self.bytes = rest;
            } else {
                while let Some((byte, rest)) = self.bytes.split_first() {
                    self.open |= u64::from(*byte) << self.len;
                    self.len += 8;
                    self.bytes = rest;
                }
            }
        }
    }

    #[inline]
    fn skip(&mut self, bits: u32) -> Option<()> {
        self.len = self.len.checked_sub(bits)?;
        self.open = self.open.checked_shr(bits).unwrap_or(0);
        Some(())
    }

    #[inline]
    pub(super) fn fixed(&mut self, bits: u32) -> Option<u64> {
        let low = bits.min(32);
        self.fill();
        let mut number = self.open & ((1 << low) - 1);
        self.skip(low)?;
        if bits > 32 {
            number |= self.fixed(bits - 32)? << 32;
        }
        Some(number)
    }

    #[inline]
    fn zeros_and_one(&mut self) -> Option<u32> {
        let mut zeros = 0;
        loop {
            self.fill();
            let here = self.open.trailing_zeros();
            if here < self.len {
                self.skip(here + 1)?;
                return Some(zeros + here);
            }
            zeros += self.len;
            if self.len == 0 || zeros > ZEROS_MAX {
                return None;
            }
            (self.open, self.len) = (0, 0);
        }
    }

    #[inline]
    pub(super) fn rice(&mut self, bits: u32) -> Option<u64> {
        let upper = u64::from(self.zeros_and_one()?);
        let lower = self.fixed(bits)?;
        Some(upper.checked_mul(1_u64.checked_shl(bits)?)? | lower)
    }

    #[inline]
    pub(super) fn gamma(&mut self) -> Option<u64> {
        let bits = self.zeros_and_one().filter(|bits| *bits < u64::BITS)?;
        Some((1 << bits | self.fixed(bits)?) - 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Number {
        Fixed(u64, u32),
        Rice(u64, u32),
        Gamma(u64),
    }

    fn any_number() -> impl Strategy<Value = Number> {
        let number = prop_oneof![0..9_u64, any::<u32>().prop_map(u64::from), 0..u64::MAX];
        let fixed = (number.clone(), 0..=63_u32)
            .prop_map(|(number, bits)| Number::Fixed(number & ((1 << bits) - 1), bits));
        let rice = (number.clone(), 0..=60_u32, 0..8_u64).prop_map(|(number, bits, upper)| {
            Number::Rice((upper << bits) | (number & ((1 << bits) - 1)), bits)
        });
        let far = (0..300_u64).prop_map(|number| Number::Rice(number, 0));
        prop_oneof![fixed, rice, far, number.prop_map(Number::Gamma)]
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written_and_behind_them_is_nothing(
            numbers in prop::collection::vec(any_number(), 0..60),
        ) {
            let mut writer = BitWriter::default();
            for number in &numbers {
                match *number {
                    Number::Fixed(number, bits) => writer.fixed(number, bits),
                    Number::Rice(number, bits) => writer.rice(number, bits),
                    Number::Gamma(number) => writer.gamma(number),
                }
            }
            let bytes = writer.finish();
            let mut reader = BitReader::new(&bytes);
            for number in &numbers {
                match *number {
                    Number::Fixed(number, bits) => prop_assert_eq!(reader.fixed(bits), Some(number)),
                    Number::Rice(number, bits) => prop_assert_eq!(reader.rice(bits), Some(number)),
                    Number::Gamma(number) => prop_assert_eq!(reader.gamma(), Some(number)),
                }
            }
            // What is left of the last byte is zeros, and no number of these kinds.
            prop_assert_eq!(reader.gamma(), None);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), bits in prop::collection::vec(0..64_u32, 1..40)) {
            let mut reader = BitReader::new(&bytes);
            for bits in bits {
                let _ = (reader.rice(bits), reader.gamma(), reader.fixed(bits));
            }
        }
    }
}
