//! Messages: which consumer span took what a producer span sent, and how long it waited.
//!
//! A message is a producer span with a destination; its consumers are found, the surest evidence
//! first, by a span link to the producer, by the coordinates of the Kafka record, by the message id,
//! by the parent. A consumer is counted once for each message, service and group, at its first try.
//!
//! Invariants: a wait is never negative; a message without a consumer is open only when the caller
//! says that everything was searched and the producer did not fail.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{SpanId, TraceId, UnixNano};
use query_api::Text;

use super::records::SpanRecord;

/// What ties a consumer to its producer, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tie {
    /// The consumer links to the producer.
    Link,
    /// Both name the same topic, partition and offset.
    Coordinates,
    /// Both name the same message id.
    MessageId,
    /// The producer is the consumer's parent.
    Parent,
}

/// All that ties one consumer to one producer; at least one tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ties(u8);

impl Ties {
    const fn of(tie: Tie) -> Self {
        Self(1 << tie as u8)
    }

    fn add(&mut self, tie: Tie) {
        self.0 |= Self::of(tie).0;
    }

    /// The surest first.
    pub(crate) fn iter(self) -> impl Iterator<Item = Tie> {
        let all = [Tie::Link, Tie::Coordinates, Tie::MessageId, Tie::Parent];
        all.into_iter().filter(move |tie| self.0 & Self::of(*tie).0 > 0)
    }
}

/// One message on its way to one consumer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wait {
    /// The span that sent it.
    pub(crate) producer: usize,
    /// The span that took it; `None` while nobody has.
    pub(crate) consumer: Option<usize>,
    pub(crate) ties: Ties,
    pub(crate) destination: String,
    /// `topic/partition@offset`, as far as it is known.
    pub(crate) name: String,
    pub(crate) group: String,
    /// End of the producer.
    pub(crate) start: UnixNano,
    pub(crate) duration_nano: i64,
}

/// All messages of a journey.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    /// By producer, then consumer.
    pub(crate) waits: Vec<Wait>,
    /// Number of messages.
    pub(crate) count: usize,
    /// Consumer spans that tried the same message for the same service and group, by start.
    pub(crate) attempts: Vec<Vec<usize>>,
    /// The first wait that a consumer span ended, and how many it did.
    by_consumer: HashMap<usize, (usize, usize)>,
}

/// Where a message stands in its broker, as far as a span says.
pub(crate) struct Coordinates<'a> {
    pub(crate) destination: &'a str,
    partition: &'a str,
    offset: &'a str,
    message_id: &'a str,
    pub(crate) group: &'a str,
}

impl<'a> Coordinates<'a> {
    pub(crate) fn of(span: &'a SpanRecord) -> Self {
        let first = |keys: &[&str]| {
            keys.iter().find_map(|key| span.attributes.get(key)).map(Text::as_str).unwrap_or_default()
        };
        Self {
            destination: first(&["messaging.destination.name", "messaging.destination"]),
            partition: first(&[
                "messaging.destination.partition.id",
                "messaging.kafka.destination.partition",
                "messaging.kafka.partition",
            ]),
            offset: first(&["messaging.kafka.offset", "messaging.kafka.message.offset"]),
            message_id: first(&["messaging.message.id", "messaging.message_id"]),
            group: first(&[
                "messaging.consumer.group.name",
                "messaging.kafka.consumer.group",
                "messaging.kafka.consumer_group",
                "messaging.consumer.group",
            ]),
        }
    }

    /// `topic/partition@offset`, without what is unknown; empty when not even the topic is known.
    pub(crate) fn text(&self) -> String {
        let mut text = self.destination.to_owned();
        for (mark, part) in [('/', self.partition), ('@', self.offset)] {
            if !text.is_empty() && !part.is_empty() {
                text.push(mark);
                text.push_str(part);
            }
        }
        text
    }

    /// The exact record, when topic, partition and offset are known.
    fn record(&self) -> Option<(&'a str, &'a str, &'a str)> {
        let parts = [self.destination, self.partition, self.offset];
        parts.iter().all(|part| !part.is_empty()).then_some((self.destination, self.partition, self.offset))
    }

