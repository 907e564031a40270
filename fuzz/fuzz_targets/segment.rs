//! A Parquet file of a segment: any bytes end in an answer.
#![no_main]

// The Parquet library panics over some pages, which is caught; the hook that ends the process at once would not let it be. A
// panic that nobody catches still ends it.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| ())), |bytes: &[u8]| {
    let _ = storage::fuzz::segment(bytes);
});
