//! Receivers: thin shells, one a protocol. Each turns a request into a payload and an answer.
//!
//! Does not own: decoding, limits, durability (`pipeline`, `admission`).

mod body;
mod cors;
mod heartbeat;
mod hello;
pub(crate) mod http;
pub(crate) mod kafka;
pub(crate) mod kafka_tap;
pub(crate) mod log;
pub(crate) mod otlp_grpc;
mod otlp_http;
pub(crate) mod otlp_json;
mod otlp_response;
pub(crate) mod positions;
