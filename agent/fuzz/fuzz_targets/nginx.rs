//! `make fuzz FUZZ=agent/fuzz TARGET=nginx`: see `agent::fuzz::nginx`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::fuzz::nginx(bytes));
