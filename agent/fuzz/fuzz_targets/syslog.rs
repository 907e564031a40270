//! `make fuzz FUZZ=agent/fuzz TARGET=syslog`: see `agent::fuzz::syslog`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::fuzz::syslog(bytes));
