//! Queries: search, journeys, PromQL, SQL, the services overview, and the HTTP API they are asked through.
//!
//! Owns: the meaning of every question silmari answers, what an answer may cost, `/api/v1` and
//! `/prometheus/api/v1`. Does not own: the JSON's types (`query_api`), where rows come from (`storage`).
//!
//! ```text
//! HTTP ─► http (routes, limits) ─┬─► search ─► logs        ┐
//!                                ├─► services              │
//!                                ├─► journey               ├─► Snapshot = head + segments
//!                                ├─► promql                │
//!                                └─► sql (DataFusion)      ┘
//! ```
//!
//! Invariants: every question runs on one [`storage::Snapshot`]; what an answer leaves out is a
//! `Cut` in it; blocking work passes through [`limits::Gate`]; time comes from the [`model::Clock`].

pub mod journey;
pub mod limits;
pub mod logs;
mod nearest;
pub mod promql;
pub mod search;
pub mod services;
pub mod sql;

