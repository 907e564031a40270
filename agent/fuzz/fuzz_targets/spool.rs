//! `make fuzz FUZZ=agent/fuzz TARGET=spool`: see `agent::fuzz::spool`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::fuzz::spool(bytes));
