//! `cargo +nightly fuzz run syslog`, from the folder `agent`: see `agent::fuzz::syslog`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::fuzz::syslog(bytes));
