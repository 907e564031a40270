//! Messages from producer to consumer: how many wait, for how long, and whether anybody reads.
//!
//! ```text
//! producer span ─ key: (trace, span), kafka_record, message_id ─┐
//!                                                               ├─ same key ─► consumed by that service
//! consumer span ─ keys: links, parent, kafka_record, message_id ┘             wait = start − producer's end
//! ```
//!
//! Invariant: a message counts once for each consuming service, at its earliest consumer span.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher as _};

use model::time::SECOND;
use model::{TimeRange, UnixNano};
use query_api::{Health, QueueRow};

use super::sketch::Sketch;
use super::{MESSAGES_MAX, QUEUES_MAX};
use crate::columns::SpanColumns;

/// Messages may wait this long without anybody worrying.
const GRACE_NANO: i64 = 10 * SECOND;
/// Share of produced messages that may be overdue before the queue counts as growing.
const OVERDUE_RATIO: f64 = 0.05;

/// Bytes of a message, with its first key and a place where it was consumed.
const MESSAGE_BYTES: usize = 128;
/// Bytes of a consumer span, with some keys and a place among those of its message.
const READ_BYTES: usize = 192;
/// Bytes of a key of a message.
const KEY_BYTES: usize = 32;

/// A message: a producer span.
#[derive(Debug)]
struct Message {
    queue: usize,
    count: u64,
    produced_at: UnixNano,
}

/// A consumer span.
#[derive(Debug)]
struct Read {
    queue: usize,
    service: usize,
    started_at: UnixNano,
    keys: Vec<u64>,
    count: u64,
}

/// All queues of a range.
#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: HashMap<String, usize>,
    services: HashMap<String, usize>,
    messages: Vec<Message>,
    by_key: HashMap<u64, usize>,
    reads: Vec<Read>,
    /// Messages of queues beyond [`QUEUES_MAX`].
    pub(super) left_out: u64,
    /// Messages and reads beyond [`MESSAGES_MAX`].
    pub(super) not_followed: u64,
}

impl Queues {
    /// Bytes that are held, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.messages.len() * MESSAGE_BYTES + self.reads.len() * READ_BYTES + self.by_key.len() * KEY_BYTES
    }

    pub(super) fn add_span(&mut self, rows: &SpanColumns<'_>, row: usize) {
        let is_producer = match rows.kind(row) {
            "producer" => true,
            "consumer" => false,
            _ => return,
        };
        let destination = rows
            .attribute(row, "messaging.destination.name")
            .or_else(|| rows.attribute(row, "messaging.destination"));
        let Some(destination) = destination else { return };
        if !self.queues.contains_key(destination) && self.queues.len() == QUEUES_MAX {
            self.left_out += 1;
            return;
        }
        if self.messages.len() + self.reads.len() >= MESSAGES_MAX {
            self.not_followed += 1;
            return;
        }
        let queue = number(&mut self.queues, destination);
        let count = rows.attribute(row, "messaging.batch.message_count").and_then(|count| count.parse().ok());
        if is_producer {
            self.add_message(
                rows,
                row,
                Message {
                    queue,
                    count: count.unwrap_or(1).max(1),
                    produced_at: rows.start_time(row).plus(rows.duration_nano(row)),
                },
            );
        } else {
            let mut keys: Vec<u64> = rows.links(row).map(key).collect();
            keys.extend(rows.parent_id(row).map(key));
            keys.extend(message_terms(rows, row).map(key));
            let service = number(&mut self.services, rows.service(row));
            let links = rows.links(row).count() as u64;
            let count = count.unwrap_or(links).max(1);
            self.reads.push(Read { queue, service, started_at: rows.start_time(row), keys, count });
        }
    }

    fn add_message(&mut self, rows: &SpanColumns<'_>, row: usize, message: Message) {
        let at = self.messages.len();
        self.by_key.insert(key(rows.own_id(row)), at);
        for term in message_terms(rows, row) {
            self.by_key.insert(key(term), at);
        }
        self.messages.push(message);
    }

    /// The rows, in no order. `now` is the time up to which anything could have been consumed.
    pub(super) fn finish(self, range: TimeRange, now: UnixNano) -> Vec<QueueRow> {
        let service_names = names(&self.services);
        let mut queues: Vec<Queue> = names(&self.queues).into_iter().map(Queue::new).collect();
        for message in &self.messages {
            queues[message.queue].produce(message);
        }
        let mut earliest: HashMap<(usize, usize), UnixNano> = HashMap::new();
        for read in &self.reads {
            let consumer = queues[read.queue].consumers.entry(read.service).or_default();
            consumer.last_read = consumer.last_read.max(Some(read.started_at));
            consumer.reads += read.count;
            for key in &read.keys {
                let Some(message) = self.by_key.get(key).copied() else { continue };
                if self.messages[message].queue == read.queue {
                    let start = earliest.entry((message, read.service)).or_insert(read.started_at);
                    *start = read.started_at.min(*start);
                }
            }
        }
        for ((message, service), started_at) in &earliest {
            let message = &self.messages[*message];
            let queue = &mut queues[message.queue];
            queue.waits.add(started_at.since(message.produced_at));
            queue.consumers.entry(*service).or_default().consumed += message.count;
        }
        for (at, message) in self.messages.iter().enumerate() {
            let waited = now.since(message.produced_at);
            for (service, consumer) in &mut queues[message.queue].consumers {
                if waited > GRACE_NANO && !earliest.contains_key(&(at, *service)) {
                    consumer.overdue += message.count;
                    let oldest = consumer.oldest_overdue.get_or_insert(message.produced_at);
                    *oldest = message.produced_at.min(*oldest);
                }
            }
        }
        let seconds = (range.nanos() as f64 / SECOND as f64).max(f64::MIN_POSITIVE);
        queues.into_iter().map(|queue| queue.row(&service_names, seconds, now)).collect()
    }
}

