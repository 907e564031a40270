//! OTLP from Kafka: each message is one protobuf export request.
//!
//! Owns: one consumer, its batches and its offsets. Does not own: decoding (`pipeline`).
//!
//! ```text
//! poll ─► batch of messages ─► decode and append together ─► all durable ─► commit offsets
//!             │                       │ store cannot write now: wait, same message again
//!             │                       └ message cannot be decoded: count, log, pass over
//!             └ bytes in flight used up: no further poll
//! ```
//!
//! Invariants: an offset is committed only after every message before it, of its partition, is durable or
//! was passed over; a message that nobody can decode never blocks a partition. After a crash messages may
//! be read again: at least once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use model::Signal;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use storage::Compression;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::metrics::Source;
use crate::pipeline::{Encoding, Payload, Pipeline};
use crate::settings::Kafka;
use crate::shutdown::Shutdown;
use crate::status::Refusal;

/// How long a batch waits for more messages once it has one.
const GATHER_TIME: Duration = Duration::from_millis(20);
/// Payload bytes of a batch.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Pause between attempts while the store or the broker cannot; doubled up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

struct Reader {
    consumer: StreamConsumer,
    pipeline: Arc<Pipeline>,
    signals: HashMap<String, Signal>,
    batch_messages_max: usize,
    stop: CancellationToken,
}

struct Message {
    topic: String,
    partition: i32,
    offset: i64,
    payload: Option<Bytes>,
}

/// Subscribes and reads until shutdown.
pub(crate) fn start(settings: &Kafka, pipeline: &Arc<Pipeline>, shutdown: &Shutdown) -> Result<(), Error> {
    let failed = |source| Error::Kafka { brokers: settings.brokers.clone(), source };
    let consumer: StreamConsumer = config(settings).create().map_err(failed)?;
    let topics: Vec<&str> = settings.topics.by_signal().map(|(_, topic)| topic).collect();
    if topics.is_empty() {
        return Err(Error::Limits("`kafka.topics` names no topic: set traces, logs or metrics".to_owned()));
    }
    consumer.subscribe(&topics).map_err(failed)?;
    let reader = Reader {
        consumer,
        pipeline: Arc::clone(pipeline),
        signals: settings.topics.by_signal().map(|(signal, topic)| (topic.to_owned(), signal)).collect(),
        batch_messages_max: settings.batch_messages_max.max(1),
        stop: shutdown.stop.clone(),
    };
    let kill = shutdown.kill.clone();
    shutdown.tasks.spawn(async move {
        tokio::select! {
            () = reader.run() => {}
            () = kill.cancelled() => {}
        }
        tokio::select! {
            () = leave(reader) => {}
            () = kill.cancelled() => {}
        }
    });
    Ok(())
}

/// Hands the partitions to the others of the group at once. It talks to the broker and may block for
/// long when that is gone: it has a thread of its own, which nothing else waits for.
async fn leave(reader: Reader) {
    let (left, has_left) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        drop(reader);
        left.send(())
    });
    if has_left.await.is_err() {
        tracing::error!("leaving the Kafka group broke off");
    }
}

fn config(settings: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("auto.offset.reset", "earliest")
        .set("queued.max.messages.kbytes", "16384")
        .set("client.id", "silmari-collector");
    for (key, value) in &settings.properties {
        config.set(key, value);
    }
    // What durability rests on cannot be set otherwise.
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("group.id", &settings.group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false");
    config
}

impl Reader {
    async fn run(&self) {
        let mut pause = PAUSE_MIN;
        loop {
            let batch = tokio::select! {
                () = self.stop.cancelled() => break,
                batch = self.gather() => batch,
            };
            match batch {
                Ok(batch) => {
                    pause = PAUSE_MIN;
                    self.store(batch).await;
                }
                Err(error) => {
                    tracing::warn!("reading from Kafka: {error}");
                    self.wait(&mut pause).await;
                }
            }
        }
    }

    /// One message, and those that are there already or come at once.
    async fn gather(&self) -> Result<Vec<Message>, KafkaError> {
        let first = Message::new(&self.consumer.recv().await?);
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        let deadline = tokio::time::Instant::now() + GATHER_TIME;
        while batch.len() < self.batch_messages_max && bytes < BATCH_BYTES_MAX {
            let Ok(next) = tokio::time::timeout_at(deadline, self.consumer.recv()).await else { break };
            // An error here comes again with the next batch; the messages read so far are kept.
            let Ok(next) = next else { break };
            let message = Message::new(&next);
            bytes += message.bytes();
            batch.push(message);
        }
        Ok(batch)
    }

    /// Makes a batch durable and commits its offsets, up to the first message that was not finished.
    async fn store(&self, batch: Vec<Message>) {
        let is_done = join_all(batch.iter().map(|message| self.store_one(message))).await;
        let mut next: HashMap<(&str, i32), (i64, bool)> = HashMap::new();
        for (message, is_done) in batch.iter().zip(is_done) {
            let (offset, is_blocked) =
                next.entry((&message.topic, message.partition)).or_insert((message.offset, false));
            *is_blocked |= !is_done;
            if !*is_blocked {
                *offset = message.offset + 1;
            }
        }
        if let Err(error) = self.commit(next) {
            // The next commit covers these offsets too; after a crash the messages are read again.
            tracing::warn!("committing Kafka offsets: {error}");
        }
    }

    fn commit(&self, next: HashMap<(&str, i32), (i64, bool)>) -> Result<(), KafkaError> {
        let mut offsets = TopicPartitionList::with_capacity(next.len());
        for ((topic, partition), (offset, _)) in next {
            offsets.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        }
        self.consumer.commit(&offsets, CommitMode::Async)
    }

    /// Whether the message is done with: durable, or passed over.
    async fn store_one(&self, message: &Message) -> bool {
        let Some(signal) = self.signals.get(&message.topic).copied() else { return true };
        let began = self.pipeline.metrics.begin(Source::Kafka, signal);
        // A tombstone carries nothing and is an empty request.
        let bytes = message.payload.clone().unwrap_or_default();
        let mut pause = PAUSE_MIN;
        loop {
            let ticket = self.pipeline.admission.wait(bytes.len()).await;
            let (encoding, compression) = (Encoding::Protobuf, Compression::Identity);
            let payload = Payload { signal, encoding, compression, bytes: bytes.clone() };
            let refusal = match self.pipeline.ingest(Source::Kafka, payload, ticket).await {
                Ok(_) => {
                    began.stored();
                    return true;
                }
                Err(refusal) => refusal,
            };
            if !refusal.reason.is_retryable() {
                pass_over(message, &refusal, began.refused(&refusal));
                return true;
            }
            self.wait(&mut pause).await;
            if self.stop.is_cancelled() {
                began.refused(&refusal);
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

/// Logged at the first, second, fourth, eighth … message that cannot be decoded.
fn pass_over(message: &Message, refusal: &Refusal, count: u64) {
    if count.is_power_of_two() {
        let Message { topic, partition, offset, .. } = message;
        tracing::warn!(
            count,
            "Kafka message {topic}/{partition}@{offset} is passed over: {}",
            refusal.message
        );
    }
}

impl Message {
    fn new(message: &BorrowedMessage<'_>) -> Self {
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            payload: message.payload().map(Bytes::copy_from_slice),
        }
    }

    fn bytes(&self) -> usize {
        self.payload.as_ref().map_or(0, Bytes::len)
    }
}
