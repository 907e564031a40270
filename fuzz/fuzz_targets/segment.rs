//! A Parquet file of a segment: any bytes end in an answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = storage::fuzz::segment(bytes);
});
