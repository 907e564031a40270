//! An OTLP request of metrics in protobuf: any bytes end in an answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    storage::fuzz::request(model::Signal::Metrics, bytes);
});