/// What one service has read of one queue.
#[derive(Debug, Default)]
struct Consumer {
    /// Messages its spans claim, matched or not.
    reads: u64,
    /// Messages of the range that were matched to its spans.
    consumed: u64,
    last_read: Option<UnixNano>,
    overdue: u64,
    oldest_overdue: Option<UnixNano>,
}

#[derive(Debug)]
struct Queue {
    destination: String,
    produced: u64,
    first_produced: Option<UnixNano>,
    last_produced: Option<UnixNano>,
    consumers: HashMap<usize, Consumer>,
    waits: Sketch,
}

impl Queue {
    fn new(destination: String) -> Self {
        Self {
            destination,
            produced: 0,
            first_produced: None,
            last_produced: None,
            consumers: HashMap::new(),
            waits: Sketch::default(),
        }
    }

    fn produce(&mut self, message: &Message) {
        self.produced += message.count;
        let time = message.produced_at;
        self.first_produced = Some(self.first_produced.map_or(time, |first| first.min(time)));
        self.last_produced = self.last_produced.max(Some(time));
    }

    fn row(self, service_names: &[String], seconds: f64, now: UnixNano) -> QueueRow {
        let pending = |consumer: &Consumer| self.produced.saturating_sub(consumer.done());
        let slowest = self.consumers.values().max_by_key(|consumer| pending(consumer));
        let health = match slowest {
            None => self.health_unread(now),
            Some(_) => {
                self.consumers.values().map(|consumer| self.health(consumer, now)).max().unwrap_or(Health::Ok)
            }
        };
        let mut consumers: Vec<String> = self.consumers.keys().map(|at| service_names[*at].clone()).collect();
        consumers.sort();
        QueueRow {
            health,
            in_rate: self.produced as f64 / seconds,
            out_rate: slowest.map_or(0, Consumer::done) as f64 / seconds,
            pending: slowest.map_or(self.produced, pending),
            wait_p95_nano: self.waits.quantile(0.95),
            consumers,
            destination: self.destination,
        }
    }

    /// A queue without consumers: bad once its oldest message is overdue.
    fn health_unread(&self, now: UnixNano) -> Health {
        match self.first_produced {
            Some(first) if now.since(first) > GRACE_NANO => Health::Bad,
            _ => Health::Ok,
        }
    }

    fn health(&self, consumer: &Consumer, now: UnixNano) -> Health {
        let (overdue, oldest) = match consumer.consumed {
            // Its spans point to no producer: only the numbers are known.
            0 if consumer.reads > 0 => {
                let waits = self.last_produced.is_some_and(|last| now.since(last) > GRACE_NANO);
                let pending = self.produced.saturating_sub(consumer.reads);
                if waits { (pending, self.last_produced) } else { (0, None) }
            }
            _ => (consumer.overdue, consumer.oldest_overdue),
        };
        let has_stopped = overdue > 0 && oldest.is_some_and(|oldest| consumer.last_read < Some(oldest));
        if has_stopped {
            Health::Bad
        } else if overdue > 1 && overdue as f64 > OVERDUE_RATIO * self.produced as f64 {
            Health::Warn
        } else {
            Health::Ok
        }
    }
}

impl Consumer {
    /// Messages it is done with.
    fn done(&self) -> u64 {
        if self.consumed > 0 { self.consumed } else { self.reads }
    }
}

/// The id terms that name one message.
fn message_terms<'a>(rows: &SpanColumns<'a>, row: usize) -> impl Iterator<Item = &'a str> + use<'a> {
    rows.ids(row).filter(|term| term.starts_with("kafka_record=") || term.starts_with("message_id="))
}

fn key<T: Hash>(of: T) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn number(numbers: &mut HashMap<String, usize>, name: &str) -> usize {
    if let Some(number) = numbers.get(name) {
        return *number;
    }
    let number = numbers.len();
    numbers.insert(name.to_owned(), number);
    number
}

/// The names by their numbers.
fn names(numbers: &HashMap<String, usize>) -> Vec<String> {
    let mut names = vec![String::new(); numbers.len()];
    for (name, number) in numbers {
        names[*number].clone_from(name);
    }
    names
}
