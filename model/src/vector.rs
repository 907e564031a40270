//! Searches that look at 32 bytes at a time, where the processor can (AVX2, asked for while running).
//!
//! Owns: the two searches that every line of a log goes through. Does not own: what is done with what they find. The
//! `memchr` crate finds bytes as well, but compilers of today leave calls in its innermost loop.
//!
//! Invariant, and why the `unsafe` here is sound: a function with `target_feature(enable = "avx2")` is called only
//! behind `is_x86_feature_detected!("avx2")`; 32 bytes are loaded only through a reference to an array of 32.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "code for AVX2 is called after asking for it; the loads are of whole arrays"
    )
)]

/// Where `byte` stands first.
#[inline]
pub fn find_byte(byte: u8, bytes: &[u8]) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= avx2::LANES && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::find_byte(byte, bytes) };
    }
    memchr::memchr(byte, bytes)
}

/// Where `trace` or `span` may begin, at `from` or behind it: `t?ac` or `s?an` of either case.
#[inline]
pub(crate) fn find_id_name(bytes: &[u8], from: usize) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= from + avx2::WINDOW && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::find_id_name(bytes, from) };
    }
    let rest = bytes.get(from..)?;
    rest.windows(4).position(|window| is_id_name(window[0], window[2], window[3])).map(|at| from + at)
}

const fn is_id_name(first: u8, third: u8, fourth: u8) -> bool {
    let (first, third, fourth) = (first | 0x20, third | 0x20, fourth | 0x20);
    third == b'a' && (first == b't' && fourth == b'c' || first == b's' && fourth == b'n')
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8,
        _mm256_or_si256, _mm256_set1_epi8,
    };

    /// Bytes that are looked at together.
    pub(super) const LANES: usize = 32;

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(bytes: &[u8; LANES]) -> __m256i {
        // SAFETY: the array has the 32 bytes that are read; the load needs no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn all(byte: u8) -> __m256i {
        _mm256_set1_epi8(byte.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn mask(lanes: __m256i) -> u32 {
        _mm256_movemask_epi8(lanes).cast_unsigned()
    }

    /// `bytes` are 32 or more.
    #[target_feature(enable = "avx2")]
    pub(super) fn find_byte(byte: u8, bytes: &[u8]) -> Option<usize> {
        let wanted = all(byte);
        let is = |chunk| _mm256_cmpeq_epi8(load(chunk), wanted);
        let (chunks, _) = bytes.as_chunks::<LANES>();
        let (pairs, single) = chunks.as_chunks::<2>();
        for (at, [one, two]) in pairs.iter().enumerate() {
            let (one, two) = (is(one), is(two));
            if mask(_mm256_or_si256(one, two)) != 0 {
                let found = u64::from(mask(one)) | u64::from(mask(two)) << LANES;
                return Some(at * 2 * LANES + found.trailing_zeros() as usize);
            }
        }
        if let [chunk] = single {
            let found = mask(is(chunk));
            if found != 0 {
                return Some(pairs.len() * 2 * LANES + found.trailing_zeros() as usize);
            }
        }
        // The last 32, of which those at the beginning are known not to match.
        let found = mask(is(bytes.last_chunk::<LANES>()?));
        (found != 0).then(|| bytes.len() - LANES + found.trailing_zeros() as usize)
    }

    /// Bytes of a window in which 32 names may begin.
    pub(super) const WINDOW: usize = LANES + 3;

    /// `bytes` are as many as a window has, or more.
    #[target_feature(enable = "avx2")]
    pub(super) fn find_id_name(bytes: &[u8], from: usize) -> Option<usize> {
        let (last, mut at) = (bytes.len() - WINDOW, from);
        loop {
            // The last window begins where it is whole; what it shows of the time before is known not to match, or is
            // before `from`.
            let begin = at.min(last);
            let window = &bytes[begin..begin + WINDOW];
            let (Some(firsts), Some(thirds), Some(fourths)) =
                (window.first_chunk(), window[2..].first_chunk(), window[3..].first_chunk())
            else {
                return None;
            };
            let case = all(0x20);
            let lower = |chunk| _mm256_or_si256(load(chunk), case);
            let (first, third, fourth) = (lower(firsts), lower(thirds), lower(fourths));
            let is = |lanes, byte| _mm256_cmpeq_epi8(lanes, all(byte));
            let trace = _mm256_and_si256(is(first, b't'), is(fourth, b'c'));
            let span = _mm256_and_si256(is(first, b's'), is(fourth, b'n'));
            let found = mask(_mm256_and_si256(is(third, b'a'), _mm256_or_si256(trace, span)));
            let found = found >> (at - begin);
            if found != 0 {
                return Some(at + found.trailing_zeros() as usize);
            }
            at += LANES;
            if at >= last + LANES {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_byte_is_found_where_a_plain_search_finds_it(
            bytes in proptest::collection::vec(0u8..4, 0..200), byte in 0u8..5
        ) {
            prop_assert_eq!(find_byte(byte, &bytes), bytes.iter().position(|found| *found == byte));
        }

        #[test]
        fn a_rare_byte_is_found_wherever_it_is(before in 0usize..300, after in 0usize..100) {
            let mut bytes = vec![b'x'; before + 1 + after];
            prop_assert_eq!(find_byte(b'\n', &bytes), None);
            bytes[before] = b'\n';
            prop_assert_eq!(find_byte(b'\n', &bytes), Some(before));
        }

        #[test]
        fn names_of_ids_are_found_where_a_plain_search_finds_them(
            words in proptest::collection::vec("[tTsS][a-c][aA][cCnN]|[a-z ]{0,40}|trace|SPAN", 0..12), from in 0usize..80
        ) {
            let text = words.concat();
            let plain = (from..text.len().saturating_sub(3)).find(|at| {
                let window = &text.as_bytes()[*at..*at + 4];
                is_id_name(window[0], window[2], window[3])
            });
            prop_assert_eq!(find_id_name(text.as_bytes(), from), plain);
        }
    }
}
