//! The product's tests: the real binaries, real traffic, the shop's ledger as the oracle.
//!
//! They need `cargo build --bins` first, which `make test` does.

mod commands;
mod demo;
mod ledger;
mod restart;
mod support;
mod terminal;
