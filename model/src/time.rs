//! Time as a value: nanoseconds since the Unix epoch, ranges of them, and the clock that is passed in.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanoseconds since 1970-01-01T00:00:00Z. In JSON and on the screen it is RFC 3339 text in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct UnixNano(pub i64);

/// Nanoseconds in a second.
pub const SECOND: i64 = 1_000_000_000;

impl UnixNano {
    /// The earliest time that can be written.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest time that can be written.
    pub const MAX: Self = Self(i64::MAX);

    /// From a protobuf `fixed64`; what lies beyond the year 2262 becomes [`UnixNano::MAX`].
    pub fn from_u64(nanos: u64) -> Self {
        Self(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    /// From seconds with a fraction, as Prometheus' API writes times.
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * SECOND as f64) as i64)
    }

    /// Seconds with a fraction.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / SECOND as f64
    }

    /// Milliseconds, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This time moved by `nanos`, clamped to what can be written.
    pub const fn plus(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// This time moved back by `duration`.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Nanoseconds from `earlier` to `self`; negative when `earlier` is later.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    fn timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// `HH:MM:SS.mmm` in UTC.
    pub fn clock_text(self) -> String {
        self.timestamp().strftime("%H:%M:%S%.3f").to_string()
    }
}

impl fmt::Display for UnixNano {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.9}", self.timestamp())
    }
}

impl fmt::Debug for UnixNano {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixNano({self})")
    }
}

impl FromStr for UnixNano {
    type Err = String;

    /// RFC 3339 text, or Unix seconds with an optional fraction.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return i64::try_from(time.as_nanosecond())
                .map(Self)
                .map_err(|_| format!("`{text}` lies outside the years 1677 to 2262"));
        }
        match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() => Ok(Self::from_seconds(seconds)),
            _ => Err(format!("`{text}` is no time: use RFC 3339 (2026-11-21T10:42:00Z) or Unix seconds")),
        }
    }
}

impl Serialize for UnixNano {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnixNano {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A span of time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// First instant inside.
    pub from: UnixNano,
    /// Last instant inside.
    pub to: UnixNano,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { from: UnixNano::MIN, to: UnixNano::MAX };

    /// The `duration` that ends at `to`.
    pub fn last(duration: Duration, to: UnixNano) -> Self {
        Self { from: to.minus(duration), to }
    }

    /// Whether `time` lies inside.
    pub fn contains(&self, time: UnixNano) -> bool {
        self.from <= time && time <= self.to
    }

    /// The smallest range that has both.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        Self { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    /// Whether any instant lies in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }

    /// Nanoseconds from one end to the other.
    pub const fn nanos(&self) -> i64 {
        self.to.0.saturating_sub(self.from.0)
    }
}

/// Reads `15m`, `1h30m`, `200ms`, `2s`, `7d`: whole numbers with the units `ns us ms s m h d w`.
///
/// # Errors
/// Says which text is no duration and shows one that is.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration: write a number and a unit, as in 500ms, 15m or 1h30m");
    let mut total = 0u64;
    let mut rest = text;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let nanos = match &rest[..unit] {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 604_800_000_000_000,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(nanos).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = &rest[unit..];
    }
    Ok(Duration::from_nanos(total))
}

/// A duration for people, in at most seven columns: `830ns`, `12µs`, `8.42s`, `310ms`, `6m02s`, `3h10m`.
pub fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    match nanos {
        0..1_000 => format!("{sign}{nanos}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", nanos / 1_000),
        1_000_000..10_000_000 => format!("{sign}{:.1}ms", nanos as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{sign}{}ms", nanos / 1_000_000),
        1_000_000_000..60_000_000_000 => format!("{sign}{:.2}s", nanos as f64 / 1e9),
        60_000_000_000..3_600_000_000_000 => {
            format!("{sign}{}m{:02}s", nanos / 60_000_000_000, nanos / 1_000_000_000 % 60)
        }
        _ => format!("{sign}{}h{:02}m", nanos / 3_600_000_000_000, nanos / 60_000_000_000 % 60),
    }
}

/// The one source of time. Rules, journeys and screens run on recorded time in tests.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock. It may jump.
    fn now(&self) -> UnixNano;

    /// Time since an arbitrary start that never jumps; for durations.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// A shared handle.
    #[expect(clippy::disallowed_methods, reason = "this is the clock everything else is given")]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self { start: std::time::Instant::now() })
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock everything else is given")]
    fn now(&self) -> UnixNano {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixNano(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicI64,
    start: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: UnixNano) -> Arc<Self> {
        Arc::new(Self { now: AtomicI64::new(now.0), start: AtomicI64::new(now.0) })
    }

    /// Moves the clock forward.
    pub fn advance(&self, duration: Duration) {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        self.now.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Sets the wall clock forward or back by `nanos`, as an operator does; the monotonic clock goes on.
    pub fn jump(&self, nanos: i64) {
        self.start.fetch_add(nanos, Ordering::SeqCst);
        self.now.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixNano {
        UnixNano(self.now.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        let nanos = self.now.load(Ordering::SeqCst).saturating_sub(self.start.load(Ordering::SeqCst));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_with_several_units_and_refuse_a_bare_number() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("200ms"), Ok(Duration::from_millis(200)));
        for wrong in ["", "15", "m", "1x", "99999999999999999999s", "-5m"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_survives_its_own_text_to_the_nanosecond() {
        let time = UnixNano(1_795_000_000_123_456_789);
        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!(time.clock_text().len(), "10:42:00.123".len());
    }

    #[test]
    fn durations_for_people_fit_seven_columns() {
        for (nanos, text) in [
            (830, "830ns"),
            (12_345, "12µs"),
            (4_200_000, "4.2ms"),
            (310_000_000, "310ms"),
            (8_420_000_000, "8.42s"),
            (362_000_000_000, "6m02s"),
            (11_400_000_000_000, "3h10m"),
        ] {
            assert_eq!(duration_text(nanos), text);
        }
    }
}
