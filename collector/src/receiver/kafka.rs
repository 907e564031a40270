//! OTLP from Kafka: each message is one protobuf export request.
//!
//! Owns: one consumer, its batches and its offsets. Does not own: decoding (`pipeline`).
//!
//! ```text
//! poll ─► batch of messages ─► decode together ─► append in order ─► all durable ─► commit offsets
//!             │                       │ store cannot write now: wait, one message after the other
//!             │                       └ message cannot be decoded: count, log, store its offset alone
//!             └ bytes in flight used up: no further poll
//! ```
//!
//! Invariants: where a partition goes on is read from the store, which made offsets durable with the
//! records (`offsets`): a message is stored once, whatever breaks. The group's offsets follow behind. A
//! message that nobody can decode never blocks a partition.

mod offsets;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use model::Signal;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use storage::{Compression, KafkaRange, Origin};
use tokio_util::sync::CancellationToken;

use crate::admission::Ticket;
use crate::error::Error;
use crate::metrics::{Began, Source};
use crate::pipeline::{Encoding, Payload, Pipeline, Prepared};
use crate::settings::Kafka;
use crate::shutdown::Shutdown;
use crate::status::Refusal;
use offsets::Offsets;

/// How long a batch waits for more messages once it has one.
const GATHER_TIME: Duration = Duration::from_millis(20);
/// Payload bytes of a batch.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Pause between attempts while the store or the broker cannot; doubled up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

struct Reader {
    consumer: StreamConsumer<Offsets>,
    pipeline: Arc<Pipeline>,
    signals: HashMap<String, Signal>,
    batch_messages_max: usize,
    stop: CancellationToken,
}

struct Message {
    signal: Signal,
    /// The message's place, and what was read before it.
    range: KafkaRange,
    /// A tombstone carries nothing and is an empty request.
    payload: Bytes,
    began: Option<Began>,
    is_done: bool,
}

/// Subscribes and reads until shutdown.
pub(crate) fn start(settings: &Kafka, pipeline: &Arc<Pipeline>, shutdown: &Shutdown) -> Result<(), Error> {
    let failed = |source| Error::Kafka { brokers: settings.brokers.clone(), source };
    let offsets = Offsets::new(Arc::clone(pipeline));
    let consumer: StreamConsumer<Offsets> = config(settings).create_with_context(offsets).map_err(failed)?;
    let topics: Vec<String> = settings.topics.by_signal().map(|(_, topic)| topic.to_owned()).collect();
    if topics.is_empty() {
        return Err(Error::Limits("`kafka.topics` names no topic: set traces, logs or metrics".to_owned()));
    }
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
            () = read(&reader, &topics) => {}
            () = kill.cancelled() => {}
        }
        tokio::select! {
            () = leave(reader) => {}
            () = kill.cancelled() => {}
        }
    });
    Ok(())
}