    /// What tells one message of a batch from another.
    fn label(&self) -> String {
        match self.record() {
            Some(_) => self.text(),
            None => self.message_id.to_owned(),
        }
    }
}

/// Finds the messages among `spans`, which are sorted by start. `open_until` is the time up to which
/// a message without a consumer has waited; `None` when consumers may have been left out.
pub(crate) fn find(spans: &[SpanRecord], open_until: Option<UnixNano>) -> Messages {
    let index = Producers::new(spans);
    let mut messages = Messages::default();
    let mut deliveries = Deliveries::new();
    let mut without_producer = BTreeSet::new();
    for (consumer, span) in spans.iter().enumerate().filter(|(_, span)| is_consumer(span)) {
        let to = Coordinates::of(span);
        let ties = index.ties(span, &to);
        if ties.is_empty() && !to.label().is_empty() {
            without_producer.insert((to.destination, to.label()));
        }
        for (producer, ties) in ties {
            let label = match Coordinates::of(&spans[producer]).label() {
                known if known.is_empty() => to.label(),
                known => known,
            };
            let takers = deliveries.entry((producer, span.service.as_str())).or_default();
            takers.push(Delivery { label, group: to.group, consumer, ties });
        }
    }
    messages.deliver(spans, deliveries);
    let taken: BTreeSet<usize> = messages.waits.iter().map(|wait| wait.producer).collect();
    messages.count += without_producer.len();
    let untaken = index.all.iter().copied().filter(|at| !taken.contains(at) && !spans[*at].is_error);
    for producer in untaken {
        messages.count += 1;
        if let Some(until) = open_until {
            messages.waits.push(Wait::open(spans, producer, until));
        }
    }
    messages.waits.sort_by_key(|wait| (wait.producer, wait.consumer));
    for (at, wait) in messages.waits.iter().enumerate() {
        if let Some(consumer) = wait.consumer {
            messages.by_consumer.entry(consumer).or_insert((at, 0)).1 += 1;
        }
    }
    messages
}

struct Delivery<'a> {
    label: String,
    group: &'a str,
    consumer: usize,
    ties: Ties,
}

type Deliveries<'a> = BTreeMap<(usize, &'a str), Vec<Delivery<'a>>>;

impl Messages {
    /// The message that a consumer span took.
    pub(crate) fn taken_by(&self, span: usize) -> Option<&Wait> {
        self.by_consumer.get(&span).map(|(wait, _)| &self.waits[*wait])
    }

    /// How many messages a consumer span took.
    pub(crate) fn taken_count(&self, span: usize) -> usize {
        self.by_consumer.get(&span).map_or(0, |(_, count)| *count)
    }

    /// One wait for each message, service and group; the first try ends it.
    fn deliver(&mut self, spans: &[SpanRecord], deliveries: Deliveries<'_>) {
        let mut taken = BTreeSet::new();
        for ((producer, _), mut takers) in deliveries {
            drop_vague(&mut takers);
            let mut parties: BTreeMap<(String, &str), Vec<(usize, Ties)>> = BTreeMap::new();
            for taker in takers {
                parties.entry((taker.label, taker.group)).or_default().push((taker.consumer, taker.ties));
            }
            for ((label, group), tries) in parties {
                taken.insert((producer, label));
                let (consumer, ties) = tries[0];
                self.waits.push(Wait::taken(spans, producer, consumer, ties, group));
                if tries.len() > 1 {
                    self.attempts.push(tries.into_iter().map(|(consumer, _)| consumer).collect());
                }
            }
        }
        self.count += taken.len();
    }
}

/// One service may record several spans for one message (receive, process), some of which name
/// neither the record nor the group; they say nothing beside those that do.
fn drop_vague(takers: &mut Vec<Delivery<'_>>) {
    if takers.iter().any(|taker| !taker.label.is_empty()) {
        takers.retain(|taker| !taker.label.is_empty());
    }
    if takers.iter().any(|taker| !taker.group.is_empty()) {
        takers.retain(|taker| !taker.group.is_empty());
    }
}

