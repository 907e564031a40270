//! An OTLP request in JSON: any bytes end in an answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = collector::read_json_request(bytes, 1 << 20);
});
