//! The collector: takes telemetry over many protocols and answers only when it is durable.
//!
//! Owns: listeners, protocols, limits against senders, answers. Does not own: decoding of OTLP into rows,
//! the write-ahead log (`storage`).
//!
//! ```text
//! OTLP/gRPC ─┐
//! OTLP/HTTP ─┤ receiver ─► admission ─► pipeline ─► Store::decode ─► Store::append ─► answer
//! POST /log ─┤ protocol     bytes in     JSON to                      fdatasync
//! Kafka ─────┤ shell        flight       protobuf
//! Kafka tap ─┘
//! ```
//!
//! Invariants: success is answered only after fdatasync; overload is refused before the body is read and
//! says when to come back; the three signals take one path, the signal is a value.

mod admission;
mod agents;
mod decompress;
mod error;
mod json;
pub mod metrics;
mod pipeline;
mod receiver;
mod server;
pub mod settings;
mod shutdown;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::Clock;
use model::otlp::redact::Redaction;
use storage::Store;

pub use agents::{AgentEntry, AgentState, Agents};
pub use error::Error;
pub use metrics::{Metrics, Source};
pub use receiver::otlp_json::file::{JsonProblem, JsonRequest, read_json_request};
pub use settings::Settings;
pub use shutdown::Drained;
pub use status::Reason;

use pipeline::Pipeline;
use server::Versions;
use shutdown::Shutdown;

/// A collector that listens. Dropping it leaves it running until the runtime ends; see
/// [`Collector::shutdown`].
#[derive(Debug)]
pub struct Collector {
    otlp_grpc_addr: SocketAddr,
    otlp_http_addr: SocketAddr,
    pipeline: Arc<Pipeline>,
    agents: Arc<Agents>,
    shutdown: Shutdown,
}

impl Collector {
    /// Binds all listeners, subscribes to Kafka if it is set, and begins to take requests.
    ///
    /// # Errors
    /// When limits contradict each other, an address cannot be bound or is open to other machines without
    /// consent, or the Kafka settings are wrong. Nothing listens then.
    pub async fn start(settings: Settings, store: Arc<Store>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        settings.check()?;
        let agents = Arc::new(Agents::new(Arc::clone(&clock)));
        let settings::Redaction { presets, patterns, attributes } = &settings.redaction;
        let redaction = Redaction::new(presets, patterns, attributes);
        let pipeline =
            Pipeline::new(settings.limits.clone(), redaction, Arc::clone(&store), Arc::clone(&clock));
        let shutdown = Shutdown::new();
        let (grpc, otlp_grpc_addr) = server::bind("otlp_grpc", settings.otlp_grpc).await?;
        let (http, otlp_http_addr) = server::bind("otlp_http", settings.otlp_http).await?;
        if let Some(kafka) = &settings.kafka {
            receiver::kafka::start(kafka, &pipeline, &shutdown)?;
        }
        if let Some(tap) = &settings.kafka_tap {
            receiver::kafka_tap::start(tap, &pipeline, (&store, &clock), &shutdown)?;
        }
        let connections = Arc::new(settings.connections);
        let router = receiver::otlp_grpc::router(&pipeline, &connections);
        server::serve(grpc, Versions::Http2, router, Arc::clone(&connections), &shutdown);
        let router = receiver::http::router(&pipeline, &connections, &agents, &settings.cors_origins);
        server::serve(http, Versions::Both, router, connections, &shutdown);
        tracing::info!("OTLP/gRPC on {otlp_grpc_addr}, OTLP/HTTP and POST /log on {otlp_http_addr}");
        Ok(Self { otlp_grpc_addr, otlp_http_addr, pipeline, agents, shutdown })
    }

    /// Where OTLP over gRPC is taken.
    pub const fn otlp_grpc_addr(&self) -> SocketAddr {
        self.otlp_grpc_addr
    }

    /// Where OTLP over HTTP and `POST /log` are taken.
    pub const fn otlp_http_addr(&self) -> SocketAddr {
        self.otlp_http_addr
    }

    /// The agents that were heard of.
    pub const fn agents(&self) -> &Arc<Agents> {
        &self.agents
    }

    /// The collector's own counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.pipeline.metrics
    }

    /// Stops accepting, answers what is in flight, and returns when no task is left. After `deadline`
    /// what is still unanswered is cut off; its senders have no success answer and will send again.
    pub async fn shutdown(&self, deadline: Duration) -> Drained {
        let drained = self.shutdown.run(deadline).await;
        self.pipeline.tasks.close();
        match tokio::time::timeout(deadline, self.pipeline.tasks.wait()).await {
            Ok(()) => drained,
            Err(_) => Drained::Cut(self.pipeline.tasks.len()),
        }
    }
}
