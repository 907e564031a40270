//! Time windows: rows of one hour, by their own time, are compacted and retained together.
//!
//! A segment lies in one window, or is *wide* when its rows come from many: a sender that delivers months
//! of old data must not make a segment of every hour.

use std::fmt;

use model::{TimeRange, UnixNano};

/// Length of a window.
pub(crate) const WINDOW_NANO: i64 = 3_600 * 1_000_000_000;

/// Which window a segment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Window {
    /// Rows of several windows.
    Wide,
    /// Hours since 1970.
    Hour(i64),
}

impl Window {
    /// The hour a row belongs to.
    pub(crate) const fn hour_of(time: UnixNano) -> i64 {
        time.0.div_euclid(WINDOW_NANO)
    }

    /// The window of rows that lie within `range`.
    pub(crate) fn of(range: &TimeRange) -> Self {
        let (first, last) = (Self::hour_of(range.from), Self::hour_of(range.to));
        if first == last { Self::Hour(first) } else { Self::Wide }
    }

    /// Whether it ended at least `grace_nano` before `now`: few rows will join it. A wide one never ends.
    pub(crate) const fn is_closed(self, now: UnixNano, grace_nano: i64) -> bool {
        match self {
            Self::Wide => false,
            Self::Hour(hour) => {
                hour.saturating_add(1).saturating_mul(WINDOW_NANO).saturating_add(grace_nano) <= now.0
            }
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wide => f.write_str("wide"),
            Self::Hour(hour) => write!(f, "hour {hour}"),
        }
    }
}
