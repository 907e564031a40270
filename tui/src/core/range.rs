//! The time range that every view obeys: the last while, or between two instants.

use std::time::Duration;

use model::time::{SECOND, parse_duration};
use model::{TimeRange, UnixNano};

/// Presets of the time picker.
pub(crate) const PRESETS: [&str; 7] = ["5m", "15m", "1h", "3h", "12h", "1d", "7d"];

/// A range as the user thinks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// What ends now.
    Last(Duration),
    /// What ended, or will.
    Between(TimeRange),
}

impl Range {
    /// The instants it means at `now`.
    pub(crate) fn at(self, now: UnixNano) -> TimeRange {
        match self {
            Self::Last(duration) => TimeRange::last(duration, now),
            Self::Between(range) => range,
        }
    }

    /// For the header: `15m`, `10:00:00..10:20:00`.
    pub(crate) fn label(self) -> String {
        match self {
            Self::Last(duration) => short(duration),
            Self::Between(range) => format!("{}..{}", clock(range.from), clock(range.to)),
        }
    }

    /// After "no record matches": `in the last 15m`, `in 10:00:00..10:20:00`.
    pub(crate) fn within(self) -> String {
        match self {
            Self::Last(_) => format!("in the last {}", self.label()),
            Self::Between(_) => format!("in {}", self.label()),
        }
    }

    /// The command-line flags that mean the same.
    pub(crate) fn flags(self) -> String {
        match self {
            Self::Last(duration) => format!("--since {}", short(duration)),
            Self::Between(range) => format!("--from {} --to {}", range.from, range.to),
        }
    }

    /// Moved by half its length; it no longer follows the present.
    pub(crate) fn shifted(self, now: UnixNano, is_forward: bool) -> Self {
        let range = self.at(now);
        let half = range.nanos() / 2;
        let by = if is_forward { half } else { -half };
        Self::Between(TimeRange { from: range.from.plus(by), to: range.to.plus(by) })
    }

    /// Reads `15m`, `now-15m`, `10:00..10:20`, `10:00 +20m`, and two RFC 3339 times around `..`.
    /// Times of day are UTC and the latest that lie before `now`.
    pub(crate) fn parse(text: &str, now: UnixNano) -> Result<Self, String> {
        let text = text.trim();
        if let Some((from, to)) = text.split_once("..") {
            return Self::between(instant(from.trim(), now)?, instant(to.trim(), now)?);
        }
        if let Some((from, length)) = text.split_once('+') {
            let from = instant(from.trim(), now)?;
            let nanos = i64::try_from(parse_duration(length.trim())?.as_nanos()).unwrap_or(i64::MAX);
            return Self::between(from, from.plus(nanos));
        }
        let duration = parse_duration(text.strip_prefix("now-").unwrap_or(text)).map_err(|_| {
            format!(
                "`{text}` is no range: write 15m, 10:00..10:20, 10:00 +20m or two RFC 3339 times around .."
            )
        })?;
        if duration < Duration::from_secs(1) || duration > Duration::from_secs(366 * 86_400) {
            return Err(format!("`{text}` is out of bounds: 1s to 366d"));
        }
        Ok(Self::Last(duration))
    }

    fn between(from: UnixNano, to: UnixNano) -> Result<Self, String> {
        if to <= from {
            return Err(format!("the range ends ({}) before it begins ({})", clock(to), clock(from)));
        }
        Ok(Self::Between(TimeRange { from, to }))
    }
}

/// `10:42`, `10:42:07`, `now` or an RFC 3339 time.
fn instant(text: &str, now: UnixNano) -> Result<UnixNano, String> {
    if text == "now" {
        return Ok(now);
    }
    let Some(seconds) = seconds_of_day(text) else {
        return text
            .parse()
            .map_err(|_| format!("`{text}` is no time: write 10:42, 10:42:07, now or RFC 3339"));
    };
    let day = 86_400 * SECOND;
    let time = UnixNano(now.0.div_euclid(day) * day + seconds * SECOND);
    Ok(if time > now { time.plus(-day) } else { time })
}

fn seconds_of_day(text: &str) -> Option<i64> {
    let parts: Vec<i64> = text
        .split(':')
        .map(|part| if part.len() == 2 { part.parse::<u8>().ok().map(i64::from) } else { None })
        .collect::<Option<_>>()?;
    match parts[..] {
        [hours @ 0..24, minutes @ 0..60] => Some(hours * 3_600 + minutes * 60),
        [hours @ 0..24, minutes @ 0..60, seconds @ 0..60] => Some(hours * 3_600 + minutes * 60 + seconds),
        _ => None,
    }
}

/// `HH:MM:SS` in UTC.
pub(crate) fn clock(time: UnixNano) -> String {
    time.clock_text().split('.').next().unwrap_or_default().to_owned()
}

/// The shortest text that reads back as `duration`: `15m`, `1h30m`.
pub(crate) fn short(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    if seconds == 0 {
        return format!("{}ms", duration.as_millis());
    }
    let mut out = String::new();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if seconds >= length {
            out.push_str(&format!("{}{unit}", seconds / length));
            seconds %= length;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> UnixNano {
        "2026-11-20T10:42:07Z".parse().expect("a time")
    }

    #[test]
    fn ranges_read_the_way_they_are_labelled() {
        for text in ["15m", "1h30m", "7d"] {
            assert_eq!(Range::parse(text, now()).map(Range::label), Ok(text.to_owned()));
        }
        assert_eq!(Range::parse("now-15m", now()), Range::parse("15m", now()));
        assert_eq!(
            Range::parse("10:00..10:20", now()).map(Range::label),
            Ok("10:00:00..10:20:00".to_owned())
        );
        assert_eq!(Range::parse("10:00 +20m", now()), Range::parse("10:00..10:20", now()));
    }

    #[test]
    fn what_was_not_found_was_not_found_in_the_last_while_or_between_two_times() {
        for (range, expected) in [("15m", "in the last 15m"), ("10:00..10:20", "in 10:00:00..10:20:00")] {
            assert_eq!(Range::parse(range, now()).map(Range::within), Ok(expected.to_owned()));
        }
    }

    #[test]
    fn a_time_of_day_still_to_come_is_yesterdays() {
        let Ok(Range::Between(range)) = Range::parse("23:00..23:10", now()) else { panic!("no range") };
        assert_eq!(range.from.to_string(), "2026-11-19T23:00:00.000000000Z");
    }

    #[test]
    fn what_is_no_range_is_refused_with_an_example() {
        for wrong in ["", "15", "soon", "10:20..10:00", "99:00..99:10", "0s", "9999d", "10:00..", "é:é..1"]
        {
            assert!(Range::parse(wrong, now()).is_err(), "{wrong}");
        }
    }
}
