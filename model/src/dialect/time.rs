//! Times as log lines write them: ISO 8601 with `T` or a space, `.` or `,` before the fraction, with
//! or without a zone (none means UTC); access-log dates; Unix numbers in s, ms, µs or ns.

use crate::UnixNano;

/// Reads a whole text as a time: RFC 3339 and its relatives, or a Unix number whose unit its size
/// tells (seconds below 10¹¹, then milliseconds, microseconds, nanoseconds).
pub fn parse_time(text: &str) -> Option<UnixNano> {
    let text = text.trim_ascii();
    if let Some((time, len)) = leading(text)
        && len == text.len()
    {
        return Some(time);
    }
    parse_unix(text)
}

/// A Unix time as a decimal number with an optional fraction.
pub(super) fn parse_unix(text: &str) -> Option<UnixNano> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() < 9 || whole.len() > 19 || fraction.len() > 18 || !is_digits(whole) || !is_digits(fraction)
    {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    let unit: i64 = match whole.len() {
        ..=11 => 1_000_000_000,
        12..=14 => 1_000_000,
        15..=17 => 1_000,
        _ => 1,
    };
    let mut nanos = number.checked_mul(unit)?;
    let mut scale = unit / 10;
    for digit in fraction.bytes() {
        nanos = nanos.checked_add(i64::from(digit - b'0') * scale)?;
        scale /= 10;
    }
    Some(UnixNano(nanos))
}

/// A time at the beginning of `text` and the bytes it takes, zone included.
pub(super) fn leading(text: &str) -> Option<(UnixNano, usize)> {
    let bytes = text.as_bytes();
    let separator = *bytes.get(4)?;
    if !matches!(separator, b'-' | b'/')
        || bytes.get(7) != Some(&separator)
        || !matches!(bytes.get(10)?, b'T' | b't' | b' ')
    {
        return None;
    }
    let (year, month, day) = (number(bytes, 0, 4)?, number(bytes, 5, 2)?, number(bytes, 8, 2)?);
    let (hour, minute, second) = clock(bytes, 11)?;
    let (nanos, mut end) = fraction(bytes, 19);
    let (offset, zone_len) = zone(&bytes[end..])?;
    end += zone_len;
    let time = civil([year, month, day], [hour, minute, second], nanos, offset)?;
    Some((time, end))
}

/// `22/Jan/2019:03:56:14 +0330`, as access logs write it.
pub(super) fn access_log(text: &str) -> Option<UnixNano> {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let bytes = text.as_bytes();
    if bytes.len() < 20 || bytes[2] != b'/' || bytes[6] != b'/' || bytes[11] != b':' {
        return None;
    }
    let month = MONTHS.iter().position(|month| *month == &bytes[3..6])? as i32 + 1;
    let date = [number(bytes, 7, 4)?, month, number(bytes, 0, 2)?];
    let (hour, minute, second) = clock(bytes, 12)?;
    let (offset, len) = zone(&bytes[20..])?;
    (20 + len == bytes.len()).then(|| civil(date, [hour, minute, second], 0, offset))?
}

fn clock(bytes: &[u8], at: usize) -> Option<(i32, i32, i32)> {
    if bytes.get(at + 2) != Some(&b':') || bytes.get(at + 5) != Some(&b':') {
        return None;
    }
    Some((number(bytes, at, 2)?, number(bytes, at + 3, 2)?, number(bytes, at + 6, 2)?))
}

/// Nanoseconds after `.` or `,` at `at`, and where they end.
fn fraction(bytes: &[u8], at: usize) -> (i32, usize) {
    if !matches!(bytes.get(at), Some(b'.' | b',')) || !bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
        return (0, at);
    }
    let (mut nanos, mut scale, mut end) = (0, 100_000_000, at + 1);
    while let Some(digit) = bytes.get(end).filter(|byte| byte.is_ascii_digit()) {
        nanos += i32::from(digit - b'0') * scale;
        scale /= 10;
        end += 1;
    }
    (nanos, end)
}

/// Seconds east of UTC and the bytes of the zone; a text without a zone is UTC. `None` when a zone
/// begins and is none.
fn zone(bytes: &[u8]) -> Option<(i32, usize)> {
    if !matches!(bytes.first(), Some(b'Z' | b'z' | b' ' | b'+' | b'-')) {
        return Some((0, 0));
    }
    for (name, len) in [(&b"Z"[..], 1), (b"z", 1), (b" UTC", 4), (b" GMT", 4), (b" Z", 2)] {
        if bytes.starts_with(name) && !bytes.get(len).is_some_and(u8::is_ascii_alphanumeric) {
            return Some((0, len));
        }
    }
    let space = usize::from(bytes.first() == Some(&b' '));
    let sign = match bytes.get(space) {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Some((0, 0)),
    };
    let digits = space + 1;
    let Some(hours) = number(bytes, digits, 2) else {
        return if space == 1 { Some((0, 0)) } else { None };
    };
    let colon = usize::from(bytes.get(digits + 2) == Some(&b':'));
    let (minutes, len) = match number(bytes, digits + 2 + colon, 2) {
        Some(minutes) => (minutes, digits + 4 + colon),
        None => (0, digits + 2),
    };
    Some((sign * (hours * 3600 + minutes * 60), len))
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<i32> {
    bytes
        .get(at..at + len)?
        .iter()
        .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i32::from(byte - b'0')))
}

fn civil(date: [i32; 3], clock: [i32; 3], nanos: i32, offset: i32) -> Option<UnixNano> {
    let ([year, month, day], [hour, minute, second]) = (date, clock);
    let is_time = hour < 24 && minute < 60 && second <= 60 && offset.abs() < 26 * 3600;
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || !is_time {
        return None;
    }
    // A leap second is written as :60; the clock that stores it has none.
    let second_of_day = hour * 3600 + minute * 60 + second.min(59) - offset;
    let seconds = days_since_epoch(year, month, day) * 86_400 + i64::from(second_of_day);
    seconds.checked_mul(1_000_000_000)?.checked_add(i64::from(nanos)).map(UnixNano)
}

const fn days_in(year: i32, month: i32) -> i32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, for years from 0. Years are counted from March, so that
/// the leap day is the last of its year.
fn days_since_epoch(year: i32, month: i32, day: i32) -> i64 {
    let year = year - i32::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i64::from(era) * 146_097 + i64::from(day_of_era) - 719_468
}

#[cfg(test)]
mod tests {
    use jiff::civil::DateTime;
    use jiff::tz::Offset;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn dates_become_the_moments_that_jiff_makes_of_them(
            date in (0i32..10_000, 0i32..14, 0i32..33), clock in (0i32..25, 0i32..61, 0i32..61), nanos in 0i32..1_000_000_000,
            offset in -90_000i32..90_000,
        ) {
            let expected = || {
                let (year, month, day) = (date.0 as i16, date.1 as i8, date.2 as i8);
                let second = (clock.2 as i8).min(59);
                let moment = DateTime::new(year, month, day, clock.0 as i8, clock.1 as i8, second, nanos).ok()?;
                let time = Offset::from_seconds(offset).ok()?.to_timestamp(moment).ok()?;
                i64::try_from(time.as_nanosecond()).ok().map(UnixNano)
            };
            let found = civil([date.0, date.1, date.2], [clock.0, clock.1, clock.2], nanos, offset);
            prop_assert_eq!(found, expected());
        }
    }
}
