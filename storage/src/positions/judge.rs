//! Whether an append fits: a pure function of what is committed and what the append says.

use std::collections::{BTreeMap, HashSet};

use model::positions::{AgentId, Range, STREAMS_MAX, StreamId};

use super::{Change, Extension, KafkaRange, Key, Mismatch, PositionRefusal};

/// What is known when an append is judged: what is committed, and what was admitted before it.
pub(crate) trait Committed {
    /// The value of a key.
    fn value(&self, key: &Key) -> Option<u64>;
    /// How many streams the agent has.
    fn streams(&self, agent: AgentId) -> usize;
}

/// What to do with an append.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Write it; then these hold.
    Write(Vec<Change>),
    /// All of it is committed, or will be with what was admitted before.
    Known,
    /// Some of it is committed: leave out what ends at or before these, a range each, and ask again.
    Trim(Vec<Option<u64>>),
    /// It does not fit.
    Refuse(PositionRefusal),
}

/// Judges an append.
pub(crate) fn judge(extension: &Extension, committed: &dyn Committed) -> Verdict {
    let mut judge = Judge { committed, changes: BTreeMap::new() };
    match judge.verdict(extension) {
        Ok(Fit::New) => {
            let changes = judge.changes.into_iter();
            Verdict::Write(changes.map(|(key, value)| Change { key, value }).collect())
        }
        Ok(Fit::Known) => Verdict::Known,
        Ok(Fit::Partly(trim)) => Verdict::Trim(trim),
        Err(mismatch) => Verdict::Refuse(judge.refusal(extension, mismatch)),
    }
}

enum Fit {
    New,
    Known,
    Partly(Vec<Option<u64>>),
}

struct Judge<'a> {
    committed: &'a dyn Committed,
    /// What the ranges before this one change.
    changes: BTreeMap<Key, Option<u64>>,
}

impl Judge<'_> {
    fn value(&self, key: &Key) -> Option<u64> {
        self.changes.get(key).copied().unwrap_or_else(|| self.committed.value(key))
    }

    fn verdict(&mut self, extension: &Extension) -> Result<Fit, Mismatch> {
        match extension.agent {
            Some((agent, session)) if extension.is_hello => self.hello(agent, session, &extension.forget),
            Some((agent, session)) => {
                match self.value(&Key::Session(agent)).unwrap_or(0) {
                    newest if session < newest => return Err(Mismatch::Session),
                    newest if session > newest => return Err(Mismatch::SessionUnknown),
                    _ => {}
                }
                self.ranges(agent, &extension.ranges)
            }
            None => self.kafka(&extension.kafka),
        }
    }

    fn hello(&mut self, agent: AgentId, session: u64, forget: &[StreamId]) -> Result<Fit, Mismatch> {
        if self.value(&Key::Session(agent)).unwrap_or(0) >= session {
            return Err(Mismatch::Session);
        }
        self.changes.insert(Key::Session(agent), Some(session));
        for stream in forget {
            self.changes.insert(Key::Stream(agent, *stream), None);
        }
        Ok(Fit::New)
    }

    fn ranges(&mut self, agent: AgentId, ranges: &[(Range, Option<u64>)]) -> Result<Fit, Mismatch> {
        let mut trim = Vec::with_capacity(ranges.len());
        let (mut known, mut begun) = (0, 0);
        for (range, _) in ranges {
            let key = Key::Stream(agent, range.stream);
            let before = self.value(&key);
            let committed = match before {
                Some(committed) => committed,
                None if range.begins => range.start,
                None => return Err(Mismatch::Gap),
            };
            begun += usize::from(before.is_none());
            known += usize::from(before.is_some() && range.end <= committed);
            if range.start > committed {
                return Err(Mismatch::Gap);
            }
            let is_partly_there = range.start < committed && committed < range.end;
            if is_partly_there && range.records > 0 && range.ends.is_empty() {
                return Err(Mismatch::Overlap);
            }
            trim.push((range.start < committed && range.records > 0).then_some(committed));
            self.changes.insert(key, Some(range.end.max(committed)));
        }
        if begun > 0 && self.committed.streams(agent) + begun > STREAMS_MAX {
            return Err(Mismatch::Streams);
        }
        if known == ranges.len() && known > 0 {
            return Ok(Fit::Known);
        }
        let is_trimmed = ranges.iter().zip(&trim).all(|((_, trimmed), trim)| trimmed == trim);
        Ok(if is_trimmed { Fit::New } else { Fit::Partly(trim) })
    }

    fn kafka(&mut self, ranges: &[KafkaRange]) -> Result<Fit, Mismatch> {
        let mut known = 0;
        for range in ranges {
            let key = Key::Kafka(range.topic.clone(), range.partition);
            match self.value(&key) {
                Some(_) if range.resets => {}
                Some(committed) if range.end <= committed => {
                    known += 1;
                    continue;
                }
                Some(committed) if range.start > committed => return Err(Mismatch::Gap),
                _ => {}
            }
            self.changes.insert(key, Some(range.end));
        }
        Ok(if known == ranges.len() && known > 0 { Fit::Known } else { Fit::New })
    }

    fn refusal(&self, extension: &Extension, mismatch: Mismatch) -> PositionRefusal {
        let agent = extension.agent.map(|(agent, _)| agent);
        let session = agent.and_then(|agent| self.committed.value(&Key::Session(agent))).unwrap_or(0);
        let tells = matches!(mismatch, Mismatch::Gap | Mismatch::Overlap);
        let committed = match agent {
            Some(agent) if tells => {
                committed_of(extension, |stream| self.committed.value(&Key::Stream(agent, stream)))
            }
            _ => Vec::new(),
        };
        PositionRefusal { mismatch, session, committed }
    }
}

/// The streams of an append, each once, with what `value` says.
pub(crate) fn committed_of(
    extension: &Extension,
    value: impl Fn(StreamId) -> Option<u64>,
) -> Vec<(StreamId, Option<u64>)> {
    let mut seen = HashSet::new();
    let streams = extension.ranges.iter().map(|(range, _)| range.stream);
    streams.filter(|stream| seen.insert(*stream)).map(|stream| (stream, value(stream))).collect()
}
