//! Why a collector cannot start.

use std::net::SocketAddr;

use thiserror::Error as ThisError;

/// An error while starting; nothing listens then.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The address is taken, or is none of this machine.
    #[error("{what}: listening on `{address}`")]
    Listen {
        /// Which listener.
        what: &'static str,
        /// Where it should have listened.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Anyone who reaches the machine could write, and read what is sent.
    #[error(
        "{what}: `{address}` can be reached from other machines, and data would travel unencrypted: \
         listen on 127.0.0.1, or set `insecure_allow_plaintext = true` in a network you trust"
    )]
    Plaintext {
        /// Which listener.
        what: &'static str,
        /// Where it should have listened.
        address: SocketAddr,
    },
    /// Limits that contradict each other.
    #[error("{0}")]
    Limits(String),
    /// The Kafka consumer could not be built or subscribed.
    #[error("kafka: brokers `{brokers}`")]
    Kafka {
        /// The setting `brokers`.
        brokers: String,
        /// What librdkafka said.
        #[source]
        source: rdkafka::error::KafkaError,
    },
}
