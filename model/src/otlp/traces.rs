//! `Span`, its events and links (opentelemetry-proto trace.proto) as borrowed views.

use super::value::text;
use crate::wire::{Fields, Repeated, WireError, check};
use crate::{SpanId, TraceId, UnixNano};

/// Span kinds by their protobuf number; 0 is unspecified.
pub const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
/// Status codes by their protobuf number.
pub const STATUSES: [&str; 3] = ["unset", "ok", "error"];

/// One span. Repeated parts are read on demand.
#[derive(Clone, Copy, Debug)]
pub struct SpanView<'a> {
    /// The trace; `None` when missing, zero or of the wrong length (the span is invalid).
    pub trace_id: Option<TraceId>,
    /// The span; `None` when missing, zero or of the wrong length (the span is invalid).
    pub span_id: Option<SpanId>,
    /// The parent; `None` for a root.
    pub parent_span_id: Option<SpanId>,
    /// Operation name.
    pub name: &'a str,
    /// Text of [`KINDS`].
    pub kind: &'static str,
    /// When the span began.
    pub start_time: UnixNano,
    /// When the span ended.
    pub end_time: UnixNano,
    /// Attributes, see [`super::attributes`].
    pub attributes: Repeated<'a>,
    /// Text of [`STATUSES`].
    pub status: &'static str,
    /// Message of the status, empty when there is none.
    pub status_message: &'a str,
    /// The message if it has events, and if it has links: most spans have neither and are not walked for them.
    events_in: &'a [u8],
    links_in: &'a [u8],
}

/// Something that happened during a span.
#[derive(Clone, Copy, Debug)]
pub struct EventView<'a> {
    /// When.
    pub time: UnixNano,
    /// What, for example `exception`.
    pub name: &'a str,
    /// Attributes, see [`super::attributes`].
    pub attributes: Repeated<'a>,
}

/// A pointer to a span of this or another trace.
#[derive(Clone, Copy, Debug)]
pub struct LinkView<'a> {
    /// The trace pointed to.
    pub trace_id: TraceId,
    /// The span pointed to.
    pub span_id: SpanId,
    /// Attributes, see [`super::attributes`].
    pub attributes: Repeated<'a>,
}

impl<'a> SpanView<'a> {
    /// Reads a `Span` message.
    ///
    /// # Errors
    /// When the bytes are no message.
    pub fn parse(body: &'a [u8]) -> Result<Self, WireError> {
        let mut span = Self {
            trace_id: None,
            span_id: None,
            parent_span_id: None,
            name: "",
            kind: KINDS[0],
            start_time: UnixNano(0),
            end_time: UnixNano(0),
            attributes: Repeated::new(body, 9),
            status: STATUSES[0],
            status_message: "",
            events_in: &[],
            links_in: &[],
        };
        for field in Fields::new(body) {
            let (number, value) = field?;
            match number {
                1 => span.trace_id = TraceId::from_bytes(value.bytes()),
                2 => span.span_id = SpanId::from_bytes(value.bytes()),
                4 => span.parent_span_id = SpanId::from_bytes(value.bytes()),
                5 => span.name = text(value.bytes()),
                6 => span.kind = name_of(&KINDS, value.integer()),
                7 => span.start_time = UnixNano::from_u64(value.integer()),
                8 => span.end_time = UnixNano::from_u64(value.integer()),
                9 => check(value.bytes())?,
                11 => {
                    check(value.bytes())?;
                    span.events_in = body;
                }
                13 => {
                    check(value.bytes())?;
                    span.links_in = body;
                }
                15 => span.read_status(value.bytes())?,
                _ => {}
            }
        }
        Ok(span)
    }

    fn read_status(&mut self, bytes: &'a [u8]) -> Result<(), WireError> {
        for field in Fields::new(bytes) {
            match field? {
                (2, value) => self.status_message = text(value.bytes()),
                (3, value) => self.status = name_of(&STATUSES, value.integer()),
                _ => {}
            }
        }
        Ok(())
    }

    /// The events in order of the message. Malformed ones are passed over.
    pub fn events(&self) -> impl Iterator<Item = EventView<'a>> + use<'a> {
        Repeated::new(self.events_in, 11).iter().filter_map(|bytes| EventView::parse(bytes).ok())
    }

    /// The links in order of the message. Those with an invalid id are passed over.
    pub fn links(&self) -> impl Iterator<Item = LinkView<'a>> + use<'a> {
        Repeated::new(self.links_in, 13).iter().filter_map(|bytes| LinkView::parse(bytes).ok().flatten())
    }
}

impl<'a> EventView<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut event = Self { time: UnixNano(0), name: "", attributes: Repeated::new(bytes, 3) };
        for field in Fields::new(bytes) {
            match field? {
                (1, value) => event.time = UnixNano::from_u64(value.integer()),
                (2, value) => event.name = text(value.bytes()),
                _ => {}
            }
        }
        Ok(event)
    }
}

impl<'a> LinkView<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Option<Self>, WireError> {
        let (mut trace_id, mut span_id) = (None, None);
        for field in Fields::new(bytes) {
            match field? {
                (1, value) => trace_id = TraceId::from_bytes(value.bytes()),
                (2, value) => span_id = SpanId::from_bytes(value.bytes()),
                _ => {}
            }
        }
        Ok(trace_id.zip(span_id).map(|(trace_id, span_id)| Self {
            trace_id,
            span_id,
            attributes: Repeated::new(bytes, 4),
        }))
    }
}

fn name_of(names: &[&'static str], number: u64) -> &'static str {
    usize::try_from(number).ok().and_then(|at| names.get(at).copied()).unwrap_or(names[0])
}
