//! The product's tests: the real binaries, real traffic, the shop's ledger as the oracle.
//!
//! They start `silmari`, `silmari-agent` and `silmari-shop` of the same build: `cargo test --workspace` builds all
//! three. For this package alone, run `cargo build --workspace --bins` first.

mod agent_kill;
mod cases;
mod commands;
mod demo;
mod doctor;
mod exemplars;
mod fleet;
mod follow;
mod ledger;
mod overload;
mod redaction;
mod replay;
mod restart;
mod sql;
mod store_tools;
mod support;
mod terminal;
