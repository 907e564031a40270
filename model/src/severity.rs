//! Severity of log records: OpenTelemetry's numbers 1–24 in six named ranges of four
//! (OpenTelemetry Logs Data Model, "Field: SeverityNumber").

use std::fmt;
use std::str::FromStr;

/// A named range of severity numbers. `Severity::Warn as i32` is the first number of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// 1–4.
    Trace = 1,
    /// 5–8.
    Debug = 5,
    /// 9–12.
    Info = 9,
    /// 13–16.
    Warn = 13,
    /// 17–20.
    Error = 17,
    /// 21–24.
    Fatal = 21,
}

impl Severity {
    /// From the gravest to the least grave.
    pub const ALL: [Self; 6] = [Self::Fatal, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The range a severity number falls into; `None` for 0 (unspecified) and numbers outside 1–24.
    pub const fn from_number(number: i32) -> Option<Self> {
        match number {
            1..=4 => Some(Self::Trace),
            5..=8 => Some(Self::Debug),
            9..=12 => Some(Self::Info),
            13..=16 => Some(Self::Warn),
            17..=20 => Some(Self::Error),
            21..=24 => Some(Self::Fatal),
            _ => None,
        }
    }

    /// The first number of the range.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// `TRACE` … `FATAL`, as the OpenTelemetry data model writes them.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }

    /// The severity a log line's level word means, whatever its case: syslog's, log4j's, Python's,
    /// nginx' and glog's words are known.
    pub fn from_word(word: &str) -> Option<Self> {
        if word.len() > 11 {
            return None;
        }
        let mut lower = [0u8; 11];
        let lower = &mut lower[..word.len()];
        lower.copy_from_slice(word.as_bytes());
        lower.make_ascii_lowercase();
        match &*lower {
            b"trace" | b"trc" | b"finest" | b"finer" | b"verbose" => Some(Self::Trace),
            b"debug" | b"dbg" | b"fine" | b"d" => Some(Self::Debug),
            b"info" | b"inf" | b"information" | b"informational" | b"notice" | b"note" | b"config" | b"i" => {
                Some(Self::Info)
            }
            b"warn" | b"warning" | b"wrn" | b"w" => Some(Self::Warn),
            b"error" | b"err" | b"eror" | b"severe" | b"e" => Some(Self::Error),
            b"fatal" | b"ftl" | b"critical" | b"crit" | b"alert" | b"emerg" | b"emergency" | b"panic"
            | b"f" => Some(Self::Fatal),
            _ => None,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_word(text)
            .ok_or_else(|| format!("`{text}` is no level: use trace, debug, info, warn, error or fatal"))
    }
}
