//! Positions: where in its source a sender's records stood. `docs/formats/positions.md` is the contract.
//!
//! Owns: the identifiers, the bytes of `silmari-positions-bin` and `silmari-committed-bin`, the shape a
//! request's ranges must have. Does not own: what the store decides about them, the base64 around them.
//!
//! Invariants: decoding takes any bytes, never panics and holds no more than a small multiple of them;
//! what is decoded is sound in itself: `end` is not below `start`, ends rise and stay inside.

use std::fmt;

use thiserror::Error;

use crate::wire::{Fields, Value, WireError, put_bytes, put_message, put_u64, put_varint};

/// Header with the agent id.
pub const AGENT_HEADER: &str = "silmari-agent";
/// Header with the session.
pub const SESSION_HEADER: &str = "silmari-session";
/// Header with the number of the batch.
pub const BATCH_HEADER: &str = "silmari-batch";
/// Header with base64 of [`encode`]d ranges.
pub const POSITIONS_HEADER: &str = "silmari-positions-bin";
/// Header of an answer with base64 of [`encode_committed`] positions.
pub const COMMITTED_HEADER: &str = "silmari-committed-bin";
/// Header of an answer: records of the request that the store had already.
pub const KNOWN_HEADER: &str = "silmari-known";
/// Header of a refusal with its reason.
pub const REFUSED_HEADER: &str = "silmari-refused";

/// Ranges of one request.
pub const RANGES_MAX: usize = 1_024;
/// Bytes of an encoded message, before base64.
pub const MESSAGE_BYTES_MAX: usize = 24 << 10;
/// Positions are not above this.
pub const POSITION_MAX: u64 = i64::MAX as u64;
/// Streams of one agent.
pub const STREAMS_MAX: usize = 100_000;

/// An agent: a UUID made once and kept on its disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentId(pub [u8; 16]);

impl AgentId {
    /// The id in its text form: 32 hex digits, with hyphens at their places or without.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let hyphens = [8, 13, 18, 23];
        match bytes.len() {
            32 => parse_hex(bytes).map(Self),
            36 if hyphens.iter().all(|at| bytes[*at] == b'-') => {
                let mut digits = [0; 32];
                let kept = bytes.iter().enumerate().filter(|(at, _)| !hyphens.contains(at));
                digits.iter_mut().zip(kept).for_each(|(digit, (_, byte))| *digit = *byte);
                parse_hex(&digits).map(Self)
            }
            _ => None,
        }
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let hyphen = if [4, 6, 8, 10].contains(&at) { "-" } else { "" };
            write!(f, "{hyphen}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentId({self})")
    }
}

/// One ordered source of an agent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub [u8; 16]);

impl StreamId {
    /// The id in its text form, 32 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 32).then(|| parse_hex(text.as_bytes()).map(Self)).flatten()
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({self})")
    }
}

fn parse_hex(digits: &[u8]) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (high, low) = (char::from(pair[0]).to_digit(16)?, char::from(pair[1]).to_digit(16)?);
        *byte = (high << 4 | low) as u8;
    }
    Some(bytes)
}

/// A piece of a stream that a request holds: everything behind `start`, up to and including `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Whose piece.
    pub stream: StreamId,
    /// Where it begins.
    pub start: u64,
    /// Where it ends; not below `start`.
    pub end: u64,
    /// Records of the request that it holds.
    pub records: u64,
    /// Whether the agent knows no committed position of the stream.
    pub begins: bool,
    /// Where each record ends; empty when all end at `end`.
    pub ends: Vec<u64>,
}

impl Range {
    /// A range whose records all end at `end`.
    pub const fn new(stream: StreamId, start: u64, end: u64, records: u64) -> Self {
        Self { stream, start, end, records, begins: false, ends: Vec::new() }
    }

    /// Where its record number `record` ends.
    pub fn end_of(&self, record: u64) -> u64 {
        usize::try_from(record).ok().and_then(|at| self.ends.get(at)).copied().unwrap_or(self.end)
    }

