//! The three signals. Everything between a receiver and a segment is generic over this value.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of OpenTelemetry's signals, as it travels through receiver, WAL, head and segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
    /// Data points.
    Metrics,
}

impl Signal {
    /// All signals, in the order of their [`Signal::code`].
    pub const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// The name in paths and configuration: `traces`, `logs`, `metrics`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }

    /// The table that holds the signal's rows: `spans`, `logs`, `points`.
    pub const fn table(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Logs => "logs",
            Self::Metrics => "points",
        }
    }

    /// The byte that stands for the signal on disk. Never renumber.
    pub const fn code(self) -> u8 {
        match self {
            Self::Traces => 1,
            Self::Logs => 2,
            Self::Metrics => 3,
        }
    }

    /// The signal of a byte read from disk.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Traces),
            2 => Some(Self::Logs),
            3 => Some(Self::Metrics),
            _ => None,
        }
    }

    /// Position in [`Signal::ALL`], for arrays with one slot a signal.
    pub const fn index(self) -> usize {
        self.code() as usize - 1
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|signal| signal.name() == text || signal.table() == text)
            .ok_or_else(|| format!("`{text}` is no signal: use traces, logs or metrics"))
    }
}
