//! `make fuzz FUZZ=agent/fuzz TARGET=logfmt`: see `agent::fuzz::logfmt`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::fuzz::logfmt(bytes));
