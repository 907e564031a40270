//! `make fuzz FUZZ=agent/fuzz TARGET=auto`: see `agent::fuzz::auto`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::fuzz::auto(bytes));
