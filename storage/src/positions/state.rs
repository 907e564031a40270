//! The committed positions in memory, and which of them the catalog does not have yet.
//!
//! Invariant: what differs from the catalog is dirty, removals included.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::UnixNano;
use model::positions::{AgentId, StreamId};

use super::Extension;
use super::judge::Committed;

/// What a position belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// An agent's newest session.
    Session(AgentId),
    /// A stream's committed position.
    Stream(AgentId, StreamId),
    /// The next offset of a topic's partition.
    Kafka(String, u32),
}

/// A position that moves, or is forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) value: Option<u64>,
}

/// A position as the catalog keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: u64,
    /// When it last moved.
    pub(crate) seen: UnixNano,
}

/// Streams that did not move for so long are forgotten.
const IDLE_NANO_MAX: i64 = 30 * 24 * 3_600 * 1_000_000_000;

/// All committed positions.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    entries: BTreeMap<Key, Entry>,
    streams: HashMap<AgentId, usize>,
    dirty: BTreeSet<Key>,
}

impl Committed for Positions {
    fn value(&self, key: &Key) -> Option<u64> {
        self.entries.get(key).map(|entry| entry.value)
    }

    fn streams(&self, agent: AgentId) -> usize {
        self.streams.get(&agent).copied().unwrap_or(0)
    }
}

impl Positions {
    /// What the catalog holds.
    pub(crate) fn from_catalog(entries: impl IntoIterator<Item = (Key, Entry)>) -> Self {
        let mut positions = Self::default();
        for (key, entry) in entries {
            positions.put(key, Some(entry));
        }
        positions
    }

    fn put(&mut self, key: Key, entry: Option<Entry>) {
        let agent = match key {
            Key::Stream(agent, _) => Some(agent),
            Key::Session(_) | Key::Kafka(..) => None,
        };
        let is_there = entry.is_some();
        let was_there = match entry {
            Some(entry) => self.entries.insert(key, entry).is_some(),
            None => self.entries.remove(&key).is_some(),
        };
        if let Some(agent) = agent
            && is_there != was_there
        {
            let streams = self.streams.entry(agent).or_default();
            *streams = if is_there { *streams + 1 } else { streams.saturating_sub(1) };
            if *streams == 0 {
                self.streams.remove(&agent);
            }
        }
    }

    /// Moves positions, at the time `now`.
    pub(crate) fn apply(&mut self, changes: impl IntoIterator<Item = Change>, now: UnixNano) {
        for Change { key, value } in changes {
            self.dirty.insert(key.clone());
            self.put(key, value.map(|value| Entry { value, seen: now }));
        }
    }

    /// Moves positions as a record that was admitted once says, whatever is missing before it.
    pub(crate) fn replay(&mut self, extension: &Extension, now: UnixNano) {
        let mut changes = Vec::new();
        if let Some((agent, session)) = extension.agent {
            if extension.is_hello {
                changes.push(Change { key: Key::Session(agent), value: Some(session) });
            }
            let forget = extension.forget.iter().map(|stream| Key::Stream(agent, *stream));
            changes.extend(forget.map(|key| Change { key, value: None }));
            for (range, _) in &extension.ranges {
                let key = Key::Stream(agent, range.stream);
                let value = Some(range.end.max(self.value(&key).unwrap_or(0)));
                self.apply([Change { key, value }], now);
            }
        }
        for range in &extension.kafka {
            let key = Key::Kafka(range.topic.clone(), range.partition);
            let before = if range.resets { 0 } else { self.value(&key).unwrap_or(0) };
            changes.push(Change { key, value: Some(range.end.max(before)) });
        }
        self.apply(changes, now);
    }

    /// The newest session of an agent; 0 when it never said hello.
    pub(crate) fn session(&self, agent: AgentId) -> u64 {
        self.value(&Key::Session(agent)).unwrap_or(0)
    }

    /// The committed position of a stream.
    pub(crate) fn stream(&self, agent: AgentId, stream: StreamId) -> Option<u64> {
        self.value(&Key::Stream(agent, stream))
    }

    /// The streams of an agent and their positions.
    pub(crate) fn streams_of(&self, agent: AgentId) -> Vec<(StreamId, u64)> {
        let first = Key::Stream(agent, StreamId([0; 16]));
        let last = Key::Stream(agent, StreamId([0xff; 16]));
        let of_agent = self.entries.range(first..=last);
        let streams = of_agent.filter_map(|(key, entry)| match key {
            Key::Stream(_, stream) => Some((*stream, entry.value)),
            Key::Session(_) | Key::Kafka(..) => None,
        });
        streams.collect()
    }

    /// The partitions of all topics and their next offsets.
    pub(crate) fn kafka(&self) -> Vec<(String, u32, u64)> {
        let kafka = self.entries.iter().filter_map(|(key, entry)| match key {
            Key::Kafka(topic, partition) => Some((topic.clone(), *partition, entry.value)),
            Key::Session(_) | Key::Stream(..) => None,
        });
        kafka.collect()
    }

    /// Forgets streams that did not move for 30 days, and agents that have none.
    pub(crate) fn forget_idle(&mut self, now: UnixNano) {
        let is_idle = |entry: &Entry| now.since(entry.seen) > IDLE_NANO_MAX;
        let idle: Vec<Key> = self
            .entries
            .iter()
            .filter(|(key, entry)| is_idle(entry) && !matches!(key, Key::Kafka(..)))
            .map(|(key, _)| key.clone())
            .collect();
        // Sessions sort before streams: they are looked at last, when their streams are gone.
        for key in idle.into_iter().rev() {
            if matches!(key, Key::Session(agent) if self.streams(agent) > 0) {
                continue;
            }
            self.apply([Change { key, value: None }], now);
        }
    }

    /// What the catalog does not have yet; it is taken to have it from now on.
    pub(crate) fn take_dirty(&mut self) -> Vec<(Key, Option<Entry>)> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.into_iter().map(|key| (key.clone(), self.entries.get(&key).copied())).collect()
    }

    /// The catalog does not have these after all.
    pub(crate) fn give_back(&mut self, changes: Vec<(Key, Option<Entry>)>) {
        self.dirty.extend(changes.into_iter().map(|(key, _)| key));
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }
}

/// What was admitted in a group that is not durable yet, over what is.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    changes: BTreeMap<Key, Option<u64>>,
}

impl Admitted {
    pub(crate) fn extend(&mut self, changes: &[Change]) {
        self.changes.extend(changes.iter().map(|change| (change.key.clone(), change.value)));
    }

    pub(crate) fn clear(&mut self) {
        self.changes.clear();
    }

    /// Both together.
    pub(crate) fn over<'a>(&'a self, positions: &'a Positions) -> impl Committed + 'a {
        Over { admitted: self, positions }
    }
}

struct Over<'a> {
    admitted: &'a Admitted,
    positions: &'a Positions,
}

impl Committed for Over<'_> {
    fn value(&self, key: &Key) -> Option<u64> {
        self.admitted.changes.get(key).copied().unwrap_or_else(|| self.positions.value(key))
    }

    fn streams(&self, agent: AgentId) -> usize {
        self.positions.streams(agent)
    }
}
