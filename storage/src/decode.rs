//! From the bytes of an OTLP request to rows: one walk, straight into Arrow builders.
//!
//! Owns: which record is refused and why, the limits on what one record may hold, running the id
//! rules. Does not own: decompression (`frame`), what happens to the rows (`head`).
//!
//! Invariants: no object is built per record; a refused record leaves no partial row; the rows of a
//! request depend on its bytes, the rules and the time it arrived, so that replay gives the same rows.

pub(crate) mod columns;
mod logs;
mod points;
mod spans;

use arrow::array::RecordBatch;
use model::ids::{IdTerms, Place};
use model::otlp::{self, ResourceGroup, ScopeGroup};
use model::{IdRules, Signal, TimeRange, UnixNano};
use thiserror::Error;

use crate::rows;

pub(crate) use crate::limits::{ATTRIBUTES_MAX, VALUE_BYTES_MAX};

/// Timestamps later than this after arrival are not believed.
pub(crate) const FUTURE_NANO_MAX: i64 = 600 * 1_000_000_000;

/// Why a whole request cannot be decoded. Records that are bad beside good ones are counted in
/// [`Batch::rejected`] instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes are no protobuf message.
    #[error("the request is no protobuf message: {0}")]
    Malformed(#[from] model::wire::WireError),
    /// More records than one request may carry.
    #[error("the request carries {found} records, {limit} are allowed: send smaller batches")]
    TooManyRecords {
        /// Records counted on the wire.
        found: usize,
        /// The setting `records_per_request_max`.
        limit: usize,
    },
}

/// The rows of one request.
#[derive(Clone, Debug)]
pub struct Batch {
    signal: Signal,
    pub(crate) rows: RecordBatch,
    pub(crate) time: TimeRange,
    /// Records of the request that became rows.
    pub accepted: usize,
    /// Records of the request that were refused.
    pub rejected: usize,
    /// Why the first of them was refused.
    pub rejection: Option<String>,
}

impl Batch {
    /// What the rows are.
    pub const fn signal(&self) -> Signal {
        self.signal
    }

    /// Number of rows; a data point of a histogram gives several.
    pub fn rows(&self) -> usize {
        self.rows.num_rows()
    }
}

/// What stands above a record.
pub(crate) struct Context<'a> {
    pub(crate) service: &'a str,
    pub(crate) resource: ResourceGroup<'a>,
    pub(crate) scope: ScopeGroup<'a>,
    pub(crate) ids: &'a IdRules,
    pub(crate) received_at: UnixNano,
    /// Whether the id rules find something in the attributes of resource or scope.
    has_ids_around: bool,
}

impl<'a> Context<'a> {
    fn new(
        service: &'a str,
        resource: ResourceGroup<'a>,
        scope: ScopeGroup<'a>,
        (ids, received_at): (&'a IdRules, UnixNano),
        found: &mut IdTerms,
    ) -> Self {
        let mut context = Self { service, resource, scope, ids, received_at, has_ids_around: true };
        found.begin(None);
        context.find_ids_around(found);
        context.has_ids_around = !found.is_untouched();
        context
    }

    /// Finds the ids of what stands around a record, before those of the record itself. What most resources
    /// say of ids is nothing, and that is found out once.
    pub(crate) fn find_ids_around(&self, found: &mut IdTerms) {
        if !self.has_ids_around {
            return;
        }
        for (place, repeated) in
            [(Place::Resource, self.resource.resource), (Place::Scope, self.scope.attributes)]
        {
            for attribute in otlp::attributes(repeated) {
                self.ids.on_attribute(place, attribute.key, &attribute.value, found);
            }
        }
    }
}

/// What became of one leaf of a request.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) accepted: usize,
    pub(crate) rejected: usize,
    pub(crate) rejection: Option<String>,
}

impl Outcome {
    pub(crate) const ACCEPTED: Self = Self { accepted: 1, rejected: 0, rejection: None };

    pub(crate) fn rejected(reason: impl Into<String>) -> Self {
        Self { accepted: 0, rejected: 1, rejection: Some(reason.into()) }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        if self.rejection.is_none() {
            self.rejection = other.rejection;
        }
    }
}

/// Collects the rows of one signal. The three signals differ in their implementation of this.
pub(crate) trait RowBuilder {
    /// Makes room for so many leaves, which have so many bytes on the wire.
    fn reserve(&mut self, _leaves: usize, _bytes: usize) {}
    /// What follows is of this resource.
    fn begin_resource(&mut self, service: &str, resource: ResourceGroup<'_>);
    /// Adds the rows of one leaf: a span, a log record, a metric with its data points.
    fn push(&mut self, context: &Context<'_>, found: &mut IdTerms, leaf: &[u8]) -> Outcome;
    /// The rows.
    fn finish(self: Box<Self>) -> RecordBatch;
}

fn builder_of(signal: Signal) -> Box<dyn RowBuilder> {
    match signal {
        Signal::Traces => Box::new(spans::SpanBuilder::default()),
        Signal::Logs => Box::new(logs::LogBuilder::default()),
        Signal::Metrics => Box::new(points::PointBuilder::default()),
    }
}

/// Decodes an uncompressed request.
pub(crate) fn decode(
    signal: Signal,
    request: &[u8],
    ids: &IdRules,
    received_at: UnixNano,
    records_max: usize,
) -> Result<Batch, DecodeError> {
    let found = otlp::count_items(request);
    if found > records_max {
        return Err(DecodeError::TooManyRecords { found, limit: records_max });
    }
    let mut builder = builder_of(signal);
    builder.reserve(found, request.len());
    let mut outcome = Outcome::default();
    let mut terms = IdTerms::default();
    for resource in otlp::resources(request)? {
        let resource = resource?;
        let service = otlp::value::find(resource.resource, "service.name");
        let service = service.and_then(|name| name.as_str()).filter(|name| !name.is_empty());
        let service = service.unwrap_or("unknown_service");
        builder.begin_resource(service, resource);
        for scope in resource.scopes() {
            let context = Context::new(service, resource, scope?, (ids, received_at), &mut terms);
            for leaf in context.scope.items() {
                outcome.add(builder.push(&context, &mut terms, leaf));
            }
        }
    }
    let rows = builder.finish();
    Ok(Batch {
        signal,
        time: rows::time_range(signal, &rows),
        rows,
        accepted: outcome.accepted,
        rejected: outcome.rejected,
        rejection: outcome.rejection,
    })
}

/// A time that can be believed: what lies too far after arrival becomes the arrival, and the row
/// says so with the attribute `silmari.time_clamped`.
pub(crate) fn believable(time: UnixNano, received_at: UnixNano) -> (UnixNano, Option<UnixNano>) {
    if time.since(received_at) > FUTURE_NANO_MAX { (received_at, Some(time)) } else { (time, None) }
}

#[cfg(test)]
mod tests;
