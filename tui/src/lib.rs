//! The terminal user interface, and the same views as plain text.
//!
//! ```text
//!  terminal.rs ── keys ──┐
//!  effects.rs ─ answers ─┼─► core::update ─► State ─► view ─► terminal.rs
//!  run.rs ────── ticks ──┘        └─► effects.rs ─► query_api::Client
//!                                State ─► text.rs ─► strings for the command line
//! ```
//!
//! Owns: screens, keys, drawing, restoring the terminal. Does not own: how answers are made (the query
//! API), what a board is (`dashboards`).
//!
//! Invariants: the first frame is drawn before the first question is asked; drawing and updating never
//! wait for a query; text from outside reaches the terminal only sanitized; the terminal is restored
//! whatever ends the program.

mod core;
mod effects;
mod run;
mod terminal;
pub mod text;
mod theme;
mod view;
mod widget;

pub use core::state::{Offline, Options, Screen};
pub use run::run;
pub use terminal::{Error, terminal_height, terminal_width};

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
