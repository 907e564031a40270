//! Queries: search, journeys, PromQL, SQL, the services overview, and the HTTP API they are asked through.
//!
//! Owns: the meaning of every question silmari answers, what an answer may cost, `/api/v1` and
//! `/prometheus/api/v1`. Does not own: the JSON's types (`query_api`), where rows come from (`storage`).
//!
//! ```text
//! HTTP ─► http (routes, limits) ─┬─► search ─► logs        ┐
//!                                ├─► services              │
//!                                ├─► journey, identity     ├─► Snapshot = head + segments
//!                                ├─► whereabouts, doctor   │
//!                                ├─► promql                │
//!                                └─► sql (DataFusion)      ┘
//! ```
//!
//! Invariants: every question runs on one [`storage::Snapshot`]; what an answer leaves out is a
//! `Cut` in it; blocking work passes through [`limits::Gate`]; time comes from the [`model::Clock`].

mod boards;
mod clock_offsets;
mod columns;
pub mod doctor;
mod engine;
pub mod fleet;
pub mod http;
pub mod identity;
pub mod journey;
pub mod limits;
pub mod logs;
pub mod promql;
mod reads;
mod rule_source;
pub mod rules;
pub mod search;
pub mod services;
pub mod sql;
#[cfg(test)]
mod testing;
pub mod whereabouts;

pub use engine::Engine;
pub use rule_source::{SnapshotLogCounter, StoreSource};
