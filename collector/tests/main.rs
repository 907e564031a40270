//! The collector against real clients and the real store, on free ports of 127.0.0.1.

mod accounting;
mod connections;
mod grpc;
mod http;
mod kafka;
mod kafka_tap;
mod limits;
mod log;
mod positions;
mod restart;
mod support;
