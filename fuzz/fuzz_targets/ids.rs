//! An identity index: any bytes end in an answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| storage::fuzz::identity_index(bytes));
