//! The vocabulary every other crate speaks: signals, identifiers, time, OTLP bytes, id rules and
//! log dialects.
//!
//! Owns: names and their text forms, zero-copy views over OTLP protobuf, the rules that find ids in
//! a record, the parsing of one log line. Does not own: I/O, threads, async, storage layout.
//!
//! Invariants: nothing here reads a clock, a file or a socket; bytes from outside never panic.

pub mod agents;
pub mod dialect;
pub mod families;
pub mod id;
pub mod ids;
pub mod json;
pub mod kafka;
pub mod otlp;
pub mod pattern;
pub mod positions;
pub mod redact;
pub mod severity;
pub mod signal;
pub mod text;
pub mod time;
pub mod units;
pub mod vector;
pub mod wire;
pub mod yaml;

pub use id::{SpanId, TraceId};
pub use ids::{IdRules, IdTerm};
pub use severity::Severity;
pub use signal::Signal;
pub use time::{Clock, ManualClock, SystemClock, TimeRange, UnixNano};
