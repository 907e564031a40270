//! `Exemplar` (opentelemetry-proto metrics.proto) as a borrowed view: one measurement behind a data point, and the
//! span in which it was taken.

use super::metrics::double;
use crate::wire::{Fields, Repeated, WireError};
use crate::{SpanId, TraceId, UnixNano};

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct ExemplarView<'a> {
    /// When it was taken; 0 when not set.
    pub time: UnixNano,
    /// What was measured.
    pub value: f64,
    /// The trace in which it was taken, if one was sampled.
    pub trace_id: Option<TraceId>,
    /// The span.
    pub span_id: Option<SpanId>,
    /// Attributes that the data point does not have, see [`super::attributes`].
    pub attributes: Repeated<'a>,
}

impl<'a> ExemplarView<'a> {
    /// Reads an `Exemplar` message. `None` when it has no value.
    ///
    /// # Errors
    /// When the bytes are no message.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, WireError> {
        let (mut time, mut number, mut trace_id, mut span_id) = (0, None, None, None);
        for field in Fields::new(bytes) {
            match field? {
                (2, value) => time = value.integer(),
                (3, value) => number = Some(double(value)),
                (4, value) => span_id = SpanId::from_bytes(value.bytes()),
                (5, value) => trace_id = TraceId::from_bytes(value.bytes()),
                (6, value) => number = Some(value.integer() as i64 as f64),
                _ => {}
            }
        }
        let (time, attributes) = (UnixNano::from_u64(time), Repeated::new(bytes, 7));
        Ok(number.map(|value| Self { time, value, trace_id, span_id, attributes }))
    }
}
