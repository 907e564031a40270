//! The agent beside a service: tails log files, takes OTLP on loopback, ships both to the collector.
//!
//! Owns: file identity and rotation, positions, the on-disk spool for pushed data, retries, its own
//! counters. Does not own: how a line is parsed (`model::dialect`), storage, queries.
//!
//! Invariants
//! - A log file is its own write-ahead log: only positions are kept, and a position moves only after
//!   the collector acknowledged everything before it. When the collector is away, reading stops.
//! - Pushed data is acknowledged to its sender only once it stands in the spool.
//! - Per component, `in = out + dropped(reason) + buffered`; `/status` shows the four.
//! - Memory is a budget in bytes: every component has a bound, and their sum is within `[memory] limit`.
//!
//! ```text
//! files ──► input::file (own thread) ── batch + ranges ──► export ── OTLP/HTTP ──► collector
//!              ▲  positions.json ◄──────── acknowledged ────┘  ▲
//! OTLP, syslog, statsd … ── + resource ──► queue (spool on disk) ┘
//! ```

pub mod central;
pub mod config;
mod error;
mod export;
#[doc(hidden)]
pub mod fuzz;
mod heartbeat;
pub mod input;
pub mod memory;
pub mod preview;
mod process;
pub mod queue;
pub mod replay;
mod run;
pub mod status;
mod tap;
mod whole;

pub use config::Config;
pub use error::{Error, ErrorKind, exit_code};
pub use export::connect::client_config;
pub use run::{Addresses, Agent, Control, drop_spool, run};
