//! Card numbers: thirteen digits or more with a check digit, as most numbers of that length have not.

use std::ops::{Range, RangeInclusive};

/// Digits of a card number.
const CARD_DIGITS: RangeInclusive<usize> = 13..=19;

/// Whether there is a number as long as that of a card.
pub(super) fn has_long_number(bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let (end, digits) = number_at(bytes, at);
        if digits >= *CARD_DIGITS.start() {
            return true;
        }
        at = end;
    }
    false
}

/// A card number at or behind `from`: digits, at most one space or hyphen between two of them.
pub(super) fn find_card(text: &[u8], from: usize) -> Option<Range<usize>> {
    let mut at = from;
    while at < text.len() {
        if !text[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let (end, digits) = number_at(text, at);
        let joins = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let is_free = !at.checked_sub(1).is_some_and(|before| joins(text[before]))
            && !text.get(end).is_some_and(|after| after.is_ascii_alphanumeric() || *after == b'_');
        let is_issued = matches!(text[at], b'2'..=b'6');
        if CARD_DIGITS.contains(&digits) && is_free && is_issued && is_luhn(&text[at..end]) {
            return Some(at..end);
        }
        at = end;
    }
    None
}

/// Where a number with separators ends, and how many digits it has.
fn number_at(text: &[u8], start: usize) -> (usize, usize) {
    let (mut at, mut digits) = (start, 0);
    while let Some(byte) = text.get(at) {
        if byte.is_ascii_digit() {
            digits += 1;
            at += 1;
        } else if matches!(byte, b' ' | b'-') && text.get(at + 1).is_some_and(u8::is_ascii_digit) {
            at += 1;
        } else {
            break;
        }
    }
    (at, digits)
}

/// Whether the digits of a number end with their check digit. ISO/IEC 7812-1, annex B.
pub(super) fn is_luhn(number: &[u8]) -> bool {
    let digits = number.iter().rev().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(at, digit)| match at % 2 {
            0 => digit,
            _ if digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}
