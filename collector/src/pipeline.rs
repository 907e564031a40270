//! The one path of all protocols and signals: a received payload becomes durable rows, or a refusal.
//!
//! ```text
//! payload ─► decompress ─► JSON to OTLP protobuf ─► redact ─► weigh ─► Store::decode ─► Store::append ─► Receipt
//!            └──────────────── a blocking thread, one decoding slot ─────────────────┘   fdatasync
//! ```
//!
//! Owns: the order of the steps, what goes into the WAL frame, accounting. Does not own: protocols
//! (`receiver`), limits (`admission`).
//!
//! Invariants: a [`Receipt`] exists only after the store made the records durable and visible; what a
//! client sent as protobuf goes into the frame as it was sent, compression included, unless something in it has to be
//! hidden.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use model::otlp::json::Transcoded;
use model::otlp::redact::Redaction;
use model::positions::{self, AgentId, StreamId};
use model::{Clock, Signal, UnixNano};
use storage::{Batch, Compression, DecodeError, Error, ErrorKind, Frame, Hello, Origin, Store};
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, Ticket, Weight, weigh};
use crate::decompress::decompress;
use crate::instances::{Instances, Sender, senders};
use crate::metrics::{Metrics, Source};
use crate::receiver::{log, otlp_json};
use crate::settings::Limits;
use crate::status::{Reason, Refusal};

/// What all receivers share.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) admission: Admission,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    /// Tasks that shutdown waits for.
    pub(crate) tasks: TaskTracker,
    redaction: Option<Redaction>,
    pub(crate) instances: Arc<Instances>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
}

/// A payload as its sender meant it.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) signal: Signal,
    pub(crate) encoding: Encoding,
    pub(crate) compression: Compression,
    pub(crate) bytes: Bytes,
    /// Where the records came from, when that is known.
    pub(crate) origin: Option<Origin>,
}

/// What the uncompressed bytes are.
#[derive(Debug)]
pub(crate) enum Encoding {
    /// An OTLP protobuf request.
    Protobuf,
    /// An OTLP JSON request.
    Json,
    /// JSON objects of any shape; log records of this service unless they name another.
    Objects {
        /// Service of records that name none.
        service: String,
    },
}

/// The records are durable.
#[derive(Debug, Default)]
pub(crate) struct Receipt {
    pub(crate) accepted: usize,
    pub(crate) rejected: usize,
    pub(crate) errors: Vec<String>,
    /// Records that were stored before, by a request for the same positions.
    pub(crate) known: usize,
    /// Where the streams of the request stand now.
    pub(crate) committed: Vec<(StreamId, Option<u64>)>,
}

impl Receipt {
    /// The text for a sender, when there is anything to say.
    pub(crate) fn message(&self) -> Option<String> {
        let first = self.errors.first()?;
        let others = self.rejected.saturating_sub(1).max(self.errors.len() - 1);
        Some(if others == 0 { first.clone() } else { format!("{first} (and {others} more)") })
    }
}

/// Rows that wait to be made durable.
pub(crate) struct Prepared {
    frame: Frame,
    batch: Batch,
    rejected: usize,
    errors: Vec<String>,
    origin: Option<Origin>,
    senders: Vec<Sender>,
    ticket: Ticket,
}

impl Pipeline {
    pub(crate) fn new(
        limits: Limits,
        redaction: Option<Redaction>,
        store: Arc<Store>,
        instances: Arc<Instances>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let admission = Admission::new(limits.in_flight_bytes_max);
        store.memory().count_requests(admission.counter());
        Arc::new(Self {
            admission,
            limits,
            metrics: Arc::new(Metrics::default()),
            tasks: TaskTracker::new(),
            redaction,
            instances,
            store,
            clock,
        })
    }

    /// Admits a request that announces `announced` bytes, before its body is read.
    pub(crate) fn enter(&self, announced: Option<u64>) -> Result<Ticket, Refusal> {
        self.store.check_room().map_err(|error| refusal_of(&error))?;
        self.admission.enter(announced, self.store.memory_free())
    }

    /// Bytes that a payload may have as it arrives.
    pub(crate) const fn wire_bytes_max(&self, compression: Compression) -> usize {
        match compression {
            Compression::Identity => self.limits.request_bytes_max,
            Compression::Gzip | Compression::Zstd => self.limits.compressed_bytes_max,
        }
    }

