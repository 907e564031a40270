//! The header tap: a read-only look at business topics and at how far their consumers are.
//!
//! ```text
//! topics ─► assigned by hand ─► key, headers, place, time ─► log records `kafka.message` ┐
//!           (no group, no commit)   the payload is dropped unread                        ├─► pipeline ─► store
//! groups ─► committed offsets ─┐                                                         │
//! partitions ─► end offsets ───┴► gauges `kafka.consumer_group.offset`, … ───────────────┘
//! ```
//!
//! Owns: which partitions are read from where, what of a message is kept, the looks at offsets. Does not
//! own: ids in what is recorded (`model::ids`), where an id is (`query::whereabouts`).
//!
//! Invariants: nothing is written to the broker; a payload is never copied out of librdkafka's buffer, which
//! is kept small; a position moves on only after the records are durable, and after a restart begins behind
//! the last one recorded: at least once. When the store cannot write, the tap waits and reads nothing.

mod broker;
mod discovery;
mod message;
mod offsets;
mod resume;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::otlp::logs::LogsWriter;
use model::{Clock, Signal};
use rdkafka::consumer::StreamConsumer;
use rdkafka::message::{BorrowedMessage, Message as _};
use storage::{Compression, Store};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::metrics::Source;
use crate::pipeline::{Encoding, Payload, Pipeline};
use crate::settings::KafkaTap;
use crate::shutdown::Shutdown;

use discovery::Discovery;
use message::Rules;

/// Topic and partition.
type Place = (String, i32);

/// How long a batch waits for more messages once it has one.
const GATHER_TIME: Duration = Duration::from_millis(50);
/// Messages and bytes of a batch.
const BATCH_MESSAGES_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Pause between attempts while the store or the broker cannot; doubled up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Resource of what the tap records.
const RESOURCE: [(&str, &str); 2] = [("service.name", "kafka"), ("messaging.system", "kafka")];

/// What both halves of the tap share.
struct Shared {
    settings: KafkaTap,
    pipeline: Arc<Pipeline>,
    stop: CancellationToken,
}

/// Begins to tap, until shutdown.
pub(crate) fn start(
    settings: &KafkaTap,
    pipeline: &Arc<Pipeline>,
    (store, clock): (&Arc<Store>, &Arc<dyn Clock>),
    shutdown: &Shutdown,
) -> Result<(), Error> {
    settings.check().map_err(Error::Limits)?;
    let failed = |source| Error::Kafka { brokers: settings.brokers.clone(), source };
    let consumer: StreamConsumer = broker::config(settings, broker::NO_GROUP).create().map_err(failed)?;
    let shared = Arc::new(Shared {
        settings: settings.clone(),
        pipeline: Arc::clone(pipeline),
        stop: shutdown.stop.clone(),
    });
    let discovery = Discovery::new(settings, Arc::clone(store), Arc::clone(clock)).map_err(Error::Limits)?;
    let looks = offsets::Looks::new(settings, Arc::clone(clock)).map_err(failed)?;
    let tap = Tap { consumer: Arc::new(consumer), rules: Rules::new(settings), shared: Arc::clone(&shared) };
    let kill = shutdown.kill.clone();
    let pipeline = Arc::clone(pipeline);
    shutdown.tasks.spawn(until(kill.clone(), async move {
        // What it has read before is in the store's log.
        if pipeline.replayed().await {
            tap.run(discovery).await;
        }
    }));
    shutdown.tasks.spawn(until(kill, async move { looks.run(&shared).await }));
    Ok(())
}

async fn until(kill: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = kill.cancelled() => {}
    }
}

struct Tap {
    consumer: Arc<StreamConsumer>,
    rules: Rules,
    shared: Arc<Shared>,
}

/// Messages as log records, and where reading goes on behind them.
#[derive(Default)]
struct Gathered {
    request: Bytes,
    next: HashMap<Place, i64>,
}

impl Tap {
    async fn run(self, mut discovery: Discovery) {
        let stop = self.shared.stop.clone();
        let mut pause = PAUSE_MIN;
        let mut tick = tokio::time::interval(self.shared.settings.discovery_interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // What a gathering that is given up has taken would be missing: only waiting for a message ends early.
            let first = tokio::select! {
                () = stop.cancelled() => break,
                _ = tick.tick() => {
                    discovery = discovery.assign_new(&self.consumer).await;
                    if discovery.is_idle() {
                        tick.reset_after(pause);
                        pause = (pause * 2).min(PAUSE_MAX);
                    }
                    continue;
                }
                first = self.consumer.recv() => first,
            };
            match first {
                Ok(first) => {
                    pause = PAUSE_MIN;
                    let gathered = self.gather(&first).await;
                    if !self.shared.store(Signal::Logs, gathered.request).await {
                        break;
                    }
                    discovery.advance(gathered.next);
                }
                Err(error) => {
                    tracing::warn!("tapping Kafka: {error}");
                    self.shared.wait(&mut pause).await;
                }
            }
        }
        // Closing talks to the broker and may block for long when that is gone.
        std::thread::spawn(move || drop(self.consumer));
    }

    /// A message, and those that are there already or come at once.
    async fn gather(&self, first: &BorrowedMessage<'_>) -> Gathered {
        let mut writer = LogsWriter::new(RESOURCE);
        let mut next = HashMap::new();
        let mut take = |message: &BorrowedMessage<'_>| {
            self.rules.write(message, &mut writer);
            next.insert((message.topic().to_owned(), message.partition()), message.offset() + 1);
            writer.count() < BATCH_MESSAGES_MAX && writer.bytes() < BATCH_BYTES_MAX
        };
        let mut has_room = take(first);
        let deadline = tokio::time::Instant::now() + GATHER_TIME;
        while has_room {
            let Ok(message) = tokio::time::timeout_at(deadline, self.consumer.recv()).await else { break };
            // An error here comes again with the next batch; the messages read so far are kept.
            let Ok(message) = message else { break };
            has_room = take(&message);
        }
        Gathered { request: writer.finish().into(), next }
    }
}

impl Shared {
    /// Makes a request durable, however long that takes; `false` when the collector stops before. What
    /// cannot be stored at all is counted and passed over.
    async fn store(&self, signal: Signal, bytes: Bytes) -> bool {
        let mut pause = PAUSE_MIN;
        loop {
            let began = self.pipeline.metrics.begin(Source::KafkaTap, signal);
            let ticket = self.pipeline.admission.wait(bytes.len()).await;
            let (encoding, compression) = (Encoding::Protobuf, Compression::Identity);
            let bytes = bytes.clone();
            let payload = Payload { signal, encoding, compression, bytes, origin: None };
            let refusal = match self.pipeline.ingest(Source::KafkaTap, payload, ticket).await {
                Ok(_) => {
                    began.stored();
                    return true;
                }
                Err(refusal) => refusal,
            };
            let count = began.refused(&refusal);
            if !refusal.reason.is_retryable() {
                tracing::warn!(count, "a batch of the Kafka tap is passed over: {}", refusal.message);
                return true;
            }
            self.wait(&mut pause).await;
            if self.stop.is_cancelled() {
                return false;
            }
        }
    }

    async fn wait(&self, pause: &mut Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(*pause) => {}
        }
        *pause = (*pause * 2).min(PAUSE_MAX);
    }
}
