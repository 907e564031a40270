//! What waits in the spool, and its places: lanes, requests, numbers.

use bytes::Bytes;
use model::positions::{Range, StreamId};
use model::{Signal, UnixNano};

/// One queue of the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// What was pushed of a signal.
    Signal(Signal),
    /// Batches of files that are gone.
    Files,
}

impl Lane {
    /// All lanes, in the order of [`Lane::index`].
    pub const ALL: [Self; 4] = [
        Self::Signal(Signal::Traces),
        Self::Signal(Signal::Logs),
        Self::Signal(Signal::Metrics),
        Self::Files,
    ];

    /// Its folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signal(signal) => signal.name(),
            Self::Files => "files",
        }
    }

    /// Position in [`Lane::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::Signal(signal) => signal.index(),
            Self::Files => Signal::ALL.len(),
        }
    }
}

/// How a spooled request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// OTLP protobuf.
    Protobuf,
    /// OTLP JSON.
    Json,
}

impl Encoding {
    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Protobuf => 0,
            Self::Json => 1,
        }
    }

    pub(super) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Protobuf),
            1 => Some(Self::Json),
            _ => None,
        }
    }
}

/// A place in a lane: a request's number, from 1, and the items and bytes of all requests up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Number of the request.
    pub number: u64,
    /// Spans, log records or metrics of all requests up to it.
    pub items: u64,
    /// Their bytes before compression.
    pub bytes: u64,
}

impl Place {
    /// The later one.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.number >= other.number { self } else { other }
    }

    /// What lies between `earlier` and this; nothing when that is not earlier.
    pub const fn since(self, earlier: Self) -> Amount {
        if self.number <= earlier.number {
            return Amount { requests: 0, items: 0, bytes: 0 };
        }
        Amount {
            requests: self.number - earlier.number,
            items: self.items.saturating_sub(earlier.items),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }

    pub(super) fn put(self, out: &mut Vec<u8>) {
        for number in [self.number, self.items, self.bytes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Of 24 bytes.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        Self { number: number(0), items: number(8), bytes: number(16) }
    }
}

/// Requests, and what they held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Requests.
    pub requests: u64,
    /// Spans, log records or metrics.
    pub items: u64,
    /// Bytes before compression.
    pub bytes: u64,
}

impl Amount {
    pub(super) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.items += other.items;
        self.bytes += other.bytes;
    }
}

/// A request as it waits.
#[derive(Clone, Debug)]
pub struct Spooled {
    /// What came before it in its lane; chosen by [`Queue::append`].
    pub before: Place,
    /// The run that spooled it, as the position protocol names it; chosen by [`Queue::append`].
    pub stream: StreamId,
    /// Its signal.
    pub signal: Signal,
    /// How it is written.
    pub encoding: Encoding,
    /// Spans, log records or metrics in it.
    pub items: u32,
    /// Its size before compression.
    pub raw_bytes: u32,
    /// When it came.
    pub time: UnixNano,
    /// For a batch of files: where its records stood.
    pub ranges: Vec<Range>,
    /// What its input wants to find again after a crash: where it stands behind this request. Empty for most.
    pub note: String,
    /// The request, compressed with zstd.
    pub payload: Bytes,
}

impl Spooled {
    /// A request that is not in a lane yet.
    pub fn new(signal: Signal, encoding: Encoding, items: u64, raw_bytes: usize, payload: Bytes) -> Self {
        Self {
            before: Place::default(),
            stream: StreamId([0; 16]),
            signal,
            encoding,
            items: u32::try_from(items).unwrap_or(u32::MAX),
            raw_bytes: u32::try_from(raw_bytes).unwrap_or(u32::MAX),
            time: UnixNano(0),
            ranges: Vec::new(),
            note: String::new(),
            payload,
        }
    }

    /// Number in order of arrival, from 1.
    pub const fn number(&self) -> u64 {
        self.before.number + 1
    }

    /// What came up to it.
    pub const fn after(&self) -> Place {
        Place {
            number: self.before.number + 1,
            items: self.before.items.saturating_add(self.items as u64),
            bytes: self.before.bytes.saturating_add(self.raw_bytes as u64),
        }
    }
}