    /// Makes a payload durable. What has begun is finished even when the caller goes away, so that the
    /// ticket is held as long as the bytes are, and every record is counted.
    pub(crate) async fn ingest(
        self: &Arc<Self>,
        source: Source,
        payload: Payload,
        ticket: Ticket,
    ) -> Result<Receipt, Refusal> {
        let me = Arc::clone(self);
        let task = self.tasks.spawn(async move { me.run(source, payload, ticket).await });
        task.await.map_err(|error| defect(source, &error))?
    }

    async fn run(
        self: Arc<Self>,
        source: Source,
        payload: Payload,
        ticket: Ticket,
    ) -> Result<Receipt, Refusal> {
        let prepared = self.decoded(source, payload, ticket).await?;
        self.append(source, prepared).await
    }

    /// Decodes a payload, off the async threads.
    pub(crate) async fn decoded(
        self: &Arc<Self>,
        source: Source,
        payload: Payload,
        ticket: Ticket,
    ) -> Result<Prepared, Refusal> {
        self.metrics.bytes(source, payload.signal, payload.bytes.len());
        let slot = self.admission.decoder().await;
        let me = Arc::clone(self);
        let preparing = tokio::task::spawn_blocking(move || {
            let prepared = me.prepare(source, payload, ticket);
            drop(slot);
            prepared
        });
        preparing.await.map_err(|error| defect(source, &error))?
    }

    /// Makes rows durable. The first poll gives them their place in the order of all appends.
    pub(crate) async fn append(&self, source: Source, prepared: Prepared) -> Result<Receipt, Refusal> {
        let Prepared { frame, batch, rejected, errors, origin, senders, ticket } = prepared;
        let (signal, accepted, has_rows) = (batch.signal(), batch.accepted, batch.rows() > 0);
        let refused = |error: Error| {
            self.metrics.returned(source, signal, accepted + rejected);
            refusal_of(&error)
        };
        let mut receipt = Receipt { accepted, rejected, errors, ..Receipt::default() };
        match origin {
            Some(origin) => {
                let placed = self.store.append_from(frame, batch, origin).await.map_err(refused)?;
                self.metrics.known(source, signal, placed.dropped);
                receipt.known = placed.dropped;
                // What was there already was accepted, or rejected, when it came first.
                let new = (accepted + rejected).saturating_sub(placed.dropped);
                receipt.rejected = rejected.min(new);
                receipt.accepted = new - receipt.rejected;
                receipt.committed = placed.committed;
            }
            None if has_rows => {
                self.store.append(frame, batch).await.map_err(refused)?;
            }
            None => {}
        }
        drop(ticket);
        self.instances.heard(senders, signal);
        self.metrics.stored(source, signal, receipt.accepted, receipt.rejected);
        Ok(receipt)
    }

    /// Where the store wants to go on reading Kafka partitions.
    pub(crate) fn kafka_offsets(&self) -> Vec<(String, u32, u64)> {
        self.store.kafka_offsets()
    }

    /// Waits until the store takes appends; whether it does.
    pub(crate) async fn replayed(&self) -> bool {
        self.store.replayed().await.is_ok()
    }

    /// Opens a session for an agent.
    pub(crate) async fn hello(&self, agent: AgentId, forget: Vec<StreamId>) -> Result<Hello, Refusal> {
        self.store.hello(agent, forget).await.map_err(|error| refusal_of(&error))
    }

    /// All that needs the processor.
    fn prepare(&self, source: Source, payload: Payload, mut ticket: Ticket) -> Result<Prepared, Refusal> {
        let received_at = self.clock.now();
        let Payload { signal, encoding, compression, bytes, origin } = payload;
        // Nothing is nothing in every compression.
        let compression = if bytes.is_empty() { Compression::Identity } else { compression };
        ticket.grow_to(bytes.len())?;
        let plain = decompress(compression, &bytes, self.limits.request_bytes_max, &mut ticket)?;
        check_positions(origin.as_ref(), &encoding, &plain)?;
        let transcoded = self.transcode(signal, &encoding, &plain, received_at)?;
        let request = transcoded.as_ref().map_or(&*plain, |made| &made.request);
        let redacted = self.redaction.as_ref().and_then(|redaction| redaction.request(signal, request));
        let request = redacted.as_ref().map_or(request, |redacted| &redacted.request);
        let made = transcoded.as_ref().map_or(0, |made| made.request.len())
            + redacted.as_ref().map_or(0, |redacted| redacted.request.len());
        let held = bytes.len() + if matches!(plain, Cow::Owned(_)) { plain.len() } else { 0 } + made;
        let mut weight = Weight::default();
        let decoded =
            self.decode(signal, request, received_at, &mut weight, |rows| ticket.grow_to(held + rows));
        let (lost, mut errors) =
            transcoded.as_ref().map_or((0, Vec::new()), |made| (made.rejected, made.errors.clone()));
        let batch = decoded.inspect_err(|_| self.metrics.returned(source, signal, weight.records + lost))?;
        errors.extend(batch.rejection.clone());
        let is_as_sent = transcoded.is_none() && redacted.is_none();
        let frame = match is_as_sent {
            true => Frame { signal, compression, received_at, payload: bytes.clone() },
            false => zstd_frame(signal, received_at, request)?,
        };
        self.metrics.redacted(source, signal, redacted.as_ref().map_or(0, |redacted| redacted.values));
        ticket.shrink_to(frame.payload.len() + weight.bytes);
        let senders = if source == Source::Own { Vec::new() } else { senders(signal, request) };
        Ok(Prepared { rejected: lost + batch.rejected, frame, batch, errors, origin, senders, ticket })
    }

