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
mod fleet_metrics;
mod instances;
mod keep;
pub mod metrics;
mod pipeline;
mod receiver;
mod server;
pub mod settings;
mod shutdown;
mod stages;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::families::Families;
use model::otlp::redact::Redaction;
use model::{Clock, Signal};
use storage::{Compression, Store};
use tokio_util::sync::CancellationToken;

pub use agents::{AgentConfig, AgentEntry, AgentState, Agents, StageFailure, StageProgress};
pub use error::Error;
pub use instances::{InstanceEntry, InstanceState, Instances, ServiceEntry};
pub use metrics::{Metrics, Source};
pub use receiver::otlp_json::file::{JsonProblem, JsonRequest, read_json_request};
pub use settings::Settings;
pub use shutdown::Drained;
pub use stages::{Stage, StageRequest, StageState};
pub use status::Reason;

use pipeline::{Encoding, Payload, Pipeline};
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
        let folder = settings.state_folder.clone();
        let agents = Arc::new(Agents::open(folder.clone(), Arc::clone(&clock)));
        let instances = Arc::new(Instances::open(folder, Arc::clone(&clock)));
        let settings::Redaction { presets, patterns, attributes } = &settings.redaction;
        let redaction = Redaction::new(presets, patterns, attributes);
        let limits = settings.limits.clone();
        let (own_store, known) = (Arc::clone(&store), Arc::clone(&instances));
        let pipeline = Pipeline::new(limits, redaction, own_store, known, Arc::clone(&clock));
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
        shutdown.tasks.spawn(keep_saved(Arc::clone(&agents), instances, shutdown.stop.clone()));
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

    /// The instances of services that sent something.
    pub fn instances(&self) -> &Arc<Instances> {
        &self.pipeline.instances
    }

    /// Everything the collector counts, and what it knows of agents and instances.
    pub fn write_metrics(&self, families: &mut Families) {
        self.metrics().write(families);
        fleet_metrics::write(&self.agents, families);
        fleet_metrics::write_instances(self.instances(), families);
    }

    /// Takes metrics of this process, an OTLP request, on the way that all telemetry goes.
    ///
    /// # Errors
    /// Why they were refused, overload for one.
    pub async fn ingest_own(&self, request: Vec<u8>) -> Result<(), String> {
        let counted = self.metrics().begin(Source::Own, Signal::Metrics);
        let ticket = self.pipeline.enter(Some(request.len() as u64));
        let payload = Payload {
            signal: Signal::Metrics,
            encoding: Encoding::Protobuf,
            compression: Compression::Identity,
            bytes: request.into(),
            origin: None,
        };
        let taken = match ticket {
            Ok(ticket) => self.pipeline.ingest(Source::Own, payload, ticket).await,
            Err(refusal) => Err(refusal),
        };
        match taken {
            Ok(_) => {
                counted.stored();
                Ok(())
            }
            Err(refusal) => {
                counted.refused(&refusal);
                Err(refusal.message)
            }
        }
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

/// How often what is known of agents and instances is written.
const SAVE_EVERY: Duration = Duration::from_secs(30);

async fn keep_saved(agents: Arc<Agents>, instances: Arc<Instances>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(SAVE_EVERY);
    loop {
        let is_end = tokio::select! {
            _ = tick.tick() => false,
            () = stop.cancelled() => true,
        };
        let (agents, instances) = (Arc::clone(&agents), Arc::clone(&instances));
        let saving = tokio::task::spawn_blocking(move || {
            agents.touch();
            agents.save();
            instances.save();
        });
        if let Err(error) = saving.await {
            tracing::error!(%error, "what is known of agents and instances could not be written");
        }
        if is_end {
            return;
        }
    }
}