    /// Appends the fields of the message `Range`.
    pub fn put_fields(&self, out: &mut Vec<u8>) {
        put_bytes(out, 1, &self.stream.0);
        for (number, value) in
            [(2, self.start), (3, self.end), (4, self.records), (5, u64::from(self.begins))]
        {
            if value > 0 {
                put_u64(out, number, value);
            }
        }
        if !self.ends.is_empty() {
            let mut packed = Vec::with_capacity(self.ends.len() * 2);
            let mut before = self.start;
            for end in &self.ends {
                put_varint(&mut packed, end.saturating_sub(before));
                before = *end;
            }
            put_bytes(out, 6, &packed);
        }
    }

    /// Reads a message `Range`. Unknown fields are passed over.
    ///
    /// # Errors
    /// Where it is no sound range.
    pub fn decode(message: &[u8]) -> Result<Self, PositionsError> {
        let mut stream = None;
        let mut range = Self::new(StreamId([0; 16]), 0, 0, 0);
        let mut deltas = Vec::new();
        for field in Fields::new(message) {
            match field? {
                (1, Value::Bytes(bytes)) => {
                    let id = bytes.try_into().map_err(|_| PositionsError::Stream(bytes.len()))?;
                    stream = Some(StreamId(id));
                }
                (2, Value::Varint(start)) => range.start = start,
                (3, Value::Varint(end)) => range.end = end,
                (4, Value::Varint(records)) => range.records = records,
                (5, Value::Varint(begins)) => range.begins = begins != 0,
                (6, Value::Varint(delta)) => deltas.push(delta),
                (6, Value::Bytes(packed)) => read_packed(packed, &mut deltas)?,
                _ => {}
            }
        }
        range.stream = stream.ok_or(PositionsError::Stream(0))?;
        range.ends = range.ends_from(deltas)?;
        Ok(range)
    }

    fn ends_from(&self, deltas: Vec<u64>) -> Result<Vec<u64>, PositionsError> {
        let Self { stream, start, end, records, .. } = *self;
        if start > end || end > POSITION_MAX || (start == end && records > 0) {
            return Err(PositionsError::Backwards { stream, start, end });
        }
        if !deltas.is_empty() && deltas.len() as u64 != records {
            return Err(PositionsError::Ends { stream, ends: deltas.len(), records });
        }
        let mut at = start;
        let mut ends = deltas;
        for delta in &mut ends {
            at = at.saturating_add(*delta);
            if at > end {
                return Err(PositionsError::EndOutside { stream, at, end });
            }
            *delta = at;
        }
        Ok(ends)
    }
}

fn read_packed(packed: &[u8], deltas: &mut Vec<u64>) -> Result<(), PositionsError> {
    let (mut value, mut shift) = (0u64, 0);
    for (offset, byte) in packed.iter().enumerate() {
        if shift > 63 {
            return Err(WireError { offset, problem: "a packed number is longer than ten bytes" }.into());
        }
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            deltas.push(value);
            (value, shift) = (0, 0);
        }
    }
    match shift {
        0 => Ok(()),
        _ => Err(WireError { offset: packed.len(), problem: "the message ends inside a number" }.into()),
    }
}

