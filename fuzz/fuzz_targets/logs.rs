//! An OTLP request of log records in protobuf: any bytes end in an answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    storage::fuzz::request(model::Signal::Logs, bytes);
});