/// Reads once the store knows where to go on: that is in its log too.
async fn read(reader: &Reader, topics: &[String]) {
    tokio::select! {
        is_replayed = reader.pipeline.replayed() => if !is_replayed { return },
        () = reader.stop.cancelled() => return,
    }
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    match reader.consumer.subscribe(&topics) {
        Ok(()) => reader.run().await,
        Err(error) => tracing::error!("Kafka: subscribing to {}: {error}", topics.join(", ")),
    }
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
        let first = self.consumer.recv().await?;
        let mut bytes = first.payload_len();
        let mut batch: Vec<Message> = self.read(&first).into_iter().collect();
        drop(first);
        let deadline = tokio::time::Instant::now() + GATHER_TIME;
        while batch.len() < self.batch_messages_max && bytes < BATCH_BYTES_MAX {
            let Ok(next) = tokio::time::timeout_at(deadline, self.consumer.recv()).await else { break };
            // An error here comes again with the next batch; the messages read so far are kept.
            let Ok(next) = next else { break };
            bytes += next.payload_len();
            batch.extend(self.read(&next));
        }
        Ok(batch)
    }

    /// `None` for a topic that nobody asked for.
    fn read(&self, message: &BorrowedMessage<'_>) -> Option<Message> {
        let signal = self.signals.get(message.topic()).copied()?;
        let range = self.consumer.context().read(message.topic(), message.partition(), message.offset());
        Some(Message {
            signal,
            range,
            payload: message.payload().map(Bytes::copy_from_slice).unwrap_or_default(),
            began: Some(self.pipeline.metrics.begin(Source::Kafka, signal)),
            is_done: false,
        })
    }

    /// Makes a batch durable and commits its offsets, up to the first message that was not finished.
    async fn store(&self, mut batch: Vec<Message>) {
        self.store_together(&mut batch).await;
        for message in batch.iter_mut().filter(|message| !message.is_done) {
            self.store_one(message).await;
            if !message.is_done {
                break;
            }
        }
        let mut next: HashMap<(&str, u32), u64> = HashMap::new();
        for message in batch.iter().take_while(|message| message.is_done) {
            next.insert((&message.range.topic, message.range.partition), message.range.end);
        }
        if let Err(error) = self.commit(next) {
            // The store's own offsets are what counts; the next commit covers these too.
            tracing::warn!("committing Kafka offsets: {error}");
        }
    }

    fn commit(&self, next: HashMap<(&str, u32), u64>) -> Result<(), KafkaError> {
        if next.is_empty() {
            return Ok(());
        }
        let mut offsets = TopicPartitionList::with_capacity(next.len());
        for ((topic, partition), offset) in next {
            let offset = i64::try_from(offset).unwrap_or(i64::MAX);
            offsets.add_partition_offset(topic, partition as i32, Offset::Offset(offset))?;
        }
        self.consumer.commit(&offsets, CommitMode::Async)
    }

    /// Decodes all at once and appends them in order. What does not work now is left for later.
    async fn store_together(&self, batch: &mut [Message]) {
        let decoded = join_all(batch.iter_mut().map(|message| async {
            let ticket = self.pipeline.enter(Some(message.payload.len() as u64)).ok()?;
            self.decode(message, ticket).await.ok()
        }));
        let decoded = decoded.await;
        let mut blocked = HashSet::new();
        let mut waiting = Vec::new();
        for (message, prepared) in batch.iter_mut().zip(decoded) {
            let partition = (message.range.topic.clone(), message.range.partition);
            match prepared {
                Some(prepared) if !blocked.contains(&partition) => {
                    let mut append = Box::pin(self.pipeline.append(Source::Kafka, prepared));
                    // Polled once, it has its place in the order of the partition.
                    let answer = (&mut append).now_or_never();
                    waiting.push((message, append, answer));
                }
                _ => drop(blocked.insert(partition)),
            }
        }
        for (message, append, answer) in waiting {
            let answer = match answer {
                Some(answer) => answer,
                None => append.await,
            };
            if answer.is_ok() {
                message.stored();
            }
        }
    }

    /// Tries until the message is done with, or the collector stops.
    async fn store_one(&self, message: &mut Message) {
        let mut pause = PAUSE_MIN;
        loop {
            let ticket = self.pipeline.admission.wait(message.payload.len()).await;
            let stored = match self.decode(message, ticket).await {
                Ok(prepared) => self.pipeline.append(Source::Kafka, prepared).await,
                Err(refusal) => Err(refusal),
            };
            let Err(refusal) = stored else { return message.stored() };
            tracing::debug!("Kafka message {message}: {}", refusal.message);
            self.wait(&mut pause).await;
            if self.stop.is_cancelled() {
                message.refused(&refusal);
                return;
            }
        }
    }

    /// The rows of a message; of one that cannot be decoded its offset alone.
    async fn decode(&self, message: &mut Message, ticket: Ticket) -> Result<Prepared, Refusal> {
        let refusal = match self.pipeline.decoded(Source::Kafka, message.as_payload(), ticket).await {
            Ok(prepared) => return Ok(prepared),
            Err(refusal) if refusal.reason.is_retryable() => return Err(refusal),
            Err(refusal) => refusal,
        };
        pass_over(message, &refusal);
        message.payload = Bytes::new();
        let ticket = self.pipeline.admission.wait(0).await;
        self.pipeline.decoded(Source::Kafka, message.as_payload(), ticket).await
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
fn pass_over(message: &mut Message, refusal: &Refusal) {
    let count = message.refused(refusal);
    if count.is_power_of_two() {
        tracing::warn!(count, "Kafka message {message} is passed over: {}", refusal.message);
    }
}

impl Message {
    fn as_payload(&self) -> Payload {
        Payload {
            signal: self.signal,
            encoding: Encoding::Protobuf,
            compression: Compression::Identity,
            bytes: self.payload.clone(),
            origin: Some(Origin::Kafka(self.range.clone())),
        }
    }

    fn stored(&mut self) {
        self.is_done = true;
        if let Some(began) = self.began.take() {
            began.stored();
        }
    }

    /// How many messages were refused for this reason; 0 when this one was counted before.
    fn refused(&mut self, refusal: &Refusal) -> u64 {
        self.began.take().map_or(0, |began| began.refused(refusal))
    }
}

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let KafkaRange { topic, partition, end, .. } = &self.range;
        write!(f, "{topic}/{partition}@{}", end.saturating_sub(1))
    }
}
