//! `make fuzz FUZZ=agent/fuzz TARGET=statsd`: see `agent::fuzz::statsd`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::fuzz::statsd(bytes));
