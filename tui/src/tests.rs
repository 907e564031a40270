//! The terminal as a user meets it: keys in, answers in, screen out. No terminal and no server is used;
//! the harness answers the questions that `update` asks.

mod fuzz;
mod harness;
mod hostile;
mod model;
mod screens;
mod text;
