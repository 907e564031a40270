//! The catalog's file: any bytes end in a catalog that can be written, or in a refusal of a newer version.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Which of the two it was is no matter here.
    drop(storage::fuzz::catalog(bytes));
});
