//! The agent against a real OTLP server, with real files and sockets.

mod collector;
mod disk_full;
mod exactly_once;
mod files;
mod inputs;
mod journald;
mod process;
mod processed;
mod pushed;
mod reload;
mod spill;
mod support;
mod tls;
mod tools;
