//! Positions: what the store has of every sender's source, and which append fits.
//!
//! Owns: the rules of `docs/formats/positions.md`, the committed positions in memory, what changed since
//! the last seal. Does not own: the bytes (`extension`, `model::positions`), when a change is durable (`wal`).
//!
//! ```text
//! append ─► queue ─► judge (writer thread, in WAL order) ─► fdatasync ─► apply ─► Durable
//!                      │ gap, overlap, old session: refused     │ one lock with the rows
//!                      └ known already: Durable without a write └ dirty ─► catalog, with the segments
//! ```
//!
//! Invariants: positions only rise, except by a Kafka reset; a position and the rows up to it become
//! visible, durable and sealed together; of two appends for one piece of a stream one is written.

mod extension;
mod judge;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;

use model::positions::{AgentId, Range, StreamId};

pub(crate) use extension::Extension;
pub(crate) use judge::{Verdict, committed_of, judge};
pub(crate) use state::{Admitted, Change, Entry, Key, Positions};

/// Where the records of an append came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Pieces of an agent's streams.
    Agent(AgentOrigin),
    /// A message of a Kafka partition.
    Kafka(KafkaRange),
}

/// Pieces of an agent's streams. [`model::positions::check`] holds for the ranges and the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentOrigin {
    /// Who sends.
    pub agent: AgentId,
    /// The session its hello was answered with.
    pub session: u64,
    /// The records' ranges, in the order of the records.
    pub ranges: Vec<Range>,
}

/// Messages of a Kafka partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaRange {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset up to which everything was read before.
    pub start: u64,
    /// The offset of the next message.
    pub end: u64,
    /// The partition begins anew here, whatever was committed.
    pub resets: bool,
}

/// What an agent learns at hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The identity of the store, a UUID.
    pub store: String,
    /// The agent's session from now on.
    pub session: u64,
    /// Its streams and their committed positions.
    pub streams: Vec<(StreamId, u64)>,
}

/// Why an append does not fit what is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Something before it is missing.
    Gap,
    /// A part of it is committed, and nothing tells which records those are.
    Overlap,
    /// A newer session of the agent writes now.
    Session,
    /// The store never gave out the session.
    SessionUnknown,
    /// More streams than one agent may have.
    Streams,
}

impl Mismatch {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Gap, Self::Overlap, Self::Session, Self::SessionUnknown, Self::Streams];

    /// The word in the header `silmari-refused`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Overlap => "overlap",
            Self::Session => "session",
            Self::SessionUnknown => "session-unknown",
            Self::Streams => "streams",
        }
    }
}

/// An append that does not fit, and where its sender should go on. No position moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionRefusal {
    /// What does not fit.
    pub mismatch: Mismatch,
    /// The agent's newest session; 0 when it is unknown.
    pub session: u64,
    /// The streams of the append and their committed positions, in the order of their first ranges.
    pub committed: Vec<(StreamId, Option<u64>)>,
}

impl fmt::Display for PositionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.mismatch {
            Mismatch::Gap => "records before these are missing: send from the committed positions",
            Mismatch::Overlap => {
                "some of the records are committed and the request does not say where each ends: \
                 send from the committed positions"
            }
            Mismatch::Session => {
                "a newer session of this agent writes now: is a second agent running with this id?"
            }
            Mismatch::SessionUnknown => "this store did not give out the session: say hello again",
            Mismatch::Streams => "the agent has too many streams: say hello and forget those that are done",
        })
    }
}

impl std::error::Error for PositionRefusal {}
