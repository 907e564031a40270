//! The extension of a WAL record: the positions that its records bring along, as bytes.
//!
//! Owns: the message `Extension` of `docs/formats/positions.md`, leaving out records that an overlap
//! dropped. Invariant: decoding takes any bytes and never panics.

use bytes::Bytes;
use model::positions::{AgentId, PositionsError, Range, StreamId};
use model::wire::{Fields, Value, put_bytes, put_fixed32, put_fixed64, put_message, put_u64};

use super::{AgentOrigin, KafkaRange, Origin};

/// What a record says about where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extension {
    /// Agent and session.
    pub(crate) agent: Option<(AgentId, u64)>,
    /// The record opens the session.
    pub(crate) is_hello: bool,
    /// Ranges, each with the position up to which its records were there already.
    pub(crate) ranges: Vec<(Range, Option<u64>)>,
    /// Kafka partitions.
    pub(crate) kafka: Vec<KafkaRange>,
    /// Streams whose positions are not needed any more.
    pub(crate) forget: Vec<StreamId>,
}

impl From<Origin> for Extension {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Agent(AgentOrigin { agent, session, ranges }) => Self {
                agent: Some((agent, session)),
                ranges: ranges.into_iter().map(|range| (range, None)).collect(),
                ..Self::default()
            },
            Origin::Kafka(range) => Self { kafka: vec![range], ..Self::default() },
        }
    }
}

impl Extension {
    /// A record that opens a session.
    pub(crate) fn hello(agent: AgentId, session: u64, forget: Vec<StreamId>) -> Self {
        Self { agent: Some((agent, session)), is_hello: true, forget, ..Self::default() }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        if let Some((agent, session)) = self.agent {
            put_bytes(&mut out, 1, &agent.0);
            put_u64(&mut out, 2, session);
        }
        if self.is_hello {
            put_u64(&mut out, 3, 1);
        }
        for (range, committed) in &self.ranges {
            put_message(&mut out, 4, |out| {
                range.put_fields(out);
                if let Some(committed) = committed {
                    put_u64(out, 7, *committed);
                }
            });
        }
        for KafkaRange { topic, partition, start, end, resets } in &self.kafka {
            put_message(&mut out, 5, |out| {
                put_bytes(out, 1, topic.as_bytes());
                for (number, value) in
                    [(2, u64::from(*partition)), (3, *start), (4, *end), (5, u64::from(*resets))]
                {
                    put_u64(out, number, value);
                }
            });
        }
        for stream in &self.forget {
            put_bytes(&mut out, 6, &stream.0);
        }
        out.into()
    }

    pub(crate) fn decode(message: &[u8]) -> Result<Self, PositionsError> {
        let mut extension = Self::default();
        let (mut agent, mut session) = (None, 0);
        for field in Fields::new(message) {
            match field? {
                (1, Value::Bytes(bytes)) => agent = Some(AgentId(sixteen(bytes)?)),
                (2, Value::Varint(number)) => session = number,
                (3, Value::Varint(is_hello)) => extension.is_hello = is_hello != 0,
                (4, Value::Bytes(range)) => extension.ranges.push((Range::decode(range)?, committed(range))),
                (5, Value::Bytes(range)) => extension.kafka.push(kafka_range(range)?),
                (6, Value::Bytes(bytes)) => extension.forget.push(StreamId(sixteen(bytes)?)),
                _ => {}
            }
        }
        extension.agent = agent.map(|agent| (agent, session));
        Ok(extension)
    }

    /// The request without the records that were there already; `None` when that is all of it.
    pub(crate) fn without_dropped(&self, request: &[u8]) -> Option<Vec<u8>> {
        if self.ranges.iter().all(|(_, committed)| committed.is_none()) {
            return None;
        }
        let mut records = self.ranges.iter().flat_map(|(range, committed)| {
            (0..range.records)
                .map(|record| committed.is_none_or(|committed| range.end_of(record) > committed))
        });
        let mut out = Vec::with_capacity(request.len());
        // Three levels: resource groups, scope groups, records.
        copy_kept(request, [1, 2, 2].as_slice(), &mut records, &mut out);
        Some(out)
    }
}

/// Copies a message; of the fields at the end of `path` only those that `kept` says. Stops where the
/// message is malformed, as the decoder does.
fn copy_kept(message: &[u8], path: &[u32], kept: &mut dyn Iterator<Item = bool>, out: &mut Vec<u8>) {
    let Some((number, below)) = path.split_first() else { return };
    for (found, value) in Fields::new(message).map_while(Result::ok) {
        match value {
            Value::Bytes(inner) if found == *number && below.is_empty() => {
                // What is beyond the ranges was not announced; it is kept.
                if kept.next().unwrap_or(true) {
                    put_bytes(out, found, inner);
                }
            }
            Value::Bytes(inner) if found == *number => {
                put_message(out, found, |out| copy_kept(inner, below, &mut *kept, out));
            }
            Value::Bytes(bytes) => put_bytes(out, found, bytes),
            Value::Varint(value) => put_u64(out, found, value),
            Value::Fixed64(value) => put_fixed64(out, found, value),
            Value::Fixed32(value) => put_fixed32(out, found, value),
        }
    }
}

fn sixteen(bytes: &[u8]) -> Result<[u8; 16], PositionsError> {
    bytes.try_into().map_err(|_| PositionsError::Stream(bytes.len()))
}

fn committed(range: &[u8]) -> Option<u64> {
    Fields::new(range).map_while(Result::ok).find_map(|field| match field {
        (7, Value::Varint(committed)) => Some(committed),
        _ => None,
    })
}

fn kafka_range(message: &[u8]) -> Result<KafkaRange, PositionsError> {
    let mut range = KafkaRange { topic: String::new(), partition: 0, start: 0, end: 0, resets: false };
    for field in Fields::new(message) {
        match field? {
            (1, Value::Bytes(topic)) => range.topic = String::from_utf8_lossy(topic).into_owned(),
            (2, Value::Varint(partition)) => range.partition = partition as u32,
            (3, Value::Varint(start)) => range.start = start,
            (4, Value::Varint(end)) => range.end = end,
            (5, Value::Varint(resets)) => range.resets = resets != 0,
            _ => {}
        }
    }
    Ok(range)
}
