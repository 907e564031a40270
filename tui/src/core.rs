//! The terminal's mind: state, messages, what a message changes, and what every screen says.
//!
//! ```text
//!  keys ──┐                                             ┌─► effects: ask, abort, tail, copy, quit
//!  ticks ─┼─► Msg ──► update(&mut State, Msg) ──────────┤
//!  answers┘                                             └─► State ──► lines ──► view, text
//! ```
//!
//! Invariants: nothing here reads a clock, a file, a socket or a terminal; time arrives as
//! [`Msg::Tick`]. Every answer carries the generation of its question; an answer to an older question
//! changes nothing. Text from outside is drawn only through [`line::Line`], which makes it harmless.

pub(crate) mod alerts;
pub(crate) mod board;
pub(crate) mod command;
pub(crate) mod doctor;
pub(crate) mod fleet;
pub(crate) mod format;
pub(crate) mod glyph;
pub(crate) mod journey;
pub(crate) mod key;
pub(crate) mod keymap;
pub(crate) mod layout;
pub(crate) mod line;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod msg;
pub(crate) mod pane;
pub(crate) mod prompt;
pub(crate) mod range;
pub(crate) mod sanitize;
pub(crate) mod services;
pub(crate) mod state;
pub(crate) mod update;

pub(crate) use msg::{Answer, Ask, Effect, Failure, Msg, PaneId};
pub(crate) use state::{Screen, State};
