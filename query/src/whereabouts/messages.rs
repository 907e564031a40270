//! The messages that records name, and the spans that consumed them.

use std::collections::BTreeMap;

use model::ids::KAFKA_RECORD;
use model::{IdTerm, TraceId};
use query_api::{Attributes, GroupProgress, GroupState, MessageWhere, Text};

use crate::journey::records::{LogRecord, Records, SpanRecord};

const TOPIC: &str = "messaging.destination.name";
const PARTITION: &str = "messaging.destination.partition.id";
const OFFSET: &str = "messaging.kafka.offset";
const KEY: &str = "messaging.kafka.message.key";
const GROUP: &str = "messaging.consumer.group.name";
/// The group's attribute before semantic conventions 1.27.
const GROUP_OLD: &str = "messaging.kafka.consumer.group";

/// A message and the groups that are known to have consumed it.
pub(super) struct Message {
    pub(super) answer: MessageWhere,
}

impl Message {
    /// The term by which everything about it is found.
    fn term(&self) -> String {
        let MessageWhere { topic, partition, offset, .. } = &self.answer;
        IdTerm::new(KAFKA_RECORD, format!("{topic}/{partition}@{offset}")).to_string()
    }
}

fn coordinates(attributes: &Attributes) -> Option<(String, i32, i64)> {
    let topic = attributes.get(TOPIC)?.to_string();
    Some((topic, attributes.get(PARTITION)?.parse().ok()?, attributes.get(OFFSET)?.parse().ok()?))
}

/// The messages of records that belong, in the order they were produced.
pub(super) fn of(
    logs: &[LogRecord],
    spans: &[SpanRecord],
    belongs: &dyn Fn(&[Text], Option<TraceId>) -> bool,
) -> Vec<Message> {
    let mut found: BTreeMap<(String, i32, i64), MessageWhere> = BTreeMap::new();
    // Producer spans first: what the tap tells is more exact and comes over it.
    for span in spans.iter().filter(|span| span.kind == "producer" && belongs(&span.ids, Some(span.trace_id)))
    {
        let Some(at) = coordinates(&span.attributes) else { continue };
        let message = found.entry(at.clone()).or_insert_with(|| message(at, &span.attributes));
        message.produced_at = span.end();
        message.produced_by = span.service.to_string();
        (message.trace_id, message.span_id) = (Some(span.trace_id), Some(span.span_id));
    }
    for log in logs.iter().filter(|log| is_tapped(log) && belongs(&log.ids, log.trace_id)) {
        let Some(at) = coordinates(&log.attributes) else { continue };
        let message = found.entry(at.clone()).or_insert_with(|| message(at, &log.attributes));
        message.produced_at = log.time;
        if message.trace_id.is_none() {
            (message.trace_id, message.span_id) = (log.trace_id, log.span_id);
        }
        if let Some(key) = log.attributes.get(KEY) {
            message.key = key.to_string();
        }
    }
    // A consumer alone also says that the message exists, and where.
    for span in spans.iter().filter(|span| span.kind == "consumer" && belongs(&span.ids, Some(span.trace_id)))
    {
        let Some(at) = coordinates(&span.attributes) else { continue };
        found.entry(at.clone()).or_insert_with(|| {
            let mut message = message(at, &span.attributes);
            message.produced_at = span.start;
            message
        });
    }
    let mut messages: Vec<Message> = found.into_values().map(|answer| Message { answer }).collect();
    messages.sort_by_key(|message| message.answer.produced_at);
    messages
}

/// Whether a record is one of the header tap's.
pub(super) fn is_tapped(log: &LogRecord) -> bool {
    log.event_name == model::kafka::MESSAGE_EVENT
}

fn message((topic, partition, offset): (String, i32, i64), attributes: &Attributes) -> MessageWhere {
    MessageWhere {
        topic,
        partition,
        offset,
        key: attributes.text(KEY).unwrap_or_default().to_owned(),
        produced_at: model::UnixNano(0),
        produced_by: String::new(),
        trace_id: None,
        span_id: None,
        groups: Vec::new(),
    }
}

/// Adds the spans that consumed the messages: those that name their coordinates, and those that link to
/// their producers.
pub(super) fn consume<R: Records>(records: &mut R, messages: &mut [Message]) -> Result<(), storage::Error> {
    let mut terms: Vec<String> = messages.iter().map(Message::term).collect();
    let producers = messages.iter().filter_map(|message| message.answer.trace_id.zip(message.answer.span_id));
    terms.extend(producers.map(|(trace, span)| IdTerm::link(trace, span).to_string()));
    if terms.is_empty() {
        return Ok(());
    }
    let mut first = super::First::default();
    records.spans(&terms, &mut |place, _| first.add(place))?;
    let mut spans = records.read_spans(&first.places)?;
    spans.retain(|span| span.kind == "consumer");
    spans.sort_by_key(|span| span.start);
    for message in messages {
        let term = message.term();
        let carries = |ids: &[Text]| ids.iter().any(|id| *id == term);
        let producer = message.answer.trace_id.zip(message.answer.span_id);
        for span in &spans {
            let is_linked = producer.is_some_and(|producer| span.links.contains(&producer));
            let names_other = coordinates(&span.attributes).is_some() && !carries(&span.ids);
            if carries(&span.ids) || (is_linked && !names_other) {
                consumed_by(&mut message.answer, span);
            }
        }
    }
    Ok(())
}

fn consumed_by(message: &mut MessageWhere, span: &SpanRecord) {
    let named = span.attributes.get(GROUP).or_else(|| span.attributes.get(GROUP_OLD));
    // Without a name, a group is mostly called like its service.
    let group = named.unwrap_or(&span.service);
    if message.groups.iter().any(|known| *group == known.group) {
        return;
    }
    let state = GroupState::Consumed {
        at: span.start,
        service: span.service.to_string(),
        trace_id: span.trace_id,
        span_id: span.span_id,
    };
    message.groups.push(GroupProgress { group: group.to_string(), state });
}