    /// Protobuf of what is none; `None` when it is already.
    fn transcode(
        &self,
        signal: Signal,
        encoding: &Encoding,
        plain: &[u8],
        received_at: UnixNano,
    ) -> Result<Option<Transcoded>, Refusal> {
        let bytes_max = self.limits.request_bytes_max;
        match encoding {
            Encoding::Protobuf => Ok(None),
            Encoding::Json => otlp_json::transcode(signal, plain, bytes_max).map(Some),
            Encoding::Objects { service } => {
                log::read_objects(plain, service, received_at, bytes_max).map(Some)
            }
        }
    }

    /// Rows of a request that is light enough; `charge` is asked for their bytes first.
    fn decode(
        &self,
        signal: Signal,
        request: &[u8],
        received_at: UnixNano,
        weight: &mut Weight,
        charge: impl FnOnce(usize) -> Result<(), Refusal>,
    ) -> Result<Batch, Refusal> {
        let Limits { request_records_max, decoded_bytes_max, .. } = self.limits;
        *weight = weigh(signal, request, request_records_max, decoded_bytes_max);
        if weight.records > request_records_max {
            let message =
                format!("the request carries more than {request_records_max} records: send smaller batches");
            return Err(Refusal::new(Reason::TooLarge, message));
        }
        if weight.bytes > decoded_bytes_max {
            let message = format!(
                "the request would take more than {decoded_bytes_max} bytes when decoded: send smaller batches"
            );
            return Err(Refusal::new(Reason::TooLarge, message));
        }
        charge(weight.bytes)?;
        self.store.decode(signal, request, received_at).map_err(|error| {
            let reason = match error {
                DecodeError::Malformed(_) => Reason::Malformed,
                DecodeError::TooManyRecords { .. } => Reason::TooLarge,
            };
            Refusal::new(reason, error.to_string())
        })
    }
}

/// Whether the ranges of a request describe its records.
fn check_positions(origin: Option<&Origin>, encoding: &Encoding, request: &[u8]) -> Result<(), Refusal> {
    let Some(Origin::Agent(agent)) = origin else { return Ok(()) };
    if !matches!(encoding, Encoding::Protobuf) {
        return Err(Refusal::new(Reason::Malformed, "a request with positions has to be protobuf"));
    }
    let records = model::otlp::count_items(request) as u64;
    positions::check(&agent.ranges, records)
        .map_err(|error| Refusal::new(Reason::Malformed, format!("positions: {error}")))
}

/// What a sender is told when the store refuses.
fn refusal_of(error: &Error) -> Refusal {
    match (error.position_refusal(), error.kind()) {
        (Some(refusal), _) => Refusal::position(refusal.clone()),
        (None, ErrorKind::FixInput) => Refusal::new(Reason::Malformed, error.to_string()),
        // The sender has the data still, and a restart or a free disk can mend the rest.
        (None, _) => Refusal::new(Reason::Storage, format!("the store cannot write now: {error}")),
    }
}

fn defect(source: Source, error: &JoinError) -> Refusal {
    tracing::error!("a request from {source}: {error}");
    Refusal::new(Reason::Internal, "the request could not be decoded because of a defect of the collector")
}

/// A frame of protobuf that we made ourselves.
fn zstd_frame(signal: Signal, received_at: UnixNano, request: &[u8]) -> Result<Frame, Refusal> {
    let payload = zstd::bulk::compress(request, 1)
        .map_err(|error| Refusal::new(Reason::Internal, format!("compressing the request: {error}")))?;
    Ok(Frame { signal, compression: Compression::Zstd, received_at, payload: payload.into() })
}