impl Wait {
    fn taken(spans: &[SpanRecord], producer: usize, consumer: usize, ties: Ties, group: &str) -> Self {
        let (from, to) = (Coordinates::of(&spans[producer]), Coordinates::of(&spans[consumer]));
        let (from_text, to_text) = (from.text(), to.text());
        let name = if from.record().is_some() || to.destination.is_empty() { from_text } else { to_text };
        let start = spans[producer].end();
        Self {
            producer,
            consumer: Some(consumer),
            ties,
            destination: from.destination.to_owned(),
            name,
            group: group.to_owned(),
            start,
            duration_nano: spans[consumer].start.since(start).max(0),
        }
    }

    fn open(spans: &[SpanRecord], producer: usize, until: UnixNano) -> Self {
        let from = Coordinates::of(&spans[producer]);
        let start = spans[producer].end();
        Self {
            producer,
            consumer: None,
            ties: Ties::of(Tie::Parent),
            destination: from.destination.to_owned(),
            name: from.text(),
            group: String::new(),
            start,
            duration_nano: until.since(start).max(0),
        }
    }
}

fn operation(span: &SpanRecord) -> &str {
    let keys = ["messaging.operation.type", "messaging.operation", "messaging.operation.name"];
    keys.iter().find_map(|key| span.attributes.get(key)).map(Text::as_str).unwrap_or_default()
}

fn is_consumer(span: &SpanRecord) -> bool {
    match operation(span) {
        "settle" | "ack" | "commit" => false,
        "receive" | "process" | "deliver" => true,
        _ => span.kind == "consumer",
    }
}

/// Producer spans that one link, record or message id can name; what goes beyond says nothing about
/// any one of them.
const TWINS_MAX: usize = 16;

fn push_bounded(twins: &mut Vec<usize>, at: usize) {
    if twins.len() < TWINS_MAX {
        twins.push(at);
    }
}

/// Producer spans, and the ways to find them.
struct Producers<'a> {
    all: Vec<usize>,
    by_span: HashMap<(TraceId, SpanId), Vec<usize>>,
    by_record: HashMap<(&'a str, &'a str, &'a str), Vec<usize>>,
    /// By message id and destination: a forwarded message keeps its id.
    by_message_id: HashMap<(&'a str, &'a str), Vec<usize>>,
}

impl<'a> Producers<'a> {
    fn new(spans: &'a [SpanRecord]) -> Self {
        let mut index = Self {
            all: Vec::new(),
            by_span: HashMap::new(),
            by_record: HashMap::new(),
            by_message_id: HashMap::new(),
        };
        for (at, span) in spans.iter().enumerate().filter(|(_, span)| span.kind == "producer") {
            let from = Coordinates::of(span);
            if from.destination.is_empty() {
                continue;
            }
            index.all.push(at);
            push_bounded(index.by_span.entry((span.trace_id, span.span_id)).or_default(), at);
            if let Some(record) = from.record() {
                push_bounded(index.by_record.entry(record).or_default(), at);
            }
            if !from.message_id.is_empty() {
                push_bounded(index.by_message_id.entry((from.message_id, from.destination)).or_default(), at);
            }
        }
        index
    }

    /// The producers whose messages a consumer took, each once, the surest tied first.
    fn ties(&self, consumer: &SpanRecord, to: &Coordinates<'_>) -> Vec<(usize, Ties)> {
        let mut ties: Vec<(usize, Ties)> = Vec::new();
        let mut tie = |found: Option<&Vec<usize>>, by: Tie| {
            for at in found.into_iter().flatten() {
                match ties.iter_mut().find(|(known, _)| known == at) {
                    Some((_, ties)) => ties.add(by),
                    None => ties.push((*at, Ties::of(by))),
                }
            }
        };
        consumer.links.iter().for_each(|link| tie(self.by_span.get(link), Tie::Link));
        tie(to.record().and_then(|record| self.by_record.get(&record)), Tie::Coordinates);
        tie(self.by_message_id.get(&(to.message_id, to.destination)), Tie::MessageId);
        let parent = consumer.parent_span_id.map(|parent| (consumer.trace_id, parent));
        tie(parent.and_then(|parent| self.by_span.get(&parent)), Tie::Parent);
        ties
    }
}
