//! `make fuzz FUZZ=agent/fuzz TARGET=cri`: see `agent::fuzz::cri`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::fuzz::cri(bytes));
