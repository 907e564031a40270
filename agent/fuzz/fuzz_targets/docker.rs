//! `make fuzz FUZZ=agent/fuzz TARGET=docker`: see `agent::fuzz::docker`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::fuzz::docker(bytes));
