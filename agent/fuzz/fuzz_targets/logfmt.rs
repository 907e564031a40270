//! `cargo +nightly fuzz run logfmt`, from the folder `agent`: see `agent::fuzz::logfmt`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::fuzz::logfmt(bytes));
