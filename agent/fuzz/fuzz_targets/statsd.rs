//! `cargo +nightly fuzz run statsd`, from the folder `agent`: see `agent::fuzz::statsd`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::fuzz::statsd(bytes));