/// Why bytes are no positions.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PositionsError {
    /// No protobuf message.
    #[error("the positions are no protobuf message: {0}")]
    Wire(#[from] WireError),
    /// A stream is not named by 16 bytes.
    #[error("a range names its stream with {0} bytes, 16 are needed")]
    Stream(usize),
    /// A range ends before it starts, or beyond what a position can be, or is empty and holds records.
    #[error("stream {stream}: the range {start} to {end} is none")]
    Backwards {
        /// Whose range.
        stream: StreamId,
        /// Its start.
        start: u64,
        /// Its end.
        end: u64,
    },
    /// Not one end a record.
    #[error("stream {stream}: {ends} ends for {records} records")]
    Ends {
        /// Whose range.
        stream: StreamId,
        /// Ends given.
        ends: usize,
        /// Records announced.
        records: u64,
    },
    /// A record ends behind its range.
    #[error("stream {stream}: a record ends at {at}, its range at {end}")]
    EndOutside {
        /// Whose range.
        stream: StreamId,
        /// Where the record ends.
        at: u64,
        /// Where the range ends.
        end: u64,
    },
    /// More ranges or bytes than allowed.
    #[error("{found} {what}, {limit} are allowed: send smaller batches")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many may be.
        limit: usize,
    },
    /// The ranges hold another number of records than the request.
    #[error("the ranges hold {ranges} records, the request {request}")]
    Records {
        /// Records of all ranges.
        ranges: u64,
        /// Records of the request.
        request: u64,
    },
    /// Two ranges of one stream that do not touch.
    #[error("stream {stream}: a range starts at {start}, the one before ended at {end}")]
    Apart {
        /// Whose ranges.
        stream: StreamId,
        /// Where the first ends.
        end: u64,
        /// Where the second starts.
        start: u64,
    },
}

/// The value of `silmari-positions-bin`, before base64.
pub fn encode(ranges: &[Range]) -> Vec<u8> {
    let mut out = Vec::with_capacity(ranges.len() * 32);
    for range in ranges {
        put_message(&mut out, 1, |out| range.put_fields(out));
    }
    out
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// When a limit is exceeded or a range is not sound.
pub fn decode(message: &[u8]) -> Result<Vec<Range>, PositionsError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(PositionsError::TooMany {
            what: "bytes of positions",
            found: message.len(),
            limit: MESSAGE_BYTES_MAX,
        });
    }
    let mut ranges = Vec::new();
    for field in Fields::new(message) {
        if let (1, Value::Bytes(range)) = field? {
            if ranges.len() == RANGES_MAX {
                let found = RANGES_MAX + 1;
                return Err(PositionsError::TooMany { what: "ranges", found, limit: RANGES_MAX });
            }
            ranges.push(Range::decode(range)?);
        }
    }
    Ok(ranges)
}

/// Whether `ranges` describe a request of `records` records.
///
/// # Errors
/// When the numbers differ, or two ranges of one stream do not touch.
pub fn check(ranges: &[Range], records: u64) -> Result<(), PositionsError> {
    let held = ranges.iter().fold(0u64, |sum, range| sum.saturating_add(range.records));
    if held != records {
        return Err(PositionsError::Records { ranges: held, request: records });
    }
    let mut ends = std::collections::HashMap::with_capacity(ranges.len());
    for Range { stream, start, end, .. } in ranges {
        match ends.insert(*stream, *end) {
            Some(before) if before != *start => {
                return Err(PositionsError::Apart { stream: *stream, end: before, start: *start });
            }
            _ => {}
        }
    }
    Ok(())
}

/// The value of `silmari-committed-bin`, before base64. `None` is a stream that is unknown.
pub fn encode_committed(positions: &[(StreamId, Option<u64>)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(positions.len() * 28);
    for (stream, committed) in positions {
        put_message(&mut out, 1, |out| {
            put_bytes(out, 1, &stream.0);
            if let Some(committed) = committed {
                put_u64(out, 2, *committed);
            }
        });
    }
    out
}

/// Reads what [`encode_committed`] wrote.
///
/// # Errors
/// When it is no such message.
pub fn decode_committed(message: &[u8]) -> Result<Vec<(StreamId, Option<u64>)>, PositionsError> {
    let mut positions = Vec::new();
    for field in Fields::new(message) {
        let (1, Value::Bytes(position)) = field? else { continue };
        let (mut stream, mut committed) = (None, None);
        for field in Fields::new(position) {
            match field? {
                (1, Value::Bytes(bytes)) => {
                    let id = bytes.try_into().map_err(|_| PositionsError::Stream(bytes.len()))?;
                    stream = Some(StreamId(id));
                }
                (2, Value::Varint(position)) => committed = Some(position),
                _ => {}
            }
        }
        positions.push((stream.ok_or(PositionsError::Stream(0))?, committed));
    }
    Ok(positions)
}

#[cfg(test)]
mod tests;
