//! `cargo +nightly fuzz run nginx`, from the folder `agent`: see `agent::fuzz::nginx`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::fuzz::nginx(bytes));
