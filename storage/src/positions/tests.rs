//! The rules of positions: pure, then in a store that is killed and opened again.

mod rules;
mod store;

use model::positions::{AgentId, Range, StreamId};

use super::*;

const AGENT: AgentId = AgentId([7; 16]);

fn stream(byte: u8) -> StreamId {
    StreamId([byte; 16])
}

/// A range whose records end at `ends`.
fn range(of: u8, start: u64, ends: &[u64]) -> Range {
    let end = ends.last().copied().unwrap_or(start);
    Range { ends: ends.to_vec(), ..Range::new(stream(of), start, end, ends.len() as u64) }
}

fn begins(range: Range) -> Range {
    Range { begins: true, ..range }
}

fn from(session: u64, ranges: Vec<Range>) -> Origin {
    Origin::Agent(AgentOrigin { agent: AGENT, session, ranges })
}

fn kafka(start: u64, end: u64, resets: bool) -> Origin {
    Origin::Kafka(KafkaRange { topic: "orders".to_owned(), partition: 3, start, end, resets })
}
