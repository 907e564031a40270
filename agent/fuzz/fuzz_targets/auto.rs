//! `cargo +nightly fuzz run auto`, from the folder `agent`: see `agent::fuzz::auto`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::fuzz::auto(bytes));
